//! What stands between one process and everything outside it. A process that is killed or frozen is one whose link
//! lets nothing through any more, or not now: what it does by itself nobody can tell.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use simurgh_env::Env;
use tokio::time::{Instant, sleep, timeout_at};

use super::watched::Watched;

/// How likely things go wrong: of a thousand calls or deliveries, so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    /// A broadcast does not reach a subscriber.
    pub lost: u64,
    /// A broadcast reaches a subscriber twice.
    pub duplicated: u64,
    /// A request or its answer is lost.
    pub request_lost: u64,
    /// A call on keys fails, before or after it is done.
    pub keys_fail: u64,
    /// Something takes long: up to two seconds.
    pub slow: u64,
    /// A write is not done, and nobody knows.
    pub write_lost: u64,
    /// A write is done, and nobody knows.
    pub answer_lost: u64,
    /// A write is done, and done again by a client that missed the first answer.
    pub repeated: u64,
    /// A write is given up, and done up to eight seconds later.
    pub late: u64,
    /// A read fails.
    pub unreadable: u64,
}

/// What happens to whom at present; shared by all links.
#[derive(Debug)]
pub struct Weather {
    odds: Mutex<Odds>,
    /// Until when the store answers nobody.
    store_frozen: Watched<Instant>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Runs,
    /// It is stopped, as by SIGSTOP.
    Frozen,
    /// It is gone.
    Dead,
}

/// The process is dead: nothing gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead;

#[derive(Clone, Copy, Debug)]
struct Status {
    life: Life,
    /// What the process says does not reach the backplane.
    out_cut: bool,
    /// What the backplane says does not reach the process.
    in_cut: bool,
    /// Broadcasts do not reach the process, and it does not notice.
    deaf: bool,
}

/// One process's link.
pub struct Link {
    /// Its chance.
    pub env: Env,
    weather: Arc<Weather>,
    status: Watched<Status>,
    /// Streams that wait for the process to go on, or to die.
    wakers: Mutex<BTreeMap<u64, Waker>>,
    streams: AtomicU64,
}

impl Weather {
    /// Fair.
    #[must_use]
    pub fn new(env: &Env) -> Arc<Self> {
        let (odds, counts) = (Mutex::default(), Mutex::default());
        Arc::new(Self { odds, store_frozen: Watched::new(env.instant()), counts })
    }

    /// From now on it is like this.
    pub fn set(&self, odds: Odds) {
        *self.odds.lock().unwrap() = odds;
    }

    /// At present.
    #[must_use]
    pub fn odds(&self) -> Odds {
        *self.odds.lock().unwrap()
    }

    /// The store answers nobody until then.
    pub fn freeze_store(&self, until: Instant) {
        self.count("store frozen");
        self.store_frozen.change(|frozen| *frozen = until);
    }

    /// The store answers again.
    pub fn thaw_store(&self, env: &Env) {
        self.store_frozen.change(|frozen| *frozen = env.instant());
    }

    /// One fault more of this kind.
    pub fn count(&self, kind: &'static str) {
        *self.counts.lock().unwrap().entry(kind).or_default() += 1;
    }

    /// The faults so far, by kind.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap().clone()
    }
}

impl Link {
    /// A link of a process that runs.
    #[must_use]
    pub fn new(env: Env, weather: Arc<Weather>) -> Arc<Self> {
        let status = Status { life: Life::Runs, out_cut: false, in_cut: false, deaf: false };
        let (wakers, streams) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { env, weather, status: Watched::new(status), wakers, streams })
    }

    /// The odds at present.
    #[must_use]
    pub fn odds(&self) -> Odds {
        self.weather.odds()
    }

    /// How the process is.
    #[must_use]
    pub fn life(&self) -> Life {
        self.status.get().life
    }

    /// The process runs, is stopped, or dies. The dead stay dead.
    pub fn set_life(&self, life: Life) {
        self.status.change(|status| {
            if status.life != Life::Dead {
                status.life = life;
            }
        });
        std::mem::take(&mut *self.wakers()).into_values().for_each(Waker::wake);
    }

    /// Cuts the link to the backplane in these directions.
    pub fn cut(&self, out_cut: bool, in_cut: bool) {
        self.status.change(|status| (status.out_cut, status.in_cut) = (out_cut, in_cut));
    }

    /// From now on broadcasts do not reach it, or do again: as where a server lets go of what a slow reader did not take.
    pub fn deafen(&self, deaf: bool) {
        self.status.change(|status| status.deaf = deaf);
    }

    /// Whether broadcasts do not reach it.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.status.get().deaf
    }

    /// Whether what it says is lost.
    #[must_use]
    pub fn out_cut(&self) -> bool {
        self.status.get().out_cut
    }

    /// Whether what it is told is lost.
    #[must_use]
    pub fn in_cut(&self) -> bool {
        self.status.get().in_cut
    }

    /// Waits until the process runs.
    ///
    /// # Errors
    /// Once it is dead.
    pub async fn runs(&self) -> Result<(), Dead> {
        let status = self.status.wait_for(|status| status.life != Life::Frozen).await;
        if status.life == Life::Dead { Err(Dead) } else { Ok(()) }
    }

    /// Resolves once the process is dead.
    pub async fn dies(&self) {
        self.status.wait_for(|status| status.life == Life::Dead).await;
    }

    /// Something goes out or comes in: it takes its time, and a stopped process waits.
    ///
    /// # Errors
    /// Once it is dead.
    pub async fn pass(&self) -> Result<(), Dead> {
        self.runs().await?;
        sleep(self.delay()).await;
        self.runs().await
    }

    /// The same to and from the store.
    ///
    /// # Errors
    /// Once the process is dead.
    pub async fn pass_store(&self) -> Result<(), Dead> {
        self.pass().await?;
        // It may be thawed before its time.
        let until = self.weather.store_frozen.get();
        let thawed = self.weather.store_frozen.wait_for(|frozen| *frozen < until);
        if until > self.env.instant() {
            let _ = timeout_at(until, thawed).await;
        }
        self.runs().await
    }

    /// How long something takes.
    #[must_use]
    pub fn delay(&self) -> Duration {
        let below = if self.hits(self.odds().slow, "slow") { 2_000 } else { 6 };
        self.env.jitter(Duration::from_millis(below))
    }

    /// Whether a fault of these odds hits; counted as `kind`.
    #[must_use]
    pub fn hits(&self, per_mille: u64, kind: &'static str) -> bool {
        let hits = per_mille > 0 && self.env.random_u64() % 1_000 < per_mille;
        if hits {
            self.weather.count(kind);
        }
        hits
    }

    /// A name for a stream of the process's.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.streams.fetch_add(2, Ordering::Relaxed)
    }

    /// Wakes this part of a stream when the process goes on or dies.
    pub fn wake_later(&self, part: u64, waker: &Waker) {
        self.wakers().insert(part, waker.clone());
    }

    /// The stream is gone.
    pub fn forget(&self, stream: u64) {
        let mut wakers = self.wakers();
        wakers.remove(&stream);
        wakers.remove(&(stream + 1));
    }

    fn wakers(&self) -> MutexGuard<'_, BTreeMap<u64, Waker>> {
        self.wakers.lock().unwrap()
    }
}
