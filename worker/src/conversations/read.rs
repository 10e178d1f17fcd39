//! Reading a conversation and changing its metadata.

use serde::Deserialize;
use simurgh_protocol::{
    ConversationId, Raw, Reason, Refusal, UserId,
    envelope::{Principal, Success},
    record::Conversation,
};

use super::{
    MetaDocument,
    updated::{Change, ConversationUpdated},
};
use crate::{
    Request, Worker,
    access::Roster,
    document::{self, ATTEMPTS, Stored},
    store::{Expect, keys},
    validate,
};

#[derive(Deserialize)]
struct Patch {
    metadata: Raw,
}

/// Its creator and services change a conversation; whoever comes here may enter it.
fn may_patch(principal: &Principal, created_by: Option<&UserId>) -> Result<(), Refusal> {
    match principal {
        Principal::Service => Ok(()),
        Principal::User(user) if Some(user) == created_by => Ok(()),
        Principal::User(_) => {
            Err(Refusal::new(Reason::Forbidden, "only its creator may change this conversation"))
        }
    }
}

impl Worker {
    /// `GET /api/v1/conversations/{id}`: the conversation, for members and services.
    pub(crate) async fn get_conversation(
        &self,
        request: &Request,
        id: &ConversationId,
    ) -> Result<Success, Refusal> {
        let roster = self.member_access(request, id).await?;
        let meta = self.meta(request, id).await?;
        Ok(Success::ok(&self.conversation(request, id, &roster, meta.document).await?))
    }

    /// `PATCH /api/v1/conversations/{id}`: the conversation with its new metadata.
    ///
    /// # Errors
    /// `forbidden` for members who did not create it; `validation_failed`, `message_too_large` for the metadata.
    pub(crate) async fn patch_conversation(
        &self,
        request: &Request,
        id: &ConversationId,
        body: &Raw,
    ) -> Result<Success, Refusal> {
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let roster = self.member_access(request, id).await?;
            let Stored { version, document: mut meta } = self.meta(request, id).await?;
            may_patch(&request.principal, meta.created_by.as_ref())?;
            let patch: Patch = validate::parse(body)?;
            meta.metadata = validate::metadata(Some(&patch.metadata), self.limits.metadata_bytes)?;
            meta.updated_at = self.env.now();
            let write = document::write(keys::meta(id), &meta, Expect::Version(version));
            if self.commit(request, vec![write]).await? {
                let updated = ConversationUpdated {
                    conversation_id: id.clone(),
                    change: Change::Metadata,
                    user_id: None,
                    metadata: Some(meta.metadata.clone()),
                    updated_at: meta.updated_at,
                };
                // Who blocks the one that changed it hears nothing of it.
                let deaf = match &request.principal {
                    Principal::User(user) => roster.deaf_to(user),
                    Principal::Service => None,
                };
                let told = roster.members.iter().filter(|member| Some(*member) != deaf);
                self.tell_updated(told, &updated).await;
                return Ok(Success::ok(&self.conversation(request, id, &roster, meta).await?));
            }
        }
        Err(document::contended())
    }

    /// What a conversation that exists is.
    pub(crate) async fn meta(
        &self,
        request: &Request,
        id: &ConversationId,
    ) -> Result<Stored<MetaDocument>, Refusal> {
        let meta = self.load(request, &keys::meta(id)).await?;
        meta.ok_or_else(not_yet)
    }

    /// A conversation as it is shown (contract section 4).
    pub(crate) async fn conversation(
        &self,
        request: &Request,
        id: &ConversationId,
        roster: &Roster,
        meta: MetaDocument,
    ) -> Result<Conversation, Refusal> {
        let last_seq = self.tail(request, id).await?.map_or(0, |tail| tail.seq);
        Ok(shown(id, roster, meta, last_seq))
    }
}

/// The answer where a conversation is still being created.
pub(crate) fn not_yet() -> Refusal {
    Refusal::unavailable("the conversation is not there yet")
}

/// A conversation as it is shown, from its parts.
pub(crate) fn shown(id: &ConversationId, roster: &Roster, meta: MetaDocument, last_seq: u64) -> Conversation {
    Conversation {
        id: id.clone(),
        kind: meta.kind,
        metadata: meta.metadata,
        created_by: meta.created_by,
        member_ids: roster.members.iter().cloned().collect(),
        last_seq,
        created_at: meta.created_at,
        updated_at: meta.updated_at.max(roster.changed_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_creator_and_services_change_a_conversation() {
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        assert!(may_patch(&Principal::User(alice.clone()), Some(&alice)).is_ok());
        assert!(may_patch(&Principal::Service, Some(&alice)).is_ok());
        let refused = may_patch(&Principal::User(bob.clone()), Some(&alice)).unwrap_err();
        assert_eq!(refused.reason, Reason::Forbidden);
        assert_eq!(may_patch(&Principal::User(bob), None).unwrap_err().reason, Reason::Forbidden);
    }
}
