//! The users that have channels on this gateway: their presence entries, and the status they chose.
//!
//! One task owns all of it. An entry is there while its user has any channel here, with a meta for each join of the
//! user topic; it is rewritten on changes only. After a write a worker is told what changed for those who may see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    ConversationId, Raw, Timestamp, Topic, UserId,
    envelope::{self, Call, ChosenStatus, GatewayEnvelope, PresenceMeta, Principal, UserPresence},
    record::Status,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    Shared,
    topic::actor::{Command, GRACE},
};

mod entry;
mod messages;
mod shown;

use entry::{Write, Written, write};
pub use messages::{Message, Users};
use shown::Shown;
pub use shown::{diff, metas, shown};

/// An entry is written at most so often.
const PACE: Duration = Duration::from_millis(100);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Writes under way at once.
const WRITES: usize = 256;

#[derive(Default)]
struct User {
    /// Channels by topic, and how many sockets have each.
    topics: BTreeMap<Topic, usize>,
    /// The connections by the ref they were joined with; a meta's own ref changes with the status.
    connections: BTreeMap<String, PresenceMeta>,
    chosen: Option<ChosenStatus>,
    departing: Vec<(Instant, String)>,
    /// What others were told.
    told: Vec<Shown>,
    /// The other gateways' entries were read for the status chosen there.
    known: bool,
    writing: bool,
    dirty: bool,
    not_before: Option<Instant>,
    joining: Vec<oneshot::Sender<Result<Option<Status>, BusError>>>,
    choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
}

impl User {
    /// What is to be written.
    fn write(&mut self) -> Write {
        let mut metas: Vec<_> = self.connections.values().cloned().collect();
        metas.sort_by_key(|meta| meta.online_at);
        Write {
            keep: !self.topics.is_empty() || !metas.is_empty(),
            entry: UserPresence { chosen: self.chosen, metas },
            known: self.known,
            joining: std::mem::take(&mut self.joining),
            choosing: std::mem::take(&mut self.choosing),
        }
    }

    /// A new ref for each meta: a change of status is one meta gone and one come.
    fn renew_refs(&mut self, shared: &Shared) {
        for meta in self.connections.values_mut() {
            meta.phx_ref_prev = Some(std::mem::replace(&mut meta.phx_ref, shared.env.short_id()));
        }
    }
}

struct Actor {
    shared: Arc<Shared>,
    users: BTreeMap<UserId, User>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    /// Users with something to write or to wait for.
    pending: BTreeSet<UserId>,
}

/// Runs until the gateway stops.
pub async fn run(shared: Arc<Shared>, mut messages: mpsc::Receiver<Message>) {
    let mut actor = Actor {
        shared: Arc::clone(&shared),
        users: BTreeMap::new(),
        writes: FuturesUnordered::new(),
        pending: BTreeSet::new(),
    };
    loop {
        let deadline = actor.start_writes();
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            Some(written) = actor.writes.next() => actor.written(written),
            message = messages.recv() => match message {
                Some(message) => actor.message(message),
                None => return,
            },
            () = sleep_until(deadline) => actor.depart(),
        }
    }
}

impl Actor {
    fn message(&mut self, message: Message) {
        match message {
            Message::Join { user, topic, phx_ref, done } => self.join(user, topic, phx_ref, done),
            Message::Leave { user, topic, phx_ref, dropped } => self.leave(user, &topic, phx_ref, dropped),
            Message::Choose { user, status, done } => {
                let state = self.users.entry(user.clone()).or_default();
                // Later than the one held, also within one millisecond.
                let held =
                    state.chosen.map_or(Timestamp::default(), |held| held.at.plus(Duration::from_millis(1)));
                let chosen = ChosenStatus { status, at: self.shared.env.now().max(held) };
                self.choose(&user, chosen);
                let state = self.users.entry(user.clone()).or_default();
                state.dirty = true;
                state.choosing.push(done);
                self.pending.insert(user.clone());
                self.shared.tasks.spawn(tell_gateways(Arc::clone(&self.shared), user, chosen));
            }
            Message::Chosen { user, chosen } => self.choose(&user, chosen),
            Message::Again(renamed) => {
                for (user, state) in &mut self.users {
                    state.dirty = true;
                    state.known = false;
                    if renamed {
                        state.renew_refs(&self.shared);
                    }
                    self.pending.insert(user.clone());
                }
            }
        }
    }

    fn join(
        &mut self,
        user: UserId,
        topic: Topic,
        phx_ref: Option<String>,
        done: oneshot::Sender<Result<Option<Status>, BusError>>,
    ) {
        let state = self.users.entry(user.clone()).or_default();
        *state.topics.entry(topic).or_default() += 1;
        if let Some(phx_ref) = phx_ref {
            // Back within the grace: the new connection takes the old one's place in one step.
            for (_, departed) in state.departing.drain(..) {
                state.connections.remove(&departed);
            }
            let online_at = self.shared.env.now();
            let meta =
                PresenceMeta { user: user.clone(), phx_ref: phx_ref.clone(), phx_ref_prev: None, online_at };
            state.connections.insert(phx_ref, meta);
            state.dirty = true;
        } else if state.known && !state.dirty && !state.writing {
            let _ = done.send(Ok(state.chosen.map(|chosen| chosen.status)));
            return;
        }
        state.dirty = true;
        state.joining.push(done);
        self.pending.insert(user);
    }

    fn leave(&mut self, user: UserId, topic: &Topic, phx_ref: Option<String>, dropped: bool) {
        let Some(state) = self.users.get_mut(&user) else { return };
        if let Some(count) = state.topics.get_mut(topic) {
            *count -= 1;
            if *count == 0 {
                state.topics.remove(topic);
            }
        }
        match phx_ref {
            Some(phx_ref) if dropped => state.departing.push((self.shared.env.instant() + GRACE, phx_ref)),
            Some(phx_ref) => {
                state.connections.remove(&phx_ref);
                state.dirty = true;
            }
            None => state.dirty |= state.topics.is_empty(),
        }
        self.pending.insert(user);
    }

    /// The latest choice holds.
    fn choose(&mut self, user: &UserId, chosen: ChosenStatus) {
        let Some(state) = self.users.get_mut(user) else { return };
        if state.chosen.is_some_and(|held| held.at >= chosen.at) {
            return;
        }
        let before = state.chosen.replace(chosen).map_or(Status::Online, |held| held.status);
        if before == chosen.status {
            return;
        }
        state.renew_refs(&self.shared);
        state.dirty = true;
        self.pending.insert(user.clone());
        let visible = chosen.status != Status::Offline;
        if visible != (before != Status::Offline) {
            let topics: Vec<ConversationId> = state.topics.keys().filter_map(conversation).collect();
            self.shared.tasks.spawn(show(Arc::clone(&self.shared), user.clone(), topics, visible));
        }
    }

    fn depart(&mut self) {
        let now = self.shared.env.instant();
        for user in &self.pending {
            let Some(state) = self.users.get_mut(user) else { continue };
            for (_, phx_ref) in state.departing.extract_if(.., |(at, _)| *at <= now) {
                state.connections.remove(&phx_ref);
                state.dirty = true;
            }
        }
    }

    /// Starts the writes that are due; answers when to look again.
    fn start_writes(&mut self) -> Instant {
        let now = self.shared.env.instant();
        let mut deadline = now + Duration::from_secs(3600);
        let mut settled = Vec::new();
        for user in &self.pending {
            let Some(state) = self.users.get_mut(user) else {
                settled.push(user.clone());
                continue;
            };
            deadline = state.departing.iter().map(|(at, _)| *at).fold(deadline, Instant::min);
            if state.writing {
                continue;
            }
            if !state.dirty {
                if state.departing.is_empty() {
                    settled.push(user.clone());
                }
                continue;
            }
            match state.not_before {
                Some(at) if at > now => deadline = deadline.min(at),
                _ if self.writes.len() < WRITES => {
                    (state.writing, state.dirty, state.not_before) = (true, false, Some(now + PACE));
                    self.writes.push(Box::pin(write(Arc::clone(&self.shared), user.clone(), state.write())));
                }
                _ => {}
            }
        }
        for user in settled {
            self.pending.remove(&user);
        }
        deadline
    }

    fn written(&mut self, written: Written) {
        let Written { user, outcome, joining, choosing, shown } = written;
        let Some(state) = self.users.get_mut(&user) else { return };
        state.writing = false;
        let mut elsewhere = None;
        let answer = match outcome {
            Ok(chosen) => {
                state.known = true;
                elsewhere = chosen;
                let diff = diff(&user, &state.told, &shown);
                if state.told != shown {
                    state.told = shown;
                    let call = Call::PresenceChanged { user: user.clone(), diff: Some(Raw::of(&diff)) };
                    let shared = Arc::clone(&self.shared);
                    self.shared.tasks.spawn(async move {
                        let _ = shared.workers.call(Principal::Service, call).await;
                    });
                }
                Ok(())
            }
            Err(error) => {
                state.dirty = true;
                state.not_before = Some(self.shared.env.instant() + RETRY + self.shared.env.jitter(RETRY));
                Err(error)
            }
        };
        if state.topics.is_empty() && state.connections.is_empty() && !state.dirty {
            self.users.remove(&user);
        }
        if let Some(chosen) = elsewhere {
            self.choose(&user, chosen);
        }
        let held = self.users.get(&user).and_then(|state| state.chosen).map(|chosen| chosen.status);
        for done in joining {
            let _ = done.send(answer.clone().map(|()| held));
        }
        for done in choosing {
            let _ = done.send(answer.clone());
        }
    }
}

fn conversation(topic: &Topic) -> Option<ConversationId> {
    match topic {
        Topic::Conversation(id) => Some(id.clone()),
        Topic::User(_) => None,
    }
}

async fn show(shared: Arc<Shared>, user: UserId, topics: Vec<ConversationId>, visible: bool) {
    for id in topics {
        shared.topics.tell(&id, Command::Visibility { user: user.clone(), visible }).await;
    }
}

/// Tells the other gateways that hold the user which status was chosen.
async fn tell_gateways(shared: Arc<Shared>, user: UserId, chosen: ChosenStatus) {
    let filters = [subject::user_filter(&user)];
    let Ok(entries) = shared.bus.get_many(Bucket::Presence, &filters).await else { return };
    let own = shared.leases.id();
    let envelope = envelope::encode(&GatewayEnvelope::Chosen { user, chosen });
    for gateway in
        entries.iter().filter_map(|entry| entry.key.parts().pop()).filter(|gateway| **gateway != *own)
    {
        let _ = shared.bus.publish(&shared.subjects.gateway(&gateway), envelope.clone()).await;
    }
}
