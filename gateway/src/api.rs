//! The HTTP API (contract section 4): who calls, what is asked, and the worker's answer. It holds no rule: workers
//! decide who may do what; here only what can be refused without them is refused.

use std::sync::Arc;

use axum::{
    Router,
    routing::{delete, get, post, put},
};

use crate::{Shared, config::ServiceCalls};

mod caller;
mod contacts;
mod conversations;
mod cross;
mod error;
mod messages;
mod path;
mod query;
mod users;

pub use error::Error;
pub(crate) use query::CURSOR_BYTES;

/// What the calls of one listener work with.
#[derive(Clone)]
struct Context {
    shared: Arc<Shared>,
    /// Whether service tokens are taken on this listener.
    services: bool,
}

/// The calls as the public listener serves them.
pub fn public(shared: Arc<Shared>) -> Router {
    let services = shared.settings.access.service_calls == ServiceCalls::Both;
    router(Context { shared, services })
}

/// The calls as the internal listener serves them.
pub fn internal(shared: Arc<Shared>) -> Router {
    router(Context { shared, services: true })
}

fn router(context: Context) -> Router {
    let shared = Arc::clone(&context.shared);
    let calls = Router::new()
        .route("/conversations", post(conversations::create).get(conversations::list))
        .route("/conversations/{conversation_id}", get(conversations::get).patch(conversations::patch))
        .route("/conversations/{conversation_id}/messages", get(messages::history).post(messages::post))
        .route(
            "/conversations/{conversation_id}/members/{user_id}",
            put(conversations::add_member).delete(conversations::remove_member),
        )
        .route("/contacts", get(contacts::list))
        .route("/contacts/{user_id}", put(contacts::add).delete(contacts::remove))
        .route("/users/{user_id}/presence", get(users::presence))
        .route("/users/{user_id}/notifications", post(users::notify))
        .route("/users/{user_id}/sessions", delete(users::revoke))
        .with_state(context);
    let api = Router::new()
        .nest("/api/v1", calls)
        .fallback(|| async { Error::not_found() })
        .method_not_allowed_fallback(|| async { Error::wrong_method() });
    cross::layered(api, &shared)
}

#[cfg(test)]
mod tests;
