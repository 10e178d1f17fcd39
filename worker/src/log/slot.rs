//! Slots: the items of the log.

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Refusal, Timestamp, UserId,
    record::{ClientRandom, Message},
};
use uuid::Uuid;

use crate::{
    document,
    store::{Expect, Item, Write, keys},
};

/// Messages in one slot, at most.
pub(crate) const SLOT_MESSAGES: usize = 16;
/// Bytes of one slot's messages, at most: an item of DynamoDB takes 400 KB.
pub(crate) const SLOT_BYTES: usize = 300 * 1024;

/// A message as it is stored. What its key and its id say is not said again: a slot of up to 1,024 bytes costs one
/// write unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredMessage {
    /// Holds the `seq`.
    pub(crate) id: MessageId,
    #[serde(rename = "from")]
    pub(crate) sender: UserId,
    #[serde(rename = "type")]
    pub(crate) message_type: String,
    #[serde(rename = "text")]
    pub(crate) content: String,
    #[serde(rename = "meta", default = "Raw::empty", skip_serializing_if = "is_empty")]
    pub(crate) metadata: Raw,
    #[serde(rename = "key")]
    pub(crate) client_random: ClientRandom,
    #[serde(rename = "reply", default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_to: Option<MessageId>,
    #[serde(rename = "at")]
    pub(crate) sent_at: Timestamp,
    /// The command that stored it: tells a client's repeat from another attempt of the gateway's.
    #[serde(rename = "cmd")]
    pub(crate) command: Uuid,
}

fn is_empty(metadata: &Raw) -> bool {
    metadata.get() == "{}"
}

impl StoredMessage {
    /// Its place in the conversation.
    pub(crate) fn seq(&self) -> u64 {
        self.id.seq()
    }

    /// Whether it is what this sender named so.
    pub(crate) fn is(&self, sender: &UserId, client_random: &ClientRandom) -> bool {
        self.sender == *sender && self.client_random == *client_random
    }

    /// The message as clients see it, without its reactions.
    pub(crate) fn shown(self, conversation: &ConversationId) -> Message {
        Message {
            id: self.id,
            conversation_id: conversation.clone(),
            seq: self.id.seq(),
            sender_id: self.sender,
            message_type: self.message_type,
            content: self.content,
            metadata: self.metadata,
            client_random: self.client_random,
            reply_to_id: self.reply_to,
            sent_at: self.sent_at,
            reactions: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SlotDocument<M> {
    #[serde(rename = "m")]
    messages: M,
}

/// Consecutive messages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// The `seq` of the first.
    pub(crate) first: u64,
    /// At least one.
    pub(crate) messages: Vec<StoredMessage>,
}

impl Slot {
    /// The slot of an item.
    ///
    /// # Errors
    /// `unavailable` where the item is none that this build can read.
    pub(crate) fn read(item: &Item) -> Result<Self, Refusal> {
        let SlotDocument { messages } = document::read::<SlotDocument<Vec<StoredMessage>>>(item)?;
        let first = item.key.sk.parse().unwrap_or(0);
        let consecutive = messages.iter().zip(first..).all(|(message, seq)| message.seq() == seq);
        if first == 0 || messages.is_empty() || !consecutive {
            tracing::error!(key = ?item.key, "a slot does not hold what its key says: something else writes to the table");
            return Err(Refusal::unavailable("a stored document cannot be read"));
        }
        Ok(Self { first, messages })
    }

    /// The write that stores these messages, the first of which is at `first`.
    pub(crate) fn write(id: &ConversationId, first: u64, messages: &[StoredMessage]) -> Write {
        document::write(keys::slot(id, first), &SlotDocument { messages }, Expect::Absent)
    }

    /// The `seq` of the last message.
    pub(crate) fn last(&self) -> u64 {
        self.messages.last().map_or(self.first, StoredMessage::seq)
    }
}

/// The least key of a slot that may hold `seq`.
pub(crate) fn earliest_slot(seq: u64) -> u64 {
    seq.saturating_sub(SLOT_MESSAGES as u64 - 1).max(1)
}
