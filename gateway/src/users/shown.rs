//! What others see of a user's presence entry.

use serde_json::{Map, Value, json};
use simurgh_protocol::{
    UserId,
    envelope::{PresenceMeta, UserPresence},
    record::Status,
};

/// A connection as others see it: the meta and the status beside it.
pub type Shown = (PresenceMeta, Status);

/// What others may see of an entry: nothing of an invisible user.
#[must_use]
pub fn shown(entry: &UserPresence) -> Vec<Shown> {
    let status = entry.chosen.map_or(Status::Online, |chosen| chosen.status);
    if status == Status::Offline {
        return Vec::new();
    }
    entry.metas.iter().map(|meta| (meta.clone(), status)).collect()
}

/// A user's metas in Phoenix.Presence's form, with status.
#[must_use]
pub fn metas(shown: &[Shown]) -> Value {
    let metas: Vec<Value> = shown
        .iter()
        .map(|(meta, status)| {
            let mut value = json!({"phx_ref": meta.phx_ref, "status": status, "online_at": meta.online_at});
            if let (Some(map), Some(previous)) = (value.as_object_mut(), &meta.phx_ref_prev) {
                map.insert("phx_ref_prev".to_owned(), previous.as_str().into());
            }
            value
        })
        .collect();
    json!({ "metas": metas })
}

/// `presence_diff` from what was shown to what is.
#[must_use]
pub fn diff(user: &UserId, before: &[Shown], after: &[Shown]) -> Value {
    let lacking = |one: &[Shown], other: &[Shown]| -> Map<String, Value> {
        let rest: Vec<Shown> = one
            .iter()
            .filter(|(meta, _)| !other.iter().any(|(known, _)| known.phx_ref == meta.phx_ref))
            .cloned()
            .collect();
        if rest.is_empty() { Map::new() } else { Map::from_iter([(user.to_string(), metas(&rest))]) }
    };
    json!({"joins": lacking(after, before), "leaves": lacking(before, after)})
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::{Timestamp, envelope::ChosenStatus};

    use super::*;

    fn alice() -> UserId {
        UserId::new("alice").unwrap()
    }

    fn entry(refs: &[&str], chosen: Option<Status>) -> UserPresence {
        let at = Timestamp::from_millis(0);
        let metas = refs
            .iter()
            .map(|phx_ref| PresenceMeta {
                user: alice(),
                phx_ref: (*phx_ref).to_owned(),
                phx_ref_prev: None,
                online_at: at,
            })
            .collect();
        UserPresence {
            chosen: chosen.map(|status| ChosenStatus { status, at }),
            metas,
            dropped: 0,
            watchers: 0,
        }
    }

    #[test]
    fn who_chose_nothing_is_online_and_who_chose_offline_is_not_seen() {
        assert_eq!(shown(&entry(&["1"], None))[0].1, Status::Online);
        assert_eq!(shown(&entry(&["1"], Some(Status::Busy)))[0].1, Status::Busy);
        assert_eq!(shown(&entry(&["1"], Some(Status::Offline))), []);
    }

    #[test]
    fn a_diff_names_what_came_and_what_went() {
        let (before, after) = (shown(&entry(&["1", "2"], None)), shown(&entry(&["2", "3"], None)));
        let diff = diff(&alice(), &before, &after);
        assert_eq!(diff["joins"]["alice"]["metas"][0]["phx_ref"], "3");
        assert_eq!(diff["leaves"]["alice"]["metas"][0]["phx_ref"], "1");
        assert_eq!(diff["joins"]["alice"]["metas"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn nobody_is_in_a_diff_of_nothing() {
        let same = shown(&entry(&["1"], None));
        assert_eq!(diff(&alice(), &same, &same), json!({"joins": {}, "leaves": {}}));
    }
}
