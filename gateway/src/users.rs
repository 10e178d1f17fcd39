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
    ConversationId, Timestamp, Topic, UserId,
    envelope::{self, Call, ChosenStatus, EntryMark, GatewayEnvelope, PresenceMeta, Principal},
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
mod unseen;
mod user;

use entry::{Written, write};
pub use messages::{Message, Users};
pub use shown::{Shown, diff, metas, shown};
use user::User;

/// An entry is written at most so often.
const PACE: Duration = Duration::from_millis(100);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);
/// The longest pause between attempts to have a change told.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long another gateway has to note a choice.
const NOTED: Duration = Duration::from_secs(1);
/// Writes under way at once, and as many calls to workers.
const AT_ONCE: usize = 256;

struct Actor {
    shared: Arc<Shared>,
    /// In boxes: a node of the map is as large as eleven of what it holds.
    users: BTreeMap<UserId, Box<User>>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    calls: FuturesUnordered<BoxFuture<'static, Told>>,
    /// When to look at whom.
    due: BTreeSet<(Instant, UserId)>,
    /// Who wants to write, or to tell, while too much of it is under way.
    waiting_writes: BTreeSet<UserId>,
    waiting_calls: BTreeSet<UserId>,
}

/// What became of telling others.
enum Told {
    /// That so many changes were made to the entry.
    Changes { user: UserId, changes: u64, done: bool },
    /// That this status was chosen.
    Choice { user: UserId, chosen: ChosenStatus, done: bool },
}

/// Runs until the gateway stops.
pub async fn run(shared: Arc<Shared>, mut messages: mpsc::Receiver<Message>) {
    let mut actor = Actor {
        shared: Arc::clone(&shared),
        users: BTreeMap::new(),
        writes: FuturesUnordered::new(),
        calls: FuturesUnordered::new(),
        due: BTreeSet::new(),
        waiting_writes: BTreeSet::new(),
        waiting_calls: BTreeSet::new(),
    };
    loop {
        actor.look();
        let far = shared.env.instant() + Duration::from_secs(3600);
        let deadline = actor.due.first().map_or(far, |(at, _)| *at);
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            Some(written) = actor.writes.next() => actor.written(written),
            Some(told) = actor.calls.next() => actor.told(told),
            message = messages.recv() => match message {
                Some(message) => actor.message(message),
                None => return,
            },
            () = sleep_until(deadline) => {}
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
                self.touch(&user);
            }
            Message::Chosen { user, chosen } => self.choose(&user, chosen),
            Message::Unseen { user, unseen } => self.unseen(user, unseen),
            Message::Again(renamed) => {
                for state in self.users.values_mut() {
                    (state.dirty, state.known, state.retell) = (true, false, true);
                    (state.epoch, state.pause, state.tell_not_before) =
                        (state.epoch + 1, Duration::ZERO, None);
                    state.untold_choice = state.chosen;
                    if renamed {
                        state.renew_refs(&self.shared);
                    }
                }
                let users: Vec<UserId> = self.users.keys().cloned().collect();
                users.iter().for_each(|user| self.touch(user));
            }
        }
    }

    fn join(
        &mut self,
        user: UserId,
        topic: Topic,
        phx_ref: Option<String>,
        done: oneshot::Sender<Result<Option<ChosenStatus>, BusError>>,
    ) {
        let state = self.users.entry(user.clone()).or_default();
        let watches = phx_ref.is_none() && matches!(topic, Topic::User(_));
        *state.topics.or_default(topic) += 1;
        if let Some(phx_ref) = phx_ref {
            // Back within the grace: the new connection takes the old one's place in one step.
            for (_, departed) in state.departing.drain(..) {
                state.connections.remove(&departed);
            }
            let online_at = self.shared.env.now();
            let meta =
                PresenceMeta { user: user.clone(), phx_ref: phx_ref.clone(), phx_ref_prev: None, online_at };
            state.connections.insert(phx_ref, Box::new(meta));
            state.dirty = true;
        } else if watches {
            state.watchers += 1;
        } else if state.known && !state.dirty && !state.writing {
            let _ = done.send(Ok(state.chosen));
            return;
        }
        state.dirty = true;
        state.joining.push(done);
        self.touch(&user);
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
            Some(phx_ref) if dropped => {
                state.departing.push((self.shared.env.instant() + GRACE, phx_ref));
                // Others count the user's sockets here by the entry, which matters where they are many.
                state.dirty |= state.connections.len() > self.shared.settings.bounds.max_sockets_per_user / 2;
            }
            Some(phx_ref) => {
                state.connections.remove(&phx_ref);
                state.dirty = true;
            }
            None if matches!(topic, Topic::User(_)) => {
                state.watchers = state.watchers.saturating_sub(1);
                state.dirty = true;
            }
            None => state.dirty |= state.topics.is_empty(),
        }
        self.touch(&user);
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
        let topics: Vec<ConversationId> = state.topics.keys().filter_map(conversation).collect();
        self.touch(user);
        let visible = chosen.status != Status::Offline;
        if visible != (before != Status::Offline) {
            self.shared.tasks.spawn(show(Arc::clone(&self.shared), user.clone(), topics, chosen));
        }
    }

    /// The user is looked at next, and then again when there is something to do.
    fn touch(&mut self, user: &UserId) {
        let now = self.shared.env.instant();
        self.plan(user, Some(now));
    }

    fn plan(&mut self, user: &UserId, at: Option<Instant>) {
        let Some(state) = self.users.get_mut(user) else { return };
        if let Some(before) = std::mem::replace(&mut state.due, at) {
            self.due.remove(&(before, user.clone()));
        }
        if let Some(at) = at {
            self.due.insert((at, user.clone()));
        }
    }

    /// Does what is due.
    fn look(&mut self) {
        let now = self.shared.env.instant();
        while let Some((at, user)) = self.due.first().cloned() {
            if at > now {
                return;
            }
            self.due.pop_first();
            if let Some(state) = self.users.get_mut(&user) {
                state.due = None;
            }
            self.step(&user, now);
        }
    }

    /// Starts what the user's state asks for, and plans the next look.
    fn step(&mut self, user: &UserId, now: Instant) {
        let Some(state) = self.users.get_mut(user) else { return };
        state.depart(now);
        let (writes, tells) = (state.writes_at(now), state.tells_at(now));
        if writes.is_some_and(|at| at <= now) {
            if self.writes.len() < AT_ONCE {
                let task = write(Arc::clone(&self.shared), user.clone(), state.start_write(now + PACE));
                self.writes.push(Box::pin(task));
            } else {
                self.waiting_writes.insert(user.clone());
            }
        }
        if tells.is_some_and(|at| at <= now) {
            if self.calls.len() < AT_ONCE {
                self.calls.push(state.start_telling(&self.shared, user));
            } else {
                self.waiting_calls.insert(user.clone());
            }
        }
        if state.is_settled() {
            self.users.remove(user);
            return;
        }
        let departs = state.departing.iter().map(|(at, _)| *at).min();
        let next = [writes, tells, departs].into_iter().flatten().filter(|at| *at > now).min();
        self.plan(user, next);
    }

    fn told(&mut self, told: Told) {
        let now = self.shared.env.instant();
        let (user, done) = match &told {
            Told::Changes { user, done, .. } | Told::Choice { user, done, .. } => (user.clone(), *done),
        };
        if let Some(state) = self.users.get_mut(&user) {
            state.telling = false;
            match told {
                Told::Changes { changes, .. } if done => state.told = changes,
                Told::Choice { chosen, .. } if done && state.untold_choice == Some(chosen) => {
                    state.untold_choice = None;
                }
                _ => {}
            }
            if done {
                (state.pause, state.tell_not_before) = (Duration::ZERO, None);
            } else {
                state.pause = (state.pause * 2).clamp(RETRY, LONGEST_PAUSE);
                state.tell_not_before = Some(now + state.pause / 2 + self.shared.env.jitter(state.pause));
            }
        }
        self.touch(&user);
        if let Some(user) = self.waiting_calls.pop_first() {
            self.touch(&user);
        }
    }

    fn written(&mut self, written: Written) {
        let Written { user, outcome, joining, choosing, says, again, epoch, mark, placed } = written;
        let mut answer = Ok(());
        if let Some(state) = self.users.get_mut(&user) {
            state.writing = false;
            state.placed = placed && outcome.is_ok();
            match outcome {
                Ok(chosen) => {
                    state.known = state.epoch == epoch;
                    state.entry = mark
                        .as_ref()
                        .filter(|mark| !mark.gone)
                        .map(|_| self.shared.metrics.presence_entry("user"));
                    state.mark = mark;
                    if state.says != says || again {
                        state.changes += 1;
                        state.says = says;
                    }
                    if let Some(chosen) = chosen {
                        self.choose(&user, chosen);
                    }
                }
                Err(error) => {
                    (state.dirty, state.retell) = (true, state.retell || again);
                    state.not_before =
                        Some(self.shared.env.instant() + RETRY + self.shared.env.jitter(RETRY));
                    answer = Err(error);
                }
            }
        }
        let held = self.users.get(&user).and_then(|state| state.chosen);
        if let (Some(chosen), false, Ok(())) = (held, choosing.is_empty(), &answer) {
            // After the write: who joins elsewhere reads it, or is told.
            if let Some(state) = self.users.get_mut(&user) {
                state.untold_choice = Some(chosen);
            }
        }
        for done in joining {
            let _ = done.send(answer.clone().map(|()| held));
        }
        for done in choosing {
            let _ = done.send(answer.clone());
        }
        self.touch(&user);
        if let Some(user) = self.waiting_writes.pop_first() {
            self.touch(&user);
        }
    }
}

fn conversation(topic: &Topic) -> Option<ConversationId> {
    match topic {
        Topic::Conversation(id) => Some(id.clone()),
        Topic::User(_) => None,
    }
}

async fn show(shared: Arc<Shared>, user: UserId, topics: Vec<ConversationId>, chosen: ChosenStatus) {
    for id in topics {
        shared.topics.tell(&id, Command::Chosen { user: user.clone(), chosen }).await;
    }
}

/// Has a worker tell the gateways of those who may see it that something changed. A repeat does no harm.
async fn tell(shared: Arc<Shared>, user: UserId, changes: u64, mark: Option<EntryMark>) -> Told {
    let call = Call::PresenceChanged { user: user.clone(), entry: mark };
    let done = shared.workers.call(Principal::Service, call).await.is_ok();
    Told::Changes { user, changes, done }
}

/// Tells the other gateways that hold the user which status was chosen. A repeat does no harm.
async fn tell_choice(shared: Arc<Shared>, user: UserId, chosen: ChosenStatus) -> Told {
    let done = try_tell_choice(&shared, &user, chosen).await.is_ok();
    Told::Choice { user, chosen, done }
}

async fn try_tell_choice(shared: &Shared, user: &UserId, chosen: ChosenStatus) -> Result<(), BusError> {
    let entries = shared.bus.get_many(Bucket::Presence, &[subject::user_filter(user)]).await?;
    let own = shared.leases.id();
    let envelope = envelope::encode(&GatewayEnvelope::Chosen { user: user.clone(), chosen });
    for gateway in entries.iter().filter_map(|entry| entry.key.parts().pop()) {
        if *gateway == *own || !shared.leases.stands(&gateway).await {
            continue;
        }
        match shared.bus.request(&shared.subjects.gateway(&gateway), envelope.clone(), NOTED).await {
            // One that is cut off writes its entries again when it is back, and reads the others' choices then.
            Ok(_) | Err(BusError::NoResponders) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
