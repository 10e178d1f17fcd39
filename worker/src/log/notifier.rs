//! Notifiers: what the members of a conversation are to be told on their own topics, and the task that tells it in
//! order. Finding where they are takes reads of the backplane; neither broadcasts nor answers wait for these.

use std::sync::Arc;

use simurgh_protocol::ConversationId;

use super::queue::{Pushed, Queues};
use crate::{
    Worker,
    access::Roster,
    broadcast::{Notice, Places},
};

/// Batches that wait to be told in one conversation, at most. The user topic is at most once: those beyond are not told.
const UNTOLD: usize = 32;

/// What the members are to be told of one batch.
#[derive(Debug)]
pub(crate) struct Notices {
    /// Whom.
    pub(super) roster: Arc<Roster>,
    /// What.
    pub(super) notices: Vec<Notice>,
}

/// What is still to be told, by conversation. A conversation is here while its notifier runs.
pub(crate) type Notifiers = Queues<Notices>;

impl Worker {
    /// Tells the members on their own topics at once, where it is known where they are and nothing waits that they are
    /// to be told before: where they are; nothing where it did not.
    pub(super) async fn notify_known(
        &self,
        id: &ConversationId,
        roster: &Roster,
        notices: &[Notice],
    ) -> Option<Arc<Places>> {
        if self.memory.notifiers.runs(id) {
            return None;
        }
        self.tell_members_known(id, roster, notices).await
    }

    /// Tells the members on their own topics, after what they were told before.
    pub(super) fn notify_members(&self, id: &ConversationId, notices: Notices) {
        match self.memory.notifiers.push(id, notices, UNTOLD) {
            Pushed::First => {
                let (worker, id) = (self.clone(), id.clone());
                self.spawn(async move { worker.run_notifier(&id).await });
            }
            Pushed::Waits => {}
            Pushed::Full(Notices { roster, notices }) => {
                tracing::debug!(conversation = %id, "members were not told; they find it in their list");
                self.note_told(id, &roster, None, notices);
            }
        }
    }

    async fn run_notifier(&self, id: &ConversationId) {
        let mut notifier = self.memory.notifiers.run(id);
        while let Some(batches) = notifier.take(|waiting| waiting.pop_front().into_iter().collect()) {
            for Notices { roster, notices } in batches {
                let places = self.tell_members(id, &roster, &notices).await;
                self.note_told(id, &roster, places, notices);
            }
        }
    }
}
