//! The stream of what users missed who were not connected: one for each namespace, kept on disk, for push services to
//! consume. The other subjects and keys of a backplane are about now; what is here waits for whoever takes it later.

use std::time::Duration;

/// How long a name is remembered: what is given again under it within this time is not kept again. Workers repeat
/// nothing that was sent longer ago. A server holds the names of so long in memory.
pub const REMEMBERED: Duration = Duration::from_secs(6 * 60);

/// The bounds of the stream; beyond each of them the oldest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineLimits {
    /// How long an entry stays; not shorter than [`REMEMBERED`].
    pub max_age: Duration,
    /// Bytes of all entries together.
    pub max_bytes: u64,
    /// Entries of one user.
    pub max_per_user: u32,
}

impl Default for OfflineLimits {
    fn default() -> Self {
        Self { max_age: Duration::from_hours(24), max_bytes: 256 * 1024 * 1024, max_per_user: 100 }
    }
}
