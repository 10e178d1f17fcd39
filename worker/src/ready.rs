//! Whether the store can serve.

use std::{sync::Arc, time::Duration};

use simurgh_env::Env;
use simurgh_service::PartHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How often a store that serves is asked again.
const AGAIN: Duration = Duration::from_secs(10);
/// The wait after the first failure; each next one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Keeps the part `store` in step with the store until `shutdown`; cancels `serving` once it serves for the first time.
/// Where it cannot be reached it is tried for ever, with back-off.
pub async fn follow_store(
    store: Arc<dyn Store>,
    part: PartHandle,
    env: Env,
    serving: CancellationToken,
    shutdown: CancellationToken,
) {
    let follow = async {
        let mut wait = FIRST_WAIT;
        loop {
            match store.ready().await {
                Ok(()) => {
                    part.works();
                    serving.cancel();
                    wait = FIRST_WAIT;
                    sleep(AGAIN + env.jitter(AGAIN / 4)).await;
                }
                Err(error) => {
                    if !serving.is_cancelled() && wait == FIRST_WAIT {
                        tracing::warn!(%error, "the store cannot serve, it is tried until it can: check the table, its region, endpoint and credentials");
                    }
                    part.fails(error.to_string());
                    sleep(wait + env.jitter(wait / 2)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = follow => {}
    }
}
