//! The types that settings have.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// A text that is never shown: `Debug` and `Display` write `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. What takes it must not show it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

/// A rate that is held by a token bucket: `per second:burst`; `0` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Option<RateLimit>);

/// The two figures of a [`Rate`] that is not off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many a second, in the long run.
    pub per_second: NonZeroU32,
    /// How many at once after a quiet time.
    pub burst: NonZeroU32,
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// `per_second` in the long run and `burst` at once; no limit where either is 0.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        match (NonZeroU32::new(per_second), NonZeroU32::new(burst)) {
            (Some(per_second), Some(burst)) => Self(Some(RateLimit { per_second, burst })),
            _ => Self::OFF,
        }
    }

    /// The limit; `None` when it is off.
    #[must_use]
    pub const fn limit(self) -> Option<RateLimit> {
        self.0
    }
}

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is PER_SECOND:BURST, two numbers from 1 on such as 20:60, or 0 for no limit")]
pub struct InvalidRate;

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0" {
            return Ok(Self::OFF);
        }
        let (per_second, burst) = text.split_once(':').ok_or(InvalidRate)?;
        let number = |text: &str| text.parse::<NonZeroU32>().map_err(|_| InvalidRate);
        Ok(Self(Some(RateLimit { per_second: number(per_second)?, burst: number(burst)? })))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{}:{}", limit.per_second, limit.burst),
            None => f.write_str("0"),
        }
    }
}

/// A length of time such as `10s`, `1m 30s`, `200ms` or `0`: a clap value parser.
///
/// # Errors
/// A sentence for people.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error} (such as 10s, 1m 30s or 200ms)"))
}

/// `true` or `false`: the value parser of a switch, which is best declared
/// `#[arg(long, env = …, value_parser = switch, num_args = 0..=1, default_missing_value = "true", default_value = "false")]`
/// so that both `--ephemeral` and `SIMURGH_EPHEMERAL=true` do.
///
/// # Errors
/// A sentence for people.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_as_they_are_written() {
        for text in ["20:60", "1:1", "0", "5000:4294967295"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        assert_eq!("20:60".parse(), Ok(Rate::new(20, 60)));
        assert_eq!("0".parse(), Ok(Rate::OFF));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "20", "0:5", "5:0", ":", "-1:2", "20:60:1", "20: 60", "4294967296:1"] {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate), "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(duration("10").is_err());
        assert!(duration("-1s").is_err());
    }
}
