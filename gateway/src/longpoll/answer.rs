//! The answers: JSON whose `status` is what counts for clients. The HTTP status is 200 wherever the client is to go on
//! as it would with Phoenix.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use simurgh_protocol::longpoll::SessionToken;

use crate::{api::Error, upgrade::Refused};

/// `{"status": 200, "token", "messages"}`: these messages, and a token that says that they were seen.
pub(super) fn messages(token: &SessionToken, number: u64, messages: &Bytes) -> Response {
    let token = SessionToken { seen: Some(number), ..token.clone() };
    // A token holds nothing that JSON would escape.
    let head = format!(r#"{{"status":200,"token":"{}","messages":"#, token.reveal());
    let body = [head.as_bytes(), messages, b"}"].concat();
    with_body(StatusCode::OK, body)
}

/// Without messages: 204 where nothing happened, 410 with the token of a new session.
pub(super) fn session(status: u16, token: &SessionToken) -> Response {
    let body = json!({"status": status, "token": token.reveal(), "messages": []});
    with_body(StatusCode::OK, body.to_string().into_bytes())
}

/// Nothing but a status. To clients of phoenix.js, 500 says to begin again, as soon as their back-off lets them, and
/// 403 that they may not.
pub(super) fn status(status: u16) -> Response {
    with_body(StatusCode::OK, json!({"status": status}).to_string().into_bytes())
}

/// The same, where the HTTP status has to say it, too.
pub(super) fn failure(http: StatusCode) -> Response {
    with_body(http, json!({"status": http.as_u16()}).to_string().into_bytes())
}

/// No new session. phoenix.js stops for ever at a status that it does not know, so those who are to come back are told
/// 500 in the body.
pub(super) fn refused(refused: &Refused) -> Response {
    let Some(refusal) = refused.refusal() else { return status(403) };
    let body = json!({"status": 500, "error": refusal});
    let told = Error(refusal).into_response();
    let mut response = with_body(told.status(), body.to_string().into_bytes());
    if let Some(retry_after) = told.headers().get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after.clone());
    }
    response
}

/// What a browser asks before a request with headers of its own.
pub(super) fn preflight(headers: &HeaderMap) -> Response {
    let mut response = empty(StatusCode::OK);
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let own = response.headers_mut();
    own.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        asked.cloned().unwrap_or_else(|| HeaderValue::from_static("")),
    );
    own.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    own.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

/// No body: for methods that nobody uses.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    readable(&mut response);
    response
}

fn with_body(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    readable(&mut response);
    response
}

/// Readable for every page, as from Phoenix: a page that may not connect is told so by a status that it can read. The
/// token proves who asks, and no cookie does.
fn readable(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let never = HeaderValue::from_static("max-age=0, private, must-revalidate");
    headers.insert(header::CACHE_CONTROL, never);
}
