//! Maps and queues of few entries, for what each socket has: a node of a B-tree has room for eleven entries, a ring for
//! four, and most sockets have one or two.

use std::{borrow::Borrow, collections::VecDeque};

/// A map in the order of its keys. Finding takes a binary search, inserting and removing move what lies behind: for what
/// has at most some hundred entries.
#[derive(Clone, Debug)]
pub struct FewMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for FewMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> FewMap<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(one, _)| one.borrow().cmp(key))
    }

    /// The value under this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// The value under this key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().and_then(|at| self.0.get_mut(at)).map(|(_, value)| value)
    }

    /// Puts a value under a key; gives back the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.0.get_mut(at).map(|(_, before)| std::mem::replace(before, value)),
            Err(at) => {
                // One by one: that is how they come, and few stay few.
                self.0.reserve_exact(1);
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Takes out what is under this key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (_, value) = self.find(key).ok().map(|at| self.0.remove(at))?;
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(value)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// All of them, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The values, in the order of their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

impl<K: Ord, V: Default> FewMap<K, V> {
    /// The value under this key; the default is put there where there is none.
    pub fn or_default(&mut self, key: K) -> &mut V {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (key, V::default()));
                at
            }
        };
        #[expect(clippy::indexing_slicing, reason = "it was found there, or put there")]
        &mut self.0[at].1
    }
}

impl<K, V> IntoIterator for FewMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A queue that holds its first entry without an allocation, and nothing while it is empty.
#[derive(Debug)]
pub struct FewQueue<T> {
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for FewQueue<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

impl<T> FewQueue<T> {
    /// Puts it behind the others.
    pub fn push(&mut self, item: T) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.push_back(item);
        }
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<T> {
        let first = std::mem::replace(&mut self.first, self.rest.pop_front());
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        first
    }

    /// The first.
    pub fn first(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_of_few_is_a_map(steps in prop::collection::vec((0_u8..12, 0_u8..4), 0..200)) {
            let (mut few, mut map) = (FewMap::<u8, u8>::default(), BTreeMap::new());
            for (key, what) in steps {
                match what {
                    0 => prop_assert_eq!(few.insert(key, key), map.insert(key, key)),
                    1 => prop_assert_eq!(few.remove(&key), map.remove(&key)),
                    2 => {
                        let (one, other): (&mut u8, &mut u8) = (few.or_default(key), map.entry(key).or_default());
                        (*one, *other) = (one.wrapping_add(1), other.wrapping_add(1));
                    }
                    _ => prop_assert_eq!(few.get_mut(&key), map.get_mut(&key)),
                }
                prop_assert!(few.iter().eq(map.iter()) && few.len() == map.len());
                prop_assert_eq!(few.get(&key), map.get(&key));
            }
            prop_assert!(few.into_iter().eq(map));
        }

        #[test]
        fn a_queue_of_few_is_a_queue(steps in prop::collection::vec(any::<Option<u8>>(), 0..200)) {
            let (mut few, mut queue) = (FewQueue::default(), VecDeque::new());
            for step in steps {
                match step {
                    Some(item) => {
                        few.push(item);
                        queue.push_back(item);
                    }
                    None => prop_assert_eq!(few.pop(), queue.pop_front()),
                }
                prop_assert!(few.iter().eq(queue.iter()) && few.len() == queue.len());
                prop_assert_eq!((few.first(), few.is_empty()), (queue.front(), queue.is_empty()));
            }
        }
    }
}
