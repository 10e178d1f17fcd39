//! A bus that loses broadcasts: what NATS does to a slow subscriber or across a reconnect.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use simurgh_backplane::{
    Bucket, Bus, BusError, Entry, Filter, Key, Notice, SharedBus, Subject, Subscription,
};
use simurgh_env::Env;
use tokio::sync::{broadcast, watch};

/// Passes everything on but a share of what is published in conversations.
pub struct LossyBus {
    bus: SharedBus,
    env: Env,
    /// How many of 100 are lost.
    percent: AtomicU64,
    /// How many were lost so far.
    lost: AtomicU64,
}

impl LossyBus {
    /// Loses nothing yet.
    #[must_use]
    pub fn new(bus: SharedBus, env: Env) -> Arc<Self> {
        Arc::new(Self { bus, env, percent: AtomicU64::new(0), lost: AtomicU64::new(0) })
    }

    /// Loses so many of 100 from now on.
    pub fn lose(&self, percent: u64) {
        self.percent.store(percent, Ordering::Relaxed);
    }

    /// How many were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Bus for LossyBus {
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        let loses = self.percent.load(Ordering::Relaxed);
        if subject.as_str().contains(".conv.") && self.env.random_u64() % 100 < loses {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.bus.publish(subject, payload).await
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.bus.flush().await
    }

    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.bus.subscribe(subject, queue).await
    }

    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        self.bus.request(subject, payload, timeout).await
    }

    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError> {
        self.bus.get(bucket, key).await
    }

    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        self.bus.get_many(bucket, filters).await
    }

    async fn put(&self, bucket: Bucket, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.bus.put(bucket, key, value).await
    }

    async fn update(&self, bucket: Bucket, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.bus.update(bucket, key, value, revision).await
    }

    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError> {
        self.bus.delete(bucket, key, revision).await
    }

    async fn ensure_buckets(&self) -> Result<(), BusError> {
        self.bus.ensure_buckets().await
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.bus.connected()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.bus.notices()
    }
}
