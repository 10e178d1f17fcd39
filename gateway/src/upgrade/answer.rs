//! The answers to an upgrade request.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use simurgh_protocol::{Reason, Refusal};

use crate::api::Error;

/// Why a request does not become a socket, or a long-poll session.
#[derive(Debug)]
pub enum Refused {
    /// A foreign origin, an unknown `vsn`, a bad token, or a token that may not open sockets: 403 without a word, so
    /// that nobody learns which.
    Forbidden,
    /// Not a request that could be upgraded at all: 400.
    NoUpgrade,
    /// A header of RFC 6455 is not as it must be: 400 and this text.
    Header(String),
    /// One socket more than the user may have: 429.
    TooManySockets,
    /// Not ready, too many at once, or full: 503, and when to try again.
    Unavailable(Duration),
}

impl Refused {
    /// A label of metrics.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::NoUpgrade | Self::Header(_) => "bad_request",
            Self::TooManySockets => "too_many_sockets",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// What is told of it where there is something to tell.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Forbidden | Self::NoUpgrade | Self::Header(_) => None,
            Self::TooManySockets => Some(
                Refusal::new(Reason::RateLimitExceeded, "too many sockets of this user")
                    .with("retry_after", 1),
            ),
            Self::Unavailable(wait) => Some(Error::unavailable("no new sockets now", *wait).0),
        }
    }
}

pub(super) fn refused(refused: &Refused) -> Response {
    if let Some(refusal) = refused.refusal() {
        let mut response = Error(refusal).into_response();
        // In a storm the connection's place is for who comes next.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    match refused {
        Refused::Forbidden => empty(StatusCode::FORBIDDEN),
        Refused::Header(text) => {
            let mut response = Response::new(Body::from(text.clone()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
        _ => empty(StatusCode::BAD_REQUEST),
    }
}

/// The 101. It names a subprotocol only where `phoenix` was offered, and no extension ever (as Phoenix).
pub(super) fn switching(accept: &str, phoenix: bool) -> Response {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    // Base64 is always a header's value.
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if phoenix {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("phoenix"));
    }
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
