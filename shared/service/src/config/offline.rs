//! Settings of the stream of what users missed: gateways make it, workers write it.

use std::time::Duration;

use clap::{Args, ValueEnum};
use simurgh_backplane::{OfflineLimits, offline::REMEMBERED};

use super::{BadSetting, duration};

/// Which messages to users without a live socket are told to push services, and within which bounds.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What users missed")]
pub struct OfflineArgs {
    /// What the stream NAMESPACE_offline holds of messages to users without a live socket
    #[arg(long, env = "SIMURGH_OFFLINE_STREAM", value_name = "WHAT", default_value = "ids")]
    pub offline_stream: OfflineStream,

    /// How long it is kept there; 6m at least
    #[arg(long, env = "SIMURGH_OFFLINE_MAX_AGE", value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub offline_max_age: Duration,

    /// Bytes of all of it; beyond, the oldest goes
    #[arg(
        long,
        env = "SIMURGH_OFFLINE_MAX_BYTES",
        value_name = "BYTES",
        default_value_t = OfflineLimits::default().max_bytes,
        value_parser = clap::value_parser!(u64).range(1024 * 1024..=1024 * 1024 * 1024 * 1024)
    )]
    pub offline_max_bytes: u64,

    /// Messages of one user; beyond, the oldest goes
    #[arg(
        long,
        env = "SIMURGH_OFFLINE_MAX_PER_USER",
        value_name = "COUNT",
        default_value_t = OfflineLimits::default().max_per_user,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub offline_max_per_user: u32,
}

/// What an entry of the stream holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OfflineStream {
    /// There is no stream.
    Off,
    /// Who missed which message, and nothing of what it says.
    #[default]
    Ids,
    /// What it says, too, where that is short.
    Content,
}

impl OfflineArgs {
    /// What the fields' parsers do not see.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), BadSetting> {
        if self.offline_max_age < REMEMBERED {
            return Err(BadSetting::new("SIMURGH_OFFLINE_MAX_AGE", "must be 6m or longer"));
        }
        Ok(())
    }

    /// The stream's bounds; none where there is to be none.
    #[must_use]
    pub fn limits(&self) -> Option<OfflineLimits> {
        (self.offline_stream != OfflineStream::Off).then_some(OfflineLimits {
            max_age: self.offline_max_age,
            max_bytes: self.offline_max_bytes,
            max_per_user: self.offline_max_per_user,
        })
    }
}
