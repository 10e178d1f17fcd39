//! What all calls share: CORS for browsers, and request ids.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{HeaderName, HeaderValue, Method, header};
use simurgh_env::Env;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;

use crate::Shared;

/// Names a request in logs and answers; a caller may bring its own.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a request id that a caller brings.
const REQUEST_ID_CHARS: usize = 128;

/// How long a browser may go on without asking again whether it may call.
const PREFLIGHT: Duration = Duration::from_secs(7_200);

pub(super) fn layered(router: Router, shared: &Arc<Shared>) -> Router {
    let origins = shared.settings.access.allowed_origins.clone();
    let permitted = if origins.any() {
        AllowOrigin::any()
    } else {
        AllowOrigin::predicate(move |origin, _| origins.permit(origin.as_bytes()))
    };
    let cors = CorsLayer::new()
        .allow_origin(permitted)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([header::RETRY_AFTER, REQUEST_ID])
        .max_age(PREFLIGHT);
    router.layer(from_fn_with_state(shared.env.clone(), with_request_id)).layer(cors)
}

async fn with_request_id(State(env): State<Env>, request: Request, next: Next) -> Response {
    let brought = request.headers().get(&REQUEST_ID).filter(|id| usable(id)).cloned();
    let id = brought.or_else(|| HeaderValue::try_from(env.uuid().to_string()).ok());
    let name = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", id = name, method = %request.method());
    let mut response = next.run(request).instrument(span).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Only what can stand in a log as it is.
fn usable(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=REQUEST_ID_CHARS).contains(&id.len()) && id.as_bytes().iter().all(plain)
}
