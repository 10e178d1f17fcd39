//! Members of conversations: adding and removing them, and what is stored of them.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use simurgh_protocol::{
    ConversationId, Reason, Refusal, Timestamp, UserId,
    envelope::{ConversationEvent, Principal, Success},
};

use self::document::TOMBSTONE;
use crate::{
    Request, Worker,
    access::{MembersDocument, Roster},
    conversations::updated::{Change, ConversationUpdated},
    document::{self as stored, ATTEMPTS, CONCURRENCY, Stored},
    store::{Expect, Item, Write, keys},
};

pub mod document;
pub(crate) mod rules;

#[cfg(test)]
mod tests;

pub use document::{
    Frozen, MemberDocument, MemberState, MembershipDocument, Position, Silenced, held_without,
};
use rules::{Addition, Removal};

/// What is stored of one membership, on both sides.
struct Sides {
    member: Option<Stored<MemberDocument>>,
    membership: Option<Stored<MembershipDocument>>,
}

/// What one attempt came to: the roster that it began with and whether it changed that.
struct Outcome {
    before: Arc<Roster>,
    changed: bool,
}

impl Worker {
    /// `PUT /api/v1/conversations/{id}/members/{user_id}`: 204, also where the user is a member already.
    ///
    /// # Errors
    /// `conflict` in a direct conversation and (+ `limit`) in a full group; `forbidden` (+ `limit`) where the user has
    /// as many conversations as one may have.
    pub(crate) async fn add_member(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Success, Refusal> {
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            if let Some(Outcome { before, changed }) = self.try_add(request, id, user).await? {
                if changed {
                    let added = ConversationEvent::Added { user: user.clone() };
                    self.tell_conversation(id, before.version + 1, added).await;
                    let told = before.members.iter().chain([user]);
                    self.tell_updated(told, &self.updated(id, Change::MemberAdded, user)).await;
                }
                return Ok(stored::done(204));
            }
        }
        Err(stored::contended())
    }

    /// One attempt; `None` where somebody else was quicker.
    async fn try_add(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Option<Outcome>, Refusal> {
        let before = self.member_access(request, id).await?;
        let sides = self.sides(request, id, user).await?;
        let writes = match rules::add(&before, user, self.limits.members)? {
            Addition::Unchanged => match sides.member.filter(|member| member.document.holds()) {
                Some(member) => vec![touched(id, user, &member)],
                // Removed since the roster was read.
                None => return Ok(None),
            },
            Addition::Add => {
                self.check_room(request, [user], id).await?;
                self.check_gone(request, id, &before, sides.member.is_some()).await?;
                if !self.unmute(request, id, user).await? {
                    return Ok(None);
                }
                let last_read_seq = self.tail(request, id).await?.map_or(0, |tail| tail.seq);
                let joined_at = self.env.now();
                let state = MemberState::Member;
                let was = sides.member.as_ref().and_then(|member| member.document.was);
                let member = MemberDocument { was, ..MemberDocument::new(joined_at, last_read_seq) };
                let membership =
                    MembershipDocument { state, kind: before.kind, joined_at, peer: None, muted_until: None };
                let count = before.members.len() + 1;
                vec![
                    stored::write(keys::member(id, user), &member, stored::expect(sides.member.as_ref())),
                    stored::write(
                        keys::membership(user, id),
                        &membership,
                        stored::expect(sides.membership.as_ref()),
                    ),
                    self.recounted(id, &before, count),
                ]
            }
        };
        let changed = writes.len() > 1;
        Ok(self.commit(request, writes).await?.then_some(Outcome { before, changed }))
    }

    /// `DELETE /api/v1/conversations/{id}/members/{user_id}`: 204, also where the user is no member. Once it is
    /// answered, nothing of that member's in this conversation succeeds any more: everything of it reads the item
    /// `members` first, which has another version from the moment of the commit.
    ///
    /// # Errors
    /// `forbidden` for members who remove others and did not create it, `conflict` in a direct conversation.
    pub(crate) async fn remove_member(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Success, Refusal> {
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            if let Some(Outcome { before, changed }) = self.try_remove(request, id, user).await? {
                if changed {
                    // The version that the commit made: gateways take it as proof that this step was this removal.
                    let removed = ConversationEvent::Removed { user: user.clone() };
                    self.tell_conversation(id, before.version + 1, removed).await;
                    self.tell_updated(&before.members, &self.updated(id, Change::MemberRemoved, user)).await;
                } else {
                    // Another attempt may have removed the user and died before it told so. Which step that was is
                    // not known here: the version alone makes gateways look up whom they serve.
                    let nothing = ConversationEvent::Messages(Vec::new());
                    self.tell_conversation(id, before.version, nothing).await;
                }
                return Ok(stored::done(204));
            }
        }
        Err(stored::contended())
    }

    /// One attempt; `None` where somebody else was quicker.
    async fn try_remove(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Option<Outcome>, Refusal> {
        let before = match self.member_access(request, id).await {
            Err(refusal) if refusal.reason == Reason::NotAMember => {
                let before = self.left_before(request, id, user).await?.ok_or(refusal)?;
                return Ok(Some(Outcome { before, changed: false }));
            }
            access => access?,
        };
        let created_by = match &request.principal {
            Principal::User(caller) if caller != user => self.meta(request, id).await?.document.created_by,
            _ => None,
        };
        let removal = rules::remove(&request.principal, created_by.as_ref(), &before, user)?;
        let sides = self.sides(request, id, user).await?;
        let holds = sides.member.as_ref().is_some_and(|member| member.document.holds());
        if holds != (removal == Removal::Remove) {
            // Added or removed since the roster was read.
            return Ok(None);
        }
        self.check_gone(request, id, &before, sides.member.is_some()).await?;
        let now = self.env.now();
        let expires_at = Some(now.plus(TOMBSTONE));
        let known = sides.member.as_ref().map(|member| member.document.clone());
        let known = known.unwrap_or_else(|| MemberDocument::new(now, 0));
        let changed = removal == Removal::Remove;
        let removed_before = sides.member.as_ref().and_then(|member| member.document.removed_by);
        let removed_by = if changed { Some(request.id) } else { removed_before };
        let state = MemberState::Removed;
        let was = was(sides.member.as_ref(), now);
        let member = MemberDocument { state, joined_at: now, removed_by, was, ..known };
        let expect = stored::expect(sides.member.as_ref());
        let mut writes = vec![Write { expires_at, ..stored::write(keys::member(id, user), &member, expect) }];
        if changed {
            let membership = MembershipDocument {
                state,
                kind: before.kind,
                joined_at: now,
                peer: None,
                muted_until: None,
            };
            let expect = stored::expect(sides.membership.as_ref());
            let write = stored::write(keys::membership(user, id), &membership, expect);
            writes.push(Write { expires_at, ..write });
            writes.push(self.recounted(id, &before, before.members.len().saturating_sub(1)));
        }
        Ok(self.commit(request, writes).await?.then_some(Outcome { before, changed }))
    }

    /// The members now, where an earlier attempt of this very request let its caller leave: who left may not enter any
    /// more, and is done all the same.
    async fn left_before(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<Option<Arc<Roster>>, Refusal> {
        if request.principal != Principal::User(user.clone()) {
            return Ok(None);
        }
        let member = self.load::<MemberDocument>(request, &keys::member(id, user)).await?;
        match member.filter(|member| member.document.removed_by == Some(request.id)) {
            Some(_) => self.roster(request, id).await,
            None => Ok(None),
        }
    }

    async fn sides(&self, request: &Request, id: &ConversationId, user: &UserId) -> Result<Sides, Refusal> {
        Ok(Sides {
            member: self.load(request, &keys::member(id, user)).await?,
            membership: self.load(request, &keys::membership(user, id)).await?,
        })
    }

    /// The item `members` with another count, on the version that was read.
    fn recounted(&self, id: &ConversationId, before: &Roster, count: usize) -> Write {
        let (kind, completed_by, blocked_by) = (before.kind, before.completed_by, before.blocked_by.clone());
        let members = MembersDocument { count, kind, changed_at: self.env.now(), completed_by, blocked_by };
        stored::write(keys::members(id), &members, Expect::Version(before.version))
    }

    fn updated(&self, id: &ConversationId, change: Change, user: &UserId) -> ConversationUpdated {
        ConversationUpdated {
            conversation_id: id.clone(),
            change,
            user_id: Some(user.clone()),
            metadata: None,
            updated_at: self.env.now(),
        }
    }

    /// Whether each of these users, who are to become members of `id`, may have one conversation more. A bound on
    /// growth and no invariant: who is added twice at the same moment may end one beyond it.
    ///
    /// # Errors
    /// `forbidden` (+ `limit`). Not `conflict`: to who creates a conversation that says that the id is taken.
    /// `rate_limit_exceeded` (+ `retry_after`) for a user who came to and left too many lately.
    pub(crate) async fn check_room<'a>(
        &self,
        request: &Request,
        users: impl IntoIterator<Item = &'a UserId>,
        id: &ConversationId,
    ) -> Result<(), Refusal> {
        let checks: Vec<_> = users.into_iter().map(|user| self.check_room_of(request, user, id)).collect();
        stream::iter(checks).buffered(CONCURRENCY).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn check_room_of(
        &self,
        request: &Request,
        user: &UserId,
        id: &ConversationId,
    ) -> Result<(), Refusal> {
        let items = self.load_whole(request, keys::memberships(user)).await?;
        let held = held(&items)?;
        let others = held.iter().filter(|(other, _)| other != id).count();
        let limit = self.limits.conversations;
        if others >= limit {
            return Err(rules::too_many_conversations(limit));
        }
        let known = items.iter().any(|item| keys::named(&item.key) == Some(id.as_str()));
        rules::room_for_tombstone(items.len() - held.len(), known)
    }

    /// Whether a document of a user that a conversation does not know yet may be stored beside those of its members and the
    /// tombstones of who went.
    ///
    /// # Errors
    /// `rate_limit_exceeded` (+ `retry_after`) where too many came and went lately.
    async fn check_gone(
        &self,
        request: &Request,
        id: &ConversationId,
        roster: &Roster,
        known: bool,
    ) -> Result<(), Refusal> {
        if known {
            return Ok(());
        }
        let items = self.load_whole(request, keys::all_members(id)).await?;
        rules::room_for_tombstone(items.len().saturating_sub(roster.members.len()), known)
    }

    /// A user's memberships that hold, by conversation. One of a conversation that was never completed is among them.
    pub(crate) async fn memberships(
        &self,
        request: &Request,
        user: &UserId,
    ) -> Result<Vec<(ConversationId, MembershipDocument)>, Refusal> {
        held(&self.load_whole(request, keys::memberships(user)).await?)
    }
}

/// The memberships among these that hold.
pub(crate) fn held(items: &[Item]) -> Result<Vec<(ConversationId, MembershipDocument)>, Refusal> {
    let mut held = Vec::new();
    for item in items {
        let membership: MembershipDocument = stored::read(item)?;
        if membership.state == MemberState::Member {
            let id = keys::named(&item.key).and_then(|id| ConversationId::new(id).ok());
            held.extend(id.map(|id| (id, membership)));
        }
    }
    Ok(held)
}

/// The membership that ends now, or the last that did.
fn was(member: Option<&Stored<MemberDocument>>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let document = &member?.document;
    if document.holds() { Some((document.joined_at, now)) } else { document.was }
}

/// The same document on its version: where nothing changes, that still changes, so that an attempt of the opposite call
/// that read it and comes late finds another.
fn touched(id: &ConversationId, user: &UserId, member: &Stored<MemberDocument>) -> Write {
    stored::write(keys::member(id, user), &member.document, Expect::Version(member.version))
}
