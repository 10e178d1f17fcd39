//! Turns at a rate, given out in advance: a token bucket (the generic cell rate algorithm) that may go into debt.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use simurgh_service::config::Rate;
use tokio::time::Instant;

/// The turns given out so far at one rate: the time at which the bucket would be full again. Each turn moves it on by
/// one interval, so turns are taken in the order in which they were asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns(Option<Instant>);

impl Turns {
    /// How long the next turn is away.
    pub(super) fn wait(self, rate: Rate, now: Instant) -> Duration {
        let (Some(full_at), Some(limit)) = (self.0, rate.limit()) else { return Duration::ZERO };
        // One of the burst is the turn that is asked for.
        let ahead = interval(rate) * (limit.burst.get() - 1);
        full_at.saturating_duration_since(now).saturating_sub(ahead)
    }

    /// Gives the next turn out.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) {
        let full_at = self.0.map_or(now, |full_at| full_at.max(now));
        self.0 = Some(full_at + interval(rate));
    }

    /// Whether every turn of the burst is there again, as if none had ever been taken.
    pub(super) fn all_back(self, now: Instant) -> bool {
        self.0.is_none_or(|full_at| full_at <= now)
    }
}

/// The time between turns; none at a rate that is off.
fn interval(rate: Rate) -> Duration {
    rate.limit().map_or(Duration::ZERO, |limit| Duration::from_secs(1) / limit.per_second.get())
}

/// Paces something that all clients share.
#[derive(Debug)]
pub struct Pacer {
    rate: Rate,
    max_wait: Duration,
    turns: Mutex<Turns>,
}

impl Pacer {
    /// Gives out turns at `rate`, up to `max_wait` in advance.
    #[must_use]
    pub fn new(rate: Rate, max_wait: Duration) -> Self {
        Self { rate, max_wait, turns: Mutex::new(Turns::default()) }
    }

    /// Takes the next turn: how long it is away. First come, first served.
    ///
    /// # Errors
    /// Where it is more than the longest wait away: how long until a turn could be had at once. No turn is taken.
    pub fn reserve(&self, now: Instant) -> Result<Duration, Duration> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = turns.wait(self.rate, now);
        if wait > self.max_wait {
            return Err(wait);
        }
        turns.take(self.rate, now);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(start_paused = true)]
    async fn after_the_burst_turns_come_one_interval_apart_in_order() {
        let now = testing::now();
        let pacer = Pacer::new(Rate::new(10, 3), Duration::from_secs(2));
        let waits: Vec<_> = (0..6).map(|_| pacer.reserve(now).unwrap().as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 300]);
        let later = now + Duration::from_millis(250);
        assert_eq!(pacer.reserve(later), Ok(Duration::from_millis(150)), "behind those who wait");
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_longest_wait_it_is_refused_and_takes_no_turn() {
        let now = testing::now();
        let pacer = Pacer::new(Rate::new(10, 1), Duration::from_secs(2));
        let taken = (0..100).filter(|_| pacer.reserve(now).is_ok()).count();
        assert_eq!(taken, 21, "one at once and twenty within two seconds");
        assert_eq!(pacer.reserve(now), Err(Duration::from_millis(2_100)));
        assert_eq!(pacer.reserve(now + Duration::from_millis(2_100)), Ok(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_time_gives_back_the_burst_and_no_more() {
        let now = testing::now();
        let pacer = Pacer::new(Rate::new(10, 3), Duration::ZERO);
        let later = now + Duration::from_secs(3_600);
        for at in [now, later] {
            assert_eq!((0..10).filter(|_| pacer.reserve(at).is_ok()).count(), 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_never_waits() {
        let pacer = Pacer::new(Rate::OFF, Duration::ZERO);
        assert!((0..10_000).all(|_| pacer.reserve(testing::now()) == Ok(Duration::ZERO)));
    }
}
