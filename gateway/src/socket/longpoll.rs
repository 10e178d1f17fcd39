//! A long-poll session as a transport: frames come in posts, and go out in the answers to polls.
//!
//! Messages that were handed to a poll are kept until the client polls again and says that it has seen them: whoever
//! asks again with the token from before gets them again. So an answer that is lost between two gateways, or before a
//! balancer that then asks another gateway, is no hole. A client that goes on using its first token says nothing of the
//! kind, and gets everything once, as from Phoenix.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll as Ready},
    time::Duration,
};

use bytes::Bytes;
use simurgh_env::Env;
use simurgh_protocol::CloseCode;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{
    CLOSE_WAIT,
    transport::{End, Happened, Incoming, Transport},
};

/// How long a poll waits for messages, as in Phoenix.
pub const WINDOW: Duration = Duration::from_secs(10);
/// A session that nobody polls for so long ends, as in Phoenix.
const IDLE: Duration = Duration::from_secs(15);
/// A session whose client went away while it polled, and does not poll again for so long, ends: phoenix.js never does.
/// With the grace of presence it is gone as soon as a WebSocket is.
const ABANDONED: Duration = Duration::from_secs(2);
/// Bytes of frames in one answer.
const ANSWER_BATCH: usize = 192 * 1024;
/// Polls, and posts, that wait for the session's task.
const WAITING: usize = 8;

/// Asks for messages.
#[derive(Debug)]
pub struct Poll {
    /// The number of those that the client got last, where it says so.
    pub seen: Option<u64>,
    /// Where they go.
    pub answer: oneshot::Sender<Polled>,
}

/// What a poll gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// Messages: a JSON array of texts.
    Messages {
        /// Which ones.
        number: u64,
        /// The array.
        messages: Bytes,
    },
    /// Nothing happened within the window.
    Nothing,
    /// A newer poll took its place.
    Displaced,
    /// There is no such session (any more).
    Gone,
    /// The session is over; a new one is welcome.
    Restart,
    /// The session is over, and so is its token.
    Forbidden,
}

/// Brings frames, in order. One that cannot be read ends the session.
#[derive(Debug)]
pub struct Post {
    /// The frames.
    pub frames: Vec<Result<Incoming, CloseCode>>,
    /// Told once the session has taken the last one; dropped where it ended before.
    pub taken: oneshot::Sender<()>,
}

/// The client's side of a session.
#[derive(Clone, Debug)]
pub struct Line {
    /// Takes polls.
    pub polls: mpsc::Sender<Poll>,
    /// Takes posts.
    pub posts: mpsc::Sender<Post>,
}

/// A session. `L` is dropped when the session can no longer be reached.
pub struct LongPoll<L> {
    env: Env,
    listed: Option<L>,
    polls: mpsc::Receiver<Poll>,
    posts: mpsc::Receiver<Post>,
    /// The poll that waits, and until when.
    waiting: Option<(oneshot::Sender<Polled>, Instant)>,
    /// While none waits: until when the next has to come.
    next_until: Instant,
    inbox: VecDeque<Result<Incoming, CloseCode>>,
    /// Whom to tell when the inbox is empty.
    taken: Option<oneshot::Sender<()>>,
    outbox: VecDeque<Utf8Bytes>,
    outbox_bytes: usize,
    max_unsent_bytes: usize,
    /// The messages that were handed over last, until they are known to be seen.
    sent: Option<(u64, Bytes)>,
    last_number: u64,
}

impl<L> LongPoll<L> {
    /// A session that keeps about `max_unsent_bytes` for a client that does not poll, and the way to it.
    pub fn new(env: Env, max_unsent_bytes: usize, listed: impl FnOnce(Line) -> L) -> Self {
        let ((poll_sender, polls), (post_sender, posts)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
        Self {
            next_until: env.instant() + IDLE,
            env,
            listed: Some(listed(Line { polls: poll_sender, posts: post_sender })),
            polls,
            posts,
            waiting: None,
            inbox: VecDeque::new(),
            taken: None,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            max_unsent_bytes,
            sent: None,
            last_number: 0,
        }
    }

    /// Takes a poll, in place of one that waits.
    fn asked(&mut self, Poll { seen, answer }: Poll) -> Happened {
        if let Some((older, _)) = self.waiting.take() {
            let _ = older.send(Polled::Displaced);
        }
        let unseen = seen.is_some_and(|seen| Some(seen + 1) == self.sent.as_ref().map(|sent| sent.0));
        match &self.sent {
            Some((number, messages)) if unseen => {
                let (number, messages) = (*number, messages.clone());
                // Where this one is gone, too, the next asks again.
                let _ = answer.send(Polled::Messages { number, messages });
                self.next_until = self.env.instant() + IDLE;
                Happened::Heard
            }
            _ => {
                self.sent = None;
                self.waiting = Some((answer, self.env.instant() + WINDOW));
                Happened::Asked
            }
        }
    }

    /// Answers the poll that waits with what there is; false where its client is gone.
    fn deliver(&mut self) -> bool {
        let Some((answer, _)) = self.waiting.take() else { return false };
        self.next_until = self.env.instant() + ABANDONED;
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while bytes < ANSWER_BATCH
            && let Some(frame) = self.outbox.pop_front()
        {
            bytes += frame.len();
            frames.push(frame);
        }
        let (number, messages) = (self.last_number + 1, array(&frames));
        if answer.send(Polled::Messages { number, messages: messages.clone() }).is_err() {
            frames.into_iter().rev().for_each(|frame| self.outbox.push_front(frame));
            return false;
        }
        self.next_until = self.env.instant() + IDLE;
        self.outbox_bytes = self.outbox_bytes.saturating_sub(bytes);
        self.last_number = number;
        self.sent = Some((number, messages));
        true
    }

    fn poll_next(&mut self, reads: bool, cx: &mut Context<'_>) -> Ready<Happened> {
        if let Some((answer, _)) = &mut self.waiting
            && answer.poll_closed(cx).is_ready()
        {
            self.waiting = None;
            self.next_until = self.env.instant() + ABANDONED;
            return Ready::Ready(Happened::Heard);
        }
        if self.waiting.is_some() && !self.outbox.is_empty() && self.deliver() {
            return Ready::Ready(Happened::Written);
        }
        if let Ready::Ready(poll) = self.polls.poll_recv(cx) {
            return Ready::Ready(poll.map_or(Happened::Ended(End::Gone), |poll| self.asked(poll)));
        }
        loop {
            if self.inbox.is_empty()
                && let Some(taken) = self.taken.take()
            {
                let _ = taken.send(());
            }
            if !reads || self.is_full() {
                return Ready::Pending;
            }
            match self.inbox.pop_front() {
                Some(Ok(incoming)) => return Ready::Ready(Happened::Received(incoming)),
                Some(Err(code)) => return Ready::Ready(Happened::Ended(End::Close(code))),
                None => {}
            }
            match self.posts.poll_recv(cx) {
                Ready::Ready(Some(Post { frames, taken })) => {
                    (self.inbox, self.taken) = (frames.into(), Some(taken));
                }
                Ready::Ready(None) => return Ready::Ready(Happened::Ended(End::Gone)),
                Ready::Pending => return Ready::Pending,
            }
        }
    }

    fn is_full(&self) -> bool {
        self.outbox_bytes >= self.max_unsent_bytes
    }

    /// Hands over what is left to those who poll.
    async fn hand_over(&mut self) {
        while !self.outbox.is_empty() {
            if self.waiting.is_some() {
                self.deliver();
            } else {
                let Some(poll) = self.polls.recv().await else { return };
                self.asked(poll);
            }
        }
    }
}

impl<L: Send + Sync + 'static> Transport for LongPoll<L> {
    const NAME: &'static str = "longpoll";
    const BATCH: usize = ANSWER_BATCH;

    async fn next(&mut self, reads: bool) -> Happened {
        poll_fn(|cx| self.poll_next(reads, cx)).await
    }

    /// A poll is answered in its turn.
    fn poll_write(&mut self, _: &mut Context<'_>) -> Ready<Happened> {
        Ready::Pending
    }

    fn give(&mut self, frame: Utf8Bytes) {
        self.outbox_bytes += frame.len();
        self.outbox.push_back(frame);
    }

    fn owes(&self) -> bool {
        !self.outbox.is_empty()
    }

    fn is_behind(&self) -> bool {
        self.is_full()
    }

    fn takes_mail(&self) -> bool {
        self.waiting.is_some() && self.outbox_bytes < ANSWER_BATCH
    }

    fn deadline(&mut self) -> Instant {
        self.waiting.as_ref().map_or(self.next_until, |(_, until)| *until)
    }

    fn tick(&mut self) -> Option<CloseCode> {
        let now = self.env.instant();
        if let Some((answer, _)) = self.waiting.take_if(|(_, until)| *until <= now) {
            let _ = answer.send(Polled::Nothing);
            self.next_until = now + IDLE;
        }
        (self.waiting.is_none() && self.next_until <= now).then_some(CloseCode::Silent)
    }

    /// Hands over what there is, then answers the last poll, and cannot be reached any more.
    async fn end(&mut self, end: End) {
        self.inbox.clear();
        self.taken = None;
        let last = last_answer(end);
        if last != Polled::Gone {
            let _ = timeout(CLOSE_WAIT, self.hand_over()).await;
        }
        self.listed = None;
        self.polls.close();
        self.posts.close();
        if let Some((answer, _)) = self.waiting.take() {
            let _ = answer.send(last.clone());
        }
        while let Ok(poll) = self.polls.try_recv() {
            let _ = poll.answer.send(last.clone());
        }
        while self.posts.try_recv().is_ok() {}
    }
}

/// What those who still poll are told when a session ends so.
fn last_answer(end: End) -> Polled {
    match end {
        End::Close(CloseCode::ServiceRestart) => Polled::Restart,
        End::Close(CloseCode::TokenExpired | CloseCode::Revoked) => Polled::Forbidden,
        End::Close(
            CloseCode::Silent
            | CloseCode::ProtocolError
            | CloseCode::InvalidFrame
            | CloseCode::FrameTooBig
            | CloseCode::SlowConsumer,
        )
        | End::Gone => Polled::Gone,
    }
}

/// The frames as texts in a JSON array.
fn array(frames: &[Utf8Bytes]) -> Bytes {
    let texts: Vec<&str> = frames.iter().map(Utf8Bytes::as_str).collect();
    // Texts are always JSON.
    serde_json::to_vec(&texts).unwrap_or_else(|_| b"[]".to_vec()).into()
}
