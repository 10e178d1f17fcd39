//! The backplane: how gateways and workers reach each other.
//!
//! One port, [`Bus`], and two implementations that pass one suite (`contract`, in this crate's tests): [`nats`] for
//! production and [`memory`] for the local stack, tests and the simulation. This crate is the only user of async-nats, and
//! [`subject`] the only place where subjects and keys are built.
//!
//! # What the bus promises, and what not
//!
//! - `publish` is at most once: no error does not mean that anybody got it. Messages from one publisher on one subject
//!   arrive in order at each subscriber that gets them.
//! - `subscribe` returns once the server knows of the interest: what is published later on the same server arrives;
//!   across a cluster, interest takes time to travel.
//! - A subscription holds a bounded number of messages; beyond it the newest are dropped and [`Notice::Dropped`]
//!   tells so. Whoever needs all of them reads again from the log.
//! - `request` gets one answer, or [`BusError::NoResponders`] at once where nobody listens, or [`BusError::TimedOut`];
//!   after a time-out the request may still be carried out. Where it is [`BusError::Disconnected`], it was not sent.
//! - While the connection is down every call fails at once with [`BusError::Disconnected`]; subscriptions stay, and live
//!   on when it is back. Every call ends within its time-out, or within seconds where it has none.
//! - Where the caller's span is part of a trace, what it publishes or requests carries that ([`Delivery::trace`]).
//! - A key's writes are ordered by revision. `update` and `delete` succeed only on the revision named. Reads see the
//!   caller's own earlier writes on a single server; a replica may lag.
//! - `keep` is at least once for who consumes the stream: no error means that it is kept on disk.
//! - Keys live in memory: a restart of the server may lose them and begin revisions anew, and [`Notice::Reconnected`]
//!   is the moment to make the buckets and write the keys again. Where a bucket is missing, calls on its keys fail with
//!   [`BusError::Disconnected`].

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{broadcast, mpsc, watch};

#[cfg(test)]
#[macro_use]
mod contract;
pub mod memory;
pub mod nats;
pub mod offline;
pub mod subject;
pub mod trace;

pub use offline::OfflineLimits;
pub use subject::{Filter, Key, Subject};
pub use trace::Trace;

/// The largest payload that any implementation must take, in bytes (NATS' default).
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// The largest value of a key, in bytes: what a payload may be, less room for the headers of a conditional write.
pub const MAX_VALUE_BYTES: usize = MAX_PAYLOAD_BYTES - 1024;

/// How many undelivered messages a subscription holds.
pub const SUBSCRIPTION_CAPACITY: usize = 1024;

/// How many notices wait for a listener. One that lags behind them has to act as if it had got each kind.
pub const NOTICES_CAPACITY: usize = 64;

/// Why a call on the bus failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody listens on the subject of a request.
    #[error("nobody listens")]
    NoResponders,
    /// No answer in time; the request may still be carried out.
    #[error("no answer in time")]
    TimedOut,
    /// The connection is down, or the server refused.
    #[error("the backplane is out of reach: {0}")]
    Disconnected(String),
    /// The revision named is not the key's, or the key exists already.
    #[error("the key has another revision")]
    Conflict,
    /// The payload is larger than [`MAX_PAYLOAD_BYTES`], or a value than [`MAX_VALUE_BYTES`].
    #[error("the payload of {0} bytes is too large")]
    TooLarge(usize),
}

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What it was published on.
    pub subject: Subject,
    /// Its bytes.
    pub payload: Bytes,
    /// Where an answer goes, when one is expected.
    pub reply_to: Option<Subject>,
    /// The trace of the span that it was published in, where that is part of one.
    pub trace: Option<Trace>,
}

/// Something about the connection that a listener may have to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The connection is back: anything published meanwhile was missed, and keys may be gone.
    Reconnected,
    /// A subscription overflowed and lost messages.
    Dropped,
}

/// A key's value and the revision that it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its bytes.
    pub value: Bytes,
    /// Grows with each write in the bucket.
    pub revision: u64,
}

/// The buckets that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Who is connected where. Kept until deleted.
    Presence,
    /// Leases of gateways: an entry is gone [`LEASE`] after its last write.
    Leases,
}

impl Bucket {
    pub(crate) const ALL: [Self; 2] = [Self::Presence, Self::Leases];
}

/// How long a lease lasts after its last renewal.
pub const LEASE: Duration = Duration::from_secs(15);

/// What arrives on one subject. Dropping it ends the interest.
#[derive(Debug)]
pub struct Subscription(Source);

/// Where a subscription's messages wait: no task stands between it and the connection, since a gateway holds thousands.
#[derive(Debug)]
enum Source {
    Memory { receiver: mpsc::Receiver<Delivery>, _guard: Guard },
    Nats(async_nats::Subscriber),
}

/// Runs its function when dropped: how an implementation takes a subscription back.
pub(crate) struct Guard(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Guard {
    pub(crate) fn new(on_drop: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(on_drop)))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(on_drop) = self.0.take() {
            on_drop();
        }
    }
}

impl Subscription {
    /// What comes out of a channel: for a bus that stands before another one.
    #[must_use]
    pub fn of(receiver: mpsc::Receiver<Delivery>) -> Self {
        Self(Source::Memory { receiver, _guard: Guard(None) })
    }

    pub(crate) fn memory(receiver: mpsc::Receiver<Delivery>, guard: Guard) -> Self {
        Self(Source::Memory { receiver, _guard: guard })
    }

    pub(crate) fn nats(subscriber: async_nats::Subscriber) -> Self {
        Self(Source::Nats(subscriber))
    }

    /// The next message; `None` once the bus is closed. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Delivery> {
        match &mut self.0 {
            Source::Memory { receiver, .. } => receiver.recv().await,
            Source::Nats(subscriber) => subscriber.next().await.map(Delivery::from),
        }
    }

    /// A message that is already here.
    pub fn try_next(&mut self) -> Option<Delivery> {
        match &mut self.0 {
            Source::Memory { receiver, .. } => receiver.try_recv().ok(),
            // Unconstrained: a spent budget of the task must not look like an empty queue.
            Source::Nats(subscriber) => {
                tokio::task::unconstrained(subscriber.next()).now_or_never().flatten().map(Delivery::from)
            }
        }
    }
}

impl From<async_nats::Message> for Delivery {
    fn from(message: async_nats::Message) -> Self {
        Self {
            subject: Subject::raw(&message.subject),
            payload: message.payload,
            reply_to: message.reply.as_deref().map(Subject::raw),
            trace: message
                .headers
                .as_ref()
                .and_then(|headers| headers.get(trace::HEADER))
                .map(|value| Trace::raw(value.as_str())),
        }
    }
}

/// The port. See the module's documentation for what each call promises.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to all subscribers and one of each queue group. Returns before anybody has it.
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError>;

    /// Returns once the server has handled everything published so far by this connection, and what it had sent before
    /// that to this connection's subscriptions is in them.
    async fn flush(&self) -> Result<(), BusError>;

    /// Listens on a subject; with `queue`, shares its messages with the others of that group, one for each message.
    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError>;

    /// Publishes and waits for one answer.
    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError>;

    /// Reads a key.
    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError>;

    /// Reads all keys that match any of the filters, each at most once, in the order of the keys. Any number of filters;
    /// the implementation pages.
    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError>;

    /// Writes a key whatever is there, and returns its revision.
    async fn put(&self, bucket: Bucket, key: &Key, value: Bytes) -> Result<u64, BusError>;

    /// Writes a key that has `revision`, or none when `revision` is 0 ([`BusError::Conflict`] otherwise), and returns
    /// its new revision.
    async fn update(&self, bucket: Bucket, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError>;

    /// Removes a key that has `revision` ([`BusError::Conflict`] otherwise).
    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError>;

    /// Makes the buckets where they are missing. Called once connected and after [`Notice::Reconnected`]; while a cluster
    /// elects a leader it fails, and is to be called again.
    async fn ensure_buckets(&self) -> Result<(), BusError>;

    /// Appends to the stream of what users missed ([`offline`]), on a subject of
    /// [`Subjects::offline`](subject::Subjects::offline), unless something was kept under this `name` a moment ago. Returns
    /// once it is kept: whether it was not before.
    async fn keep(&self, subject: &Subject, name: &str, payload: Bytes) -> Result<bool, BusError>;

    /// Makes that stream where it is missing. Where this fails, buckets and all else work as ever.
    async fn ensure_offline(&self) -> Result<(), BusError>;

    /// Whether the connection stands, and its changes.
    fn connected(&self) -> watch::Receiver<bool>;

    /// Notices from now on.
    fn notices(&self) -> broadcast::Receiver<Notice>;
}

/// A bus that can be handed around.
pub type SharedBus = Arc<dyn Bus>;
