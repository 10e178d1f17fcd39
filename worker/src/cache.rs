//! A bounded map that forgets what was used longest ago. Deterministic, and small enough to lock for a moment.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::metrics::CacheMeter;

/// Values by key, at most `capacity` of their weights together: about the bytes that they take.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    capacity: usize,
    meter: CacheMeter,
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    /// Counts uses; the next one's number.
    clock: u64,
    weight: usize,
    entries: BTreeMap<K, Entry<V>>,
    /// When each key was used last, the longest ago first.
    uses: BTreeMap<u64, K>,
}

#[derive(Debug)]
struct Entry<V> {
    used: u64,
    weight: usize,
    value: V,
}

impl<K: Ord + Clone, V: Clone> Cache<K, V> {
    /// Holds values whose weights are `capacity` together, and the last one put whatever it weighs.
    pub(crate) fn new(capacity: usize, meter: CacheMeter) -> Self {
        let state = State { clock: 0, weight: 0, entries: BTreeMap::new(), uses: BTreeMap::new() };
        Self { capacity, meter, state: Mutex::new(state) }
    }

    /// The value put last under this key, unless it was forgotten, where it is still `good`: a hit.
    pub(crate) fn find(&self, key: &K, good: impl FnOnce(&V) -> bool) -> Option<V> {
        let found = self.get(key).filter(good);
        self.meter.looked_up(found.is_some());
        found
    }

    /// The value put last under this key, unless it was forgotten. Not counted.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.tick();
        let entry = state.entries.get_mut(key)?;
        let (before, value) = (entry.used, entry.value.clone());
        entry.used = now;
        state.uses.remove(&before);
        state.uses.insert(now, key.clone());
        Some(value)
    }

    /// Forgets the value under this key.
    pub(crate) fn remove(&self, key: &K) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.weight;
        state.forget(key);
        self.meter.bytes.sub(i64::try_from(before - state.weight).unwrap_or(0));
    }

    /// Keeps a value instead of the one before.
    pub(crate) fn put(&self, key: K, value: V, weight: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.weight;
        state.forget(&key);
        let used = state.tick();
        state.uses.insert(used, key.clone());
        state.entries.insert(key, Entry { used, weight, value });
        state.weight += weight;
        while state.weight > self.capacity && state.entries.len() > 1 {
            let Some((_, oldest)) = state.uses.pop_first() else { break };
            state.forget(&oldest);
        }
        let grown = i64::try_from(state.weight).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
        self.meter.bytes.add(grown);
    }
}

impl<K, V> Drop for Cache<K, V> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.meter.bytes.sub(i64::try_from(state.weight).unwrap_or(0));
    }
}

impl<K: Ord, V> State<K, V> {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn forget(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.weight -= entry.weight;
            self.uses.remove(&entry.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use crate::metrics::Metrics;

    #[test]
    fn forgets_what_was_used_longest_ago() {
        let cache = Cache::new(10, Metrics::new().unwrap().cache("tails"));
        cache.put("a", 1, 4);
        cache.put("b", 2, 4);
        assert_eq!(cache.get(&"a"), Some(1));
        cache.put("c", 3, 4);
        assert_eq!((cache.get(&"a"), cache.get(&"b"), cache.get(&"c")), (Some(1), None, Some(3)));
        cache.remove(&"a");
        assert_eq!((cache.get(&"a"), cache.get(&"c")), (None, Some(3)));
        assert_eq!(cache.meter.bytes.get(), 4);
    }

    #[test]
    fn bytes_held_and_hits_are_counted() {
        let metrics = Metrics::new().unwrap();
        let cache = Cache::new(10, metrics.cache("tails"));
        cache.put("a", 1, 4);
        cache.put("a", 2, 6);
        cache.put("b", 3, 9);
        assert_eq!(cache.meter.bytes.get(), 9, "what was forgotten does not count");
        assert_eq!((cache.find(&"b", |b| *b == 3), cache.find(&"b", |b| *b == 4)), (Some(3), None));
        assert_eq!((cache.meter.hits(), cache.meter.misses()), (1, 1));
    }

    #[test]
    fn a_value_replaces_the_one_before_and_its_weight() {
        let cache = Cache::new(10, Metrics::new().unwrap().cache("tails"));
        cache.put("a", 1, 9);
        cache.put("a", 2, 3);
        cache.put("b", 3, 7);
        assert_eq!((cache.get(&"a"), cache.get(&"b")), (Some(2), Some(3)));
        cache.put("c", 4, 99);
        assert_eq!((cache.get(&"a"), cache.get(&"b"), cache.get(&"c")), (None, None, Some(4)));
    }
}
