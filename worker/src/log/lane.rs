//! Lanes: the sends of one conversation that wait in this process, and the task that stores them together.
//!
//! A lane serves one batch after the other: the claims of a batch are sent after the slot of the batch before was seen
//! written, and what it tells keeps the order of the log. It ends when nothing waits.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use simurgh_protocol::{ConversationId, Refusal, UserId, envelope::Success, record::ClientRandom};
use tokio::sync::oneshot;

use super::{
    send::Draft,
    slot::{SLOT_BYTES, SLOT_MESSAGES},
};
use crate::{Request, Worker};

/// Sends that wait in one conversation, at most; beyond it they are `unavailable` at once.
const WAITING: usize = 256;

/// A send that waits for its answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: Request,
    pub(crate) draft: Draft,
    done: oneshot::Sender<Result<Success, Refusal>>,
}

impl Waiting {
    /// Answers. Who asked may be gone; then nobody misses it.
    pub(crate) fn answer(self, answer: Result<Success, Refusal>) {
        drop(self.done.send(answer));
    }
}

/// The sends that wait, by conversation. A conversation is here while its lane runs.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<BTreeMap<ConversationId, VecDeque<Waiting>>>);

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConversationId, VecDeque<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a send, and tells whether the lane must be started. Where too many wait, it is answered at once.
    fn push(&self, id: &ConversationId, waiting: Waiting) -> bool {
        let mut lanes = self.lock();
        let starts = !lanes.contains_key(id);
        let queue = lanes.entry(id.clone()).or_default();
        if queue.len() < WAITING {
            queue.push_back(waiting);
        } else {
            waiting.answer(Err(Refusal::unavailable("too many send in this conversation at once")));
        }
        starts
    }

    /// The next batch; `None`, and the lane is gone, where nothing waits.
    fn take(&self, id: &ConversationId) -> Option<Vec<Waiting>> {
        let mut lanes = self.lock();
        let batch = lanes.get_mut(id).map(batch).filter(|batch| !batch.is_empty());
        if batch.is_none() {
            lanes.remove(id);
        }
        batch
    }

    fn is_idle(&self, id: &ConversationId) -> bool {
        self.lock().get(id).is_none_or(VecDeque::is_empty)
    }
}

/// Takes what goes into one slot, in order: each name once (a second one waits until the first is decided), bounded in
/// number and bytes.
fn batch(queue: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut names: BTreeSet<(UserId, ClientRandom)> = BTreeSet::new();
    let (mut taken, mut left, mut bytes) = (Vec::new(), VecDeque::new(), 0);
    while let Some(waiting) = queue.pop_front() {
        let name = (waiting.draft.sender.clone(), waiting.draft.client_random.clone());
        let more = bytes + waiting.draft.bytes();
        let full = taken.len() == SLOT_MESSAGES || (!taken.is_empty() && more > SLOT_BYTES);
        if full {
            left.push_back(waiting);
            break;
        }
        if names.insert(name) {
            bytes = more;
            taken.push(waiting);
        } else {
            left.push_back(waiting);
        }
    }
    left.append(queue);
    *queue = left;
    taken
}

/// Takes a lane off when its task ends before its time, so that the next send starts another.
struct Running<'a> {
    lanes: &'a Lanes,
    id: &'a ConversationId,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Who waited sees the sender of its answer go.
            let abandoned = self.lanes.lock().remove(self.id);
            drop(abandoned);
        }
    }
}

impl Worker {
    /// Sends a draft with the others of its conversation that wait, and answers when it is decided.
    pub(crate) async fn enqueue(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: Draft,
    ) -> Result<Success, Refusal> {
        let (done, answer) = oneshot::channel();
        let waiting = Waiting { request: request.clone(), draft, done };
        if self.memory.lanes.push(id, waiting) {
            let (worker, id) = (self.clone(), id.clone());
            self.spawn(async move { worker.run_lane(&id).await });
        }
        answer.await.unwrap_or_else(|_| Err(Refusal::unavailable("the worker failed")))
    }

    async fn run_lane(&self, id: &ConversationId) {
        let mut running = Running { lanes: &self.memory.lanes, id, ended: false };
        let mut untold = None;
        loop {
            // Users are told while the next batch is stored; the order among batches stays.
            if self.memory.lanes.is_idle(id)
                && let Some(notices) = untold.take()
            {
                self.tell_members(notices).await;
                continue;
            }
            let Some(batch) = self.memory.lanes.take(id) else { break };
            let told = async {
                if let Some(notices) = untold.take() {
                    self.tell_members(notices).await;
                }
            };
            let (next, ()) = futures_util::future::join(Box::pin(self.send_batch(id, batch)), told).await;
            untold = next;
        }
        running.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::{Raw, Timestamp, envelope::Principal};

    use super::*;

    fn waiting(name: u64, bytes: usize) -> Waiting {
        let sender = UserId::new("alice").unwrap();
        let request = Request {
            id: uuid::Uuid::nil(),
            principal: Principal::User(sender.clone()),
            deadline: Timestamp::default(),
        };
        let draft = Draft {
            sender,
            message_type: "text".to_owned(),
            content: "x".repeat(bytes),
            metadata: Raw::empty(),
            client_random: ClientRandom::Number(name),
            reply_to: None,
            hash: String::new(),
        };
        Waiting { request, draft, done: oneshot::channel().0 }
    }

    fn names(batch: &[Waiting]) -> Vec<u64> {
        let name = |waiting: &Waiting| match waiting.draft.client_random {
            ClientRandom::Number(number) => number,
            ClientRandom::Text(_) => 0,
        };
        batch.iter().map(name).collect()
    }

    #[test]
    fn a_batch_holds_a_name_once_and_keeps_the_order() {
        let mut queue: VecDeque<Waiting> = [1, 2, 1, 3, 1].map(|name| waiting(name, 1)).into();
        assert_eq!(names(&batch(&mut queue)), [1, 2, 3]);
        assert_eq!(names(&batch(&mut queue)), [1]);
        assert_eq!(names(&batch(&mut queue)), [1]);
        assert_eq!(names(&batch(&mut queue)), [0; 0]);
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes() {
        let mut queue: VecDeque<Waiting> = (1..=20).map(|name| waiting(name, 1)).collect();
        assert_eq!(batch(&mut queue).len(), SLOT_MESSAGES);
        assert_eq!(names(&batch(&mut queue)), [17, 18, 19, 20]);
        let mut queue: VecDeque<Waiting> = (1..=3).map(|name| waiting(name, SLOT_BYTES / 2)).collect();
        assert_eq!(names(&batch(&mut queue)), [1]);
        assert_eq!(names(&batch(&mut queue)), [2]);
        let mut queue: VecDeque<Waiting> = [waiting(1, 2 * SLOT_BYTES), waiting(2, 1)].into();
        assert_eq!(names(&batch(&mut queue)), [1], "one is always taken");
    }
}
