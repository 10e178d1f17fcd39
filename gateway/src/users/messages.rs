//! What is said to the task that owns the users' presence.

use simurgh_backplane::BusError;
use simurgh_protocol::{Topic, UserId, envelope::ChosenStatus, record::Status};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::blocks::Unseen;

/// Messages that wait for the task.
const MESSAGES: usize = 4_096;

/// What sockets say about their users.
#[derive(Debug)]
pub enum Message {
    /// A channel is being joined; answered once the entry is written. `meta`: it is the user topic.
    Join {
        /// Whose.
        user: UserId,
        /// Which.
        topic: Topic,
        /// For the user topic: the connection's ref; none of a subscription, which does not show.
        phx_ref: Option<String>,
        /// Gets the status held, or why it failed.
        done: oneshot::Sender<Result<Option<ChosenStatus>, BusError>>,
    },
    /// A channel is gone, or its join came to nothing.
    Leave {
        /// Whose.
        user: UserId,
        /// Which.
        topic: Topic,
        /// For the user topic: the connection's ref.
        phx_ref: Option<String>,
        /// The socket dropped: the user may be back at once.
        dropped: bool,
    },
    /// A status was chosen here; answered once it is written.
    Choose {
        /// Who.
        user: UserId,
        /// Which.
        status: Status,
        /// Gets nothing, or why it failed.
        done: oneshot::Sender<Result<(), BusError>>,
    },
    /// A status was chosen on another gateway.
    Chosen {
        /// Who.
        user: UserId,
        /// Which, and when.
        chosen: ChosenStatus,
    },
    /// Whom a user does not see, by the answer to a question: its topics here are to know.
    Unseen {
        /// Who.
        user: UserId,
        /// Whom.
        unseen: Unseen,
    },
    /// Entries may be gone, or (`true`) this gateway has another name: write them again.
    Again(bool),
}

/// The way to the task.
#[derive(Clone, Debug)]
pub struct Users(mpsc::Sender<Message>);

impl Users {
    /// The way, and the end that [`run`] reads.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(MESSAGES);
        (Self(sender), receiver)
    }

    /// Notes a channel; answers the status that the user chose, if any, once the entry is written.
    ///
    /// # Errors
    /// Where the entry could not be written.
    pub async fn join(
        &self,
        user: UserId,
        topic: Topic,
        phx_ref: Option<String>,
        until: Instant,
    ) -> Result<Option<ChosenStatus>, BusError> {
        self.ask(until, |done| Message::Join { user, topic, phx_ref, done }).await
    }

    /// Notes that a status was chosen; everybody's entry follows.
    ///
    /// # Errors
    /// Where the entry could not be written.
    pub async fn choose(&self, user: UserId, status: Status, until: Instant) -> Result<(), BusError> {
        self.ask(until, |done| Message::Choose { user, status, done }).await
    }

    /// Says something that has no answer.
    pub async fn tell(&self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// Everything is written again.
    pub async fn again(&self, renamed: bool) {
        self.tell(Message::Again(renamed)).await;
    }

    async fn ask<T>(
        &self,
        until: Instant,
        message: impl FnOnce(oneshot::Sender<Result<T, BusError>>) -> Message,
    ) -> Result<T, BusError> {
        let gone = || BusError::Disconnected("the gateway is stopping".to_owned());
        let (done, answer) = oneshot::channel();
        self.0.send(message(done)).await.map_err(|_| gone())?;
        timeout_at(until, answer).await.map_err(|_| BusError::TimedOut)?.map_err(|_| gone())?
    }
}
