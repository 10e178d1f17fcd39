//! One bucket of keys in memory.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{Bucket, BusError, Entry, Filter, Key, LEASE, MAX_VALUE_BYTES};

/// A bucket: its keys in order, and the revision that its last write got.
#[derive(Debug)]
pub(super) struct Keys {
    /// How long an entry lasts after its last write; for ever where `None`.
    lifetime: Option<Duration>,
    /// Counts all writes in the bucket, removals too (as a sequence of a NATS stream does).
    last_revision: u64,
    values: BTreeMap<Key, Value>,
}

#[derive(Debug)]
struct Value {
    bytes: Bytes,
    revision: u64,
    written: Instant,
}

impl Keys {
    pub(super) fn new(bucket: Bucket) -> Self {
        let lifetime = match bucket {
            Bucket::Presence => None,
            Bucket::Leases => Some(LEASE),
        };
        Self { lifetime, last_revision: 0, values: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Option<Entry> {
        self.expire(now);
        self.values.get(key).map(|value| value.entry(key))
    }

    pub(super) fn get_many(&mut self, filters: &[Filter], now: Instant) -> Vec<Entry> {
        self.expire(now);
        let mut found = BTreeMap::new();
        for filter in filters {
            let text = filter.as_str();
            let prefix = text.split_once('*').map_or(text, |(before, _)| before);
            let candidates = self
                .values
                .range(Key::raw(prefix)..)
                .take_while(|(key, _)| key.as_str().starts_with(prefix))
                .filter(|(key, _)| filter.matches(key));
            found.extend(candidates.map(|(key, value)| (key.clone(), value.entry(key))));
        }
        found.into_values().collect()
    }

    pub(super) fn put(&mut self, key: &Key, bytes: Bytes, now: Instant) -> Result<u64, BusError> {
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(BusError::TooLarge(bytes.len()));
        }
        self.last_revision += 1;
        let revision = self.last_revision;
        self.values.insert(key.clone(), Value { bytes, revision, written: now });
        Ok(revision)
    }

    pub(super) fn update(
        &mut self,
        key: &Key,
        bytes: Bytes,
        revision: u64,
        now: Instant,
    ) -> Result<u64, BusError> {
        self.check(key, revision, now)?;
        self.put(key, bytes, now)
    }

    pub(super) fn delete(&mut self, key: &Key, revision: u64, now: Instant) -> Result<(), BusError> {
        self.check(key, revision, now)?;
        self.values.remove(key).ok_or(BusError::Conflict)?;
        self.last_revision += 1;
        Ok(())
    }

    /// Whether the key has this revision; 0 stands for a key that is not there.
    fn check(&mut self, key: &Key, revision: u64, now: Instant) -> Result<(), BusError> {
        self.expire(now);
        let actual = self.values.get(key).map_or(0, |value| value.revision);
        if actual == revision { Ok(()) } else { Err(BusError::Conflict) }
    }

    fn expire(&mut self, now: Instant) {
        if let Some(lifetime) = self.lifetime {
            self.values.retain(|_, value| now.saturating_duration_since(value.written) < lifetime);
        }
    }
}

impl Value {
    fn entry(&self, key: &Key) -> Entry {
        Entry { key: key.clone(), value: self.bytes.clone(), revision: self.revision }
    }
}
