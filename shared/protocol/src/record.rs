//! What is stored and shown: messages, conversations, and their parts (contract sections 3.3 and 4).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{ConversationId, MessageId, Raw, Timestamp, UserId, limits};

/// What a client named its message by: an integer from 0 to 2^53 or a text of 1 to 64 characters. `5` and `"5"` differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum ClientRandom {
    /// An integer.
    Number(u64),
    /// A text.
    Text(String),
}

impl<'de> Deserialize<'de> for ClientRandom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const RULE: &str = "must be an integer from 0 to 2^53 or a text of 1 to 64 characters";
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::Number(number) => {
                // 5.0 is how some clients write 5.
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a whole number in range"
                )]
                let whole = number.as_u64().or_else(|| {
                    let float = number.as_f64()?;
                    ((0.0..=9_007_199_254_740_992.0).contains(&float) && float.fract() == 0.0)
                        .then_some(float as u64)
                });
                match whole {
                    Some(number) if number <= limits::CLIENT_RANDOM_MAX => Ok(Self::Number(number)),
                    _ => Err(de::Error::custom(RULE)),
                }
            }
            serde_json::Value::String(text)
                if (1..=limits::CLIENT_RANDOM_CHARS).contains(&text.chars().count()) =>
            {
                Ok(Self::Text(text))
            }
            _ => Err(de::Error::custom(RULE)),
        }
    }
}

/// A message (contract section 3.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id; holds its `seq`.
    pub id: MessageId,
    /// Where it was sent.
    pub conversation_id: ConversationId,
    /// Its place in the conversation: 1, 2, 3, …
    pub seq: u64,
    /// Who sent it.
    pub sender_id: UserId,
    /// `text`, `media`, `system`, or another word.
    pub message_type: String,
    /// Opaque text.
    pub content: String,
    /// An object of the sender's.
    pub metadata: Raw,
    /// The sender's name for it.
    pub client_random: ClientRandom,
    /// The message it answers.
    pub reply_to_id: Option<MessageId>,
    /// What that message is now; there exactly where `reply_to_id` is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Quoted>,
    /// When it was stored.
    pub sent_at: Timestamp,
    /// When its content or metadata were changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted for everyone: its content and metadata are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// Whether whom it is shown to has deleted it for itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// In history only: who reacted how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reactions: Option<BTreeMap<String, Vec<UserId>>>,
    /// Who never gets it: that user blocked its sender when it was sent. It is told to nobody, least of all to the sender.
    #[serde(skip)]
    pub silent: Option<UserId>,
}

impl Message {
    /// What is shown of it where another message answers it.
    #[must_use]
    pub fn quoted(&self) -> Quoted {
        let seen = self.deleted_at.is_none() && !self.hidden;
        Quoted {
            id: self.id,
            seq: self.seq,
            sender_id: self.sender_id.clone(),
            message_type: self.message_type.clone(),
            preview: seen.then(|| self.content.chars().take(limits::PREVIEW_CHARS).collect()),
            silent: self.silent.clone(),
        }
    }

    /// The message as it is told to all who get it: with nothing of what some of them never got.
    #[must_use]
    pub fn told(mut self) -> Self {
        let shown_to_more = |quote: &&mut Quoted| quote.silent.is_some() && quote.silent != self.silent;
        if let Some(quote) = self.reply_to.as_mut().filter(shown_to_more) {
            quote.preview = None;
        }
        self
    }

    /// The message as it is shown to somebody who has deleted it for itself: its place, and nothing of what it says.
    #[must_use]
    pub fn hide(self) -> Self {
        Self {
            content: String::new(),
            metadata: Raw::empty(),
            reply_to_id: None,
            reply_to: None,
            edited_at: None,
            hidden: true,
            reactions: self.reactions.map(|_| BTreeMap::new()),
            ..self
        }
    }
}

/// The message that another one answers, as it was when the answer was read (contract section 3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quoted {
    /// Its id.
    pub id: MessageId,
    /// Its place in the conversation.
    pub seq: u64,
    /// Who sent it.
    pub sender_id: UserId,
    /// As it was sent.
    pub message_type: String,
    /// How its content begins; null where it is deleted, or hidden from whom this is shown to.
    pub preview: Option<String>,
    /// Who never gets that message.
    #[serde(skip)]
    pub silent: Option<UserId>,
}

/// The two kinds of conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationType {
    /// A fixed pair.
    Direct,
    /// A group whose members change.
    Group,
}

/// A conversation (contract section 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// `direct` or `group`.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// An object of its creator's.
    pub metadata: Raw,
    /// The user who created it; null where a service did.
    pub created_by: Option<UserId>,
    /// Its members, sorted.
    pub member_ids: Vec<UserId>,
    /// The `seq` of its last message; 0 while there is none.
    pub last_seq: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its metadata or members changed last.
    pub updated_at: Timestamp,
}

/// A status that a user can choose or be seen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Connected.
    Online,
    /// Connected, not looking.
    Away,
    /// Connected, not to be disturbed.
    Busy,
    /// Not connected; chosen: invisible.
    Offline,
}

/// What a conversation's `sync_complete` entry says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unread {
    /// Which conversation.
    pub conversation_id: ConversationId,
    /// `last_seq` − `last_read_seq`.
    pub unread_count: u64,
    /// The `seq` of its last message.
    pub last_seq: u64,
}

#[cfg(test)]
mod tests {
    use super::ClientRandom;

    #[test]
    fn a_client_random_is_a_number_or_a_text_and_they_differ() {
        let read = |json: &str| serde_json::from_str::<ClientRandom>(json);
        assert_eq!(read("5").unwrap(), ClientRandom::Number(5));
        assert_eq!(read("5.0").unwrap(), ClientRandom::Number(5));
        assert_ne!(read("5").unwrap(), read("\"5\"").unwrap());
        assert_eq!(read("9007199254740992").unwrap(), ClientRandom::Number(1 << 53));
        for bad in ["-1", "1.5", "9007199254740993", "\"\"", "null", "true", "[]", "{}", "1e300"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("\"{}\"", "é".repeat(64))).is_ok());
        assert!(read(&format!("\"{}\"", "é".repeat(65))).is_err());
    }
}
