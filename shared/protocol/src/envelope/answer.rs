//! What workers answer.

use serde::{Deserialize, Serialize};

use super::Revocation;
use crate::{ConversationId, Raw, Refusal, UserId, record::Unread};

/// A worker's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done, or read.
    Ok(Success),
    /// It was not done.
    Refused(Refusal),
}

/// What was done or read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// The HTTP status that says it: 200, 201, 202 or 204.
    pub status: u16,
    /// The response; an object.
    pub body: Raw,
}

impl Success {
    /// 200 with this body.
    #[must_use]
    pub fn ok<T: Serialize + ?Sized>(body: &T) -> Self {
        Self { status: 200, body: Raw::of(body) }
    }
}

/// Who was revoked lately, the earliest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// Some or all of them.
    pub revocations: Vec<Revocation>,
    /// Whether there are more, after the last of these.
    pub more: bool,
}

/// What a gateway needs after a join of a user topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinedUser {
    /// Users whose status this one may see.
    pub visible: Vec<UserId>,
    /// For `sync_complete`: the 200 latest unread conversations.
    pub unread: Vec<Unread>,
}

/// What a gateway needs after a join of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinedConversation {
    /// Where the channel's logs stand.
    pub head: Head,
    /// The response for the client.
    pub response: Raw,
    /// Members whom who joins does not see here, nor they it: one of the two blocks the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<UserId>,
}

/// Whom a user sees, and whom not whatever else holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sees {
    /// Users whose status this one may see.
    pub visible: Vec<UserId>,
    /// Those whom it blocks and who block it: neither sees the other anywhere.
    pub unseen: Vec<UserId>,
}

/// Where a conversation's logs end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which conversation.
    pub conversation: ConversationId,
    /// The last message's `seq`.
    pub last_seq: u64,
    /// The last change's.
    pub change_seq: u64,
    /// Grows with each change of the members.
    pub members_version: u64,
}

/// A part of a conversation's logs, in order and without a gap. Short of `head` where it would grow too large.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Range {
    /// Where the logs ended when they were read.
    pub head: Head,
    /// Messages; their payloads are those of `new_message`.
    pub messages: Vec<Logged>,
    /// Changes; their payloads are those of their events.
    pub changes: Vec<LoggedChange>,
    /// Those of the messages that some do not get, as all others get them; above they are blank.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<Logged>,
}

impl Range {
    /// The messages, as all who get them get them.
    pub fn told(&self) -> impl Iterator<Item = &Logged> {
        let apart = |logged: &&Logged| self.apart.binary_search_by_key(&logged.seq, |apart| apart.seq).ok();
        self.messages
            .iter()
            .map(move |logged| apart(&logged).and_then(|at| self.apart.get(at)).unwrap_or(logged))
    }
}

/// A message of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Its place.
    pub seq: u64,
    /// The payload of `new_message`.
    pub payload: Raw,
    /// Who does not get it: its channels pass over it. Only where all gateways that are told know of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except: Option<UserId>,
}

impl Logged {
    /// One that all get.
    #[must_use]
    pub const fn new(seq: u64, payload: Raw) -> Self {
        Self { seq, payload, except: None }
    }
}

/// A change to a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedChange {
    /// Its place in the log of changes.
    pub change_seq: u64,
    /// The place of the message that changed. 0 from a build that does not tell.
    #[serde(default)]
    pub seq: u64,
    /// The event that tells it.
    pub event: String,
    /// Its payload.
    pub payload: Raw,
    /// Whose channels are told of it; all where nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<UserId>,
    /// Whose channels are not: they have deleted the message for themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<UserId>,
}

impl LoggedChange {
    /// Whether it is told to this user's channels; to a service's (none) is what all are told.
    #[must_use]
    pub fn is_for(&self, user: Option<&UserId>) -> bool {
        (self.only.is_none() || self.only.as_ref() == user)
            && !user.is_some_and(|user| self.except.contains(user))
    }
}

/// Which of the users asked for are members now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Membership {
    /// The version that was read.
    pub members_version: u64,
    /// Those who are.
    pub members: Vec<UserId>,
}
