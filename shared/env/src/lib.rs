//! Time, chance and ids, as one value that is passed in.
//!
//! Everything else in the workspace is forbidden (by `clippy.toml`) to read a clock or to draw a random number by
//! itself, so that a whole system can run twice from one seed and do the same thing twice. Waiting is tokio's
//! (`tokio::time::sleep` and friends); under a paused runtime [`Env::seeded`] follows its virtual time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::{Rng, SeedableRng, TryRngCore as _, rngs::OsRng, rngs::SmallRng};
use simurgh_protocol::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

/// Where a simulated clock starts: 2026-01-01T00:00:00Z, in milliseconds since 1970.
const SIMULATED_EPOCH_MS: u64 = 1_767_225_600_000;

/// The clock, the source of randomness and the source of ids. Cheap to clone; clones share one random stream.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

struct Inner {
    clock: Clock,
    rng: Mutex<SmallRng>,
}

enum Clock {
    System,
    Simulated { start: Instant },
}

impl Env {
    /// The real clock and randomness seeded by the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Inner { clock: Clock::System, rng: Mutex::new(SmallRng::from_os_rng()) }))
    }

    /// A clock that follows tokio's (virtual, when paused) and a random stream that `seed` determines.
    /// Call it inside the runtime.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
        let start = Instant::now();
        let rng = Mutex::new(SmallRng::seed_from_u64(seed));
        Self(Arc::new(Inner { clock: Clock::Simulated { start }, rng }))
    }

    /// An environment with the same clock and a random stream of its own, drawn from this one's: what one part
    /// draws then does not shift what another part gets.
    #[must_use]
    pub fn fork(&self) -> Self {
        let clock = match &self.0.clock {
            Clock::System => Clock::System,
            Clock::Simulated { start } => Clock::Simulated { start: *start },
        };
        let rng = Mutex::new(SmallRng::from_rng(&mut *self.rng()));
        Self(Arc::new(Inner { clock, rng }))
    }

    /// The wall clock: for what is stored, shown, or compared with other machines.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn now(&self) -> Timestamp {
        match &self.0.clock {
            Clock::System => {
                let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Timestamp::from_millis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
            }
            Clock::Simulated { start } => {
                let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
                Timestamp::from_millis(SIMULATED_EPOCH_MS.saturating_add(elapsed))
            }
        }
    }

    /// The monotonic clock: for time-outs, rates and intervals.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Sixty-four random bits. Not for secrets.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        self.rng().random()
    }

    /// Bits that nobody can guess: the operating system's, or the seed's where time is simulated. `None` where the
    /// operating system has none.
    #[must_use]
    pub fn secret(&self) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        match &self.0.clock {
            Clock::System => OsRng.try_fill_bytes(&mut bytes).ok()?,
            Clock::Simulated { .. } => self.rng().fill(&mut bytes),
        }
        Some(bytes)
    }

    /// A duration drawn evenly from zero up to, not including, `below`.
    #[must_use]
    pub fn jitter(&self, below: Duration) -> Duration {
        below.mul_f64(self.rng().random::<f64>())
    }

    /// A random (version 4) UUID.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        let bytes: [u8; 16] = self.rng().random();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A short id (13 characters of `0-9 a-z`) for things that need only be distinct: sockets, processes, metas.
    #[must_use]
    pub fn short_id(&self) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut rest = self.random_u64();
        let mut text = String::with_capacity(13);
        for _ in 0..13 {
            let digit = usize::try_from(rest % 36).unwrap_or(0);
            text.push(DIGITS.get(digit).map_or('0', |byte| char::from(*byte)));
            rest /= 36;
        }
        text
    }

    fn rng(&self) -> MutexGuard<'_, SmallRng> {
        self.0.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_seed_gives_one_stream_and_virtual_time() {
        let (a, b) = (Env::seeded(7), Env::seeded(7));
        assert_eq!(a.uuid(), b.uuid());
        assert_eq!(a.short_id(), b.short_id());
        assert_eq!(a.secret(), b.secret());
        assert_eq!(a.fork().random_u64(), b.fork().random_u64());
        let before = a.now();
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(a.now().as_millis() - before.as_millis(), 90_000);
    }

    #[test]
    fn no_two_secrets_are_alike() {
        let env = Env::system();
        assert_ne!(env.secret().unwrap(), env.secret().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn another_seed_gives_another_stream() {
        assert_ne!(Env::seeded(1).uuid(), Env::seeded(2).uuid());
    }
}
