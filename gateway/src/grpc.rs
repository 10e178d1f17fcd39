//! The gRPC API `simurgh.v1.Messaging` (contract section 4): the calls of the HTTP API for services, and streams of what
//! happens. As there, it holds no rule: workers decide who may do what.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use simurgh_backplane::trace;
use simurgh_rpc::{
    DESCRIPTORS,
    v1::messaging_server::{MessagingServer, SERVICE_NAME},
};
use tonic::{Status, codegen::Service, server::NamedService};
use tonic_reflection::server::{Builder, Error};
use tracing::{Instrument as _, field::Empty, info_span};

mod bodies;
mod caller;
mod ends;
mod event;
mod health;
mod messaging;
mod status;
mod subscription;

use crate::{Shared, api};

/// What of a message beside its JSON may be protobuf's: names, and numbers in eight bytes. Larger ones are not decoded;
/// those that are have the bounds of the HTTP API.
const OVERHEAD: usize = 4;

/// The services as the internal listener serves them. Health and reflection want no token.
pub fn routes(shared: &Arc<Shared>) -> Router {
    let messaging = MessagingServer::new(messaging::Messaging::new(Arc::clone(shared)))
        .max_decoding_message_size(shared.settings.bounds.max_frame_bytes.saturating_mul(OVERHEAD));
    let (reporter, health) = tonic_health::server::health_reporter();
    shared.tasks.spawn(health::follow(Arc::clone(shared), reporter));
    let methods = Arc::new(simurgh_rpc::methods());
    let traced = mount(Router::new(), messaging).route_layer(from_fn_with_state(methods, traced));
    let router = mount(traced, health);
    reflected(router.clone()).unwrap_or_else(|error| {
        tracing::error!(%error, "reflection is not served: a fault of this build, report it");
        router
    })
}

/// Every call is in a trace: its caller's, since only the internal listener serves this, or its own.
async fn traced(State(methods): State<Arc<BTreeSet<String>>>, request: Request, next: Next) -> Response {
    let span = trace::called(
        true,
        || api::trace_of(request.headers()),
        || {
            // Only names of ours: what else is in a path may be anything.
            let method = request.uri().path().rsplit('/').next().and_then(|name| methods.get(name));
            info_span!(
                target: trace::TARGET,
                "call",
                otel.kind = "server",
                rpc.system = "grpc",
                rpc.method = method.map(String::as_str),
                rpc.grpc.status_code = Empty,
            )
        },
    );
    let response = next.run(request).instrument(span.clone()).await;
    // What succeeds, and what fails once a stream stands, says so behind its messages.
    if let Some(status) = Status::from_header_map(response.headers()) {
        span.record("rpc.grpc.status_code", status.code() as i32);
    }
    response
}

fn reflected(router: Router) -> Result<Router, Error> {
    let about = || {
        Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS).with_service_name(SERVICE_NAME)
    };
    Ok(mount(mount(router, about().build_v1()?), about().build_v1alpha()?))
}

fn mount<S>(router: Router, service: S) -> Router
where
    S: Service<http::Request<Body>, Response = http::Response<tonic::body::Body>, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*call}}", S::NAME), service)
}

#[cfg(test)]
mod tests;
