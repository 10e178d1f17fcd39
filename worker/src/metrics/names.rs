//! The names of a worker's metrics, and what each tells.

use simurgh_service::metrics::{
    COUNTS, Description,
    Kind::{self, Counter, Gauge, Histogram},
    SECONDS,
};

/// A metric of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`description` says what each is")]
pub enum Metric {
    Ready,
    Commands,
    CommandSeconds,
    CommandsInFlight,
    CommandsAtOnce,
    CommandsShed,
    Messages,
    BatchMessages,
    Broadcasts,
    OfflineEntries,
    StoreCalls,
    StoreSeconds,
    CountedUnits,
    ConsumedUnits,
    StoreThrottles,
    CacheLookups,
    CacheBytes,
    BackplaneConnected,
    BackplaneReconnects,
    Drains,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Ready,
        Self::Commands,
        Self::CommandSeconds,
        Self::CommandsInFlight,
        Self::CommandsAtOnce,
        Self::CommandsShed,
        Self::Messages,
        Self::BatchMessages,
        Self::Broadcasts,
        Self::OfflineEntries,
        Self::StoreCalls,
        Self::StoreSeconds,
        Self::CountedUnits,
        Self::ConsumedUnits,
        Self::StoreThrottles,
        Self::CacheLookups,
        Self::CacheBytes,
        Self::BackplaneConnected,
        Self::BackplaneReconnects,
        Self::Drains,
    ];

    /// Its name, kind and labels, and what it tells.
    #[must_use]
    pub const fn description(self) -> Description {
        let (name, kind, labels, help): Parts = match self {
            Self::Ready => ("simurgh_worker_ready", Gauge, &[], "1 while /readyz says ready."),
            Self::Commands
            | Self::CommandSeconds
            | Self::CommandsInFlight
            | Self::CommandsAtOnce
            | Self::CommandsShed => self.of_commands(),
            Self::Messages => (
                "simurgh_worker_messages_total",
                Counter,
                &["outcome"],
                "Sends: stored, duplicate (an earlier push stored it; nothing is stored again), conflict.",
            ),
            Self::BatchMessages => (
                "simurgh_worker_batch_messages",
                Histogram(COUNTS),
                &[],
                "Messages that one slot item took; the sum is all messages stored.",
            ),
            Self::Broadcasts => (
                "simurgh_worker_broadcasts_total",
                Counter,
                &["to", "outcome"],
                "Publishes to a conversation, and tellings of users: sent, failed.",
            ),
            Self::OfflineEntries => (
                "simurgh_worker_offline_entries_total",
                Counter,
                &["outcome"],
                "Entries of what users missed, one for each user and message: kept, repeated (it was kept already), muted, failed, dropped (too many waited).",
            ),
            Self::StoreCalls
            | Self::StoreSeconds
            | Self::CountedUnits
            | Self::ConsumedUnits
            | Self::StoreThrottles => self.of_store(),
            Self::CacheLookups => (
                "simurgh_worker_cache_lookups_total",
                Counter,
                &["cache", "outcome"],
                "Lookups in rosters, tails, places, written and gateways: hit, miss (also where what was there is too old).",
            ),
            Self::CacheBytes => ("simurgh_worker_cache_bytes", Gauge, &["cache"], "Bytes held, about."),
            Self::BackplaneConnected => {
                ("simurgh_worker_backplane_connected", Gauge, &[], "1 while the connection to NATS stands.")
            }
            Self::BackplaneReconnects => {
                ("simurgh_worker_backplane_reconnects_total", Counter, &[], "Times the connection came back.")
            }
            Self::Drains => {
                ("simurgh_worker_drains_total", Counter, &[], "Drains begun: 1 once SIGTERM came.")
            }
        };
        Description { name, kind, labels, help }
    }

    const fn of_commands(self) -> Parts {
        match self {
            Self::Commands => (
                "simurgh_worker_commands_total",
                Counter,
                &["call", "reason"],
                "Commands answered: ok, or why not.",
            ),
            Self::CommandSeconds => (
                "simurgh_worker_command_seconds",
                Histogram(SECONDS),
                &["call"],
                "From a command's arrival to its answer.",
            ),
            Self::CommandsInFlight => {
                ("simurgh_worker_commands_in_flight", Gauge, &[], "Commands under way.")
            }
            Self::CommandsAtOnce => (
                "simurgh_worker_commands_at_once",
                Gauge,
                &[],
                "How many it does at once now, so that they end in time: 16 to 1,024. The others wait while there is time.",
            ),
            _ => (
                "simurgh_worker_commands_shed_total",
                Counter,
                &[],
                "Commands refused because there was too much to do.",
            ),
        }
    }

    const fn of_store(self) -> Parts {
        match self {
            Self::StoreCalls => (
                "simurgh_worker_store_calls_total",
                Counter,
                &["kind", "outcome"],
                "Calls on the store: ok, conflict (a condition did not hold), unavailable, too_large.",
            ),
            Self::StoreSeconds => (
                "simurgh_worker_store_seconds",
                Histogram(SECONDS),
                &["kind"],
                "How long they took, retries included.",
            ),
            Self::CountedUnits => (
                "simurgh_worker_counted_units_total",
                Counter,
                &["unit"],
                "Capacity units of those calls by AWS's rules, failed conditions included: read, write.",
            ),
            Self::ConsumedUnits => (
                "simurgh_worker_consumed_units_total",
                Counter,
                &["unit"],
                "Capacity units as the store reported them, which it does of what succeeded: read, write.",
            ),
            _ => (
                "simurgh_worker_store_throttles_total",
                Counter,
                &["operation"],
                "Answers of the store that said too much was asked, each try by itself.",
            ),
        }
    }
}

/// Name, kind, labels, help.
type Parts = (&'static str, Kind, &'static [&'static str], &'static str);
