//! What a change of presence looks like to others, in the form of Phoenix.Presence.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use simurgh_protocol::{Timestamp, UserId, record::Status};

use super::status::{Connections, StatusDocument};

/// How long after a user became invisible its gateways' leaves still go through: until then each of them has told what
/// the others are to forget (contract section 3.4, guarantee 7: presence converges within 5 s).
const VANISHING: Duration = Duration::from_secs(5);

/// `{joins, leaves}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Diff {
    joins: BTreeMap<UserId, Metas>,
    leaves: BTreeMap<UserId, Metas>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Metas {
    metas: Vec<Meta>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Meta {
    phx_ref: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phx_ref_prev: Option<String>,
    status: Status,
    online_at: Timestamp,
}

impl Diff {
    /// The connections come.
    pub(super) fn joins(user: &UserId, connections: &Connections) -> Self {
        Self { joins: shown(user, connections), ..Self::default() }
    }

    /// The connections go.
    pub(super) fn leaves(user: &UserId, connections: &Connections) -> Self {
        Self { leaves: shown(user, connections), ..Self::default() }
    }

    /// Whether these connections are what the change led to, or what came after it.
    pub(super) fn agrees(&self, connections: &Connections) -> bool {
        refs(&self.joins).all(|phx_ref| connections.holds(phx_ref))
            && !refs(&self.leaves).any(|phx_ref| connections.holds(phx_ref))
    }

    /// Without the joins of connections that are gone again: their leaves may have been told already.
    fn lasting(mut self, connections: &Connections) -> Self {
        for metas in self.joins.values_mut() {
            metas.metas.retain(|meta| connections.holds(&meta.phx_ref));
        }
        self.joins.retain(|_, metas| !metas.metas.is_empty());
        self
    }

    fn told(self) -> Option<Self> {
        (!self.joins.is_empty() || !self.leaves.is_empty()).then_some(self)
    }
}

fn refs(metas: &BTreeMap<UserId, Metas>) -> impl Iterator<Item = &str> {
    metas.values().flat_map(|metas| &metas.metas).map(|meta| meta.phx_ref.as_str())
}

fn shown(user: &UserId, connections: &Connections) -> BTreeMap<UserId, Metas> {
    if connections.metas.is_empty() {
        return BTreeMap::new();
    }
    let status = connections.status();
    let metas = connections.metas.iter().map(|meta| Meta {
        phx_ref: meta.phx_ref.clone(),
        phx_ref_prev: meta.phx_ref_prev.clone(),
        status,
        online_at: meta.online_at,
    });
    BTreeMap::from([(user.clone(), Metas { metas: metas.collect() })])
}

/// What those who may see the user are told of `given`, a gateway's change, when it has this status now and `before` is
/// what was told last. A user who becomes visible joins with all of its connections, one who becomes invisible leaves
/// with all, and of one who is invisible nothing is told. (Repeats do no harm: phoenix.js keys metas on `phx_ref`.)
pub(super) fn decide(
    user: &UserId,
    before: Option<&StatusDocument>,
    connections: &Connections,
    given: Option<Diff>,
    now: Timestamp,
) -> Option<Diff> {
    let was = before.is_some_and(|before| before.status != Status::Offline);
    let is = connections.status() != Status::Offline;
    match (was, is) {
        (true, true) => given.map(|given| given.lasting(connections)),
        (false, true) => Some(Diff::joins(user, connections)),
        (true, false) => {
            let mut diff = Diff::leaves(user, connections);
            for (user, Metas { metas }) in given.unwrap_or_default().leaves {
                diff.leaves.entry(user).or_default().metas.extend(metas);
            }
            Some(diff)
        }
        (false, false) => {
            let vanishing = before.is_some_and(|before| now.since(before.since) < VANISHING);
            given.filter(|_| vanishing).map(|given| Diff { leaves: given.leaves, ..Diff::default() })
        }
    }
    .and_then(Diff::told)
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::envelope::{ChosenStatus, PresenceMeta, UserPresence};

    use super::*;

    fn bob() -> UserId {
        UserId::new("bob").unwrap()
    }

    fn connections(refs: &[&str], status: Status) -> Connections {
        let meta = |phx_ref: &&str| PresenceMeta {
            user: bob(),
            phx_ref: (*phx_ref).to_owned(),
            phx_ref_prev: None,
            online_at: Timestamp::from_millis(0),
        };
        let chosen = Some(ChosenStatus { status, at: Timestamp::from_millis(1) });
        Connections::of([UserPresence { chosen, metas: refs.iter().map(meta).collect() }])
    }

    fn told(status: Status, since: u64) -> StatusDocument {
        StatusDocument { status, since: Timestamp::from_millis(since), change: None }
    }

    fn given() -> Diff {
        Diff {
            joins: Diff::joins(&bob(), &connections(&["new"], Status::Online)).joins,
            leaves: Diff::leaves(&bob(), &connections(&["old"], Status::Online)).leaves,
        }
    }

    /// The refs that come, and those that go.
    fn decided(
        before: Option<StatusDocument>,
        now: &Connections,
        at: u64,
    ) -> Option<(Vec<String>, Vec<String>)> {
        let of = |side: &BTreeMap<UserId, Metas>| refs(side).map(str::to_owned).collect();
        decide(&bob(), before.as_ref(), now, Some(given()), Timestamp::from_millis(at))
            .map(|diff| (of(&diff.joins), of(&diff.leaves)))
    }

    #[test]
    fn of_a_visible_user_the_change_is_told_as_it_is() {
        let now = connections(&["new", "other"], Status::Away);
        let expected = Some((vec!["new".to_owned()], vec!["old".to_owned()]));
        assert_eq!(decided(Some(told(Status::Online, 0)), &now, 9), expected);
    }

    #[test]
    fn a_connection_that_is_gone_again_does_not_come() {
        let now = connections(&["other"], Status::Online);
        assert_eq!(decided(Some(told(Status::Online, 0)), &now, 9), Some((vec![], vec!["old".to_owned()])));
        assert!(!given().agrees(&now));
        assert!(!given().agrees(&connections(&["new", "old"], Status::Online)));
        assert!(given().agrees(&connections(&["new", "other"], Status::Online)));
    }

    #[test]
    fn a_user_who_becomes_visible_comes_with_all_connections() {
        let now = connections(&["new", "other"], Status::Online);
        let expected = Some((vec!["new".to_owned(), "other".to_owned()], vec![]));
        assert_eq!(decided(None, &now, 9), expected);
        assert_eq!(decided(Some(told(Status::Offline, 0)), &now, 9), expected);
    }

    #[test]
    fn a_user_who_becomes_invisible_goes_with_all_connections() {
        let now = connections(&["new", "other"], Status::Offline);
        let expected = Some((vec![], vec!["new".to_owned(), "other".to_owned(), "old".to_owned()]));
        assert_eq!(decided(Some(told(Status::Busy, 0)), &now, 9), expected);
    }

    #[test]
    fn of_an_invisible_user_nothing_is_told_once_all_have_forgotten_it() {
        let now = connections(&["new"], Status::Offline);
        let vanishing = Some((vec![], vec!["old".to_owned()]));
        assert_eq!(decided(Some(told(Status::Offline, 0)), &now, 4_999), vanishing);
        assert_eq!(decided(Some(told(Status::Offline, 0)), &now, 5_000), None);
        assert_eq!(decided(None, &now, 0), None);
    }
}
