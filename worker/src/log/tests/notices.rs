//! What members are told on their own topics, where finding them takes long.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use simurgh_backplane::{
    Bucket, Bus, BusError, Entry, Notice, Subject, Subscription,
    memory::MemoryBus,
    subject::{Filter, Key, Subjects},
};
use tokio::sync::{broadcast, watch};

use crate::{
    Limits, Worker,
    rig::{Rig, WITHIN, metrics},
};

/// A bus that takes long to find keys.
struct SlowBus(Arc<MemoryBus>);

#[async_trait]
impl Bus for SlowBus {
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        self.0.publish(subject, payload).await
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.0.flush().await
    }

    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.0.subscribe(subject, queue).await
    }

    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        self.0.request(subject, payload, timeout).await
    }

    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError> {
        self.0.get(bucket, key).await
    }

    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.0.get_many(bucket, filters).await
    }

    async fn put(&self, bucket: Bucket, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.0.put(bucket, key, value).await
    }

    async fn update(&self, bucket: Bucket, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.0.update(bucket, key, value, revision).await
    }

    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError> {
        self.0.delete(bucket, key, revision).await
    }

    async fn ensure_buckets(&self) -> Result<(), BusError> {
        self.0.ensure_buckets().await
    }

    async fn keep(&self, subject: &Subject, name: &str, payload: Bytes) -> Result<bool, BusError> {
        self.0.keep(subject, name, payload).await
    }

    async fn ensure_offline(&self) -> Result<(), BusError> {
        self.0.ensure_offline().await
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.0.connected()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.0.notices()
    }
}

#[tokio::test(start_paused = true)]
async fn answers_and_broadcasts_wait_for_no_notice_and_notices_are_bounded() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let bus = Arc::new(SlowBus(Arc::clone(&rig.bus)));
    let store = Arc::clone(&rig.store);
    let worker = Worker::new(bus, store, rig.env.fork(), Subjects::new("test"), Limits::default(), metrics());
    let begun = rig.env.instant();
    for n in 1..=40 {
        let name = format!("m{n}");
        rig.ask(&worker, "alice", rig.env.uuid(), WITHIN, rig.text(&name, &name)).await.unwrap();
    }
    assert!(rig.env.instant() - begun < Duration::from_millis(50));
    assert_eq!(rig.told_messages(), (1..=40).collect::<Vec<u64>>());
    assert!(rig.heard_messages().is_empty());
    worker.drain().await;
    assert_eq!(
        rig.heard_messages(),
        (1..=33).collect::<Vec<u64>>(),
        "one under way and those that could wait"
    );
}
