//! A session's token: which process holds it, and a secret that nobody can guess.
//!
//! `lp~PROCESS~SECRET`, and after the first messages `~NUMBER`, the last ones that its bearer got. It travels in the
//! parameter `token`, where clients put their JWT, too; a JWT never holds a `~`.

use std::fmt;

/// What every token begins with.
const PREFIX: &str = "lp~";

/// Characters of a process' name, digits and small letters.
const PROCESS_CHARS: usize = 13;

/// A session's secret: who knows it, may use the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(u128);

/// The token of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionToken {
    /// The process that holds the session.
    pub process: String,
    /// Which session.
    pub secret: Secret,
    /// The messages that its bearer got last.
    pub seen: Option<u64>,
}

impl Secret {
    /// The secret of these bits.
    #[must_use]
    pub fn new(bits: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bits))
    }

    /// Reads one, as [`Self::reveal`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u128::from_str_radix(text, 16).ok().filter(|_| digits).map(Self)
    }

    /// Its text, which belongs into the client's token and nowhere else.
    #[must_use]
    pub fn reveal(self) -> String {
        format!("{:032x}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl SessionToken {
    /// Whether a text is meant as a session's token, and not as a JWT.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads one; `None` where it is none that a gateway made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('~');
        let process = parts.next()?;
        let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        if process.len() != PROCESS_CHARS || !process.bytes().all(plain) {
            return None;
        }
        let secret = Secret::parse(parts.next()?)?;
        let seen = match parts.next() {
            None => None,
            // `parse` alone would take a sign.
            Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => Some(number.parse().ok()?),
            Some(_) => return None,
        };
        parts.next().is_none().then(|| Self { process: process.to_owned(), secret, seen })
    }

    /// The token as the client gets it.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut text = format!("{PREFIX}{}~{}", self.process, self.secret.reveal());
        if let Some(seen) = self.seen {
            text.push('~');
            text.push_str(&seen.to_string());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_reads_back_and_needs_no_escaping_in_a_url() {
        for seen in [None, Some(0), Some(u64::MAX)] {
            let token =
                SessionToken { process: "0123456789abc".to_owned(), secret: Secret::new([0xa5; 16]), seen };
            let text = token.reveal();
            assert_eq!(SessionToken::parse(&text), Some(token));
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'~'), "{text}");
        }
    }

    #[test]
    fn what_no_gateway_made_is_no_token() {
        let good = "lp~0123456789abc~a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";
        assert!(SessionToken::parse(good).is_some());
        for bad in [
            "",
            "lp~",
            "lp~~",
            "nope",
            "a.b.c",
            &good[..good.len() - 1],
            &good.to_uppercase(),
            &good.replace("abc", "a.c"),
            &good.replace("abc", "ab*"),
            &good.replace("a5a5a", "+5a5a"),
            &format!("{good}~"),
            &format!("{good}~x"),
            &format!("{good}~-1"),
            &format!("{good}~+1"),
            &format!("{good}~1~"),
            &format!("{good}~99999999999999999999"),
            &format!(" {good}"),
        ] {
            assert_eq!(SessionToken::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new([7; 16])), "…");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_takes_only_what_it_writes(text in "(lp~)?.{0,60}") {
            if let Some(token) = SessionToken::parse(&text) {
                prop_assert_eq!(SessionToken::parse(&token.reveal()), Some(token));
            }
        }
    }
}
