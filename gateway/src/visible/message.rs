//! What is said to the task that owns the view.

use std::sync::Arc;

use simurgh_protocol::{
    UserId,
    envelope::{EntryMark, Seen},
};
use tokio::sync::mpsc;

use super::view::{Channel, Key};

/// Messages that wait for the task; who says more waits.
const MESSAGES: usize = 4_096;

/// What sockets, workers and the gateway's other parts say.
#[derive(Debug)]
pub enum Message {
    /// A user joins: whom it sees is asked from now on.
    Joining {
        /// Whose.
        user: UserId,
        /// Which channel.
        key: Key,
    },
    /// A join's reply went out.
    Open {
        /// Whose.
        user: UserId,
        /// Which channel.
        key: Key,
        /// The channel.
        channel: Box<Channel>,
        /// Whom the user may see.
        sees: Vec<UserId>,
    },
    /// The channel is gone, or the join came to nothing.
    Close {
        /// Whose.
        user: UserId,
        /// Which channel.
        key: Key,
    },
    /// The channel had no room for something, and has room again.
    Missed {
        /// Whose.
        user: UserId,
        /// Which channel.
        key: Key,
    },
    /// A user's presence changed.
    Changed {
        /// How it looks now.
        seen: Seen,
        /// The write that is to be found.
        entry: Option<EntryMark>,
    },
    /// Whom a user may see changed.
    Visibility {
        /// Who sees.
        viewer: UserId,
        /// How the other one looks.
        seen: Seen,
    },
    /// The entry of a user here is written again, by which this gateway is told of those whom the user sees.
    Back {
        /// Who sees.
        viewer: UserId,
    },
    /// A gateway is gone.
    GatewayGone(Arc<str>),
    /// Anything may have been missed.
    Again,
}

/// The way to the task.
#[derive(Clone, Debug)]
pub struct Visible(mpsc::Sender<Message>);

impl Visible {
    /// The way, and the end that the task reads.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(MESSAGES);
        (Self(sender), receiver)
    }

    /// Says something, waiting for room.
    pub async fn tell(&self, message: Message) {
        // The task ends with the gateway only.
        let _ = self.0.send(message).await;
    }
}
