//! The documents of a membership: one seen from the conversation, one seen from the user.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{Timestamp, UserId, record::ConversationType};
use uuid::Uuid;

/// How long a tombstone outlives its removal, at least: far longer than any late attempt.
pub const TOMBSTONE: Duration = Duration::from_hours(24);

/// Whether a membership holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It holds.
    Member,
    /// It ended: a tombstone, kept so that an attempt that comes late meets a version it did not read.
    Removed,
}

/// The document of `keys::member`: a membership, seen from the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDocument {
    /// Whether it holds.
    pub state: MemberState,
    /// Since when; of a tombstone, when it ended.
    pub joined_at: Timestamp,
    /// The `seq` up to which the member has read.
    pub last_read_seq: u64,
    /// Of a tombstone, the request that ended it: another attempt of that one finds that it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<Uuid>,
}

impl MemberDocument {
    /// Whether the user is a member.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.state == MemberState::Member
    }
}

/// The document of `keys::membership`: the same, seen from the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipDocument {
    /// Whether it holds.
    pub state: MemberState,
    /// What kind of conversation it is.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// Since when; of a tombstone, when it ended.
    pub joined_at: Timestamp,
    /// The other one of a direct conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<UserId>,
}
