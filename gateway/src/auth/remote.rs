//! An issuer's keys, had from its URL: kept, asked for again now and then and when a token names one that is not there.
//!
//! What is kept stays until something better was had: an issuer that is down, slow or answers junk locks nobody out whose
//! token was signed with a key known here.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use simurgh_env::Env;
use simurgh_service::{config::BadSetting, readiness::PartHandle};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::rustls::RootCertStore;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    fetch::{FetchError, FetchLimits, Fetcher},
    keys::{KeyError, KeySet},
};

/// One look at the issuer. A set of thirty-two RSA keys with their certificates has about 100 KiB.
const LIMITS: FetchLimits = FetchLimits { time: Duration::from_secs(5), bytes: 256 * 1024, redirects: 3 };

/// The least time between two looks that unknown keys cause (contract section 2).
const PAUSE: Duration = Duration::from_secs(60);

/// Between looks that nothing causes: how long a key that the issuer has withdrawn is still taken.
const INTERVAL: Duration = Duration::from_secs(300);

/// Between looks while there are no keys at all: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a token with an unknown key waits for a look: no longer than one takes.
const PATIENCE: Duration = Duration::from_secs(6);

/// An issuer's keys.
pub struct Remote {
    url: Url,
    fetcher: Fetcher,
    state: Mutex<State>,
    /// Somebody wants a look.
    asked: Notify,
    /// A look is over.
    looked: Notify,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// Since when a look goes on.
    looking: bool,
    /// Whether a token named a key that is not there, and nobody has looked since.
    wanted: bool,
    /// When the last look began.
    looked_at: Option<Instant>,
    /// When the next one is due where nobody asks; at once where this is not set.
    next_at: Option<Instant>,
    /// Looks that failed since the last one that did not.
    failures: u32,
}

/// Why a look brought nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("what it answers {0}")]
    Keys(#[from] KeyError),
}

impl State {
    /// From when on an unknown key may cause a look.
    fn rested_at(&self) -> Option<Instant> {
        self.looked_at.map(|at| at + PAUSE)
    }

    /// When the next look is due; `None` is at once.
    fn due(&self) -> Option<Instant> {
        let wanted = self.wanted && self.keys.is_some();
        self.next_at.map(|at| if wanted { self.rested_at().map_or(at, |rested| rested.min(at)) } else { at })
    }
}

impl Remote {
    /// The keys at `url`, which nobody has asked for yet.
    ///
    /// # Errors
    /// [`BadSetting`] where it is no URL of keys, or this machine cannot tell whom to trust.
    pub(super) fn new(url: &str) -> Result<Self, BadSetting> {
        let bad = |problem: &str| BadSetting::new("SIMURGH_JWKS_URL", problem);
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = parsed.ok_or_else(|| bad("must be an http:// or https:// URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("must hold no user and no password"));
        }
        let mut roots = RootCertStore::empty();
        if url.scheme() == "https" {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(bad(
                    "nobody's certificates are trusted here: install ca-certificates or set SSL_CERT_FILE",
                ));
            }
        }
        Self::trusting(url, roots, LIMITS)
    }

    fn trusting(url: Url, roots: RootCertStore, limits: FetchLimits) -> Result<Self, BadSetting> {
        let fetcher = Fetcher::new(roots, limits)
            .map_err(|error| BadSetting::new("SIMURGH_JWKS_URL", error.to_string()))?;
        Ok(Self { url, fetcher, state: Mutex::default(), asked: Notify::new(), looked: Notify::new() })
    }

    /// The keys that were had last; none before the first.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.lock().keys.clone()
    }

    /// A token names a key that is not there: has somebody look, and waits for it. `false` where the last look is less
    /// than [`PAUSE`] ago; the next then follows as soon as it may.
    pub(super) async fn look_again(&self, now: Instant) -> bool {
        let mut looked = pin!(self.looked.notified());
        {
            let mut state = self.lock();
            if !state.looking {
                state.wanted = true;
                self.asked.notify_one();
                if state.rested_at().is_some_and(|at| at > now) {
                    return false;
                }
            }
            looked.as_mut().enable();
        }
        timeout(PATIENCE, looked).await.is_ok()
    }

    /// Looks when it is due, until `stopped`. `part` works from the first keys on.
    pub async fn follow(self: Arc<Self>, part: PartHandle, env: Env, stopped: CancellationToken) {
        part.fails("the keys of SIMURGH_JWKS_URL were not fetched yet");
        if self.url.scheme() == "http" {
            tracing::warn!(
                issuer = self.shown(),
                "SIMURGH_JWKS_URL is not https: whoever is in between can make tokens"
            );
        }
        loop {
            let due = self.lock().due();
            let wait = async {
                if let Some(at) = due {
                    sleep_until(at).await;
                }
            };
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                () = self.asked.notified() => continue,
                () = wait => {}
            }
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                had = self.look(&env) => if had {
                    part.works();
                }
            }
        }
    }

    /// Asks the issuer; whether that brought keys.
    async fn look(&self, env: &Env) -> bool {
        {
            let mut state = self.lock();
            (state.looking, state.wanted, state.looked_at) = (true, false, Some(env.instant()));
        }
        let outcome = self.fetched().await;
        let had = outcome.is_ok();
        let mut state = self.lock();
        state.looking = false;
        match outcome {
            Ok(keys) => {
                if state.failures > 0 || state.keys.is_none() {
                    tracing::info!(issuer = self.shown(), keys = keys.len(), "has the issuer's keys");
                }
                (state.keys, state.failures) = (Some(Arc::new(keys)), 0);
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures == 1 {
                    let still =
                        if state.keys.is_some() { "those had before still hold" } else { "there are none" };
                    tracing::warn!(issuer = self.shown(), %error, "no keys from SIMURGH_JWKS_URL: {still}; trying again");
                }
            }
        }
        let pause = match (&state.keys, state.failures) {
            (Some(_), 0) => INTERVAL,
            (Some(_), _) => PAUSE,
            (None, failures) => RETRY.1.min(RETRY.0 * 2u32.saturating_pow(failures.saturating_sub(1))),
        };
        state.next_at = Some(env.instant() + pause + env.jitter(pause / 5));
        drop(state);
        self.looked.notify_waiters();
        had
    }

    async fn fetched(&self) -> Result<KeySet, LookError> {
        let body = Box::pin(self.fetcher.get(&self.url)).await?;
        Ok(KeySet::of_jwks(&body)?)
    }

    /// The issuer as a log may show it: a query may hold a secret.
    fn shown(&self) -> &str {
        &self.url[..url::Position::AfterPath]
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
