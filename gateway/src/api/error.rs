//! Refusals as HTTP answers: `{"error": {"reason", "message", …}}`.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use simurgh_protocol::{Reason, Refusal};

use crate::rates::whole_seconds;

/// A refusal on its way to an HTTP client.
#[derive(Debug)]
pub struct Error(pub Refusal);

impl Error {
    /// No such path.
    #[must_use]
    pub fn not_found() -> Self {
        Self(Refusal::new(Reason::NotFound, "no such call"))
    }

    /// The path has other methods.
    #[must_use]
    pub fn wrong_method() -> Response {
        let mut response = Self(Refusal::new(Reason::NotFound, "no such method here")).into_response();
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
    }

    /// 503; a new attempt may succeed after `wait`.
    #[must_use]
    pub fn unavailable(message: &str, wait: Duration) -> Self {
        Self(Refusal::unavailable(message).with("retry_after", whole_seconds(wait)))
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a Refusal,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Error {
    /// The status is the reason's. 429 and 503 say when to try again, in one second where nobody knows better.
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        let status =
            StatusCode::from_u16(refusal.reason.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = refusal.details.get("retry_after").and_then(Value::as_u64).unwrap_or(1);
        let mut response = (status, Json(Body { error: &refusal })).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
