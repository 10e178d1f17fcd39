//! Whom the users here see on their own topics: `presence_state`, `presence_diff`, `user_presence_changed`.
//!
//! One task owns the [`view::View`]. Who hears that a user's presence changed reads that user's entries again, however often
//! and in whichever order it hears; after the backplane was away everything is read again. So what a client shows is what
//! the entries say, whatever was lost.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    Refusal, UserId,
    envelope::{self, EntryMark, Sees, UserPresence},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{Shared, blocks};

mod agenda;
mod message;
#[cfg(test)]
mod tests;
pub mod view;

use agenda::Agenda;
pub use message::{Message, Visible};
use view::{Entries, View};

/// Users read in one request.
const BATCH: usize = 100;
/// Requests under way at once.
const READS: usize = 4;
/// Questions to workers under way at once.
const CALLS: usize = 16;
/// How long a read waits for more of what is heard at a time.
const GATHER: Duration = Duration::from_millis(20);
/// After a read or a question that failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long after it was found that a gateway with an entry has no lease (any more, or yet) the user is read again.
const DOUBT: Duration = Duration::from_secs(2);
/// How often an entry that is not what was written is read again (a replica of the backplane may lag), the first wait, which
/// doubles each time.
const SETTLING: (u32, Duration) = (6, Duration::from_millis(50));
/// After the backplane was away: over how long everything is read again, and over how long it is asked who sees whom.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// How often everything is read again anyway.
const SWEEP: Duration = Duration::from_secs(300);
/// Of so many users one is asked in each sweep whom it sees.
const ASKED_ANEW: u64 = 4;

/// How a user is to be read: which write is to be found, and how often it was looked for.
type Want = (Option<EntryMark>, u32);

/// Entries by gateway, each with its revision; none of those whose gateway has no lease (yet).
type Entered = BTreeMap<String, (u64, Option<UserPresence>)>;

type Found = BTreeMap<UserId, Entered>;

enum Done {
    Read(Vec<(UserId, Want)>, Result<Found, BusError>),
    Asked(UserId, Result<Sees, Refusal>),
}

struct Actor {
    shared: Arc<Shared>,
    view: View,
    /// Who is to be read.
    wants: Agenda<Want>,
    /// Requests under way.
    reads: usize,
    /// Of whom it is to be asked whom they see.
    questions: Agenda<()>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    sweep_at: Instant,
}

/// Runs until the gateway stops.
pub async fn run(shared: Arc<Shared>, mut messages: mpsc::Receiver<Message>) {
    let sweep_at = shared.env.instant() + SWEEP;
    let mut actor = Actor {
        shared: Arc::clone(&shared),
        view: View::default(),
        wants: Agenda::default(),
        reads: 0,
        questions: Agenda::default(),
        work: FuturesUnordered::new(),
        sweep_at,
    };
    loop {
        actor.start_work();
        let deadline = actor.deadline();
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            Some(done) = actor.work.next() => actor.done(done),
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
        let now = self.shared.env.now();
        match message {
            Message::Open { user, key, channel, sees } => {
                let (unknown, news) = self.view.open(&user, key, *channel, sees, now);
                self.want_all(unknown);
                if news {
                    self.questions.plan(user, self.shared.env.instant(), (), |(), ()| ());
                }
            }
            Message::Joining { user, key } => self.view.joining(&user, key),
            Message::Close { user, key } => {
                self.view.close(&user, key);
                if !self.view.has_viewer(&user) {
                    self.questions.forget(&user);
                }
            }
            Message::Missed { user, key } => self.view.missed(&user, key, now),
            Message::Changed { seen, entry } => {
                let user = seen.user_id.clone();
                if self.view.heard(seen) {
                    self.want(user, self.shared.env.instant() + GATHER, entry, 0);
                }
            }
            Message::Visibility { viewer, seen } => {
                if self.view.has_viewer(&viewer) {
                    self.view.heard_for(&viewer, seen);
                    self.view.news_for(&viewer);
                    self.questions.plan(viewer, self.shared.env.instant(), (), |(), ()| ());
                }
            }
            Message::Back { viewer } => {
                let sees: Vec<UserId> = self.view.seen_by(&viewer).cloned().collect();
                self.want_all(sees);
            }
            Message::GatewayGone(gateway) => self.view.gateway_gone(&gateway, now),
            Message::Again => self.again(AGAIN.0, Some(AGAIN.1)),
        }
    }

    /// Everything is read again within `reads`; within `questions`, workers are asked again who sees whom.
    fn again(&mut self, reads: Duration, questions: Option<Duration>) {
        let now = self.shared.env.instant();
        let subjects: Vec<UserId> = self.view.subjects().cloned().collect();
        for user in subjects {
            let due = now + self.shared.env.jitter(reads);
            self.want(user, due, None, 0);
        }
        if let Some(questions) = questions {
            let viewers: Vec<UserId> = self.view.viewers().cloned().collect();
            for user in viewers {
                self.view.news_for(&user);
                let due = now + self.shared.env.jitter(questions);
                self.questions.plan(user, due, (), |(), ()| ());
            }
        }
    }

    fn want_all(&mut self, users: Vec<UserId>) {
        let now = self.shared.env.instant();
        users.into_iter().for_each(|user| self.want(user, now, None, 0));
    }

    /// The user is read at that time, or before. The latest mark is looked for.
    fn want(&mut self, user: UserId, due: Instant, mark: Option<EntryMark>, tries: u32) {
        let later = |old: Want, new: Want| if new.0.is_some() { new } else { old };
        self.wants.plan(user, due, (mark, tries), later);
    }

    fn deadline(&self) -> Instant {
        let reads = self.wants.next().filter(|_| self.reads < READS);
        let asks = self.questions.next().filter(|_| self.questions.busy() < CALLS);
        [reads, asks].into_iter().flatten().fold(self.sweep_at, Instant::min)
    }

    /// Starts what is due and has room.
    fn start_work(&mut self) {
        let now = self.shared.env.instant();
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP;
            self.again(SWEEP / 4, None);
            // Whom users see is asked anew once in a while, too, and of a few at a time.
            let viewers: Vec<UserId> = self.view.viewers().cloned().collect();
            for user in viewers {
                if self.shared.env.random_u64().is_multiple_of(ASKED_ANEW) {
                    let due = now + self.shared.env.jitter(SWEEP * 3 / 4);
                    self.questions.plan(user, due, (), |(), ()| ());
                }
            }
        }
        while self.reads < READS && self.start_read(now) {}
        let free = CALLS.saturating_sub(self.questions.busy());
        for (user, ()) in self.questions.take(now, free) {
            let shared = Arc::clone(&self.shared);
            self.work.push(Box::pin(async move {
                let sees = ask(&shared, &user).await;
                Done::Asked(user, sees)
            }));
        }
    }

    fn start_read(&mut self, now: Instant) -> bool {
        let asked = self.wants.take(now, BATCH);
        if asked.is_empty() {
            return false;
        }
        self.reads += 1;
        let shared = Arc::clone(&self.shared);
        self.work.push(Box::pin(async move {
            let found = read(&shared, asked.iter().map(|(user, _)| user)).await;
            Done::Read(asked, found)
        }));
        true
    }

    fn done(&mut self, done: Done) {
        let (now, instant) = (self.shared.env.now(), self.shared.env.instant());
        let retry_at = instant + RETRY + self.shared.env.jitter(RETRY);
        match done {
            Done::Asked(user, sees) => {
                self.questions.done(&user);
                match sees {
                    _ if !self.view.has_viewer(&user) => {}
                    Ok(Sees { visible, unseen }) => {
                        let apart = unseen.into_iter().collect();
                        let unknown = self.view.set_visible(&user, visible, &apart, now);
                        self.want_all(unknown);
                    }
                    Err(_) => {
                        self.questions.plan(user, retry_at, (), |(), ()| ());
                    }
                }
            }
            Done::Read(asked, found) => {
                self.reads -= 1;
                asked.iter().for_each(|(user, _)| self.wants.done(user));
                match found {
                    Ok(mut found) => {
                        for (user, want) in asked {
                            let entries = found.remove(&user).unwrap_or_default();
                            self.found(&user, want, entries);
                        }
                    }
                    Err(_) => {
                        for (user, (mark, tries)) in asked {
                            self.want(user, retry_at, mark, tries);
                        }
                    }
                }
            }
        }
    }

    fn found(&mut self, user: &UserId, (mark, tries): Want, found: Entered) {
        let now = self.shared.env.instant();
        let met = mark.as_ref().is_none_or(|mark| {
            let found = found.get(&mark.gateway).map(|(revision, _)| *revision);
            mark.is_met_by(found)
        });
        if !met && tries < SETTLING.0 {
            self.want(user.clone(), now + SETTLING.1 * 2_u32.pow(tries), mark.clone(), tries + 1);
        }
        let mut doubtful = found.values().any(|(_, entry)| entry.is_none());
        let mut entries: Entries =
            found.into_iter().filter_map(|(gateway, (_, entry))| Some((gateway, entry?))).collect();
        // The backplane was away, and what it held may be gone: who is coming back stays as it was.
        let held = self.view.entries(user).cloned().unwrap_or_default();
        for (gateway, entry) in held {
            let left = mark.as_ref().is_some_and(|mark| mark.gone && mark.gateway == gateway);
            if !left && !entries.contains_key(&gateway) && self.shared.leases.is_awaited(&gateway) {
                entries.insert(gateway, entry);
                doubtful = true;
            }
        }
        if doubtful {
            self.want(user.clone(), now + DOUBT, None, 0);
        }
        self.view.read(user, entries, self.shared.env.now());
    }
}

/// Whom a user may see; whom it does not, the conversations that it joined are to know, too.
async fn ask(shared: &Shared, user: &UserId) -> Result<Sees, Refusal> {
    let (unseen, sees) = blocks::sees(shared, user).await?;
    blocks::tell(shared, user, unseen).await;
    Ok(sees)
}

/// Reads the entries of users.
async fn read(shared: &Shared, users: impl Iterator<Item = &UserId>) -> Result<Found, BusError> {
    let filters: Vec<_> = users.map(subject::user_filter).collect();
    let mut found = Found::new();
    for entry in shared.bus.get_many(Bucket::Presence, &filters).await? {
        let parts = entry.key.parts();
        let [_, user, gateway] = parts.as_slice() else { continue };
        if let (Ok(user), Ok(presence)) = (UserId::new(user), envelope::decode(&entry.value)) {
            let stands = shared.leases.stands(gateway).await;
            let entered = (entry.revision, Some(presence).filter(|_| stands));
            found.entry(user).or_default().insert(gateway.clone(), entered);
        }
    }
    Ok(found)
}
