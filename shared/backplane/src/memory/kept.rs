//! The stream of what users missed, in memory. Nobody consumes it there: the local stack writes nothing to it, and tests
//! look at it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{OfflineLimits, Subject, offline::REMEMBERED};

/// Entries of all users together.
const ENTRIES: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Kept {
    entries: VecDeque<Entry>,
    /// How many of them each subject has.
    of_subject: BTreeMap<Subject, u32>,
    /// When what has this name was kept.
    names: BTreeMap<String, Instant>,
    /// The names in the order in which they are forgotten.
    remembered: VecDeque<String>,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    name: String,
    payload: Bytes,
    at: Instant,
}

impl Kept {
    /// Whether it was not there.
    pub(super) fn keep(&mut self, subject: &Subject, name: &str, payload: Bytes, now: Instant) -> bool {
        self.forget(now);
        if self.names.contains_key(name) {
            return false;
        }
        self.names.insert(name.to_owned(), now);
        self.remembered.push_back(name.to_owned());
        self.entries.push_back(Entry { subject: subject.clone(), name: name.to_owned(), payload, at: now });
        let count = self.of_subject.entry(subject.clone()).or_default();
        *count += 1;
        if *count > OfflineLimits::default().max_per_user {
            let oldest = self.entries.iter().position(|entry| entry.subject == *subject);
            let _ = oldest.and_then(|oldest| self.entries.remove(oldest));
            *count -= 1;
        }
        while self.entries.len() > ENTRIES {
            self.drop_oldest();
        }
        true
    }

    pub(super) fn remembers(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    pub(super) fn all(&mut self, now: Instant) -> Vec<(String, String, Bytes)> {
        self.forget(now);
        let shown =
            |entry: &Entry| (entry.subject.as_str().to_owned(), entry.name.clone(), entry.payload.clone());
        self.entries.iter().map(shown).collect()
    }

    fn forget(&mut self, now: Instant) {
        while let Some(name) = self.remembered.front()
            && self.names.get(name).is_none_or(|at| now.saturating_duration_since(*at) >= REMEMBERED)
        {
            self.names.remove(name);
            self.remembered.pop_front();
        }
        let max_age = OfflineLimits::default().max_age;
        while self.entries.front().is_some_and(|entry| now.saturating_duration_since(entry.at) >= max_age) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        if let Some(count) = self.of_subject.get_mut(&entry.subject) {
            *count -= 1;
            if *count == 0 {
                self.of_subject.remove(&entry.subject);
            }
        }
    }
}
