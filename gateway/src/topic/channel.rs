//! One channel of a conversation: how far it has been told the logs.

use std::sync::Arc;

use simurgh_protocol::{ConversationId, Ref, UserId};
use simurgh_service::metrics::Counted;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Joined;
use crate::{
    form::Form,
    mailbox::{ChannelId, Mailbox},
    metrics::Metrics,
};

#[derive(Debug)]
pub(super) struct Channel {
    /// Whose; none of a service, which is no member and need not be one.
    pub(super) user: Option<UserId>,
    pub(super) form: Form,
    pub(super) join_ref: Ref,
    pub(super) mailbox: Arc<Mailbox>,
    /// Where the log stood in the join's reply.
    pub(super) joined_seq: u64,
    pub(super) seq: u64,
    pub(super) change_seq: u64,
    /// The members' version at which this user was a member.
    pub(super) checked_at: u64,
    /// The mailbox refused a frame: nothing goes in until it has drained. Counted meanwhile.
    pub(super) full: Option<Counted>,
    /// A step of presence was lost meanwhile: the state is sent afresh.
    pub(super) stale: bool,
}

impl Channel {
    /// A channel whose join's reply went out.
    pub(super) fn new(joined: Joined) -> Self {
        let Joined { channel: _, user, form, join_ref, mailbox, head, unseen: _ } = joined;
        let never = user.is_none().then_some(u64::MAX);
        Self {
            user,
            form,
            join_ref,
            mailbox,
            joined_seq: head.last_seq,
            seq: head.last_seq,
            change_seq: head.change_seq,
            checked_at: never.unwrap_or(head.members_version),
            full: None,
            stale: true,
        }
    }

    /// Hands a frame to the mailbox, or notes that there is no room. `seq` is a message's place; 0 of anything else.
    pub(super) fn push(
        &mut self,
        id: ChannelId,
        seq: u64,
        conversation: &ConversationId,
        metrics: &Metrics,
        frame: impl FnOnce() -> Utf8Bytes,
    ) -> bool {
        if self.full.is_some() {
            return false;
        }
        let taken = self.mailbox.push_logged(id, seq, frame()).is_ok();
        if !taken {
            self.wait(conversation, metrics);
        }
        taken
    }

    /// Takes nothing more until the mailbox has drained.
    pub(super) fn wait(&mut self, conversation: &ConversationId, metrics: &Metrics) {
        if self.full.is_none() {
            metrics.mailboxes_full.inc();
            self.full = Some(Counted::new(&metrics.channels_behind));
        }
        self.mailbox.wait_for_room(conversation);
    }
}
