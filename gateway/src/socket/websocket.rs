//! A WebSocket as a transport.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use simurgh_env::Env;
use simurgh_protocol::CloseCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use super::{
    CLOSE_WAIT, SILENCE, STALL,
    metered::Metered,
    outgoing::Outgoing,
    transport::{Data, End, Happened, Transport},
};

/// How much more of what the client was sending is taken before the close.
const CLOSE_BYTES: u64 = 1024 * 1024;
/// Bytes read at once: what a socket costs while it is silent. Room for a longer frame is made when its header is read.
const READ_BUFFER: usize = 128;
/// Bytes gathered into one write.
const WRITE_BATCH: usize = 32 * 1024;

/// An upgraded connection.
pub struct WebSocket<Io> {
    /// Reads, and answers pings and closes.
    ws: WebSocketStream<Metered<Io>>,
    /// Messages, which go past it: they are shared with other sockets and need no copy.
    outgoing: Outgoing,
    /// The client has taken leave: nothing but the answer to that is written.
    closed: bool,
    env: Env,
    /// Something was given that is not written yet: nothing is read meanwhile, so that the WebSocket writes nothing
    /// of its own into a message.
    unflushed: bool,
    heard_at: Instant,
    /// Since when something waits to be written.
    blocked_since: Option<Instant>,
    /// How many bytes had been taken at the last look, and when that changed.
    progress: (u64, Instant),
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocket<Io> {
    /// The server's side of a connection whose upgrade is answered. Frames of more than `max_frame_bytes` end it.
    pub async fn new(io: Io, max_frame_bytes: usize, env: Env) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(max_frame_bytes))
            .max_frame_size(Some(max_frame_bytes));
        let ws = WebSocketStream::from_raw_socket(Metered::new(io), Role::Server, Some(config)).await;
        let now = env.instant();
        Self {
            ws,
            outgoing: Outgoing::default(),
            closed: false,
            env,
            unflushed: false,
            heard_at: now,
            blocked_since: None,
            progress: (0, now),
        }
    }

    fn flush_next(&mut self) {
        if !self.unflushed {
            let now = self.env.instant();
            self.unflushed = true;
            self.blocked_since = Some(now);
            self.progress = (self.ws.get_ref().written(), now);
        }
    }

    /// Writes what the WebSocket has to say, then the messages.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.ws.poll_flush_unpin(cx))?;
        self.outgoing.poll_write(self.ws.get_mut(), cx).map_err(Error::Io)
    }

    fn flushed(&mut self, result: Result<(), Error>) -> Happened {
        if result.is_err() {
            return Happened::Ended(End::Gone);
        }
        self.unflushed = false;
        if let Some(since) = self.blocked_since.take() {
            // Nothing was read meanwhile: that was not the client's silence.
            self.heard_at += self.env.instant().saturating_duration_since(since);
        }
        Happened::Written
    }

    fn received(&mut self, message: Message) -> Happened {
        self.heard_at = self.env.instant();
        match message {
            Message::Text(text) => Happened::Received(Data::Text(text).into()),
            Message::Binary(bytes) => Happened::Received(Data::Binary(bytes).into()),
            // tungstenite answers pings and closes by itself; that has to be written.
            Message::Ping(_) | Message::Close(_) => {
                self.closed |= matches!(message, Message::Close(_));
                self.flush_next();
                Happened::Heard
            }
            Message::Pong(_) | Message::Frame(_) => Happened::Heard,
        }
    }

    /// Since when nothing moves, and for how long that may be.
    fn waiting(&mut self) -> (Instant, Duration) {
        if !self.unflushed {
            return (self.heard_at, SILENCE);
        }
        let written = self.ws.get_ref().written();
        if written != self.progress.0 {
            self.progress = (written, self.env.instant());
        }
        (self.progress.1, STALL)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for WebSocket<Io> {
    const NAME: &'static str = "websocket";
    const BATCH: usize = WRITE_BATCH;

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        self.poll_flush(cx).map(|result| self.flushed(result))
    }

    async fn next(&mut self, reads: bool) -> Happened {
        poll_fn(|cx| {
            if self.unflushed {
                return self.poll_write(cx);
            }
            if !reads {
                return Poll::Pending;
            }
            self.ws.poll_next_unpin(cx).map(|message| match message {
                Some(Ok(message)) => self.received(message),
                Some(Err(error)) => Happened::Ended(ended(&error)),
                None => Happened::Ended(End::Gone),
            })
        })
        .await
    }

    fn give(&mut self, frame: Utf8Bytes) {
        if !self.closed {
            self.outgoing.push(frame);
            self.flush_next();
        }
    }

    fn owes(&self) -> bool {
        self.unflushed
    }

    fn is_behind(&self) -> bool {
        self.unflushed
    }

    fn takes_mail(&self) -> bool {
        !self.unflushed
    }

    fn deadline(&mut self) -> Instant {
        let (since, patience) = self.waiting();
        since + patience
    }

    fn tick(&mut self) -> Option<CloseCode> {
        let (since, patience) = self.waiting();
        let code = if self.unflushed { CloseCode::SlowConsumer } else { CloseCode::Silent };
        (self.env.instant() >= since + patience).then_some(code)
    }

    /// Closes, and waits a moment for the client's answer.
    async fn end(&mut self, end: End) {
        let _ = timeout(CLOSE_WAIT, async {
            let End::Close(code) = end else { return };
            if poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
                return;
            }
            let (code, reason) = code.wire();
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            if self.ws.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.ws.next().await {}
                // What is still coming is taken, or the connection would be reset under the close frame.
                let mut rest = self.ws.get_mut().take(CLOSE_BYTES);
                let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
            }
        })
        .await;
        // The server ends the connection (RFC 6455, 7.1.1), also while work is still under way.
        let _ = timeout(CLOSE_WAIT, self.ws.get_mut().shutdown()).await;
    }
}

/// Why reading failed, as a close: what the client did wrong, or that it is gone.
fn ended(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Close(CloseCode::FrameTooBig),
        Error::Utf8(_) => End::Close(CloseCode::InvalidFrame),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(_) => End::Close(CloseCode::ProtocolError),
        _ => End::Gone,
    }
}
