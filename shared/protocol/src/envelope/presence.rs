//! Entries of presence and their steps.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, UserId, record::Status};

/// A step of one gateway's presence entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceChange {
    /// The gateway's incarnation.
    pub gateway: String,
    /// The entry's revision before the step; 0 where nobody was there.
    pub previous: u64,
    /// The entry's revision after the step.
    pub revision: u64,
    /// Metas that came.
    pub joins: Vec<PresenceMeta>,
    /// The `phx_ref`s of metas that went.
    pub leaves: Vec<String>,
}

/// One connection of a user in a conversation or on the user topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceMeta {
    /// Whose.
    pub user: UserId,
    /// Unique.
    pub phx_ref: String,
    /// The ref that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phx_ref_prev: Option<String>,
    /// Since when.
    pub online_at: Timestamp,
}

/// A gateway's presence entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationPresence {
    /// Grows with each step, also when the entry was gone in between.
    pub revision: u64,
    /// The connections there.
    pub metas: Vec<PresenceMeta>,
}

/// A gateway's presence entry of a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserPresence {
    /// The latest status chosen on any device, and when; none while nobody chose.
    pub chosen: Option<ChosenStatus>,
    /// The connections there.
    pub metas: Vec<PresenceMeta>,
    /// How many of those dropped a moment ago and may come back yet.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: usize,
    /// Subscriptions there to the user's own topic: told what is said to the user, and seen by nobody.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub watchers: usize,
}

/// A user came to a gateway where it was not: what workers remember of where the user is no longer holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrived {
    /// Who.
    pub user: UserId,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl UserPresence {
    /// Whether what is said to the user is told on that gateway.
    #[must_use]
    pub fn is_told(&self) -> bool {
        !self.metas.is_empty() || self.watchers > 0
    }

    /// How many sockets the user has on that gateway, as far as they are on the user's own topic.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.metas.len().saturating_sub(self.dropped)
    }

    /// A user's connections on all of these gateways, and the latest status chosen on any device of theirs.
    #[must_use]
    pub fn merged(entries: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        // A gateway where the user has channels but no user topic knows no choice of a device that is connected.
        for entry in entries.into_iter().filter(|entry| !entry.metas.is_empty()) {
            all.metas.extend(entry.metas);
            all.dropped += entry.dropped;
            let later = |than: ChosenStatus| entry.chosen.is_some_and(|chosen| chosen.at > than.at);
            if all.chosen.is_none_or(later) {
                all.chosen = entry.chosen;
            }
        }
        all
    }

    /// What others see: the latest status chosen while any connection lives, `offline` otherwise (also where
    /// `offline` was chosen: the user is invisible).
    #[must_use]
    pub fn status(&self) -> Status {
        if self.metas.is_empty() {
            return Status::Offline;
        }
        self.chosen.map_or(Status::Online, |chosen| chosen.status)
    }
}

/// A status and when it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenStatus {
    /// Which.
    pub status: Status,
    /// When.
    pub at: Timestamp,
}

/// A write of a gateway's presence entry of a user: what a reader looks for who was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryMark {
    /// Whose entry.
    pub gateway: String,
    /// The key's revision; of an entry that was removed, the last one.
    pub revision: u64,
    /// Whether it was removed.
    pub gone: bool,
}

impl EntryMark {
    /// Whether who finds the entry at this revision, or not at all, sees that write or a later one. (A replica may lag.)
    #[must_use]
    pub const fn is_met_by(&self, found: Option<u64>) -> bool {
        match found {
            Some(revision) => revision > self.revision || (revision == self.revision && !self.gone),
            None => self.gone,
        }
    }
}

/// How a user looks to those who may see it: what `user_presence_changed` says, and `GET …/presence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Who.
    pub user_id: UserId,
    /// What others see: `offline` of one who is invisible.
    pub status: Status,
    /// When the user was last connected and visible; null where it never was.
    pub last_seen: Option<Timestamp>,
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
        UserPresence { chosen, metas: (0..metas).map(meta).collect(), dropped: 0, watchers: 0 }
    }

    #[test]
    fn the_latest_choice_on_any_connected_device_holds() {
        let entries = [entry(1, Some((Status::Busy, 5))), entry(1, Some((Status::Away, 9))), entry(1, None)];
        assert_eq!(UserPresence::merged(entries).status(), Status::Away);
        assert_eq!(UserPresence::merged([entry(1, None)]).status(), Status::Online);
        let entries = [entry(0, Some((Status::Offline, 9))), entry(1, None)];
        assert_eq!(UserPresence::merged(entries).status(), Status::Online);
    }

    #[test]
    fn without_a_connection_a_user_is_offline_whatever_it_chose() {
        assert_eq!(UserPresence::merged([entry(0, Some((Status::Busy, 5)))]).status(), Status::Offline);
        assert_eq!(UserPresence::default().status(), Status::Offline);
    }

    #[test]
    fn a_mark_is_met_by_its_write_and_by_later_ones() {
        let mark = |gone| EntryMark { gateway: "g".to_owned(), revision: 5, gone };
        let met = |gone| [None, Some(4), Some(5), Some(6)].map(|found| mark(gone).is_met_by(found));
        assert_eq!(met(false), [false, false, true, true]);
        assert_eq!(met(true), [true, false, false, true]);
    }
}
