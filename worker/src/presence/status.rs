//! The status of a user: what its connections say now, and what of it was told.

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    Timestamp, UserId,
    envelope::{ChosenStatus, PresenceMeta, UserPresence},
    record::Status,
};
use uuid::Uuid;

/// A user's connections, of all gateways that live.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Connections {
    /// Every connection.
    pub(crate) metas: Vec<PresenceMeta>,
    /// The latest status chosen on any device.
    chosen: Option<ChosenStatus>,
}

impl Connections {
    /// Of these entries, in the order of the keys.
    pub(crate) fn of(entries: impl IntoIterator<Item = UserPresence>) -> Self {
        let mut all = Self::default();
        // A gateway where the user has channels but no user topic knows no choice of a device that is connected.
        for entry in entries.into_iter().filter(|entry| !entry.metas.is_empty()) {
            all.metas.extend(entry.metas);
            let later = |than: ChosenStatus| entry.chosen.is_some_and(|chosen| chosen.at > than.at);
            if all.chosen.is_none_or(later) {
                all.chosen = entry.chosen;
            }
        }
        all
    }

    /// Whether this connection is among them.
    pub(super) fn holds(&self, phx_ref: &str) -> bool {
        self.metas.iter().any(|meta| meta.phx_ref == phx_ref)
    }

    /// What others see: the latest status chosen while any connection lives, `offline` otherwise (also where
    /// `offline` was chosen: the user is invisible).
    pub(crate) fn status(&self) -> Status {
        if self.metas.is_empty() {
            return Status::Offline;
        }
        self.chosen.map_or(Status::Online, |chosen| chosen.status)
    }
}

/// The document of `keys::status`: the status last told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatusDocument {
    /// Which.
    pub(super) status: Status,
    /// Since when. Where it is `offline`, the user was last seen then.
    pub(super) since: Timestamp,
    /// The request that wrote it, which may have died before it told: another attempt of it tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Change>,
}

/// Who changed a status, from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) by: Uuid,
    pub(super) from: Status,
}

impl StatusDocument {
    /// What was told before, where this very request changed it to what it still is.
    pub(super) fn untold(&self, by: Uuid, status: Status) -> Option<Self> {
        let change = self.change.filter(|change| change.by == by && self.status == status)?;
        Some(Self { status: change.from, since: self.since, change: None })
    }
}

/// What others are told, and what `GET …/presence` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    pub(super) user_id: UserId,
    pub(super) status: Status,
    /// When the user was last connected and visible; null where it never was.
    pub(super) last_seen: Option<Timestamp>,
}

/// The document to write where the status is another than the one last told. Nobody is told of a user who was never
/// seen that it is not there.
pub(super) fn decide(
    before: Option<&StatusDocument>,
    status: Status,
    by: Uuid,
    now: Timestamp,
) -> Option<StatusDocument> {
    let from = before.map_or(Status::Offline, |before| before.status);
    (from != status).then_some(StatusDocument { status, since: now, change: Some(Change { by, from }) })
}

/// How a user looks who has this status now: present ones are seen now, absent ones when they went. Where that was not
/// told yet, it is now too.
pub(super) fn look(user: &UserId, status: Status, told: Option<&StatusDocument>, now: Timestamp) -> Told {
    let last_seen = match (status, told) {
        (Status::Offline, None) => None,
        (Status::Offline, Some(told)) if told.status == Status::Offline => Some(told.since),
        _ => Some(now),
    };
    Told { user_id: user.clone(), status, last_seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(metas: usize, chosen: Option<(Status, u64)>) -> UserPresence {
        let meta = |number: usize| PresenceMeta {
            user: UserId::new("bob").unwrap(),
            phx_ref: format!("ref{number}"),
            phx_ref_prev: None,
            online_at: Timestamp::from_millis(1),
        };
        let chosen = chosen.map(|(status, at)| ChosenStatus { status, at: Timestamp::from_millis(at) });
        UserPresence { chosen, metas: (0..metas).map(meta).collect() }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn the_latest_choice_on_any_device_holds() {
        let entries = [entry(1, Some((Status::Busy, 5))), entry(1, Some((Status::Away, 9))), entry(1, None)];
        assert_eq!(Connections::of(entries).status(), Status::Away);
        assert_eq!(Connections::of([entry(1, None)]).status(), Status::Online);
    }

    #[test]
    fn without_a_connection_a_user_is_offline_whatever_it_chose() {
        assert_eq!(Connections::of([entry(0, Some((Status::Busy, 5)))]).status(), Status::Offline);
        assert_eq!(Connections::default().status(), Status::Offline);
    }

    #[test]
    fn only_a_change_is_told() {
        let by = Uuid::from_u128(1);
        let change = |from| Some(Change { by, from });
        let online = StatusDocument { status: Status::Online, since: at(1), change: change(Status::Offline) };
        assert_eq!(decide(Some(&online), Status::Online, by, at(2)), None);
        assert_eq!(decide(None, Status::Offline, by, at(2)), None);
        assert_eq!(decide(None, Status::Online, by, at(1)), Some(online.clone()));
        let offline =
            StatusDocument { status: Status::Offline, since: at(2), change: change(Status::Online) };
        assert_eq!(decide(Some(&online), Status::Offline, by, at(2)), Some(offline));
    }

    #[test]
    fn another_attempt_of_the_request_that_changed_a_status_knows_what_was_told_before() {
        let (by, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let away = decide(None, Status::Away, by, at(1)).unwrap();
        assert_eq!(away.untold(by, Status::Away).unwrap().status, Status::Offline);
        assert_eq!(away.untold(other, Status::Away), None);
        assert_eq!(away.untold(by, Status::Busy), None, "it is another one again");
        let older: StatusDocument =
            serde_json::from_str(r#"{"status":"away","since":"1970-01-01T00:00:00.001Z"}"#).unwrap();
        assert_eq!(older.untold(by, Status::Away), None);
    }

    #[test]
    fn last_seen_is_now_or_when_the_user_went() {
        let bob = UserId::new("bob").unwrap();
        let (online, offline) = (
            StatusDocument { status: Status::Online, since: at(1), change: None },
            StatusDocument { status: Status::Offline, since: at(2), change: None },
        );
        let seen = |status, told| look(&bob, status, told, at(9)).last_seen;
        assert_eq!(seen(Status::Busy, Some(&online)), Some(at(9)));
        assert_eq!(seen(Status::Offline, Some(&offline)), Some(at(2)));
        assert_eq!(seen(Status::Offline, Some(&online)), Some(at(9)), "it went this moment");
        assert_eq!(seen(Status::Offline, None), None);
    }
}
