//! Creating a conversation, in steps that any later attempt may take up where one left off:
//!
//! 1. `meta` reserves the id (with the pair's item, in one transaction, where it is direct);
//! 2. each member's two documents, where there are none;
//! 3. `members`: from here on the conversation exists.
//!
//! Nothing is ever overwritten, so an attempt that comes late changes nothing: not the members who came and went since
//! (who went left a tombstone).

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, future::join, stream};
use simurgh_protocol::{
    Raw, Refusal, UserId,
    envelope::{CreatePolicy, Principal, Success},
    record::ConversationType,
};

use super::{
    DirectDocument, MetaDocument,
    draft::{self, Draft},
    updated::{Change, ConversationUpdated},
};
use crate::{
    Request, Worker,
    access::MembersDocument,
    blocks::PairDocument,
    document::{self, ATTEMPTS, Stored},
    members::{Frozen, MemberDocument, MemberState, MembershipDocument, Silenced},
    store::{Expect, Write, keys},
};

/// Members whose documents are written at once.
const FILLED_AT_ONCE: usize = 64;

impl Worker {
    /// `POST /api/v1/conversations`: 201 and the conversation, 200 where it exists.
    ///
    /// # Errors
    /// `validation_failed`, `message_too_large`; `forbidden` where the policy does not let the caller, or (+ `limit`)
    /// where a member has as many conversations as one may have; `conflict` where the id is taken otherwise, or the
    /// caller is no longer in what has it.
    pub(crate) async fn create_conversation(
        &self,
        request: &Request,
        policy: CreatePolicy,
        body: &Raw,
    ) -> Result<Success, Refusal> {
        let mut draft = draft::read(request, body, &self.limits)?;
        draft::may_create(&request.principal, policy)?;
        self.find_pair(request, &mut draft).await?;
        if self.roster(request, &draft.id).await?.is_none() {
            self.check_consent(request, policy, &draft).await?;
            self.check_unblocked(request, &draft).await?;
            self.check_room(request, &draft.members, &draft.id).await?;
            let meta = self.reserve(request, &mut draft).await?;
            self.fill(request, &draft, &meta).await?;
            if let Some(blocked_by) = self.complete(request, &draft).await? {
                self.tell_created(&draft, &meta, &blocked_by).await;
                self.show_pair(request, &draft).await;
                return self.created(request, &draft, 201).await;
            }
        }
        let roster = self.roster(request, &draft.id).await?;
        let by_this = roster.is_some_and(|roster| roster.completed_by == Some(request.id));
        if by_this {
            // Another attempt of this request created it, and may have died before it told so. Users are told at most once
            // that it is there; whom they see is a state, which is told as often as need be.
            self.show_pair(request, &draft).await;
        }
        self.created(request, &draft, if by_this { 201 } else { 200 }).await
    }

    /// Only what is new needs consent: a conversation that is there is found again whoever is whose contact now.
    async fn check_consent(
        &self,
        request: &Request,
        policy: CreatePolicy,
        draft: &Draft,
    ) -> Result<(), Refusal> {
        let (CreatePolicy::Contacts, Some(user)) = (policy, &draft.created_by) else { return Ok(()) };
        let others = draft.others();
        let added_by = self.followers_among(request, user, &others).await?;
        draft::consent(&others, &BTreeSet::from_iter(added_by))
    }

    /// Nobody begins a conversation with whom it blocks. Who is blocked may: it comes to be for that one alone.
    async fn check_unblocked(&self, request: &Request, draft: &Draft) -> Result<(), Refusal> {
        let (Some((one, other)), Some(user)) = (draft.pair(), &draft.created_by) else { return Ok(()) };
        let pair = self.pair(request, one, other).await?;
        match pair.filter(|pair| pair.document.blocked_by.contains_key(user)) {
            Some(_) => Err(Refusal::blocked()),
            None => Ok(()),
        }
    }

    /// A direct conversation that the pair has goes before the draft's id.
    async fn find_pair(&self, request: &Request, draft: &mut Draft) -> Result<bool, Refusal> {
        let Some((one, other)) = draft.pair() else { return Ok(false) };
        let pair: Option<Stored<DirectDocument>> = self.load(request, &keys::direct(one, other)).await?;
        let Some(Stored { document, .. }) = pair else { return Ok(false) };
        draft.id = document.conversation_id;
        Ok(true)
    }

    /// Step 1. Answers what is stored, by this attempt or by one before.
    async fn reserve(&self, request: &Request, draft: &mut Draft) -> Result<MetaDocument, Refusal> {
        let now = self.env.now();
        let meta = MetaDocument {
            kind: draft.kind,
            metadata: draft.metadata.clone(),
            created_by: draft.created_by.clone(),
            created_at: now,
            updated_at: now,
            created_with: draft::fingerprint(&draft.members),
        };
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let found = self.find_pair(request, draft).await?;
            if let Some(stored) = self.load::<MetaDocument>(request, &keys::meta(&draft.id)).await? {
                draft::same(&stored.document, draft)?;
                return Ok(stored.document);
            }
            if found {
                return Err(Refusal::unavailable("a direct conversation is half there"));
            }
            if self.commit(request, reservation(draft, &meta)).await? {
                return Ok(meta);
            }
        }
        Err(document::contended())
    }

    /// Step 2. A large group may take several attempts: each goes on with whoever is left.
    async fn fill(&self, request: &Request, draft: &Draft, meta: &MetaDocument) -> Result<(), Refusal> {
        // A member's document is written after its membership, so where it is there, both are, or were until it left.
        let there = self.load_whole(request, keys::all_members(&draft.id)).await?;
        let there: BTreeSet<&str> = there.iter().filter_map(|item| keys::named(&item.key)).collect();
        let left = draft.members.iter().filter(|member| !there.contains(member.as_str()));
        let left: Vec<_> = left.map(|member| self.fill_one(request, draft, meta, member)).collect();
        stream::iter(left).buffered(FILLED_AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn fill_one(
        &self,
        request: &Request,
        draft: &Draft,
        meta: &MetaDocument,
        member: &UserId,
    ) -> Result<(), Refusal> {
        for write in membership(draft, meta, member) {
            self.commit(request, vec![write]).await?;
        }
        Ok(())
    }

    /// Step 3. Who of a pair blocks the other, where it was this attempt that took it.
    async fn complete(&self, request: &Request, draft: &Draft) -> Result<Option<BTreeSet<UserId>>, Refusal> {
        let changed_at = self.env.now();
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let (mut writes, blocked_by) = self.pair_writes(request, draft).await?;
            let members = MembersDocument {
                count: draft.members.len(),
                kind: draft.kind,
                changed_at,
                completed_by: Some(request.id),
                blocked_by,
            };
            let key = keys::members(&draft.id);
            writes.push(document::write(key.clone(), &members, Expect::Absent));
            let written = self.commit(request, writes).await;
            if written == Ok(true) {
                return Ok(Some(members.blocked_by));
            }
            match (self.load::<MembersDocument>(request, &key).await?, written) {
                // Where only the answer was lost, nobody else will tell of it.
                (Some(stored), _) if stored.document == members => return Ok(Some(members.blocked_by)),
                (_, Err(refusal)) => return Err(refusal),
                (Some(_), Ok(_)) => return Ok(None),
                // One of the pair blocked the other meanwhile, or no longer does.
                (None, Ok(_)) => {}
            }
        }
        Err(document::contended())
    }

    /// What is written with a pair's conversation, and who of the two blocks the other: a block that is made at the same
    /// time meets it, and who does not listen knows nothing of it.
    async fn pair_writes(
        &self,
        request: &Request,
        draft: &Draft,
    ) -> Result<(Vec<Write>, BTreeSet<UserId>), Refusal> {
        let Some((one, other)) = draft.pair() else { return Ok((Vec::new(), BTreeSet::new())) };
        let stored = self.pair(request, one, other).await?;
        let pair: PairDocument = stored.as_ref().map(|stored| stored.document.clone()).unwrap_or_default();
        let blocked_by: BTreeSet<UserId> = pair.blocked_by.keys().cloned().collect();
        let mut writes = vec![pair.write(one, other, stored.as_ref(), self.env.now())];
        for member in draft.members.iter().filter(|_| !blocked_by.is_empty()) {
            let silenced = Silenced { concealed: true, ..Silenced::begun(None, 0, 0) };
            let silenced = blocked_by.contains(member).then_some(silenced);
            let frozen = Some(Frozen { read: 0, delivered: 0 });
            let begun = |document| MemberDocument { silenced, frozen, ..document };
            writes.extend(self.member_with(request, &draft.id, member, begun).await?);
        }
        Ok((writes, blocked_by))
    }

    /// The members learn of it, but for who does not listen to who created it.
    async fn tell_created(&self, draft: &Draft, meta: &MetaDocument, blocked_by: &BTreeSet<UserId>) {
        let updated = ConversationUpdated {
            conversation_id: draft.id.clone(),
            change: Change::Created,
            user_id: None,
            metadata: Some(meta.metadata.clone()),
            updated_at: meta.updated_at,
        };
        self.tell_updated(draft.members.difference(blocked_by), &updated).await;
    }

    /// The two of a direct conversation see each other's status from now on.
    async fn show_pair(&self, request: &Request, draft: &Draft) {
        if let Some((one, other)) = draft.pair() {
            join(self.tell_visibility(request, one, other), self.tell_visibility(request, other, one)).await;
        }
    }

    /// The conversation as it is now, for who may still see it.
    async fn created(&self, request: &Request, draft: &Draft, status: u16) -> Result<Success, Refusal> {
        let Some(roster) = self.roster(request, &draft.id).await? else {
            return Err(Refusal::unavailable("the conversation is not there yet"));
        };
        let meta = self.meta(request, &draft.id).await?;
        draft::same(&meta.document, draft)?;
        if let Principal::User(user) = &request.principal
            && !roster.members.contains(user)
        {
            return Err(draft::taken());
        }
        let conversation = self.conversation(request, &draft.id, &roster, meta.document).await?;
        Ok(Success { status, ..Success::ok(&conversation) })
    }
}

/// The writes of step 1.
fn reservation(draft: &Draft, meta: &MetaDocument) -> Vec<Write> {
    let mut writes = vec![document::write(keys::meta(&draft.id), meta, Expect::Absent)];
    if let Some((one, other)) = draft.pair() {
        let pair = DirectDocument { conversation_id: draft.id.clone() };
        writes.push(document::write(keys::direct(one, other), &pair, Expect::Absent));
    }
    writes
}

/// The writes of step 2 for one member, in their order.
fn membership(draft: &Draft, meta: &MetaDocument, member: &UserId) -> [Write; 2] {
    let peer = draft.members.iter().find(|other| *other != member);
    let seen = MembershipDocument {
        state: MemberState::Member,
        kind: draft.kind,
        joined_at: meta.created_at,
        peer: peer.filter(|_| draft.kind == ConversationType::Direct).cloned(),
        muted_until: None,
    };
    let document = MemberDocument::new(meta.created_at, 0);
    [
        document::write(keys::membership(member, &draft.id), &seen, Expect::Absent),
        document::write(keys::member(&draft.id, member), &document, Expect::Absent),
    ]
}
