//! What every binary needs around its work: settings, logs, readiness, listeners, the admin routes and shutdown.
//! It knows nothing of frames or rules.
//!
//! A `main` reads: [`config::parse`] → [`telemetry::init`] → [`bind::bind`] → run → [`shutdown::on_signals`] → drain →
//! [`exit_code`].

pub mod admin;
pub mod bind;
pub mod config;
pub mod connections;
pub mod http;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

use std::{
    io::{self, Write},
    process::ExitCode,
};

pub use config::{BadSetting, LogArgs, NatsArgs, Rate, Secret, Settings};
pub use connections::{Connections, MemoryConnections, MemoryConnector, TcpConnections};
pub use readiness::{PartHandle, Readiness};

/// The code of a process that was told something it cannot use (`EX_USAGE`).
pub const EXIT_BAD_SETTING: u8 = 64;

/// How a `main` ends: 0, or one line on stderr with the error and its causes, and 1 (64 where it is a [`BadSetting`]).
#[must_use]
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&format!("{error:#}")));
            if error.is::<BadSetting>() { ExitCode::from(EXIT_BAD_SETTING) } else { ExitCode::FAILURE }
        }
    }
}

/// Writes to stdout what a person asked for. Where nobody reads it (a closed pipe), nothing is amiss.
pub fn tell(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// `text` with every run of white space, line ends included, as one space.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
