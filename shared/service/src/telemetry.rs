//! Logs. They go to stderr; stdout is for what a person asked for.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogArgs, LogFormat};

/// What the backplane says itself, and better. A filter may ask for it all the same.
const QUIET: &str = "async_nats=warn";

/// Turns logs on for the whole process. The first call counts; a later one does nothing.
pub fn init(args: &LogArgs) {
    // The filter was checked when the settings were parsed.
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET},{}", args.log));
    let terminal = io::stderr().is_terminal();
    let format = args.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let registry = tracing_subscriber::registry().with(filter);
    let outcome = match format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(io::stderr).with_ansi(terminal)).try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
        }
    };
    if outcome.is_err() {
        tracing::debug!("logs were on already");
    }
}
