//! Lanes: the sends of one conversation that wait in this process, and the task that stores them together.
//!
//! A lane serves one batch after the other: the claims of a batch are sent after the slot of the batch before was seen
//! written, and what it tells keeps the order of the log. It ends when nothing waits.

use std::collections::{BTreeSet, VecDeque};

use simurgh_backplane::trace;
use simurgh_protocol::{ConversationId, Refusal, UserId, envelope::Success, record::ClientRandom};
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span, info_span};

use super::{
    queue::{Pushed, Queues},
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
    /// What it is part of.
    span: Span,
    done: oneshot::Sender<Result<Success, Refusal>>,
}

impl Waiting {
    /// Answers. Who asked may be gone; then nobody misses it.
    pub(crate) fn answer(self, answer: Result<Success, Refusal>) {
        drop(self.done.send(answer));
    }
}

/// The sends that wait, by conversation. A conversation is here while its lane runs.
pub(crate) type Lanes = Queues<Waiting>;

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

/// The span of a batch: part of the first send that is traced, beside the others.
fn span(batch: &[Waiting]) -> Span {
    let mut traced = batch.iter().map(|waiting| &waiting.span).filter(|span| !span.is_none());
    let Some(first) = traced.next() else { return Span::none() };
    let span = info_span!(target: trace::TARGET, parent: first, "batch", messages = batch.len());
    traced.for_each(|other| {
        span.follows_from(other);
    });
    span
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
        let waiting = Waiting { request: request.clone(), draft, span: Span::current(), done };
        match self.memory.lanes.push(id, waiting, WAITING) {
            Pushed::First => {
                let (worker, id) = (self.clone(), id.clone());
                self.spawn(async move { worker.run_lane(&id).await });
            }
            Pushed::Waits => {}
            Pushed::Full(waiting) => {
                waiting.answer(Err(Refusal::unavailable("too many send in this conversation at once")));
            }
        }
        answer.await.unwrap_or_else(|_| Err(Refusal::unavailable("the worker failed")))
    }

    async fn run_lane(&self, id: &ConversationId) {
        let mut lane = self.memory.lanes.run(id);
        while let Some(batch) = lane.take(batch) {
            let span = span(&batch);
            Box::pin(self.send_batch(id, batch).instrument(span)).await;
        }
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
            quote: None,
            refused: None,
            silent: None,
            hash: String::new(),
        };
        Waiting { request, draft, span: Span::none(), done: oneshot::channel().0 }
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
