//! Who is to be looked at, and when.

use std::collections::{BTreeMap, BTreeSet};

use simurgh_protocol::UserId;
use tokio::time::Instant;

/// Each user at most once, with what is to be known then. Users who are being looked at wait until that has ended.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    planned: BTreeMap<UserId, (Instant, T)>,
    order: BTreeSet<(Instant, UserId)>,
    /// Those who are being looked at, and what is planned for them afterwards.
    busy: BTreeMap<UserId, Option<(Instant, T)>>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { planned: BTreeMap::new(), order: BTreeSet::new(), busy: BTreeMap::new() }
    }
}

impl<T> Agenda<T> {
    /// The user is looked at at that time, or earlier where it was to be; `merge` joins what was planned and what is new.
    pub(super) fn plan(&mut self, user: UserId, at: Instant, new: T, merge: impl FnOnce(T, T) -> T) {
        if let Some(later) = self.busy.get_mut(&user) {
            *later = Some(match later.take() {
                Some((due, old)) => (due.min(at), merge(old, new)),
                None => (at, new),
            });
            return;
        }
        let (due, value) = match self.planned.remove(&user) {
            Some((due, old)) => {
                self.order.remove(&(due, user.clone()));
                (due.min(at), merge(old, new))
            }
            None => (at, new),
        };
        self.order.insert((due, user.clone()));
        self.planned.insert(user, (due, value));
    }

    /// Nothing is planned for the user any more.
    pub(super) fn forget(&mut self, user: &UserId) {
        if let Some((due, _)) = self.planned.remove(user) {
            self.order.remove(&(due, user.clone()));
        }
        if let Some(later) = self.busy.get_mut(user) {
            *later = None;
        }
    }

    /// When somebody is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Up to `most` who are due; they are busy from now on.
    pub(super) fn take(&mut self, now: Instant, most: usize) -> Vec<(UserId, T)> {
        let mut taken = Vec::new();
        while taken.len() < most && self.order.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, user)) = self.order.pop_first() else { break };
            if let Some((_, value)) = self.planned.remove(&user) {
                self.busy.insert(user.clone(), None);
                taken.push((user, value));
            }
        }
        taken
    }

    /// The user was looked at: what came up meanwhile is planned.
    pub(super) fn done(&mut self, user: &UserId) {
        if let Some(Some((due, value))) = self.busy.remove(user) {
            self.order.insert((due, user.clone()));
            self.planned.insert(user.clone(), (due, value));
        }
    }

    /// How many are being looked at.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::now;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_comes_first_and_who_is_busy_waits() {
        let (start, user) = (now(), |name: &str| UserId::new(name).unwrap());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut agenda = Agenda::default();
        agenda.plan(user("b"), at(2), 2, |old, new| old + new);
        agenda.plan(user("a"), at(3), 3, |old, new| old + new);
        agenda.plan(user("a"), at(1), 4, |old, new| old + new);
        assert_eq!((agenda.next(), agenda.take(at(0), 9)), (Some(at(1)), vec![]));
        assert_eq!(agenda.take(at(2), 1), [(user("a"), 7)]);
        agenda.plan(user("a"), at(1), 9, |old, new| old + new);
        assert_eq!(agenda.take(at(2), 9), [(user("b"), 2)], "a is busy");
        agenda.done(&user("a"));
        assert_eq!((agenda.busy(), agenda.take(at(2), 9)), (1, vec![(user("a"), 9)]));
        agenda.plan(user("b"), at(1), 1, |old, new| old + new);
        agenda.forget(&user("b"));
        agenda.done(&user("b"));
        assert_eq!(agenda.next(), None);
    }
}
