//! Event names: what clients push and what the server sends.

use crate::Topic;

/// Phoenix' own events.
pub mod phx {
    /// Joins a channel.
    pub const JOIN: &str = "phx_join";
    /// Leaves a channel.
    pub const LEAVE: &str = "phx_leave";
    /// Answers a push or a join.
    pub const REPLY: &str = "phx_reply";
    /// The server closed the channel.
    pub const CLOSE: &str = "phx_close";
    /// The channel failed; rejoining helps.
    pub const ERROR: &str = "phx_error";
    /// On topic `phoenix`: keeps the socket alive.
    pub const HEARTBEAT: &str = "heartbeat";
}

/// Events that only the server sends.
pub mod sent {
    /// A message (contract section 3.3).
    pub const NEW_MESSAGE: &str = "new_message";
    /// A conversation's metadata, members or the reader's own position changed.
    pub const CONVERSATION_UPDATED: &str = "conversation_updated";
    /// Another user's status.
    pub const USER_PRESENCE_CHANGED: &str = "user_presence_changed";
    /// Somebody read up to a message.
    pub const READ_RECEIPT: &str = "read_receipt";
    /// The user blocked another one, or no longer does.
    pub const BLOCKS_UPDATED: &str = "blocks_updated";
    /// A service's notice to one user.
    pub const NOTIFICATION: &str = "notification";
    /// The socket's token runs out soon.
    pub const TOKEN_EXPIRING: &str = "token_expiring";
    /// Follows a join of the user topic: what is unread.
    pub const SYNC_COMPLETE: &str = "sync_complete";
    /// Somebody types or stopped.
    pub const TYPING_INDICATOR: &str = "typing_indicator";
    /// A message has other content or metadata.
    pub const MESSAGE_EDITED: &str = "message_edited";
    /// A message was deleted for everyone.
    pub const MESSAGE_DELETED: &str = "message_deleted";
    /// The user has deleted a message for itself.
    pub const MESSAGE_HIDDEN: &str = "message_hidden";
    /// What the user sent has come to somebody.
    pub const DELIVERY_RECEIPT: &str = "delivery_receipt";
    /// A reaction was added.
    pub const REACTION_ADDED: &str = "reaction_added";
    /// A reaction was removed.
    pub const REACTION_REMOVED: &str = "reaction_removed";
    /// A member's first connection joined the channel.
    pub const USER_JOINED: &str = "user_joined";
    /// A member's last connection left the channel.
    pub const USER_LEFT: &str = "user_left";
    /// Who is present, after a join.
    pub const PRESENCE_STATE: &str = "presence_state";
    /// Who came and went since.
    pub const PRESENCE_DIFF: &str = "presence_diff";
}

/// A push that some channel understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// User topic: renews the socket's token.
    AccessToken,
    /// User topic: answers with the server's time.
    Ping,
    /// User topic: chooses a status.
    UpdatePresence,
    /// User topic: marks conversations as read.
    MarkAllRead,
    /// Conversation: stores a message and broadcasts it.
    SendMessage,
    /// Conversation: tells the others.
    TypingStart,
    /// Conversation: tells the others.
    TypingStop,
    /// Conversation: moves one's read position.
    MarkAsRead,
    /// Conversation: moves the position up to which messages have come.
    MarkAsDelivered,
    /// Conversation: gives one's message other content.
    EditMessage,
    /// Conversation: deletes a message, for everyone or for oneself.
    DeleteMessage,
    /// Conversation: adds a reaction to a message.
    AddReaction,
    /// Conversation: takes a reaction back.
    RemoveReaction,
}

/// Which of a user's rates a push counts against (contract section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateClass {
    /// `send_message`.
    Messages,
    /// `typing_start` and `typing_stop`.
    Typing,
    /// `phx_join`.
    Joins,
    /// Everything else.
    Pushes,
}

impl Push {
    /// The push that `event` names on `topic`; `None` where its channel knows no such event.
    #[must_use]
    pub fn parse(topic: &Topic, event: &str) -> Option<Self> {
        let push = match (topic, event) {
            (Topic::User(_), "access_token") => Self::AccessToken,
            (Topic::User(_), "ping") => Self::Ping,
            (Topic::User(_), "update_presence") => Self::UpdatePresence,
            (Topic::User(_), "mark_all_read") => Self::MarkAllRead,
            (Topic::Conversation(_), "send_message") => Self::SendMessage,
            (Topic::Conversation(_), "typing_start") => Self::TypingStart,
            (Topic::Conversation(_), "typing_stop") => Self::TypingStop,
            (Topic::Conversation(_), "mark_as_read") => Self::MarkAsRead,
            (Topic::Conversation(_), "mark_as_delivered") => Self::MarkAsDelivered,
            (Topic::Conversation(_), "edit_message") => Self::EditMessage,
            (Topic::Conversation(_), "delete_message") => Self::DeleteMessage,
            (Topic::Conversation(_), "add_reaction") => Self::AddReaction,
            (Topic::Conversation(_), "remove_reaction") => Self::RemoveReaction,
            _ => return None,
        };
        Some(push)
    }

    /// The event's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::Ping => "ping",
            Self::UpdatePresence => "update_presence",
            Self::MarkAllRead => "mark_all_read",
            Self::SendMessage => "send_message",
            Self::TypingStart => "typing_start",
            Self::TypingStop => "typing_stop",
            Self::MarkAsRead => "mark_as_read",
            Self::MarkAsDelivered => "mark_as_delivered",
            Self::EditMessage => "edit_message",
            Self::DeleteMessage => "delete_message",
            Self::AddReaction => "add_reaction",
            Self::RemoveReaction => "remove_reaction",
        }
    }

    /// The rate that the push counts against.
    #[must_use]
    pub const fn rate_class(self) -> RateClass {
        match self {
            Self::SendMessage => RateClass::Messages,
            Self::TypingStart | Self::TypingStop => RateClass::Typing,
            _ => RateClass::Pushes,
        }
    }
}
