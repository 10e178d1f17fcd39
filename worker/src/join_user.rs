//! A join of one's own user topic: whose status one sees, and what is unread.

use std::collections::{BTreeMap, BTreeSet};

use simurgh_protocol::{
    ConversationId, Refusal, UserId,
    envelope::{JoinedUser, Sees, Success},
    limits,
    record::Unread,
};

use crate::{
    Request, Worker, blocks,
    contacts::{self, visibility::peer},
    document,
    list::{Active, sorted},
    members::{self, MemberDocument, MembershipDocument},
    store::{
        Consistency, Item, Key,
        keys::{self, OfUser},
    },
};

/// Users whose status one sees, at most: with the unread conversations they fill two thirds of an envelope. Contacts
/// are bounded on the side of who adds, so anybody may have any number of followers; those beyond are not seen.
const VISIBLE: usize = 6_000;
/// Read positions read at once.
const CHUNK: usize = 200;
/// Conversations whose heads and positions one request reads.
const FEW: usize = 50;
const _: () = assert!(FEW <= limits::SYNC_UNREAD);

/// What is unread of a conversation, where anything is: nothing where the user is no member. Who sent the last message has
/// read it, also while the position is still to be written.
fn unread(user: &UserId, active: &Active, member: Option<&Item>) -> Result<Option<Unread>, Refusal> {
    let member: Option<MemberDocument> = member.map(document::read).transpose()?;
    let Some(member) = member.filter(MemberDocument::holds) else { return Ok(None) };
    let own = active.sender.as_ref() == Some(user);
    let read = if own { active.last_seq } else { member.last_read_seq };
    let unread_count = member.unread(read, active.last_seq);
    let unread = || Unread { conversation_id: active.id.clone(), unread_count, last_seq: active.last_seq };
    Ok((unread_count > 0).then(unread))
}

/// Whose status one sees, sorted: those of direct conversations before others.
fn bounded(peers: impl Iterator<Item = UserId>, followers: Vec<UserId>) -> Vec<UserId> {
    let mut visible = BTreeSet::new();
    for user in peers.chain(followers) {
        if visible.len() == VISIBLE {
            break;
        }
        visible.insert(user);
    }
    visible.into_iter().collect()
}

/// What says whom a user sees.
struct Surroundings {
    memberships: Vec<(ConversationId, MembershipDocument)>,
    unseen: BTreeSet<UserId>,
    followers: Vec<UserId>,
}

impl Surroundings {
    /// Whose status the user sees.
    fn visible(&self) -> Vec<UserId> {
        let seen = |user: &UserId| !self.unseen.contains(user);
        let peers = self.memberships.iter().filter_map(|(_, membership)| peer(membership.clone()));
        bounded(peers.filter(seen), self.followers.iter().filter(|user| seen(user)).cloned().collect())
    }
}

impl Worker {
    /// Join of `user:{principal}`: [`JoinedUser`].
    pub(crate) async fn join_user(&self, request: &Request) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let surroundings = self.surroundings(request, &user).await?;
        let unread = self.unread(request, &user, &surroundings.memberships).await?;
        Ok(Success::ok(&JoinedUser { visible: surroundings.visible(), unread }))
    }

    /// Whose status `{principal}` may see: a list of users.
    pub(crate) async fn visible(&self, request: &Request) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        Ok(Success::ok(&self.surroundings(request, &user).await?.visible()))
    }

    /// Whom `{principal}` sees, and whom not: [`Sees`].
    pub(crate) async fn sees(&self, request: &Request) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let surroundings = self.surroundings(request, &user).await?;
        let visible = surroundings.visible();
        Ok(Success::ok(&Sees { visible, unseen: blocks::bounded(surroundings.unseen) }))
    }

    /// In one range, since they are neighbours. Of very many blockers or followers, each part is read as far as it is
    /// shown.
    async fn surroundings(&self, request: &Request, user: &UserId) -> Result<Surroundings, Refusal> {
        let (items, cut) = self.load_pages(request, keys::surroundings(user)).await?;
        if cut {
            return Ok(Surroundings {
                memberships: self.memberships(request, user).await?,
                unseen: self.unseen(request, user).await?,
                followers: self.followers(request, user).await?,
            });
        }
        let OfUser { blocks, memberships, followers, .. } = keys::of_user(&items);
        Ok(Surroundings {
            memberships: members::held(memberships)?,
            unseen: blocks::unseen(blocks)?,
            followers: contacts::live(followers)?,
        })
    }

    /// The latest unread conversations.
    async fn unread(
        &self,
        request: &Request,
        user: &UserId,
        memberships: &[(ConversationId, MembershipDocument)],
    ) -> Result<Vec<Unread>, Refusal> {
        if memberships.len() <= FEW {
            return self.unread_of_few(request, user, memberships).await;
        }
        let active = sorted(self.active(request, memberships, Consistency::Eventual).await?);
        let written: Vec<Active> = active.into_iter().filter(|active| active.last_seq > 0).collect();
        let mut latest = Vec::new();
        for chunk in written.chunks(CHUNK) {
            let asked: Vec<Key> = chunk.iter().map(|active| keys::member(&active.id, user)).collect();
            // As old as the heads that they are compared with may be.
            let members = self.load_many(request, &asked, Consistency::Eventual).await?;
            for (active, member) in chunk.iter().zip(members) {
                latest.extend(unread(user, active, member.as_ref())?);
            }
            if latest.len() >= limits::SYNC_UNREAD {
                break;
            }
        }
        latest.truncate(limits::SYNC_UNREAD);
        Ok(latest)
    }

    /// The same by one request, for heads and positions together.
    async fn unread_of_few(
        &self,
        request: &Request,
        user: &UserId,
        memberships: &[(ConversationId, MembershipDocument)],
    ) -> Result<Vec<Unread>, Refusal> {
        let heads = memberships.iter().map(|(id, _)| keys::head(id));
        let positions = memberships.iter().map(|(id, _)| keys::member(id, user));
        let asked: Vec<Key> = heads.chain(positions).collect();
        let mut heads = self.load_many(request, &asked, Consistency::Eventual).await?;
        let positions = heads.split_off(memberships.len());
        let positions: BTreeMap<_, _> = memberships.iter().map(|(id, _)| id).zip(positions).collect();
        let active = memberships.iter().zip(heads).map(|((id, of), head)| Active::of(id, of, head.as_ref()));
        let mut latest = Vec::new();
        for active in sorted(active.collect::<Result<_, _>>()?) {
            let position = positions.get(&active.id).and_then(Option::as_ref);
            latest.extend(unread(user, &active, position)?);
        }
        Ok(latest)
    }
}

#[cfg(test)]
mod tests;
