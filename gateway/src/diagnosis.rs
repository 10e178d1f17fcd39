//! What a worker asks for who wants to know what became of a message: a user's sockets here, and how far each was told
//! the conversation. It is answered beside everything else, and where that takes too long not at all.

use std::{sync::Arc, time::Duration};

use simurgh_backplane::Subject;
use simurgh_protocol::{
    ConversationId, UserId,
    envelope::{self, SocketHere, SocketsHere},
};
use tokio::{sync::Semaphore, time::timeout};

use crate::{Shared, sockets::Shown, topic::report::Report};

/// Questions that are answered at once. Who asks more often than that has no use for the answers.
const AT_ONCE: usize = 64;
/// Sockets that an answer names, at most.
const NAMED: usize = 256;
/// How long a topic may take to answer: the worker waits a little longer.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many questions are answered at once.
pub(crate) fn at_once() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}

/// Begins to answer, and does not keep who takes the questions waiting. A question beyond [`AT_ONCE`] gets no answer.
pub(crate) fn begin(shared: &Arc<Shared>, conversation: ConversationId, user: UserId, reply_to: Subject) {
    let Ok(permit) = Arc::clone(&shared.diagnoses).try_acquire_owned() else {
        tracing::warn!("too much is asked about deliveries at once: a question was not answered");
        return;
    };
    let this = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let _permit = permit;
        if let Ok(here) = timeout(PATIENCE, sockets(&this, &conversation, &user)).await {
            // Whoever asked counts this gateway as silent where that is lost.
            let _ = this.bus.publish(&reply_to, envelope::encode(&here)).await;
        }
    });
}

/// The user's sockets here.
async fn sockets(shared: &Shared, conversation: &ConversationId, user: &UserId) -> SocketsHere {
    let report = shared.topics.report(conversation, user).await;
    here(&shared.sockets.of(user), report)
}

fn here(open: &[Shown], report: Report) -> SocketsHere {
    let Report { mut channels, dropped, heard_seq } = report;
    let sockets = open.iter().map(|shown| SocketHere {
        session_id: shown.session,
        transport: shown.transport.to_owned(),
        unsent_bytes: shown.unsent_bytes,
        channel: channels.remove(&shown.id),
    });
    let mut sockets: Vec<SocketHere> = sockets.collect();
    sockets.sort_by_key(|socket| socket.channel.is_none());
    let left_out = sockets.len().saturating_sub(NAMED);
    sockets.truncate(NAMED);
    // A socket that has just ended is no longer open, and its channels are about to be released.
    SocketsHere { sockets, left_out, dropped: dropped + channels.len(), heard_seq }
}

#[cfg(test)]
mod tests;
