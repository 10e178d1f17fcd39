//! Where a client is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

use crate::config::Networks;

/// The header that proxies append the address of their peer to.
pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";

/// The rightmost address of `X-Forwarded-For` that no trusted proxy has. Behind `peer`, which is trusted: each trusted
/// hop vouches for the address to the left of its own, and what is left of the first untrusted one may be forged.
pub(super) fn forwarded(peer: IpAddr, headers: &HeaderMap, proxies: &Networks) -> IpAddr {
    let values: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let mut client = peer;
    for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Some(address) = parsed(entry.trim()) else { break };
        client = address;
        if !proxies.contain(client) {
            break;
        }
    }
    client
}

/// An address, as some proxies write it with its port.
fn parsed(entry: &str) -> Option<IpAddr> {
    let bracketed = |entry: &str| entry.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    entry
        .parse::<IpAddr>()
        .ok()
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| bracketed(entry))
        .map(|address| address.to_canonical())
}

/// What counts as one address: an IPv6 client has a network of 64 bits to itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
