//! Changes to messages: the second log of a conversation, with numbers of its own.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Refusal, UserId,
    envelope::{LoggedChange, Principal},
    event::sent,
    record::Message,
};

pub(crate) use simurgh_protocol::cursor::{cursor, position};

use super::{
    read::{self, Room},
    slot::Deleted,
};
use crate::{
    Request, Worker,
    access::Roster,
    changes::{Edited, Gone},
    document::{self, CONCURRENCY},
    store::{Expect, Item, Query, Write, keys},
};

/// Messages in `changes`, at most.
const CHANGED_MESSAGES: usize = 100;
/// Bytes of the messages in `changes`; one that is larger is sent where it fits.
const CHANGED_BYTES: usize = 128 * 1024;
/// Edits that are told again at once, at most: each message of them is looked up.
const EDITS: usize = 256;

/// The document of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChangeDocument {
    /// The `seq` of the message that changed.
    pub(crate) seq: u64,
    /// The event that tells it.
    pub(crate) event: String,
    /// Its payload. Of an edit it says nothing: that is told with the message as it is now.
    pub(crate) payload: Raw,
    /// Whose it is alone; everybody's where nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<UserId>,
    /// Who is not told: that user blocked who made it, or never got the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) except: Option<UserId>,
}

impl ChangeDocument {
    /// A change to the message at `seq` that is everybody's.
    pub(crate) fn new(seq: u64, event: &str, payload: Raw) -> Self {
        Self { seq, event: event.to_owned(), payload, only: None, except: None }
    }

    /// As gateways are told it; its place is still 0.
    pub(crate) fn logged(self) -> LoggedChange {
        let Self { seq, event, payload, only, except } = self;
        let except = except.into_iter().collect();
        LoggedChange { change_seq: 0, seq, event, payload, only, except }
    }

    /// Whether it is this reader's business.
    fn concerns(&self, reader: &Principal) -> bool {
        match (&self.only, reader) {
            (None, Principal::User(user)) => self.except.as_ref() != Some(user),
            (None, Principal::Service) => true,
            (Some(only), Principal::User(user)) => only == user,
            (Some(_), Principal::Service) => false,
        }
    }

    /// The write that stores it at its place.
    pub(crate) fn write(&self, id: &ConversationId, change_seq: u64) -> Write {
        document::write(keys::change(id, change_seq), self, Expect::Absent)
    }
}

/// An edit that is told again: its event and payload, and who is not told.
type ToldAgain = (&'static str, Raw, Vec<UserId>);

/// Messages that changed, in their latest form, and where to go on from.
#[derive(Debug)]
pub(crate) struct Changed {
    /// In the order in which they changed first.
    pub(crate) messages: Vec<Message>,
    /// The last change that they show.
    pub(crate) change_seq: u64,
}

fn numbered(item: &Item) -> Result<(u64, ChangeDocument), Refusal> {
    Ok((item.key.sk.parse().unwrap_or(0), document::read(item)?))
}

impl Worker {
    /// The last change's number now; 0 while there is none.
    pub(crate) async fn change_tail(&self, request: &Request, id: &ConversationId) -> Result<u64, Refusal> {
        let query = Query { descending: true, limit: 1, ..keys::changes(id, 1, MessageId::MAX_SEQ) };
        let page = self.query(request, query).await?;
        Ok(page.items.first().and_then(|item| item.key.sk.parse().ok()).unwrap_or(0))
    }

    /// The changes after `after` up to `to`, in order, as many as there is room for; up to the first to a message behind
    /// `seen`, which who reads them does not have yet.
    pub(crate) async fn changes_after(
        &self,
        request: &Request,
        id: &ConversationId,
        after: u64,
        to: u64,
        seen: u64,
        room: Room,
    ) -> Result<Vec<LoggedChange>, Refusal> {
        if after >= to {
            return Ok(Vec::new());
        }
        // One page holds more than an envelope takes.
        let page = self.query(request, keys::changes(id, after + 1, to)).await?;
        let changes = page.items.iter().map(numbered).collect::<Result<Vec<_>, _>>()?;
        let known = changes.into_iter().take_while(|(_, change)| change.seq <= seen);
        let logged = known.map(|(change_seq, change)| LoggedChange { change_seq, ..change.logged() });
        let mut logged = room.fill(logged, read::size);
        let edits = |change: &LoggedChange| change.event == sent::MESSAGE_EDITED;
        if let Some((last, _)) = logged.iter().enumerate().filter(|(_, change)| edits(change)).nth(EDITS) {
            logged.truncate(last);
        }
        let edited: BTreeSet<u64> =
            logged.iter().filter(|change| edits(change)).map(|change| change.seq).collect();
        let forms = self.told_again(request, id, edited).await?;
        for change in logged.iter_mut().filter(|change| edits(change)) {
            if let Some((event, payload, except)) = forms.get(&change.seq) {
                (*event).clone_into(&mut change.event);
                change.payload.clone_from(payload);
                change.except.extend(except.iter().cloned());
            }
        }
        Ok(room.fill(logged, read::size))
    }

    /// How these messages, which were edited, are told now, and to whom not: as they are, or that they are gone.
    async fn told_again(
        &self,
        request: &Request,
        id: &ConversationId,
        edited: BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, ToldAgain>, Refusal> {
        let found = edited.into_iter().map(|seq| self.message_at(request, id, seq));
        let found = stream::iter(found).buffered(CONCURRENCY).try_collect::<Vec<_>>().await?;
        let (gone, there): (Vec<_>, Vec<_>) =
            found.into_iter().flatten().partition(|message| message.deleted.is_some());
        let there = there.into_iter().map(|message| message.shown(id)).collect();
        let there = self.with_quotes(request, id, there).await?;
        let there: Vec<Message> = there.into_iter().map(Message::told).collect();
        let seqs: Vec<u64> = there.iter().map(|message| message.seq).collect();
        let hiders = seqs.into_iter().map(|seq| self.hiders(request, id, seq));
        let hiders = stream::iter(hiders).buffered(CONCURRENCY).try_collect::<Vec<_>>().await?;
        let there = there.iter().zip(hiders).map(|(message, mut hiders)| {
            hiders.extend(message.silent.clone());
            (message.seq, (sent::MESSAGE_EDITED, Raw::of(&Edited { message }), hiders))
        });
        let gone = gone.iter().filter_map(|message| {
            let Deleted { at, by } = message.deleted.as_ref()?;
            let (seq, user_id) = (message.seq(), by.as_ref());
            let gone = Gone { conversation_id: id, message_id: message.id, seq, user_id, at: *at };
            let except = message.silent.clone().into_iter().collect();
            Some((seq, (sent::MESSAGE_DELETED, Raw::of(&gone), except)))
        });
        Ok(there.chain(gone).collect())
    }

    /// The messages that changed after `after` up to `to`, each once, with their reactions, as many as fit into `bytes`.
    /// Where there are too many, the position answered lies before `to`; where not even the first fits, it is `after`.
    pub(crate) async fn changed_messages(
        &self,
        request: &Request,
        id: &ConversationId,
        roster: &Roster,
        after: u64,
        to: u64,
        bytes: usize,
    ) -> Result<Changed, Refusal> {
        if after >= to {
            return Ok(Changed { messages: Vec::new(), change_seq: after.min(to) });
        }
        let page = self.query(request, keys::changes(id, after + 1, to)).await?;
        let changes = page.items.iter().map(numbered).collect::<Result<Vec<_>, _>>()?;
        let concern = |change: &ChangeDocument| change.concerns(&request.principal).then_some(change.seq);
        let (firsts, reached) =
            group(after, changes.iter().map(|(number, change)| (*number, concern(change))));
        let found =
            firsts.clone().into_iter().map(|(_, seq)| async move { self.message_at(request, id, seq).await });
        let found = stream::iter(found).buffered(CONCURRENCY).try_collect::<Vec<_>>().await?;
        let found: Vec<Message> = found.into_iter().flatten().map(|message| message.shown(id)).collect();
        let messages = self.shown_to(request, id, roster, found).await?;
        let shown = fitting(messages, bytes);
        // What was left out is first met at its first change.
        let left_out = firsts.get(shown.len()).map(|(first, _)| first - 1);
        Ok(Changed { messages: shown, change_seq: left_out.unwrap_or(reached) })
    }
}

/// The first of these, as many as `bytes` and their own bound allow. One that is larger than that bound is shown alone.
fn fitting(messages: Vec<Message>, bytes: usize) -> Vec<Message> {
    if messages.first().is_some_and(|first| read::size(first) > bytes) {
        return Vec::new();
    }
    Room { count: CHANGED_MESSAGES, bytes: CHANGED_BYTES.min(bytes) }.fill(messages, read::size)
}

/// The messages that changed with their first change's number, in that order; and the last change looked at, beyond
/// which there may be messages that are not among them. Of changes that are not the reader's business only the number
/// counts.
fn group(after: u64, changes: impl IntoIterator<Item = (u64, Option<u64>)>) -> (Vec<(u64, u64)>, u64) {
    let mut firsts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut reached = after;
    for (number, seq) in changes {
        let Some(seq) = seq else {
            reached = number;
            continue;
        };
        if !firsts.contains_key(&seq) && firsts.len() == CHANGED_MESSAGES {
            break;
        }
        firsts.entry(seq).or_insert(number);
        reached = number;
    }
    let mut firsts: Vec<(u64, u64)> = firsts.into_iter().map(|(seq, first)| (first, seq)).collect();
    firsts.sort_unstable();
    (firsts, reached)
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::Timestamp;

    use super::*;

    #[test]
    fn changes_take_the_room_there_is() {
        let message = |bytes: usize| -> Message {
            let json = serde_json::json!({"id": MessageId::new(Timestamp::default(), 1, 1), "conversation_id": "c",
                "seq": 1, "sender_id": "a", "message_type": "text", "content": "x".repeat(bytes), "metadata": {},
                "client_random": 1, "reply_to_id": null, "sent_at": Timestamp::default()});
            serde_json::from_value(json).unwrap()
        };
        let fits =
            |sizes: &[usize], bytes| fitting(sizes.iter().map(|size| message(*size)).collect(), bytes).len();
        assert_eq!(fits(&[1_000, 1_000], 700_000), 2);
        assert_eq!(fits(&[1_000, 1_000], 2_000), 1);
        assert_eq!(fits(&[1_000], 900), 0, "not even one");
        assert_eq!(
            fits(&[2 * CHANGED_BYTES, 1], 700_000),
            1,
            "a large one goes alone, or none would ever follow"
        );
        assert_eq!(fits(&[], 0), 0);
    }

    #[test]
    fn messages_that_changed_are_named_once_and_bounded() {
        assert_eq!(group(4, [(5, Some(9)), (6, Some(2)), (7, Some(9))]), (vec![(5, 9), (6, 2)], 7));
        assert_eq!(group(4, [(5, None), (6, Some(2)), (7, None)]), (vec![(6, 2)], 7), "others' own");
        assert_eq!(group(4, []), (Vec::new(), 4));
        let many = (1..=200).map(|number| (number, Some(number / 2)));
        let (firsts, reached) = group(0, many);
        assert_eq!((firsts.len(), reached), (CHANGED_MESSAGES, 199));
    }
}
