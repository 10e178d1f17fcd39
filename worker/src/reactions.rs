//! Reactions: adding and taking them back, and what is stored of them.
//!
//! The reactions on a message are one item; what changes it also adds to the conversation's log of changes, in one
//! step. A repeat changes nothing, yet writes the item again: an attempt that comes late must meet a version that it
//! did not read, whatever it would do.

use std::collections::BTreeMap;

use futures_util::future::try_join;
use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Reason, Refusal, Timestamp, UserId,
    envelope::{ConversationEvent, LoggedChange, Success},
    event::sent,
    id, limits,
    record::Message,
};

use crate::{
    Request, Worker,
    document::{self, ATTEMPTS, Stored},
    log::{burst::Burst, change::ChangeDocument},
    store::{Consistency, Item, Key, keys},
    validate,
};

mod stored;

pub(crate) use stored::Reactions;

#[derive(Deserialize)]
struct Payload {
    message_id: String,
    reaction: String,
}

/// The payload of `reaction_added` and `reaction_removed`.
#[derive(Serialize)]
struct Reacted<'a> {
    conversation_id: &'a ConversationId,
    message_id: MessageId,
    user_id: &'a UserId,
    reaction: &'a str,
    timestamp: Timestamp,
}

/// Adding or taking back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum React {
    /// `add_reaction`.
    Add,
    /// `remove_reaction`.
    Remove,
}

impl React {
    const fn event(self) -> &'static str {
        match self {
            Self::Add => sent::REACTION_ADDED,
            Self::Remove => sent::REACTION_REMOVED,
        }
    }

    fn reply(self) -> Success {
        match self {
            Self::Add => Success::ok(&BTreeMap::from([("reaction_added", true)])),
            Self::Remove => Success::ok(&BTreeMap::from([("reaction_removed", true)])),
        }
    }
}

/// The message id in a push.
///
/// # Errors
/// `validation_failed` where it cannot be one.
pub(crate) fn message_id(text: &str) -> Result<MessageId, Refusal> {
    MessageId::parse(text).ok_or_else(|| Refusal::invalid("message_id", "must be the id of a message"))
}

/// The answer where a conversation holds no such message.
pub(crate) fn no_such_message() -> Refusal {
    Refusal::new(Reason::NotFound, "there is no such message in this conversation")
}

/// A reaction: 1 to 64 bytes, no name on `Object.prototype` (contract section 3.3).
fn check(reaction: &str) -> Result<(), Refusal> {
    if reaction.is_empty() || reaction.len() > limits::REACTION_BYTES {
        return Err(Refusal::invalid("reaction", format!("must be 1 to {} bytes", limits::REACTION_BYTES)));
    }
    if id::on_object_prototype(reaction) {
        return Err(Refusal::invalid("reaction", "must not be a name on Object.prototype"));
    }
    Ok(())
}

impl Worker {
    /// `add_reaction` and `remove_reaction`.
    pub(crate) async fn react(
        &self,
        request: &Request,
        id: &ConversationId,
        payload: &Raw,
        react: React,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let payload: Payload = validate::parse(payload)?;
        let message = message_id(&payload.message_id)?;
        check(&payload.reaction)?;
        let roster = self.member_access(request, id).await?;
        self.message(request, id, message).await?.ok_or_else(no_such_message)?;
        let timestamp = self.env.now();
        let told = Reacted {
            conversation_id: id,
            message_id: message,
            user_id: &user,
            reaction: &payload.reaction,
            timestamp,
        };
        let change =
            ChangeDocument { seq: message.seq(), event: react.event().to_owned(), payload: Raw::of(&told) };
        let (change_seq, changed) =
            self.commit_reaction(request, id, &user, &payload.reaction, react, &change).await?;
        if changed {
            let ChangeDocument { event, payload, .. } = change;
            let change = ConversationEvent::Change(LoggedChange { change_seq, event, payload });
            self.tell_conversation(id, roster.version, change).await;
        }
        // Also where nothing changed: an attempt before may have died before it told.
        self.note_burst(id, Burst { change_seq, look: true, ..Burst::of(roster.version) });
        Ok(react.reply())
    }

    /// Stores the reaction and its change. Answers the last change's number and whether this was it.
    async fn commit_reaction(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
        reaction: &str,
        react: React,
        change: &ChangeDocument,
    ) -> Result<(u64, bool), Refusal> {
        let key = keys::reactions(id, change.seq);
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let (stored, last) =
                try_join(self.load::<Reactions>(request, &key), self.change_tail(request, id)).await?;
            let expect = document::expect(stored.as_ref());
            let before = stored.map_or_else(Reactions::default, |Stored { document, .. }| document);
            let after = before.decide(user, reaction, react, self.limits.reactions)?;
            let changed = after != before;
            let mut writes = vec![document::write(key.clone(), &after, expect)];
            if changed {
                writes.push(change.write(id, last + 1));
            }
            if self.commit(request, writes).await? {
                return Ok((if changed { last + 1 } else { last }, changed));
            }
        }
        Err(document::contended())
    }

    /// The messages with the reactions on them.
    pub(crate) async fn with_reactions(
        &self,
        request: &Request,
        id: &ConversationId,
        mut messages: Vec<Message>,
    ) -> Result<Vec<Message>, Refusal> {
        let first = messages.iter().map(|message| message.seq).min();
        let last = messages.iter().map(|message| message.seq).max();
        let (Some(first), Some(last)) = (first, last) else { return Ok(messages) };
        let items = if last - first < messages.len() as u64 {
            // Consecutive: a range costs by what is there, and most messages have no reactions.
            self.load_range(request, keys::reactions_between(id, first, last)).await?
        } else {
            let wanted: Vec<Key> = messages.iter().map(|message| keys::reactions(id, message.seq)).collect();
            request.in_time(&self.env)?;
            self.store.get_many(&wanted, Consistency::Strong).await?
        };
        let mut reactions = items.iter().map(of_item).collect::<Result<BTreeMap<u64, _>, _>>()?;
        for message in &mut messages {
            message.reactions = Some(reactions.remove(&message.seq).unwrap_or_default());
        }
        Ok(messages)
    }
}

fn of_item(item: &Item) -> Result<(u64, BTreeMap<String, Vec<UserId>>), Refusal> {
    Ok((item.key.sk.parse().unwrap_or(0), document::read::<Reactions>(item)?.shown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaction_is_short_and_no_name_on_the_prototype() {
        for reaction in ["👍", "+1", "a b", " ", "\u{a0}\n", &"x".repeat(64)] {
            assert_eq!(check(reaction), Ok(()), "{reaction}");
        }
        for reaction in ["", "constructor", "__proto__", &"x".repeat(65), &"👍".repeat(17)] {
            assert_eq!(check(reaction).unwrap_err().reason, Reason::ValidationFailed, "{reaction}");
        }
    }
}
