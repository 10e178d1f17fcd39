//! An entry of the stream, as push services read it (contract section 6.1).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Timestamp, UserId,
    record::{ConversationType, Message},
};

/// Bytes of content and metadata together that an entry holds: what the push services of phones take.
const CONTENT_BYTES: usize = 4_096;

/// What a user missed.
#[derive(Debug, Serialize)]
pub(super) struct Entry<'a> {
    user_id: &'a UserId,
    conversation_id: &'a ConversationId,
    conversation_type: ConversationType,
    message_id: MessageId,
    seq: u64,
    sender_id: &'a UserId,
    message_type: &'a str,
    sent_at: Timestamp,
    /// Whether the message's metadata mention the user.
    mentioned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Raw>,
}

impl<'a> Entry<'a> {
    /// The entry of a message for a user.
    pub(super) fn of(message: &'a Message, user: &'a UserId, kind: ConversationType, content: bool) -> Self {
        let short = message.content.len() + message.metadata.get().len() <= CONTENT_BYTES;
        let shown = content && short && message.deleted_at.is_none();
        Self {
            user_id: user,
            conversation_id: &message.conversation_id,
            conversation_type: kind,
            message_id: message.id,
            seq: message.seq,
            sender_id: &message.sender_id,
            message_type: &message.message_type,
            sent_at: message.sent_at,
            mentioned: mentioned(&message.metadata, user),
            content: shown.then_some(message.content.as_str()),
            metadata: shown.then_some(&message.metadata),
        }
    }

    /// What it is named by: the same message for the same user is one entry.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.message_id, self.user_id)
    }

    pub(super) fn payload(&self) -> Raw {
        Raw::of(self)
    }
}

/// Whether metadata have the user among their `mentions`: a list of ids. Whatever else is there mentions nobody.
pub(super) fn mentioned(metadata: &Raw, user: &UserId) -> bool {
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        mentions: Vec<Cow<'a, str>>,
    }
    // Most have none, and need not be read for it.
    metadata.get().contains("\"mentions\"")
        && metadata
            .parse::<Metadata<'_>>()
            .is_ok_and(|read| read.mentions.iter().any(|id| *id == user.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whom_metadata_mention_is_mentioned() {
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let metadata = Raw::of(&json!({"mentions": ["bob", "carol"], "x": 1}));
        assert!(mentioned(&metadata, &bob) && !mentioned(&metadata, &alice));
        let escaped = Raw::from_string(r#"{"mentions":["\u0062ob"]}"#.to_owned()).unwrap();
        assert!(mentioned(&escaped, &bob));
        for other in
            [json!({}), json!({"mentions": "bob"}), json!({"mentions": {"bob": 1}}), json!({"x": ["bob"]})]
        {
            assert!(!mentioned(&Raw::of(&other), &bob), "{other}");
        }
    }
}
