//! For tests: a store whose calls take time and go wrong as told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use simurgh_env::Env;

use crate::store::{Consistency, Item, Key, Page, Query, Store, StoreError, Write, memory::MemoryStore};

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and nobody knows.
    Lost,
    /// It is done, and nobody knows.
    AnswerLost,
    /// It is done, and done again by a client that missed the first answer.
    Repeated,
    /// It is kept for [`FaultyStore::release`], and nobody knows.
    Held,
}

/// Faults drawn by lot: so many of a thousand writes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Odds {
    pub(crate) lost: u64,
    pub(crate) answer_lost: u64,
    pub(crate) repeated: u64,
}

#[derive(Default)]
struct State {
    /// Faults of the next writes into partitions that begin so, at sort keys that begin so.
    planned: VecDeque<(&'static str, &'static str, Fault)>,
    held: Vec<Vec<Write>>,
    odds: Odds,
    writes: Vec<Write>,
    /// Which queries fail.
    unreadable: Option<fn(&Query) -> bool>,
    /// What eventual reads see in place of what is there.
    lagging: Vec<Item>,
    /// Partition and sort key, or where the range begins.
    last_read: (String, String),
}

/// A [`MemoryStore`] with faults. Each call takes up to `delay`.
pub(crate) struct FaultyStore {
    pub(crate) store: MemoryStore,
    env: Env,
    delay: Duration,
    state: Mutex<State>,
}

impl FaultyStore {
    pub(crate) fn new(env: Env, delay: Duration) -> Arc<Self> {
        Arc::new(Self { store: MemoryStore::new(), env, delay, state: Mutex::default() })
    }

    /// The next write into a partition that begins so goes wrong.
    pub(crate) fn plan(&self, partition: &'static str, fault: Fault) {
        self.plan_at(partition, "", fault);
    }

    /// The same, of an item whose sort key begins so.
    pub(crate) fn plan_at(&self, partition: &'static str, sort: &'static str, fault: Fault) {
        self.state.lock().unwrap().planned.push_back((partition, sort, fault));
    }

    pub(crate) fn odds(&self, odds: Odds) {
        self.state.lock().unwrap().odds = odds;
    }

    /// Queries for which this holds fail from now on.
    pub(crate) fn unreadable(&self, queries: fn(&Query) -> bool) {
        self.state.lock().unwrap().unreadable = Some(queries);
    }

    /// Eventual reads of several items see this one as it was.
    pub(crate) fn lag(&self, item: Item) {
        self.state.lock().unwrap().lagging.push(item);
    }

    /// The item or the range that was read last, by partition and sort key.
    pub(crate) fn last_read(&self) -> (String, String) {
        self.state.lock().unwrap().last_read.clone()
    }

    /// Does what was held.
    pub(crate) async fn release(&self) -> Vec<Result<(), StoreError>> {
        let held = std::mem::take(&mut self.state.lock().unwrap().held);
        let mut answers = Vec::new();
        for writes in held {
            answers.push(self.do_it(writes).await.map(drop));
        }
        answers
    }

    /// How many writes into partitions that begin so were asked for.
    pub(crate) fn count(&self, partition: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.writes.iter().filter(|write| write.key.pk.starts_with(partition)).count()
    }

    fn fault(&self, writes: &[Write]) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        state.writes.extend_from_slice(writes);
        let named = |partition: &str, sort: &str| {
            writes.iter().any(|write| write.key.pk.starts_with(partition) && write.key.sk.starts_with(sort))
        };
        if let Some(index) = state.planned.iter().position(|(partition, sort, _)| named(partition, sort)) {
            return state.planned.remove(index).map(|(_, _, fault)| fault);
        }
        let Odds { lost, answer_lost, repeated } = state.odds;
        match self.env.random_u64() % 1000 {
            lot if lot < lost => Some(Fault::Lost),
            lot if lot < lost + answer_lost => Some(Fault::AnswerLost),
            lot if lot < lost + answer_lost + repeated => Some(Fault::Repeated),
            _ => None,
        }
    }

    async fn pause(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.env.jitter(self.delay)).await;
        }
    }

    async fn do_it(&self, mut writes: Vec<Write>) -> Result<Option<Item>, StoreError> {
        if writes.len() == 1 {
            self.store.put(writes.remove(0)).await.map(Some)
        } else {
            self.store.transact(writes).await.map(|()| None)
        }
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Option<Item>, StoreError> {
        let nobody_knows = || StoreError::Unavailable("injected".to_owned());
        let fault = self.fault(&writes);
        self.pause().await;
        let answer = match fault {
            None => self.do_it(writes).await,
            Some(Fault::Lost) => Err(nobody_knows()),
            Some(Fault::AnswerLost) => self.do_it(writes).await.and(Err(nobody_knows())),
            Some(Fault::Repeated) => {
                drop(self.do_it(writes.clone()).await);
                self.pause().await;
                self.do_it(writes).await
            }
            Some(Fault::Held) => {
                self.state.lock().unwrap().held.push(writes);
                Err(nobody_knows())
            }
        };
        self.pause().await;
        answer
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn get(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.state.lock().unwrap().last_read = (key.pk.clone(), key.sk.clone());
        self.pause().await;
        let answer = self.store.get(key, consistency).await;
        self.pause().await;
        answer
    }

    async fn get_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        self.pause().await;
        let mut items = self.store.get_many(keys, consistency).await?;
        if consistency == Consistency::Eventual {
            let lagging = self.state.lock().unwrap().lagging.clone();
            for item in &mut items {
                let was = lagging.iter().find(|was| was.key == item.key);
                item.clone_from(was.unwrap_or(&item.clone()));
            }
        }
        Ok(items)
    }

    async fn put(&self, write: Write) -> Result<Item, StoreError> {
        let answer = self.write(vec![write]).await?;
        Ok(answer.expect("one write answers its item"))
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        // The real client names a transaction, so that it can repeat it without harm.
        self.write(writes).await.map(drop)
    }

    async fn query(&self, query: Query) -> Result<Page, StoreError> {
        let unreadable = {
            let mut state = self.state.lock().unwrap();
            state.last_read = (query.pk.clone(), query.from.clone());
            state.unreadable.is_some_and(|unreadable| unreadable(&query))
        };
        self.pause().await;
        if unreadable {
            return Err(StoreError::Unavailable("injected".to_owned()));
        }
        let answer = self.store.query(query).await;
        self.pause().await;
        answer
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
