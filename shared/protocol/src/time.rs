//! Points in time as the contract writes them: RFC 3339, UTC, milliseconds.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 9999-12-31T23:59:59.999Z, the last moment RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

/// A wall-clock time in whole milliseconds since 1970. In JSON: `"2026-11-22T07:39:07.036Z"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since 1970; later than the year 9999 becomes its end.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(if ms > LAST_MS { LAST_MS } else { ms })
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// This time and `duration` more.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(LAST_MS);
        Self::from_millis(self.0.saturating_add(ms))
    }

    /// How long from `earlier` to this time; zero when it is not later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0)).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(de::Error::custom)?;
        let since_1970 = time.duration_since(UNIX_EPOCH).map_err(de::Error::custom)?;
        Ok(Self::from_millis(u64::try_from(since_1970.as_millis()).map_err(de::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn is_written_in_utc_with_milliseconds() {
        let time = Timestamp::from_millis(1_795_333_147_036);
        assert_eq!(serde_json::to_string(&time).unwrap(), r#""2026-11-22T07:39:07.036Z""#);
        assert_eq!(serde_json::from_str::<Timestamp>(r#""2026-11-22T07:39:07.036Z""#).unwrap(), time);
    }

    #[test]
    fn the_far_future_does_not_panic() {
        assert_eq!(Timestamp::from_millis(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
