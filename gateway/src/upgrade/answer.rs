//! The answers to an upgrade request.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use simurgh_protocol::{Reason, Refusal};

use super::Opening;
use crate::api::Error;

/// Why a request does not become a socket.
#[derive(Debug)]
pub(super) enum Refused {
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

pub(super) fn refused(refused: &Refused) -> Response {
    match refused {
        Refused::Forbidden => empty(StatusCode::FORBIDDEN),
        Refused::NoUpgrade => empty(StatusCode::BAD_REQUEST),
        Refused::Header(text) => {
            let mut response = Response::new(Body::from(text.clone()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
        Refused::TooManySockets => {
            let refusal = Refusal::new(Reason::RateLimitExceeded, "too many sockets of this user");
            Error(refusal.with("retry_after", 1)).into_response()
        }
        Refused::Unavailable(wait) => Error::unavailable("no new sockets now", *wait).into_response(),
    }
}

/// The 101. It names a subprotocol only where `phoenix` was offered, and no extension ever (as Phoenix).
pub(super) fn switching(opening: &Opening) -> Response {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    // Base64 is always a header's value.
    if let Ok(accept) = HeaderValue::from_str(&opening.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if opening.phoenix {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("phoenix"));
    }
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
