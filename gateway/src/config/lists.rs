//! Settings that are lists.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// `SIMURGH_ALLOWED_ORIGINS`: the web pages that may connect. Empty, or with `*` in it: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// `*`.
    Any,
    /// `scheme://host` or `scheme://host:port`, in lower case.
    Exact(String),
    /// `scheme://*.domain…`: what stands before the star and after it.
    Below { scheme: String, suffix: String },
}

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is SCHEME://HOST or SCHEME://HOST:PORT, such as https://app.example.com or https://*.example.com"
)]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let text = text.to_ascii_lowercase();
        let (scheme, host) = text.split_once("://").ok_or(InvalidOrigin)?;
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*,".contains(&byte))
        };
        match host.strip_prefix('*') {
            Some(suffix) if plain(scheme) && suffix.starts_with('.') && plain(suffix) => {
                Ok(Self::Below { scheme: format!("{scheme}://"), suffix: suffix.to_owned() })
            }
            None if plain(scheme) && plain(host) => Ok(Self::Exact(text)),
            _ => Err(InvalidOrigin),
        }
    }
}

impl FromStr for Origins {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        items(text).map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Origins {
    /// Whether every page may connect.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.is_empty() || self.0.contains(&Origin::Any)
    }

    /// Whether a page of this origin (the value of a header `Origin`) may connect.
    #[must_use]
    pub fn permit(&self, origin: &[u8]) -> bool {
        if self.any() {
            return true;
        }
        let Ok(origin) = std::str::from_utf8(origin).map(str::to_ascii_lowercase) else { return false };
        self.0.iter().any(|permitted| match permitted {
            Origin::Any => true,
            Origin::Exact(exact) => *exact == origin,
            Origin::Below { scheme, suffix } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(suffix.as_str()))
                .is_some_and(|below| !below.is_empty() && !below.contains(['/', '@', ':'])),
        })
    }
}

/// `SIMURGH_TRUSTED_PROXIES`: networks whose word on a client's address is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a network is ADDRESS/LENGTH or one address, such as 10.0.0.0/8, fd00::/8 or 192.0.2.7")]
pub struct InvalidNetwork;

impl FromStr for Networks {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = |item: &str| {
            item.parse::<IpNet>()
                .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| InvalidNetwork)
        };
        items(text).map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl Networks {
    /// Whether the address is in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What stands between commas, without white space; an empty text has no items, so that a variable may be set to
/// nothing.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_permitted() {
        let origins: Origins =
            "https://app.example.com, http://localhost:3000,https://*.example.org".parse().unwrap();
        for permitted in [
            "https://app.example.com",
            "HTTPS://APP.example.com",
            "http://localhost:3000",
            "https://a.example.org",
            "https://a.b.example.org",
        ] {
            assert!(origins.permit(permitted.as_bytes()), "{permitted}");
        }
        for refused in [
            "http://app.example.com",
            "https://app.example.com.evil.test",
            "https://app.example.com:444",
            "http://localhost",
            "https://example.org",
            "https://.example.org",
            "https://evil.test/.example.org",
            "https://evil.test:1@x.example.org",
            "null",
            "",
        ] {
            assert!(!origins.permit(refused.as_bytes()), "{refused}");
        }
        assert!(!origins.permit(b"\xff"));
    }

    #[test]
    fn an_empty_list_and_a_star_permit_any_origin() {
        for text in ["", " , ", "*", "https://a.test,*"] {
            let origins: Origins = text.parse().unwrap();
            assert!(origins.any() && origins.permit(b"null"), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "example.com",
            "https://",
            "://x",
            "https://x/",
            "https://x/path",
            "https://a*.x",
            "https://*",
            "https://*x",
        ] {
            assert_eq!(text.parse::<Origins>(), Err(InvalidOrigin), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let networks: Networks = "10.0.0.0/8, fd00::/8,192.0.2.7".parse().unwrap();
        for (address, inside) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("::1", false),
        ] {
            assert_eq!(networks.contain(address.parse().unwrap()), inside, "{address}");
        }
        assert_eq!("".parse(), Ok(Networks::default()));
        for text in ["10.0.0.0/33", "proxy", "10.0.0.0/8;1.1.1.1"] {
            assert_eq!(text.parse::<Networks>(), Err(InvalidNetwork), "{text}");
        }
    }
}
