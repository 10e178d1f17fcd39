//! Which gateways live. Each renews a lease; when one lapses, what that gateway said of presence counts as gone, and
//! whoever notices removes it. A gateway whose own lease lapsed (it was frozen, or cut off) comes back under a new
//! name, so that nobody mistakes what it said before for what it says now.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use simurgh_backplane::{Bucket, BusError, Entry, LEASE, Notice, SharedBus, subject};
use simurgh_env::Env;
use simurgh_protocol::{
    Raw, UserId,
    envelope::{self, Call, Principal, UserPresence},
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep_until},
};

use crate::{Shared, topic::actor::Command};

/// How often a lease is renewed: three may be lost.
const RENEW: Duration = Duration::from_millis(3_500);
/// How often the others' leases are read.
const LOOK: Duration = Duration::from_secs(2);
/// After a subscription overflowed, topics read their logs again; at most so often.
const REREAD: Duration = Duration::from_secs(1);
/// Entries of a dead gateway that are removed at once.
const CLEANERS: usize = 32;

/// This gateway's name, and the leases that were last read.
pub struct Leases {
    bus: SharedBus,
    env: Env,
    state: Mutex<State>,
}

struct State {
    id: Arc<str>,
    renewed_at: Instant,
    standing: BTreeSet<Arc<str>>,
    /// Gateways without a lease whose entries were met: what a gateway leaves that died when nobody was there to notice.
    dead: BTreeSet<Arc<str>>,
}

impl Leases {
    /// A gateway under a new name, without a lease yet.
    #[must_use]
    pub fn new(bus: SharedBus, env: Env) -> Self {
        let state = State {
            id: env.short_id().into(),
            renewed_at: env.instant(),
            standing: BTreeSet::new(),
            dead: BTreeSet::new(),
        };
        Self { bus, env, state: Mutex::new(state) }
    }

    /// This gateway's name at present.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        Arc::clone(&self.lock().id)
    }

    /// Whether a gateway that said something has a lease. A gateway takes its lease before it says anything, so one
    /// that is not known is looked up.
    pub async fn stands(&self, gateway: &str) -> bool {
        if self.lock().standing.contains(gateway) {
            return true;
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

    /// Takes the lease, or renews it.
    ///
    /// # Errors
    /// Where the backplane did not answer.
    pub async fn renew(&self) -> Result<(), BusError> {
        let id = self.id();
        let started = self.env.instant();
        self.bus.put(Bucket::Leases, &subject::lease_key(&id), Bytes::new()).await?;
        let mut state = self.lock();
        state.renewed_at = started;
        state.standing.insert(id);
        Ok(())
    }

    /// Gives the lease back: this gateway is gone.
    pub async fn give_up(&self) {
        let key = subject::lease_key(&self.id());
        if let Ok(Some(entry)) = self.bus.get(Bucket::Leases, &key).await {
            let _ = self.bus.delete(Bucket::Leases, &key, entry.revision).await;
        }
    }

    /// Whether the own lease has lapsed by this gateway's own clock.
    fn lapsed(&self) -> bool {
        self.env.instant() >= self.lock().renewed_at + LEASE
    }

    fn take_dead(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.lock().dead)
    }

    fn rename(&self) -> Arc<str> {
        let mut state = self.lock();
        state.id = self.env.short_id().into();
        Arc::clone(&state.id)
    }

    /// Reads all leases; answers those that are gone since the last time.
    async fn read(&self) -> Result<Vec<Arc<str>>, BusError> {
        let found = self.bus.get_many(Bucket::Leases, &[subject::all_leases()]).await?;
        let standing: BTreeSet<Arc<str>> =
            found.iter().filter_map(|entry| entry.key.parts().pop()).map(Into::into).collect();
        let mut state = self.lock();
        let gone = state.standing.difference(&standing).cloned().collect();
        state.standing = standing;
        Ok(gone)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the lease, and acts on those that lapse, until the gateway stops.
pub async fn keep(shared: Arc<Shared>) {
    let mut notices = shared.bus.notices();
    let mut renew_at = shared.env.instant();
    let mut look_at = renew_at + LOOK;
    let mut reread_at = None;
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            notice = notices.recv() => match notice {
                Ok(Notice::Dropped) => {
                    reread_at.get_or_insert(shared.env.instant() + REREAD);
                }
                // More notices than were taken may have held that one.
                Ok(Notice::Reconnected) | Err(RecvError::Lagged(_)) => {
                    again(&shared).await;
                    renew_at = shared.env.instant();
                }
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(reread_at.unwrap_or(look_at)), if reread_at.is_some() => {
                reread_at = None;
                shared.topics.tell_all(|| Command::Again { reborn: false }).await;
            }
            () = sleep_until(renew_at) => {
                if shared.leases.lapsed() {
                    reborn(&shared).await;
                } else if let Err(error) = shared.leases.renew().await {
                    tracing::warn!(%error, "the lease was not renewed; the backplane is out of reach");
                }
                renew_at = shared.env.instant() + RENEW / 2 + shared.env.jitter(RENEW / 2);
            }
            () = sleep_until(look_at) => {
                let mut gone = shared.leases.take_dead();
                gone.extend(shared.leases.read().await.unwrap_or_default());
                let own = shared.leases.id();
                for gateway in gone.into_iter().filter(|gateway| *gateway != own) {
                    tracing::info!(%gateway, "a gateway has no lease (any more): its connections count as gone");
                    shared.topics.tell_all(|| Command::GatewayGone(Arc::clone(&gateway))).await;
                    shared.tasks.spawn(clean(Arc::clone(&shared), gateway));
                }
                look_at = shared.env.instant() + LOOK;
            }
        }
    }
}

/// The backplane was away: buckets may be gone, and anything may have been missed.
async fn again(shared: &Arc<Shared>) {
    if shared.leases.lapsed() {
        reborn(shared).await;
        return;
    }
    if let Err(error) = shared.bus.ensure_buckets().await {
        tracing::warn!(%error, "presence buckets are missing and could not be made");
    }
    if let Err(error) = shared.leases.renew().await {
        tracing::warn!(%error, "the lease was not renewed; the backplane is out of reach");
    }
    shared.users.again(false);
    shared.topics.tell_all(|| Command::Again { reborn: false }).await;
}

/// The own lease lapsed: others have forgotten this gateway. It comes back under a new name.
async fn reborn(shared: &Arc<Shared>) {
    if let Err(error) = shared.bus.ensure_buckets().await {
        tracing::debug!(%error, "the backplane is still out of reach");
        return;
    }
    let old = shared.leases.rename();
    tracing::warn!(name = %old, "this gateway's lease had lapsed; it goes on under a new name");
    shared.renamed.send_replace(Arc::clone(&old));
    if let Err(error) = shared.leases.renew().await {
        tracing::warn!(%error, "the lease was not taken; the backplane is out of reach");
    }
    shared.users.again(true);
    shared.topics.tell_all(|| Command::Again { reborn: true }).await;
}

/// Removes what a dead gateway left, each entry at the revision that was seen: of several who notice, one wins an
/// entry and tells what it means.
async fn clean(shared: Arc<Shared>, gateway: Arc<str>) {
    let filters = subject::gateway_filters(&gateway);
    let Ok(entries) = shared.bus.get_many(Bucket::Presence, &filters).await else { return };
    stream::iter(entries).for_each_concurrent(CLEANERS, |entry| clean_entry(&shared, entry)).await;
}

async fn clean_entry(shared: &Shared, entry: Entry) {
    if shared.bus.delete(Bucket::Presence, &entry.key, entry.revision).await.is_err() {
        return;
    }
    let parts = entry.key.parts();
    let [kind, user, _] = parts.as_slice() else { return };
    let (true, Ok(user)) = (kind == "u", UserId::new(user)) else { return };
    let Ok(presence) = envelope::decode::<UserPresence>(&entry.value) else { return };
    let diff = crate::users::diff(&user, &crate::users::shown(&presence), &[]);
    let _ = shared
        .workers
        .call(Principal::Service, Call::PresenceChanged { user, diff: Some(Raw::of(&diff)) })
        .await;
}
