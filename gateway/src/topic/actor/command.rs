//! What is said to a topic's task.

use std::sync::Arc;

use simurgh_backplane::BusError;
use simurgh_protocol::UserId;

use crate::{
    mailbox::{ChannelId, SocketId},
    topic::Joined,
};

/// What sockets and the gateway's other parts say to a topic.
#[derive(Debug)]
pub enum Command {
    /// A join's reply went out; `visible`: it shows in presence.
    Join(Box<Joined>, bool),
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
    /// A user became visible or invisible.
    Visibility {
        /// Who.
        user: UserId,
        /// Whether others may see it.
        visible: bool,
    },
    /// A gateway's lease lapsed.
    GatewayGone(Arc<str>),
    /// The backplane was away, or this gateway's own lease lapsed (`reborn`): write and read everything again.
    Again {
        /// Whether the gateway has another name now.
        reborn: bool,
    },
}

/// Whether a topic can be joined: none until that is known.
pub type Ready = Option<Result<(), BusError>>;
