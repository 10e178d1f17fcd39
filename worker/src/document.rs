//! Typed documents of the store, and the versions that they were read at.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use simurgh_protocol::{Raw, Refusal, envelope::Success};

use crate::{
    Request, Worker,
    store::{Consistency, Expect, Item, Key, Query, StoreError, Write},
};

/// How often a change is tried where somebody else was quicker.
pub(crate) const ATTEMPTS: u32 = 8;
/// How many calls to the store one command has under way at once.
pub(crate) const CONCURRENCY: usize = 16;
/// The wait before the second attempt is drawn from twice as much; each next one from twice that.
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// Pages of 1 MiB that a range is read for.
pub(crate) const PAGES: usize = 16;

/// What is stored at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored<T> {
    /// Its version.
    pub(crate) version: u64,
    /// The document.
    pub(crate) document: T,
}

impl<T: DeserializeOwned> Stored<T> {
    /// The document of an item, as [`read`].
    pub(crate) fn read(item: &Item) -> Result<Self, Refusal> {
        Ok(Self { version: item.version, document: read(item)? })
    }
}

/// What a write on what was read (or on its absence) expects.
pub(crate) fn expect<T>(read: Option<&Stored<T>>) -> Expect {
    read.map_or(Expect::Absent, |stored| Expect::Version(stored.version))
}

/// The write of a document that stays until it is written again.
pub(crate) fn write<T: Serialize>(key: Key, document: &T, expect: Expect) -> Write {
    Write { key, body: Raw::of(document), expires_at: None, expect }
}

/// The document of an item.
///
/// # Errors
/// `unavailable` where a newer build wrote something that this one cannot read.
pub(crate) fn read<T: DeserializeOwned>(item: &Item) -> Result<T, Refusal> {
    item.body.parse().map_err(|error| {
        tracing::error!(%error, key = ?item.key, "a stored document has an unknown shape: is this worker too old?");
        Refusal::unavailable("a stored document cannot be read")
    })
}

/// Whether an item is what this write leaves behind.
fn is_left_by(item: &Item, write: &Write) -> bool {
    let version = match write.expect {
        Expect::Absent => 1,
        Expect::Version(version) => version + 1,
    };
    item.version == version && item.body == write.body
}

/// An answer that says no more than its status.
pub(crate) fn done(status: u16) -> Success {
    Success { status, body: Raw::empty() }
}

/// The answer where every attempt met somebody quicker.
pub(crate) fn contended() -> Refusal {
    Refusal::unavailable("too many change this at once")
}

impl Worker {
    /// What is stored at `key` now.
    pub(crate) async fn load<T: DeserializeOwned>(
        &self,
        request: &Request,
        key: &Key,
    ) -> Result<Option<Stored<T>>, Refusal> {
        request.in_time(&self.env)?;
        self.store.get(key, Consistency::Strong).await?.as_ref().map(Stored::read).transpose()
    }

    /// What is stored at each of these keys, in their order.
    pub(crate) async fn load_many(
        &self,
        request: &Request,
        asked: &[Key],
        consistency: Consistency,
    ) -> Result<Vec<Option<Item>>, Refusal> {
        request.in_time(&self.env)?;
        let mut found = self.store.get_many(asked, consistency).await?.into_iter().peekable();
        Ok(asked.iter().map(|key| found.next_if(|item| item.key == *key)).collect())
    }

    /// All items of a range: what is decided from them must not be decided from a part.
    ///
    /// # Errors
    /// `unavailable` where the range is longer than is read.
    pub(crate) async fn load_whole(&self, request: &Request, range: Query) -> Result<Vec<Item>, Refusal> {
        let partition = range.pk.clone();
        match self.load_pages(request, range).await? {
            (items, false) => Ok(items),
            (_, true) => {
                tracing::error!(
                    partition,
                    "a range is longer than is read: a user or a group is beyond its limit (SIMURGH_MAX_…)"
                );
                Err(Refusal::unavailable("there is more stored than can be read"))
            }
        }
    }

    /// Items of a range, as far as [`PAGES`] go: for what is only shown.
    pub(crate) async fn load_range(&self, request: &Request, range: Query) -> Result<Vec<Item>, Refusal> {
        let partition = range.pk.clone();
        let (items, cut) = self.load_pages(request, range).await?;
        if cut {
            tracing::warn!(
                partition,
                "a range is longer than is read, its end is left out: a user is beyond its limit (SIMURGH_MAX_…)"
            );
        }
        Ok(items)
    }

    /// The items of a range's first pages, and whether there may be more.
    pub(crate) async fn load_pages(
        &self,
        request: &Request,
        mut range: Query,
    ) -> Result<(Vec<Item>, bool), Refusal> {
        let mut items = Vec::new();
        for _ in 0..PAGES {
            request.in_time(&self.env)?;
            let page = self.store.query(range.clone()).await?;
            let last = page.items.last().map(|item| item.key.sk.clone());
            items.extend(page.items);
            let Some(last) = last.filter(|_| page.more) else { return Ok((items, false)) };
            // `!` sorts before every character of an id, so nothing lies between.
            range.from = format!("{last}!");
        }
        Ok((items, true))
    }

    /// Writes all or none, on the versions that they expect. Whether these were there.
    pub(crate) async fn commit(&self, request: &Request, mut writes: Vec<Write>) -> Result<bool, Refusal> {
        request.in_time(&self.env)?;
        let written = match writes.pop() {
            // Alone, a write costs half of what it does in a transaction.
            Some(only) if writes.is_empty() => match self.store.put(only.clone()).await {
                // The store's client repeats a write whose answer was lost, and meets it.
                Err(StoreError::Conflict(Some(item))) if is_left_by(&item, &only) => Ok(()),
                written => written.map(drop),
            },
            last => {
                writes.extend(last);
                self.store.transact(writes).await
            }
        };
        match written {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits before `attempt`; the first is 0 and does not wait.
    pub(crate) async fn back_off(&self, attempt: u32) {
        if attempt > 0 {
            let below = FIRST_WAIT.saturating_mul(1 << attempt.min(6));
            tokio::time::sleep(self.env.jitter(below)).await;
        }
    }
}
