//! Who is a member: decided by what is stored now, at the cost of one small consistent read.
//!
//! The item `members` of a conversation holds a version that grows with each change of its members. A roster that was
//! read at the version that is stored now is the roster now; only where the version moved are the members read again.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, Reason, Refusal, Timestamp, UserId, envelope::Principal, record::ConversationType,
};

use uuid::Uuid;

use crate::{
    Request, Worker,
    cache::Cache,
    document::{self, Stored},
    members::MemberDocument,
    metrics::Metrics,
    store::{Item, keys},
};

/// Bytes of all remembered rosters together.
const ROSTERS_BYTES: usize = 48 * 1024 * 1024;
/// About what a member takes beside its id, and a roster beside its members.
const MEMBER_BYTES: usize = 40;
const ROSTER_BYTES: usize = 256;
/// How often members that change while they are read are read again.
const ATTEMPTS: u32 = 4;

/// The document of `members`. It exists once the conversation does: it is written last when one is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersDocument {
    /// How many there are.
    pub count: usize,
    /// What kind of conversation it is.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// When the members changed last.
    pub changed_at: Timestamp,
    /// The request that completed the conversation: another attempt of that one created it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_by: Option<Uuid>,
    /// Of a direct conversation, who of the two blocks the other.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blocked_by: BTreeSet<UserId>,
}

/// The members of a conversation at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// The version of the item `members`.
    pub version: u64,
    /// What kind of conversation it is.
    pub kind: ConversationType,
    /// When the members changed last.
    pub changed_at: Timestamp,
    /// The request that completed the conversation.
    pub completed_by: Option<Uuid>,
    /// Who.
    pub members: BTreeSet<UserId>,
    /// Of a direct conversation, who of the two blocks the other.
    pub blocked_by: BTreeSet<UserId>,
}

/// Rosters read lately. Each is the truth only while its version is the stored one.
#[derive(Debug)]
pub(crate) struct Rosters(Cache<ConversationId, Arc<Roster>>);

impl Rosters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self(Cache::new(ROSTERS_BYTES, metrics.cache("rosters")))
    }
}

impl Roster {
    /// Who does not get what this member says: the other one, who blocks it.
    pub(crate) fn deaf_to(&self, member: &UserId) -> Option<&UserId> {
        let deaf = self.blocked_by.iter().find(|user| *user != member);
        deaf.filter(|_| self.members.contains(member))
    }

    /// Whom this member does not see here, nor that one it: the other one, where one of the two blocks the other.
    pub(crate) fn unseen(&self, member: &UserId) -> Option<&UserId> {
        self.members.iter().find(|user| *user != member && !self.blocked_by.is_empty())
    }

    /// About the bytes that it takes in memory.
    fn bytes(&self) -> usize {
        self.members.iter().map(|user| user.as_str().len() + MEMBER_BYTES).sum::<usize>() + ROSTER_BYTES
    }
}

/// Members may enter their conversation; services any that exists. To users a conversation that does not exist and
/// one of others look the same: membership is no oracle (contract section 3).
fn may_enter(principal: &Principal, roster: Option<Arc<Roster>>) -> Result<Arc<Roster>, Refusal> {
    match (principal, roster) {
        (Principal::Service, Some(roster)) => Ok(roster),
        (Principal::User(user), Some(roster)) if roster.members.contains(user) => Ok(roster),
        (Principal::Service, None) => Err(Refusal::new(Reason::NotFound, "there is no such conversation")),
        (Principal::User(_), _) => Err(Refusal::not_a_member()),
    }
}

impl Worker {
    /// The members now. `None` where there is no such conversation.
    ///
    /// # Errors
    /// `unavailable` where the store does not answer, or the members change faster than they can be read.
    pub async fn roster(
        &self,
        request: &Request,
        id: &ConversationId,
    ) -> Result<Option<Arc<Roster>>, Refusal> {
        let read = self.load(request, &keys::members(id)).await?;
        self.roster_at(request, id, read).await
    }

    /// The members, where their item was `read` a moment ago.
    async fn roster_at(
        &self,
        request: &Request,
        id: &ConversationId,
        mut read: Option<Stored<MembersDocument>>,
    ) -> Result<Option<Arc<Roster>>, Refusal> {
        for _ in 0..ATTEMPTS {
            let Some(Stored { version, document }) = read else { return Ok(None) };
            if let Some(roster) = self.memory.rosters.0.find(id, |roster| roster.version == version) {
                return Ok(Some(roster));
            }
            let members = members_in(&self.load_whole(request, keys::all_members(id)).await?)?;
            read = self.load(request, &keys::members(id)).await?;
            if read.as_ref().is_some_and(|again| again.version == version) {
                let MembersDocument { kind, changed_at, completed_by, blocked_by, .. } = document;
                let roster = Roster { version, kind, changed_at, completed_by, members, blocked_by };
                let roster = Arc::new(roster);
                self.memory.rosters.0.put(id.clone(), Arc::clone(&roster), roster.bytes());
                return Ok(Some(roster));
            }
        }
        Err(document::contended())
    }

    /// The members now, where who asks may enter.
    ///
    /// # Errors
    /// `not_a_member` for users who are not or where there is no such conversation, `not_found` for services there,
    /// and those of [`Self::roster`].
    pub async fn member_access(
        &self,
        request: &Request,
        id: &ConversationId,
    ) -> Result<Arc<Roster>, Refusal> {
        may_enter(&request.principal, self.roster(request, id).await?)
    }

    /// The same, where the item `members` was read a moment ago.
    pub(crate) async fn member_access_at(
        &self,
        request: &Request,
        id: &ConversationId,
        members: Option<&Item>,
    ) -> Result<Arc<Roster>, Refusal> {
        let read = members.map(Stored::read).transpose()?;
        may_enter(&request.principal, self.roster_at(request, id, read).await?)
    }
}

/// The users whose membership holds.
fn members_in(items: &[Item]) -> Result<BTreeSet<UserId>, Refusal> {
    let mut members = BTreeSet::new();
    for item in items {
        let user = item.key.sk.strip_prefix("m#").and_then(|user| UserId::new(user).ok());
        if let Some(user) = user
            && document::read::<MemberDocument>(item)?.holds()
        {
            members.insert(user);
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(members: &[&str]) -> Option<Arc<Roster>> {
        Some(Arc::new(Roster {
            version: 1,
            kind: ConversationType::Group,
            changed_at: Timestamp::default(),
            completed_by: None,
            members: members.iter().map(|user| UserId::new(user).unwrap()).collect(),
            blocked_by: BTreeSet::new(),
        }))
    }

    fn user(name: &str) -> Principal {
        Principal::User(UserId::new(name).unwrap())
    }

    #[test]
    fn a_member_may_enter_and_another_user_may_not() {
        assert!(may_enter(&user("alice"), roster(&["alice", "bob"])).is_ok());
        let refused = may_enter(&user("carol"), roster(&["alice", "bob"])).unwrap_err();
        assert_eq!(refused, Refusal::not_a_member());
        assert_eq!(may_enter(&user("carol"), None).unwrap_err(), refused, "no oracle");
    }

    #[test]
    fn a_service_may_enter_what_exists() {
        assert!(may_enter(&Principal::Service, roster(&[])).is_ok());
        assert_eq!(may_enter(&Principal::Service, None).unwrap_err().reason, Reason::NotFound);
    }
}
