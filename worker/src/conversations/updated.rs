//! `conversation_updated`, as users are told it (contract section 3.1).

use serde::Serialize;
use simurgh_protocol::{ConversationId, Raw, Timestamp, UserId, event::sent};

use crate::Worker;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// The conversation is new.
    Created,
    /// Its metadata.
    Metadata,
    /// `user_id` came.
    MemberAdded,
    /// `user_id` went.
    MemberRemoved,
    /// The reader's own position; told to that reader's devices.
    Read,
    /// The user's own settings of it; told to that user's devices.
    Settings,
}

/// The payload of `conversation_updated`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ConversationUpdated {
    /// Which conversation.
    pub(crate) conversation_id: ConversationId,
    /// What changed.
    pub(crate) change: Change,
    /// Who came, went or read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<UserId>,
    /// The metadata, where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Raw>,
    /// When it changed.
    pub(crate) updated_at: Timestamp,
}

impl Worker {
    /// Tells these users that the conversation changed.
    pub(crate) async fn tell_updated<'a>(
        &self,
        users: impl IntoIterator<Item = &'a UserId>,
        updated: &ConversationUpdated,
    ) {
        let users: Vec<UserId> = users.into_iter().cloned().collect();
        self.tell_users(&users, sent::CONVERSATION_UPDATED, &Raw::of(updated)).await;
    }
}
