//! Who is not to notice whom in a conversation: one of the two blocks the other. Messages are no matter of this: who never
//! gets one is said with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use simurgh_protocol::{Raw, Timestamp, UserId, event::sent};

use super::{Topic, presence::Arrival};
use crate::blocks::Unseen;

/// Whom the users with channels here do not see. Those who see all are not listed.
#[derive(Debug, Default)]
pub(super) struct Unseens(BTreeMap<UserId, Unseen>);

#[derive(Deserialize)]
struct By {
    user_id: UserId,
}

impl Unseens {
    /// Whom this user does not see; none of a service.
    pub(super) fn of(&self, user: Option<&UserId>) -> Option<&BTreeSet<UserId>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(user?).map(|unseen| &*unseen.users)
    }

    fn hides(&self, from: Option<&UserId>, user: &UserId) -> bool {
        self.of(from).is_some_and(|unseen| unseen.contains(user))
    }

    /// Who did what is told by this payload, where that matters to anybody.
    fn author(&self, payload: &Raw) -> Option<UserId> {
        if self.0.is_empty() {
            return None;
        }
        payload.parse::<By>().ok().map(|by| by.user_id)
    }
}

impl Topic {
    /// What a join's reply said of a user who has no other channel here.
    pub(super) fn begin_unseen(&mut self, user: &UserId, unseen: Unseen) {
        if !unseen.users.is_empty() {
            self.unseen.0.entry(user.clone()).or_insert(unseen);
        }
    }

    /// Those who have no channel here any more.
    pub(super) fn forget_unseen(&mut self) {
        if !self.unseen.0.is_empty() {
            let here: BTreeSet<&UserId> =
                self.channels.values().filter_map(|channel| channel.user.as_ref()).collect();
            self.unseen.0.retain(|user, _| here.contains(user));
        }
    }

    /// A user with channels here does not see these, and sees all others: that is told to it as if they had gone, or come.
    pub fn set_unseen(&mut self, user: &UserId, unseen: Unseen, now: Timestamp) {
        let held = self.unseen.0.get(user);
        let is_old = held.is_some_and(|held| held.asked > unseen.asked);
        if is_old || (held.is_none() && unseen.users.is_empty()) || !self.has_user(user) {
            return;
        }
        // What the others are still to be told, this user is as well: by whom it saw until now.
        self.tell_presence();
        let before = self.unseen.0.insert(user.clone(), unseen.clone()).unwrap_or_default().users;
        let (gone, come) = (lacking(&unseen.users, &before), lacking(&before, &unseen.users));
        let theirs = |other: Option<&UserId>| other == Some(user);
        for (users, event) in [(&gone, sent::USER_LEFT), (&come, sent::USER_JOINED)] {
            for other in users.iter().filter(|other| self.presence.is_present(other)).collect::<Vec<_>>() {
                let payload = Raw::of(&serde_json::json!({"user_id": other, "timestamp": now}));
                self.tell_to(event, &payload, theirs);
            }
        }
        let diff = self.presence.diff_of(&come, &gone);
        if let Some(diff) = diff.shown(None) {
            self.tell_to(sent::PRESENCE_DIFF, &diff, theirs);
        }
    }

    /// Something that a user did, to all here but `except`, and those who are not to notice that user.
    pub(super) fn tell(&mut self, event: &str, payload: &Raw, except: Option<&UserId>) {
        let by = self.unseen.author(payload);
        let unseen = std::mem::take(&mut self.unseen);
        self.tell_to(event, payload, |user| {
            let hides = by.as_ref().is_some_and(|by| unseen.hides(user, by));
            !hides && (except.is_none() || except != user)
        });
        self.unseen = unseen;
    }

    /// `presence_diff` to everybody here.
    pub fn tell_presence(&mut self) {
        if !self.presence.has_diff() {
            return;
        }
        let diff = self.presence.take_diff();
        let others = diff.shown(None);
        let own: BTreeMap<UserId, Option<Raw>> = self
            .unseen
            .0
            .iter()
            .map(|(user, unseen)| (user.clone(), diff.shown(Some(&unseen.users))))
            .filter(|(_, shown)| *shown != others)
            .collect();
        if let Some(diff) = others {
            self.tell_to(sent::PRESENCE_DIFF, &diff, |user| user.is_none_or(|user| !own.contains_key(user)));
        }
        for (user, diff) in &own {
            if let Some(diff) = diff {
                self.tell_to(sent::PRESENCE_DIFF, diff, |other| other == Some(user));
            }
        }
    }

    /// `user_joined` and `user_left` to the others.
    pub fn tell_arrivals(&mut self, arrivals: &[Arrival], now: Timestamp) {
        for arrival in arrivals {
            let (event, user) = match arrival {
                Arrival::Joined(user) => (sent::USER_JOINED, user),
                Arrival::Left(user) => (sent::USER_LEFT, user),
            };
            let payload = Raw::of(&serde_json::json!({"user_id": user, "timestamp": now}));
            self.tell(event, &payload, Some(user));
        }
    }
}

fn lacking(users: &BTreeSet<UserId>, other: &BTreeSet<UserId>) -> BTreeSet<UserId> {
    users.difference(other).cloned().collect()
}

#[cfg(test)]
mod tests;
