//! Whom the users here do not see, nor those them: one of the two blocks the other. The join of a conversation says it; who
//! hears of a block asks anew, and so does who asks anyway whom a user sees ([`crate::visible`]), since what is heard may
//! be lost. Topics hold to the answer to the latest question.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use simurgh_protocol::{
    Refusal, UserId,
    envelope::{Call, Principal, Sees},
};
use tokio::{sync::Semaphore, time::sleep};

use crate::{Shared, topic::actor::Command, users::Message};

/// Blocks heard of that are remembered, for joins under way.
const REMEMBERED: usize = 1_024;
/// Questions under way at once.
const AT_ONCE: usize = 16;
/// How often one is asked where no worker answers, and the wait before the second time; it doubles with each.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Whom a user does not see, as the answer to a question said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Which question: a later one has a higher number.
    pub asked: u64,
    /// Them.
    pub users: Arc<BTreeSet<UserId>>,
}

impl Unseen {
    /// What the answer to this question said.
    pub fn new(asked: u64, users: impl IntoIterator<Item = UserId>) -> Self {
        Self { asked, users: Arc::new(users.into_iter().collect()) }
    }
}

/// What was heard, and asked.
#[derive(Debug)]
pub struct Blocks {
    state: Mutex<State>,
    places: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last question.
    asked: u64,
    /// Whose blocks changed, and which question was the last one then. The last is the latest.
    heard: VecDeque<(u64, UserId)>,
    /// The question that was the last one when the latest change was heard that is not remembered any more.
    forgotten: Option<u64>,
    /// Whose question waits to be asked.
    waiting: BTreeSet<UserId>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { state: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }
}

impl Blocks {
    /// The number of a question that is asked next.
    pub fn ask(&self) -> u64 {
        let mut state = self.lock();
        state.asked += 1;
        state.asked
    }

    fn heard(&self, user: &UserId) {
        let mut state = self.lock();
        if state.heard.len() == REMEMBERED {
            state.forgotten = state.heard.pop_front().map(|(asked, _)| asked);
        }
        let asked = state.asked;
        state.heard.push_back((asked, user.clone()));
    }

    /// Whether the user's blocks changed, or may have, since that question was asked.
    #[must_use]
    pub fn changed_since(&self, user: &UserId, asked: u64) -> bool {
        let state = self.lock();
        state.forgotten.is_some_and(|forgotten| forgotten >= asked)
            || state.heard.iter().any(|(at, changed)| *at >= asked && changed == user)
    }

    /// Whether it is the first that waits.
    fn waits(&self, user: &UserId) -> bool {
        self.lock().waiting.insert(user.clone())
    }

    fn begins(&self, user: &UserId) {
        self.lock().waiting.remove(user);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of these two blocked the other, or no longer does.
pub fn changed(shared: &Arc<Shared>, pair: [UserId; 2]) {
    for user in pair {
        shared.blocks.heard(&user);
        look(shared, user);
    }
}

/// Asks whom the user does not see, where it is connected here, and has its topics know.
pub fn look(shared: &Arc<Shared>, user: UserId) {
    if shared.sockets.knows(&user) && shared.blocks.waits(&user) {
        shared.tasks.spawn(ask_and_tell(Arc::clone(shared), user));
    }
}

async fn ask_and_tell(shared: Arc<Shared>, user: UserId) {
    let place = shared.blocks.places.acquire().await;
    // What changes from now on is asked for once more.
    shared.blocks.begins(&user);
    for attempt in 0..TRIES {
        match sees(&shared, &user).await {
            Ok((unseen, _)) => {
                drop(place);
                return tell(&shared, &user, unseen).await;
            }
            Err(_) => sleep(FIRST_WAIT * 2_u32.pow(attempt) + shared.env.jitter(FIRST_WAIT)).await,
        }
    }
    tracing::debug!(%user, "whom a user does not see is not known; it is asked again with whom it sees");
}

/// Whom the user does not see, and the whole answer.
///
/// # Errors
/// `unavailable` where no worker answers.
pub async fn sees(shared: &Shared, user: &UserId) -> Result<(Unseen, Sees), Refusal> {
    let number = shared.blocks.ask();
    let answer = shared.workers.call(Principal::User(user.clone()), Call::Sees).await?;
    let sees: Sees =
        answer.body.parse().map_err(|error: serde_json::Error| Refusal::unavailable(error.to_string()))?;
    Ok((Unseen::new(number, sees.unseen.iter().cloned()), sees))
}

/// Has the topics that the user has joined here know.
pub async fn tell(shared: &Shared, user: &UserId, unseen: Unseen) {
    if shared.sockets.subscribes(user) {
        // Which conversations a subscription is to is known to their topics alone.
        let told = || Command::Unseen { user: user.clone(), unseen: unseen.clone() };
        shared.topics.tell_all(told).await;
    }
    shared.users.tell(Message::Unseen { user: user.clone(), unseen }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    #[test]
    fn what_is_heard_while_a_question_is_under_way_makes_its_answer_stale() {
        let blocks = Blocks::default();
        let early = blocks.ask();
        let asked = blocks.ask();
        blocks.heard(&user("alice"));
        assert!(blocks.changed_since(&user("alice"), early) && blocks.changed_since(&user("alice"), asked));
        assert!(!blocks.changed_since(&user("bob"), asked));
        let later = blocks.ask();
        assert!(!blocks.changed_since(&user("alice"), later));
    }

    #[test]
    fn what_is_heard_is_bounded_and_what_is_forgotten_counts_as_heard() {
        let blocks = Blocks::default();
        let early = blocks.ask();
        blocks.heard(&user("alice"));
        let asked = blocks.ask();
        for _ in 0..REMEMBERED {
            blocks.heard(&user("carol"));
        }
        assert_eq!(blocks.lock().heard.len(), REMEMBERED);
        assert!(blocks.changed_since(&user("bob"), early), "anybody's may have changed");
        assert!(!blocks.changed_since(&user("bob"), asked));
    }
}
