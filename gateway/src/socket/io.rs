//! What a socket's task waits for, and how it ends.

use std::{future::poll_fn, task::Poll};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use simurgh_protocol::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use super::work::Outcome;

/// How a socket ended.
pub(super) enum End {
    /// The client closed it, or is gone.
    Gone,
    /// The server closes it.
    Close(CloseCode),
}

/// Something that happened.
pub(super) enum Event {
    Received(Option<Result<Message, Error>>),
    Flushed(Result<(), Error>),
    Woken,
    Outcome(Box<Outcome>),
    Draining,
    Time,
}

/// Why reading failed, as a close: what the client did wrong, or that it is gone.
pub(super) fn ended(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Close(CloseCode::FrameTooBig),
        Error::Utf8(_) => End::Close(CloseCode::InvalidFrame),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(_) => End::Close(CloseCode::ProtocolError),
        _ => End::Gone,
    }
}

/// The next thing that the connection has: writing first, then reading.
pub(super) async fn next_io<S>(ws: &mut S, reads: bool, flushes: bool) -> Event
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    poll_fn(|cx| {
        if flushes && let Poll::Ready(result) = ws.poll_flush_unpin(cx) {
            return Poll::Ready(Event::Flushed(result));
        }
        if reads && let Poll::Ready(message) = ws.poll_next_unpin(cx) {
            return Poll::Ready(Event::Received(message));
        }
        Poll::Pending
    })
    .await
}
