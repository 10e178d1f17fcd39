//! HTTP/1.1, and where a listener takes it HTTP/2, over a source of connections.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{body::Incoming, server::conn::http1, service::Service as _, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, Semaphore},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::Connections;

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 256;

/// How often the other end of an HTTP/2 connection is asked whether it is there, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);

/// How a listener treats its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// How long a request's head may take to arrive, from the connection's start or the last answer's end: what keeps
    /// slow and idle clients from holding connections.
    pub header_read: Duration,
    /// Connections that are not upgraded, at once; further ones wait in the kernel.
    pub connections: usize,
    /// How long open requests may take once shutdown begins; what is left then is cut.
    pub grace: Duration,
    /// Bytes of the read buffer, and so of a request's head.
    pub head_bytes: usize,
    /// Whether HTTP/2 is taken, too, from who begins with it (there is no upgrade to it). Such a connection may be idle for
    /// as long as its client answers pings.
    pub http2: bool,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            connections: 1_024,
            grace: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            http2: false,
        }
    }
}

/// Serves `router` until `shutdown`, or until no more connections can come, and returns when the connections have
/// ended, at the latest [`HttpLimits::grace`] after `shutdown`. Every request has `ConnectInfo<SocketAddr>`.
/// An upgraded connection is its handler's: it is neither counted nor waited for here.
pub async fn serve(
    mut connections: impl Connections,
    router: Router,
    limits: HttpLimits,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    let cut = CancellationToken::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            connections.accept().await.map(|connection| (place, connection))
        };
        let (place, (io, peer)) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = next => match next {
                Some(next) => next,
                None => break,
            },
        };
        let connection = serve_connection(io, peer, router.clone(), limits, shutdown.clone());
        let cut = cut.clone();
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = connection => {}
            }
            drop(place);
        });
    }
    // Nobody can connect from here on.
    drop(connections);
    tasks.close();
    let end_of_grace = async {
        shutdown.cancelled().await;
        sleep(limits.grace).await;
    };
    tokio::select! {
        biased;
        () = tasks.wait() => {}
        () = end_of_grace => {
            cut.cancel();
            tasks.wait().await;
        }
    }
}

/// Serves one connection until it ends or is upgraded; once `shutdown` begins, until the request at hand is answered.
async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    limits: HttpLimits,
    shutdown: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let asked = Arc::new(Notify::new());
    let heard = Arc::clone(&asked);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        heard.notify_one();
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let io = TokioIo::new(io);
    let outcome = if limits.http2 {
        let builder = either(limits);
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
        let mut too_late = pin!(sleep(limits.header_read));
        let (mut waits, mut ends) = (true, false);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !ends => {
                    ends = true;
                    connection.as_mut().graceful_shutdown();
                }
                outcome = connection.as_mut() => break outcome,
                () = asked.notified(), if waits => waits = false,
                // HTTP/2 has no time of its own within which a first request must come.
                () = too_late.as_mut(), if waits => break Ok(()),
            }
        }
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_read)
            .max_buf_size(limits.head_bytes);
        let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
        let outcome = tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            outcome = connection.as_mut() => outcome,
        };
        outcome.map_err(Into::into)
    };
    if let Err(error) = outcome {
        // What clients and networks do; nothing to act on.
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}

/// HTTP/1.1 and HTTP/2.
fn either(limits: HttpLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let HttpLimits { header_read, head_bytes, .. } = limits;
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_read).max_buf_size(head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

#[cfg(test)]
mod tests;
