//! The conversations that somebody on this gateway has joined, each with its task.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use simurgh_backplane::BusError;
use simurgh_protocol::{ConversationId, UserId};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    Shared,
    topic::{
        actor::{self, Command, Ready},
        report::Report,
    },
};

/// Commands that wait for a topic's task; a socket waits for room.
const COMMANDS: usize = 256;

/// The registry.
#[derive(Debug, Default)]
pub struct Topics {
    topics: Mutex<BTreeMap<ConversationId, Slot>>,
}

#[derive(Clone, Debug)]
struct Slot {
    attachment: Attachment,
    ready: Arc<Ready>,
}

/// A topic that is there for as long as this is held.
#[derive(Clone, Debug)]
pub struct Attachment {
    commands: mpsc::Sender<Command>,
    held: Arc<()>,
}

impl Attachment {
    /// Says something to the topic, waiting for room.
    pub async fn tell(&self, command: Command) {
        // A topic ends only when nobody holds it, or with the gateway.
        let _ = self.commands.send(command).await;
    }
}

impl Topics {
    /// The topic, its subscription standing; started where nobody had it yet.
    ///
    /// # Errors
    /// Where the backplane did not take the subscription, or not `until` then.
    pub async fn attach(
        &self,
        id: &ConversationId,
        shared: &Arc<Shared>,
        until: Instant,
    ) -> Result<Attachment, BusError> {
        let slot = self.slot(id, shared);
        let ready = timeout_at(until, slot.ready.wait()).await.map_err(|_| BusError::TimedOut)?;
        ready.clone().map(|()| slot.attachment)
    }

    fn slot(&self, id: &ConversationId, shared: &Arc<Shared>) -> Slot {
        let mut topics = self.lock();
        if let Some(slot) = topics.get(id) {
            return slot.clone();
        }
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let ready = Arc::new(Ready::new());
        let slot =
            Slot { attachment: Attachment { commands, held: Arc::new(()) }, ready: Arc::clone(&ready) };
        topics.insert(id.clone(), slot.clone());
        shared.tasks.spawn(actor::run(id.clone(), Arc::clone(shared), receiver, ready));
        slot
    }

    /// Takes a topic out that wants to end, unless somebody holds it; `anyway` even then (its holders are told).
    pub fn remove(&self, id: &ConversationId, anyway: bool) -> bool {
        let mut topics = self.lock();
        let unheld = topics.get(id).is_some_and(|slot| Arc::strong_count(&slot.attachment.held) == 1);
        if unheld || anyway {
            topics.remove(id);
        }
        unheld || anyway
    }

    /// Says something to a topic if it is there, waiting for room.
    pub async fn tell(&self, id: &ConversationId, command: Command) {
        let attachment = self.lock().get(id).map(|slot| slot.attachment.clone());
        if let Some(attachment) = attachment {
            attachment.tell(command).await;
        }
    }

    /// How far the user's channels on a conversation were told; nothing where nobody here has it, or the gateway stops.
    pub async fn report(&self, id: &ConversationId, user: &UserId) -> Report {
        let (done, report) = oneshot::channel();
        self.tell(id, Command::Report { user: user.clone(), done }).await;
        report.await.unwrap_or_default()
    }

    /// Says something to all topics.
    pub async fn tell_all(&self, command: impl Fn() -> Command) {
        let attachments: Vec<_> = self.lock().values().map(|slot| slot.attachment.clone()).collect();
        for attachment in attachments {
            attachment.tell(command()).await;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConversationId, Slot>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
