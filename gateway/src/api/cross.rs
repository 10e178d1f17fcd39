//! What all calls share: CORS for browsers, request ids, and traces.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use simurgh_backplane::{Trace, trace};
use simurgh_env::Env;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::Shared;

/// Names a request in logs and answers; a caller may bring its own.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a request id that a caller brings.
const REQUEST_ID_CHARS: usize = 128;

/// How long a browser may go on without asking again whether it may call.
const PREFLIGHT: Duration = Duration::from_secs(7_200);

/// Methods that calls have.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The calls of a listener that only the deployment's own programs reach, where it is `internal`.
pub(super) fn layered(router: Router, shared: &Arc<Shared>, internal: bool) -> Router {
    let origins = shared.settings.access.allowed_origins.clone();
    let permitted = if origins.any() {
        AllowOrigin::any()
    } else {
        AllowOrigin::predicate(move |origin, _| origins.permit(origin.as_bytes()))
    };
    let cors = CorsLayer::new()
        .allow_origin(permitted)
        .allow_methods(METHODS)
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([header::RETRY_AFTER, REQUEST_ID])
        .max_age(PREFLIGHT);
    router.layer(from_fn_with_state((shared.env.clone(), internal), named_and_traced)).layer(cors)
}

/// The trace that a request is a part of where it comes from.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<Trace> {
    headers.get(trace::HEADER).and_then(|value| Trace::of_header(value.as_bytes()))
}

async fn named_and_traced(
    State((env, internal)): State<(Env, bool)>,
    request: Request,
    next: Next,
) -> Response {
    let brought = request.headers().get(&REQUEST_ID).filter(|id| usable(id)).cloned();
    let id = brought.or_else(|| HeaderValue::try_from(env.uuid().to_string()).ok());
    let name = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", id = name, method = %request.method());
    let call = span.in_scope(|| call_span(&request, internal));
    let mut response = next.run(request).instrument(call.clone()).instrument(span).await;
    call.record("http.response.status_code", i64::from(response.status().as_u16()));
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn call_span(request: &Request, internal: bool) -> Span {
    trace::called(
        internal,
        || trace_of(request.headers()),
        || {
            // Only words of ours: methods and paths may be anything.
            let method = METHODS.iter().find(|method| *method == request.method());
            info_span!(
                target: trace::TARGET,
                "call",
                otel.kind = "server",
                http.request.method = method.map_or("_OTHER", Method::as_str),
                http.route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
                http.response.status_code = Empty,
            )
        },
    )
}

/// Only what can stand in a log as it is.
fn usable(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=REQUEST_ID_CHARS).contains(&id.len()) && id.as_bytes().iter().all(plain)
}
