//! Who may see whose status (contract section 3.1): A sees B exactly when B added A as a contact, or the two share a
//! direct conversation.

use std::collections::BTreeSet;

use simurgh_protocol::{ConversationId, Refusal, UserId, record::ConversationType};

use super::{ContactDocument, live};
use crate::{
    Request, Worker,
    document::Stored,
    members::{self, MemberState, MembershipDocument},
    store::{
        Consistency, Query,
        keys::{self, OfUser},
    },
};

/// Items that are read at once, wanted or not.
const NEIGHBOURS: usize = 200;

impl Worker {
    /// The contacts of a user, sorted.
    pub(crate) async fn contacts(&self, request: &Request, user: &UserId) -> Result<Vec<UserId>, Refusal> {
        live(&self.load_whole(request, keys::contacts(user)).await?)
    }

    /// Whose contact a user is, sorted.
    pub(crate) async fn followers(&self, request: &Request, user: &UserId) -> Result<Vec<UserId>, Refusal> {
        live(&self.load_range(request, keys::followers(user)).await?)
    }

    /// Which of `others` have the user as a contact.
    pub(crate) async fn followers_among(
        &self,
        request: &Request,
        user: &UserId,
        others: &BTreeSet<UserId>,
    ) -> Result<Vec<UserId>, Refusal> {
        request.in_time(&self.env)?;
        let asked: Vec<_> = others.iter().map(|other| keys::follower(user, other)).collect();
        live(&self.store.get_many(&asked, Consistency::Strong).await?)
    }

    /// Who sees the status of `user`, sorted.
    pub(crate) async fn audience(&self, request: &Request, user: &UserId) -> Result<Vec<UserId>, Refusal> {
        let (memberships, contacts) = self.memberships_and_contacts(request, user).await?;
        let peers = memberships.into_iter().filter_map(|(_, membership)| peer(membership));
        let audience: BTreeSet<UserId> = peers.chain(contacts).collect();
        Ok(audience.into_iter().collect())
    }

    /// In one range, since they are neighbours, unless there are too many followers between them.
    async fn memberships_and_contacts(
        &self,
        request: &Request,
        user: &UserId,
    ) -> Result<(Vec<(ConversationId, MembershipDocument)>, Vec<UserId>), Refusal> {
        let range = Query { limit: NEIGHBOURS, ..keys::memberships_to_contacts(user) };
        let page = self.query(request, range).await?;
        if page.more {
            return Ok((self.memberships(request, user).await?, self.contacts(request, user).await?));
        }
        let OfUser { memberships, contacts, .. } = keys::of_user(&page.items);
        Ok((members::held(memberships)?, live(contacts)?))
    }

    /// Whether `viewer` may see the status of `user`.
    pub(crate) async fn may_see(
        &self,
        request: &Request,
        viewer: &UserId,
        user: &UserId,
    ) -> Result<bool, Refusal> {
        let added: Option<Stored<ContactDocument>> = self.load(request, &keys::contact(user, viewer)).await?;
        let added = added.is_some_and(|stored| stored.document.holds());
        Ok(added || self.share_direct(request, viewer, user).await?)
    }

    /// Whether the two share a direct conversation.
    pub(crate) async fn share_direct(
        &self,
        request: &Request,
        one: &UserId,
        other: &UserId,
    ) -> Result<bool, Refusal> {
        request.in_time(&self.env)?;
        Ok(self.store.get(&keys::direct(one, other), Consistency::Strong).await?.is_some())
    }
}

/// The other one of a direct conversation, whose status each of the two sees.
pub(crate) fn peer(membership: MembershipDocument) -> Option<UserId> {
    let direct = membership.kind == ConversationType::Direct && membership.state == MemberState::Member;
    membership.peer.filter(|_| direct)
}
