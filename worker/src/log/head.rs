//! Heads: where logs end. Read from the log where it matters; stored once a second for lists.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, Refusal, Timestamp, UserId,
    envelope::{Head, Success},
};

use super::{burst::Burst, read::Tail};
use crate::{
    Request, Worker,
    access::MembersDocument,
    document::{self, CONCURRENCY},
    store::{Consistency, Item, keys},
};

/// Conversations in one request for heads, at most.
const HEADS: usize = 100;

/// How far a stored head may lag behind its log (contract section 4).
pub(crate) const LAG: Duration = Duration::from_secs(2);

/// The document of `head`: where the log stood, about a second ago.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadDocument {
    /// The last message's `seq`; 0 while there is none.
    pub last_seq: u64,
    /// The key of the slot that holds it (`keys::slot`).
    pub slot: u64,
    /// Who sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_id: Option<UserId>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// The last change's number; 0 while there is none.
    pub change_seq: u64,
}

impl HeadDocument {
    /// The head with this tail and this change, where they are later.
    pub(crate) fn raised(self, tail: Option<&Tail>, change_seq: u64) -> Self {
        let change_seq = change_seq.max(self.change_seq);
        match tail.filter(|tail| tail.seq > self.last_seq) {
            Some(tail) => Self {
                last_seq: tail.seq,
                slot: tail.slot,
                sender_id: Some(tail.sender.clone()),
                sent_at: Some(tail.sent_at),
                change_seq,
            },
            None => Self { change_seq, ..self },
        }
    }
}

/// A conversation's logs as they are now.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    /// The last message.
    pub(crate) tail: Option<Tail>,
    /// The last change's number.
    pub(crate) change_seq: u64,
}

impl Ends {
    /// The last message's `seq`; 0 while there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.tail.as_ref().map_or(0, |tail| tail.seq)
    }

    /// As a head.
    pub(crate) fn head(&self, conversation: &ConversationId, members_version: u64) -> Head {
        Head {
            conversation: conversation.clone(),
            last_seq: self.last_seq(),
            change_seq: self.change_seq,
            members_version,
        }
    }
}

impl Worker {
    /// Where both logs end now. The messages are read after the changes: every change up to `change_seq` is one to a
    /// message up to the tail, so that who goes on from here is told no message without what happened to it.
    pub(crate) async fn ends(&self, request: &Request, id: &ConversationId) -> Result<Ends, Refusal> {
        let change_seq = self.change_tail(request, id).await?;
        let tail = self.tail(request, id).await?;
        Ok(Ends { tail, change_seq })
    }

    /// The heads of conversations, from their logs. Conversations that do not exist are left out, and those that cannot
    /// be read now: one of them must not hide the others. Stored heads that lag are raised.
    pub(crate) async fn heads(
        &self,
        request: &Request,
        ids: Vec<ConversationId>,
    ) -> Result<Success, Refusal> {
        if ids.len() > HEADS {
            return Err(Refusal::invalid("conversations", format!("must be at most {HEADS}")));
        }
        let heads = ids.into_iter().map(|id| async move {
            self.head(request, &id).await.unwrap_or_else(|refusal| {
                tracing::debug!(conversation = %id, %refusal, "a head could not be read");
                None
            })
        });
        let heads: Vec<Option<(Head, Ends)>> = stream::iter(heads).buffered(CONCURRENCY).collect().await;
        let heads: Vec<(Head, Ends)> = heads.into_iter().flatten().collect();
        // Repairs serve lists, which may lag; that they fail is no reason not to answer.
        if let Err(refusal) = self.repair(request, &heads).await {
            tracing::debug!(%refusal, "stored heads were not looked at");
        }
        let heads: Vec<Head> = heads.into_iter().map(|(head, _)| head).collect();
        Ok(Success::ok(&heads))
    }

    async fn head(&self, request: &Request, id: &ConversationId) -> Result<Option<(Head, Ends)>, Refusal> {
        let ends = self.ends(request, id).await?;
        // After the logs: whoever was removed before they came to these ends is told of by this version.
        let members = self.load::<MembersDocument>(request, &keys::members(id)).await?;
        Ok(members.map(|members| (ends.head(id, members.version), ends)))
    }

    /// Has those stored heads raised that lag further behind than they may: who was to raise them died, or gave up.
    async fn repair(&self, request: &Request, heads: &[(Head, Ends)]) -> Result<(), Refusal> {
        let wanted: Vec<_> = heads.iter().map(|(head, _)| keys::head(&head.conversation)).collect();
        let stored = self.load_many(request, &wanted, Consistency::Strong).await?;
        for ((head, ends), known) in heads.iter().zip(stored) {
            let (last_seq, change_seq) = known.as_ref().map_or((0, 0), ends_of);
            let lags = change_seq < head.change_seq || self.lags(last_seq, ends.tail.as_ref());
            if lags {
                self.note_lost(&head.conversation, head.members_version, ends.tail.clone(), head.change_seq);
            }
        }
        Ok(())
    }

    /// Whether a head that ends at `last_seq` lags further behind this tail than it may.
    pub(crate) fn lags(&self, last_seq: u64, tail: Option<&Tail>) -> bool {
        tail.is_some_and(|tail| last_seq < tail.seq && self.env.now().since(tail.sent_at) > LAG)
    }

    /// Has a head raised that nobody raised, and the positions moved of those who sent what lies behind it.
    pub(crate) fn note_lost(
        &self,
        id: &ConversationId,
        members_version: u64,
        tail: Option<Tail>,
        change_seq: u64,
    ) {
        self.note_burst(id, Burst { tail, change_seq, lost: true, ..Burst::of(members_version) });
    }
}

/// Where a stored head ends. One that a newer build wrote is left to it.
fn ends_of(item: &Item) -> (u64, u64) {
    document::read::<HeadDocument>(item).map_or((u64::MAX, u64::MAX), |head| (head.last_seq, head.change_seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(seq: u64) -> Tail {
        Tail { seq, slot: seq, sender: UserId::new("alice").unwrap(), sent_at: Timestamp::from_millis(seq) }
    }

    #[test]
    fn a_head_rises_and_never_falls() {
        let head = HeadDocument::default().raised(Some(&tail(5)), 2);
        assert_eq!((head.last_seq, head.slot, head.change_seq), (5, 5, 2));
        assert_eq!(head.clone().raised(Some(&tail(4)), 1), head);
        assert_eq!(head.clone().raised(None, 3).change_seq, 3);
        assert_eq!(head.raised(Some(&tail(6)), 0).change_seq, 2);
    }
}
