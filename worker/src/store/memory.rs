//! In memory: deterministic, without a clock. Nothing expires, which the port allows ("may forget").

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Consistency, Expect, Item, Key, PAGE_BYTES, Page, Query, Store, StoreError, Write, item};

/// Partition → sort key → item.
type Partitions = BTreeMap<String, BTreeMap<String, Item>>;

/// A store that lives as long as its process. Every read is consistent, also where an eventual one would do.
#[derive(Debug, Default)]
pub struct MemoryStore {
    partitions: Mutex<Partitions>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is in it: for tests of what is not.
    #[must_use]
    pub fn dump(&self) -> Vec<Item> {
        self.lock().values().flat_map(BTreeMap::values).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a>(partitions: &'a Partitions, key: &Key) -> Option<&'a Item> {
    partitions.get(&key.pk)?.get(&key.sk)
}

fn insert(partitions: &mut Partitions, item: Item) {
    partitions.entry(item.key.pk.clone()).or_default().insert(item.key.sk.clone(), item);
}

fn holds(expect: Expect, found: Option<&Item>) -> bool {
    match expect {
        Expect::Absent => found.is_none(),
        Expect::Version(version) => found.is_some_and(|item| item.version == version),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key, _: Consistency) -> Result<Option<Item>, StoreError> {
        Ok(find(&self.lock(), key).cloned())
    }

    async fn get_many(&self, keys: &[Key], _: Consistency) -> Result<Vec<Item>, StoreError> {
        let partitions = self.lock();
        Ok(keys.iter().filter_map(|key| find(&partitions, key)).cloned().collect())
    }

    async fn put(&self, write: Write) -> Result<Item, StoreError> {
        let expect = write.expect;
        let item = item::written(write);
        item::check_size(&item)?;
        let mut partitions = self.lock();
        let found = find(&partitions, &item.key);
        if !holds(expect, found) {
            return Err(StoreError::Conflict(found.cloned().map(Box::new)));
        }
        insert(&mut partitions, item.clone());
        Ok(item)
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let expected: Vec<Expect> = writes.iter().map(|write| write.expect).collect();
        let items: Vec<Item> = writes.into_iter().map(item::written).collect();
        item::check_transaction(&items)?;
        let mut partitions = self.lock();
        if !items.iter().zip(expected).all(|(item, expect)| holds(expect, find(&partitions, &item.key))) {
            return Err(StoreError::Conflict(None));
        }
        items.into_iter().for_each(|item| insert(&mut partitions, item));
        Ok(())
    }

    async fn query(&self, query: Query) -> Result<Page, StoreError> {
        if query.is_empty() {
            return Ok(Page::default());
        }
        let partitions = self.lock();
        let Some(partition) = partitions.get(&query.pk) else { return Ok(Page::default()) };
        let bounds = (Bound::Included(query.from.as_str()), Bound::Included(query.to.as_str()));
        let range = partition.range::<str, _>(bounds).map(|(_, item)| item);
        Ok(if query.descending { page(range.rev(), query.limit) } else { page(range, query.limit) })
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn page<'a>(range: impl Iterator<Item = &'a Item>, limit: usize) -> Page {
    let (mut page, mut bytes) = (Page::default(), 0);
    for item in range {
        bytes += item::bytes(item);
        if bytes > PAGE_BYTES {
            page.more = true;
            return page;
        }
        page.items.push(item.clone());
        // As DynamoDB: it does not look further than the limit.
        if page.items.len() == limit {
            page.more = true;
            return page;
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::contract, MemoryStore};

    #[tokio::test]
    async fn keeps_the_contract_of_a_store() {
        contract::run(Arc::new(MemoryStore::new())).await;
    }
}
