//! Groups of settings that several binaries flatten into theirs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simurgh_backplane::nats::{ConnectError, NatsConfig};
use tracing_subscriber::EnvFilter;

use super::{BadSetting, Secret, offline::OfflineArgs};

/// How to reach NATS.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Backplane")]
pub struct NatsArgs {
    /// NATS servers, comma-separated; with a user and a password as nats://USER:PASSWORD@HOST:PORT
    #[arg(
        long,
        env = "SIMURGH_NATS_URL",
        value_name = "URL",
        default_value = "nats://127.0.0.1:4222",
        hide_env_values = true
    )]
    pub nats_url: Secret,

    /// File with a user's NATS credentials (JWT and seed)
    #[arg(long, env = "SIMURGH_NATS_CREDS", value_name = "FILE")]
    pub nats_creds: Option<PathBuf>,

    /// PEM file with the certificate authority that signed the servers' certificates; turns TLS on
    #[arg(long, env = "SIMURGH_NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,

    /// On how many servers of a NATS cluster each key is kept
    #[arg(
        long,
        env = "SIMURGH_NATS_REPLICAS",
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=5)
    )]
    pub nats_replicas: u8,

    /// First word of every subject and bucket name: systems with different ones share a NATS without meeting
    #[arg(long, env = "SIMURGH_NAMESPACE", value_name = "WORD", default_value = "simurgh", value_parser = namespace)]
    pub namespace: String,

    /// The stream of what users missed.
    #[command(flatten)]
    pub offline: OfflineArgs,
}

impl NatsArgs {
    /// What the fields' parsers do not see; the files are read. (The URL is checked here, for clap would show it, password
    /// and all.)
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let schemes = ["nats://", "tls://", "ws://", "wss://"];
        let usable = |url: &str| {
            let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        };
        if !self.nats_url.reveal().split(',').all(usable) {
            return Err(BadSetting::new(
                "SIMURGH_NATS_URL",
                "must be URLs such as nats://127.0.0.1:4222, comma-separated",
            ));
        }
        self.offline.validate()?;
        self.connection("").check().map_err(unusable)
    }

    /// What the bus needs to connect; `name` is the process's id, shown in the server's lists.
    #[must_use]
    pub fn connection(&self, name: &str) -> NatsConfig {
        NatsConfig {
            url: self.nats_url.reveal().to_owned(),
            creds: self.nats_creds.clone(),
            ca: self.nats_ca.clone(),
            replicas: usize::from(self.nats_replicas),
            namespace: self.namespace.clone(),
            offline: self.offline.limits(),
            name: name.to_owned(),
        }
    }

    /// The servers' addresses without users and passwords, for logs.
    #[must_use]
    pub fn servers(&self) -> String {
        let without_user = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            _ => url.to_owned(),
        };
        self.nats_url.reveal().split(',').map(without_user).collect::<Vec<_>>().join(",")
    }
}

/// The setting that is to blame. The causes name no secret.
fn unusable(error: ConnectError) -> BadSetting {
    let setting = match error {
        ConnectError::Credentials(_) => "SIMURGH_NATS_CREDS",
        ConnectError::Certificates(_) => "SIMURGH_NATS_CA",
        ConnectError::Url(_) | ConnectError::Client(_) | ConnectError::Bus(_) => "SIMURGH_NATS_URL",
    };
    BadSetting::new(setting, format!("{:#}", anyhow::Error::new(error)))
}

/// A namespace is one token of a NATS subject and part of a bucket's name.
fn namespace(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 32 characters of A-Z a-z 0-9 - _".to_owned())
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace) or a tracing filter such as info,simurgh_gateway=debug
    #[arg(long, env = "SIMURGH_LOG", value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub log: String,

    /// How a line is written; by default text on a terminal, else json
    #[arg(long, env = "SIMURGH_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Where traces go: an OpenTelemetry collector that takes OTLP by gRPC, such as http://127.0.0.1:4317; off without
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = collector)]
    pub otlp_endpoint: Option<String>,
}

impl LogArgs {
    /// Where traces go, if anywhere.
    #[must_use]
    pub fn otlp_endpoint(&self) -> Option<&str> {
        self.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }
}

/// As OpenTelemetry's specification has it, an empty one is none.
fn collector(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    if text.is_empty() || host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace)) {
        Ok(text.to_owned())
    } else {
        Err("must be a URL such as http://127.0.0.1:4317".to_owned())
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
