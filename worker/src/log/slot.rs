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
    /// When it was edited last.
    #[serde(rename = "edited", default, skip_serializing_if = "Option::is_none")]
    pub(crate) edited_at: Option<Timestamp>,
    /// Where it was deleted for everyone: then there is no content, no metadata, and nothing that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<Deleted>,
    /// Who never gets it: that user blocked its sender when it was sent, or edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) silent: Option<UserId>,
}

/// That a message was deleted for everyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    /// When.
    pub(crate) at: Timestamp,
    /// By whom; a service where nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<UserId>,
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

    /// The message with other content and, where it is given, other metadata.
    pub(crate) fn edited(self, content: String, metadata: Option<Raw>, at: Timestamp) -> Self {
        let metadata = metadata.unwrap_or(self.metadata);
        Self { content, metadata, edited_at: Some(at), ..self }
    }

    /// The message, which this user never gets from now on, whatever it got before.
    pub(crate) fn silent_for(self, user: Option<&UserId>) -> Self {
        Self { silent: user.cloned().or(self.silent), ..self }
    }

    /// What is left of the message once it is deleted for everyone: its place, its sender, its name and its type.
    pub(crate) fn tombstone(self, deleted: Deleted) -> Self {
        Self {
            content: String::new(),
            metadata: Raw::empty(),
            reply_to: None,
            edited_at: None,
            deleted: Some(deleted),
            ..self
        }
    }

    /// The message as clients see it, without its reactions and what it answers.
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
            reply_to: None,
            sent_at: self.sent_at,
            edited_at: self.edited_at,
            deleted_at: self.deleted.map(|deleted| deleted.at),
            hidden: false,
            reactions: None,
            silent: self.silent,
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

    /// The write of a slot that was read at `version`, with these messages in it now.
    pub(crate) fn rewrite(&self, id: &ConversationId, version: u64) -> Write {
        let messages = &self.messages;
        document::write(keys::slot(id, self.first), &SlotDocument { messages }, Expect::Version(version))
    }

    /// Bytes of its document.
    pub(crate) fn bytes(&self) -> usize {
        Raw::of(&SlotDocument { messages: &self.messages }).get().len()
    }

    /// The message at `seq`.
    pub(crate) fn at(&self, seq: u64) -> Option<&StoredMessage> {
        self.messages.iter().find(|message| message.seq() == seq)
    }

    /// The slot with this message in its place.
    pub(crate) fn with(mut self, message: StoredMessage) -> Self {
        if let Some(place) = self.messages.iter_mut().find(|other| other.id == message.id) {
            *place = message;
        }
        self
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
