//! `/socket/longpoll`: phoenix.js' fallback where WebSockets do not get through.
//!
//! A session is a socket like any other ([`crate::socket`]); the process that opened it holds it. Its token says which
//! process that is, so any gateway answers for it: one that does not hold it asks the one that does
//! ([`elsewhere`]).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use simurgh_env::Env;
use simurgh_protocol::{
    CloseCode, Vsn,
    longpoll::{Line as PostLine, PostBody, Secret, SessionToken},
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Shared,
    admission::Place,
    auth::Claims,
    socket::{
        self, Data, Incoming,
        longpoll::{Line, LongPoll, Poll, Polled, Post, WINDOW},
    },
    sockets::Permit,
};

mod answer;
pub mod elsewhere;
mod request;
pub mod serve;

/// Bytes of posts that are being read, of all clients together; further ones wait.
const BODY_BYTES: usize = 128 * 1024 * 1024;
/// Polls whose session another gateway holds. Each is a request on the backplane that waits, and commands to workers
/// need room there, too.
const FORWARDED: usize = 4_096;
/// Polls that a newer one displaced and that wait for the end of their window; others are answered at once.
const DISPLACED: usize = 256;
/// Polls and posts of other gateways' clients that are served at a time.
const SERVED: usize = 8_192;
/// How much longer than its window an answer may take.
const SLACK: Duration = Duration::from_secs(3);

/// The sessions that this process holds.
pub struct LongPolls {
    /// What their tokens call this process.
    process: String,
    most: usize,
    sessions: Mutex<BTreeMap<Secret, Session>>,
    /// Polls that other gateways wait for, by their names, and how they are called off.
    asked_for: Mutex<BTreeMap<(Secret, u64), CancellationToken>>,
    limits: Limits,
}

struct Limits {
    bodies: Arc<Semaphore>,
    forwarded: Semaphore,
    displaced: Semaphore,
    served: Arc<Semaphore>,
}

#[derive(Clone)]
struct Session {
    vsn: Vsn,
    line: Line,
}

/// Keeps a session in the list.
struct Listed {
    of: Arc<Shared>,
    secret: Secret,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.of.long_polls.sessions().remove(&self.secret);
    }
}

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// The session took its frames.
    Taken,
    /// There is no such session (any more).
    Gone,
    /// The session ended over it, or did not take it in time.
    Late,
}

impl LongPolls {
    /// None yet, and at most `most`.
    #[must_use]
    pub fn new(env: &Env, most: usize) -> Self {
        Self {
            process: env.short_id(),
            most,
            sessions: Mutex::default(),
            asked_for: Mutex::default(),
            limits: Limits {
                bodies: Arc::new(Semaphore::new(BODY_BYTES)),
                forwarded: Semaphore::new(FORWARDED),
                displaced: Semaphore::new(DISPLACED),
                served: Arc::new(Semaphore::new(SERVED)),
            },
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions().len()
    }

    /// Polls a session of this process: answered within a window.
    async fn poll(&self, secret: Secret, seen: Option<u64>) -> Polled {
        let Some(session) = self.session(secret) else { return Polled::Gone };
        let (answer, answered) = oneshot::channel();
        if session.line.polls.send(Poll { seen, answer }).await.is_err() {
            return Polled::Gone;
        }
        answered.await.unwrap_or(Polled::Gone)
    }

    /// Hands frames to a session of this process; `before` lines of the same post went before.
    async fn post(&self, secret: Secret, body: &PostBody, before: usize) -> Posted {
        let Some(session) = self.session(secret) else { return Posted::Gone };
        let (taken, has_taken) = oneshot::channel();
        let post = Post { frames: body.frames(session.vsn, before).map(incoming).collect(), taken };
        let taking = async {
            if session.line.posts.send(post).await.is_err() {
                return Posted::Gone;
            }
            has_taken.await.map_or(Posted::Late, |()| Posted::Taken)
        };
        timeout(WINDOW, taking).await.unwrap_or(Posted::Late)
    }

    fn session(&self, secret: Secret) -> Option<Session> {
        self.sessions().get(&secret).cloned()
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<Secret, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked_for(&self) -> MutexGuard<'_, BTreeMap<(Secret, u64), CancellationToken>> {
        self.asked_for.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame of a post, as the session takes it.
fn incoming((line, excess): (PostLine, bool)) -> Result<Incoming, CloseCode> {
    let data = match line {
        PostLine::Text(text) => Data::Text(text.into()),
        PostLine::Binary(bytes) => Data::Binary(bytes.into()),
        PostLine::Invalid => return Err(CloseCode::InvalidFrame),
    };
    Ok(Incoming { data, excess })
}

/// Opens a session of the user whom the token names, and runs it as a task of the gateway. `None` where this process
/// holds as many as it can.
fn open(
    shared: &Arc<Shared>,
    vsn: Vsn,
    claims: Claims,
    place: Place,
    permit: Permit,
) -> Option<SessionToken> {
    let of = Arc::clone(shared);
    let secret = Secret::new(shared.env.secret()?);
    let max_unsent = shared.settings.bounds.max_unsent_bytes;
    if of.long_polls.count() >= of.long_polls.most {
        return None;
    }
    let session = LongPoll::new(shared.env.clone(), max_unsent, |line| {
        of.long_polls.sessions().insert(secret, Session { vsn, line });
        Listed { of, secret }
    });
    let context = Arc::clone(shared);
    shared.connections.spawn(async move {
        socket::run(session, vsn, claims, permit, context).await;
        drop(place);
    });
    Some(SessionToken { process: shared.long_polls.process.clone(), secret, seen: None })
}

#[cfg(test)]
mod tests;
