//! Whether the connection stands, and who is told.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_nats::Event;
use simurgh_env::Env;
use tokio::sync::{broadcast, watch};

use crate::{BusError, NOTICES_CAPACITY, Notice};

/// The longest wait before the first attempt to connect again.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest wait before any attempt.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// The state of the connection, kept by async-nats' events.
pub(super) struct Status {
    /// Hosts and ports, for the log: without the secrets that a URL may hold.
    servers: String,
    connected: watch::Sender<bool>,
    notices: broadcast::Sender<Notice>,
    /// The connection has stood before.
    stood: AtomicBool,
    /// The log has been told that this outage lasts.
    complained: AtomicBool,
}

impl Status {
    pub(super) fn new(servers: String) -> Self {
        Self {
            servers,
            connected: watch::Sender::new(false),
            notices: broadcast::Sender::new(NOTICES_CAPACITY),
            stood: AtomicBool::new(false),
            complained: AtomicBool::new(false),
        }
    }

    pub(super) fn on_event(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connected.send_replace(true);
                self.complained.store(false, Ordering::Relaxed);
                let again = self.stood.swap(true, Ordering::Relaxed);
                tracing::info!(servers = self.servers, again, "connected to NATS");
                if again {
                    self.notify(Notice::Reconnected);
                }
            }
            Event::Disconnected | Event::Closed => {
                self.connected.send_replace(false);
                tracing::warn!(
                    servers = self.servers,
                    "the connection to NATS is lost, it is tried until it is back: check the server"
                );
            }
            Event::ClientError(error) => {
                if !self.complained.swap(true, Ordering::Relaxed) {
                    tracing::warn!(servers = self.servers, %error, "NATS is out of reach; trying until it answers");
                }
            }
            Event::SlowConsumer(_) => self.notify(Notice::Dropped),
            Event::ServerError(error) => {
                tracing::warn!(%error, "NATS refused something: check the rights of this process's user")
            }
            Event::LameDuckMode => tracing::info!("the NATS server is about to stop"),
            Event::Draining => {}
        }
    }

    /// An error unless the connection stands. async-nats would keep what is sent meanwhile, without a bound in time.
    pub(super) fn require(&self) -> Result<(), BusError> {
        if *self.connected.borrow() { Ok(()) } else { Err(BusError::Disconnected("not connected".into())) }
    }

    pub(super) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    pub(super) fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    fn notify(&self, notice: Notice) {
        // Fails only when nobody listens.
        let _ = self.notices.send(notice);
    }
}

/// How long to wait before attempt number `attempt`, counted from 1 since the connection last stood: twice as long each
/// time, up to [`LONGEST_DELAY`], and evenly spread, so that all who lost one server do not return at one moment.
pub(super) fn reconnect_delay(env: &Env, attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_DELAY);
    env.jitter(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_grow_up_to_a_bound_and_are_spread() {
        let env = Env::seeded(1);
        let longest =
            |attempt: usize| (0..200).map(|_| reconnect_delay(&env, attempt)).max().unwrap_or_default();
        assert!(longest(1) <= FIRST_DELAY);
        assert!(longest(4) > FIRST_DELAY * 6 && longest(4) <= FIRST_DELAY * 8);
        assert!(longest(usize::MAX) <= LONGEST_DELAY);
        assert!((0..200).any(|_| reconnect_delay(&env, 9) < LONGEST_DELAY / 4));
    }

    #[test]
    fn the_first_connection_is_no_reconnection() {
        let status = Status::new("host:4222".into());
        let mut notices = status.notices();
        status.on_event(&Event::Connected);
        assert!(notices.try_recv().is_err());
        assert_eq!(status.require(), Ok(()));
        status.on_event(&Event::Disconnected);
        assert!(matches!(status.require(), Err(BusError::Disconnected(_))));
        status.on_event(&Event::Connected);
        assert_eq!(notices.try_recv(), Ok(Notice::Reconnected));
    }
}
