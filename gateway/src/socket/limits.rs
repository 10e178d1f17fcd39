//! What a socket's user may do, and when its socket rests.

use std::{sync::Arc, time::Duration};

use simurgh_env::Env;
use simurgh_protocol::{Reason, Timestamp, event::RateClass};
use tokio::time::Instant;

use crate::{
    metrics::{Asked, Metrics},
    rates::UserRates,
    session::Gate,
};

/// A socket is not read from for so long after a frame of it was over its user's rates: whoever floods gets a hundred
/// refusals a second, and the rest waits on the client's own side.
const REST: Duration = Duration::from_millis(10);

/// The user's rates and the clock.
pub(super) struct Limits {
    pub(super) rates: Arc<UserRates>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) env: Env,
    /// Until when the socket is not read from.
    pub(super) rests_until: Option<Instant>,
}

impl Gate for Limits {
    fn count(&mut self, class: RateClass) -> Result<(), Duration> {
        let now = self.env.instant();
        self.rates.check(class, now).inspect_err(|_| self.rests_until = Some(now + REST))
    }

    fn now(&self) -> Timestamp {
        self.env.now()
    }

    fn answered(&mut self, asked: Asked, refused: Option<Reason>) {
        self.metrics.answered(asked, refused);
    }
}
