//! What was told in the last half minute, and where: a gateway that dies takes what it was told along. Its sockets died
//! with it, or just before, and its lease lapses up to 15 s later; until then its users are taken for connected. So once a
//! lease is gone, those who were told there and are connected nowhere now have missed it.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use simurgh_backplane::{Bucket, LEASE, subject};
use simurgh_protocol::UserId;
use tokio::time::{Instant, sleep};

use super::{Job, Said, Whom};
use crate::{Worker, broadcast::Places};

/// How often leases are looked at while anything is remembered. One that is missing twice is gone: where NATS restarted,
/// all are, for a moment.
const LOOK: Duration = Duration::from_secs(5);
/// How long what was told is remembered: until a lease that was renewed just before has been found missing twice.
const REMEMBERED: Duration = Duration::from_secs(LEASE.as_secs() + 3 * LOOK.as_secs());
/// Bytes of what is remembered; beyond them the oldest is forgotten.
const BYTES: usize = 16 * 1024 * 1024;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: VecDeque<Told>,
    bytes: usize,
    /// Whether leases are looked at.
    watched: bool,
    /// The gateways whose lease was missing at the last look.
    missing: BTreeSet<String>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    said: Arc<Said>,
    places: Arc<Places>,
    /// The gateways that were found gone.
    gone: BTreeSet<String>,
}

impl Told {
    /// The gateways it was told on.
    fn gateways(&self) -> impl Iterator<Item = &String> {
        self.places.users.keys().chain(self.places.quiet.keys())
    }

    fn users_on(&self, gateways: &BTreeSet<String>) -> Vec<UserId> {
        let on = |gateway: &String| {
            let (told, quiet) = (self.places.users.get(gateway), self.places.quiet.get(gateway));
            told.into_iter().chain(quiet).flatten().cloned().collect::<Vec<_>>()
        };
        let users: BTreeSet<UserId> = gateways.iter().flat_map(on).collect();
        users.into_iter().collect()
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.told.front()
            && (now >= oldest.at + REMEMBERED || self.bytes > BYTES)
        {
            self.bytes = self.bytes.saturating_sub(oldest.said.bytes());
            self.told.pop_front();
        }
    }

    /// What users on gateways that are gone may have missed, once for each gateway.
    fn look(&mut self, alive: &BTreeSet<String>, now: Instant) -> Vec<Job> {
        self.forget(now);
        let named: BTreeSet<String> = self.told.iter().flat_map(Told::gateways).cloned().collect();
        let missing: BTreeSet<String> = named.difference(alive).cloned().collect();
        let gone: BTreeSet<String> = missing.intersection(&self.missing).cloned().collect();
        self.missing = missing;
        let mut jobs = Vec::new();
        for told in &mut self.told {
            let new: BTreeSet<String> = gone.difference(&told.gone).cloned().collect();
            let users = told.users_on(&new);
            told.gone.extend(new);
            if !users.is_empty() {
                jobs.push(Job { said: Arc::clone(&told.said), whom: Whom::Of(users, None) });
            }
        }
        jobs
    }
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was told there; whether leases are to be looked at from now on.
    fn add(&self, said: Arc<Said>, places: Arc<Places>, now: Instant) -> bool {
        let mut state = self.lock();
        state.bytes += said.bytes();
        state.told.push_back(Told { at: now, said, places, gone: BTreeSet::new() });
        state.forget(now);
        !std::mem::replace(&mut state.watched, true)
    }

    /// Whether anything is still remembered; leases are looked at no more where nothing is.
    fn goes_on(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.forget(now);
        state.watched = !state.told.is_empty();
        state.watched
    }
}

impl Worker {
    /// Remembers for a while what was told where.
    pub(super) fn remember_told(&self, said: Arc<Said>, places: Arc<Places>) {
        if places.users.is_empty() && places.quiet.is_empty() {
            return;
        }
        if self.memory.recent.add(said, places, self.env.instant()) {
            let worker = self.clone();
            self.spawn(async move { worker.watch_leases().await });
        }
    }

    async fn watch_leases(&self) {
        while self.memory.recent.goes_on(self.env.instant()) {
            tokio::select! {
                biased;
                // What is told from here on, others have to look after: the process ends.
                () = self.drains() => return,
                () = sleep(LOOK) => {}
            }
            let Ok(leases) = self.bus.get_many(Bucket::Leases, &[subject::all_leases()]).await else {
                continue;
            };
            let alive = leases.iter().filter_map(|lease| lease.key.parts().pop()).collect();
            let jobs = self.memory.recent.lock().look(&alive, self.env.instant());
            for job in jobs {
                self.note_missed(job);
            }
        }
    }
}
