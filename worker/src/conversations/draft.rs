//! What somebody wants to create, and whether that may be. Pure.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use simurgh_protocol::{
    ConversationId, Raw, Reason, Refusal, UserId,
    envelope::{CreatePolicy, Principal},
    record::ConversationType,
};

use super::MetaDocument;
use crate::{Limits, Request, validate};

/// A conversation to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Draft {
    /// Its id: the caller's, or that of the pair's conversation, or else the request's own, which is the same at each
    /// attempt and nobody else's.
    pub(super) id: ConversationId,
    pub(super) kind: ConversationType,
    pub(super) metadata: Raw,
    pub(super) created_by: Option<UserId>,
    pub(super) members: BTreeSet<UserId>,
}

#[derive(Deserialize)]
struct Body {
    id: Option<ConversationId>,
    #[serde(rename = "type")]
    kind: ConversationType,
    member_ids: Vec<UserId>,
    metadata: Option<Raw>,
}

/// Reads the body. A user who creates is a member; a member listed twice is one.
///
/// # Errors
/// `validation_failed` where it breaks a rule, `message_too_large` for its metadata.
pub(super) fn read(request: &Request, body: &Raw, limits: &Limits) -> Result<Draft, Refusal> {
    let body: Body = validate::parse(body)?;
    let metadata = validate::metadata(body.metadata.as_ref(), limits.metadata_bytes)?;
    let mut members: BTreeSet<UserId> = body.member_ids.into_iter().collect();
    let created_by = match &request.principal {
        Principal::User(user) => Some(user.clone()),
        Principal::Service => None,
    };
    members.extend(created_by.clone());
    let problem = match body.kind {
        ConversationType::Direct if members.len() != 2 => {
            Some("must come to two different users in a direct conversation".to_owned())
        }
        ConversationType::Group if members.is_empty() => Some("must name somebody".to_owned()),
        ConversationType::Group if members.len() > limits.members => {
            Some(format!("must come to at most {} users", limits.members))
        }
        _ => None,
    };
    if let Some(problem) = problem {
        return Err(Refusal::invalid("member_ids", problem));
    }
    if created_by.is_some() && body.id.as_ref().is_some_and(|id| !id.is_uuid()) {
        return Err(Refusal::invalid("id", "must be a UUID"));
    }
    let id = match body.id {
        Some(id) => id,
        None => ConversationId::new(&request.id.to_string())
            .map_err(|_| Refusal::unavailable("the request has no id"))?,
    };
    Ok(Draft { id, kind: body.kind, metadata, created_by, members })
}

impl Draft {
    /// The members beside the user who creates.
    pub(super) fn others(&self) -> BTreeSet<UserId> {
        let others = self.members.iter().filter(|member| Some(*member) != self.created_by.as_ref());
        others.cloned().collect()
    }

    /// The two of a direct conversation.
    pub(super) fn pair(&self) -> Option<(&UserId, &UserId)> {
        let mut members = self.members.iter();
        let pair = (members.next()?, members.next()?);
        (self.kind == ConversationType::Direct).then_some(pair)
    }
}

/// Who may create at all.
///
/// # Errors
/// `forbidden`.
pub(super) fn may_create(principal: &Principal, policy: CreatePolicy) -> Result<(), Refusal> {
    match (principal, policy) {
        (Principal::User(_), CreatePolicy::Service) => {
            Err(Refusal::new(Reason::Forbidden, "only a service may create conversations"))
        }
        _ => Ok(()),
    }
}

/// Under [`CreatePolicy::Contacts`]: each other member must have added the user who creates.
///
/// # Errors
/// `forbidden`; it does not say who has not.
pub(super) fn consent(others: &BTreeSet<UserId>, added_by: &BTreeSet<UserId>) -> Result<(), Refusal> {
    if others.is_subset(added_by) {
        Ok(())
    } else {
        Err(Refusal::new(Reason::Forbidden, "only with people who have you as a contact"))
    }
}

/// Whether what is stored under the draft's id is what the draft asks for: then creating it again is no error.
///
/// # Errors
/// `conflict`, without a word about what is there.
pub(super) fn same(stored: &MetaDocument, draft: &Draft) -> Result<(), Refusal> {
    if stored.kind == draft.kind && stored.created_with == fingerprint(&draft.members) {
        Ok(())
    } else {
        Err(taken())
    }
}

/// The id is taken.
pub(super) fn taken() -> Refusal {
    Refusal::new(Reason::Conflict, "another conversation has this id")
}

/// One text for one set of members: SHA-256 of the sorted ids, each followed by a line feed, in hex.
pub(super) fn fingerprint(members: &BTreeSet<UserId>) -> String {
    let mut hash = Sha256::new();
    for member in members {
        hash.update(member.as_str());
        hash.update("\n");
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use simurgh_protocol::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn request(principal: Principal) -> Request {
        Request { id: Uuid::from_u128(7), principal, deadline: Timestamp::from_millis(u64::MAX) }
    }

    fn alice() -> Request {
        request(Principal::User(user("alice")))
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn users(ids: &[&str]) -> BTreeSet<UserId> {
        ids.iter().map(|id| user(id)).collect()
    }

    fn drafted(request: &Request, body: Value) -> Result<Draft, Refusal> {
        read(request, &Raw::of(&body), &Limits { members: 3, ..Limits::default() })
    }

    fn field(outcome: Result<Draft, Refusal>) -> String {
        let refusal = outcome.unwrap_err();
        assert_eq!(refusal.reason, Reason::ValidationFailed);
        refusal.details["errors"].as_object().unwrap().keys().next().unwrap().clone()
    }

    #[test]
    fn a_user_who_creates_is_a_member_and_nobody_is_twice() {
        let draft = drafted(&alice(), json!({"type": "group", "member_ids": ["bob", "bob"]})).unwrap();
        assert_eq!(draft.members, users(&["alice", "bob"]));
        assert_eq!(draft.others(), users(&["bob"]));
        assert_eq!(draft.created_by, Some(user("alice")));
        assert_eq!(draft.id.as_str(), "00000000-0000-0000-0000-000000000007");
        let service = drafted(&request(Principal::Service), json!({"type": "group", "member_ids": ["bob"]}));
        assert_eq!(service.unwrap().members, users(&["bob"]));
    }

    #[test]
    fn a_direct_conversation_has_two() {
        assert!(
            drafted(&alice(), json!({"type": "direct", "member_ids": ["bob"]})).unwrap().pair().is_some()
        );
        for members in [json!([]), json!(["alice"]), json!(["bob", "carol"])] {
            assert_eq!(
                field(drafted(&alice(), json!({"type": "direct", "member_ids": members}))),
                "member_ids"
            );
        }
    }

    #[test]
    fn a_group_is_bounded() {
        let service = request(Principal::Service);
        let group = |members: Value| json!({"type": "group", "member_ids": members});
        assert!(drafted(&service, group(json!(["a", "b", "c"]))).is_ok());
        assert_eq!(field(drafted(&service, group(json!(["a", "b", "c", "d"])))), "member_ids");
        assert_eq!(field(drafted(&alice(), group(json!(["a", "b", "c"])))), "member_ids");
        assert_eq!(field(drafted(&service, group(json!([])))), "member_ids");
    }

    #[test]
    fn a_user_names_a_uuid_and_a_service_any_id() {
        let body = |id: &str| json!({"id": id, "type": "group", "member_ids": ["bob"]});
        assert_eq!(field(drafted(&alice(), body("room-1"))), "id");
        assert!(drafted(&alice(), body("6f9619ff-8b86-d011-b42d-00c04fc964ff")).is_ok());
        assert_eq!(drafted(&request(Principal::Service), body("room-1")).unwrap().id.as_str(), "room-1");
        assert_eq!(field(drafted(&request(Principal::Service), body("a/b"))), "id");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(field(drafted(&alice(), json!({"member_ids": ["bob"]}))), "type");
        assert_eq!(field(drafted(&alice(), json!({"type": "room", "member_ids": ["bob"]}))), "type");
        assert_eq!(field(drafted(&alice(), json!({"type": "group"}))), "member_ids");
        assert_eq!(field(drafted(&alice(), json!({"type": "group", "member_ids": ["_"]}))), "member_ids");
        let metadata = json!({"type": "group", "member_ids": ["bob"], "metadata": []});
        assert_eq!(field(drafted(&alice(), metadata)), "metadata");
        let large = json!({"type": "group", "member_ids": ["bob"], "metadata": {"a": "x".repeat(9_000)}});
        assert_eq!(drafted(&alice(), large).unwrap_err().reason, Reason::MessageTooLarge);
    }

    #[test]
    fn the_policy_says_who_may_create() {
        let (alice, service) = (Principal::User(user("alice")), Principal::Service);
        assert!(may_create(&alice, CreatePolicy::Users).is_ok());
        assert!(may_create(&service, CreatePolicy::Service).is_ok());
        assert_eq!(may_create(&alice, CreatePolicy::Service).unwrap_err().reason, Reason::Forbidden);
        assert!(consent(&users(&["bob"]), &users(&["bob", "carol"])).is_ok());
        let refused = consent(&users(&["bob", "carol"]), &users(&["bob"]));
        assert_eq!(refused.unwrap_err().reason, Reason::Forbidden);
    }

    #[test]
    fn creating_again_means_the_same_kind_and_members() {
        let draft = drafted(&alice(), json!({"type": "group", "member_ids": ["bob"]})).unwrap();
        let stored = MetaDocument {
            kind: ConversationType::Group,
            metadata: Raw::empty(),
            created_by: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            created_with: fingerprint(&users(&["bob", "alice"])),
        };
        assert!(same(&stored, &draft).is_ok());
        let direct = MetaDocument { kind: ConversationType::Direct, ..stored.clone() };
        assert_eq!(same(&direct, &draft).unwrap_err().reason, Reason::Conflict);
        let others = MetaDocument { created_with: fingerprint(&users(&["alice"])), ..stored };
        assert_eq!(same(&others, &draft).unwrap_err().reason, Reason::Conflict);
    }
}
