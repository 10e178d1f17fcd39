//! Entries of presence and their steps.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, UserId, record::Status};

/// A step of one gateway's presence entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceChange {
    /// The gateway's incarnation.
    pub gateway: String,
    /// The entry's revision before the step; 0 where nobody was there.
    pub previous: u64,
    /// The entry's revision after the step.
    pub revision: u64,
    /// Metas that came.
    pub joins: Vec<PresenceMeta>,
    /// The `phx_ref`s of metas that went.
    pub leaves: Vec<String>,
}

/// One connection of a user in a conversation or on the user topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceMeta {
    /// Whose.
    pub user: UserId,
    /// Unique.
    pub phx_ref: String,
    /// The ref that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phx_ref_prev: Option<String>,
    /// Since when.
    pub online_at: Timestamp,
}

/// A gateway's presence entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationPresence {
    /// Grows with each step, also when the entry was gone in between.
    pub revision: u64,
    /// The connections there.
    pub metas: Vec<PresenceMeta>,
}

/// A gateway's presence entry of a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserPresence {
    /// The latest status chosen on any device, and when; none while nobody chose.
    pub chosen: Option<ChosenStatus>,
    /// The connections there.
    pub metas: Vec<PresenceMeta>,
}

/// A status and when it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenStatus {
    /// Which.
    pub status: Status,
    /// When.
    pub at: Timestamp,
}
