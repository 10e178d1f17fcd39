//! What operators and balancers ask: `/healthz` and `/readyz`.

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};

use crate::readiness::{Readiness, Status};

/// `/healthz`: 200 while the process lives. `/readyz`: 200 when it can serve, else 503; both times with a
/// [`crate::readiness::Report`] as JSON.
pub fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { Json(serde_json::json!({"status": "alive"})) }))
        .route("/readyz", get(readyz))
        .with_state(readiness)
}

async fn readyz(State(readiness): State<Readiness>) -> impl IntoResponse {
    let report = readiness.report();
    let code = match report.status {
        Status::Ready => StatusCode::OK,
        Status::Unready | Status::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(report))
}
