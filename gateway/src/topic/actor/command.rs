//! What is said to a topic's task.

use std::sync::Arc;

use simurgh_backplane::BusError;
use simurgh_protocol::{UserId, envelope::ChosenStatus};
use tokio::sync::{SetOnce, oneshot};

use crate::{
    blocks::Unseen,
    mailbox::{ChannelId, SocketId},
    topic::{Joined, report::Report},
};

/// What sockets and the gateway's other parts say to a topic.
#[derive(Debug)]
pub enum Command {
    /// A join's reply went out, of a user who had chosen this status.
    Join(Box<Joined>, Option<ChosenStatus>),
    /// A subscription stands.
    Watch(Box<Joined>),
    /// A channel was left, or its socket dropped.
    Leave {
        /// Whose socket.
        socket: SocketId,
        /// Which join.
        channel: ChannelId,
        /// The socket dropped: its user may be back at once.
        dropped: bool,
    },
    /// Somebody here started or stopped typing.
    Typing {
        /// Who.
        user: UserId,
        /// Whether it started.
        start: bool,
    },
    /// A mailbox has drained.
    Drained(SocketId),
    /// A user chose a status, which may make it visible or invisible.
    Chosen {
        /// Who.
        user: UserId,
        /// What, and when: the latest holds.
        chosen: ChosenStatus,
    },
    /// Whom a user does not see, by the answer to a question.
    Unseen {
        /// Who.
        user: UserId,
        /// Whom.
        unseen: Unseen,
    },
    /// A gateway's lease lapsed.
    GatewayGone(Arc<str>),
    /// Somebody asks how far the user's channels were told.
    Report {
        /// Whose.
        user: UserId,
        /// Gets it.
        done: oneshot::Sender<Report>,
    },
    /// Something may have been missed: look where the logs end.
    Look,
    /// The backplane was away, or this gateway's own lease lapsed (`reborn`): write and read everything again.
    Again {
        /// Whether the gateway has another name now.
        reborn: bool,
    },
}

/// Whether a topic can be joined, once that is known. (No `watch`: it wakes who waits in an order that is drawn by lot.)
pub type Ready = SetOnce<Result<(), BusError>>;
