//! Documents that this worker wrote or met lately: what is written again and again (heads, read positions) is written on
//! the version that is remembered, without a read. Where somebody else was quicker the write fails, and its answer holds
//! what is there instead.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use simurgh_protocol::Refusal;

use crate::{
    Request, Worker,
    cache::Cache,
    document::Stored,
    metrics::Metrics,
    store::{Item, Key, StoreError, Write},
};

/// Bytes of all remembered documents together.
const WRITTEN_BYTES: usize = 8 * 1024 * 1024;
/// About what a document takes beside its key, which is held twice, and its body.
const ITEM_BYTES: usize = 250;
/// How long one is used: far shorter than a tombstone stays, so that a version never names two documents.
const FRESH: Duration = Duration::from_secs(60);

/// What was written lately, by its key.
#[derive(Debug)]
pub(crate) struct Written(Cache<Key, (Item, Instant)>);

impl Written {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self(Cache::new(WRITTEN_BYTES, metrics.cache("written")))
    }

    fn find(&self, key: &Key, now: Instant) -> Option<Item> {
        self.0.find(key, |(_, seen_at)| now < *seen_at + FRESH).map(|(item, _)| item)
    }

    fn note(&self, item: Item, now: Instant) {
        let bytes = 2 * (item.key.pk.len() + item.key.sk.len()) + item.body.get().len() + ITEM_BYTES;
        self.0.put(item.key.clone(), (item, now), bytes);
    }
}

impl Worker {
    /// What is stored at `key` as far as this worker remembers, or else now. Only for who writes on its version, or
    /// decides from it what can only have grown since.
    pub(crate) async fn load_written<T: DeserializeOwned>(
        &self,
        request: &Request,
        key: &Key,
    ) -> Result<Option<Stored<T>>, Refusal> {
        match self.memory.written.find(key, self.env.instant()) {
            Some(item) => Ok(Some(Stored::read(&item)?)),
            None => self.load(request, key).await,
        }
    }

    /// Writes, and remembers what is there then.
    pub(crate) async fn overwrite(&self, write: Write) -> Result<(), StoreError> {
        let key = write.key.clone();
        let (there, outcome) = match self.store.put(write).await {
            Ok(item) => (Some(item), Ok(())),
            Err(StoreError::Conflict(Some(item))) => (Some(*item), Err(StoreError::Conflict(None))),
            Err(error) => (None, Err(error)),
        };
        match there {
            Some(item) => self.memory.written.note(item, self.env.instant()),
            None => self.memory.written.0.remove(&key),
        }
        outcome
    }
}
