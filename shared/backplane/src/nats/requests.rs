//! Requests and their answers.
//!
//! async-nats has this too, but it keeps an entry for each request that times out for as long as the process lives,
//! and puts no bound on those that wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use simurgh_env::Env;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::error;
use crate::{BusError, SUBSCRIPTION_CAPACITY};

/// How many inboxes there are. Each takes [`SUBSCRIPTION_CAPACITY`] requests at a time, as many as its subscription
/// holds answers, so that no answer is dropped.
const INBOXES: usize = 8;

/// Sends requests, at most [`INBOXES`] × [`SUBSCRIPTION_CAPACITY`] at a time, and hands each its answer.
pub(super) struct Requests {
    client: Client,
    /// What the subjects of this connection's inboxes begin with.
    prefix: String,
    inboxes: Vec<Arc<Inbox>>,
    /// Counts the requests: the inbox that each asks first, and the names of further inboxes.
    turn: AtomicUsize,
    _readers: Vec<AbortOnDropHandle<()>>,
}

/// A subject under which answers arrive, each with a token of its own.
struct Inbox {
    prefix: String,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last_token: u64,
    answers: BTreeMap<u64, oneshot::Sender<Message>>,
}

/// A request that waits; forgets itself when dropped.
struct Pending<'a> {
    inbox: &'a Inbox,
    token: u64,
    answer: oneshot::Receiver<Message>,
}

impl Requests {
    /// Subscribes the inboxes; this does not wait for a connection.
    pub(super) async fn new(client: Client, env: &Env) -> Result<Self, BusError> {
        let (mut inboxes, mut readers) = (Vec::new(), Vec::new());
        let own = format!("_INBOX.{}{}", env.short_id(), env.short_id());
        for number in 0..INBOXES {
            let prefix = format!("{own}.{number}.");
            let subscriber = client.subscribe(format!("{prefix}*")).await.map_err(error::subscribe)?;
            let inbox = Arc::new(Inbox { prefix, waiting: Mutex::default() });
            readers.push(AbortOnDropHandle::new(tokio::spawn(read(Arc::clone(&inbox), subscriber))));
            inboxes.push(inbox);
        }
        Ok(Self { client, prefix: own, inboxes, turn: AtomicUsize::new(0), _readers: readers })
    }

    /// Sends a request and waits for its answer, whatever its status, except that nobody listens.
    pub(super) async fn send(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        wait: Duration,
    ) -> Result<Message, BusError> {
        let mut pending = self.register()?;
        let reply_to = format!("{}{}", pending.inbox.prefix, pending.token);
        let headers = headers.unwrap_or_default();
        let exchange = async {
            let sent = self.client.publish_with_reply_and_headers(subject, reply_to, headers, payload).await;
            sent.map_err(error::publish)?;
            (&mut pending.answer).await.map_err(|_| BusError::Disconnected("the bus is closed".into()))
        };
        let message = timeout(wait, exchange).await.map_err(|_| BusError::TimedOut)??;
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(BusError::NoResponders);
        }
        Ok(message)
    }

    /// A subject for the answers to one request that has several.
    pub(super) fn new_inbox(&self) -> String {
        format!("{}.many.{}", self.prefix, self.turn.fetch_add(1, Ordering::Relaxed))
    }

    fn register(&self) -> Result<Pending<'_>, BusError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let inboxes = self.inboxes.iter().cycle().skip(turn % INBOXES).take(INBOXES);
        inboxes
            .filter_map(|inbox| inbox.register())
            .next()
            .ok_or_else(|| BusError::Disconnected("too many requests wait for an answer".into()))
    }
}

impl Inbox {
    fn register(&self) -> Option<Pending<'_>> {
        let mut waiting = self.waiting();
        if waiting.answers.len() >= SUBSCRIPTION_CAPACITY {
            return None;
        }
        waiting.last_token += 1;
        let token = waiting.last_token;
        let (sender, answer) = oneshot::channel();
        waiting.answers.insert(token, sender);
        Some(Pending { inbox: self, token, answer })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.inbox.waiting().answers.remove(&self.token);
    }
}

async fn read(inbox: Arc<Inbox>, mut subscriber: Subscriber) {
    while let Some(message) = subscriber.next().await {
        let token = message.subject.strip_prefix(inbox.prefix.as_str()).and_then(|token| token.parse().ok());
        let answer = token.and_then(|token: u64| inbox.waiting().answers.remove(&token));
        if let Some(answer) = answer {
            // Whoever asked may have gone.
            let _ = answer.send(message);
        }
    }
}
