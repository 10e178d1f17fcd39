//! Conversations: creating, reading and changing them, and telling their members.

pub(crate) mod create;
pub(crate) mod draft;
pub(crate) mod read;
pub(crate) mod updated;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{ConversationId, Raw, Timestamp, UserId, record::ConversationType};

/// The document of `keys::meta`: what a conversation is. It may be there without a conversation: that exists from when
/// its item `members` does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetaDocument {
    /// `direct` or `group`.
    #[serde(rename = "type")]
    pub(crate) kind: ConversationType,
    /// An object of its creator's.
    pub(crate) metadata: Raw,
    /// Who created it; none where a service did.
    pub(crate) created_by: Option<UserId>,
    /// When.
    pub(crate) created_at: Timestamp,
    /// When its metadata changed last.
    pub(crate) updated_at: Timestamp,
    /// The fingerprint of the members it was created with ([`draft::fingerprint`]): who creates it again must name
    /// the same, whoever came and went since.
    pub(crate) created_with: String,
}

/// The document of `keys::direct`: the conversation of a pair. Written together with its `meta`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirectDocument {
    /// Which.
    pub(crate) conversation_id: ConversationId,
}
