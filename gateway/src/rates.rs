//! How often one user may do something (contract section 5): token buckets, shared by all sockets and HTTP calls of
//! that user on this gateway. What is over the rate is refused at once, without a word to a worker.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use simurgh_protocol::{Reason, Refusal, UserId, event::RateClass};
use simurgh_service::config::Rate;
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use crate::{Shared, config::Rates as Settings};

/// Users whose buckets are kept; beyond it a user's limits hold for each socket and each call by itself.
const MAX_USERS: usize = 1 << 20;

/// How often buckets that are full again, and that no socket holds, are let go.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// Users that are looked at in one go: who needs a bucket meanwhile does not wait for all of them.
const LOOKED_AT: usize = 2_048;

/// The buckets of one user, one for each [`RateClass`]; about 200 bytes.
pub struct UserRates(Mutex<Buckets>);

struct Buckets {
    /// What the buckets take for the present: the time that [`UserRates::check`] was given.
    clock: Now,
    messages: Option<Bucket>,
    typing: Option<Bucket>,
    joins: Option<Bucket>,
    pushes: Option<Bucket>,
    /// How long the slowest of them takes from empty to full.
    refill: Duration,
    /// From when on every bucket is full again, so that nothing is lost by forgetting them.
    full_at: Instant,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Now, NoOpMiddleware<Moment>>;

impl UserRates {
    /// Full buckets.
    #[must_use]
    pub fn new(settings: &Settings, now: Instant) -> Self {
        let clock = Now::new(now);
        let mut refill = Duration::ZERO;
        let mut bucket = |rate: Rate| {
            let limit = rate.limit()?;
            let quota = Quota::per_second(limit.per_second).allow_burst(limit.burst);
            refill = refill.max(quota.burst_size_replenished_in());
            Some(RateLimiter::direct_with_clock(quota, clock.clone()))
        };
        Self(Mutex::new(Buckets {
            messages: bucket(settings.rate_messages),
            typing: bucket(settings.rate_typing),
            joins: bucket(settings.rate_joins),
            pushes: bucket(settings.rate_pushes),
            refill,
            full_at: now,
            clock,
        }))
    }

    /// Takes one from the bucket of `class`.
    ///
    /// # Errors
    /// Where it is empty: how long until there is one again.
    pub fn check(&self, class: RateClass, now: Instant) -> Result<(), Duration> {
        let mut buckets = lock(&self.0);
        buckets.clock.set(now);
        let bucket = match class {
            RateClass::Messages => &buckets.messages,
            RateClass::Typing => &buckets.typing,
            RateClass::Joins => &buckets.joins,
            RateClass::Pushes => &buckets.pushes,
        };
        let Some(bucket) = bucket else { return Ok(()) };
        let taken = bucket.check().map_err(|until: NotUntil<Moment>| until.wait_time_from(Moment(now)));
        buckets.full_at = now + buckets.refill;
        taken
    }

    fn full_at(&self) -> Instant {
        lock(&self.0).full_at
    }
}

/// `rate_limit_exceeded`, with the wait in whole seconds.
#[must_use]
pub fn exceeded(retry_after: Duration) -> Refusal {
    Refusal::new(Reason::RateLimitExceeded, "too often").with("retry_after", whole_seconds(retry_after))
}

/// A wait in whole seconds, at least one: what `retry_after` and `Retry-After` say.
#[must_use]
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero())
}

/// The buckets of all users that lately did something here.
pub struct Rates {
    settings: Settings,
    users: Mutex<BTreeMap<UserId, Arc<UserRates>>>,
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").field("users", &lock(&self.users).len()).finish_non_exhaustive()
    }
}

impl Rates {
    /// No users yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, users: Mutex::default() }
    }

    /// The user's buckets. Sockets keep them; for calls they are kept here until they are full again.
    #[must_use]
    pub fn of(&self, user: &UserId, now: Instant) -> Arc<UserRates> {
        let mut users = lock(&self.users);
        if let Some(buckets) = users.get(user) {
            return Arc::clone(buckets);
        }
        let buckets = Arc::new(UserRates::new(&self.settings, now));
        if users.len() < MAX_USERS {
            users.insert(user.clone(), Arc::clone(&buckets));
        }
        buckets
    }

    /// Lets go of buckets that are full at `now` and that nobody holds.
    async fn forget(&self, now: Instant) {
        let mut from = Bound::Unbounded;
        while let Some(next) = self.forget_some(from, now) {
            from = Bound::Included(next);
            yield_now().await;
        }
    }

    /// The same of the first [`LOOKED_AT`] from there; the one behind them.
    fn forget_some(&self, from: Bound<UserId>, now: Instant) -> Option<UserId> {
        let mut users = lock(&self.users);
        let behind = (from.clone(), Bound::Unbounded);
        let next = users.range(behind).nth(LOOKED_AT).map(|(user, _)| user.clone());
        let to = next.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let is_over = |_: &UserId, buckets: &mut Arc<UserRates>| {
            Arc::strong_count(buckets) == 1 && buckets.full_at() <= now
        };
        users.extract_if((from, to), is_over).for_each(drop);
        next
    }
}

/// Forgets users who are gone, until the gateway stops.
pub async fn run(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            () = sleep(FORGET_EVERY) => shared.rates.forget(shared.env.instant()).await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that shows what it was set to: governor asks a clock, and time comes in as an argument here.
#[derive(Clone)]
struct Now(Arc<Mutex<Instant>>);

impl Now {
    fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Never goes back: callers read the time before they wait for their turn here.
    fn set(&self, now: Instant) {
        let mut shown = lock(&self.0);
        *shown = now.max(*shown);
    }
}

impl Clock for Now {
    type Instant = Moment;

    fn now(&self) -> Moment {
        Moment(*lock(&self.0))
    }
}

/// A point in time, as governor wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl std::ops::Add<Nanos> for Moment {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0 + Duration::from(nanos))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        // 584 years fit.
        let nanos = self.0.saturating_duration_since(earlier.0).as_nanos();
        Nanos::new(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests;
