//! The conversations of a user, latest activity first.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use simurgh_protocol::{
    ConversationId, MessageId, Refusal, Timestamp, UserId,
    envelope::{Principal, Success},
    limits,
    record::{Conversation, Message},
};

use self::cursor::Cursor;
use crate::{
    Request, Worker,
    conversations::read::shown,
    document::{self, CONCURRENCY, Stored},
    log::{
        HeadDocument,
        read::{Tail, size},
        slot::{Slot, StoredMessage},
    },
    members::{MemberDocument, MembershipDocument},
    settings::Settings,
    store::{Consistency, Item, Key, Query, keys},
};

mod cursor;

#[cfg(test)]
mod tests;

/// Bytes of the conversations on a page; one at least is shown. What is left of an envelope is for its frame.
const PAGE_BYTES: usize = limits::ENVELOPE_BYTES - 128 * 1024;

/// A conversation of a user and when something happened in it last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Active {
    /// Which.
    pub(crate) id: ConversationId,
    /// When its last message was sent, or the user became a member, if that was later. A second or two behind.
    pub(crate) at: Timestamp,
    /// The `seq` of its last message, as far behind; 0 while there is none.
    pub(crate) last_seq: u64,
    /// Who sent it.
    pub(crate) sender: Option<UserId>,
    /// Until when the user has muted it.
    pub(crate) muted_until: Option<Timestamp>,
}

impl Active {
    /// By what is stored as its head.
    pub(crate) fn of(
        id: &ConversationId,
        membership: &MembershipDocument,
        head: Option<&Item>,
    ) -> Result<Self, Refusal> {
        let head: Option<HeadDocument> = head.map(document::read).transpose()?;
        let sent_at = head.as_ref().and_then(|head| head.sent_at);
        Ok(Self {
            id: id.clone(),
            at: sent_at.unwrap_or_default().max(membership.joined_at),
            last_seq: head.as_ref().map_or(0, |head| head.last_seq),
            sender: head.and_then(|head| head.sender_id),
            muted_until: membership.muted_until,
        })
    }

    fn cursor(&self) -> Cursor {
        Cursor { at: self.at, id: self.id.clone() }
    }
}

/// A conversation as the list shows it.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    conversation: Conversation,
    last_message: Option<Message>,
    last_read_seq: u64,
    unread_count: u64,
    settings: Settings,
}

#[derive(Serialize)]
struct Page {
    conversations: Vec<Listed>,
    next_cursor: Option<String>,
}

/// The latest first; of two at one moment, in the order of their ids.
pub(crate) fn sorted(mut all: Vec<Active>) -> Vec<Active> {
    all.sort_by_cached_key(Active::cursor);
    all
}

/// What comes behind the cursor.
fn behind(all: Vec<Active>, cursor: Option<&Cursor>) -> Vec<Active> {
    all.into_iter().filter(|active| cursor.is_none_or(|cursor| active.cursor() > *cursor)).collect()
}

impl Worker {
    /// `GET /api/v1/conversations`: `{conversations, next_cursor}`. A page may be shorter than `limit`: go by
    /// `next_cursor`, null at the end. What becomes active while pages are read moves before them: it is shown once or,
    /// where it had not been yet, not any more; who wants it reads the first pages again.
    ///
    /// # Errors
    /// `validation_failed` for a cursor that is none.
    pub(crate) async fn list_conversations(
        &self,
        request: &Request,
        user: Option<&UserId>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(user)?;
        let cursor = cursor.map(Cursor::parse).transpose()?;
        let memberships = self.memberships(request, &user).await?;
        // Behind a cursor nothing may be read that is older than what made it: what was shown at its new place would
        // be shown again at its old one.
        let consistency = if cursor.is_some() { Consistency::Strong } else { Consistency::Eventual };
        let all = sorted(self.active(request, &memberships, consistency).await?);
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        let mut left = behind(all, cursor.as_ref()).into_iter().peekable();
        while page.len() < limit && left.peek().is_some() {
            let chunk: Vec<Active> = left.by_ref().take(CONCURRENCY.min(limit - page.len())).collect();
            for (active, listed) in self.listed(request, &user, chunk).await? {
                bytes += listed.as_ref().map_or(0, size);
                if bytes > PAGE_BYTES && !page.is_empty() {
                    return Ok(answer(page, last));
                }
                last = Some(active.cursor());
                page.extend(listed);
            }
        }
        let last = last.filter(|_| left.peek().is_some());
        Ok(answer(page, last))
    }

    /// When something happened last in each of these conversations.
    pub(crate) async fn active(
        &self,
        request: &Request,
        memberships: &[(ConversationId, MembershipDocument)],
        consistency: Consistency,
    ) -> Result<Vec<Active>, Refusal> {
        let asked: Vec<Key> = memberships.iter().map(|(id, _)| keys::head(id)).collect();
        let heads = self.load_many(request, &asked, consistency).await?;
        memberships.iter().zip(heads).map(|((id, of), head)| Active::of(id, of, head.as_ref())).collect()
    }

    /// These conversations as the list shows them; nothing for those that are not there, or of which the user is no
    /// longer a member.
    async fn listed(
        &self,
        request: &Request,
        user: &UserId,
        chunk: Vec<Active>,
    ) -> Result<Vec<(Active, Option<Listed>)>, Refusal> {
        let lookups: Vec<_> = chunk.iter().map(|active| self.listed_one(request, user, active)).collect();
        let listed: Vec<Option<Listed>> = stream::iter(lookups).buffered(CONCURRENCY).try_collect().await?;
        Ok(chunk.into_iter().zip(listed).collect())
    }

    async fn listed_one(
        &self,
        request: &Request,
        user: &UserId,
        active: &Active,
    ) -> Result<Option<Listed>, Refusal> {
        let id = &active.id;
        let roster = self.roster(request, id).await?.filter(|roster| roster.members.contains(user));
        let member: Option<Stored<MemberDocument>> = self.load(request, &keys::member(id, user)).await?;
        let (Some(roster), Some(member)) = (roster, member) else { return Ok(None) };
        let member = member.document;
        let meta = self.meta(request, id).await?;
        let slot = self.last_slot(request, id).await?;
        if let Some(tail) =
            slot.as_ref().and_then(Tail::of).filter(|tail| self.lags(active.last_seq, Some(tail)))
        {
            self.note_lost(id, roster.version, Some(tail), 0);
        }
        let last_read_seq = member.last_read_seq.max(sent_last(user, slot.as_ref()));
        let last_message = slot.and_then(|mut slot| slot.messages.pop()).map(|message| message.shown(id));
        let last_message = self.preview(request, id, user, last_message).await?;
        let last_seq = last_message.as_ref().map_or(0, |message| message.seq);
        if member.is_concealed(last_seq) {
            return Ok(None);
        }
        Ok(Some(Listed {
            conversation: shown(id, &roster, meta.document, last_seq),
            last_message,
            last_read_seq,
            unread_count: member.unread(last_read_seq, last_seq),
            settings: Settings::at(active.muted_until, self.env.now()),
        }))
    }

    /// The last message as the user sees it.
    async fn preview(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
        last: Option<Message>,
    ) -> Result<Option<Message>, Refusal> {
        // Also where a service asks for the user.
        let request = Request { principal: Principal::User(user.clone()), ..request.clone() };
        let shown = self.with_quotes(&request, id, last.into_iter().collect()).await?;
        Ok(self.without_hidden(&request, id, shown).await?.pop())
    }

    /// From the log itself: that costs no more than from the slot that a head names, and does not lag.
    async fn last_slot(&self, request: &Request, id: &ConversationId) -> Result<Option<Slot>, Refusal> {
        let query = Query { descending: true, limit: 1, ..keys::slots(id, 1, MessageId::MAX_SEQ) };
        let page = self.query(request, query).await?;
        page.items.first().map(Slot::read).transpose()
    }
}

/// The last message in this slot that the user sent: who sends has read, also while the position is still to be written.
fn sent_last(user: &UserId, slot: Option<&Slot>) -> u64 {
    let sent = slot.and_then(|slot| slot.messages.iter().rfind(|message| message.sender == *user));
    sent.map_or(0, StoredMessage::seq)
}

fn answer(conversations: Vec<Listed>, last: Option<Cursor>) -> Success {
    Success::ok(&Page { conversations, next_cursor: last.map(|cursor| cursor.to_string()) })
}
