//! The names of a gateway's metrics, and what each tells.

use simurgh_service::metrics::{
    COUNTS, Description,
    Kind::{self, Counter, Gauge, Histogram},
    SECONDS,
};

/// A metric of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`description` says what each is")]
pub enum Metric {
    Ready,
    Sockets,
    SocketsOpened,
    SocketsClosed,
    SocketsRefused,
    Channels,
    Joins,
    JoinSeconds,
    Pushes,
    PushSeconds,
    CommandAttempts,
    CommandSeconds,
    Workers,
    Topics,
    FanoutDeliveries,
    RepeatsDropped,
    MailboxBytes,
    MailboxesFull,
    ChannelsBehind,
    GapsFound,
    GapsRepaired,
    Missed,
    PresenceEntries,
    LeaseAge,
    LeaseLapses,
    Gateways,
    BackplaneConnected,
    BackplaneReconnects,
    SubscriptionOverflows,
    Drains,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::Ready,
        Self::Sockets,
        Self::SocketsOpened,
        Self::SocketsClosed,
        Self::SocketsRefused,
        Self::Channels,
        Self::Joins,
        Self::JoinSeconds,
        Self::Pushes,
        Self::PushSeconds,
        Self::CommandAttempts,
        Self::CommandSeconds,
        Self::Workers,
        Self::Topics,
        Self::FanoutDeliveries,
        Self::RepeatsDropped,
        Self::MailboxBytes,
        Self::MailboxesFull,
        Self::ChannelsBehind,
        Self::GapsFound,
        Self::GapsRepaired,
        Self::Missed,
        Self::PresenceEntries,
        Self::LeaseAge,
        Self::LeaseLapses,
        Self::Gateways,
        Self::BackplaneConnected,
        Self::BackplaneReconnects,
        Self::SubscriptionOverflows,
        Self::Drains,
    ];

    /// Its name, kind and labels, and what it tells.
    #[must_use]
    pub const fn description(self) -> Description {
        let (name, kind, labels, help) = match self {
            Self::Sockets
            | Self::SocketsOpened
            | Self::SocketsClosed
            | Self::SocketsRefused
            | Self::Channels
            | Self::Joins
            | Self::JoinSeconds
            | Self::Pushes
            | Self::PushSeconds => self.of_clients(),
            Self::Topics
            | Self::FanoutDeliveries
            | Self::RepeatsDropped
            | Self::MailboxBytes
            | Self::MailboxesFull
            | Self::ChannelsBehind
            | Self::GapsFound
            | Self::GapsRepaired
            | Self::Missed => self.of_fanout(),
            _ => self.of_others(),
        };
        Description { name, kind, labels, help }
    }

    const fn of_clients(self) -> Parts {
        match self {
            Self::Sockets => (
                "simurgh_gateway_sockets",
                Gauge,
                &["transport"],
                "Open sockets: websocket, longpoll; streams of events: grpc.",
            ),
            Self::SocketsOpened => {
                ("simurgh_gateway_sockets_opened_total", Counter, &["transport"], "Sockets opened.")
            }
            Self::SocketsClosed => (
                "simurgh_gateway_sockets_closed_total",
                Counter,
                &["reason"],
                "Sockets that ended: gone (by the client or its network), or the server's close reason.",
            ),
            Self::SocketsRefused => (
                "simurgh_gateway_sockets_refused_total",
                Counter,
                &["reason"],
                "Requests for a socket that were refused before the upgrade.",
            ),
            Self::Channels => {
                ("simurgh_gateway_channels", Gauge, &["topic"], "Joined channels: user, conversation.")
            }
            Self::Joins => (
                "simurgh_gateway_joins_total",
                Counter,
                &["topic", "reason"],
                "Joins answered: ok, or why not.",
            ),
            Self::JoinSeconds => (
                "simurgh_gateway_join_seconds",
                Histogram(SECONDS),
                &["topic"],
                "From a join's arrival to its outcome, its wait for a turn included.",
            ),
            Self::Pushes => (
                "simurgh_gateway_pushes_total",
                Counter,
                &["event", "reason"],
                "Pushes answered: ok, or why not; other is any event that no channel knows.",
            ),
            _ => (
                "simurgh_gateway_push_seconds",
                Histogram(SECONDS),
                &["event"],
                "From a push's arrival to its outcome, its wait behind earlier ones included.",
            ),
        }
    }

    const fn of_fanout(self) -> Parts {
        match self {
            Self::Topics => {
                ("simurgh_gateway_topics", Gauge, &[], "Conversations held, with a subscription each.")
            }
            Self::FanoutDeliveries => (
                "simurgh_gateway_fanout_deliveries",
                Histogram(COUNTS),
                &["topic"],
                "Channels that a broadcast was handed to; the sum is all deliveries.",
            ),
            Self::RepeatsDropped => (
                "simurgh_gateway_repeats_dropped_total",
                Counter,
                &[],
                "Messages that came over the backplane when every channel had them.",
            ),
            Self::MailboxBytes => (
                "simurgh_gateway_mailbox_bytes",
                Gauge,
                &[],
                "Bytes that wait to be written, all sockets together.",
            ),
            Self::MailboxesFull => (
                "simurgh_gateway_mailboxes_full_total",
                Counter,
                &[],
                "Times a channel fell behind since its socket had no room.",
            ),
            Self::ChannelsBehind => (
                "simurgh_gateway_channels_behind",
                Gauge,
                &[],
                "Channels that only keep their positions until their socket drains.",
            ),
            Self::GapsFound => (
                "simurgh_gateway_gaps_found_total",
                Counter,
                &["cause"],
                "Times a topic found its channels lacking messages: missed (lost on the way), slow (a socket had no room).",
            ),
            Self::GapsRepaired => {
                ("simurgh_gateway_gaps_repaired_total", Counter, &["cause"], "Gaps closed from the log.")
            }
            _ => (
                "simurgh_gateway_missed_total",
                Counter,
                &["outcome"],
                "Messages that came for users without a socket here: back (they came within the grace), told (a worker was), failed, dropped.",
            ),
        }
    }

    const fn of_others(self) -> Parts {
        match self {
            Self::Ready => ("simurgh_gateway_ready", Gauge, &[], "1 while /readyz says ready."),
            Self::CommandAttempts => (
                "simurgh_gateway_command_attempts_total",
                Counter,
                &["outcome"],
                "Attempts to have a worker do a command: answered, no_responders, timed_out, disconnected.",
            ),
            Self::CommandSeconds => (
                "simurgh_gateway_command_seconds",
                Histogram(SECONDS),
                &["worker"],
                "From an attempt's start to the answer, by worker: living ones, any, gone.",
            ),
            Self::Workers => {
                ("simurgh_gateway_workers", Gauge, &[], "Workers heard of in the last two seconds.")
            }
            Self::PresenceEntries => (
                "simurgh_gateway_presence_entries",
                Gauge,
                &["kind"],
                "Presence entries this gateway holds: user, conversation.",
            ),
            Self::LeaseAge => (
                "simurgh_gateway_lease_age_seconds",
                Gauge,
                &[],
                "Since the lease was renewed; it lapses at 15.",
            ),
            Self::LeaseLapses => (
                "simurgh_gateway_lease_lapses_total",
                Counter,
                &[],
                "Times the lease had lapsed and the gateway went on under a new name.",
            ),
            Self::Gateways => {
                ("simurgh_gateway_gateways", Gauge, &[], "Gateways with a lease, this one included.")
            }
            Self::BackplaneConnected => {
                ("simurgh_gateway_backplane_connected", Gauge, &[], "1 while the connection to NATS stands.")
            }
            Self::BackplaneReconnects => (
                "simurgh_gateway_backplane_reconnects_total",
                Counter,
                &[],
                "Times the connection came back.",
            ),
            Self::SubscriptionOverflows => (
                "simurgh_gateway_subscription_overflows_total",
                Counter,
                &[],
                "Notices that a subscription overflowed and lost messages, which are then read from the log.",
            ),
            _ => ("simurgh_gateway_drains_total", Counter, &[], "Drains begun: 1 once SIGTERM came."),
        }
    }
}

/// Name, kind, labels, help.
type Parts = (&'static str, Kind, &'static [&'static str], &'static str);
