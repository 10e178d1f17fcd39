//! What a worker counts. One value a process; workers that share a process may share it.

use std::time::Duration;

use simurgh_backplane::SharedBus;
use simurgh_protocol::Reason;
use simurgh_service::{
    Readiness,
    metrics::{
        Counted, Error, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    },
    readiness::Status,
};

use crate::store::units::Units;

mod names;

pub use names::Metric;

/// A worker's instruments.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    ready: IntGauge,
    commands: IntCounterVec,
    command_seconds: HistogramVec,
    commands_in_flight: IntGauge,
    pub(crate) commands_at_once: IntGauge,
    pub(crate) commands_shed: IntCounter,
    messages: IntCounterVec,
    batch_messages: Histogram,
    broadcasts: IntCounterVec,
    offline_entries: IntCounterVec,
    store_calls: IntCounterVec,
    store_seconds: HistogramVec,
    counted_reads: Halves,
    counted_writes: Halves,
    consumed_reads: Halves,
    consumed_writes: Halves,
    store_throttles: IntCounterVec,
    cache_lookups: IntCounterVec,
    cache_bytes: IntGaugeVec,
    backplane_connected: IntGauge,
    /// Times the connection came back.
    pub backplane_reconnects: IntCounter,
    /// Drains.
    pub drains: IntCounter,
}

/// A counter of units that come in halves.
type Halves = simurgh_service::metrics::Counter;

/// How a cache is counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheMeter {
    hits: IntCounter,
    misses: IntCounter,
    /// Bytes that it holds, together with caches of the same name in the process.
    pub(crate) bytes: IntGauge,
}

impl CacheMeter {
    #[cfg(test)]
    pub(crate) fn hits(&self) -> u64 {
        self.hits.get()
    }

    #[cfg(test)]
    pub(crate) fn misses(&self) -> u64 {
        self.misses.get()
    }

    /// Something was looked up, and found, or not.
    pub(crate) fn looked_up(&self, hit: bool) {
        if hit { &self.hits } else { &self.misses }.inc();
    }
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// Where two metrics have one name, which a test rules out.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::default();
        let (r, of) = (&registry, Metric::description);
        let counted = r.real_counters(of(Metric::CountedUnits))?;
        let consumed = r.real_counters(of(Metric::ConsumedUnits))?;
        Ok(Self {
            ready: r.gauge(of(Metric::Ready))?,
            commands: r.counters(of(Metric::Commands))?,
            command_seconds: r.histograms(of(Metric::CommandSeconds))?,
            commands_in_flight: r.gauge(of(Metric::CommandsInFlight))?,
            commands_at_once: r.gauge(of(Metric::CommandsAtOnce))?,
            commands_shed: r.counter(of(Metric::CommandsShed))?,
            messages: r.counters(of(Metric::Messages))?,
            batch_messages: r.histogram(of(Metric::BatchMessages))?,
            broadcasts: r.counters(of(Metric::Broadcasts))?,
            offline_entries: r.counters(of(Metric::OfflineEntries))?,
            store_calls: r.counters(of(Metric::StoreCalls))?,
            store_seconds: r.histograms(of(Metric::StoreSeconds))?,
            counted_reads: counted.with_label_values(&["read"]),
            counted_writes: counted.with_label_values(&["write"]),
            consumed_reads: consumed.with_label_values(&["read"]),
            consumed_writes: consumed.with_label_values(&["write"]),
            store_throttles: r.counters(of(Metric::StoreThrottles))?,
            cache_lookups: r.counters(of(Metric::CacheLookups))?,
            cache_bytes: r.gauges(of(Metric::CacheBytes))?,
            backplane_connected: r.gauge(of(Metric::BackplaneConnected))?,
            backplane_reconnects: r.counter(of(Metric::BackplaneReconnects))?,
            drains: r.counter(of(Metric::Drains))?,
            registry,
        })
    }

    /// All of them as text.
    #[must_use]
    pub fn text(&self, readiness: &Readiness, bus: &SharedBus) -> String {
        self.ready.set(i64::from(readiness.report().status == Status::Ready));
        self.backplane_connected.set(i64::from(*bus.connected().borrow()));
        self.registry.text()
    }

    /// A command is under way for as long as this is held.
    #[must_use]
    pub fn command(&self) -> Counted {
        Counted::new(&self.commands_in_flight)
    }

    /// A command was answered.
    pub fn answered(&self, call: &'static str, refused: Option<Reason>, took: Duration) {
        let reason = refused.map_or("ok", Reason::as_str);
        self.commands.with_label_values(&[call, reason]).inc();
        self.command_seconds.with_label_values(&[call]).observe(took.as_secs_f64());
    }

    /// A send ended: `stored`, `duplicate` or `conflict`.
    pub fn message(&self, outcome: &'static str) {
        self.messages.with_label_values(&[outcome]).inc();
    }

    /// One slot took so many messages.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn batch(&self, messages: usize) {
        self.batch_messages.observe(messages as f64);
    }

    /// A `conversation` or `users` were told.
    pub fn broadcast(&self, to: &'static str, sent: bool) {
        self.broadcasts.with_label_values(&[to, if sent { "sent" } else { "failed" }]).inc();
    }

    /// So many entries of what users missed were `kept`, `repeated`, `muted`, `failed` or `dropped`.
    pub fn offline(&self, outcome: &'static str, entries: usize) {
        self.offline_entries.with_label_values(&[outcome]).inc_by(entries as u64);
    }

    /// How many entries of what users missed ended so.
    #[cfg(test)]
    pub(crate) fn offline_entries(&self, outcome: &'static str) -> u64 {
        self.offline_entries.with_label_values(&[outcome]).get()
    }

    /// A call on the store ended.
    pub fn store_call(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        self.store_calls.with_label_values(&[kind, outcome]).inc();
        self.store_seconds.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// The units of reads and of writes that were counted.
    #[cfg(test)]
    pub(crate) fn counted_units(&self) -> (f64, f64) {
        (self.counted_reads.get(), self.counted_writes.get())
    }

    /// What it costs by the rules.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub fn counted(&self, units: Units) {
        self.counted_reads.inc_by(units.half_reads as f64 / 2.0);
        self.counted_writes.inc_by(units.writes as f64);
    }

    /// What a store said that reads cost.
    pub fn consumed_reads(&self, units: Option<f64>) {
        self.consumed_reads.inc_by(units.unwrap_or(0.0).max(0.0));
    }

    /// What a store said that writes cost.
    pub fn consumed_writes(&self, units: Option<f64>) {
        self.consumed_writes.inc_by(units.unwrap_or(0.0).max(0.0));
    }

    /// A try was throttled.
    pub fn throttled(&self, operation: &str) {
        self.store_throttles.with_label_values(&[operation]).inc();
    }

    /// The meter of a cache: `rosters`, `tails`, `places`, `written` or `gateways`.
    #[must_use]
    pub fn cache(&self, name: &'static str) -> CacheMeter {
        CacheMeter {
            hits: self.cache_lookups.with_label_values(&[name, "hit"]),
            misses: self.cache_lookups.with_label_values(&[name, "miss"]),
            bytes: self.cache_bytes.with_label_values(&[name]),
        }
    }
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
            assert!(name.starts_with("simurgh_worker_") && help.ends_with('.'), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            let bounded = ["call", "reason", "outcome", "to", "kind", "unit", "operation", "cache"];
            assert!(labels.iter().all(|label| bounded.contains(label)), "{name}: {labels:?}");
        }
    }
}
