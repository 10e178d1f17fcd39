//! What a block does in the direct conversation of its two.

use std::collections::BTreeSet;

use simurgh_protocol::{ConversationId, Refusal, UserId};

use super::PairDocument;
use crate::{
    Request, Worker,
    access::MembersDocument,
    conversations::DirectDocument,
    document::{self, Stored},
    members::{Frozen, MemberDocument, Position, Silenced},
    store::{Expect, Write, keys},
};

impl Worker {
    /// The writes by which the pair's direct conversation, where there is one, knows of the block that `user` made, or
    /// took back.
    pub(super) async fn in_direct(
        &self,
        request: &Request,
        user: &UserId,
        other: &UserId,
        pair: &PairDocument,
    ) -> Result<Vec<Write>, Refusal> {
        let direct: Option<Stored<DirectDocument>> = self.load(request, &keys::direct(user, other)).await?;
        let Some(Stored { document: DirectDocument { conversation_id }, .. }) = direct else {
            return Ok(Vec::new());
        };
        let id = &conversation_id;
        // Where it is still being created, who completes it writes the pair's item, too.
        let Some(members) = self.load::<MembersDocument>(request, &keys::members(id)).await? else {
            return Ok(Vec::new());
        };
        let blocked_by: BTreeSet<UserId> = pair.blocked_by.keys().cloned().collect();
        let last_seq = self.tail(request, id).await?.map_or(0, |tail| tail.seq);
        let expect = Expect::Version(members.version);
        // Its version makes every gateway and worker look again.
        let members = MembersDocument { blocked_by, ..members.document };
        let mut writes = vec![document::write(keys::members(id), &members, expect)];
        for member in [user, other] {
            // What it sent, it has read, also where that is not written yet.
            let sent = self.memory.bursts.position(id, member);
            let change = |document| changed(document, (member, sent), user, pair, last_seq);
            writes.extend(self.member_with(request, id, member, change).await?);
        }
        Ok(writes)
    }

    /// The write of a member's document, where that changes it.
    pub(crate) async fn member_with(
        &self,
        request: &Request,
        id: &ConversationId,
        member: &UserId,
        change: impl FnOnce(MemberDocument) -> MemberDocument,
    ) -> Result<Option<Write>, Refusal> {
        let key = keys::member(id, member);
        let Some(Stored { version, document }) = self.load::<MemberDocument>(request, &key).await? else {
            return Ok(None);
        };
        let after = change(document.clone());
        Ok((after != document).then(|| document::write(key, &after, Expect::Version(version))))
    }
}

/// A member's document once `by` blocks the other one, or no longer does.
fn changed(
    document: MemberDocument,
    (member, sent): (&UserId, u64),
    by: &UserId,
    pair: &PairDocument,
    last_seq: u64,
) -> MemberDocument {
    let now = Frozen {
        read: document.position(Position::Read).max(sent),
        delivered: document.position(Position::Delivered).max(sent),
    };
    let frozen = (!pair.blocked_by.is_empty()).then(|| document.frozen.unwrap_or(now));
    let silenced = match (member == by, pair.blocked_by.contains_key(by)) {
        (true, true) => Some(Silenced::begun(document.silenced, last_seq, document.last_read_seq)),
        (true, false) => document.silenced.map(|silenced| silenced.ended(last_seq)),
        (false, _) => document.silenced,
    };
    MemberDocument { frozen, silenced, ..document }
}
