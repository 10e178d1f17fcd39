//! Keeping the own lease, and acting on those that lapse.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use simurgh_backplane::{Bucket, BusError, Entry, Notice, subject};
use simurgh_protocol::{
    UserId,
    envelope::{Call, Principal},
};
use simurgh_service::readiness::PartHandle;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{sleep, sleep_until},
};

use crate::{Shared, topic::actor::Command, visible};

/// How often a lease is renewed: three may be lost.
const RENEW: Duration = Duration::from_millis(3_500);
/// How often the others' leases are read.
const LOOK: Duration = Duration::from_secs(2);
/// How often the gateway asks itself whether its lease holds.
const TELL: Duration = Duration::from_secs(1);
/// After a subscription overflowed, topics read their logs again; at most so often.
const REREAD: Duration = Duration::from_secs(5);
/// Between attempts to come back.
const RETRY: Duration = Duration::from_millis(250);
/// How often a worker is asked to tell that somebody is gone.
const TELLS: u32 = 8;
/// How often the stream of what users missed is tried to be made: for three minutes, and at the next reconnect.
const OFFLINE_ATTEMPTS: u32 = 10;
/// Entries of a dead gateway that are removed at once.
const CLEANERS: usize = 32;

/// Keeps the lease, says whether it holds, and acts on those that lapse, until the gateway stops.
pub async fn keep(shared: Arc<Shared>, part: PartHandle) {
    tokio::select! {
        biased;
        () = tell(&shared, &part) => {}
        () = renew_and_look(&shared) => {}
    }
}

/// Says whether the lease holds, on time also where the backplane lets calls wait.
async fn tell(shared: &Shared, part: &PartHandle) {
    loop {
        sleep(TELL).await;
        if shared.leases.wavers() {
            part.fails("the lease cannot be renewed");
        } else {
            part.works();
        }
    }
}

async fn renew_and_look(shared: &Arc<Shared>) {
    let (mut notices, mut connected) = (shared.bus.notices(), shared.bus.connected());
    let now = shared.env.instant();
    let (mut renew_at, mut look_at) = (now + RENEW, now + LOOK);
    let (mut again_at, mut reread_at) = (None, None);
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            // Not by a notice: those of a busy topic's drops may push it out.
            changed = connected.changed() => match changed {
                Ok(()) if *connected.borrow_and_update() => again_at = Some(shared.env.instant()),
                Ok(()) => {}
                Err(_) => return,
            },
            notice = notices.recv() => match notice {
                Ok(Notice::Dropped) | Err(RecvError::Lagged(_)) => {
                    shared.metrics.subscription_overflows.inc();
                    reread_at.get_or_insert(shared.env.instant() + REREAD);
                }
                Ok(Notice::Reconnected) => {}
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(again_at.unwrap_or(look_at)), if again_at.is_some() => {
                again_at = match again(shared).await {
                    Ok(()) => None,
                    Err(error) => {
                        tracing::debug!(%error, "not back yet");
                        Some(shared.env.instant() + RETRY + shared.env.jitter(RETRY))
                    }
                };
            }
            () = sleep_until(reread_at.unwrap_or(look_at)), if reread_at.is_some() => {
                reread_at = None;
                shared.topics.tell_all(|| Command::Look).await;
            }
            () = sleep_until(renew_at) => {
                if shared.leases.lapsed() {
                    again_at.get_or_insert(shared.env.instant());
                } else {
                    renew(shared).await;
                }
                renew_at = shared.env.instant() + RENEW / 2 + shared.env.jitter(RENEW / 2);
            }
            () = sleep_until(look_at) => {
                look(shared).await;
                look_at = shared.env.instant() + LOOK;
            }
        }
    }
}

/// Renews the lease. Where it is not the one that was written last, the answer to a write may have been lost: only a
/// lease that is gone has lapsed.
async fn renew(shared: &Arc<Shared>) {
    let renewed = match shared.leases.renew().await {
        Err(BusError::Conflict) => {
            let key = subject::lease_key(&shared.leases.id());
            match shared.bus.get(Bucket::Leases, &key).await {
                Ok(Some(_)) => shared.leases.take().await,
                Ok(None) => reborn(shared).await,
                Err(error) => Err(error),
            }
        }
        renewed => renewed,
    };
    if let Err(error) = renewed {
        tracing::warn!(%error, "the lease was not renewed: check NATS, and that its buckets can be written");
    }
}

/// Finds gateways that have no lease, and buries them.
async fn look(shared: &Arc<Shared>) {
    for gateway in shared.leases.look().await.unwrap_or_default() {
        // Read once more by itself: a reading of all may be older than a lease taken since.
        match shared.bus.get(Bucket::Leases, &subject::lease_key(&gateway)).await {
            Ok(None) => {
                tracing::info!(%gateway, "a gateway has no lease (any more): its connections count as gone");
                shared.topics.tell_all(|| Command::GatewayGone(Arc::clone(&gateway))).await;
                shared.visible.tell(visible::Message::GatewayGone(Arc::clone(&gateway))).await;
                shared.tasks.spawn(clean(Arc::clone(shared), gateway));
            }
            Ok(Some(_)) => {}
            Err(_) => shared.leases.still_dead(gateway),
        }
    }
}

/// The backplane was away: buckets may be gone, and anything may have been missed.
async fn again(shared: &Arc<Shared>) -> Result<(), BusError> {
    shared.leases.look_for_return();
    shared.bus.ensure_buckets().await?;
    shared.tasks.spawn(ensure_offline(Arc::clone(shared)));
    if shared.leases.lapsed() {
        return reborn(shared).await;
    }
    shared.leases.take().await?;
    shared.users.again(false).await;
    shared.visible.tell(visible::Message::Again).await;
    shared.topics.tell_all(|| Command::Again { reborn: false }).await;
    Ok(())
}

/// Makes the stream of what users missed. Nothing waits for it, and nothing else fails with it: until it is there, workers
/// say of what they cannot write that it failed.
pub async fn ensure_offline(shared: Arc<Shared>) {
    for attempt in 1..=OFFLINE_ATTEMPTS {
        let Err(error) = shared.bus.ensure_offline().await else { return };
        if attempt == 1 {
            tracing::warn!(%error, "the stream of what users missed was not made, push services hear of nothing: check NATS' rights and its room on disk, or set SIMURGH_OFFLINE_STREAM=off");
        }
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            () = sleep(RENEW * attempt + shared.env.jitter(RENEW)) => {}
        }
    }
}

/// The own lease lapsed: others have forgotten this gateway. It comes back under a new name.
async fn reborn(shared: &Arc<Shared>) -> Result<(), BusError> {
    shared.bus.ensure_buckets().await?;
    let name = shared.leases.rename().await?;
    shared.metrics.lease_lapses.inc();
    tracing::warn!(%name, "this gateway's lease had lapsed, it goes on under a new name: look for pauses of this machine or of NATS");
    shared.renamed.send_replace(name);
    shared.users.again(true).await;
    shared.visible.tell(visible::Message::Again).await;
    shared.topics.tell_all(|| Command::Again { reborn: true }).await;
    Ok(())
}

/// Removes what a dead gateway left, each entry at the revision that was seen: of several who notice, one wins an
/// entry and tells what it means.
async fn clean(shared: Arc<Shared>, gateway: Arc<str>) {
    let filters = subject::gateway_filters(&gateway);
    let Ok(entries) = shared.bus.get_many(Bucket::Presence, &filters).await else {
        shared.leases.still_dead(gateway);
        return;
    };
    // A gateway takes its lease before it writes: what was read under none is what a dead one left.
    match shared.bus.get(Bucket::Leases, &subject::lease_key(&gateway)).await {
        Ok(None) => {
            stream::iter(entries).for_each_concurrent(CLEANERS, |entry| clean_entry(&shared, entry)).await;
        }
        Ok(Some(_)) => {}
        Err(_) => shared.leases.still_dead(gateway),
    }
}

async fn clean_entry(shared: &Shared, entry: Entry) {
    if shared.bus.delete(Bucket::Presence, &entry.key, entry.revision).await.is_err() {
        return;
    }
    let parts = entry.key.parts();
    let [kind, user, _] = parts.as_slice() else { return };
    let (true, Ok(user)) = (kind == "u", UserId::new(user)) else { return };
    let call = Call::PresenceChanged { user, entry: None };
    for attempt in 1..=TELLS {
        if shared.workers.call(Principal::Service, call.clone()).await.is_ok() {
            return;
        }
        sleep(RENEW * attempt + shared.env.jitter(RENEW)).await;
    }
}
