//! Asking where logs end: many conversations in one request.
//!
//! What no later message betrays is found this way: every topic asks again and again, and what it asks within a moment
//! goes to a worker together.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use simurgh_protocol::{
    ConversationId, Refusal,
    envelope::{Call, Head, Principal},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout_at},
};

use crate::Shared;

/// Conversations in one request.
const BATCH: usize = 100;
/// How long a request waits for more.
const GATHER: Duration = Duration::from_millis(50);
/// Requests under way at once: the others wait, so that a sweep after an outage does not flood the workers.
const REQUESTS: usize = 4;
/// Questions that wait to be gathered; who asks beyond it waits.
const WAITING: usize = 1_024;

struct Question {
    conversation: ConversationId,
    answer: oneshot::Sender<Result<Head, Refusal>>,
}

/// The way to ask.
#[derive(Clone, Debug)]
pub struct Heads(mpsc::Sender<Question>);

/// The end that [`run`] reads.
pub struct Questions(mpsc::Receiver<Question>);

impl Heads {
    /// The way, and the end that [`run`] reads.
    #[must_use]
    pub fn channel() -> (Self, Questions) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Questions(receiver))
    }

    /// Where the conversation's logs end, read from the logs.
    ///
    /// # Errors
    /// `unavailable` where no worker answered.
    pub async fn ask(&self, conversation: ConversationId) -> Result<Head, Refusal> {
        let stopping = || Refusal::unavailable("the gateway is stopping");
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { conversation, answer }).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }
}

/// Gathers questions and has them answered until the gateway stops.
pub async fn run(shared: Arc<Shared>, Questions(mut questions): Questions) {
    let mut requests: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = shared.stopped.cancelled() => return,
            Some(()) = requests.next() => {}
            first = questions.recv(), if requests.len() < REQUESTS => {
                let Some(first) = first else { return };
                let batch = gather(&shared, first, &mut questions).await;
                requests.push(Box::pin(answer(Arc::clone(&shared), batch)));
            }
        }
    }
}

async fn gather(shared: &Shared, first: Question, questions: &mut mpsc::Receiver<Question>) -> Vec<Question> {
    let mut batch = vec![first];
    let until = shared.env.instant() + GATHER;
    while batch.len() < BATCH {
        match timeout_at(until, questions.recv()).await {
            Ok(Some(question)) => batch.push(question),
            Ok(None) => {
                sleep_until(until).await;
                break;
            }
            Err(_) => break,
        }
    }
    batch
}

async fn answer(shared: Arc<Shared>, batch: Vec<Question>) {
    let conversations = batch.iter().map(|question| question.conversation.clone()).collect();
    let asked = shared.workers.call(Principal::Service, Call::Heads { conversations }).await;
    let heads = asked.and_then(|success| {
        success.body.parse::<Vec<Head>>().map_err(|error| Refusal::unavailable(error.to_string()))
    });
    for Question { conversation, answer } in batch {
        let found = match &heads {
            Ok(heads) => heads
                .iter()
                .find(|head| head.conversation == conversation)
                .cloned()
                .ok_or_else(|| Refusal::unavailable("the log could not be read")),
            Err(refusal) => Err(refusal.clone()),
        };
        // Whoever asked may be gone.
        let _ = answer.send(found);
    }
}
