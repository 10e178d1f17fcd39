//! Settings of the local stack: a gateway's and a worker's, with defaults for one machine, and its own.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::ArgPredicate};
use simurgh_gateway::page;
use simurgh_protocol::UserId;
use simurgh_service::config::{BadSetting, LogArgs, NatsArgs, OfflineStream, Settings, duration, switch};
use simurgh_worker::Limits;

use crate::token::Signer;

/// The secret that local tokens are signed with. Whoever can read this can sign: for one machine only.
const DEV_SECRET: &str = "dev-secret";

/// How far apart the ports of two gateways in one process are: 4000 and 4001, 4010 and 4011, …
const PORT_STEP: u16 = 10;

/// Simurgh on one machine: gateways, workers, a DynamoDB engine and a backplane in one process
#[derive(Clone, Debug, Parser)]
#[command(name = "simurgh", version)]
pub struct Config {
    /// What to do; without one, the whole system is started
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where it listens.
    #[command(flatten)]
    pub addresses: Addresses,

    /// What it is made of.
    #[command(flatten)]
    pub parts: Parts,

    /// The gateways' settings.
    #[command(flatten)]
    pub gateway: simurgh_gateway::config::Settings,

    /// The workers' limits.
    #[command(flatten)]
    pub worker: simurgh_worker::config::LimitArgs,

    /// The backplane, where it is NATS.
    #[command(flatten)]
    pub nats: NatsArgs,

    /// Logs.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What else than starting it can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Prints a token for a user, signed with SIMURGH_JWT_SECRET (dev-secret)
    Token {
        /// The user's id
        #[arg(value_name = "USER", value_parser = user)]
        user: UserId,

        /// A back-end service's token: it may use every HTTP call for any user
        #[arg(long)]
        service: bool,

        /// How long it is good for
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
        ttl: Duration,
    },
}

fn user(text: &str) -> Result<UserId, String> {
    UserId::new(text).map_err(|error| error.to_string())
}

/// Where the local stack listens.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub struct Addresses {
    /// Address for clients: sockets and the HTTP API; a second gateway is ten ports further, and so on
    #[arg(long, env = "SIMURGH_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4000")]
    pub listen: SocketAddr,

    /// Address for services and operators: the HTTP API, health, metrics; a second gateway is ten ports further, and so on
    #[arg(long, env = "SIMURGH_INTERNAL_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4001")]
    pub internal_listen: SocketAddr,

    /// Address for operators of the workers: health, metrics
    #[arg(long, env = "SIMURGH_WORKER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4002")]
    pub worker_listen: SocketAddr,
}

/// What the local stack is made of.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Parts")]
pub struct Parts {
    /// How gateways and workers reach each other
    #[arg(long, env = "SIMURGH_BACKPLANE", value_name = "KIND", default_value = "memory")]
    pub backplane: Backplane,

    /// Gateways to run
    #[arg(
        long,
        env = "SIMURGH_GATEWAYS",
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=16)
    )]
    pub gateways: u16,

    /// Workers to run
    #[arg(
        long,
        env = "SIMURGH_WORKERS",
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=16)
    )]
    pub workers: u16,

    /// Folder that everything is kept in
    #[arg(long, env = "SIMURGH_DATA_DIR", value_name = "FOLDER", default_value = ".simurgh")]
    pub data_dir: PathBuf,

    /// Keeps nothing: what was said is gone when it stops
    #[arg(
        long,
        env = "SIMURGH_EPHEMERAL",
        value_name = "BOOL",
        value_parser = switch,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value = "false"
    )]
    pub ephemeral: bool,
}

/// How gateways and workers reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backplane {
    /// Within the process.
    Memory,
    /// Through the NATS server at SIMURGH_NATS_URL.
    Nats,
}

impl Config {
    /// The addresses of gateway number `index` (from 0), public and internal.
    #[must_use]
    pub fn gateway_addresses(&self, index: u16) -> (SocketAddr, SocketAddr) {
        let shifted = |address: SocketAddr| {
            let port = match address.port() {
                // A free one, whichever it is.
                0 => 0,
                port => port.saturating_add(index.saturating_mul(PORT_STEP)),
            };
            SocketAddr::new(address.ip(), port)
        };
        (shifted(self.addresses.listen), shifted(self.addresses.internal_listen))
    }

    /// The workers' limits. Where the backplane is in this process, no push service can reach it: nothing is written for one.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let offline = match self.parts.backplane {
            Backplane::Memory => OfflineStream::Off,
            Backplane::Nats => self.nats.offline.offline_stream,
        };
        Limits { offline, ..self.worker.limits() }
    }

    /// What local tokens are signed with; `None` where gateways verify with a public key only.
    #[must_use]
    pub fn signer(&self) -> Option<Signer> {
        let tokens = &self.gateway.tokens;
        let unless_empty = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Some(Signer {
            secret: tokens.jwt_secret.clone()?,
            user_claim: tokens.jwt_user_claim.clone(),
            service_scope: tokens.jwt_service_scope.clone(),
            issuer: unless_empty(&tokens.jwt_issuer),
            audience: unless_empty(&tokens.jwt_audience),
        })
    }

    /// What the chat page signs with: the secret that everybody knows, and never one that somebody has set.
    #[must_use]
    pub fn page_signing(&self) -> Option<page::Signing> {
        let Signer { secret, issuer, audience, user_claim: _, service_scope: _ } = self.signer()?;
        let known = secret.reveal() == DEV_SECRET;
        known.then_some(page::Signing { secret: DEV_SECRET, issuer, audience })
    }
}

impl Settings for Config {
    fn validate(&self) -> Result<(), BadSetting> {
        let furthest = (self.parts.gateways - 1) * PORT_STEP;
        for (setting, address) in [
            ("SIMURGH_LISTEN", self.addresses.listen),
            ("SIMURGH_INTERNAL_LISTEN", self.addresses.internal_listen),
        ] {
            if address.port().checked_add(furthest).is_none() {
                return Err(BadSetting::new(setting, "leaves no ports for so many gateways"));
            }
        }
        if self.parts.backplane == Backplane::Nats {
            self.nats.validate()?;
        }
        self.gateway.validate()
    }

    fn adjust(command: clap::Command) -> clap::Command {
        command
            .mut_arg("jwt_secret", |arg| {
                let elsewhere =
                    ["jwt_public_key", "jwks_url"].map(|key| (key, ArgPredicate::IsPresent, None));
                arg.default_value(DEV_SECRET).default_value_ifs(elsewhere)
            })
            // Everybody who tries it comes from one address.
            .mut_arg("rate_connects_per_address", |arg| arg.default_value("0"))
            .mut_arg("demo_page", |arg| arg.default_value("true"))
    }
}

#[cfg(test)]
mod tests {
    use simurgh_service::config::{Stop, help, parse_from};

    use super::*;

    fn parsed(args: &[&str]) -> Result<Config, Stop> {
        parse_from(std::iter::once("simurgh").chain(args.iter().copied()))
    }

    #[test]
    fn it_runs_without_settings_on_this_machine_only() {
        let config = parsed(&[]).unwrap();
        assert!(config.addresses.listen.ip().is_loopback());
        assert_eq!(config.signer().unwrap().secret.reveal(), DEV_SECRET);
        assert_eq!(config.gateway.rates.rate_connects_per_address.limit(), None);
        assert!(config.command.is_none() && !config.parts.ephemeral);
    }

    #[test]
    fn the_page_signs_with_the_secret_that_everybody_knows_and_with_no_other() {
        let config = parsed(&["--jwt-issuer", "me", "--jwt-audience", ""]).unwrap();
        assert!(config.gateway.demo.demo_page);
        let signing = config.page_signing().unwrap();
        assert_eq!(
            (signing.secret, signing.issuer.as_deref(), signing.audience),
            (DEV_SECRET, Some("me"), None)
        );
        let config = parsed(&["--jwt-secret", "mine", "--demo-page=false"]).unwrap();
        assert!(config.page_signing().is_none() && !config.gateway.demo.demo_page);
    }

    #[test]
    fn tokens_that_are_signed_elsewhere_are_not_signed_here() {
        let config = parsed(&["--jwks-url", "http://127.0.0.1:1/keys"]).unwrap();
        assert!(config.signer().is_none() && config.page_signing().is_none());
        let both = parsed(&["--jwks-url", "http://127.0.0.1:1/keys", "--jwt-secret", "x"]);
        assert!(matches!(both, Err(Stop::Bad(line)) if line.contains("SIMURGH_JWKS_URL")));
    }

    #[test]
    fn gateways_do_not_take_each_others_ports() {
        let config = parsed(&["--gateways", "3"]).unwrap();
        let mut ports: Vec<_> = (0..3)
            .map(|index| config.gateway_addresses(index))
            .flat_map(|(public, internal)| [public.port(), internal.port()])
            .chain([config.addresses.worker_listen.port()])
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, [4000, 4001, 4002, 4010, 4011, 4020, 4021]);
        assert!(matches!(parsed(&["--listen", "127.0.0.1:65535", "--gateways", "2"]), Err(Stop::Bad(_))));
        assert_eq!(parsed(&["--listen", "[::1]:0"]).unwrap().gateway_addresses(5).0.port(), 0);
    }

    #[test]
    fn switches_do_with_and_without_a_value() {
        for (args, ephemeral) in [
            (vec!["--ephemeral"], true),
            (vec!["--ephemeral=true"], true),
            (vec!["--ephemeral=false"], false),
        ] {
            assert_eq!(parsed(&args).unwrap().parts.ephemeral, ephemeral, "{args:?}");
        }
        assert!(parsed(&["--ephemeral", "token", "alice"]).unwrap().command.is_some());
    }

    #[test]
    fn a_token_is_for_a_user_with_a_usable_id() {
        let Some(Command::Token { user, service, ttl }) =
            parsed(&["token", "dave", "--service", "--ttl", "2m"]).unwrap().command
        else {
            panic!("no command");
        };
        assert_eq!((user.as_str(), service, ttl), ("dave", true, Duration::from_secs(120)));
        assert!(
            matches!(parsed(&["token", "a b"]), Err(Stop::Bad(line)) if line.contains("must be 1 to 64"))
        );
        assert!(matches!(parsed(&["token"]), Err(Stop::Bad(line)) if line.contains("<USER>")));
    }

    #[test]
    fn help_names_the_local_defaults() {
        let help = help::<Config>();
        for words in ["127.0.0.1:4000", "[default: dev-secret]", "SIMURGH_DATA_DIR", "token"] {
            assert!(help.contains(words), "{words}: {help}");
        }
    }
}
