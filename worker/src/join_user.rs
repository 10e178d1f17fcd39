//! A join of one's own user topic: whose status one sees, and what is unread.

use std::collections::BTreeSet;

use simurgh_protocol::{
    ConversationId, Refusal, UserId,
    envelope::{JoinedUser, Sees, Success},
    limits,
    record::Unread,
};

use crate::{
    Request, Worker, blocks,
    contacts::visibility::peer,
    document,
    list::{Active, sorted},
    members::{MemberDocument, MembershipDocument},
    store::{Consistency, Key, keys},
};

/// Users whose status one sees, at most: with the unread conversations they fill two thirds of an envelope. Contacts
/// are bounded on the side of who adds, so anybody may have any number of followers; those beyond are not seen.
const VISIBLE: usize = 6_000;
/// Read positions read at once.
const CHUNK: usize = 200;

/// What is unread of a conversation, where anything is. Who sent the last message has read it, also while the position
/// is still to be written.
fn unread(user: &UserId, active: &Active, member: &MemberDocument) -> Option<Unread> {
    let own = active.sender.as_ref() == Some(user);
    let read = if own { active.last_seq } else { member.last_read_seq };
    let unread_count = member.unread(read, active.last_seq);
    (unread_count > 0).then(|| Unread {
        conversation_id: active.id.clone(),
        unread_count,
        last_seq: active.last_seq,
    })
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

impl Worker {
    /// Join of `user:{principal}`: [`JoinedUser`].
    pub(crate) async fn join_user(&self, request: &Request) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let memberships = self.memberships(request, &user).await?;
        let unseen = self.unseen(request, &user).await?;
        let visible = self.visible_to(request, &user, &memberships, &unseen).await?;
        let active = sorted(self.active(request, &memberships, Consistency::Eventual).await?);
        let unread = self.unread(request, &user, active).await?;
        Ok(Success::ok(&JoinedUser { visible, unread }))
    }

    /// Whose status `{principal}` may see: a list of users.
    pub(crate) async fn visible(&self, request: &Request) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let memberships = self.memberships(request, &user).await?;
        let unseen = self.unseen(request, &user).await?;
        Ok(Success::ok(&self.visible_to(request, &user, &memberships, &unseen).await?))
    }

    /// Whom `{principal}` sees, and whom not: [`Sees`].
    pub(crate) async fn sees(&self, request: &Request) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let memberships = self.memberships(request, &user).await?;
        let unseen = self.unseen(request, &user).await?;
        let visible = self.visible_to(request, &user, &memberships, &unseen).await?;
        Ok(Success::ok(&Sees { visible, unseen: blocks::bounded(unseen) }))
    }

    async fn visible_to(
        &self,
        request: &Request,
        user: &UserId,
        memberships: &[(ConversationId, MembershipDocument)],
        unseen: &BTreeSet<UserId>,
    ) -> Result<Vec<UserId>, Refusal> {
        let seen = |user: &UserId| !unseen.contains(user);
        let peers = memberships.iter().filter_map(|(_, membership)| peer(membership.clone()).filter(seen));
        let followers = self.followers(request, user).await?.into_iter().filter(seen);
        Ok(bounded(peers, followers.collect()))
    }

    /// The latest unread conversations.
    async fn unread(
        &self,
        request: &Request,
        user: &UserId,
        active: Vec<Active>,
    ) -> Result<Vec<Unread>, Refusal> {
        let written: Vec<Active> = active.into_iter().filter(|active| active.last_seq > 0).collect();
        let mut latest = Vec::new();
        for chunk in written.chunks(CHUNK) {
            let members = self.member_documents(request, user, chunk).await?;
            for (active, member) in chunk.iter().zip(members) {
                latest.extend(member.and_then(|member| unread(user, active, &member)));
            }
            if latest.len() >= limits::SYNC_UNREAD {
                break;
            }
        }
        latest.truncate(limits::SYNC_UNREAD);
        Ok(latest)
    }

    /// How far the user has read in each of these, in their order; none where it is no member.
    async fn member_documents(
        &self,
        request: &Request,
        user: &UserId,
        conversations: &[Active],
    ) -> Result<Vec<Option<MemberDocument>>, Refusal> {
        request.in_time(&self.env)?;
        let asked: Vec<Key> = conversations.iter().map(|active| keys::member(&active.id, user)).collect();
        // As old as the heads that they are compared with may be.
        let mut found = self.store.get_many(&asked, Consistency::Eventual).await?.into_iter().peekable();
        let mut members = Vec::new();
        for key in asked {
            let item = found.next_if(|item| item.key == key);
            let member: Option<MemberDocument> = item.as_ref().map(document::read).transpose()?;
            members.push(member.filter(MemberDocument::holds));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests;
