//! Settings of the gateway (contract section 7): a group that other binaries flatten, and the binary's own.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, ValueEnum,
    builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser},
};
use simurgh_protocol::{envelope::CreatePolicy, limits};
use simurgh_service::{
    config::{BadSetting, LogArgs, NatsArgs, Rate, Secret, duration, switch},
    tls::TlsArgs,
};

use crate::auth::Keys;

mod lists;

pub use lists::{Networks, Origins};

/// The longest that draining may be told to take, in seconds: an hour. Balancers and orchestrators give less.
const LONGEST_DRAIN_S: u64 = 3_600;

/// What `SIMURGH_MAX_FRAME_BYTES` may be. The most must fit into an envelope ([`limits::ENVELOPE_BYTES`]) with room for
/// what is around it.
const FRAME_BYTES: std::ops::RangeInclusive<u64> = 1_024..=512 * 1_024;

/// What `SIMURGH_MAX_UNSENT_BYTES` may be.
const UNSENT_BYTES: std::ops::RangeInclusive<u64> = 16 * 1_024..=64 * 1_024 * 1_024;

/// What the counts (channels of a socket, sockets of a user) may be.
const COUNT: std::ops::RangeInclusive<u64> = 1..=10_000;

/// Where service tokens are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceCalls {
    /// On both listeners.
    Both,
    /// On the internal listener only.
    Internal,
}

/// A gateway's settings, but for its addresses and its backplane.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Who tokens prove to be.
    #[command(flatten)]
    pub tokens: Tokens,
    /// Who may connect from where, and what users may do.
    #[command(flatten)]
    pub access: Access,
    /// How often.
    #[command(flatten)]
    pub rates: Rates,
    /// How much.
    #[command(flatten)]
    pub bounds: Bounds,
    /// How it stops.
    #[command(flatten)]
    pub drain: Drain,
    /// What people can try it with.
    #[command(flatten)]
    pub demo: Demo,
}

/// How tokens are verified.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tokens")]
pub struct Tokens {
    /// Shared secret that HS256 tokens are signed with
    #[arg(long, env = "SIMURGH_JWT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub jwt_secret: Option<Secret>,

    /// PEM file with the public key that tokens are signed with, or several during a rotation: RSA (RS256), P-256
    /// (ES256) or Ed25519 (EdDSA)
    #[arg(long, env = "SIMURGH_JWT_PUBLIC_KEY", value_name = "FILE")]
    pub jwt_public_key: Option<PathBuf>,

    /// URL where the issuer of tokens publishes its public keys (a JSON Web Key Set)
    #[arg(long, env = "SIMURGH_JWKS_URL", value_name = "URL")]
    pub jwks_url: Option<String>,

    /// What a token's `iss` must be; not checked where this is empty
    #[arg(long, env = "SIMURGH_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,

    /// What a token's `aud` must be or contain; not checked where this is empty
    #[arg(long, env = "SIMURGH_JWT_AUDIENCE", value_name = "TEXT")]
    pub jwt_audience: Option<String>,

    /// Claim that holds the user's id
    #[arg(long, env = "SIMURGH_JWT_USER_CLAIM", value_name = "CLAIM", default_value = "sub")]
    pub jwt_user_claim: String,

    /// Word in the claim `scope` that makes a token a back-end service's
    #[arg(long, env = "SIMURGH_JWT_SERVICE_SCOPE", value_name = "WORD", default_value = "service")]
    pub jwt_service_scope: String,
}

/// Who may connect from where, and what users may do.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// Listeners that take service tokens
    #[arg(long, env = "SIMURGH_SERVICE_CALLS", value_name = "LISTENERS", default_value = "both")]
    pub service_calls: ServiceCalls,

    /// Origins of web pages that may connect, comma-separated, such as https://app.example.com or
    /// https://*.example.com; any where this is empty
    #[arg(long, env = "SIMURGH_ALLOWED_ORIGINS", value_name = "ORIGINS", default_value = "")]
    pub allowed_origins: Origins,

    /// Networks of the proxies in front, comma-separated, such as 10.0.0.0/8: what they say in X-Forwarded-For is
    /// believed
    #[arg(long, env = "SIMURGH_TRUSTED_PROXIES", value_name = "CIDRS", default_value = "")]
    pub trusted_proxies: Networks,

    /// Who may create conversations, beside services: any user; users, with people who added them as a contact; nobody
    #[arg(
        long,
        env = "SIMURGH_CREATE_CONVERSATIONS",
        value_name = "WHO",
        default_value = "users",
        value_parser = PossibleValuesParser::new(["users", "contacts", "service"]).map(|text| create_policy(&text))
    )]
    pub create_conversations: CreatePolicy,
}

/// The parser takes no other word.
fn create_policy(text: &str) -> CreatePolicy {
    match text {
        "contacts" => CreatePolicy::Contacts,
        "service" => CreatePolicy::Service,
        _ => CreatePolicy::Users,
    }
}

/// How often something may happen: `PER_SECOND:BURST`, 0 for no limit (contract section 5).
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Rates (PER_SECOND:BURST, 0 for no limit)")]
pub struct Rates {
    /// Messages sent by one user
    #[arg(long, env = "SIMURGH_RATE_MESSAGES", value_name = "RATE", default_value = "20:60")]
    pub rate_messages: Rate,

    /// Typing events of one user
    #[arg(long, env = "SIMURGH_RATE_TYPING", value_name = "RATE", default_value = "5:10")]
    pub rate_typing: Rate,

    /// Joins of one user
    #[arg(long, env = "SIMURGH_RATE_JOINS", value_name = "RATE", default_value = "50:200")]
    pub rate_joins: Rate,

    /// Joins on this gateway
    #[arg(long, env = "SIMURGH_RATE_GATEWAY_JOINS", value_name = "RATE", default_value = "5000:5000")]
    pub rate_gateway_joins: Rate,

    /// All other pushes of one user
    #[arg(long, env = "SIMURGH_RATE_PUSHES", value_name = "RATE", default_value = "50:100")]
    pub rate_pushes: Rate,

    /// New sockets on this gateway
    #[arg(long, env = "SIMURGH_RATE_CONNECTS", value_name = "RATE", default_value = "1000:2000")]
    pub rate_connects: Rate,

    /// New sockets from one address
    #[arg(long, env = "SIMURGH_RATE_CONNECTS_PER_ADDRESS", value_name = "RATE", default_value = "100:1000")]
    pub rate_connects_per_address: Rate,
}

/// How much there may be of something (contract section 5).
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct Bounds {
    /// Bytes of a frame from a client, and of an HTTP body
    #[arg(
        long,
        env = "SIMURGH_MAX_FRAME_BYTES",
        value_name = "BYTES",
        default_value_t = limits::FRAME_BYTES,
        value_parser = RangedU64ValueParser::<usize>::new().range(FRAME_BYTES)
    )]
    pub max_frame_bytes: usize,

    /// Bytes that wait for one slow socket before it is told to read on from the log
    #[arg(
        long,
        env = "SIMURGH_MAX_UNSENT_BYTES",
        value_name = "BYTES",
        default_value_t = limits::UNSENT_BYTES,
        value_parser = RangedU64ValueParser::<usize>::new().range(UNSENT_BYTES)
    )]
    pub max_unsent_bytes: usize,

    /// Open sockets of one user
    #[arg(
        long,
        env = "SIMURGH_MAX_SOCKETS_PER_USER",
        value_name = "COUNT",
        default_value_t = limits::SOCKETS_PER_USER,
        value_parser = RangedU64ValueParser::<usize>::new().range(COUNT)
    )]
    pub max_sockets_per_user: usize,

    /// Channels joined on one socket
    #[arg(
        long,
        env = "SIMURGH_MAX_CHANNELS",
        value_name = "COUNT",
        default_value_t = limits::CHANNELS,
        value_parser = RangedU64ValueParser::<usize>::new().range(COUNT)
    )]
    pub max_channels: usize,
}

/// How a gateway stops on SIGTERM (contract section 6).
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Draining")]
pub struct Drain {
    /// How long new sockets are still taken after SIGTERM: what the balancer needs to notice
    #[arg(long, env = "SIMURGH_DRAIN_DELAY", value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub drain_delay: Duration,

    /// Over how long the open sockets are then closed
    #[arg(long, env = "SIMURGH_DRAIN_WINDOW", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub drain_window: Duration,
}

/// What people can try a gateway with.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Trying it out")]
pub struct Demo {
    /// Serves a chat page at /
    #[arg(
        long,
        env = "SIMURGH_DEMO_PAGE",
        value_name = "BOOL",
        value_parser = switch,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub demo_page: bool,
}

impl Settings {
    /// What the fields' parsers do not see.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), BadSetting> {
        Keys::of(&self.tokens)?;
        if self.tokens.jwt_user_claim.is_empty() {
            return Err(BadSetting::new("SIMURGH_JWT_USER_CLAIM", "must name a claim"));
        }
        let scope = &self.tokens.jwt_service_scope;
        if scope.is_empty() || scope.contains(char::is_whitespace) {
            return Err(BadSetting::new("SIMURGH_JWT_SERVICE_SCOPE", "must be one word"));
        }
        let longest = Duration::from_secs(LONGEST_DRAIN_S);
        for (setting, time) in [
            ("SIMURGH_DRAIN_DELAY", self.drain.drain_delay),
            ("SIMURGH_DRAIN_WINDOW", self.drain.drain_window),
        ] {
            if time > longest {
                return Err(BadSetting::new(setting, "must be at most 1h"));
            }
        }
        Ok(())
    }
}

/// Simurgh's gateway: holds clients' WebSockets and serves the HTTP API
#[derive(Clone, Debug, Parser)]
#[command(name = "simurgh-gateway", version)]
pub struct Config {
    /// Address for clients: sockets and the HTTP API
    #[arg(
        long,
        env = "SIMURGH_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:4000",
        help_heading = "Addresses"
    )]
    pub listen: SocketAddr,

    /// Address for services and operators: the HTTP API, health
    #[arg(
        long,
        env = "SIMURGH_INTERNAL_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:4001",
        help_heading = "Addresses"
    )]
    pub internal_listen: SocketAddr,

    /// Whether clients come by TLS.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// The gateway's settings.
    #[command(flatten)]
    pub settings: Settings,

    /// The backplane.
    #[command(flatten)]
    pub nats: NatsArgs,

    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
}

impl simurgh_service::config::Settings for Config {
    fn validate(&self) -> Result<(), BadSetting> {
        self.settings.validate()?;
        self.tls.load()?;
        self.nats.validate()
    }
}

#[cfg(test)]
mod tests;
