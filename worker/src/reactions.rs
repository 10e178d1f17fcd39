//! Reactions: adding and taking them back, and what is stored of them.
//!
//! The reactions on a message are one item; what changes it also adds to the conversation's log of changes, in one
//! step. A repeat changes nothing, yet writes the item again: an attempt that comes late must meet a version that it
//! did not read, whatever it would do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Reason, Refusal, Timestamp, UserId, envelope::Success, event::sent, id,
    limits, record::Message,
};

use crate::{
    Request, Worker,
    changes::{Ask, Asked},
    document,
    log::read::rest,
    store::{Consistency, Item, Key, Query, keys},
    validate,
};

mod stored;
#[cfg(test)]
mod tests;

pub(crate) use stored::Reactions;

/// Pages of 1 MiB in which the reactions on consecutive messages are read. As they are shown they are no less than two
/// fifths as long, and no answer shows more than 768 KiB.
const PAGES: usize = 2;

#[derive(Deserialize)]
struct Payload {
    message_id: String,
    reaction: String,
}

/// The payload of `reaction_added` and `reaction_removed`.
#[derive(Serialize)]
pub(crate) struct Reacted<'a> {
    pub(crate) conversation_id: &'a ConversationId,
    pub(crate) message_id: MessageId,
    pub(crate) user_id: &'a UserId,
    pub(crate) reaction: &'a str,
    pub(crate) timestamp: Timestamp,
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
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Self::Add => sent::REACTION_ADDED,
            Self::Remove => sent::REACTION_REMOVED,
        }
    }

    pub(crate) fn reply(self) -> Success {
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
        let found = self.message(request, id, message).await?.ok_or_else(no_such_message)?;
        if react == React::Add && roster.blocked_by.contains(&user) {
            return Err(Refusal::blocked());
        }
        let silent = found.silent.or_else(|| roster.deaf_to(&user).cloned());
        let ask = Ask::React { user, reaction: payload.reaction, react };
        let asked = Asked { request: request.clone(), message, members_version: roster.version, silent, ask };
        self.enqueue_change(id, asked).await
    }

    /// The messages with the reactions on them, in their order. The last ones are left out where that is more than is
    /// read at once, which is more than any page takes; one is always there.
    pub(crate) async fn with_reactions(
        &self,
        request: &Request,
        id: &ConversationId,
        mut messages: Vec<Message>,
    ) -> Result<Vec<Message>, Refusal> {
        let follows = |one: &Message, other: &Message| one.seq + 1 == other.seq;
        let pairs = || messages.iter().zip(messages.iter().skip(1));
        let ascending = pairs().all(|(one, other)| follows(one, other));
        let descending = pairs().all(|(one, other)| follows(other, one));
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(messages) };
        let (from, to) = (first.seq.min(last.seq), first.seq.max(last.seq));
        let items = if ascending || descending {
            // Consecutive: a range costs by what is there, and most messages have no reactions.
            let query = Query { descending: !ascending, ..keys::reactions_between(id, from, to) };
            let (items, up_to) = self.reactions_in(request, query).await?;
            let unknown = |message: &Message| {
                up_to.is_some_and(|seq| if ascending { message.seq > seq } else { message.seq < seq })
            };
            messages.retain(|message| !unknown(message));
            items
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

    /// What a range holds, and the message up to which it was read where that is not all.
    async fn reactions_in(
        &self,
        request: &Request,
        mut query: Query,
    ) -> Result<(Vec<Item>, Option<u64>), Refusal> {
        let mut items: Vec<Item> = Vec::new();
        for _ in 0..PAGES {
            let page = self.query(request, query.clone()).await?;
            let rest = rest(&query, &page);
            items.extend(page.items);
            match rest {
                Some(rest) => query = rest,
                None => return Ok((items, None)),
            }
        }
        let last = items.last().and_then(|item| item.key.sk.parse().ok());
        Ok((items, last))
    }
}

fn of_item(item: &Item) -> Result<(u64, BTreeMap<String, Vec<UserId>>), Refusal> {
    Ok((item.key.sk.parse().unwrap_or(0), document::read::<Reactions>(item)?.shown()))
}
