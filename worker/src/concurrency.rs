//! How many commands a worker does at once: as many as it ends in time, found by additive increase and multiplicative
//! decrease as TCP finds its window.
//!
//! A worker that begins all that comes shares its CPU and its store among so many commands that none of them ends before its
//! deadline: it is busy with work that nobody waits for any more, and stays so. Here commands that find no place wait for a
//! short while and are refused then, which costs next to nothing; those that have one are done in time. Whoever is connected
//! goes before whoever comes: joins and reads may take half of the places.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use simurgh_env::Env;
use simurgh_protocol::envelope::Call;
use simurgh_service::metrics::IntGauge;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// The fewest places.
const LEAST: f64 = 16.0;
/// How many there are at first.
const FIRST: f64 = 64.0;
/// The most.
const MOST: f64 = 1_024.0;
/// A command that took longer once it was begun says that too much is under way: gateways wait for 2.5 s.
const SLOW: Duration = Duration::from_secs(1);
/// What is left of the places then.
const CUT: f64 = 0.7;
/// What has to be left until its deadline when a command is begun: [`SLOW`], and what an answer takes.
const ENOUGH: Duration = Duration::from_millis(1_250);

/// Whose command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Somebody who is there does something.
    Doing,
    /// Somebody comes, or reads.
    Coming,
}

impl Lane {
    /// The lane of a call.
    pub(crate) const fn of(call: &Call) -> Self {
        match call {
            Call::JoinUser
            | Call::JoinConversation { .. }
            | Call::ListConversations { .. }
            | Call::GetConversation { .. }
            | Call::GetSettings { .. }
            | Call::ListContacts { .. }
            | Call::ListBlocks { .. }
            | Call::Sees
            | Call::GetPresence { .. }
            | Call::PresenceChanged { .. }
            | Call::Visible
            | Call::History { .. }
            | Call::Receipts { .. }
            | Call::Delivery { .. }
            | Call::Missed { .. }
            | Call::Range { .. }
            | Call::Heads { .. } => Self::Coming,
            Call::CreateConversation { .. }
            | Call::PatchConversation { .. }
            | Call::PatchSettings { .. }
            | Call::AddMember { .. }
            | Call::RemoveMember { .. }
            | Call::CheckMembers { .. }
            | Call::SetContact { .. }
            | Call::SetBlock { .. }
            | Call::Revoke { .. }
            | Call::Revocations { .. }
            | Call::Admit
            | Call::Notify { .. }
            | Call::Push { .. }
            | Call::PostMessage { .. }
            | Call::EditMessage { .. }
            | Call::DeleteMessage { .. } => Self::Doing,
        }
    }
}

/// The places of one worker.
pub(crate) struct Concurrency {
    env: Env,
    /// Shows how many there are.
    shown: IntGauge,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    /// Until the first cut places are doubled, and not added to.
    cut_at: Option<Instant>,
    doing: usize,
    coming: usize,
    waiting: Waiting,
}

#[derive(Debug, Default)]
struct Waiting {
    doing: Queue,
    coming: Queue,
}

/// Who waits for a place, whoever came first in front.
#[derive(Debug, Default)]
struct Queue(VecDeque<oneshot::Sender<()>>);

impl Waiting {
    const fn of(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Doing => &mut self.doing,
            Lane::Coming => &mut self.coming,
        }
    }
}

impl Queue {
    /// One more waits. Who gave up is let go of here, since a lane without a place for long is never looked at otherwise.
    fn begin(&mut self) -> oneshot::Receiver<()> {
        while self.0.front().is_some_and(oneshot::Sender::is_closed) {
            self.0.pop_front();
        }
        let (sender, turn) = oneshot::channel();
        self.0.push_back(sender);
        turn
    }
}

impl fmt::Debug for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrency").field("state", &self.state).finish_non_exhaustive()
    }
}

/// A place, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Concurrency>,
    lane: Lane,
    began: Instant,
}

impl State {
    fn has_room(&self, lane: Lane) -> bool {
        let taken = count(self.doing + self.coming);
        taken < self.limit && (lane == Lane::Doing || count(self.coming) < self.limit / 2.0)
    }

    fn taken(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Doing => &mut self.doing,
            Lane::Coming => &mut self.coming,
        }
    }

    /// The next that there is room for; those who have gone are passed over.
    fn admit(&mut self) {
        for lane in [Lane::Doing, Lane::Coming] {
            while self.has_room(lane) {
                let Some(next) = self.waiting.of(lane).0.pop_front() else { break };
                if next.send(()).is_ok() {
                    *self.taken(lane) += 1;
                }
            }
        }
    }

    /// A command that began at `began` ended at `now`.
    fn ended(&mut self, lane: Lane, began: Instant, now: Instant) {
        // Where few are under way, that they were fast says nothing about more.
        let is_busy = match lane {
            Lane::Doing => count(self.doing + self.coming) * 2.0 >= self.limit,
            Lane::Coming => count(self.coming) * 4.0 >= self.limit,
        };
        if now.saturating_duration_since(began) > SLOW {
            // What began before the last cut says nothing about what there is now.
            if self.cut_at.is_none_or(|cut_at| began >= cut_at) {
                self.limit = (self.limit * CUT).max(LEAST);
                self.cut_at = Some(now);
            }
        } else if is_busy {
            let more = if self.cut_at.is_none() { 1.0 } else { self.limit.recip() };
            self.limit = (self.limit + more).min(MOST);
        }
    }
}

impl Concurrency {
    pub(crate) fn new(env: Env, shown: IntGauge) -> Arc<Self> {
        let state = State { limit: FIRST, cut_at: None, doing: 0, coming: 0, waiting: Waiting::default() };
        Arc::new(Self { env, shown, state: Mutex::new(state) })
    }

    /// A place for a command that has to be done within `left`; `None` where there was none while it could be.
    /// How many wait is bounded by who asks.
    pub(crate) async fn place(self: &Arc<Self>, lane: Lane, left: Duration) -> Option<Place> {
        let turn = {
            let mut state = self.lock();
            if state.has_room(lane) {
                *state.taken(lane) += 1;
                None
            } else {
                Some(state.waiting.of(lane).begin())
            }
        };
        if let Some(mut turn) = turn
            && !matches!(timeout(left.saturating_sub(ENOUGH), &mut turn).await, Ok(Ok(())))
        {
            turn.close();
            // It may have come in this very moment.
            turn.try_recv().ok()?;
        }
        Some(Place { of: Arc::clone(self), lane, began: self.env.instant() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.of.env.instant();
        let mut state = self.of.lock();
        state.ended(self.lane, self.began, now);
        let taken = state.taken(self.lane);
        *taken = taken.saturating_sub(1);
        state.admit();
        #[expect(clippy::cast_possible_truncation, reason = "between LEAST and MOST")]
        self.of.shown.set(state.limit as i64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
const fn count(commands: usize) -> f64 {
    commands as f64
}

#[cfg(test)]
mod tests;
