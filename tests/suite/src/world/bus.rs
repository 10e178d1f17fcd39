//! The backplane as one process sees it: calls take time, broadcasts get lost, the connection breaks.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use simurgh_backplane::{
    Bucket, Bus, BusError, Delivery, Entry, Filter, Key, NOTICES_CAPACITY, Notice, SUBSCRIPTION_CAPACITY,
    Subject, Subscription, memory::MemoryBus,
};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::link::{Dead, Link};

/// A process's connection to the backplane. It keeps what the port promises, and nothing more: what one publisher says
/// on one subject keeps its order, and a request that was not sent is told apart from one that was.
pub struct LinkedBus {
    bus: Arc<MemoryBus>,
    link: Arc<Link>,
    connected: watch::Sender<bool>,
    notices: broadcast::Sender<Notice>,
    /// By when everything that is on its way to this process's subscriptions has arrived.
    arrived: Arc<Mutex<Instant>>,
}

impl From<Dead> for BusError {
    fn from(_: Dead) -> Self {
        Self::Disconnected("dead".to_owned())
    }
}

impl LinkedBus {
    /// The bus over this link, connected.
    #[must_use]
    pub fn new(bus: Arc<MemoryBus>, link: Arc<Link>) -> Arc<Self> {
        let (connected, notices) = (watch::Sender::new(true), broadcast::Sender::new(NOTICES_CAPACITY));
        let arrived = Arc::new(Mutex::new(link.env.instant()));
        Arc::new(Self { bus, link, connected, notices, arrived })
    }

    /// The connection breaks: calls fail at once, and what is published meanwhile is missed.
    pub fn disconnect(&self) {
        self.connected.send_replace(false);
    }

    /// It is back.
    pub fn reconnect(&self) {
        let was_cut = self.link.out_cut() || self.link.in_cut();
        self.link.cut(false, false);
        if !self.connected.send_replace(true) || was_cut {
            let _ = self.notices.send(Notice::Reconnected);
        }
    }

    /// Something goes out.
    async fn leave(&self) -> Result<(), BusError> {
        self.check()?;
        self.link.pass().await?;
        self.check()
    }

    fn check(&self) -> Result<(), BusError> {
        if *self.connected.borrow() { Ok(()) } else { Err(BusError::Disconnected("cut".to_owned())) }
    }

    /// Whether an answer does not arrive.
    fn answer_lost(&self, per_mille: u64) -> bool {
        self.link.in_cut() || !*self.connected.borrow() || self.link.hits(per_mille / 2, "answer lost")
    }

    /// A request and its answer, either of which may be lost.
    async fn exchange(&self, subject: &Subject, payload: Bytes, until: Instant) -> Result<Bytes, BusError> {
        self.leave().await?;
        let per_mille = self.link.odds().request_lost;
        if self.link.out_cut() || self.link.hits(per_mille / 2, "request lost") {
            return std::future::pending().await;
        }
        let left = until.saturating_duration_since(self.link.env.instant());
        let answer = self.bus.request(subject, payload, left).await;
        self.link.pass().await?;
        if self.answer_lost(per_mille) {
            return std::future::pending().await;
        }
        answer
    }

    /// A call on keys: it may fail before it is done and after.
    async fn keys<T>(&self, act: impl Future<Output = Result<T, BusError>> + Send) -> Result<T, BusError> {
        self.leave().await?;
        let per_mille = self.link.odds().keys_fail;
        if self.link.out_cut() || self.link.hits(per_mille / 2, "keys out of reach") {
            sleep(Duration::from_secs(2)).await;
            return Err(BusError::TimedOut);
        }
        let answer = act.await;
        self.link.pass().await?;
        if self.answer_lost(per_mille) { Err(BusError::TimedOut) } else { answer }
    }
}

#[async_trait]
impl Bus for LinkedBus {
    async fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), BusError> {
        self.leave().await?;
        if self.link.out_cut() {
            return Ok(());
        }
        self.bus.publish(subject, payload).await
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.leave().await?;
        let until = *self.arrived.lock().unwrap();
        sleep_until(until + Duration::from_millis(1)).await;
        Ok(self.link.runs().await?)
    }

    async fn subscribe(&self, subject: &Subject, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.leave().await?;
        if self.link.out_cut() || self.link.in_cut() {
            sleep(Duration::from_secs(2)).await;
            return Err(BusError::TimedOut);
        }
        let inner = self.bus.subscribe(subject, queue).await?;
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let post = Post {
            link: Arc::clone(&self.link),
            connected: self.connected.subscribe(),
            notices: self.notices.clone(),
            arrived: Arc::clone(&self.arrived),
            on_the_way: VecDeque::new(),
        };
        tokio::spawn(post.deliver(inner, sender));
        self.link.pass().await?;
        Ok(Subscription::of(receiver))
    }

    async fn request(&self, subject: &Subject, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        let until = self.link.env.instant() + timeout;
        // Whatever is slow, a request ends in time; unless the process was stopped.
        let answer = timeout_at(until, self.exchange(subject, payload, until)).await;
        self.link.runs().await?;
        answer.unwrap_or(Err(BusError::TimedOut))
    }

    async fn get(&self, bucket: Bucket, key: &Key) -> Result<Option<Entry>, BusError> {
        self.keys(self.bus.get(bucket, key)).await
    }

    async fn get_many(&self, bucket: Bucket, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        self.keys(self.bus.get_many(bucket, filters)).await
    }

    async fn put(&self, bucket: Bucket, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.keys(self.bus.put(bucket, key, value)).await
    }

    async fn update(&self, bucket: Bucket, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        self.keys(self.bus.update(bucket, key, value, revision)).await
    }

    async fn delete(&self, bucket: Bucket, key: &Key, revision: u64) -> Result<(), BusError> {
        self.keys(self.bus.delete(bucket, key, revision)).await
    }

    async fn ensure_buckets(&self) -> Result<(), BusError> {
        self.keys(self.bus.ensure_buckets()).await
    }

    async fn keep(&self, subject: &Subject, name: &str, payload: Bytes) -> Result<bool, BusError> {
        self.keys(self.bus.keep(subject, name, payload)).await
    }

    async fn ensure_offline(&self) -> Result<(), BusError> {
        self.keys(self.bus.ensure_offline()).await
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}

/// The way from the backplane to one subscription.
struct Post {
    link: Arc<Link>,
    connected: watch::Receiver<bool>,
    notices: broadcast::Sender<Notice>,
    arrived: Arc<Mutex<Instant>>,
    on_the_way: VecDeque<(Instant, Delivery)>,
}

impl Post {
    async fn deliver(mut self, mut from: Subscription, to: mpsc::Sender<Delivery>) {
        let link = Arc::clone(&self.link);
        let mut dies = std::pin::pin!(link.dies());
        loop {
            let due = self.on_the_way.front().map(|(due, _)| *due);
            tokio::select! {
                biased;
                () = to.closed() => return,
                () = &mut dies => return,
                delivery = from.next() => match delivery {
                    Some(delivery) => self.take(&delivery),
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(|| self.link.env.instant())), if due.is_some() => {
                    // A stopped process reads nothing; what it did not read by its end is lost.
                    if self.link.runs().await.is_err() {
                        return;
                    }
                    let Some((_, delivery)) = self.on_the_way.pop_front() else { continue };
                    if to.try_send(delivery).is_err() {
                        let _ = self.notices.send(Notice::Dropped);
                    }
                }
            }
        }
    }

    fn take(&mut self, delivery: &Delivery) {
        let odds = self.link.odds();
        // A command gets its answer or not: `request` sees to that.
        let is_command = delivery.reply_to.is_some();
        let cut = self.link.in_cut() || !*self.connected.borrow();
        if cut || (!is_command && (self.link.is_deaf() || self.link.hits(odds.lost, "broadcast lost"))) {
            return;
        }
        let copies =
            if !is_command && self.link.hits(odds.duplicated, "broadcast duplicated") { 2 } else { 1 };
        for _ in 0..copies {
            let soonest = self.link.env.instant() + self.link.delay();
            let due = self.on_the_way.back().map_or(soonest, |(last, _)| soonest.max(*last));
            self.on_the_way.push_back((due, delivery.clone()));
            let mut arrived = self.arrived.lock().unwrap();
            *arrived = due.max(*arrived);
        }
    }
}
