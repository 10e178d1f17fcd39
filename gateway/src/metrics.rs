//! What a gateway counts. One value a gateway: several run in one process.
//!
//! Nothing is looked up or locked for a single delivery: a broadcast is counted once, with the number of its
//! deliveries, and what is a sum over all sockets is summed when somebody asks.

use std::time::Duration;

use simurgh_protocol::{CloseCode, Push, Reason, Topic};
use simurgh_service::{
    metrics::{
        Counted, Error, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
        Registry,
    },
    readiness::Status,
};

use crate::Shared;

mod names;

pub use names::Metric;

/// The label of what went well.
const OK: &str = "ok";

/// A gateway's instruments.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    ready: IntGauge,
    sockets: IntGaugeVec,
    sockets_opened: IntCounterVec,
    sockets_closed: IntCounterVec,
    sockets_refused: IntCounterVec,
    channels: IntGaugeVec,
    joins: IntCounterVec,
    join_seconds: HistogramVec,
    pushes: IntCounterVec,
    push_seconds: HistogramVec,
    command_attempts: IntCounterVec,
    command_seconds: HistogramVec,
    workers: IntGauge,
    topics: IntGauge,
    fanout_user: Histogram,
    fanout_conversation: Histogram,
    mailbox_bytes: IntGauge,
    gaps_found: IntCounterVec,
    gaps_repaired: IntCounterVec,
    presence_entries: IntGaugeVec,
    lease_age: Gauge,
    gateways: IntGauge,
    backplane_connected: IntGauge,
    /// Messages that every channel had already.
    pub repeats_dropped: IntCounter,
    /// Channels that fell behind.
    pub mailboxes_full: IntCounter,
    /// Channels that are behind.
    pub channels_behind: IntGauge,
    /// Times the own lease had lapsed.
    pub lease_lapses: IntCounter,
    /// Times the connection came back.
    pub backplane_reconnects: IntCounter,
    /// Overflows of subscriptions.
    pub subscription_overflows: IntCounter,
    /// Drains.
    pub drains: IntCounter,
    missed: IntCounterVec,
}

/// What a frame asked for, as far as metrics tell things apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A join of a topic of this kind.
    Join(&'static str),
    /// A push; none is an event that no channel knows.
    Push(Option<Push>),
}

/// Why channels lack messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// They were lost on the way, or came while a join was under way.
    Missed,
    /// A socket had no room.
    Slow,
}

impl Cause {
    const fn label(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Slow => "slow",
        }
    }
}

/// A topic's kind as a label.
#[must_use]
pub const fn kind(topic: &Topic) -> &'static str {
    match topic {
        Topic::User(_) => "user",
        Topic::Conversation(_) => "conversation",
    }
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// Where two metrics have one name, which a test rules out.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::default();
        let r = &registry;
        let fanout = r.histograms(Metric::FanoutDeliveries.description())?;
        let of = Metric::description;
        Ok(Self {
            ready: r.gauge(of(Metric::Ready))?,
            sockets: r.gauges(of(Metric::Sockets))?,
            sockets_opened: r.counters(of(Metric::SocketsOpened))?,
            sockets_closed: r.counters(of(Metric::SocketsClosed))?,
            sockets_refused: r.counters(of(Metric::SocketsRefused))?,
            channels: r.gauges(of(Metric::Channels))?,
            joins: r.counters(of(Metric::Joins))?,
            join_seconds: r.histograms(of(Metric::JoinSeconds))?,
            pushes: r.counters(of(Metric::Pushes))?,
            push_seconds: r.histograms(of(Metric::PushSeconds))?,
            command_attempts: r.counters(of(Metric::CommandAttempts))?,
            command_seconds: r.histograms(of(Metric::CommandSeconds))?,
            workers: r.gauge(of(Metric::Workers))?,
            topics: r.gauge(of(Metric::Topics))?,
            fanout_user: fanout.with_label_values(&["user"]),
            fanout_conversation: fanout.with_label_values(&["conversation"]),
            mailbox_bytes: r.gauge(of(Metric::MailboxBytes))?,
            gaps_found: r.counters(of(Metric::GapsFound))?,
            gaps_repaired: r.counters(of(Metric::GapsRepaired))?,
            presence_entries: r.gauges(of(Metric::PresenceEntries))?,
            lease_age: r.real_gauge(of(Metric::LeaseAge))?,
            gateways: r.gauge(of(Metric::Gateways))?,
            backplane_connected: r.gauge(of(Metric::BackplaneConnected))?,
            repeats_dropped: r.counter(of(Metric::RepeatsDropped))?,
            mailboxes_full: r.counter(of(Metric::MailboxesFull))?,
            channels_behind: r.gauge(of(Metric::ChannelsBehind))?,
            lease_lapses: r.counter(of(Metric::LeaseLapses))?,
            backplane_reconnects: r.counter(of(Metric::BackplaneReconnects))?,
            subscription_overflows: r.counter(of(Metric::SubscriptionOverflows))?,
            drains: r.counter(of(Metric::Drains))?,
            missed: r.counters(of(Metric::Missed))?,
            registry,
        })
    }

    /// All of them as text, what is a sum or an age worked out now.
    #[must_use]
    pub fn text(&self, shared: &Shared) -> String {
        let ready = shared.readiness.report().status == Status::Ready;
        self.ready.set(i64::from(ready));
        self.workers.set(count(shared.workers.living()));
        self.topics.set(count(shared.topics.count()));
        self.mailbox_bytes.set(count(shared.sockets.unsent_bytes()));
        self.lease_age.set(shared.leases.age().as_secs_f64());
        self.gateways.set(count(shared.leases.standing()));
        self.backplane_connected.set(i64::from(*shared.bus.connected().borrow()));
        self.registry.text()
    }

    /// A socket opened: it counts for as long as this is held.
    #[must_use]
    pub fn socket(&self, transport: &'static str) -> Counted {
        self.sockets_opened.with_label_values(&[transport]).inc();
        Counted::new(&self.sockets.with_label_values(&[transport]))
    }

    /// A socket ended, with the server's close where there was one.
    pub fn socket_closed(&self, close: Option<CloseCode>) {
        let reason = close.map_or("gone", |code| code.wire().1);
        self.sockets_closed.with_label_values(&[reason]).inc();
    }

    /// A request for a socket was refused.
    pub fn socket_refused(&self, reason: &'static str) {
        self.sockets_refused.with_label_values(&[reason]).inc();
    }

    /// A channel was joined: it counts for as long as this is held.
    #[must_use]
    pub fn channel(&self, topic: &'static str) -> Counted {
        Counted::new(&self.channels.with_label_values(&[topic]))
    }

    /// Something that a client asked was answered.
    pub fn answered(&self, asked: Asked, refused: Option<Reason>) {
        let reason = refused.map_or(OK, Reason::as_str);
        match asked {
            Asked::Join(topic) => self.joins.with_label_values(&[topic, reason]).inc(),
            Asked::Push(push) => self.pushes.with_label_values(&[event(push), reason]).inc(),
        }
    }

    /// The same of something that was carried out, or tried, and took so long.
    pub fn carried_out(&self, asked: Asked, refused: Option<Reason>, took: Duration) {
        self.answered(asked, refused);
        let seconds = match asked {
            Asked::Join(topic) => self.join_seconds.with_label_values(&[topic]),
            Asked::Push(push) => self.push_seconds.with_label_values(&[event(push)]),
        };
        seconds.observe(took.as_secs_f64());
    }

    /// An attempt to have a worker do a command ended so.
    pub fn attempt(&self, outcome: &'static str) {
        self.command_attempts.with_label_values(&[outcome]).inc();
    }

    /// A worker answered. Its name is known to live: those of workers that are gone are forgotten.
    pub fn command(&self, worker: &str, took: Duration) {
        self.command_seconds.with_label_values(&[worker]).observe(took.as_secs_f64());
    }

    /// A worker is gone: its series goes with it.
    pub fn forget_worker(&self, worker: &str) {
        // Fails where it never answered.
        let _ = self.command_seconds.remove_label_values(&[worker]);
    }

    /// A broadcast on a conversation was handed to so many channels.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn fanned_out(&self, deliveries: usize) {
        self.fanout_conversation.observe(deliveries as f64);
    }

    /// A notice was handed to so many channels of users' own topics.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn noticed(&self, deliveries: usize) {
        self.fanout_user.observe(deliveries as f64);
    }

    /// A message came for users without a socket here, and they came `back`, or a worker was `told`, or that `failed` or
    /// was `dropped`.
    pub fn missed(&self, outcome: &'static str) {
        self.missed.with_label_values(&[outcome]).inc();
    }

    /// A topic found its channels lacking messages.
    pub fn gap_found(&self, cause: Cause) {
        self.gaps_found.with_label_values(&[cause.label()]).inc();
    }

    /// They have them.
    pub fn gap_repaired(&self, cause: Cause) {
        self.gaps_repaired.with_label_values(&[cause.label()]).inc();
    }

    /// A presence entry of this kind (`user` or `conversation`) is there for as long as this is held.
    #[must_use]
    pub fn presence_entry(&self, kind: &'static str) -> Counted {
        Counted::new(&self.presence_entries.with_label_values(&[kind]))
    }
}

fn event(push: Option<Push>) -> &'static str {
    push.map_or("other", Push::as_str)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use simurgh_service::metrics::{Description, Kind};

    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_bounded_labels() {
        Metrics::new().unwrap();
        let names: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.description().name).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        for metric in Metric::ALL {
            let Description { name, kind, labels, help } = metric.description();
            assert!(name.starts_with("simurgh_gateway_") && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            let bounded = ["transport", "reason", "topic", "event", "outcome", "worker", "cause", "kind"];
            assert!(labels.iter().all(|label| bounded.contains(label)), "{name}: {labels:?}");
        }
    }
}
