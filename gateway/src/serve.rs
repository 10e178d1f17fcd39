//! The two listeners: clients' sockets and calls on the public one, services' calls and operators' questions on the
//! other.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::any};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use simurgh_service::{
    Connections, admin,
    http::{self, HttpLimits},
    metrics,
};
use tokio_util::sync::CancellationToken;

use crate::{Shared, api, grpc, longpoll::serve::longpoll, page, upgrade::upgrade, workers};

/// Bytes of a request's head: a token of the longest kind in base64, and what is around it.
const HEAD_BYTES: usize = 32 * 1024;

/// How long the head of the first or the next request may take to arrive.
const HEADER_READ: Duration = Duration::from_secs(10);

/// Open files that are neither a client's connection nor a socket: the backplane, listeners, logs.
const OTHER_FILES: usize = 64;

/// The most connections that are no sockets (yet). Room for two seconds of held upgrades at the default rate; where few
/// files may be open, sockets have nine in ten of them and fewer upgrades are held.
const MAX_CONNECTIONS: usize = 8_192;

/// Connections of services and operators.
const INTERNAL_CONNECTIONS: usize = 1_024;

/// What the process can hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sockets: what [`crate::admission::Admission::new`] is given.
    pub sockets: usize,
    /// Connections of the public listener that are no sockets; further ones wait in the kernel.
    pub connections: usize,
    /// The same of the internal listener.
    pub internal: usize,
}

impl Capacity {
    /// What fits into so many open files, at least a handful of each.
    #[must_use]
    pub fn of_files(files: usize) -> Self {
        let files = files.saturating_sub(OTHER_FILES);
        let internal = (files / 32).clamp(16, INTERNAL_CONNECTIONS);
        let connections = (files / 16).clamp(16, MAX_CONNECTIONS);
        Self { sockets: files.saturating_sub(connections + internal).max(16), connections, internal }
    }

    /// Long-poll sessions: each polls on a connection of its own.
    #[must_use]
    pub const fn long_polls(&self) -> usize {
        self.connections / 2
    }

    /// Upgrades under way, held ones among them. What is left beside them and the polls is for calls, and for telling those
    /// of a storm who find no room: in the kernel's queue they would wait unheard until they are reset.
    #[must_use]
    pub fn upgrades(&self) -> usize {
        (self.connections * 3 / 8).max(1)
    }

    /// Raises this process's limit on open files as far as it may, and returns what fits into it.
    #[must_use]
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let files = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(error) => {
                tracing::debug!(%error, "the limit on open files stays as it is");
                limit.current
            }
        };
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        let capacity = Self::of_files(files);
        tracing::info!(open_files = files, sockets = capacity.sockets, "room for sockets");
        capacity
    }
}

/// Serves clients until `shutdown`, and returns once their calls are answered. Sockets go on.
pub async fn public(
    connections: impl Connections,
    routes: Router,
    capacity: Capacity,
    shutdown: CancellationToken,
) {
    http::serve(connections, routes, limits(capacity.connections), shutdown).await;
}

/// Serves services and operators until `shutdown`.
pub async fn internal(
    connections: impl Connections,
    shared: Arc<Shared>,
    capacity: Capacity,
    shutdown: CancellationToken,
) {
    let limits = HttpLimits { http2: true, ..limits(capacity.internal) };
    http::serve(connections, internal_routes(shared), limits, shutdown).await;
}

/// What clients can ask, and what the chat page, where there is one, may sign with.
pub fn public_routes(shared: Arc<Shared>, signing: Option<page::Signing>) -> Router {
    let sockets = Router::new()
        .route("/socket/websocket", any(upgrade))
        .route("/socket/websocket/", any(upgrade))
        .route("/socket/longpoll", any(longpoll))
        .route("/socket/longpoll/", any(longpoll))
        .with_state(Arc::clone(&shared));
    let page = match (shared.settings.demo.demo_page, &shared.settings.tokens.jwt_user_claim) {
        (true, user_claim) => page::router(user_claim, signing),
        (false, _) => Router::new(),
    };
    let routes = api::public(Arc::clone(&shared)).merge(sockets).merge(page);
    routes.merge(admin::router(shared.readiness.clone()))
}

/// What services and operators can ask.
fn internal_routes(shared: Arc<Shared>) -> Router {
    let routes = api::internal(Arc::clone(&shared)).merge(admin::router(shared.readiness.clone()));
    let routes = routes.merge(grpc::routes(&shared));
    routes.merge(metrics::router(move || shared.metrics.text(&shared)))
}

fn limits(connections: usize) -> HttpLimits {
    HttpLimits {
        header_read: HEADER_READ,
        connections,
        // A call that came in before the end is answered.
        grace: workers::BUDGET + Duration::from_secs(1),
        head_bytes: HEAD_BYTES,
        http2: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_fits_into_the_open_files() {
        for files in [256, 1_024, 4_096, 65_536, 1 << 20] {
            let Capacity { sockets, connections, internal } = Capacity::of_files(files);
            assert!(sockets + connections + internal + OTHER_FILES <= files, "{files}");
            assert!(sockets >= files / 2, "{files}");
            assert!(files < 16_384 || sockets >= files / 10 * 9, "{files}");
            let capacity = Capacity::of_files(files);
            assert!(capacity.long_polls() + capacity.upgrades() < capacity.connections, "{files}");
        }
        assert_eq!(Capacity::of_files(1 << 20).connections, MAX_CONNECTIONS);
        assert!(Capacity::of_files(0).sockets > 0);
        assert!(Capacity::of_files(usize::MAX).sockets > 1 << 40);
    }

    #[test]
    fn the_process_has_some_capacity() {
        assert!(Capacity::of_process().sockets > 100);
    }
}
