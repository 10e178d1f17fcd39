//! One client's socket: a task that has its [`Session`] say what the client's frames mean, does what it asks, and gives
//! its [`Transport`] what comes of it and what its mailbox holds. A WebSocket is one transport, a long-poll session the
//! other.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use simurgh_protocol::{CloseCode, Frame, Push, Refusal, Timestamp, Topic, UserId, Vsn};
use simurgh_service::metrics::Counted;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    Shared,
    auth::Claims,
    few::FewMap,
    form::text,
    mailbox::{ChannelId, Item, Mailbox},
    metrics::{Asked, kind},
    session::Session,
    sockets::Permit,
    workers::BUDGET,
};

mod effects;
mod limits;
pub mod longpoll;
mod metered;
mod outgoing;
mod transport;
pub mod websocket;
mod work;

use effects::Later;
use limits::Limits;
pub use transport::{Data, Incoming, Transport};
use transport::{End, Happened};
use work::{Held, Outcome};

/// A socket that says nothing for so long is closed (contract section 3).
const SILENCE: Duration = Duration::from_secs(60);
/// A socket that takes nothing for so long is closed (contract section 3).
const STALL: Duration = Duration::from_secs(30);
/// How long the client has to take leave once the server closes.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

struct Socket<T> {
    transport: T,
    session: Session,
    gate: Limits,
    user: UserId,
    vsn: Vsn,
    session_id: String,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    /// Cancelled once the token is revoked; the mailbox wakes the task then.
    revoked: CancellationToken,
    held: FewMap<ChannelId, Box<OnTopic>>,
    /// None while nothing is under way.
    work: Option<FuturesUnordered<BoxFuture<'static, Outcome>>>,
    /// Goes off at the deadline, or before: deadlines mostly move on.
    timer: Pin<Box<Sleep>>,
    /// Whether the mailbox has its turn before work and reading.
    mail_first: bool,
    /// When this socket's turn to be closed by a drain comes.
    close_at: Option<Instant>,
    /// What is to be done before anything else.
    later: Vec<Later>,
}

/// A joined channel.
struct OnTopic {
    topic: Topic,
    held: Held,
    _counted: Counted,
}

/// What a socket's task waits for.
enum Event {
    Transport(Happened),
    Woken,
    Outcome(Box<Outcome>),
    Time,
}

/// Serves a connection of the user whom the token names, until either side closes it.
///
/// What lives as long as the socket is in one box: a future would hold it once for each call that it is handed through.
pub fn run<T: Transport>(
    transport: T,
    vsn: Vsn,
    claims: Claims,
    permit: Permit,
    shared: Arc<Shared>,
) -> impl Future<Output = ()> + Send {
    let socket = claims.user.map(|user| {
        let now = shared.env.instant();
        let mailbox = Mailbox::new(permit.id, shared.settings.bounds.max_unsent_bytes);
        let session_id = shared.env.uuid();
        shared.sockets.serves(&mailbox, session_id, T::NAME);
        Box::new(Socket {
            transport,
            session: Session::new(user.clone(), vsn, shared.settings.bounds.max_channels, claims.expires_at),
            gate: Limits {
                rates: shared.rates.of(&user, now),
                metrics: Arc::clone(&shared.metrics),
                env: shared.env.clone(),
                rests_until: None,
            },
            session_id: session_id.to_string(),
            mailbox,
            user,
            vsn,
            revoked: permit.revoked.clone(),
            held: FewMap::default(),
            work: None,
            timer: Box::pin(sleep_until(now + SILENCE)),
            mail_first: true,
            close_at: None,
            later: Vec::new(),
            shared,
        })
    });
    async move {
        let Some(mut socket) = socket else { return };
        let counted = socket.shared.metrics.socket(T::NAME);
        let end = socket.serve().await;
        drop(counted);
        socket.shared.metrics.socket_closed(match end {
            End::Close(code) => Some(code),
            End::Gone => None,
        });
        // What is seldom done is boxed when it is: its room would be the task's for as long as the socket lives.
        Box::pin(socket.transport.end(end)).await;
        // The client may go on elsewhere before the last channel is released.
        drop(permit);
        Box::pin(socket.release_all()).await;
    }
}

impl<T: Transport> Socket<T> {
    async fn serve(&mut self) -> End {
        let mut now = self.shared.env.instant();
        loop {
            // These and the mailbox wake the task alike: to listen for each would cost every turn of every socket.
            if self.revoked.is_cancelled() {
                return End::Close(CloseCode::Revoked);
            }
            if self.close_at.is_none() && self.shared.sockets.leaving() {
                let window = self.shared.settings.drain.drain_window;
                self.close_at = Some(now + self.shared.env.jitter(window));
            }
            let deadline = self.deadline(now);
            if self.timer.is_elapsed() || deadline < self.timer.deadline() {
                self.timer.as_mut().reset(deadline);
            }
            let event = self.event(now).await;
            if let Some(end) = self.on(event).or(self.do_later().await) {
                return end;
            }
            // What came of it is mostly taken at once.
            if self.transport.is_behind()
                && let Poll::Ready(happened) = poll_fn(|cx| Poll::Ready(self.transport.poll_write(cx))).await
                && let Some(end) = self.on(Event::Transport(happened)).or(self.do_later().await)
            {
                return end;
            }
            now = self.shared.env.instant();
            // A client that keeps everything else busy does not keep the clock from being looked at.
            if deadline <= now
                && let Some(end) = self.tick().or(self.do_later().await)
            {
                return end;
            }
            // What was asked is answered first.
            if self.close_at.is_some_and(|at| at <= now && (self.session.is_idle() || at + BUDGET <= now)) {
                return End::Close(CloseCode::ServiceRestart);
            }
        }
    }

    /// What happens next.
    async fn event(&mut self, now: Instant) -> Event {
        let closing = self.close_at.is_some_and(|at| at <= now);
        self.gate.rests_until.take_if(|until| *until <= now);
        let reads = !self.session.is_full() && !closing && self.gate.rests_until.is_none();
        let Self { transport, work, mailbox, timer, .. } = self;
        let behind = transport.is_behind();
        let event = tokio::select! {
            biased;
            Some(outcome) = next(work), if !behind && work.is_some() => Event::Outcome(Box::new(outcome)),
            happened = transport.next(reads) => Event::Transport(happened),
            () = mailbox.filled() => Event::Woken,
            () = timer.as_mut() => Event::Time,
        };
        if self.work.as_ref().is_some_and(FuturesUnordered::is_empty) {
            self.work = None;
        }
        event
    }

    fn on(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Transport(Happened::Received(incoming)) => self.received(incoming),
            Event::Transport(Happened::Heard) | Event::Time => None,
            Event::Transport(Happened::Ended(end)) => Some(end),
            Event::Transport(Happened::Written) => {
                if !self.transport.owes() {
                    self.mailbox.written();
                }
                // Replies and reading have every other turn, however much is queued.
                self.mail_first = !self.mail_first;
                if self.mail_first {
                    return self.empty_mailbox();
                }
                if !self.mailbox.is_idle() {
                    self.mailbox.nudge();
                }
                None
            }
            Event::Transport(Happened::Asked) | Event::Woken => self.empty_mailbox(),
            Event::Outcome(outcome) => self.outcome(*outcome),
        }
    }

    fn received(&mut self, Incoming { data, excess }: Incoming) -> Option<End> {
        let effects = match (data, excess) {
            (Data::Text(text), false) => self.session.text(&text, &mut self.gate),
            (Data::Binary(bytes), false) => self.session.binary(&bytes, &mut self.gate),
            (Data::Text(text), true) => self.session.excess(Frame::decode(self.vsn, &text), &mut self.gate),
            (Data::Binary(bytes), true) => {
                self.session.excess(Frame::decode_binary(self.vsn, &bytes), &mut self.gate)
            }
        };
        self.apply(effects)
    }

    fn outcome(&mut self, outcome: Outcome) -> Option<End> {
        let effects = match outcome {
            Outcome::Joined { channel, topic, began, result } => {
                self.count(Asked::Join(kind(&topic)), result.as_ref().err(), began);
                match result {
                    Ok(joined) => {
                        let (response, held) = joined.split();
                        let held =
                            OnTopic { _counted: self.shared.metrics.channel(kind(&topic)), topic, held };
                        self.held.insert(channel, Box::new(held));
                        self.session.joined(channel, Ok(response), &mut self.gate)
                    }
                    Err(refusal) => self.session.joined(channel, Err(refusal), &mut self.gate),
                }
            }
            Outcome::Done { channel, push, began, result } => {
                self.count(Asked::Push(Some(push)), result.as_ref().err(), began);
                self.session.done(channel, result, &mut self.gate)
            }
            Outcome::Renewed { channel, began, result } => {
                self.count(Asked::Push(Some(Push::AccessToken)), result.as_ref().err(), began);
                if let Ok((_, claims)) = &result {
                    self.session.renewed(claims.expires_at);
                    self.shared.sockets.renewed(&self.user, self.mailbox.socket, claims.issued_at);
                }
                self.session.done(channel, result.map(|(response, _)| response), &mut self.gate)
            }
        };
        self.apply(effects)
    }

    fn count(&self, asked: Asked, refused: Option<&Refusal>, began: Instant) {
        let took = self.shared.env.instant().saturating_duration_since(began);
        self.shared.metrics.carried_out(asked, refused.map(|refusal| refusal.reason), took);
    }

    /// By when what was asked then is answered.
    fn until(&self, asked_at: Timestamp) -> Instant {
        self.shared.env.instant() + BUDGET.saturating_sub(self.shared.env.now().since(asked_at))
    }

    /// Gives the transport what waits in the mailbox, as much as it should have at once.
    fn empty_mailbox(&mut self) -> Option<End> {
        if !self.transport.takes_mail() {
            return None;
        }
        let (mut bytes, mut none) = (0, true);
        while bytes < T::BATCH
            && self.later.is_empty()
            && let Some(item) = self.mailbox.pop()
        {
            (bytes, none) = (bytes + item.bytes(), false);
            match item {
                Item::Frame { channel, bytes, .. } => {
                    if self.session.is_current(channel) {
                        self.transport.give(bytes);
                    }
                }
                Item::Closed { channel } => {
                    let effects = self.session.closed(channel, &mut self.gate);
                    if let Some(end) = self.apply(effects) {
                        return Some(end);
                    }
                }
            }
        }
        if none {
            let (topics, user_topic) = self.mailbox.take_waiting();
            if user_topic || !topics.is_empty() {
                self.later.push(Later::Room(topics, user_topic));
            }
            return None;
        }
        if !self.transport.owes() {
            // All of it was for channels that are gone.
            self.mailbox.written();
        }
        if !self.mailbox.is_idle() {
            // All of it may have been for channels that are gone: go on as soon as the transport takes more.
            self.mailbox.nudge();
        }
        None
    }

    fn tick(&mut self) -> Option<End> {
        if let Some(code) = self.transport.tick() {
            return Some(End::Close(code));
        }
        let effects = self.session.tick(self.shared.env.now());
        self.apply(effects)
    }

    fn deadline(&mut self, now: Instant) -> Instant {
        let token = now + self.session.deadline().since(self.shared.env.now());
        let drain = self.close_at.map_or(token, |at| if at > now { at } else { at + BUDGET });
        let first = token.min(self.transport.deadline()).min(drain);
        self.gate.rests_until.map_or(first, |until| until.max(now).min(first))
    }

    /// The socket is gone: its channels, and joins that are still under way, are given back.
    async fn release_all(&mut self) {
        for (channel, left) in std::mem::take(&mut self.held) {
            let OnTopic { topic, held, .. } = *left;
            self.release(channel, topic, held, true).await;
        }
        while let Some(outcome) = next(&mut self.work).await {
            if let Outcome::Joined { channel, topic, result: Ok(joined), .. } = outcome {
                let (_, held) = joined.split();
                self.release(channel, topic, held, true).await;
            }
        }
    }
}

/// What is done next of what is under way; none where nothing is.
async fn next(work: &mut Option<FuturesUnordered<BoxFuture<'static, Outcome>>>) -> Option<Outcome> {
    work.as_mut()?.next().await
}

#[cfg(test)]
mod tests;
