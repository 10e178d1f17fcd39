//! Whom users do not see, for the conversations that they have joined.

use std::sync::Arc;

use simurgh_protocol::{ConversationId, UserId};

use super::{Actor, conversation};
use crate::{Shared, blocks::Unseen, topic::actor::Command};

impl Actor {
    /// The user's topics here are to know.
    pub(super) fn unseen(&self, user: UserId, unseen: Unseen) {
        let Some(state) = self.users.get(&user) else { return };
        let topics: Vec<ConversationId> = state.topics.keys().filter_map(conversation).collect();
        if !topics.is_empty() {
            self.shared.tasks.spawn(tell(Arc::clone(&self.shared), user, topics, unseen));
        }
    }
}

async fn tell(shared: Arc<Shared>, user: UserId, topics: Vec<ConversationId>, unseen: Unseen) {
    for id in topics {
        shared.topics.tell(&id, Command::Unseen { user: user.clone(), unseen: unseen.clone() }).await;
    }
}
