//! One client's socket: a task that reads frames, has its [`Session`] say what they mean, does what it asks, and writes
//! what comes of it and what its mailbox holds.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Sink, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use simurgh_env::Env;
use simurgh_protocol::{CloseCode, Timestamp, Topic, UserId, Vsn, event::RateClass};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use crate::{
    Shared,
    auth::Claims,
    mailbox::{ChannelId, Item, Mailbox},
    rates::UserRates,
    session::{Effect, Gate, Session},
    sockets::{Permit, text},
    workers::BUDGET,
};

mod io;
mod metered;
mod work;

use io::{End, Event, ended, next_io};
use metered::Metered;
use work::{Held, Outcome};

/// A socket that says nothing for so long is closed (contract section 3).
const SILENCE: Duration = Duration::from_secs(60);
/// A socket that takes nothing for so long is closed (contract section 3).
const STALL: Duration = Duration::from_secs(30);
/// How long the client has to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How much more of what the client was sending is taken before that.
const CLOSE_BYTES: u64 = 1024 * 1024;
/// Bytes read at once: what a socket costs while it is silent.
const READ_BUFFER: usize = 2 * 1024;
/// Bytes gathered into one write.
const WRITE_BATCH: usize = 32 * 1024;

struct Socket<Io> {
    ws: WebSocketStream<Metered<Io>>,
    session: Session,
    gate: Limits,
    user: UserId,
    vsn: Vsn,
    session_id: String,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    held: BTreeMap<ChannelId, (Topic, Held)>,
    work: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// Something was given to the WebSocket that is not written yet.
    unflushed: bool,
    heard_at: Instant,
    /// Since when something waits to be written: nothing is read meanwhile.
    blocked_since: Option<Instant>,
    /// How many bytes had been taken at the last look, and when that changed.
    progress: (u64, Instant),
    /// Whether the mailbox has its turn before work and reading.
    mail_first: bool,
    /// When this socket's turn to be closed by a drain comes.
    close_at: Option<Instant>,
}

/// The user's rates and the clock.
struct Limits {
    rates: Arc<UserRates>,
    env: Env,
}

impl Gate for Limits {
    fn count(&mut self, class: RateClass) -> Result<(), Duration> {
        self.rates.check(class, self.env.instant())
    }

    fn now(&self) -> Timestamp {
        self.env.now()
    }
}

/// Serves an upgraded connection of the user whom the token names, until either side closes it.
pub async fn run<Io>(io: Io, vsn: Vsn, claims: Claims, permit: Permit, shared: Arc<Shared>)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(user) = claims.user else { return };
    let max_frame = shared.settings.bounds.max_frame_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BATCH)
        .max_message_size(Some(max_frame))
        .max_frame_size(Some(max_frame));
    let ws = WebSocketStream::from_raw_socket(Metered::new(io), Role::Server, Some(config)).await;
    let now = shared.env.instant();
    let mut socket = Socket {
        ws,
        session: Session::new(user.clone(), vsn, shared.settings.bounds.max_channels, claims.expires_at),
        gate: Limits { rates: shared.rates.of(&user, now), env: shared.env.clone() },
        session_id: shared.env.uuid().to_string(),
        mailbox: Mailbox::new(permit.id, shared.settings.bounds.max_unsent_bytes),
        user,
        vsn,
        held: BTreeMap::new(),
        work: FuturesUnordered::new(),
        unflushed: false,
        heard_at: now,
        blocked_since: None,
        progress: (0, now),
        mail_first: true,
        close_at: None,
        shared,
    };
    let end = socket.serve().await;
    if let End::Close(code) = end {
        socket.say_goodbye(code).await;
    }
    // The client may go on elsewhere before the last channel is released.
    drop(permit);
    socket.release_all().await;
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket<Io> {
    async fn serve(&mut self) -> End {
        loop {
            let deadline = self.deadline();
            let closing = self.close_at.is_some_and(|at| at <= self.shared.env.instant());
            let reads = !self.unflushed && !self.session.is_full() && !closing;
            let event = {
                let Self { ws, work, mailbox, shared, unflushed, close_at, .. } = self;
                tokio::select! {
                    biased;
                    () = shared.draining.cancelled(), if close_at.is_none() => Event::Draining,
                    Some(outcome) = work.next(), if !*unflushed => Event::Outcome(Box::new(outcome)),
                    event = next_io(ws, reads, *unflushed) => event,
                    () = mailbox.filled(), if !*unflushed => Event::Woken,
                    () = sleep_until(deadline) => Event::Time,
                }
            };
            if let Some(end) = self.on(event).await {
                return end;
            }
            // A client that keeps everything else busy does not keep the clock from being looked at.
            if deadline <= self.shared.env.instant()
                && let Some(end) = self.tick().await
            {
                return end;
            }
            // What was asked is answered first.
            let now = self.shared.env.instant();
            if self.close_at.is_some_and(|at| at <= now && (self.session.is_idle() || at + BUDGET <= now)) {
                return End::Close(CloseCode::ServiceRestart);
            }
        }
    }

    async fn on(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Received(Some(Ok(message))) => self.received(message).await,
            Event::Received(Some(Err(error))) => Some(ended(&error)),
            Event::Received(None) | Event::Flushed(Err(_)) => Some(End::Gone),
            Event::Flushed(Ok(())) => {
                self.unflushed = false;
                if let Some(since) = self.blocked_since.take() {
                    // Nothing was read meanwhile: that was not the client's silence.
                    self.heard_at += self.shared.env.instant().saturating_duration_since(since);
                }
                // Replies and reading have every other turn, however much is queued.
                self.mail_first = !self.mail_first;
                if self.mail_first {
                    return self.empty_mailbox().await;
                }
                if !self.mailbox.is_idle() {
                    self.mailbox.nudge();
                }
                None
            }
            Event::Woken => self.empty_mailbox().await,
            Event::Outcome(outcome) => self.outcome(*outcome).await,
            Event::Draining => {
                let window = self.shared.settings.drain.drain_window;
                self.close_at = Some(self.shared.env.instant() + self.shared.env.jitter(window));
                None
            }
            Event::Time => None,
        }
    }

    async fn received(&mut self, message: Message) -> Option<End> {
        self.heard_at = self.shared.env.instant();
        match message {
            Message::Text(text) => {
                let effects = self.session.text(&text, &mut self.gate);
                self.apply(effects).await
            }
            // Binary frames are no messages of the protocol (yet).
            Message::Binary(_) => Some(End::Close(CloseCode::InvalidFrame)),
            // tungstenite answers pings and closes by itself; that has to be written.
            Message::Ping(_) | Message::Close(_) => {
                self.flush_next();
                None
            }
            Message::Pong(_) | Message::Frame(_) => None,
        }
    }

    async fn outcome(&mut self, outcome: Outcome) -> Option<End> {
        let effects = match outcome {
            Outcome::Joined { channel, topic, result } => match result {
                Ok(joined) => {
                    let (response, held) = joined.split();
                    self.held.insert(channel, (topic, held));
                    self.session.joined(channel, Ok(response), &mut self.gate)
                }
                Err(refusal) => self.session.joined(channel, Err(refusal), &mut self.gate),
            },
            Outcome::Done { channel, result } => self.session.done(channel, result, &mut self.gate),
            Outcome::Renewed { channel, result } => {
                if let Ok((_, expires_at)) = &result {
                    self.session.renewed(*expires_at);
                }
                self.session.done(channel, result.map(|(response, _)| response), &mut self.gate)
            }
            Outcome::Frames { channel, frames } => {
                if self.session.is_current(channel) {
                    frames.into_iter().for_each(|frame| self.give(frame));
                }
                Vec::new()
            }
        };
        self.apply(effects).await
    }

    async fn apply(&mut self, effects: Vec<Effect>) -> Option<End> {
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.give(text(frame)),
                Effect::Join { channel, topic, params, asked_at } => {
                    let until = self.until(asked_at);
                    self.work.push(self.join(channel, topic, params, until));
                }
                Effect::Open { channel, topic, join_ref } => self.open(channel, &topic, join_ref).await,
                Effect::Leave { channel, .. } => {
                    if let Some((topic, held)) = self.held.remove(&channel) {
                        self.release(channel, topic, held, false).await;
                    }
                }
                Effect::Do { channel, topic, push, payload, asked_at } => {
                    let until = self.until(asked_at);
                    self.work.push(self.carry_out(channel, topic, push, payload, until));
                }
                Effect::Close(code) => return Some(End::Close(code)),
            }
        }
        None
    }

    /// By when what was asked then is answered.
    fn until(&self, asked_at: Timestamp) -> Instant {
        self.shared.env.instant() + BUDGET.saturating_sub(self.shared.env.now().since(asked_at))
    }

    /// Gives a frame to the WebSocket; it is written with the next flush.
    fn give(&mut self, frame: Utf8Bytes) {
        // It only fails once the socket is closed, which the next read tells.
        let _ = Pin::new(&mut self.ws).start_send(Message::Text(frame));
        self.flush_next();
    }

    fn flush_next(&mut self) {
        if !self.unflushed {
            let now = self.shared.env.instant();
            self.unflushed = true;
            self.blocked_since = Some(now);
            self.progress = (self.ws.get_ref().written(), now);
        }
    }

    /// Moves what waits in the mailbox to the WebSocket, as much as one write should have.
    async fn empty_mailbox(&mut self) -> Option<End> {
        let mut items = Vec::new();
        self.mailbox.take(WRITE_BATCH, &mut items);
        if items.is_empty() {
            let (topics, user_topic) = self.mailbox.take_waiting();
            self.room(topics, user_topic).await;
            return None;
        }
        for item in items {
            match item {
                Item::Frame { channel, bytes } => {
                    if self.session.is_current(channel) {
                        self.give(bytes);
                    }
                }
                Item::Closed { channel } => {
                    let effects = self.session.closed(channel, &mut self.gate);
                    if let Some(end) = self.apply(effects).await {
                        return Some(end);
                    }
                }
            }
        }
        if !self.unflushed && !self.mailbox.is_idle() {
            // All of it was for channels that are gone: go on at once.
            self.mailbox.nudge();
        }
        None
    }

    async fn tick(&mut self) -> Option<End> {
        let now = self.shared.env.instant();
        if self.unflushed {
            let written = self.ws.get_ref().written();
            if written != self.progress.0 {
                self.progress = (written, now);
            } else if now >= self.progress.1 + STALL {
                return Some(End::Close(CloseCode::SlowConsumer));
            }
        } else if now >= self.heard_at + SILENCE {
            return Some(End::Close(CloseCode::Silent));
        }
        let effects = self.session.tick(self.shared.env.now());
        self.apply(effects).await
    }

    fn deadline(&mut self) -> Instant {
        let now = self.shared.env.instant();
        let token = now + self.session.deadline().since(self.shared.env.now());
        let peer = if self.unflushed {
            let written = self.ws.get_ref().written();
            if written != self.progress.0 {
                self.progress = (written, now);
            }
            self.progress.1 + STALL
        } else {
            self.heard_at + SILENCE
        };
        let drain = self.close_at.map_or(token, |at| if at > now { at } else { at + BUDGET });
        token.min(peer).min(drain)
    }

    /// Closes from the server's side and waits a moment for the client's answer.
    async fn say_goodbye(&mut self, code: CloseCode) {
        let (code, reason) = code.wire();
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = timeout(CLOSE_WAIT, async {
            if self.ws.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.ws.next().await {}
                // What is still coming is taken, or the connection would be reset under the close frame.
                let mut rest = self.ws.get_mut().take(CLOSE_BYTES);
                let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
            }
        })
        .await;
    }

    /// The socket is gone: its channels, and joins that are still under way, are given back.
    async fn release_all(&mut self) {
        for (channel, (topic, held)) in std::mem::take(&mut self.held) {
            self.release(channel, topic, held, true).await;
        }
        while let Some(outcome) = self.work.next().await {
            if let Outcome::Joined { channel, topic, result: Ok(joined) } = outcome {
                let (_, held) = joined.split();
                self.release(channel, topic, held, true).await;
            }
        }
    }
}
