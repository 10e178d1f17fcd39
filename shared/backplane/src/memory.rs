//! The bus inside one process: for the local stack, tests and the simulation.
//!
//! It is deterministic: what is published is in every subscriber's queue before `publish` returns, so one order of
//! calls gives one order of messages; nothing in it draws lots, waits or runs in a task of its own, except that a
//! request's time-out and a lease's end follow tokio's clock (virtual when paused).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use simurgh_env::Env;
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{Instant, timeout},
};

use self::{interest::Interest, kept::Kept, keys::Keys};
use crate::{
    Bucket, Bus, BusError, Delivery, Entry, Filter, Guard, Key, MAX_PAYLOAD_BYTES, NOTICES_CAPACITY, Notice,
    SUBSCRIPTION_CAPACITY, Subject, Subscription, Trace,
};

mod interest;
mod kept;
mod keys;
#[cfg(test)]
mod tests;

/// A bus in memory. All who hold it (as an `Arc`) are on the same backplane.
pub struct MemoryBus {
    shared: Arc<Shared>,
    env: Env,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    connected: watch::Sender<bool>,
    notices: broadcast::Sender<Notice>,
}

#[derive(Debug, Default)]
struct State {
    interest: Interest,
    /// Those that `ensure_buckets` made.
    buckets: BTreeMap<Bucket, Keys>,
    /// On disk, as it were: an outage takes nothing of it.
    kept: Kept,
}

/// What is left of the keys after an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Only the connection was lost.
    KeepsKeys,
    /// The server restarted: the buckets are gone and revisions start over.
    LosesKeys,
}

impl MemoryBus {
    /// An empty backplane, connected, without buckets. `env` is its clock.
    #[must_use]
    pub fn new(env: Env) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            connected: watch::Sender::new(true),
            notices: broadcast::Sender::new(NOTICES_CAPACITY),
        };
        Self { shared: Arc::new(shared), env }
    }

    /// Begins an outage for all who hold the bus: every call fails with [`BusError::Disconnected`] until
    /// [`MemoryBus::reconnect`]. Subscriptions and waiting requests stay.
    pub fn disconnect(&self) {
        self.shared.connected.send_replace(false);
    }

    /// Ends an outage, and says so ([`Notice::Reconnected`]).
    pub fn reconnect(&self, outage: Outage) {
        if outage == Outage::LosesKeys {
            self.shared.state().buckets.clear();
        }
        self.shared.connected.send_replace(true);
        self.shared.notify(Notice::Reconnected);
    }

    /// What was kept of what users missed and is there still: the subjects, the names and the payloads, the oldest first.
    #[must_use]
    pub fn kept(&self) -> Vec<(String, String, Bytes)> {
        self.shared.state().kept.all(self.env.instant())
    }

    /// Whether something was kept under this name lately.
    #[must_use]
    pub fn was_kept(&self, name: &str) -> bool {
        self.shared.state().kept.remembers(name)
    }

    fn deliver(&self, delivery: &Delivery) -> Result<bool, BusError> {
        if delivery.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(BusError::TooLarge(delivery.payload.len()));
        }
        let outcome = self.shared.reach()?.interest.deliver(delivery);
        if outcome.dropped {
            self.shared.notify(Notice::Dropped);
        }
        Ok(outcome.heard)
    }

    fn with_keys<T>(
        &self,
        bucket: Bucket,
        act: impl FnOnce(&mut Keys, Instant) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        let now = self.env.instant();
        let mut state = self.shared.reach()?;
        let missing = || BusError::Disconnected(format!("the bucket {bucket:?} is missing"));
        act(state.buckets.get_mut(&bucket).ok_or_else(missing)?, now)
    }
}

impl Shared {
    /// The state, while connected.
    fn reach(&self) -> Result<MutexGuard<'_, State>, BusError> {
        if *self.connected.borrow() {
            Ok(self.state())
        } else {
            Err(BusError::Disconnected("the connection is cut".into()))
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, notice: Notice) {
        // Fails only when nobody listens.
        let _ = self.notices.send(notice);
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        self.deliver(&Delivery {
            subject: subject.clone(),
            payload,
            reply_to: None,
            trace: Trace::current(),
        })?;
        Ok(())
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.shared.reach().map(drop)
    }

    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let id = self.shared.reach()?.interest.add(subject, queue, sender);
        let (shared, subject) = (Arc::clone(&self.shared), subject.clone());
        let guard = Guard::new(move || shared.state().interest.remove(&subject, id));
        Ok(Subscription::memory(receiver, guard))
    }

    async fn request(&self, subject: &Subject, payload: Bytes, wait: Duration) -> Result<Bytes, BusError> {
        let (reply_to, answer) = self.shared.reach()?.interest.expect_answer();
        let _forget = {
            let (shared, reply_to) = (Arc::clone(&self.shared), reply_to.clone());
            Guard::new(move || shared.state().interest.forget_answer(&reply_to))
        };
        let delivery =
            Delivery { subject: subject.clone(), payload, reply_to: Some(reply_to), trace: Trace::current() };
        if !self.deliver(&delivery)? {
            return Err(BusError::NoResponders);
        }
        match timeout(wait, answer).await {
            Ok(Ok(payload)) => Ok(payload),
            Ok(Err(_)) | Err(_) => Err(BusError::TimedOut),
        }
    }

    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError> {
        self.with_keys(bucket, |keys, now| Ok(keys.get(key, now)))
    }

    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        self.with_keys(bucket, |keys, now| Ok(keys.get_many(filters, now)))
    }

    async fn put(&self, bucket: Bucket, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.with_keys(bucket, |keys, now| keys.put(key, value, now))
    }

    async fn update(&self, bucket: Bucket, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.with_keys(bucket, |keys, now| keys.update(key, value, revision, now))
    }

    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError> {
        self.with_keys(bucket, |keys, now| keys.delete(key, revision, now))
    }

    async fn ensure_buckets(&self) -> Result<(), BusError> {
        let mut state = self.shared.reach()?;
        for bucket in Bucket::ALL {
            state.buckets.entry(bucket).or_insert_with(|| Keys::new(bucket));
        }
        Ok(())
    }

    async fn keep(&self, subject: &Subject, name: &str, payload: Bytes) -> Result<bool, BusError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(BusError::TooLarge(payload.len()));
        }
        Ok(self.shared.reach()?.kept.keep(subject, name, payload, self.env.instant()))
    }

    async fn ensure_offline(&self) -> Result<(), BusError> {
        self.shared.reach().map(drop)
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.shared.notices.subscribe()
    }
}
