//! Tries beyond the SDK's: for what it does not see as worth another one.

use std::time::Duration;

use simurgh_env::Env;

use super::super::StoreError;

/// Tries, the first included.
const ATTEMPTS: u32 = 7;
/// The first pause is drawn from zero to this; it doubles with each try, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// How a try ended.
pub(super) enum Try<T> {
    /// For good.
    Done(Result<T, StoreError>),
    /// With an error that another try may not meet.
    Again(StoreError),
}

/// The tries of one call.
pub(super) struct Tries<'a> {
    env: &'a Env,
    made: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(env: &'a Env) -> Self {
        Self { env, made: 0 }
    }

    /// Waits until the next try.
    ///
    /// # Errors
    /// `error`, which the last try ended with, where there is no next one.
    pub(super) async fn after(&mut self, error: StoreError) -> Result<(), StoreError> {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.made).min(LONGEST_PAUSE);
        self.made += 1;
        if self.made == ATTEMPTS {
            return Err(error);
        }
        tokio::time::sleep(self.env.jitter(longest)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_are_bounded_and_apart() {
        let env = Env::seeded(1);
        let (start, busy) = (env.instant(), StoreError::Unavailable("busy".to_owned()));
        let mut tries = Tries::new(&env);
        for _ in 1..ATTEMPTS {
            tries.after(busy.clone()).await.unwrap();
        }
        let waited = start.elapsed();
        assert!(waited > Duration::from_millis(50) && waited < Duration::from_millis(1600), "{waited:?}");
        assert_eq!(tries.after(busy.clone()).await, Err(busy));
    }
}
