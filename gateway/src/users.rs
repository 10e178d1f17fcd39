//! The users that have channels on this gateway: their presence entries, and the status they chose.
//!
//! One task owns all of it. An entry is there while its user has any channel here, with a meta for each join of the
//! user topic; it is rewritten on changes only. After a write a worker is told what changed for those who may see it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Map, Value, json};
use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    ConversationId, Raw, Topic, UserId,
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

/// An entry is written at most so often.
const PACE: Duration = Duration::from_millis(100);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Messages that wait for the task.
const MESSAGES: usize = 4_096;
/// Writes under way at once.
const WRITES: usize = 256;

/// What sockets say about their users.
#[derive(Debug)]
pub enum Message {
    /// A channel is being joined; answered once the entry is written. `meta`: it is the user topic.
    Join {
        /// Whose.
        user: UserId,
        /// Which.
        topic: Topic,
        /// For the user topic: the connection's ref.
        phx_ref: Option<String>,
        /// Gets the status held, or why it failed.
        done: oneshot::Sender<Result<Option<Status>, BusError>>,
    },
    /// A channel is gone, or its join came to nothing.
    Leave {
        /// Whose.
        user: UserId,
        /// Which.
        topic: Topic,
        /// For the user topic: the connection's ref.
        phx_ref: Option<String>,
        /// The socket dropped: the user may be back at once.
        dropped: bool,
    },
    /// A status was chosen here; answered once it is written.
    Choose {
        /// Who.
        user: UserId,
        /// Which.
        status: Status,
        /// Gets nothing, or why it failed.
        done: oneshot::Sender<Result<(), BusError>>,
    },
    /// A status was chosen on another gateway.
    Chosen {
        /// Who.
        user: UserId,
        /// Which, and when.
        chosen: ChosenStatus,
    },
    /// Entries may be gone, or (`true`) this gateway has another name: write them again.
    Again(bool),
}

/// The way to the task.
#[derive(Clone, Debug)]
pub struct Users(mpsc::Sender<Message>);

impl Users {
    /// The way, and the end that [`run`] reads.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(MESSAGES);
        (Self(sender), receiver)
    }

    /// Notes a channel; answers the status that the user chose, if any, once the entry is written.
    ///
    /// # Errors
    /// Where the entry could not be written.
    pub async fn join(
        &self,
        user: UserId,
        topic: Topic,
        phx_ref: Option<String>,
    ) -> Result<Option<Status>, BusError> {
        self.ask(|done| Message::Join { user, topic, phx_ref, done }).await
    }

    /// Notes that a status was chosen; everybody's entry follows.
    ///
    /// # Errors
    /// Where the entry could not be written.
    pub async fn choose(&self, user: UserId, status: Status) -> Result<(), BusError> {
        self.ask(|done| Message::Choose { user, status, done }).await
    }

    /// Says something that has no answer.
    pub async fn tell(&self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// Everything is written again.
    pub fn again(&self, renamed: bool) {
        let _ = self.0.try_send(Message::Again(renamed));
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, BusError>>) -> Message,
    ) -> Result<T, BusError> {
        let gone = || BusError::Disconnected("the gateway is stopping".to_owned());
        let (done, answer) = oneshot::channel();
        self.0.send(message(done)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A connection as others see it: the meta and the status beside it.
pub type Shown = (PresenceMeta, Status);

/// What others may see of an entry: nothing of an invisible user.
#[must_use]
pub fn shown(entry: &UserPresence) -> Vec<Shown> {
    let status = entry.chosen.map_or(Status::Online, |chosen| chosen.status);
    if status == Status::Offline {
        return Vec::new();
    }
    entry.metas.iter().map(|meta| (meta.clone(), status)).collect()
}

/// A user's metas in Phoenix.Presence's form, with status.
#[must_use]
pub fn metas(shown: &[Shown]) -> Value {
    let metas: Vec<Value> = shown
        .iter()
        .map(|(meta, status)| {
            let mut value = json!({"phx_ref": meta.phx_ref, "status": status, "online_at": meta.online_at});
            if let (Some(map), Some(previous)) = (value.as_object_mut(), &meta.phx_ref_prev) {
                map.insert("phx_ref_prev".to_owned(), previous.as_str().into());
            }
            value
        })
        .collect();
    json!({ "metas": metas })
}

/// `presence_diff` from what was shown to what is.
#[must_use]
pub fn diff(user: &UserId, before: &[Shown], after: &[Shown]) -> Value {
    let lacking = |one: &[Shown], other: &[Shown]| -> Map<String, Value> {
        let rest: Vec<Shown> = one
            .iter()
            .filter(|(meta, _)| !other.iter().any(|(known, _)| known.phx_ref == meta.phx_ref))
            .cloned()
            .collect();
        if rest.is_empty() { Map::new() } else { Map::from_iter([(user.to_string(), metas(&rest))]) }
    };
    json!({"joins": lacking(after, before), "leaves": lacking(before, after)})
}

#[derive(Default)]
struct User {
    /// Channels by topic, and how many sockets have each.
    topics: BTreeMap<Topic, usize>,
    entry: Entry,
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

type Entry = UserPresence;

struct Written {
    user: UserId,
    outcome: Result<Option<ChosenStatus>, BusError>,
    joining: Vec<oneshot::Sender<Result<Option<Status>, BusError>>>,
    choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
    shown: Vec<Shown>,
}

struct Actor {
    shared: Arc<Shared>,
    users: BTreeMap<UserId, User>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    /// Users with something to write or to wait for.
    pending: std::collections::BTreeSet<UserId>,
}

/// Runs until the gateway stops.
pub async fn run(shared: Arc<Shared>, mut messages: mpsc::Receiver<Message>) {
    let mut actor = Actor {
        shared: Arc::clone(&shared),
        users: BTreeMap::new(),
        writes: FuturesUnordered::new(),
        pending: std::collections::BTreeSet::new(),
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
                let chosen = ChosenStatus { status, at: self.shared.env.now() };
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
                        renew_refs(&self.shared, &mut state.entry);
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
                state.entry.metas.retain(|meta| meta.phx_ref != departed);
            }
            let online_at = self.shared.env.now();
            state.entry.metas.push(PresenceMeta {
                user: user.clone(),
                phx_ref,
                phx_ref_prev: None,
                online_at,
            });
            state.dirty = true;
        } else if state.known && !state.dirty && !state.writing {
            let _ = done.send(Ok(state.entry.chosen.map(|chosen| chosen.status)));
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
                state.entry.metas.retain(|meta| meta.phx_ref != phx_ref);
                state.dirty = true;
            }
            None => state.dirty |= state.topics.is_empty(),
        }
        self.pending.insert(user);
    }

    /// The latest choice holds.
    fn choose(&mut self, user: &UserId, chosen: ChosenStatus) {
        let Some(state) = self.users.get_mut(user) else { return };
        if state.entry.chosen.is_some_and(|held| held.at >= chosen.at) {
            return;
        }
        let before = state.entry.chosen.replace(chosen).map_or(Status::Online, |held| held.status);
        if before == chosen.status {
            return;
        }
        renew_refs(&self.shared, &mut state.entry);
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
                state.entry.metas.retain(|meta| meta.phx_ref != phx_ref);
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
                    self.writes.push(Box::pin(write(
                        Arc::clone(&self.shared),
                        user.clone(),
                        Write::of(state),
                    )));
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
        if state.topics.is_empty() && state.entry.metas.is_empty() && !state.dirty {
            self.users.remove(&user);
        }
        if let Some(chosen) = elsewhere {
            self.choose(&user, chosen);
        }
        let held = self.users.get(&user).and_then(|state| state.entry.chosen).map(|chosen| chosen.status);
        for done in joining {
            let _ = done.send(answer.clone().map(|()| held));
        }
        for done in choosing {
            let _ = done.send(answer.clone());
        }
    }
}

/// What a write needs of a user's state.
struct Write {
    entry: Entry,
    keep: bool,
    known: bool,
    joining: Vec<oneshot::Sender<Result<Option<Status>, BusError>>>,
    choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
}

impl Write {
    fn of(state: &mut User) -> Self {
        Self {
            entry: state.entry.clone(),
            keep: !state.topics.is_empty() || !state.entry.metas.is_empty(),
            known: state.known,
            joining: std::mem::take(&mut state.joining),
            choosing: std::mem::take(&mut state.choosing),
        }
    }
}

async fn write(shared: Arc<Shared>, user: UserId, write: Write) -> Written {
    let outcome = store(&shared, &user, &write).await;
    let shown = shown(&write.entry);
    Written { user, outcome, joining: write.joining, choosing: write.choosing, shown }
}

/// Writes the entry (or removes it), and answers a later choice found on another gateway.
async fn store(shared: &Shared, user: &UserId, write: &Write) -> Result<Option<ChosenStatus>, BusError> {
    let key = subject::user_key(user, &shared.leases.id());
    if !write.keep {
        if let Some(found) = shared.bus.get(Bucket::Presence, &key).await? {
            match shared.bus.delete(Bucket::Presence, &key, found.revision).await {
                Ok(()) | Err(BusError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        return Ok(None);
    }
    shared.bus.put(Bucket::Presence, &key, envelope::encode(&write.entry)).await?;
    if write.known {
        return Ok(None);
    }
    let entries = shared.bus.get_many(Bucket::Presence, &[subject::user_filter(user)]).await?;
    let mut latest: Option<ChosenStatus> = None;
    for entry in entries.iter().filter(|entry| entry.key != key) {
        let gateway = entry.key.parts().pop().unwrap_or_default();
        if let Ok(Entry { chosen: Some(chosen), metas }) = envelope::decode::<Entry>(&entry.value)
            && !metas.is_empty()
            && latest.is_none_or(|held| held.at < chosen.at)
            && shared.leases.stands(&gateway).await
        {
            latest = Some(chosen);
        }
    }
    Ok(latest)
}

/// A new ref for each meta: a change of status is one meta gone and one come.
fn renew_refs(shared: &Shared, entry: &mut Entry) {
    for meta in &mut entry.metas {
        meta.phx_ref_prev = Some(std::mem::replace(&mut meta.phx_ref, shared.env.short_id()));
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
