//! One user's state on this gateway.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use simurgh_backplane::BusError;
use simurgh_protocol::{
    Topic, UserId,
    envelope::{ChosenStatus, EntryMark, PresenceMeta, UserPresence},
};
use simurgh_service::metrics::Counted;
use tokio::{sync::oneshot, time::Instant};

use super::{Told, entry::Write, tell, tell_choice};
use crate::{Shared, few::FewMap};

/// What of an entry goes into what others see, which they work out from the entries of all gateways: an invisible
/// user's connections, too, since the choice of another device may be later.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    refs: Vec<String>,
    chosen: Option<ChosenStatus>,
}

impl Merged {
    pub(super) fn of(entry: &UserPresence) -> Self {
        let refs: Vec<_> = entry.metas.iter().map(|meta| meta.phx_ref.clone()).collect();
        let chosen = entry.chosen.filter(|_| !refs.is_empty());
        Self { refs, chosen }
    }
}

#[derive(Default)]
pub(super) struct User {
    /// Channels by topic, and how many sockets have each.
    pub(super) topics: FewMap<Topic, usize>,
    /// The connections by the ref they were joined with; a meta's own ref changes with the status.
    pub(super) connections: FewMap<String, Box<PresenceMeta>>,
    /// Subscriptions to the user topic.
    pub(super) watchers: usize,
    pub(super) chosen: Option<ChosenStatus>,
    /// Connections that dropped, and until when they count.
    pub(super) departing: Vec<(Instant, String)>,
    /// What the written entry says, how often that changed, and how many of those changes others were told.
    pub(super) says: Merged,
    pub(super) changes: u64,
    pub(super) told: u64,
    /// The write that shows it.
    pub(super) mark: Option<EntryMark>,
    /// The entry, counted while it is there.
    pub(super) entry: Option<Counted>,
    /// Whether the written entry has connections, and workers were told of it.
    pub(super) placed: bool,
    /// Others may have seen the entry gone: the next write is told also where it changes nothing.
    pub(super) retell: bool,
    /// How often everything had to be written again.
    pub(super) epoch: u64,
    /// A choice that the other gateways are still to be told.
    pub(super) untold_choice: Option<ChosenStatus>,
    pub(super) telling: bool,
    pub(super) tell_not_before: Option<Instant>,
    pub(super) pause: Duration,
    /// The other gateways' entries were read for the status chosen there.
    pub(super) known: bool,
    pub(super) writing: bool,
    pub(super) dirty: bool,
    pub(super) not_before: Option<Instant>,
    /// When the user is looked at next.
    pub(super) due: Option<Instant>,
    pub(super) joining: Vec<oneshot::Sender<Result<Option<ChosenStatus>, BusError>>>,
    pub(super) choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
}

impl User {
    /// Whose grace is over is gone.
    pub(super) fn depart(&mut self, now: Instant) {
        for (_, phx_ref) in self.departing.extract_if(.., |(at, _)| *at <= now) {
            self.connections.remove(&phx_ref);
            self.dirty = true;
        }
    }

    /// When the entry may be written, if it must.
    pub(super) fn writes_at(&self, now: Instant) -> Option<Instant> {
        (self.dirty && !self.writing).then(|| self.not_before.unwrap_or(now))
    }

    /// When a change may be told, if there is one.
    pub(super) fn tells_at(&self, now: Instant) -> Option<Instant> {
        ((self.told != self.changes || self.untold_choice.is_some()) && !self.telling)
            .then(|| self.tell_not_before.unwrap_or(now))
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_settled(&self) -> bool {
        let idle = !self.dirty && !self.writing && !self.telling;
        let told = self.told == self.changes && self.untold_choice.is_none();
        idle && told && self.topics.is_empty() && self.connections.is_empty()
    }

    /// What is to be written now; the next write not before `next`.
    pub(super) fn start_write(&mut self, next: Instant) -> Write {
        (self.writing, self.dirty, self.not_before) = (true, false, Some(next));
        let mut metas: Vec<_> = self.connections.values().map(|meta| PresenceMeta::clone(meta)).collect();
        metas.sort_by_key(|meta| meta.online_at);
        Write {
            came: (!metas.is_empty() || self.watchers > 0) && (!self.placed || self.retell),
            keep: !self.topics.is_empty() || !metas.is_empty(),
            entry: UserPresence {
                chosen: self.chosen,
                metas,
                dropped: self.departing.len(),
                watchers: self.watchers,
            },
            known: self.known,
            last: self.mark.as_ref().filter(|mark| !mark.gone).map(|mark| mark.revision),
            again: std::mem::take(&mut self.retell),
            epoch: self.epoch,
            joining: std::mem::take(&mut self.joining),
            choosing: std::mem::take(&mut self.choosing),
        }
    }

    /// Tells what is untold: changes first, for they are told to those who wait for them.
    pub(super) fn start_telling(&mut self, shared: &Arc<Shared>, user: &UserId) -> BoxFuture<'static, Told> {
        self.telling = true;
        let (shared, user) = (Arc::clone(shared), user.clone());
        match self.untold_choice.filter(|_| self.told == self.changes) {
            Some(chosen) => Box::pin(tell_choice(shared, user, chosen)),
            None => Box::pin(tell(shared, user, self.changes, self.mark.clone())),
        }
    }

    /// A new ref for each meta: a change of status is one meta gone and one come.
    pub(super) fn renew_refs(&mut self, shared: &Shared) {
        for meta in self.connections.values_mut() {
            meta.phx_ref_prev = Some(std::mem::replace(&mut meta.phx_ref, shared.env.short_id()));
        }
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::{Timestamp, record::Status};

    use super::*;

    #[test]
    fn that_an_invisible_connection_ended_is_told() {
        let meta = PresenceMeta {
            user: UserId::new("alice").unwrap(),
            phx_ref: "1".to_owned(),
            phx_ref_prev: None,
            online_at: Timestamp::default(),
        };
        let chosen = Some(ChosenStatus { status: Status::Offline, at: Timestamp::default() });
        let there = UserPresence { chosen, metas: vec![meta], ..UserPresence::default() };
        let gone = UserPresence { chosen, ..UserPresence::default() };
        assert_ne!(Merged::of(&there), Merged::of(&gone), "another gateway may hold a later choice");
        assert_eq!(Merged::of(&gone), Merged::default());
    }
}
