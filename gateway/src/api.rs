//! The HTTP API (contract section 4): who calls, what is asked, and the worker's answer. It holds no rule: workers
//! decide who may do what; here only what can be refused without them is refused.

use std::sync::Arc;

use axum::Router;

use self::calls::Calls;
use crate::{Shared, config::ServiceCalls};

mod blocks;
mod caller;
mod calls;
mod contacts;
mod conversations;
mod cross;
mod document;
mod error;
mod messages;
mod path;
mod query;
mod refusals;
mod schema;
mod settings;
mod users;

pub use error::Error;

/// What the calls of one listener work with.
#[derive(Clone)]
struct Context {
    shared: Arc<Shared>,
    /// Whether service tokens are taken on this listener.
    services: bool,
    /// Whether only the deployment's own programs reach this listener.
    internal: bool,
}

pub(crate) use cross::trace_of;

/// The calls as the public listener serves them.
pub fn public(shared: Arc<Shared>) -> Router {
    let services = shared.settings.access.service_calls == ServiceCalls::Both;
    router(Context { shared, services, internal: false })
}

/// The calls as the internal listener serves them.
pub fn internal(shared: Arc<Shared>) -> Router {
    router(Context { shared, services: true, internal: true })
}

/// All calls, each described where it is.
fn calls() -> Calls {
    [conversations::calls, settings::calls, messages::calls, contacts::calls, blocks::calls, users::calls]
        .into_iter()
        .fold(Calls::default(), |calls, more| more(calls))
}

fn router(context: Context) -> Router {
    let (shared, internal) = (Arc::clone(&context.shared), context.internal);
    let api = calls()
        .with_document()
        .with_state(context)
        .fallback(|| async { Error::not_found() })
        .method_not_allowed_fallback(|| async { Error::wrong_method() });
    cross::layered(api, &shared, internal)
}

#[cfg(test)]
mod tests;
