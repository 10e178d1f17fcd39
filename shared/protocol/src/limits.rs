//! Default limits (contract section 5). Each has a setting of the same meaning.

use std::time::Duration;

/// Bytes of a token that proves who a client is.
pub const TOKEN_BYTES: usize = 16 * 1024;
/// How deep arrays and objects of a client's payload may be in each other: as deep as JSON readers commonly go.
pub const PAYLOAD_LEVELS: usize = 128;
/// Bytes of a message's content.
pub const CONTENT_BYTES: usize = 32 * 1024;
/// Bytes of a message's or a conversation's metadata, as compact JSON.
pub const METADATA_BYTES: usize = 8 * 1024;
/// Bytes of one WebSocket frame from a client, and of an HTTP body.
pub const FRAME_BYTES: usize = 128 * 1024;
/// Members of a group.
pub const MEMBERS: usize = 1_024;
/// Distinct reactions on one message.
pub const REACTIONS: usize = 64;
/// Reactions of one user on one message.
pub const REACTIONS_OF_ONE_USER: usize = 10;
/// Contacts of one user.
pub const CONTACTS: usize = 1_000;
/// Users whom one user blocks. Fixed: no setting changes it.
pub const BLOCKS: usize = 1_000;
/// Conversations of one user.
pub const CONVERSATIONS: usize = 5_000;
/// Channels joined on one socket.
pub const CHANNELS: usize = 100;
/// Open sockets of one user.
pub const SOCKETS_PER_USER: usize = 20;
/// Bytes queued for one socket before its channels fall back on the log.
pub const UNSENT_BYTES: usize = 256 * 1024;

/// Messages in a join's reply.
pub const JOIN_MESSAGES: usize = 500;
/// Bytes of the messages in a join's reply; at least one message is sent.
pub const JOIN_BYTES: usize = 192 * 1024;
/// Messages in a page of history, at most and when not asked.
pub const HISTORY_PAGE: (usize, usize) = (200, 50);
/// Bytes of the messages in a page of history.
pub const HISTORY_BYTES: usize = 512 * 1024;
/// Conversations in a page of the list, at most and when not asked.
pub const LIST_PAGE: (usize, usize) = (200, 50);
/// Users in a page of those whom a user blocks, at most and when not asked.
pub const BLOCKS_PAGE: (usize, usize) = (200, 50);
/// Conversations named in `sync_complete`.
pub const SYNC_UNREAD: usize = 200;
/// Bytes of an envelope on the backplane; NATS takes 1 MiB.
pub const ENVELOPE_BYTES: usize = 768 * 1024;

/// The largest integer a `client_random` may be: 2^53, beyond which JavaScript's numbers have gaps.
pub const CLIENT_RANDOM_MAX: u64 = 1 << 53;
/// Characters of a textual `client_random`.
pub const CLIENT_RANDOM_CHARS: usize = 64;
/// Characters of a `message_type`.
pub const MESSAGE_TYPE_CHARS: usize = 32;
/// Characters of a quoted message's preview.
pub const PREVIEW_CHARS: usize = 100;
/// How long after it was sent a message may be edited.
pub const EDIT_WINDOW: Duration = Duration::from_hours(24);
/// Bytes of a reaction.
pub const REACTION_BYTES: usize = 64;
/// Characters of a user's or a conversation's id.
pub const ID_CHARS: usize = 64;

/// The largest `seq` that a query may name: 2^53, beyond which JavaScript's numbers have gaps. No log gets there.
pub const SEQ_MAX: u64 = 1 << 53;
/// Bytes of a cursor in a query. Workers make them, and make them shorter.
pub const CURSOR_BYTES: usize = 512;
/// Characters of a notification's kind.
pub const NOTIFICATION_KIND_CHARS: usize = 64;
/// Characters of a notification's title.
pub const NOTIFICATION_TITLE_CHARS: usize = 256;
/// Characters of a notification's body.
pub const NOTIFICATION_BODY_CHARS: usize = 4_096;
