//! Lanes of reactions: those of one conversation that wait in this process, and the task that stores them together.
//!
//! Each change takes the next place in the log of changes, so those who react at once would race for it one by one. A lane
//! stores a batch in one step and tells its changes in the order of their places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::future::try_join;
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Refusal, Timestamp, UserId,
    envelope::{ConversationEvent, LoggedChange, Success},
};
use tokio::sync::oneshot;

use super::{React, Reacted, Reactions};
use crate::{
    Request, Worker,
    document::{self, ATTEMPTS},
    log::{
        burst::Burst,
        change::ChangeDocument,
        queue::{Pushed, Queues},
    },
    store::{Consistency, Expect, Write, keys},
};

/// Reactions that wait in one conversation, at most; beyond it they are `unavailable` at once.
const WAITING: usize = 1_024;
/// Reactions in one batch, at most: with the messages', a transaction takes 100 items.
const BATCH: usize = 64;
/// Messages in one batch, at most: a transaction takes 4 MB, and the reactions on a message are up to 300 KB.
const MESSAGES: usize = 8;

/// What somebody asks for, who may.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) user: UserId,
    pub(super) message: MessageId,
    pub(super) reaction: String,
    pub(super) react: React,
    /// The members' version that the user was a member at.
    pub(super) members_version: u64,
}

/// A reaction that waits for its answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    asked: Asked,
    done: oneshot::Sender<Result<Success, Refusal>>,
}

/// The reactions that wait, by conversation. A conversation is here while its lane runs.
pub(crate) type ReactionLanes = Queues<Waiting>;

/// What a batch comes to.
#[derive(Debug, Default)]
struct Batch {
    /// The reactions on each message, with what their write expects; of those only that somebody may change.
    documents: BTreeMap<u64, (Reactions, Expect)>,
    /// What each comes to, in order: its change, none where it is so already.
    outcomes: Vec<Result<Option<ChangeDocument>, Refusal>>,
}

impl Asked {
    fn change(&self, id: &ConversationId, timestamp: Timestamp) -> ChangeDocument {
        let told = Reacted {
            conversation_id: id,
            message_id: self.message,
            user_id: &self.user,
            reaction: &self.reaction,
            timestamp,
        };
        let event = self.react.event().to_owned();
        ChangeDocument { seq: self.message.seq(), event, payload: Raw::of(&told) }
    }
}

impl Waiting {
    /// Answers. Who asked may be gone; then nobody misses it.
    fn answer(self, answer: Result<Success, Refusal>) {
        drop(self.done.send(answer));
    }
}

impl Batch {
    /// Decides one after the other, each on what those before it made of the reactions.
    fn decide(
        id: &ConversationId,
        open: &[Waiting],
        mut before: BTreeMap<u64, (Reactions, Expect)>,
        distinct: usize,
        now: Timestamp,
    ) -> Self {
        let mut batch = Self::default();
        for Waiting { asked, .. } in open {
            let seq = asked.message.seq();
            let (known, expect) = before.remove(&seq).unwrap_or((Reactions::default(), Expect::Absent));
            let decided = known.decide(&asked.user, &asked.reaction, asked.react, distinct);
            batch.outcomes.push(match &decided {
                Ok(after) => Ok((*after != known).then(|| asked.change(id, now))),
                Err(refusal) => Err(refusal.clone()),
            });
            if let Ok(after) = &decided {
                // Also where nothing changes: a late attempt must meet a version that it did not read.
                batch.documents.insert(seq, (after.clone(), expect));
            }
            before.insert(seq, (decided.unwrap_or(known), expect));
        }
        batch
    }

    fn writes(&self, id: &ConversationId, last: u64) -> Vec<Write> {
        let documents = self
            .documents
            .iter()
            .map(|(seq, (reactions, expect))| document::write(keys::reactions(id, *seq), reactions, *expect));
        let changes = self.outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()?.as_ref());
        documents.chain(changes.zip(last + 1..).map(|(change, place)| change.write(id, place))).collect()
    }
}

/// Takes what goes into one step, in order.
fn batch(queue: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut messages = BTreeSet::new();
    let mut taken = Vec::new();
    while let Some(next) = queue.front() {
        messages.insert(next.asked.message.seq());
        if taken.len() == BATCH || messages.len() > MESSAGES {
            break;
        }
        taken.extend(queue.pop_front());
    }
    taken
}

fn refuse_all(open: Vec<Waiting>, refusal: &Refusal) {
    open.into_iter().for_each(|waiting| waiting.answer(Err(refusal.clone())));
}

impl Worker {
    /// Stores a reaction with the others of its conversation that wait, and answers when it is decided.
    pub(super) async fn enqueue_reaction(
        &self,
        id: &ConversationId,
        asked: Asked,
    ) -> Result<Success, Refusal> {
        let (done, answer) = oneshot::channel();
        match self.memory.reactions.push(id, Waiting { asked, done }, WAITING) {
            Pushed::First => {
                let (worker, id) = (self.clone(), id.clone());
                self.spawn(async move { worker.run_reactions(&id).await });
            }
            Pushed::Waits => {}
            Pushed::Full(waiting) => waiting.answer(Err(document::contended())),
        }
        answer.await.unwrap_or_else(|_| Err(Refusal::unavailable("the worker failed")))
    }

    async fn run_reactions(&self, id: &ConversationId) {
        let mut lane = self.memory.reactions.run(id);
        while let Some(batch) = lane.take(batch) {
            Box::pin(self.store_reactions(id, batch)).await;
        }
    }

    async fn store_reactions(&self, id: &ConversationId, mut open: Vec<Waiting>) {
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let (kept, late): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|waiting| waiting.asked.request.in_time(&self.env).is_ok());
            refuse_all(late, &Refusal::unavailable("it took too long"));
            open = kept;
            // The earliest deadline: nothing of the batch is written after it.
            let earliest =
                open.iter().map(|waiting| &waiting.asked.request).min_by_key(|request| request.deadline);
            let Some(earliest) = earliest.cloned() else { return };
            match self.try_reactions(&earliest, id, &open).await {
                Ok(Some((batch, last))) => return self.tell_reactions(id, open, batch, last).await,
                Ok(None) => {}
                Err(refusal) => {
                    // They may be stored: then whoever listens learns it from the head.
                    let version = open.iter().map(|waiting| waiting.asked.members_version).max();
                    self.note_burst(id, Burst { look: true, ..Burst::of(version.unwrap_or(0)) });
                    if earliest.in_time(&self.env).is_ok() {
                        return refuse_all(open, &refusal);
                    }
                    // Others have time left.
                }
            }
        }
        refuse_all(open, &document::contended());
    }

    /// One attempt: what was stored, and the last change's place before; `None` where somebody else was quicker.
    async fn try_reactions(
        &self,
        request: &Request,
        id: &ConversationId,
        open: &[Waiting],
    ) -> Result<Option<(Batch, u64)>, Refusal> {
        let (before, last) =
            try_join(self.reactions_before(request, id, open), self.change_tail(request, id)).await?;
        let batch = Batch::decide(id, open, before, self.limits.reactions, self.env.now());
        let writes = batch.writes(id, last);
        let stored = writes.is_empty() || self.commit(request, writes).await?;
        Ok(stored.then_some((batch, last)))
    }

    async fn reactions_before(
        &self,
        request: &Request,
        id: &ConversationId,
        open: &[Waiting],
    ) -> Result<BTreeMap<u64, (Reactions, Expect)>, Refusal> {
        let seqs: BTreeSet<u64> = open.iter().map(|waiting| waiting.asked.message.seq()).collect();
        let asked: Vec<_> = seqs.into_iter().map(|seq| keys::reactions(id, seq)).collect();
        request.in_time(&self.env)?;
        let items = self.store.get_many(&asked, Consistency::Strong).await?;
        let read = items.iter().map(|item| {
            let seq = item.key.sk.parse().unwrap_or(0);
            Ok((seq, (document::read(item)?, Expect::Version(item.version))))
        });
        read.collect()
    }

    /// Tells what changed in the order of the log, then answers.
    async fn tell_reactions(&self, id: &ConversationId, open: Vec<Waiting>, batch: Batch, last: u64) {
        let (mut place, mut version) = (last, 0);
        for (Waiting { asked, .. }, outcome) in open.iter().zip(&batch.outcomes) {
            version = version.max(asked.members_version);
            if let Ok(Some(ChangeDocument { seq, event, payload })) = outcome.clone() {
                place += 1;
                let change = LoggedChange { change_seq: place, seq, event, payload };
                self.tell_conversation(id, asked.members_version, ConversationEvent::Change(change)).await;
            }
        }
        // Also where nothing changed: an attempt before may have died before it told.
        self.note_burst(id, Burst { change_seq: place, look: true, ..Burst::of(version) });
        for (waiting, outcome) in open.into_iter().zip(batch.outcomes) {
            let react = waiting.asked.react;
            waiting.answer(outcome.map(|_| react.reply()));
        }
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::envelope::Principal;

    use super::*;

    fn waiting(message: u64, user: usize) -> Waiting {
        let user = UserId::new(&format!("u{user}")).unwrap();
        let request = Request {
            id: uuid::Uuid::nil(),
            principal: Principal::User(user.clone()),
            deadline: Timestamp::default(),
        };
        let message = MessageId::new(Timestamp::default(), message, 0);
        let (reaction, react) = ("+1".to_owned(), React::Add);
        Waiting {
            asked: Asked { request, user, message, reaction, react, members_version: 1 },
            done: oneshot::channel().0,
        }
    }

    #[test]
    fn a_batch_is_bounded_in_reactions_and_in_messages() {
        let mut queue: VecDeque<Waiting> = (0..BATCH + 6).map(|user| waiting(1, user)).collect();
        assert_eq!((batch(&mut queue).len(), batch(&mut queue).len()), (BATCH, 6));
        let mut queue: VecDeque<Waiting> =
            (1..=10).flat_map(|message| [waiting(message, 1), waiting(message, 2)]).collect();
        assert_eq!((batch(&mut queue).len(), batch(&mut queue).len()), (2 * MESSAGES, 4));
        assert!(batch(&mut queue).is_empty());
    }

    #[test]
    fn one_is_decided_on_what_those_before_it_made() {
        let id = ConversationId::new("c").unwrap();
        let back = waiting(1, 1);
        let back = Waiting { asked: Asked { react: React::Remove, ..back.asked }, ..back };
        let open = [waiting(1, 1), waiting(1, 2), waiting(1, 1), back, waiting(2, 1)];
        let known = BTreeMap::from([(1, (Reactions::default(), Expect::Version(4)))]);
        let batch = Batch::decide(&id, &open, known, 64, Timestamp::default());
        let changes: Vec<bool> =
            batch.outcomes.iter().map(|outcome| outcome.as_ref().unwrap().is_some()).collect();
        assert_eq!(changes, [true, true, false, true, true]);
        let writes = batch.writes(&id, 7);
        let expected: Vec<Expect> = writes.iter().map(|write| write.expect).collect();
        assert_eq!(expected[..2], [Expect::Version(4), Expect::Absent]);
        let places: Vec<&str> = writes[2..].iter().map(|write| write.key.sk.as_str()).collect();
        assert_eq!(places.len(), 4);
        assert_eq!(places[0], keys::change(&id, 8).sk);
        let (left, _) = &batch.documents[&1];
        assert_eq!(left.clone().shown()["+1"], [UserId::new("u2").unwrap()]);
    }
}
