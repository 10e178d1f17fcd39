//! The store as one process sees it: calls take time, fail, lose their answers, or are done long after they were given up.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use simurgh_worker::store::{
    Consistency, Item, Key, Page, Query, Store, StoreError, Write, memory::MemoryStore,
};
use tokio::time::sleep;

use super::link::{Dead, Link};

/// After this a call that got no answer is given up.
const GIVEN_UP: Duration = Duration::from_secs(2);
/// How much later it may still be done.
const LATEST: Duration = Duration::from_secs(8);

/// A process's way to the store.
pub struct LinkedStore {
    store: Arc<MemoryStore>,
    link: Arc<Link>,
}

fn nobody_knows(_: Dead) -> StoreError {
    StoreError::Unavailable("no answer".to_owned())
}

impl LinkedStore {
    /// The store over this link.
    #[must_use]
    pub fn new(store: Arc<MemoryStore>, link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self { store, link })
    }

    async fn read<T>(
        &self,
        act: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.link.pass_store().await.map_err(nobody_knows)?;
        if self.link.hits(self.link.odds().unreadable, "read failed") {
            return Err(nobody_knows(Dead));
        }
        let found = act.await;
        self.link.pass_store().await.map_err(nobody_knows)?;
        found
    }

    /// Does writes: one as `put`, more as a transaction.
    async fn act(store: &MemoryStore, mut writes: Vec<Write>) -> Result<Option<Item>, StoreError> {
        if writes.len() == 1 {
            store.put(writes.remove(0)).await.map(Some)
        } else {
            store.transact(writes).await.map(|()| None)
        }
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Option<Item>, StoreError> {
        self.link.pass_store().await.map_err(nobody_knows)?;
        let odds = self.link.odds();
        if self.link.hits(odds.write_lost, "write refused") {
            return Err(nobody_knows(Dead));
        }
        if self.link.hits(odds.late, "write done late") {
            let (store, after) = (Arc::clone(&self.store), self.link.env.jitter(GIVEN_UP + LATEST));
            tokio::spawn(async move {
                sleep(after).await;
                drop(Self::act(&store, writes).await);
            });
            sleep(GIVEN_UP).await;
            return Err(nobody_knows(Dead));
        }
        // A transaction has a name, by which the store knows a repeat of it.
        let answer = if writes.len() == 1 && self.link.hits(odds.repeated, "write repeated") {
            drop(Self::act(&self.store, writes.clone()).await);
            self.link.pass_store().await.map_err(nobody_knows)?;
            Self::act(&self.store, writes).await
        } else {
            Self::act(&self.store, writes).await
        };
        self.link.pass_store().await.map_err(nobody_knows)?;
        if self.link.hits(odds.answer_lost, "write's answer lost") { Err(nobody_knows(Dead)) } else { answer }
    }
}

#[async_trait]
impl Store for LinkedStore {
    async fn get(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.read(self.store.get(key, consistency)).await
    }

    async fn get_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.read(self.store.get_many(keys, consistency)).await
    }

    async fn put(&self, write: Write) -> Result<Item, StoreError> {
        let item = self.write(vec![write]).await?;
        Ok(item.expect("one write answers its item"))
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.len() == 1 {
            return match self.write(writes).await {
                Err(StoreError::Conflict(_)) => Err(StoreError::Conflict(None)),
                other => other.map(drop),
            };
        }
        self.write(writes).await.map(drop)
    }

    async fn query(&self, query: Query) -> Result<Page, StoreError> {
        self.read(self.store.query(query)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }
}
