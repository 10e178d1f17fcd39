//! What a long-poll request says of itself.

use http::{HeaderMap, HeaderName, header};
use simurgh_protocol::longpoll::SessionToken;

use crate::auth::{Offered, bearer};

/// Where phoenix.js puts its `authToken`, having no subprotocols here.
pub(super) const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-phoenix-authtoken");

/// The content type of posts that are a frame a line.
const NDJSON: &str = "application/x-ndjson";

/// Which session is asked for, and what a new one would be opened with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The session's token, and whether it is one that a gateway made.
    pub session: Option<Option<SessionToken>>,
    /// What an upgrade request would offer.
    pub offered: Offered,
}

/// What these headers and this query say. The session's token and the JWT both are called `token`, and may come
/// together, in any order; of several of a kind the last counts. What phoenix.js writes for no token is none.
pub(super) fn asked(headers: &HeaderMap, query: &str) -> Asked {
    let mut asked = Asked { session: None, offered: Offered::default() };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "token" if SessionToken::is_meant(&value) => asked.session = Some(SessionToken::parse(&value)),
            "token" if matches!(&*value, "" | "null" | "undefined") => {}
            "token" => asked.offered.token = Some(value.into_owned()),
            "vsn" => asked.offered.vsn = Some(value.into_owned()),
            _ => {}
        }
    }
    let by_header = || headers.get(AUTH_TOKEN).and_then(|value| value.to_str().ok());
    asked.offered.token =
        asked.offered.token.or_else(|| bearer(headers).or_else(by_header).map(str::to_owned));
    asked
}

/// Whether the request's body is a frame a line.
pub(super) fn is_lines(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(NDJSON))
}

/// Whether a poll comes from phoenix.js before 1.8: it takes any 410 for its first answer, and would go on with
/// channels that nobody holds. It alone gives a poll, which has no body, a content type.
pub(super) fn is_old_client(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "lp~0123456789abc~a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5";

    #[test]
    fn the_session_and_the_jwt_are_told_apart_in_any_order() {
        let none = HeaderMap::new();
        for (query, session, token) in [
            ("token=a.b.c&vsn=2.0.0".to_owned(), false, Some("a.b.c")),
            (format!("token=a.b.c&token={SESSION}"), true, Some("a.b.c")),
            (format!("token={SESSION}&token=a.b.c"), true, Some("a.b.c")),
            (format!("token={SESSION}"), true, None),
            ("token=a.b.c&token=undefined".to_owned(), false, Some("a.b.c")),
            ("token=a.b.c&token=null&token=".to_owned(), false, Some("a.b.c")),
            ("token=nope".to_owned(), false, Some("nope")),
        ] {
            let asked = asked(&none, &query);
            assert_eq!(asked.session.is_some(), session, "{query}");
            assert_eq!(asked.offered.token.as_deref(), token, "{query}");
        }
        assert_eq!(asked(&none, "token=lp~junk").session, Some(None));
    }

    #[test]
    fn a_token_may_come_by_a_header() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTH_TOKEN, "by.phoenix.js".parse().unwrap());
        assert_eq!(asked(&headers, "token=undefined").offered.token.as_deref(), Some("by.phoenix.js"));
        headers.insert(header::AUTHORIZATION, "Bearer by.bearer".parse().unwrap());
        assert_eq!(asked(&headers, "").offered.token.as_deref(), Some("by.bearer"));
        assert_eq!(asked(&headers, "token=q").offered.token.as_deref(), Some("q"));
    }

    #[test]
    fn ndjson_is_told_by_its_content_type() {
        for (value, lines) in [
            ("application/x-ndjson", true),
            ("Application/X-NDJSON; charset=utf-8", true),
            ("application/json", false),
            ("text/plain", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(is_lines(&headers), lines, "{value}");
        }
        assert!(!is_lines(&HeaderMap::new()));
    }
}
