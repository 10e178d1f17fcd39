//! Topics and their names.

use std::fmt;

use crate::{ConversationId, UserId};

/// The topic of heartbeats.
pub const PHOENIX: &str = "phoenix";

/// A topic that a channel can be joined on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `user:{user_id}`: one user's notices.
    User(UserId),
    /// `conversation:{conversation_id}`: one conversation.
    Conversation(ConversationId),
}

impl Topic {
    /// The topic of this name; `None` where no channel is routed for it, ids that are not well-formed included.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.split_once(':')? {
            ("user", id) => UserId::new(id).ok().map(Self::User),
            ("conversation", id) => ConversationId::new(id).ok().map(Self::Conversation),
            _ => None,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Conversation(id) => write!(f, "conversation:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Topic;

    #[test]
    fn names_read_back_as_they_are_written() {
        for name in ["user:alice", "conversation:a:b|c", "user:x@y.z"] {
            assert_eq!(Topic::parse(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn what_no_channel_is_routed_for_is_no_topic() {
        for name in
            ["", "user", "user:", "nope:1", "phoenix", "user:a b", "conversation:*", "user:constructor"]
        {
            assert_eq!(Topic::parse(name), None, "{name}");
        }
    }
}
