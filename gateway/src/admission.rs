//! How many new sockets are let in at a time (contract sections 2 and 5).
//!
//! Clients forget their back-off once a socket opens, so whoever comes too early is neither let in nor sent away: the
//! upgrade is held until its turn, first come, first served, for at most [`MAX_HOLD`]. A storm of reconnects becomes a
//! queue, and what the queue has no room for is told so at once.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use simurgh_service::config::Rate;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::{
    config::{Networks, Settings},
    serve::Capacity,
};

mod address;
mod pacer;

pub use pacer::Pacer;
use pacer::Turns;

/// How long an upgrade is held; who would have to wait longer is refused.
pub const MAX_HOLD: Duration = Duration::from_secs(2);

/// Addresses whose turns are kept. Beyond it, only the gateway's rate holds for newcomers: at so many addresses a limit
/// on each protects nothing.
const MAX_ADDRESSES: usize = 1 << 16;

/// How many addresses are kept before the first look for those that can go.
const FIRST_PRUNE: usize = 1_024;

/// Lets new sockets in.
#[derive(Debug)]
pub struct Admission {
    per_gateway: Rate,
    per_address: Rate,
    proxies: Networks,
    /// Whether an untrusted peer was seen to send `X-Forwarded-For`, which is told once.
    told: AtomicBool,
    turns: Mutex<AllTurns>,
    places: Arc<Semaphore>,
    under_way: Semaphore,
}

#[derive(Debug)]
struct AllTurns {
    gateway: Turns,
    addresses: BTreeMap<IpAddr, Turns>,
    /// At how many addresses to look for those that can go.
    prune_at: usize,
}

/// A socket's place in the gateway, held as long as the socket is open.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    /// `capacity` is what the process can hold: a matter of its limit on open files.
    #[must_use]
    pub fn new(settings: &Settings, capacity: Capacity) -> Self {
        Self {
            per_gateway: settings.rates.rate_connects,
            per_address: settings.rates.rate_connects_per_address,
            proxies: settings.access.trusted_proxies.clone(),
            told: AtomicBool::new(false),
            turns: Mutex::new(AllTurns {
                gateway: Turns::default(),
                addresses: BTreeMap::new(),
                prune_at: FIRST_PRUNE,
            }),
            places: Arc::new(Semaphore::new(capacity.sockets.min(Semaphore::MAX_PERMITS))),
            under_way: Semaphore::new(capacity.upgrades()),
        }
    }

    /// The client's address: the peer's, or what a trusted proxy says.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, headers: &http::HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if self.proxies.contain(peer) {
            return address::forwarded(peer, headers, &self.proxies);
        }
        if headers.contains_key(address::FORWARDED_FOR) && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "X-Forwarded-For of an untrusted peer is ignored: a proxy of yours belongs in SIMURGH_TRUSTED_PROXIES"
            );
        }
        peer
    }

    /// Room for one more client that is about to be let in, while it waits and is looked at; none in a storm.
    #[must_use]
    pub fn under_way(&self) -> Option<SemaphorePermit<'_>> {
        self.under_way.try_acquire().ok()
    }

    /// Takes a turn for a client at `address`: how long its upgrade has to be held from `now` on.
    ///
    /// # Errors
    /// Where it would be more than [`MAX_HOLD`]: how long until a new attempt would be let in at once. No turn is
    /// taken.
    pub fn reserve(&self, address: IpAddr, now: Instant) -> Result<Duration, Duration> {
        let address = address::network(address);
        let mut turns = lock(&self.turns);
        let of_address = turns.addresses.get(&address).copied().unwrap_or_default();
        let wait = turns.gateway.wait(self.per_gateway, now).max(of_address.wait(self.per_address, now));
        if wait > MAX_HOLD {
            return Err(wait);
        }
        turns.gateway.take(self.per_gateway, now);
        turns.take(address, of_address, self.per_address, now);
        Ok(wait)
    }

    /// A place for one more socket; none when the process can hold no more.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(Place)
    }
}

impl AllTurns {
    fn take(&mut self, address: IpAddr, mut turns: Turns, rate: Rate, now: Instant) {
        if rate == Rate::OFF {
            return;
        }
        turns.take(rate, now);
        if self.addresses.len() >= self.prune_at {
            self.addresses.retain(|_, turns| !turns.all_back(now));
            self.prune_at = (self.addresses.len() * 2).clamp(FIRST_PRUNE, MAX_ADDRESSES);
        }
        if self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&address) {
            self.addresses.insert(address, turns);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
