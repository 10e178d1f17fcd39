//! How a command reaches a worker: the one that the conversation prefers, then the next.
//!
//! Each conversation has an order of the live workers (rendezvous hashing), so that its commands meet in one worker's
//! caches; any other does them as well. Nobody listening: the next at once. No answer: the next only once the first
//! attempt may no longer write, and the silent worker is asked last until it is heard of again.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use simurgh_backplane::{BusError, SharedBus, Subject, subject::Subjects};
use simurgh_env::Env;
use simurgh_protocol::{
    Refusal,
    envelope::{self, Answer, Call, Command, Presented, Principal, Success, WorkerAlive},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Within which every command is answered (phoenix.js gives up at 10 s).
pub const BUDGET: Duration = Duration::from_secs(8);
/// How long one attempt may read and write.
const ATTEMPT: Duration = Duration::from_millis(2_500);
/// By how much clocks may differ: the next attempt starts so long after the deadline of the one before.
const CLOCKS: Duration = Duration::from_secs(1);
/// A worker not heard of for so long is asked last.
const SUSPECT_AFTER: Duration = Duration::from_secs(2);
/// A worker not heard of for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// Between attempts where nobody listens at all.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// An attempt with less time than this is not begun.
const LEAST: Duration = Duration::from_millis(200);
/// The largest command: NATS takes 1 MiB.
const MAX_COMMAND: usize = 768 * 1024;

/// The workers that live, and the way to them.
pub struct Workers {
    bus: SharedBus,
    env: Env,
    subjects: Subjects,
    known: Mutex<BTreeMap<Arc<str>, Known>>,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy)]
struct Known {
    heard_at: Instant,
    suspect: bool,
}

impl Workers {
    /// Knows nobody yet: until a worker is heard of, commands go to whichever is free.
    #[must_use]
    pub fn new(bus: SharedBus, env: Env, subjects: Subjects, metrics: Arc<Metrics>) -> Self {
        Self { bus, env, subjects, known: Mutex::default(), metrics }
    }

    /// How many workers were heard of lately and answer.
    #[must_use]
    pub fn living(&self) -> usize {
        let now = self.env.instant();
        let known = self.lock();
        known.values().filter(|known| !known.suspect && now < known.heard_at + SUSPECT_AFTER).count()
    }

    /// Has some worker carry out `call` for `principal`, within [`BUDGET`].
    ///
    /// # Errors
    /// The worker's refusal, or `unavailable` where none answered.
    pub async fn call(&self, principal: Principal, call: Call) -> Result<Success, Refusal> {
        self.call_until(self.env.instant() + BUDGET, principal, call).await
    }

    /// The same, answered by `give_up_at`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn call_until(
        &self,
        give_up_at: Instant,
        principal: Principal,
        call: Call,
    ) -> Result<Success, Refusal> {
        self.call_presenting(give_up_at, principal, None, call).await
    }

    /// The same for somebody whose token was not looked at by a worker yet.
    ///
    /// # Errors
    /// As [`Self::call`], and `unauthorized` where the token was revoked.
    pub async fn call_presenting(
        &self,
        give_up_at: Instant,
        principal: Principal,
        token: Option<Presented>,
        call: Call,
    ) -> Result<Success, Refusal> {
        let id = self.env.uuid();
        let mut tried = Vec::new();
        let mut pause = PAUSE;
        loop {
            let now = self.env.instant();
            let left = give_up_at.saturating_duration_since(now);
            if left < LEAST {
                return Err(Refusal::unavailable("no worker answered"));
            }
            let window = ATTEMPT.min(left);
            let command = Command {
                id,
                principal: principal.clone(),
                token: token.clone(),
                deadline: self.env.now().plus(window),
                call: call.clone(),
            };
            let (worker, subject) = self.choose(&command.call, &tried);
            let bytes = envelope::encode(&command);
            if bytes.len() > MAX_COMMAND {
                return Err(Refusal::too_large("the command", MAX_COMMAND));
            }
            let asked = self.bus.request(&subject, bytes, window).await;
            self.count(worker.as_deref(), &asked, self.env.instant().saturating_duration_since(now));
            let wait = match asked {
                Ok(bytes) => return answer(&bytes),
                Err(BusError::NoResponders) => match worker {
                    Some(worker) => {
                        self.lock().remove(&worker);
                        self.metrics.forget_worker(&worker);
                        tried.push(worker);
                        Duration::ZERO
                    }
                    None => {
                        tried.clear();
                        pause = (pause * 2).min(LONGEST_PAUSE);
                        pause / 2 + self.env.jitter(pause / 2)
                    }
                },
                Err(BusError::TimedOut) => {
                    tracing::warn!(
                        worker = worker.as_deref(),
                        "a worker did not answer in time: see its log, and whether its store answers"
                    );
                    if let Some(worker) = worker {
                        self.suspect(&worker);
                        tried.push(worker);
                    }
                    // It may still be writing until its deadline, by its clock.
                    CLOCKS
                }
                Err(BusError::TooLarge(_)) => return Err(Refusal::too_large("the command", MAX_COMMAND)),
                Err(error) => {
                    tracing::debug!(%error, "the backplane is out of reach: the command was not sent");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause / 2 + self.env.jitter(pause / 2)
                }
            };
            if self.env.instant() + wait + LEAST >= give_up_at {
                return Err(Refusal::unavailable("no worker answered"));
            }
            sleep(wait).await;
        }
    }

    /// Counts an attempt. Only a worker that is known gets a series of its own, which goes when the worker is forgotten.
    fn count(&self, worker: Option<&str>, asked: &Result<Bytes, BusError>, took: Duration) {
        self.metrics.attempt(match asked {
            Ok(_) => "answered",
            Err(BusError::NoResponders) => "no_responders",
            Err(BusError::TimedOut) => "timed_out",
            Err(_) => "disconnected",
        });
        if asked.is_ok() {
            let known = self.lock();
            let name =
                worker.map_or("any", |worker| if known.contains_key(worker) { worker } else { "gone" });
            self.metrics.command(name, took);
        }
    }

    /// The first in the conversation's order that was not tried; none known: whichever is free.
    fn choose(&self, call: &Call, tried: &[Arc<str>]) -> (Option<Arc<str>>, Subject) {
        let now = self.env.instant();
        let chance = if call.conversation().is_none() { self.env.random_u64() } else { 0 };
        let best = self
            .lock()
            .iter()
            .filter(|(id, _)| !tried.contains(id))
            .map(|(id, known)| {
                let suspect = known.suspect || now >= known.heard_at + SUSPECT_AFTER;
                let mut hasher = DefaultHasher::new();
                (id, call.conversation().map(simurgh_protocol::ConversationId::as_str), chance)
                    .hash(&mut hasher);
                (suspect, hasher.finish(), Arc::clone(id))
            })
            .min();
        match best {
            Some((_, _, id)) => {
                let subject = self.subjects.worker(&id);
                (Some(id), subject)
            }
            None => (None, self.subjects.any_worker()),
        }
    }

    fn suspect(&self, worker: &Arc<str>) {
        if let Some(known) = self.lock().get_mut(worker) {
            known.suspect = true;
        }
    }

    fn heard_of(&self, alive: &WorkerAlive) {
        let now = self.env.instant();
        let mut known = self.lock();
        known.retain(|name, worker| {
            let kept = now < worker.heard_at + FORGET_AFTER;
            if !kept {
                self.metrics.forget_worker(name);
            }
            kept
        });
        if alive.leaving {
            known.remove(alive.id.as_str());
            self.metrics.forget_worker(&alive.id);
        } else {
            known.insert(alive.id.as_str().into(), Known { heard_at: now, suspect: false });
        }
    }

    /// Listens to the workers' heartbeats until the gateway stops.
    pub async fn listen(&self, stopped: CancellationToken) {
        loop {
            let subscribed = self.bus.subscribe(&self.subjects.worker_heartbeats(), None).await;
            if let Ok(mut heartbeats) = subscribed {
                loop {
                    tokio::select! {
                        biased;
                        () = stopped.cancelled() => return,
                        heartbeat = heartbeats.next() => match heartbeat {
                            Some(heartbeat) => if let Ok(alive) = envelope::decode(&heartbeat.payload) {
                                self.heard_of(&alive);
                            },
                            None => return,
                        },
                    }
                }
            }
            tokio::select! {
                biased;
                () = stopped.cancelled() => return,
                () = sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(bytes: &[u8]) -> Result<Success, Refusal> {
    match envelope::decode::<Answer>(bytes) {
        Ok(Answer::Ok(success)) => Ok(success),
        Ok(Answer::Refused(refusal)) => Err(refusal),
        Err(error) => {
            tracing::warn!(%error, "a worker's answer could not be read: upgrade this gateway");
            Err(Refusal::unavailable("the answer could not be read"))
        }
    }
}
