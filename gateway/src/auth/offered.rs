//! The ways a token reaches a socket and a call (contract section 2).

use http::{HeaderMap, header};
use simurgh_protocol::subprotocol::Subprotocols;

/// What an upgrade request offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// The token. Where there are several, the query's counts, then that of `Authorization`, then the subprotocol's.
    pub token: Option<String>,
    /// The version of the serializer (`vsn`); absent is not the same as empty.
    pub vsn: Option<String>,
    /// Whether the subprotocol `phoenix` is offered, which a browser then wants to see answered.
    pub phoenix: bool,
}

/// What these headers and this query offer. Of parameters that come twice the last one counts, as in Phoenix.
#[must_use]
pub fn offered(headers: &HeaderMap, query: &str) -> Offered {
    let mut offered = Offered::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "token" => offered.token = Some(value.into_owned()),
            "vsn" => offered.vsn = Some(value.into_owned()),
            _ => {}
        }
    }
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let subprotocols = Subprotocols::read(values.filter_map(|value| value.to_str().ok()));
    offered.phoenix = subprotocols.phoenix;
    offered.token = offered
        .token
        .filter(|token| !token.is_empty())
        .or_else(|| bearer(headers).map(str::to_owned))
        .or(subprotocols.token);
    offered
}

/// The token of `Authorization: Bearer`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
    };
    use simurgh_protocol::{limits::TOKEN_BYTES, subprotocol::TOKEN_PREFIX};

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_comes_by_query_header_or_subprotocol() {
        let by_query = offered(&HeaderMap::new(), "vsn=2.0.0&token=a%2Bb+c");
        assert_eq!(by_query.token.as_deref(), Some("a+b c"));
        assert_eq!(by_query.vsn.as_deref(), Some("2.0.0"));
        assert!(!by_query.phoenix);

        let by_header = offered(&headers(&[(header::AUTHORIZATION, "bearer  abc ")]), "");
        assert_eq!(by_header.token.as_deref(), Some("abc"));
        assert_eq!(by_header.vsn, None);

        // The bytes need both letters in which the alphabets differ, and padding.
        let token = "a?>~é~~bc";
        let encodings =
            [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD].map(|engine| engine.encode(token));
        assert_eq!(encodings.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{encodings:?}");
        for encoding in encodings {
            let value = format!("phoenix, {TOKEN_PREFIX}{encoding}");
            let by_subprotocol = offered(&headers(&[(header::SEC_WEBSOCKET_PROTOCOL, &value)]), "");
            assert_eq!(by_subprotocol.token.as_deref(), Some(token), "{value}");
            assert!(by_subprotocol.phoenix);
        }
    }

    #[test]
    fn the_last_parameter_counts_and_the_query_before_the_header() {
        let headers = headers(&[(header::AUTHORIZATION, "Bearer other")]);
        assert_eq!(offered(&headers, "token=1&token=2").token.as_deref(), Some("2"));
        assert_eq!(offered(&headers, "token=").token.as_deref(), Some("other"));
        assert_eq!(offered(&headers, "vsn=1&vsn=").vsn.as_deref(), Some(""));
    }

    #[test]
    fn subprotocols_may_come_in_several_headers_and_others_are_ignored() {
        let several = headers(&[
            (header::SEC_WEBSOCKET_PROTOCOL, "foo, bar"),
            (header::SEC_WEBSOCKET_PROTOCOL, "phoenix"),
        ]);
        assert_eq!(offered(&several, ""), Offered { phoenix: true, ..Offered::default() });
        let foreign = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, "foo, phoenixes")]);
        assert_eq!(offered(&foreign, ""), Offered::default());
    }

    #[test]
    fn junk_is_no_token() {
        for value in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, value)])), None, "{value}");
        }
        let huge = "A".repeat(TOKEN_BYTES * 2);
        for encoding in ["%%%", "/w", &huge] {
            let value = format!("{TOKEN_PREFIX}{encoding}");
            assert_eq!(
                offered(&headers(&[(header::SEC_WEBSOCKET_PROTOCOL, &value)]), "").token,
                None,
                "{encoding}"
            );
        }
    }
}
