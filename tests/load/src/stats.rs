//! What is counted while clients run; one thread counts, so cells do.

use std::cell::{Cell, RefCell};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use crate::window::Faults;

/// Longest time that is told apart, in microseconds: ten minutes.
const LONGEST_US: u64 = 600_000_000;

/// A histogram of microseconds, to three digits.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

/// Counts of one phase.
pub struct Stats {
    /// From when a message was due until a reader had it.
    pub delivery: RefCell<Histogram<u64>>,
    /// From when it was due until its sender had the reply.
    pub ack: RefCell<Histogram<u64>>,
    /// How late the generator itself was.
    pub lag: RefCell<Histogram<u64>>,
    pub sent: Cell<u64>,
    pub acked: Cell<u64>,
    pub refused: Cell<u64>,
    /// New messages that readers of conversations got.
    pub delivered: Cell<u64>,
    /// `new_message` on user topics.
    pub notices: Cell<u64>,
    /// States and diffs of presence.
    pub presence: Cell<u64>,
    /// `user_joined` and `user_left`.
    pub comings: Cell<u64>,
    pub faults: RefCell<Faults>,
    /// Sockets that ended unasked.
    pub lost_sockets: Cell<u64>,
    /// Something was counted that a wait may be for.
    pub progress: Notify,
    pub watched: Cell<bool>,
}

impl Stats {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            delivery: RefCell::new(histogram()?),
            ack: RefCell::new(histogram()?),
            lag: RefCell::new(histogram()?),
            sent: Cell::default(),
            acked: Cell::default(),
            refused: Cell::default(),
            delivered: Cell::default(),
            notices: Cell::default(),
            presence: Cell::default(),
            comings: Cell::default(),
            faults: RefCell::default(),
            lost_sockets: Cell::default(),
            progress: Notify::new(),
            watched: Cell::new(false),
        })
    }

    /// Starts the counts of a new phase. Lost sockets stay counted.
    pub fn clear(&self) {
        for histogram in [&self.delivery, &self.ack, &self.lag] {
            histogram.borrow_mut().reset();
        }
        for count in [
            &self.sent,
            &self.acked,
            &self.refused,
            &self.delivered,
            &self.notices,
            &self.presence,
            &self.comings,
        ] {
            count.set(0);
        }
        self.faults.take();
    }

    pub fn progressed(&self) {
        if self.watched.get() {
            self.progress.notify_waiters();
        }
    }
}

/// One more.
pub fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

/// Notes a time.
pub fn record(histogram: &RefCell<Histogram<u64>>, us: u64) {
    histogram.borrow_mut().saturating_record(us.max(1));
}
