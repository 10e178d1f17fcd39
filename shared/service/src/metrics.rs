//! Metrics in Prometheus' text form. Each program names its own in one enum and counts with the instruments made here;
//! the registry is a value, so that several gateways in one process do not count for each other.
//!
//! Counters, gauges and histograms are atomics: to count takes no lock. To look an instrument up by its labels takes a
//! read lock, so what happens for each delivery is counted once a broadcast.

use axum::{Router, http::header, response::IntoResponse, routing::get};
pub use prometheus::{
    Counter, CounterVec, Error, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec,
};
use prometheus::{Encoder as _, HistogramOpts, Opts, TextEncoder, core::Collector};

/// Bounds of latencies, in seconds: from what memory takes to what no client waits for.
pub const SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds of counts of one thing's parts: channels of a broadcast, messages of a batch.
pub const COUNTS: &[f64] =
    &[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Grows; starts over with the process. Its name ends with `_total`.
    Counter,
    /// As it is now.
    Gauge,
    /// How often values were at most so large.
    Histogram(&'static [f64]),
}

/// A metric's name and what it tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Description {
    /// `simurgh_…`, with its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What its series are told apart by. Never a user, a topic, or anything else that has no bound.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence.
    pub help: &'static str,
}

/// A process's metrics.
#[derive(Clone, Debug, Default)]
pub struct Registry(prometheus::Registry);

impl Registry {
    fn add<C: Collector + Clone + 'static>(&self, made: Result<C, Error>) -> Result<C, Error> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    /// A counter without labels.
    ///
    /// # Errors
    /// Where the name is not one, or taken; so for all of these.
    pub fn counter(&self, of: Description) -> Result<IntCounter, Error> {
        self.add(IntCounter::with_opts(Opts::new(of.name, of.help)))
    }

    /// Counters by label.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn counters(&self, of: Description) -> Result<IntCounterVec, Error> {
        self.add(IntCounterVec::new(Opts::new(of.name, of.help), of.labels))
    }

    /// Counters of something that is not counted in whole numbers, by label.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn real_counters(&self, of: Description) -> Result<CounterVec, Error> {
        self.add(CounterVec::new(Opts::new(of.name, of.help), of.labels))
    }

    /// A gauge without labels.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn gauge(&self, of: Description) -> Result<IntGauge, Error> {
        self.add(IntGauge::with_opts(Opts::new(of.name, of.help)))
    }

    /// A gauge of something that is not counted in whole numbers.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn real_gauge(&self, of: Description) -> Result<Gauge, Error> {
        self.add(Gauge::with_opts(Opts::new(of.name, of.help)))
    }

    /// Gauges by label.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn gauges(&self, of: Description) -> Result<IntGaugeVec, Error> {
        self.add(IntGaugeVec::new(Opts::new(of.name, of.help), of.labels))
    }

    /// Histograms by label.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn histograms(&self, of: Description) -> Result<HistogramVec, Error> {
        let bounds = match of.kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => SECONDS,
        };
        let opts = HistogramOpts::new(of.name, of.help).buckets(bounds.to_vec());
        self.add(HistogramVec::new(opts, of.labels))
    }

    /// A histogram without labels.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn histogram(&self, of: Description) -> Result<Histogram, Error> {
        let bounds = match of.kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => SECONDS,
        };
        self.add(Histogram::with_opts(HistogramOpts::new(of.name, of.help).buckets(bounds.to_vec())))
    }

    /// All metrics as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        // Nothing is written but to memory.
        let _ = TextEncoder::new().encode(&self.0.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

/// One of those that a gauge counts, for as long as this is held.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    /// One more.
    #[must_use]
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// `/metrics`: what `text` says at that moment.
pub fn router(text: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    const FORM: [(header::HeaderName, &str); 1] =
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Router::new().route("/metrics", get(move || async move { (FORM, text()).into_response() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Description =
        Description { name: "simurgh_test_open", kind: Kind::Gauge, labels: &["kind"], help: "Open things." };

    #[test]
    fn what_is_counted_is_told_as_text_and_forgotten_when_dropped() {
        let registry = Registry::default();
        let open = registry.gauges(OPEN).unwrap();
        let counted = Counted::new(&open.with_label_values(&["a"]));
        assert!(registry.text().contains("simurgh_test_open{kind=\"a\"} 1\n"), "{}", registry.text());
        drop(counted);
        assert!(registry.text().contains("simurgh_test_open{kind=\"a\"} 0\n"));
        assert!(registry.gauges(OPEN).is_err(), "a name is taken once");
    }

    #[test]
    fn registries_do_not_count_for_each_other() {
        let (one, other) = (Registry::default(), Registry::default());
        one.gauges(OPEN).unwrap().with_label_values(&["a"]).set(7);
        other.gauges(OPEN).unwrap().with_label_values(&["a"]).set(0);
        assert!(other.text().contains("{kind=\"a\"} 0"));
    }
}
