//! Who may add and remove whom. Pure. Whoever comes here may enter the conversation: it is a member or a service.

use std::time::Duration;

use simurgh_protocol::{Reason, Refusal, UserId, envelope::Principal, record::ConversationType};

use crate::access::Roster;

/// Tombstones of a user's memberships, or of a group's members, at most.
pub(super) const GONE: usize = 10_000;
/// When to try again where there are more: they go after a day.
const AGAIN: Duration = Duration::from_hours(1);

/// What adding a user comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addition {
    /// The user is a member already.
    Unchanged,
    /// The user becomes one.
    Add,
}

/// What removing a user comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// The user is no member.
    Unchanged,
    /// The user ceases to be one.
    Remove,
}

fn fixed_pair() -> Refusal {
    Refusal::new(Reason::Conflict, "the two of a direct conversation are fixed")
}

/// Any member adds to a group.
pub(super) fn add(roster: &Roster, user: &UserId, limit: usize) -> Result<Addition, Refusal> {
    if roster.kind == ConversationType::Direct {
        return Err(fixed_pair());
    }
    if roster.members.contains(user) {
        return Ok(Addition::Unchanged);
    }
    if roster.members.len() >= limit {
        let refusal = Refusal::new(Reason::Conflict, format!("a group has at most {limit} members"));
        return Err(refusal.with("limit", limit));
    }
    Ok(Addition::Add)
}

/// The creator and services remove; one may always leave.
pub(super) fn remove(
    principal: &Principal,
    created_by: Option<&UserId>,
    roster: &Roster,
    user: &UserId,
) -> Result<Removal, Refusal> {
    if roster.kind == ConversationType::Direct {
        return Err(fixed_pair());
    }
    match principal {
        Principal::User(caller) if caller != user && Some(caller) != created_by => {
            Err(Refusal::new(Reason::Forbidden, "only its creator may remove others from this conversation"))
        }
        _ if roster.members.contains(user) => Ok(Removal::Remove),
        _ => Ok(Removal::Unchanged),
    }
}

/// Whether there is room for one document more of who is not `known` on that side, beside `gone` tombstones.
///
/// A tombstone stays for a day, so that a late attempt meets it, and counts where memberships are read. Without a bound,
/// who adds and removes somebody for hours would make that user's conversations, or a group's members, unreadable.
pub(crate) fn room_for_tombstone(gone: usize, known: bool) -> Result<(), Refusal> {
    if known || gone < GONE {
        return Ok(());
    }
    let refusal = Refusal::new(Reason::RateLimitExceeded, "too many came and went lately");
    Err(refusal.with("retry_after", AGAIN.as_secs()))
}

/// A user has as many conversations as one may have. It does not say who.
pub(super) fn too_many_conversations(limit: usize) -> Refusal {
    let message = format!("a user is in at most {limit} conversations, and a member would be in more");
    Refusal::new(Reason::Forbidden, message).with("limit", limit)
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::Timestamp;

    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn caller(id: &str) -> Principal {
        Principal::User(user(id))
    }

    fn roster(kind: ConversationType) -> Roster {
        let members = ["alice", "bob"].map(user).into_iter().collect();
        let (changed_at, blocked_by) = (Timestamp::default(), [].into());
        Roster { version: 1, kind, changed_at, completed_by: None, members, blocked_by }
    }

    #[test]
    fn a_group_takes_members_up_to_its_limit() {
        let group = roster(ConversationType::Group);
        assert_eq!(add(&group, &user("carol"), 3), Ok(Addition::Add));
        assert_eq!(add(&group, &user("bob"), 2), Ok(Addition::Unchanged));
        let full = add(&group, &user("carol"), 2).unwrap_err();
        assert_eq!((full.reason, &full.details["limit"]), (Reason::Conflict, &2.into()));
    }

    #[test]
    fn a_pair_is_fixed() {
        let direct = roster(ConversationType::Direct);
        for added in ["carol", "bob"] {
            assert_eq!(add(&direct, &user(added), 9).unwrap_err().reason, Reason::Conflict);
        }
        let removed = remove(&Principal::Service, None, &direct, &user("bob"));
        assert_eq!(removed.unwrap_err().reason, Reason::Conflict);
        let left = remove(&caller("alice"), Some(&user("alice")), &direct, &user("alice"));
        assert_eq!(left.unwrap_err().reason, Reason::Conflict);
    }

    #[test]
    fn its_creator_and_services_remove_and_others_may_not() {
        let (group, alice) = (roster(ConversationType::Group), user("alice"));
        let by = |principal: &Principal| remove(principal, Some(&alice), &group, &user("bob"));
        assert_eq!(by(&caller("alice")), Ok(Removal::Remove));
        assert_eq!(by(&Principal::Service), Ok(Removal::Remove));
        let refused = remove(&caller("bob"), Some(&alice), &group, &alice);
        assert_eq!(refused.unwrap_err().reason, Reason::Forbidden);
        let of_a_service = remove(&caller("bob"), None, &group, &alice);
        assert_eq!(of_a_service.unwrap_err().reason, Reason::Forbidden);
    }

    #[test]
    fn one_may_always_leave() {
        let group = roster(ConversationType::Group);
        assert_eq!(remove(&caller("bob"), Some(&user("alice")), &group, &user("bob")), Ok(Removal::Remove));
    }

    #[test]
    fn removing_who_is_not_there_changes_nothing_but_only_for_who_may() {
        let (group, alice) = (roster(ConversationType::Group), user("alice"));
        let of_carol = |by: &str| remove(&caller(by), Some(&alice), &group, &user("carol"));
        assert_eq!(of_carol("alice"), Ok(Removal::Unchanged));
        assert_eq!(of_carol("bob").unwrap_err().reason, Reason::Forbidden);
    }
}
