//! What every rule of the worker works with.

use std::{future::Future, sync::Arc, time::Duration};

use simurgh_backplane::{SharedBus, subject::Subjects};
use simurgh_env::Env;
use simurgh_protocol::{Reason, Refusal, Timestamp, UserId, envelope::Principal, limits};
use simurgh_service::config::OfflineStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    access::Rosters,
    broadcast::{KnownPlaces, Leases},
    changes::ChangeLanes,
    concurrency::Concurrency,
    log::{Bursts, Lanes, Notifiers, Tails},
    metrics::{CacheMeter, Metrics},
    offline::{Queue, Recent},
    store::{ITEM_BYTES, Store, StoreError, measured::Measured},
    written::Written,
};

/// The limits that workers hold (contract section 5).
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a message's content.
    pub content_bytes: usize,
    /// Bytes of metadata, as compact JSON.
    pub metadata_bytes: usize,
    /// Members of a group.
    pub members: usize,
    /// Distinct reactions on a message.
    pub reactions: usize,
    /// How long after it was sent a message may be edited.
    pub edit_window: Duration,
    /// Contacts of a user.
    pub contacts: usize,
    /// Conversations of a user.
    pub conversations: usize,
    /// What push services are told of what users missed.
    pub offline: OfflineStream,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            content_bytes: limits::CONTENT_BYTES,
            metadata_bytes: limits::METADATA_BYTES,
            members: limits::MEMBERS,
            reactions: limits::REACTIONS,
            edit_window: limits::EDIT_WINDOW,
            contacts: limits::CONTACTS,
            conversations: limits::CONVERSATIONS,
            offline: OfflineStream::default(),
        }
    }
}

/// A worker's parts. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    /// The way to gateways and to presence.
    pub bus: SharedBus,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Time, chance and ids.
    pub env: Env,
    /// The names on the bus.
    pub subjects: Subjects,
    /// What may be how large.
    pub limits: Arc<Limits>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// What a process remembers to be faster, and the tasks it runs.
    pub(crate) memory: Arc<Memory>,
}

/// What a worker's process remembers and runs. Nothing here matters: it may be lost at any moment.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Members of conversations, by the version they were read at.
    pub(crate) rosters: Rosters,
    /// Where logs ended lately.
    pub(crate) tails: Tails,
    /// Documents that were written lately.
    pub(crate) written: Written,
    /// Sends that wait, by conversation.
    pub(crate) lanes: Lanes,
    /// Reactions, edits and deletions that wait, by conversation.
    pub(crate) changes: ChangeLanes,
    /// What members are still to be told, by conversation.
    pub(crate) notifiers: Notifiers,
    /// What push services are still to be told.
    pub(crate) offline: Queue,
    /// What was told lately, and where.
    pub(crate) recent: Recent,
    /// What was sent since heads and positions were written last.
    pub(crate) bursts: Bursts,
    /// Where the members of conversations are connected.
    pub(crate) places: KnownPlaces,
    /// Which gateways live.
    pub(crate) leases: Leases,
    /// How often those were known.
    pub(crate) leases_meter: CacheMeter,
    /// How many commands are done at once.
    pub(crate) concurrency: Arc<Concurrency>,
    /// Tasks that outlive the command that started them.
    tasks: TaskTracker,
    /// Cancelled when the worker drains: what waits for a later moment is done now.
    draining: CancellationToken,
    /// Cancelled when the worker must end at once: every task stops where it waits.
    stopped: CancellationToken,
}

impl Worker {
    /// A worker of these parts.
    #[must_use]
    pub fn new(
        bus: SharedBus,
        store: Arc<dyn Store>,
        env: Env,
        subjects: Subjects,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let memory = Memory {
            rosters: Rosters::new(&metrics),
            tails: Tails::new(&metrics),
            written: Written::new(&metrics),
            lanes: Lanes::default(),
            changes: ChangeLanes::default(),
            notifiers: Notifiers::default(),
            offline: Queue::default(),
            recent: Recent::default(),
            bursts: Bursts::default(),
            places: KnownPlaces::new(&metrics),
            leases: Leases::default(),
            leases_meter: metrics.cache("gateways"),
            concurrency: Concurrency::new(env.clone(), metrics.commands_at_once.clone()),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
        };
        let store = Arc::new(Measured::new(store, env.clone(), Arc::clone(&metrics)));
        Self { bus, store, env, subjects, limits: Arc::new(limits), metrics, memory: Arc::new(memory) }
    }

    /// Runs a task that may outlive its command; [`Self::drain`] waits for it, and [`Self::stop`] ends it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.memory.stopped.clone();
        self.memory.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Resolves once the worker drains.
    pub(crate) async fn drains(&self) {
        self.memory.draining.cancelled().await;
    }

    /// Whether the worker drains.
    pub(crate) fn is_draining(&self) -> bool {
        self.memory.draining.is_cancelled()
    }

    /// Does at once what waits for a later moment (heads, read positions), and returns when no task is left. What is
    /// started later is done without delay.
    pub async fn drain(&self) {
        self.memory.draining.cancel();
        self.memory.tasks.close();
        self.memory.tasks.wait().await;
    }

    /// Ends every task where it waits, as the death of the process would.
    pub fn stop(&self) {
        self.memory.stopped.cancel();
    }
}

/// Who asks for something, under which name, and until when.
#[derive(Clone, Debug)]
pub struct Request {
    /// Shared by all attempts of one request of a client's.
    pub id: Uuid,
    /// Who.
    pub principal: Principal,
    /// After this nothing is read or written any more.
    pub deadline: Timestamp,
}

impl Request {
    /// A request of the worker's own, that nobody waits for and that ends `within` from `now`.
    pub(crate) fn own(now: Timestamp, within: Duration) -> Self {
        Self { id: Uuid::nil(), principal: Principal::Service, deadline: now.plus(within) }
    }

    /// # Errors
    /// `unavailable` once the deadline has passed: a late attempt must not undo what came after it.
    pub fn in_time(&self, env: &Env) -> Result<(), Refusal> {
        if env.now() < self.deadline { Ok(()) } else { Err(Refusal::unavailable("it took too long")) }
    }

    /// The user whom the request acts for: the user itself, or `named` where a service asks.
    ///
    /// # Errors
    /// `validation_failed` where a service names nobody, `forbidden` where a user names somebody else.
    pub fn acting_user(&self, named: Option<&UserId>) -> Result<UserId, Refusal> {
        match (&self.principal, named) {
            (Principal::User(user), Some(named)) if named != user => {
                Err(Refusal::new(Reason::Forbidden, "only a service may act for another user"))
            }
            (Principal::User(user), _) => Ok(user.clone()),
            (Principal::Service, Some(named)) => Ok(named.clone()),
            (Principal::Service, None) => Err(Refusal::invalid("user_id", "is required of a service")),
        }
    }

    /// # Errors
    /// `forbidden` for users.
    pub fn service_only(&self) -> Result<(), Refusal> {
        match self.principal {
            Principal::Service => Ok(()),
            Principal::User(_) => Err(Refusal::new(Reason::Forbidden, "only a service may do this")),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge => Self::too_large("what is to be stored", ITEM_BYTES),
            // A conflict that no rule has an answer for means that somebody else was quicker: trying again helps.
            StoreError::Conflict(_) => Self::unavailable("somebody else was quicker"),
            StoreError::Unavailable(cause) => {
                tracing::warn!(%cause, "the store did not answer: check its throttling and its endpoint");
                Self::unavailable("the store did not answer")
            }
        }
    }
}
