//! The requests of `/socket/longpoll`.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body as HttpBody,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use simurgh_protocol::longpoll::{PostBody, SessionToken, body::POST_BYTES};
use tokio::time::{sleep, sleep_until, timeout};

use super::{
    Posted, SLACK, answer, elsewhere, open,
    request::{self, Asked},
};
use crate::{
    Shared,
    socket::longpoll::{Polled, WINDOW},
    upgrade::{self, Refused},
    workers::BUDGET,
};

/// A poll, a post, or what a browser asks before them.
pub async fn longpoll(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if parts.method == Method::OPTIONS {
        return answer::preflight(&parts.headers);
    }
    if parts.method != Method::GET && parts.method != Method::POST {
        return answer::empty(StatusCode::BAD_REQUEST);
    }
    if !upgrade::origin_permitted(&shared, &parts.headers) {
        return answer::status(403);
    }
    let asked = request::asked(&parts.headers, parts.uri.query().unwrap_or_default());
    if parts.method == Method::POST {
        return post(&shared, &parts.headers, &asked, body).await;
    }
    if let Some(Some(token)) = &asked.session
        && let Some(answer) = poll(&shared, token).await
    {
        return answer;
    }
    if asked.session.is_some() && request::is_old_client(&parts.headers) {
        return answer::status(500);
    }
    begin(&shared, peer, &parts, &asked).await
}

/// Polls a session; `None` where there is none any more.
async fn poll(shared: &Arc<Shared>, token: &SessionToken) -> Option<Response> {
    let window_ends = shared.env.instant() + WINDOW;
    let leaving = async {
        shared.draining.cancelled().await;
        // Sessions of this gateway end over the drain and tell their polls so; others are to be asked for elsewhere.
        sleep(BUDGET).await;
    };
    let polled = tokio::select! {
        biased;
        polled = timeout(WINDOW + SLACK + SLACK, elsewhere::poll(shared, token)) => polled.unwrap_or(Polled::Gone),
        () = leaving => Polled::Nothing,
    };
    match polled {
        Polled::Messages { number, messages } => Some(answer::messages(token, number, &messages)),
        Polled::Nothing => Some(answer::session(204, token)),
        Polled::Displaced => {
            // As in Phoenix: a client that polls twice at once would otherwise take turns displacing itself.
            if let Ok(_place) = shared.long_polls.limits.displaced.try_acquire() {
                tokio::select! {
                    biased;
                    () = shared.draining.cancelled() => {}
                    () = sleep_until(window_ends) => {}
                }
            }
            Some(answer::session(204, token))
        }
        Polled::Gone => None,
        Polled::Restart => Some(answer::status(500)),
        Polled::Forbidden => Some(answer::status(403)),
    }
}

/// Opens a new session.
async fn begin(shared: &Arc<Shared>, peer: SocketAddr, parts: &Parts, asked: &Asked) -> Response {
    let opening = match upgrade::connect(shared, &asked.offered).await {
        Ok(opening) => opening,
        Err(refused) => return refuse(shared, &refused),
    };
    let (place, permit) = match upgrade::admitted(shared, peer, &parts.headers, &opening).await {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(shared, &refused),
    };
    match open(shared, opening.vsn, opening.claims, place, permit) {
        Some(token) => answer::session(410, &token),
        None => refuse(shared, &Refused::Unavailable(WINDOW)),
    }
}

fn refuse(shared: &Shared, refused: &Refused) -> Response {
    shared.metrics.socket_refused(refused.label());
    answer::refused(refused)
}

async fn post(shared: &Shared, headers: &HeaderMap, asked: &Asked, body: HttpBody) -> Response {
    let Some(Some(token)) = &asked.session else { return answer::status(410) };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length: usize = declared.unwrap_or(POST_BYTES);
    if length > POST_BYTES {
        return answer::failure(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let reading = async {
        let bytes = u32::try_from(length).unwrap_or(u32::MAX);
        let room = shared.long_polls.limits.bodies.acquire_many(bytes).await.ok();
        (room, Limited::new(body, length).collect().await)
    };
    let Ok((_room, read)) = timeout(WINDOW, reading).await else { return answer::status(408) };
    let Ok(read) = read else { return answer::failure(StatusCode::PAYLOAD_TOO_LARGE) };
    let body = PostBody { bytes: read.to_bytes(), lines: request::is_lines(headers) };
    if body.is_too_large(shared.settings.bounds.max_frame_bytes) {
        return answer::failure(StatusCode::PAYLOAD_TOO_LARGE);
    }
    answer::status(match elsewhere::post(shared, token, &body).await {
        Posted::Taken => 200,
        Posted::Gone => 410,
        Posted::Late => 408,
    })
}
