//! Lanes of changes: those of one conversation that wait in this process, and the task that stores them together.
//!
//! Each change takes the next place in the log of changes, so those who react at once would race for it one by one. A lane
//! stores a batch in one step and tells its changes in the order of their places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::{StreamExt, TryStreamExt, future::try_join4, stream};
use simurgh_protocol::{
    ConversationId, Refusal, UserId,
    envelope::{ConversationEvent, LoggedChange, Success},
};
use tokio::sync::oneshot;

use super::{
    Ask, Asked,
    batch::{Batch, Change, Rules, State},
};
use crate::{
    Request, Worker,
    document::{self, ATTEMPTS, CONCURRENCY},
    log::{
        burst::Burst,
        queue::{Pushed, Queues},
        slot::Slot,
    },
    reactions::Reactions,
    store::{Consistency, Expect, Item, Key, keys},
};

/// Changes that wait in one conversation, at most; beyond it they are `unavailable` at once.
const WAITING: usize = 1_024;
/// Items beside the documents in one batch, at most: with those, a transaction takes 100 items.
const BATCH: usize = 64;
/// Documents of messages in one batch, at most: a transaction takes 4 MB, and each is up to 400 KB.
const DOCUMENTS: usize = 8;

/// A change that waits for its answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    asked: Asked,
    done: oneshot::Sender<Result<Success, Refusal>>,
}

/// The changes that wait, by conversation. A conversation is here while its lane runs.
pub(crate) type ChangeLanes = Queues<Waiting>;

impl Ask {
    /// Whether it looks at the reactions on its message.
    const fn on_reactions(&self) -> bool {
        matches!(self, Self::React { .. } | Self::Delete { .. })
    }

    /// Whether it looks at the message itself.
    const fn on_message(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Delete { .. })
    }

    /// Items that it adds: a change, and what is noted for one user on both sides.
    const fn items(&self) -> usize {
        if matches!(self, Self::Hide { .. }) { 3 } else { 1 }
    }

    /// Whether it is told to those alone who see its message.
    const fn is_edit(&self) -> bool {
        matches!(self, Self::Edit { .. })
    }
}

impl Waiting {
    /// Answers. Who asked may be gone; then nobody misses it.
    fn answer(self, answer: Result<Success, Refusal>) {
        drop(self.done.send(answer));
    }
}

/// Takes what goes into one step, in order.
fn batch(queue: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut reactions, mut messages) = (BTreeSet::new(), BTreeSet::new());
    let (mut taken, mut items) = (Vec::new(), 0);
    while let Some(Waiting { asked: Asked { message, ask, .. }, .. }) = queue.front() {
        reactions.extend(ask.on_reactions().then(|| message.seq()));
        messages.extend(ask.on_message().then(|| message.seq()));
        items += ask.items();
        if items > BATCH || reactions.len() + messages.len() > DOCUMENTS {
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
    /// Stores a change with the others of its conversation that wait, and answers when it is decided.
    pub(crate) async fn enqueue_change(&self, id: &ConversationId, asked: Asked) -> Result<Success, Refusal> {
        let (done, answer) = oneshot::channel();
        match self.memory.changes.push(id, Waiting { asked, done }, WAITING) {
            Pushed::First => {
                let (worker, id) = (self.clone(), id.clone());
                self.spawn(async move { worker.run_changes(&id).await });
            }
            Pushed::Waits => {}
            Pushed::Full(waiting) => waiting.answer(Err(document::contended())),
        }
        answer.await.unwrap_or_else(|_| Err(Refusal::unavailable("the worker failed")))
    }

    async fn run_changes(&self, id: &ConversationId) {
        let mut lane = self.memory.changes.run(id);
        while let Some(batch) = lane.take(batch) {
            Box::pin(self.store_changes(id, batch)).await;
        }
    }

    async fn store_changes(&self, id: &ConversationId, mut open: Vec<Waiting>) {
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
            match self.try_changes(&earliest, id, &open).await {
                Ok(Some((batch, last))) => return self.tell_changes(id, open, batch, last).await,
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
    async fn try_changes(
        &self,
        request: &Request,
        id: &ConversationId,
        open: &[Waiting],
    ) -> Result<Option<(Batch, u64)>, Refusal> {
        let (state, last) = self.state_before(request, id, open).await?;
        let rules = Rules {
            reactions: self.limits.reactions,
            edit_window: self.limits.edit_window,
            now: self.env.now(),
        };
        let batch = Batch::decide(id, open.iter().map(|waiting| &waiting.asked), state, rules);
        let writes = batch.writes(id, last);
        let stored = writes.is_empty() || self.commit(request, writes).await?;
        Ok(stored.then_some((batch, last)))
    }

    /// What these changes look at, and the last change's place.
    async fn state_before(
        &self,
        request: &Request,
        id: &ConversationId,
        open: &[Waiting],
    ) -> Result<(State, u64), Refusal> {
        let asked = || open.iter().map(|waiting| &waiting.asked);
        let seqs = |on: fn(&Ask) -> bool| -> BTreeSet<u64> {
            asked().filter(|asked| on(&asked.ask)).map(|asked| asked.message.seq()).collect()
        };
        let reactions: Vec<Key> =
            seqs(Ask::on_reactions).into_iter().map(|seq| keys::reactions(id, seq)).collect();
        let hiding: BTreeSet<(UserId, u64)> = asked()
            .filter_map(|Asked { message, ask, .. }| match ask {
                Ask::Hide { user } => Some((user.clone(), message.seq())),
                _ => None,
            })
            .collect();
        let (reactions, slots, hidden, last) = try_join4(
            self.get_all(request, &reactions),
            self.slots_of(request, id, seqs(Ask::on_message)),
            self.hidden_before(request, id, hiding, seqs(Ask::is_edit)),
            self.change_tail(request, id),
        )
        .await?;
        let reactions = reactions.iter().map(|item| {
            let seq = item.key.sk.parse().unwrap_or(0);
            Ok((seq, (document::read::<Reactions>(item)?, Expect::Version(item.version))))
        });
        let reactions = reactions.collect::<Result<BTreeMap<_, _>, Refusal>>()?;
        Ok((State { reactions, slots, hidden }, last))
    }

    async fn get_all(&self, request: &Request, wanted: &[Key]) -> Result<Vec<Item>, Refusal> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        request.in_time(&self.env)?;
        Ok(self.store.get_many(wanted, Consistency::Strong).await?)
    }

    /// The slots that hold these messages, by their keys, with their versions.
    async fn slots_of(
        &self,
        request: &Request,
        id: &ConversationId,
        seqs: BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, (Slot, u64)>, Refusal> {
        let slots = seqs.into_iter().map(|seq| self.slot_of(request, id, seq));
        let slots: Vec<_> = stream::iter(slots).buffered(CONCURRENCY).try_collect().await?;
        Ok(slots.into_iter().flatten().map(|(slot, version)| (slot.first, (slot, version))).collect())
    }

    /// Those of these who have deleted these messages for themselves; and all who have those that are edited.
    async fn hidden_before(
        &self,
        request: &Request,
        id: &ConversationId,
        hiding: BTreeSet<(UserId, u64)>,
        edited: BTreeSet<u64>,
    ) -> Result<BTreeSet<(UserId, u64)>, Refusal> {
        let wanted: Vec<Key> = hiding.iter().map(|(user, seq)| keys::hidden(id, user, *seq)).collect();
        let items = self.get_all(request, &wanted).await?;
        let there: BTreeSet<&Key> = items.iter().map(|item| &item.key).collect();
        let hidden = hiding.into_iter().zip(&wanted).filter(|(_, key)| there.contains(key));
        let mut hidden: BTreeSet<_> = hidden.map(|(hiding, _)| hiding).collect();
        for seq in edited {
            hidden.extend(self.hiders(request, id, seq).await?.into_iter().map(|user| (user, seq)));
        }
        Ok(hidden)
    }

    /// Tells what changed in the order of the log, then answers.
    async fn tell_changes(&self, id: &ConversationId, open: Vec<Waiting>, batch: Batch, last: u64) {
        let (mut place, mut version) = (last, 0);
        for (Waiting { asked, .. }, outcome) in open.iter().zip(&batch.outcomes) {
            version = version.max(asked.members_version);
            if let Some(change) = outcome.as_ref().ok().and_then(|outcome| outcome.change.clone()) {
                place += 1;
                let Change { document, payload, except } = change;
                let change = LoggedChange { change_seq: place, payload, except, ..document.logged() };
                self.tell_conversation(id, asked.members_version, ConversationEvent::Change(change)).await;
            }
        }
        // Also where nothing changed: an attempt before may have died before it told.
        self.note_burst(id, Burst { change_seq: place, look: true, ..Burst::of(version) });
        for (waiting, outcome) in open.into_iter().zip(batch.outcomes) {
            waiting.answer(outcome.map(|outcome| outcome.answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::{MessageId, Timestamp, envelope::Principal};

    use super::*;
    use crate::reactions::React;

    fn waiting(message: u64, ask: Ask) -> Waiting {
        let user = UserId::new("u").unwrap();
        let request = Request {
            id: uuid::Uuid::nil(),
            principal: Principal::User(user),
            deadline: Timestamp::default(),
        };
        let message = MessageId::new(Timestamp::default(), message, 0);
        Waiting {
            asked: Asked { request, message, members_version: 1, silent: None, ask },
            done: oneshot::channel().0,
        }
    }

    fn react(message: u64, user: usize) -> Waiting {
        let user = UserId::new(&format!("u{user}")).unwrap();
        waiting(message, Ask::React { user, reaction: "+1".to_owned(), react: React::Add })
    }

    #[test]
    fn a_batch_is_bounded_in_items_and_in_documents() {
        let mut queue: VecDeque<Waiting> = (0..BATCH + 6).map(|user| react(1, user)).collect();
        assert_eq!((batch(&mut queue).len(), batch(&mut queue).len()), (BATCH, 6));
        let mut queue: VecDeque<Waiting> =
            (1..=10).flat_map(|message| [react(message, 1), react(message, 2)]).collect();
        assert_eq!((batch(&mut queue).len(), batch(&mut queue).len()), (2 * DOCUMENTS, 4));
        assert!(batch(&mut queue).is_empty());
        let mut queue: VecDeque<Waiting> =
            (1..=9).map(|message| waiting(message, Ask::Delete { by: None })).collect();
        assert_eq!(batch(&mut queue).len(), DOCUMENTS / 2, "a message and its reactions");
        let hide = || Ask::Hide { user: UserId::new("u").unwrap() };
        let mut queue: VecDeque<Waiting> = (1..=99).map(|message| waiting(message, hide())).collect();
        assert_eq!(batch(&mut queue).len(), BATCH / 3, "what is noted twice, and the change");
    }
}
