//! `GET /socket/websocket`: from a request to a socket.
//!
//! Everything that can be refused is refused before the upgrade, since clients forget their back-off once a socket
//! opens. The order is Phoenix' (origin, `connect`, then headers), then what costs
//! the gateway something: whether it is ready, the client's turn, its place.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use http::{HeaderMap, Method, Version, header, request::Parts};
use hyper_util::rt::TokioIo;
use simurgh_protocol::{
    Reason, UserId, Vsn,
    envelope::{Call, Principal},
};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    Shared,
    admission::{MAX_HOLD, Place},
    auth::{self, AuthError, Claims, Offered},
    config::ServiceCalls,
    socket::{self, websocket::WebSocket},
    sockets::{Permit, elsewhere},
};

mod answer;

pub(crate) use answer::Refused;

/// How long the 101 may take to reach the connection.
const SWITCH: Duration = Duration::from_secs(10);
/// How long a worker has to look at the token.
const LOOK: Duration = Duration::from_secs(4);

/// What a client that may have a socket asked for.
#[derive(Debug)]
pub(crate) struct Opening {
    pub vsn: Vsn,
    pub claims: Claims,
    pub user: UserId,
}

/// Answers 101 and runs the socket as a task of the gateway, or refuses.
pub async fn upgrade(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (mut parts, _body) = request.into_parts();
    let offered = auth::offered(&parts.headers, parts.uri.query().unwrap_or_default());
    let checked = if origin_permitted(&shared, &parts.headers) {
        connect(&shared, &offered).await
    } else {
        Err(Refused::Forbidden)
    };
    let (opening, accept) = match checked.and_then(|opening| Ok((opening, websocket_key(&parts)?))) {
        Ok((opening, key)) => (opening, derive_accept_key(key)),
        Err(refused) => return refuse(&shared, &refused),
    };
    let (place, permit) = match admitted(&shared, peer, &parts.headers, &opening).await {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(&shared, &refused),
    };
    let Some(upgraded) = parts.extensions.remove::<hyper::upgrade::OnUpgrade>() else {
        return refuse(&shared, &Refused::NoUpgrade);
    };
    let Opening { vsn, claims, .. } = opening;
    let context = Arc::clone(&shared);
    shared.connections.spawn(async move {
        // hyper's part of the connection is gone by then; what is left of it is the box around the stream, and bytes
        // that came early, which the first read takes.
        if let Ok(Ok(io)) = timeout(SWITCH, upgraded).await {
            let max_frame = context.settings.bounds.max_frame_bytes;
            // In a box, since it is over at once and its room would be the task's for ever.
            let transport = Box::pin(WebSocket::new(TokioIo::new(io), max_frame, context.env.clone())).await;
            socket::run(transport, vsn, claims, permit, context).await;
        }
        drop(place);
    });
    answer::switching(&accept, offered.phoenix)
}

fn refuse(shared: &Shared, refused: &Refused) -> Response {
    shared.metrics.socket_refused(refused.label());
    answer::refused(refused)
}

/// Whether the page that asks, if one does, may connect.
pub(crate) fn origin_permitted(shared: &Shared, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN);
    origin.is_none_or(|origin| shared.settings.access.allowed_origins.permit(origin.as_bytes()))
}

/// Checks the version of the serializer and the token.
pub(crate) async fn connect(shared: &Shared, offered: &Offered) -> Result<Opening, Refused> {
    let vsn = Vsn::negotiate(offered.vsn.as_deref()).ok_or(Refused::Forbidden)?;
    let token = offered.token.as_deref().unwrap_or_default();
    let claims = shared.auth.authenticate(token, &shared.env).await.map_err(|error| {
        tracing::debug!(%error, "a socket is refused");
        match error {
            AuthError::NoKeys => Refused::Unavailable(Duration::from_secs(1)),
            _ => Refused::Forbidden,
        }
    })?;
    let service_elsewhere = shared.settings.access.service_calls == ServiceCalls::Internal;
    let user =
        claims.user.clone().filter(|_| !(claims.service && service_elsewhere)).ok_or(Refused::Forbidden)?;
    Ok(Opening { vsn, claims, user })
}

/// What RFC 6455, section 4.2.1 asks of a request, in the order and words of Phoenix.
fn websocket_key(request: &Parts) -> Result<&[u8], Refused> {
    let headers = &request.headers;
    if request.method != Method::GET || request.version != Version::HTTP_11 {
        return Err(Refused::NoUpgrade);
    }
    for (name, needle) in [("connection", "upgrade"), ("upgrade", "websocket")] {
        let values = texts(headers, name);
        let contains = |value: &&str| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(needle));
        if !values.iter().any(contains) {
            return Err(Refused::Header(format!("'{name}' header must contain '{needle}', got {values:?}")));
        }
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if key.is_empty() {
        return Err(Refused::Header("'sec-websocket-key' header is absent".to_owned()));
    }
    let versions = texts(headers, "sec-websocket-version");
    if versions != ["13"] {
        return Err(Refused::Header(format!(
            "'sec-websocket-version' header must equal '13', got {versions:?}"
        )));
    }
    Ok(key)
}

fn texts<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

/// Waits for the client's turn and gives it a place.
pub(crate) async fn admitted(
    shared: &Shared,
    peer: SocketAddr,
    headers: &HeaderMap,
    Opening { claims, user, .. }: &Opening,
) -> Result<(Place, Permit), Refused> {
    ready(shared)?;
    let _under_way = shared.admission.under_way().ok_or(Refused::Unavailable(MAX_HOLD))?;
    let client = shared.admission.client_address(peer.ip(), headers);
    let wait = shared.admission.reserve(client, shared.env.instant()).map_err(Refused::Unavailable)?;
    if !wait.is_zero() {
        tokio::select! {
            biased;
            () = shared.draining.cancelled() => {}
            () = sleep(wait) => {}
        }
        ready(shared)?;
    }
    // From here on a revocation finds it; one of before is found by the worker.
    let permit = shared.sockets.admit(user, claims.issued_at).ok_or(Refused::TooManySockets)?;
    let place = shared.admission.place().ok_or(Refused::Unavailable(Duration::ZERO))?;
    // Last, since others are asked: what is refused for another reason costs the backplane nothing.
    let (admitted, elsewhere) = tokio::join!(biased; not_revoked(shared, claims), elsewhere(shared, user));
    admitted?;
    if permit.here + elsewhere > shared.settings.bounds.max_sockets_per_user {
        return Err(Refused::TooManySockets);
    }
    Ok((place, permit))
}

/// Has a worker look whether the token was revoked.
async fn not_revoked(shared: &Shared, claims: &Claims) -> Result<(), Refused> {
    let (until, token) = (shared.env.instant() + LOOK, claims.presented());
    match shared.workers.call_presenting(until, Principal::Service, token, Call::Admit).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.reason == Reason::Unauthorized => Err(Refused::Forbidden),
        Err(_) => Err(Refused::Unavailable(Duration::ZERO)),
    }
}

/// A gateway that drains takes new sockets until its delay is over.
fn ready(shared: &Shared) -> Result<(), Refused> {
    if shared.draining.is_cancelled() || !shared.readiness.parts_work() {
        return Err(Refused::Unavailable(Duration::ZERO));
    }
    Ok(())
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
