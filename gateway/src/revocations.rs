//! Revocations: told to all gateways, and asked for, since what is told may be lost. New sockets are no matter of this
//! module: a worker looks at their tokens.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use simurgh_backplane::Notice;
use simurgh_protocol::{
    Refusal, Timestamp,
    envelope::{Call, Principal, Revocations},
};
use simurgh_service::readiness::PartHandle;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{sleep, sleep_until},
};

use crate::{Shared, sockets};

/// How often those are asked for that may have been missed.
const ASK: Duration = Duration::from_secs(10);
/// The same after the connection to the backplane was away.
const SOON: Duration = Duration::from_secs(1);
/// What is stored may be by another clock, and may have been on its way: each question goes back so far.
const OVERLAP: Duration = Duration::from_secs(60);
/// Between attempts to listen.
const RETRY: Duration = Duration::from_millis(250);

/// Listens and asks until the gateway stops.
pub async fn run(shared: Arc<Shared>, part: PartHandle) {
    // Before it no socket was open here.
    let mut known_until = shared.env.now();
    let mut notices = shared.bus.notices();
    loop {
        let Ok(mut told) = shared.bus.subscribe(&shared.subjects.all_gateways(), None).await else {
            tokio::select! {
                biased;
                () = shared.stopped.cancelled() => return,
                () = sleep(RETRY) => continue,
            }
        };
        part.works();
        let mut ask_at = shared.env.instant() + shared.env.jitter(ASK);
        // Beside listening: what is told is not to wait for a worker that does not answer.
        let mut asking = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shared.stopped.cancelled() => return,
                notice = notices.recv() => match notice {
                    // It may have been told meanwhile, or among what was dropped.
                    Ok(Notice::Reconnected | Notice::Dropped) | Err(RecvError::Lagged(_)) => {
                        ask_at = ask_at.min(shared.env.instant() + shared.env.jitter(SOON));
                    }
                    Err(RecvError::Closed) => return,
                },
                delivery = told.next() => match delivery {
                    Some(delivery) => sockets::receive(&shared, delivery).await,
                    None => break,
                },
                Some((asked_at, all)) = asking.next() => {
                    if all {
                        known_until = asked_at;
                    }
                }
                () = sleep_until(ask_at), if asking.is_empty() => {
                    ask_at = shared.env.instant() + ASK / 2 + shared.env.jitter(ASK);
                    let (this, since, asked_at) = (&shared, known_until, shared.env.now());
                    asking.push(async move { (asked_at, catch_up(this, since).await) });
                }
            }
        }
    }
}

/// Asks for what was revoked from shortly before `known_until`; whether all of it was answered.
async fn catch_up(shared: &Shared, known_until: Timestamp) -> bool {
    let overlap = u64::try_from(OVERLAP.as_millis()).unwrap_or(0);
    let mut since = Timestamp::from_millis(known_until.as_millis().saturating_sub(overlap));
    loop {
        let asked = shared.workers.call(Principal::Service, Call::Revocations { since }).await;
        let Ok(page) = asked.and_then(|success| {
            success.body.parse::<Revocations>().map_err(|error| {
                tracing::warn!(%error, "a worker's answer could not be read: upgrade this gateway");
                Refusal::unavailable("the answer could not be read")
            })
        }) else {
            return false;
        };
        page.revocations.iter().for_each(|revocation| shared.sockets.revoke(revocation));
        match page.revocations.last() {
            // Those of the same moment come again, and more than a page of them do not.
            Some(last) if page.more && last.at > since => since = last.at,
            _ => return true,
        }
    }
}
