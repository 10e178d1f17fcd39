//! The status of a user as it was noted last: when it was seen.

use serde::{Deserialize, Serialize};
use simurgh_protocol::{Timestamp, UserId, envelope::Seen, record::Status};

/// The document of `keys::status`: the status noted last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatusDocument {
    /// Which.
    pub(super) status: Status,
    /// Since when. Where it is `offline`, the user was last seen then.
    pub(super) since: Timestamp,
}

/// The document to write. It is written also where nothing changes, so that a late run that read another status meets a
/// version it did not read. None for a user who was never seen and is not there.
pub(super) fn decide(
    before: Option<&StatusDocument>,
    status: Status,
    now: Timestamp,
) -> Option<StatusDocument> {
    match before {
        None if status == Status::Offline => None,
        Some(before) if before.status == status => Some(before.clone()),
        _ => Some(StatusDocument { status, since: now }),
    }
}

/// How a user looks who has this status now: present ones are seen now, absent ones when they went. Where that was not
/// noted yet, it is now too.
pub(super) fn look(user: &UserId, status: Status, noted: Option<&StatusDocument>, now: Timestamp) -> Seen {
    let last_seen = match (status, noted) {
        (Status::Offline, None) => None,
        (Status::Offline, Some(noted)) if noted.status == Status::Offline => Some(noted.since),
        _ => Some(now),
    };
    Seen { user_id: user.clone(), status, last_seen }
}

/// How a user looks who is not seen any more since then.
pub(super) fn gone(user: &UserId, noted: Option<&StatusDocument>, since: Timestamp) -> Seen {
    let last_seen = noted.map(|noted| match noted.status {
        Status::Offline => noted.since.min(since),
        _ => since,
    });
    Seen { user_id: user.clone(), status: Status::Offline, last_seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_status_lasts_since_it_changed() {
        let online = StatusDocument { status: Status::Online, since: at(1) };
        assert_eq!(decide(None, Status::Online, at(1)), Some(online.clone()));
        assert_eq!(decide(Some(&online), Status::Online, at(2)), Some(online.clone()));
        let offline = StatusDocument { status: Status::Offline, since: at(2) };
        assert_eq!(decide(Some(&online), Status::Offline, at(2)), Some(offline));
        assert_eq!(decide(None, Status::Offline, at(2)), None);
    }

    #[test]
    fn last_seen_is_now_or_when_the_user_went() {
        let bob = UserId::new("bob").unwrap();
        let (online, offline) = (
            StatusDocument { status: Status::Online, since: at(1) },
            StatusDocument { status: Status::Offline, since: at(2) },
        );
        let seen = |status, noted| look(&bob, status, noted, at(9)).last_seen;
        assert_eq!(seen(Status::Busy, Some(&online)), Some(at(9)));
        assert_eq!(seen(Status::Offline, Some(&offline)), Some(at(2)));
        assert_eq!(seen(Status::Offline, Some(&online)), Some(at(9)), "it went this moment");
        assert_eq!(seen(Status::Offline, None), None);
    }
}
