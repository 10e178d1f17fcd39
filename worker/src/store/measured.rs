//! A store that is counted: calls, how long they took, and what they cost.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use simurgh_backplane::trace;
use simurgh_env::Env;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, info_span};

use super::{
    Consistency, Item, Key, Page, Query, Store, StoreError, Write,
    units::{self, Units},
};
use crate::metrics::Metrics;

/// The store behind it, and what is counted with.
pub struct Measured {
    store: Arc<dyn Store>,
    env: Env,
    metrics: Arc<Metrics>,
}

impl Measured {
    /// Counts the calls on `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, env: Env, metrics: Arc<Metrics>) -> Self {
        Self { store, env, metrics }
    }

    fn count<T>(&self, kind: &'static str, began: Instant, outcome: &Result<T, StoreError>, units: Units) {
        let took = self.env.instant().saturating_duration_since(began);
        let outcome = match outcome {
            Ok(_) => "ok",
            Err(StoreError::Conflict(_)) => "conflict",
            Err(StoreError::TooLarge) => "too_large",
            Err(StoreError::Unavailable(_)) => "unavailable",
        };
        self.metrics.store_call(kind, outcome, took);
        self.metrics.counted(units);
    }
}

fn span(kind: &'static str) -> Span {
    // What belongs to no trace begins none.
    if Span::current().is_none() {
        return Span::none();
    }
    info_span!(target: trace::TARGET, "store", kind)
}

#[async_trait]
impl Store for Measured {
    async fn get(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        let began = self.env.instant();
        let found = self.store.get(key, consistency).instrument(span("get")).await;
        let there = found.as_ref().ok().and_then(Option::as_ref);
        self.count("get", began, &found, units::of_get(there, consistency));
        found
    }

    async fn get_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        let began = self.env.instant();
        let found = self.store.get_many(keys, consistency).instrument(span("get_many")).await;
        // A key that is asked for twice is read once.
        let distinct: BTreeSet<&Key> = keys.iter().collect();
        let mut seen = BTreeSet::new();
        let items = found.as_deref().unwrap_or_default();
        let there: Vec<&Item> = items.iter().filter(|item| seen.insert(&item.key)).collect();
        self.count("get_many", began, &found, units::of_get_many(distinct.len(), &there, consistency));
        found
    }

    async fn put(&self, write: Write) -> Result<Item, StoreError> {
        let (began, bytes) = (self.env.instant(), units::bytes(&write));
        let written = self.store.put(write).instrument(span("put")).await;
        self.count("put", began, &written, units::of_put(bytes, &written));
        written
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let (began, bytes): (_, Vec<usize>) = (self.env.instant(), writes.iter().map(units::bytes).collect());
        let written = self.store.transact(writes).instrument(span("transact")).await;
        self.count("transact", began, &written, units::of_transact(&bytes, &written));
        written
    }

    async fn query(&self, query: Query) -> Result<Page, StoreError> {
        let (began, consistency) = (self.env.instant(), query.consistency);
        let page = self.store.query(query).instrument(span("query")).await;
        let units =
            page.as_ref().map_or_else(|_| Units::default(), |page| units::of_query(page, consistency));
        self.count("query", began, &page, units);
        page
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }
}
