//! A bus that counts what is asked of it, and can be made to answer no question about keys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use simurgh_backplane::{
    Bucket, Bus, BusError, Entry, Filter, Key, Notice, SharedBus, Subject, Subscription,
};
use tokio::sync::{broadcast, watch};

/// Stands before another bus.
pub struct Watched {
    bus: SharedBus,
    pub calls: Arc<AtomicUsize>,
    pub silent: Arc<AtomicBool>,
}

impl Watched {
    pub fn new(bus: SharedBus) -> Self {
        Self { bus, calls: Arc::default(), silent: Arc::default() }
    }

    fn counted(&self) -> &SharedBus {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.bus
    }
}

#[async_trait]
impl Bus for Watched {
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        self.counted().publish(subject, payload).await
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.counted().flush().await
    }

    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.counted().subscribe(subject, queue).await
    }

    async fn request(&self, subject: &Subject, payload: Bytes, wait: Duration) -> Result<Bytes, BusError> {
        self.counted().request(subject, payload, wait).await
    }

    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError> {
        self.counted().get(bucket, key).await
    }

    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.counted().get_many(bucket, filters).await
    }

    async fn put(&self, bucket: Bucket, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.counted().put(bucket, key, value).await
    }

    async fn update(&self, bucket: Bucket, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.counted().update(bucket, key, value, revision).await
    }

    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError> {
        self.counted().delete(bucket, key, revision).await
    }

    async fn ensure_buckets(&self) -> Result<(), BusError> {
        self.counted().ensure_buckets().await
    }

    async fn keep(&self, subject: &Subject, name: &str, payload: Bytes) -> Result<bool, BusError> {
        self.counted().keep(subject, name, payload).await
    }

    async fn ensure_offline(&self) -> Result<(), BusError> {
        self.counted().ensure_offline().await
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.bus.connected()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.bus.notices()
    }
}
