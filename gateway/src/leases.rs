//! Which gateways live. Each renews a lease; when one lapses, what that gateway said of presence counts as gone, and
//! whoever notices removes it. A gateway whose own lease lapsed (it was frozen, or cut off) comes back under a new
//! name, so that nobody mistakes what it said before for what it says now.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use simurgh_backplane::{Bucket, BusError, LEASE, SharedBus, subject};
use simurgh_env::Env;
use tokio::time::Instant;

mod keep;

pub use keep::keep;

/// This gateway's name, and the leases that were last read.
pub struct Leases {
    bus: SharedBus,
    env: Env,
    state: Mutex<State>,
}

struct State {
    id: Arc<str>,
    /// The own lease's revision; 0 while there is none.
    revision: u64,
    renewed_at: Instant,
    standing: BTreeSet<Arc<str>>,
    /// Gateways without a lease whose entries were met: what a gateway leaves that died when nobody was there to notice.
    dead: BTreeSet<Arc<str>>,
    /// Readings of all leases that were begun, and the latest begun of those that were taken over.
    readings: (u64, u64),
}

impl Leases {
    /// A gateway under a new name, without a lease yet.
    #[must_use]
    pub fn new(bus: SharedBus, env: Env) -> Self {
        let state = State {
            id: env.short_id().into(),
            revision: 0,
            renewed_at: env.instant(),
            standing: BTreeSet::new(),
            dead: BTreeSet::new(),
            readings: (0, 0),
        };
        Self { bus, env, state: Mutex::new(state) }
    }

    /// This gateway's name at present.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        Arc::clone(&self.lock().id)
    }

    /// Whether the gateway had a lease when they were last read.
    #[must_use]
    pub fn is_standing(&self, gateway: &str) -> bool {
        self.lock().standing.contains(gateway)
    }

    /// Whether a gateway that said something has a lease. A gateway takes its lease before it says anything, so one
    /// that is not known is looked up.
    pub async fn stands(&self, gateway: &str) -> bool {
        {
            let state = self.lock();
            if state.standing.contains(gateway) || state.dead.contains(gateway) {
                return state.standing.contains(gateway);
            }
        }
        // Where the backplane does not answer, nobody is declared dead.
        let Ok(gone) = self.read().await else { return true };
        let mut state = self.lock();
        state.dead.extend(gone);
        let stands = state.standing.contains(gateway);
        if !stands {
            state.dead.insert(gateway.into());
        }
        stands
    }

    /// Takes the lease, whatever is there.
    ///
    /// # Errors
    /// Where the backplane did not answer.
    pub async fn take(&self) -> Result<(), BusError> {
        self.take_as(self.id()).await
    }

    /// Goes on under a new name, once that has its lease.
    async fn rename(&self) -> Result<Arc<str>, BusError> {
        let id: Arc<str> = self.env.short_id().into();
        self.take_as(Arc::clone(&id)).await?;
        Ok(id)
    }

    async fn take_as(&self, id: Arc<str>) -> Result<(), BusError> {
        let started = self.env.instant();
        let revision = self.bus.put(Bucket::Leases, &subject::lease_key(&id), Bytes::new()).await?;
        let mut state = self.lock();
        state.standing.insert(Arc::clone(&id));
        (state.id, state.revision, state.renewed_at) = (id, revision, started);
        Ok(())
    }

    /// Renews the lease that this gateway holds.
    ///
    /// # Errors
    /// [`BusError::Conflict`] where it had lapsed, by whichever clock.
    async fn renew(&self) -> Result<(), BusError> {
        let (id, revision) = {
            let state = self.lock();
            (Arc::clone(&state.id), state.revision)
        };
        let started = self.env.instant();
        let revision =
            self.bus.update(Bucket::Leases, &subject::lease_key(&id), Bytes::new(), revision).await?;
        let mut state = self.lock();
        (state.revision, state.renewed_at) = (revision, started);
        Ok(())
    }

    /// Gives the lease back: this gateway is gone.
    pub async fn give_up(&self) {
        let (id, revision) = {
            let state = self.lock();
            (Arc::clone(&state.id), state.revision)
        };
        // Left behind, it lapses by itself.
        let _ = self.bus.delete(Bucket::Leases, &subject::lease_key(&id), revision).await;
    }

    /// Whether the own lease has lapsed by this gateway's own clock.
    fn lapsed(&self) -> bool {
        self.env.instant() >= self.lock().renewed_at + LEASE
    }

    /// Reads all leases; answers the gateways that have none (any more).
    async fn look(&self) -> Result<BTreeSet<Arc<str>>, BusError> {
        let gone = self.read().await?;
        let mut state = self.lock();
        let mut dead = std::mem::take(&mut state.dead);
        dead.extend(gone);
        dead.retain(|gateway| !state.standing.contains(gateway) && *gateway != state.id);
        Ok(dead)
    }

    /// What a gateway left could not be removed: once more.
    fn still_dead(&self, gateway: Arc<str>) {
        self.lock().dead.insert(gateway);
    }

    /// Reads all leases; answers those that are gone since the last time.
    async fn read(&self) -> Result<Vec<Arc<str>>, BusError> {
        let reading = {
            let mut state = self.lock();
            state.readings.0 += 1;
            state.readings.0
        };
        let found = self.bus.get_many(Bucket::Leases, &[subject::all_leases()]).await?;
        let standing: BTreeSet<Arc<str>> =
            found.iter().filter_map(|entry| entry.key.parts().pop()).map(Into::into).collect();
        let mut state = self.lock();
        if reading < state.readings.1 {
            // A later one was answered before.
            return Ok(Vec::new());
        }
        state.readings.1 = reading;
        let gone = state.standing.difference(&standing).cloned().collect();
        state.standing = standing;
        Ok(gone)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
