//! The task that drives one [`Topic`]: its subscription, its reads of the log, its presence entry and its timers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use simurgh_backplane::{BusError, Delivery, Subscription, trace};
use simurgh_protocol::{
    ConversationId, Refusal, UserId,
    envelope::{
        self, Call, ChosenStatus, ConversationEnvelope, ConversationEvent, ConversationPresence, Head,
        Membership, PresenceMeta, Principal, Range,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::info_span;

use super::{
    Topic,
    entry::{self, Entries, Saver},
};
use crate::{
    Shared,
    mailbox::{ChannelId, SocketId},
    metrics::Cause,
};

mod command;
mod others;
mod own;

pub use command::{Command, Ready};

/// A user whose sockets dropped is still there for so long (contract, guarantee 7).
pub const GRACE: Duration = Duration::from_secs(3);
/// Typing ends by itself (contract section 3.2).
const TYPING: Duration = Duration::from_secs(10);
/// Diffs of presence are merged over this (contract section 3.2).
const DIFF_WINDOW: Duration = Duration::from_millis(200);
/// How long the subscription outlives the last channel: a client that reconnects finds it warm.
const LINGER: Duration = Duration::from_secs(20);
/// How long a topic is kept that nobody could join (yet): refusals are cheap.
const UNJOINED: Duration = Duration::from_secs(1);
/// Interest takes time to travel: the head is asked for once more so long after the subscription.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How often the head of a conversation is asked for in which something happened lately.
const LOOK: Duration = Duration::from_secs(30);
/// How often it is in all others.
const LOOK_WHEN_QUIET: Duration = Duration::from_secs(300);
/// How long after the last event a conversation counts as quiet.
const QUIET: Duration = Duration::from_secs(600);
/// Between attempts to read a log that could not be read.
const RETRY: Duration = Duration::from_millis(500);

/// A channel of this gateway, as presence sees it.
struct Local {
    user: UserId,
    phx_ref: Option<String>,
}

enum Done {
    /// What was asked for, and what came.
    Range((u64, u64), Result<Range, Refusal>),
    Checked(Vec<UserId>, Result<Membership, Refusal>),
    Head(Result<Head, Refusal>),
    Saved(entry::Saved),
    Entry(String, u64, Result<Option<ConversationPresence>, BusError>),
    Repeated(Result<(), BusError>),
    AllEntries(Vec<(String, u64)>, Result<(Entries, bool), BusError>),
}

struct Actor {
    id: ConversationId,
    shared: Arc<Shared>,
    topic: Topic,
    locals: BTreeMap<(SocketId, ChannelId), Local>,
    departing: Vec<(Instant, PresenceMeta)>,
    typing: BTreeMap<UserId, Instant>,
    /// The latest status that was heard of each user with channels here.
    chosen: BTreeMap<UserId, ChosenStatus>,
    saver: Saver,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    reading: bool,
    /// Why channels lack messages that are being read.
    gap: Option<Cause>,
    /// A socket has drained since the last gap was found.
    drained: bool,
    checking: bool,
    read_not_before: Instant,
    diff_at: Option<Instant>,
    look_at: Option<Instant>,
    read_entries_at: Option<Instant>,
    /// Whether presence changed since all entries were read.
    presence_heard: bool,
    event_at: Instant,
    linger_until: Option<Instant>,
    /// Whether anybody ever joined.
    joined: bool,
}

/// Runs a topic until nobody needs it any more.
pub async fn run(
    id: ConversationId,
    shared: Arc<Shared>,
    mut commands: mpsc::Receiver<Command>,
    ready: Arc<Ready>,
) {
    let subject = shared.subjects.conversation(&id);
    let mut subscription = match shared.bus.subscribe(&subject, None).await {
        Ok(subscription) => subscription,
        Err(error) => {
            shared.topics.remove(&id, true);
            let _ = ready.set(Err(error));
            return;
        }
    };
    let mut actor = Actor::new(id, shared);
    let entries = entry::read_all(&actor.shared, &actor.id).await;
    actor.read_all_entries(Vec::new(), entries);
    let _ = ready.set(Ok(()));
    actor.drive(&mut commands, &mut subscription).await;
}

impl Actor {
    fn new(id: ConversationId, shared: Arc<Shared>) -> Self {
        let now = shared.env.instant();
        Self {
            topic: Topic::new(id.clone(), Arc::clone(&shared.metrics)),
            locals: BTreeMap::new(),
            departing: Vec::new(),
            typing: BTreeMap::new(),
            chosen: BTreeMap::new(),
            saver: Saver::default(),
            work: FuturesUnordered::new(),
            reading: false,
            gap: None,
            drained: false,
            checking: false,
            read_not_before: now,
            diff_at: None,
            look_at: Some(now + FIRST_LOOK),
            read_entries_at: Some(now + FIRST_LOOK),
            presence_heard: false,
            event_at: now,
            linger_until: Some(now + UNJOINED),
            joined: false,
            id,
            shared,
        }
    }

    async fn drive(&mut self, commands: &mut mpsc::Receiver<Command>, subscription: &mut Subscription) {
        loop {
            self.start_work();
            let deadline = self.deadline();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = self.shared.stopped.cancelled() => return,
                Some(done) = self.work.next() => self.done(done),
                delivery = subscription.next() => match delivery {
                    Some(delivery) => self.delivery(&delivery),
                    // The bus is closed: the gateway is stopping.
                    None => return,
                },
                () = sleep_until(deadline) => {}
            }
            // However much arrives, the clock is looked at.
            if deadline <= self.shared.env.instant() && self.tick() {
                return;
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Join(joined, chosen) => self.join(*joined, chosen),
            Command::Watch(joined) => self.watch(*joined),
            Command::Leave { socket, channel, dropped } => self.leave(socket, channel, dropped),
            Command::Typing { user, start } => self.typing(user, start),
            Command::Drained(socket) => {
                self.topic.drained(socket);
                self.drained = true;
            }
            Command::Chosen { user, chosen } => self.chosen(user, chosen),
            Command::Report { user, done } => drop(done.send(self.report(&user))),
            Command::Unseen { user, unseen } => self.topic.set_unseen(&user, unseen, self.shared.env.now()),
            Command::GatewayGone(gateway) => self.forget(&gateway),
            Command::Look => {
                self.look_soon();
                self.read_entries_soon(FIRST_LOOK * 3);
            }
            Command::Again { reborn } => self.again(reborn),
        }
    }

    fn delivery(&mut self, delivery: &Delivery) {
        let envelope = match envelope::decode::<ConversationEnvelope>(&delivery.payload) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(%error, "an envelope that this build cannot read was dropped: upgrade this gateway");
                return;
            }
        };
        if let ConversationEvent::Presence(change) = &envelope.event
            && *change.gateway == *self.shared.leases.id()
        {
            return;
        }
        let span = trace::continued(delivery.trace.as_ref(), || info_span!(target: trace::TARGET, "fanout"));
        let _entered = span.enter();
        self.event_at = self.shared.env.instant();
        self.presence_heard |= matches!(&envelope.event, ConversationEvent::Presence(_));
        if let ConversationEvent::Presence(change) = &envelope.event
            && !self.shared.leases.is_standing(&change.gateway)
        {
            // Nobody vouches for it (yet): its entry counts, if it has a lease.
            self.read_entry(change.gateway.clone(), change.revision);
            return;
        }
        let heard = self.topic.event(envelope);
        if let Some(user) = heard.removed {
            self.removed(&user);
        }
        if let Some(change) = heard.read_entry {
            self.read_entry(change.gateway, change.revision);
        }
        self.told_arrivals(&heard.arrivals);
    }

    fn told_arrivals(&mut self, arrivals: &[super::presence::Arrival]) {
        let now = self.shared.env.now();
        self.topic.tell_arrivals(arrivals, now);
        if self.diff_at.is_none() && self.topic.presence.has_diff() {
            self.diff_at = Some(self.shared.env.instant() + DIFF_WINDOW);
        }
    }

    fn done(&mut self, done: Done) {
        let now = self.shared.env.instant();
        match done {
            Done::Range(asked, result) => {
                self.reading = false;
                match result {
                    Ok(range) => {
                        self.topic.range(&range);
                        let wanted = self.topic.wants_range();
                        if let (None, Some(cause)) = (wanted, self.gap) {
                            self.shared.metrics.gap_repaired(cause);
                            self.gap = None;
                        }
                        if wanted == Some(asked) {
                            // The log does not reach as far as was heard: no asking in a loop.
                            self.read_not_before = now + RETRY * 2 + self.shared.env.jitter(RETRY);
                        }
                    }
                    Err(_) => self.read_not_before = now + RETRY + self.shared.env.jitter(RETRY),
                }
            }
            Done::Checked(asked, result) => {
                self.checking = false;
                match result {
                    Ok(membership) => {
                        for user in self.topic.checked(&asked, &membership) {
                            self.removed(&user);
                        }
                        if self.topic.wants_check() == asked {
                            self.read_not_before = now + RETRY + self.shared.env.jitter(RETRY);
                        }
                    }
                    Err(_) => self.read_not_before = now + RETRY + self.shared.env.jitter(RETRY),
                }
            }
            Done::Head(Ok(head)) => {
                self.topic.heard_of(&head);
                let pause = if now < self.event_at + QUIET { LOOK } else { LOOK_WHEN_QUIET };
                // At a time of its own, and never later than that; earlier where that was asked for meanwhile.
                let next = now + pause * 3 / 4 + self.shared.env.jitter(pause / 4);
                self.look_at = Some(self.look_at.map_or(next, |planned| planned.min(next)));
                if self.presence_heard || pause == LOOK_WHEN_QUIET {
                    self.read_entries_soon(FIRST_LOOK);
                }
            }
            Done::Head(Err(_)) => self.look_at = Some(now + RETRY * 2 + self.shared.env.jitter(RETRY * 8)),
            Done::Saved(saved) => self.saver.saved(saved, &self.shared),
            Done::Entry(gateway, revision, read) => self.read_entry_of(gateway, revision, read),
            Done::Repeated(Ok(())) => {}
            Done::Repeated(Err(_)) => self.saver.repeat_again(&self.shared.env),
            Done::AllEntries(known, entries) => self.read_all_entries(known, entries),
        }
    }

    /// Starts what is due and not under way.
    fn start_work(&mut self) {
        let now = self.shared.env.instant();
        if !self.checking && now >= self.read_not_before {
            let users = self.topic.wants_check();
            if !users.is_empty() {
                self.checking = true;
                let call = Call::CheckMembers { conversation: self.id.clone(), users: users.clone() };
                self.ask(call, move |result| Done::Checked(users, result));
            }
        }
        if !self.reading
            && now >= self.read_not_before
            && let Some((after_seq, after_change)) = self.topic.wants_range()
        {
            self.reading = true;
            if self.gap.is_none() {
                let cause = if std::mem::take(&mut self.drained) { Cause::Slow } else { Cause::Missed };
                self.gap = Some(cause);
                self.shared.metrics.gap_found(cause);
            }
            let call = Call::Range { conversation: self.id.clone(), after_seq, after_change };
            self.ask(call, move |result| Done::Range((after_seq, after_change), result));
        }
        if let Some(save) = self.saver.start(now, &self.shared, &self.id, self.topic.presence.own()) {
            self.work.push(Box::pin(async move { Done::Saved(save.await) }));
        }
        if let Some(repeat) = self.saver.repeat(now, &self.shared, &self.id) {
            self.work.push(Box::pin(async move { Done::Repeated(repeat.await) }));
        }
    }

    fn ask<T: serde::de::DeserializeOwned + Send + 'static>(
        &self,
        call: Call,
        done: impl FnOnce(Result<T, Refusal>) -> Done + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        self.work.push(Box::pin(async move {
            let result = shared.workers.call(Principal::Service, call).await.and_then(|success| {
                success.body.parse::<T>().map_err(|error| Refusal::unavailable(error.to_string()))
            });
            done(result)
        }));
    }

    fn deadline(&self) -> Instant {
        let far = self.shared.env.instant() + Duration::from_secs(3600);
        let waits = (!self.reading && self.topic.wants_range().is_some())
            || (!self.checking && !self.topic.wants_check().is_empty());
        let retry = waits.then_some(self.read_not_before);
        [self.diff_at, self.look_at, self.read_entries_at, self.linger_until, self.saver.due(), retry]
            .into_iter()
            .flatten()
            .chain(self.departing.iter().map(|(at, _)| *at))
            .chain(self.typing.values().copied())
            .fold(far, Instant::min)
    }

    /// Does what time has come for; tells whether the topic has ended.
    fn tick(&mut self) -> bool {
        let now = self.shared.env.instant();
        let departed: Vec<PresenceMeta> =
            self.departing.extract_if(.., |(at, _)| *at <= now).map(|(_, meta)| meta).collect();
        for meta in departed {
            self.vanish(&meta.phx_ref);
        }
        let silent: Vec<UserId> =
            self.typing.iter().filter(|(_, at)| **at <= now).map(|(user, _)| user.clone()).collect();
        for user in silent {
            self.typing_ended(&user);
        }
        if self.diff_at.is_some_and(|at| at <= now) {
            self.diff_at = None;
            self.topic.tell_presence();
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            if !self.topic.is_empty() {
                let (heads, id) = (self.shared.heads.clone(), self.id.clone());
                self.work.push(Box::pin(async move { Done::Head(heads.ask(id).await) }));
            }
        }
        if self.read_entries_at.is_some_and(|at| at <= now) {
            (self.read_entries_at, self.presence_heard) = (None, false);
            self.start_reading_entries();
        }
        if self.linger_until.is_some_and(|at| at <= now) {
            let ended = self.departing.is_empty()
                && self.saver.is_idle()
                && self.work.is_empty()
                && self.shared.topics.remove(&self.id, false);
            let linger = if self.joined { LINGER } else { UNJOINED };
            self.linger_until = (!ended).then(|| now + linger);
            return ended;
        }
        false
    }
}
