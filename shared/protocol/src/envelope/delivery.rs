//! What became of a message on its way to a user: what gateways say of the user's sockets, and what follows from it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ConversationId, MessageId, Timestamp, UserId};

/// A user's sockets on one gateway, and how far each was told one conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketsHere {
    /// The open ones, long-poll sessions among them; those that have joined the conversation first.
    pub sockets: Vec<SocketHere>,
    /// How many more there are: an answer has a bound.
    #[serde(default)]
    pub left_out: usize,
    /// Connections to the conversation that dropped a moment ago.
    pub dropped: usize,
    /// The furthest `seq` of the conversation that the gateway heard of; 0 where nobody there has it joined.
    pub heard_seq: u64,
}

/// One open socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketHere {
    /// What the join of the user topic answered.
    pub session_id: Uuid,
    /// `websocket`, `longpoll` or `grpc`.
    pub transport: String,
    /// Bytes of broadcasts that wait to be written to it.
    pub unsent_bytes: usize,
    /// Its channel on the conversation, where it has joined that.
    pub channel: Option<ChannelHere>,
}

/// How far a channel was told its conversation's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelHere {
    /// Where the log stood in the join's reply.
    pub joined_seq: u64,
    /// The last message that waits for the socket, or was written to it.
    pub queued_seq: u64,
    /// The last message that was written to it.
    pub sent_seq: u64,
    /// Whether it takes the next one.
    pub state: ChannelState,
}

/// Whether a channel takes the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// It does.
    Open,
    /// Not before what waits for its socket is written.
    Full,
    /// Not before its user's membership was looked up.
    Unchecked,
}

/// `GET /api/v1/conversations/{id}/messages/{message_id}/delivery`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Where it was sent.
    pub conversation_id: ConversationId,
    /// Which message.
    pub message_id: MessageId,
    /// To whom.
    pub user_id: UserId,
    /// When it was stored.
    pub stored: StoredAt,
    /// Whether it was deleted for everyone since: it is told as what is left of it.
    pub deleted: bool,
    /// Whether the user has deleted it for itself: it is shown its place only.
    pub hidden: bool,
    /// Whether the user was a member.
    pub member: MemberThenAndNow,
    /// The user's read position; null of one who is no member.
    pub last_read_seq: Option<u64>,
    /// The position up to which the user's clients said that messages came; null of one who is no member.
    pub last_delivered_seq: Option<u64>,
    /// What became of it, all in all.
    pub verdict: Verdict,
    /// Why.
    pub reason: Why,
    /// What became of it at each of the user's sockets.
    pub sockets: Vec<SocketDelivery>,
    /// Gateways where the user has sockets or had them lately, and all that did not answer.
    pub gateways: Vec<GatewayAsked>,
    /// Whether a gateway did not answer, or there are more sockets or gateways than an answer holds: the user may have
    /// sockets that are not listed.
    pub partial: bool,
}

/// When a message was stored, and where in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAt {
    /// By the clock of the worker that stored it.
    pub at: Timestamp,
    /// Its place.
    pub seq: u64,
}

/// Whether a user was a member when a message was stored, and is one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberThenAndNow {
    /// Null where that is not known any more: only the present membership and the one before it are kept.
    pub then: Option<bool>,
    /// By what is stored now.
    pub now: bool,
}

/// What became of a message at one of the user's sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketDelivery {
    /// The gateway that holds it, or held it.
    pub gateway: String,
    /// What the join of the user topic answered; null where the gateway did not say.
    pub session_id: Option<Uuid>,
    /// `websocket`, `longpoll` or `grpc`; null where the gateway did not say.
    pub transport: Option<String>,
    /// The last `seq` that was written to it on the conversation; null where it has not joined it, or nobody said.
    pub last_seq: Option<u64>,
    /// Bytes of broadcasts that wait to be written to it; null where the gateway did not say.
    pub unsent_bytes: Option<usize>,
    /// What became of the message.
    pub verdict: Verdict,
    /// Why.
    pub reason: Why,
}

/// What became of a message. The first of several sockets' is the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was written to the socket.
    Delivered,
    /// It is on its way, and nobody has to do anything.
    Pending,
    /// Nobody said.
    Unknown,
    /// It does not come before something else happens: the client reads, joins or connects.
    Behind,
}

/// Why a message is where it is. Of several sockets with one verdict, the first is the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Delivered: it was written to the socket.
    Sent,
    /// Delivered: it is older than the join, whose reply held it or said how to read it.
    BeforeJoin,
    /// Delivered: the user's read position covers it.
    Read,
    /// Delivered: the user's delivered position covers it: a client of the user's said that it came.
    Received,
    /// Pending: it waits to be written behind `unsent_bytes`.
    Queued,
    /// Pending: the channel lacks messages before it, or it, and the gateway reads them from the log.
    Gap,
    /// Pending: the members changed, and the gateway looks up whether the user still is one.
    Unchecked,
    /// Pending: the gateway has not heard of it yet.
    Unheard,
    /// Unknown: the gateway did not answer.
    GatewaySilent,
    /// Behind: so much waits to be written that the channel takes no more until the client has read it.
    MailboxFull,
    /// Behind: the socket has not joined the conversation.
    NotJoined,
    /// Behind: the socket dropped, or its gateway is gone.
    SocketGone,
    /// Behind: the user is connected nowhere.
    NoSocket,
    /// Behind: the user is no member.
    NotAMember,
}

/// Whether a gateway answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAsked {
    /// Its name, as in the keys of its lease and its presence entries.
    pub id: String,
    /// What it said.
    pub state: GatewayState,
}

/// Whether a gateway answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayState {
    /// It did.
    Answered,
    /// It has a lease and did not answer in time: it is frozen or overloaded, or of an older build.
    Silent,
    /// It has a lease and does not listen: it died within the last 15 s, or is cut off from the backplane.
    Unreachable,
    /// Its lease has lapsed: what it said of presence is left over.
    Gone,
}
