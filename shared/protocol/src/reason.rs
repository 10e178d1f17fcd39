//! Why something was refused: the contract's reason codes, and a refusal with its details.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A reason code (contract section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No token, a bad one, or another user's topic.
    Unauthorized,
    /// Not a member, or no such conversation.
    NotAMember,
    /// No channel is routed for the topic, or it is not joined.
    #[serde(rename = "unmatched topic")]
    UnmatchedTopic,
    /// The channel knows no such event.
    UnknownEvent,
    /// The payload breaks a rule; `errors` says where.
    ValidationFailed,
    /// Too many bytes; `max_bytes` says how many may be.
    MessageTooLarge,
    /// Too often; `retry_after` says when to try again, in seconds.
    RateLimitExceeded,
    /// No such thing.
    NotFound,
    /// Known, and not allowed.
    Forbidden,
    /// The sender blocks whom it is for.
    Blocked,
    /// It contradicts what is stored.
    Conflict,
    /// The socket has as many channels as it may.
    TooManyChannels,
    /// It did not work now; nothing is known to be wrong with the request.
    Unavailable,
}

impl Reason {
    /// The code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::NotAMember => "not_a_member",
            Self::UnmatchedTopic => "unmatched topic",
            Self::UnknownEvent => "unknown_event",
            Self::ValidationFailed => "validation_failed",
            Self::MessageTooLarge => "message_too_large",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::Blocked => "blocked",
            Self::Conflict => "conflict",
            Self::TooManyChannels => "too_many_channels",
            Self::Unavailable => "unavailable",
        }
    }

    /// The HTTP status that carries it (contract section 4).
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::ValidationFailed => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::Blocked => 403,
            Self::NotFound | Self::NotAMember | Self::UnmatchedTopic | Self::UnknownEvent => 404,
            Self::Conflict => 409,
            Self::MessageTooLarge => 413,
            Self::RateLimitExceeded | Self::TooManyChannels => 429,
            Self::Unavailable => 503,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal as clients see it: `{"reason": …, "message": …, …details}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// The code.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// What the reason carries beside: `errors`, `max_bytes`, `retry_after`, `message_id`.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl Refusal {
    /// A refusal without details.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: Map::new() }
    }

    /// The same with one detail more.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// `validation_failed` for one field.
    #[must_use]
    pub fn invalid(field: &str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        let errors = Value::Object(Map::from_iter([(field.to_owned(), Value::from(vec![problem.clone()]))]));
        Self::new(Reason::ValidationFailed, format!("{field} {problem}")).with("errors", errors)
    }

    /// `message_too_large`, naming how many bytes may be.
    #[must_use]
    pub fn too_large(what: &str, max_bytes: usize) -> Self {
        Self::new(Reason::MessageTooLarge, format!("{what} is larger than {max_bytes} bytes"))
            .with("max_bytes", max_bytes)
    }

    /// `unavailable`: try again.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::Unavailable, message)
    }

    /// `blocked`: who says something in a direct conversation blocks the other one.
    #[must_use]
    pub fn blocked() -> Self {
        Self::new(Reason::Blocked, "you have blocked this user: unblock it first")
    }

    /// `not_a_member`, the same words whether or not the conversation exists.
    #[must_use]
    pub fn not_a_member() -> Self {
        Self::new(Reason::NotAMember, "you are not a member of this conversation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_flat_json() {
        let text = serde_json::to_string(&Refusal::too_large("content", 5)).unwrap();
        assert_eq!(
            text,
            r#"{"reason":"message_too_large","message":"content is larger than 5 bytes","max_bytes":5}"#
        );
        let back: Refusal = serde_json::from_str(&text).unwrap();
        assert_eq!(back, Refusal::too_large("content", 5));
    }

    #[test]
    fn codes_serialize_as_they_are_named() {
        for reason in [Reason::UnmatchedTopic, Reason::NotAMember, Reason::TooManyChannels] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
