//! Which gateways live. Each renews a lease; when one lapses, what that gateway said of presence counts as gone, and
//! whoever notices removes it. A gateway whose own lease lapsed (it was frozen, or cut off) comes back under a new
//! name, so that nobody mistakes what it said before for what it says now.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use simurgh_backplane::{Bucket, BusError, LEASE, SharedBus, subject};
use simurgh_env::Env;
use tokio::{sync::watch::Receiver, time::Instant};

mod keep;

pub use keep::{ensure_offline, keep};

/// After the backplane was away, its memory and all leases may be gone. For so long whoever stood before is awaited:
/// the longest pause between attempts to connect, and time to take the lease.
const COMING_BACK: Duration = Duration::from_secs(8);

/// A gateway that could not renew its lease for so long is not ready: it was cut off for 10 s at least (contract section
/// 6), since it renews every 3.5 s.
const WAVERING: Duration = Duration::from_secs(14);

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
    /// Those with a lease, and those who are awaited.
    standing: BTreeSet<Arc<str>>,
    /// Those who stood before the backplane was away last, and until when what they said counts even where it is gone.
    stood: BTreeSet<Arc<str>>,
    awaited_until: Instant,
    read_at: Instant,
    connected: Receiver<bool>,
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
            stood: BTreeSet::new(),
            awaited_until: env.instant(),
            read_at: env.instant(),
            connected: bus.connected(),
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

    /// Whether the backplane was away a moment ago, and the gateway stood before: it may not have written again yet what
    /// was lost.
    #[must_use]
    pub fn is_awaited(&self, gateway: &str) -> bool {
        let state = self.lock();
        self.env.instant() < state.awaited_until && state.stood.contains(gateway)
    }

    /// The backplane may be back.
    fn look_for_return(&self) {
        came_back(&mut self.lock(), self.env.instant());
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
        let before = Arc::clone(&state.id);
        if before != id {
            state.standing.remove(&before);
        }
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

    /// How long ago the own lease was renewed.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.env.instant().saturating_duration_since(self.lock().renewed_at)
    }

    /// How many gateways have a lease, as far as was read.
    #[must_use]
    pub fn standing(&self) -> usize {
        self.lock().standing.len()
    }

    /// Whether the own lease was not renewed for so long that presence cannot be said to work.
    fn wavers(&self) -> bool {
        self.env.instant() >= self.lock().renewed_at + WAVERING
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
        let found: BTreeSet<Arc<str>> =
            found.iter().filter_map(|entry| entry.key.parts().pop()).map(Into::into).collect();
        let now = self.env.instant();
        let mut state = self.lock();
        if reading < state.readings.1 {
            // A later one was answered before.
            return Ok(Vec::new());
        }
        state.readings.1 = reading;
        came_back(&mut state, now);
        state.read_at = now;
        let missing: Vec<Arc<str>> = state.standing.difference(&found).cloned().collect();
        let (gone, awaited) =
            if now < state.awaited_until { (Vec::new(), missing) } else { (missing, Vec::new()) };
        state.standing = found;
        state.standing.extend(awaited);
        Ok(gone)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes who is awaited where the connection stands anew. (Whoever could not renew for longer than a lease comes back
/// under another name.)
fn came_back(state: &mut State, now: Instant) {
    if was_away(&mut state.connected) && now < state.read_at + LEASE {
        state.awaited_until = now + COMING_BACK;
        state.stood = state.standing.clone();
    }
}

/// Whether the connection stands anew since this was last asked.
fn was_away(connected: &mut Receiver<bool>) -> bool {
    connected.has_changed().unwrap_or(false) && *connected.borrow_and_update()
}

#[cfg(test)]
mod tests;
