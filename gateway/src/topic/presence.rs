//! Who is present in a conversation: this gateway's view, made of its own connections and of what every other gateway
//! says of its own. Each gateway works its diffs out from its own view, so that a client's list always is the view.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use simurgh_protocol::{
    Raw, UserId,
    envelope::{ConversationPresence, PresenceChange, PresenceMeta},
};

/// Somebody's first connection came, or the last one went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first came.
    Joined(UserId),
    /// The last went.
    Left(UserId),
}

/// What to do about a gateway's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It followed on what was known, or was known already.
    Done,
    /// Steps are missing: read the gateway's entry.
    Read,
}

/// The view.
#[derive(Debug, Default)]
pub struct Presence {
    own: BTreeMap<String, PresenceMeta>,
    others: BTreeMap<String, Known>,
    /// Metas that came and went since the last diff, by their refs.
    joined: BTreeMap<String, PresenceMeta>,
    left: BTreeMap<String, PresenceMeta>,
    /// Somebody was sent the state since: what comes or goes now is news to them also where it undoes what the others were
    /// not told yet.
    stated: bool,
}

/// Connections that came and went.
#[derive(Debug)]
pub struct Diff {
    joined: BTreeMap<String, PresenceMeta>,
    left: BTreeMap<String, PresenceMeta>,
}

impl Diff {
    /// As it is told to somebody who does not see these; nothing where that is nothing.
    #[must_use]
    pub fn shown(&self, unseen: Option<&BTreeSet<UserId>>) -> Option<Raw> {
        let seen = |meta: &&PresenceMeta| unseen.is_none_or(|unseen| !unseen.contains(&meta.user));
        let (joins, leaves) =
            (by_user(self.joined.values().filter(seen)), by_user(self.left.values().filter(seen)));
        let is_nothing = joins.is_empty() && leaves.is_empty();
        (!is_nothing).then(|| Raw::of(&json!({"joins": joins, "leaves": leaves})))
    }
}

#[derive(Debug, Default)]
struct Known {
    revision: u64,
    metas: BTreeMap<String, PresenceMeta>,
}

impl Presence {
    /// A connection on this gateway.
    pub fn add_own(&mut self, meta: PresenceMeta) -> Option<Arrival> {
        let first = !self.is_present(&meta.user);
        let user = meta.user.clone();
        self.note_joined(&meta);
        self.own.insert(meta.phx_ref.clone(), meta);
        first.then_some(Arrival::Joined(user))
    }

    /// A connection on this gateway went.
    pub fn remove_own(&mut self, phx_ref: &str) -> Option<Arrival> {
        let meta = self.own.remove(phx_ref)?;
        self.note_left(&meta);
        (!self.is_present(&meta.user)).then_some(Arrival::Left(meta.user))
    }

    /// This gateway's connections.
    pub fn own(&self) -> impl Iterator<Item = &PresenceMeta> {
        self.own.values()
    }

    /// Another gateway says what changed there.
    pub fn step(&mut self, change: &PresenceChange) -> (Step, Vec<Arrival>) {
        let known = self.others.entry(change.gateway.clone()).or_default();
        let mut metas = match change.previous {
            // Nobody was there before it, whatever the clock that revisions follow did meanwhile.
            0 => BTreeMap::new(),
            _ if change.revision <= known.revision => return (Step::Done, Vec::new()),
            previous if previous == known.revision => known.metas.clone(),
            _ => return (Step::Read, Vec::new()),
        };
        for meta in &change.joins {
            metas.insert(meta.phx_ref.clone(), meta.clone());
        }
        for phx_ref in &change.leaves {
            metas.remove(phx_ref);
        }
        (Step::Done, self.replace(&change.gateway, change.revision, metas))
    }

    /// Another gateway's entry was read. An older one than is known changes nothing.
    pub fn read(&mut self, gateway: &str, entry: ConversationPresence) -> Vec<Arrival> {
        if self.others.get(gateway).is_some_and(|known| known.revision > entry.revision) {
            return Vec::new();
        }
        let metas = entry.metas.into_iter().map(|meta| (meta.phx_ref.clone(), meta)).collect();
        self.replace(gateway, entry.revision, metas)
    }

    /// Another gateway is gone.
    pub fn forget(&mut self, gateway: &str) -> Vec<Arrival> {
        if !self.others.contains_key(gateway) {
            return Vec::new();
        }
        let arrivals = self.replace(gateway, 0, BTreeMap::new());
        self.others.remove(gateway);
        arrivals
    }

    /// The other gateways that the view knows of, and the revisions of their entries.
    pub fn gateways(&self) -> impl Iterator<Item = (&String, u64)> {
        self.others.iter().map(|(gateway, known)| (gateway, known.revision))
    }

    /// `presence_state`, for somebody who gets the diffs from now on, and does not see these.
    pub fn state(&mut self, unseen: Option<&BTreeSet<UserId>>) -> Raw {
        self.stated |= self.has_diff();
        let seen = |meta: &&PresenceMeta| unseen.is_none_or(|unseen| !unseen.contains(&meta.user));
        Raw::of(&by_user(self.metas().filter(seen)))
    }

    fn metas(&self) -> impl Iterator<Item = &PresenceMeta> {
        self.own.values().chain(self.others.values().flat_map(|known| known.metas.values()))
    }

    /// As if these users had come, and those gone.
    #[must_use]
    pub fn diff_of(&self, come: &BTreeSet<UserId>, gone: &BTreeSet<UserId>) -> Diff {
        let of = |users: &BTreeSet<UserId>| {
            let theirs = self.metas().filter(|meta| users.contains(&meta.user));
            theirs.map(|meta| (meta.phx_ref.clone(), meta.clone())).collect()
        };
        Diff { joined: of(come), left: of(gone) }
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_diff(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty()
    }

    /// `presence_diff` since the last one.
    pub fn take_diff(&mut self) -> Diff {
        self.stated = false;
        Diff { joined: std::mem::take(&mut self.joined), left: std::mem::take(&mut self.left) }
    }

    fn replace(
        &mut self,
        gateway: &str,
        revision: u64,
        metas: BTreeMap<String, PresenceMeta>,
    ) -> Vec<Arrival> {
        let known = self.others.remove(gateway).unwrap_or_default();
        let came: Vec<_> =
            metas.values().filter(|meta| !known.metas.contains_key(&meta.phx_ref)).cloned().collect();
        let went: Vec<_> =
            known.metas.values().filter(|meta| !metas.contains_key(&meta.phx_ref)).cloned().collect();
        let present_before = |view: &Self, user: &UserId| {
            view.is_present(user) || known.metas.values().any(|meta| meta.user == *user)
        };
        let mut arrivals = Vec::new();
        for meta in &came {
            let joined = Arrival::Joined(meta.user.clone());
            if !present_before(self, &meta.user) && !arrivals.contains(&joined) {
                arrivals.push(joined);
            }
        }
        self.others.insert(gateway.to_owned(), Known { revision, metas });
        for meta in &came {
            self.note_joined(meta);
        }
        for meta in &went {
            self.note_left(meta);
            let left = Arrival::Left(meta.user.clone());
            if !self.is_present(&meta.user) && !arrivals.contains(&left) {
                arrivals.push(left);
            }
        }
        arrivals
    }

    /// Whether the user has any connection.
    #[must_use]
    pub fn is_present(&self, user: &UserId) -> bool {
        self.metas().any(|meta| meta.user == *user)
    }

    /// Who went and came back within one diff never went: clients apply joins before leaves.
    fn note_joined(&mut self, meta: &PresenceMeta) {
        if self.left.remove(&meta.phx_ref).is_none() || self.stated {
            self.joined.insert(meta.phx_ref.clone(), meta.clone());
        }
    }

    /// Who came and went within one diff was never there.
    fn note_left(&mut self, meta: &PresenceMeta) {
        if self.joined.remove(&meta.phx_ref).is_none() || self.stated {
            self.left.insert(meta.phx_ref.clone(), meta.clone());
        }
    }
}

/// Phoenix.Presence's form: `{user: {"metas": [meta]}}`, a user's metas by age.
fn by_user<'a>(metas: impl Iterator<Item = &'a PresenceMeta>) -> Map<String, Value> {
    let mut users: BTreeMap<&UserId, Vec<&PresenceMeta>> = BTreeMap::new();
    for meta in metas {
        users.entry(&meta.user).or_default().push(meta);
    }
    let mut map = Map::new();
    for (user, mut metas) in users {
        metas.sort_by(|a, b| (a.online_at, &a.phx_ref).cmp(&(b.online_at, &b.phx_ref)));
        let metas: Vec<Value> = metas.into_iter().map(shown).collect();
        map.insert(user.to_string(), json!({"metas": metas}));
    }
    map
}

fn shown(meta: &PresenceMeta) -> Value {
    let mut shown = json!({"phx_ref": meta.phx_ref, "online_at": meta.online_at});
    if let (Some(map), Some(previous)) = (shown.as_object_mut(), &meta.phx_ref_prev) {
        map.insert("phx_ref_prev".to_owned(), previous.as_str().into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::Timestamp;

    use super::*;

    fn meta(user: &str, phx_ref: &str) -> PresenceMeta {
        PresenceMeta {
            user: UserId::new(user).unwrap(),
            phx_ref: phx_ref.to_owned(),
            phx_ref_prev: None,
            online_at: Timestamp::from_millis(0),
        }
    }

    fn change(revision: u64, joins: &[PresenceMeta], leaves: &[&str]) -> PresenceChange {
        PresenceChange {
            gateway: "g2".to_owned(),
            previous: revision - 1,
            revision,
            joins: joins.to_vec(),
            leaves: leaves.iter().map(ToString::to_string).collect(),
        }
    }

    fn alice() -> UserId {
        UserId::new("alice").unwrap()
    }

    #[test]
    fn only_the_first_connection_arrives_and_only_the_last_one_leaves() {
        let mut view = Presence::default();
        assert_eq!(view.add_own(meta("alice", "1")), Some(Arrival::Joined(alice())));
        assert_eq!(view.add_own(meta("alice", "2")), None);
        assert_eq!(view.step(&change(1, &[meta("alice", "3")], &[])), (Step::Done, vec![]));
        assert_eq!(view.remove_own("1"), None);
        assert_eq!(view.remove_own("2"), None);
        assert_eq!(view.step(&change(2, &[], &["3"])).1, [Arrival::Left(alice())]);
    }

    #[test]
    fn a_missing_step_asks_for_the_entry_and_an_old_one_changes_nothing() {
        let mut view = Presence::default();
        assert_eq!(view.step(&change(2, &[meta("alice", "3")], &[])).0, Step::Read);
        let entry = ConversationPresence { revision: 2, metas: vec![meta("alice", "3")] };
        assert_eq!(view.read("g2", entry), [Arrival::Joined(alice())]);
        assert_eq!(view.step(&change(2, &[meta("bob", "9")], &[])), (Step::Done, vec![]));
        assert_eq!(
            view.state(None).get(),
            r#"{"alice":{"metas":[{"online_at":"1970-01-01T00:00:00.000Z","phx_ref":"3"}]}}"#
        );
    }

    #[test]
    fn who_came_and_went_within_one_diff_was_never_there() {
        let mut view = Presence::default();
        view.add_own(meta("alice", "1"));
        view.remove_own("1");
        assert!(!view.has_diff());
        view.add_own(meta("alice", "2"));
        let _ = view.take_diff();
        view.remove_own("2");
        assert!(view.take_diff().shown(None).unwrap().get().contains(r#""leaves":{"alice""#));
    }

    #[test]
    fn who_was_sent_the_state_meanwhile_is_told_of_both() {
        let mut view = Presence::default();
        view.add_own(meta("alice", "1"));
        assert!(view.state(None).get().contains("alice"));
        view.remove_own("1");
        assert!(view.take_diff().shown(None).unwrap().get().contains(r#""leaves":{"alice""#));
        view.add_own(meta("alice", "2"));
        view.remove_own("2");
        assert!(!view.has_diff(), "and afterwards it is as before");
    }

    #[test]
    fn who_went_and_came_back_within_one_diff_never_went() {
        let mut view = Presence::default();
        view.step(&change(1, &[meta("alice", "3")], &[]));
        let _ = view.take_diff();
        view.forget("g2");
        view.step(&change(1, &[meta("alice", "3")], &[]));
        assert!(!view.has_diff());
    }

    #[test]
    fn a_gateway_that_is_gone_takes_its_connections_along() {
        let mut view = Presence::default();
        view.step(&change(1, &[meta("alice", "3"), meta("bob", "4")], &[]));
        view.add_own(meta("bob", "5"));
        assert_eq!(view.forget("g2"), [Arrival::Left(alice())]);
        assert_eq!(view.gateways().count(), 0);
    }
}
