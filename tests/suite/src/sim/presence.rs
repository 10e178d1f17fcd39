//! phoenix.js' `Presence`: a list of who is there, kept from `presence_state` and `presence_diff`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Who is there, each with the refs of their metas.
pub type Shown = BTreeMap<String, BTreeSet<String>>;

/// The list of one channel.
#[derive(Debug, Default)]
pub struct PresenceList {
    shown: Shown,
    /// Diffs that came before the state of this join.
    early: Vec<Value>,
    /// Whether the state of this join came.
    synced: bool,
}

fn refs(metas: &Value) -> BTreeSet<String> {
    let metas = metas["metas"].as_array().into_iter().flatten();
    metas.filter_map(|meta| meta["phx_ref"].as_str()).map(str::to_owned).collect()
}

impl PresenceList {
    /// The channel joins (again): diffs wait for its state.
    pub fn joining(&mut self) {
        (self.synced, self.early) = (false, Vec::new());
    }

    /// `presence_state`.
    pub fn state(&mut self, state: &Value) {
        let users = state.as_object().into_iter().flatten();
        self.shown = users.map(|(user, metas)| (user.clone(), refs(metas))).collect();
        self.synced = true;
        for diff in std::mem::take(&mut self.early) {
            self.apply(&diff);
        }
    }

    /// `presence_diff`.
    pub fn diff(&mut self, diff: &Value) {
        if self.synced { self.apply(diff) } else { self.early.push(diff.clone()) }
    }

    /// Who is there.
    #[must_use]
    pub const fn shown(&self) -> &Shown {
        &self.shown
    }

    fn apply(&mut self, diff: &Value) {
        for (user, metas) in diff["joins"].as_object().into_iter().flatten() {
            self.shown.entry(user.clone()).or_default().extend(refs(metas));
        }
        for (user, metas) in diff["leaves"].as_object().into_iter().flatten() {
            let gone = refs(metas);
            if let Some(held) = self.shown.get_mut(user) {
                held.retain(|phx_ref| !gone.contains(phx_ref));
                if held.is_empty() {
                    self.shown.remove(user);
                }
            }
        }
    }
}
