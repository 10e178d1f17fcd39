//! Messages that came for users who have no socket here: who was told of a message by a worker that took them for
//! connected. Their last socket just closed, or the worker's knowledge is some seconds old.
//!
//! Who comes back within the grace was never gone (contract, guarantee 7) and has asked for what it missed. Of all others
//! a worker is told, which looks whether they are connected elsewhere. What waits here when the process dies is found by
//! the worker that told it, which sees that the lease is gone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use simurgh_protocol::{
    ConversationId, Raw, UserId,
    envelope::{Call, Principal},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep_until},
};

use crate::{Shared, topic::actor::GRACE};

/// Messages that wait, and the bytes of all of them.
const WAITING: usize = 4_096;
const WAITING_BYTES: usize = 8 * 1024 * 1024;
/// Calls to workers under way at once.
const CALLS: usize = 16;

/// A message, and for whom it came.
#[derive(Debug)]
pub struct Came {
    /// When the grace of a socket that closed just before is over.
    due: Instant,
    users: Vec<UserId>,
    message: Raw,
}

/// The way to the task that waits.
#[derive(Debug)]
pub struct Missed {
    sender: mpsc::Sender<Came>,
    bytes: AtomicUsize,
}

/// What is read of a message.
#[derive(serde::Deserialize)]
struct Place {
    conversation_id: ConversationId,
}

impl Missed {
    /// The way, and where it leads.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Came>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender, bytes: AtomicUsize::new(0) }, receiver)
    }

    /// A message came for users who are not here.
    pub fn note(&self, shared: &Shared, users: Vec<UserId>, message: Raw) {
        let bytes = message.get().len();
        let came = Came { due: shared.env.instant() + GRACE, users, message };
        let room = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= WAITING_BYTES;
        if !room || self.sender.try_send(came).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            shared.metrics.missed("dropped");
        }
    }
}

/// Tells workers of what was missed, until the gateway stops.
pub async fn run(shared: Arc<Shared>, mut receiver: mpsc::Receiver<Came>) {
    let room = Arc::new(Semaphore::new(CALLS));
    loop {
        let next = async {
            let Came { due, users, message } = receiver.recv().await?;
            sleep_until(due).await;
            let permit = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((users, message, permit))
        };
        let (mut users, message, permit) = tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            next = next => match next {
                Some(next) => next,
                None => return,
            },
        };
        shared.missed.bytes.fetch_sub(message.get().len(), Ordering::Relaxed);
        users.retain(|user| !shared.sockets.has(user));
        if users.is_empty() {
            shared.metrics.missed("back");
            continue;
        }
        let this = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            tell(&this, users, message).await;
            drop(permit);
        });
    }
}

async fn tell(shared: &Shared, users: Vec<UserId>, message: Raw) {
    let Ok(Place { conversation_id: conversation }) = message.parse() else { return };
    let gateway = shared.leases.id().to_string();
    let call = Call::Missed { conversation, users, gateway, message };
    let told = shared.workers.call(Principal::Service, call).await;
    if let Err(refusal) = &told {
        tracing::warn!(%refusal, "no worker was told that users missed a message: push services do not hear of it");
    }
    shared.metrics.missed(if told.is_ok() { "told" } else { "failed" });
}
