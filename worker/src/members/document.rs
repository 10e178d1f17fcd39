//! The documents of a membership: one seen from the conversation, one seen from the user.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{Timestamp, UserId, record::ConversationType};
use uuid::Uuid;

/// How long a tombstone outlives its removal, at least: far longer than any late attempt.
pub const TOMBSTONE: Duration = Duration::from_hours(24);

/// Whether a membership holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It holds.
    Member,
    /// It ended: a tombstone, kept so that an attempt that comes late meets a version it did not read.
    Removed,
}

/// The document of `keys::member`: a membership, seen from the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDocument {
    /// Whether it holds.
    pub state: MemberState,
    /// Since when; of a tombstone, when it ended.
    pub joined_at: Timestamp,
    /// The `seq` up to which the member has read.
    pub last_read_seq: u64,
    /// How that position came to be where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Moved>,
    /// The `seq` up to which messages have come to the member, as far as its clients said so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delivered_seq: u64,
    /// How that position came to be where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Moved>,
    /// Of a tombstone, the request that ended it: another attempt of that one finds that it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_by: Option<Uuid>,
    /// From when to when the membership before this one held; of a tombstone, the one before it. It decides nothing: it
    /// answers who was a member when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<(Timestamp, Timestamp)>,
    /// Messages of a direct conversation that never come to this member: it blocked, or blocks, the other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<Silenced>,
    /// The positions as the other one of a direct conversation sees them while one of the two blocks the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Frozen>,
}

/// The messages that were said while a member did not listen. Only the last such time is known, or where some before it
/// were not read yet, all of them as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silenced {
    /// They lie behind this `seq`.
    pub after: u64,
    /// Up to this one; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<u64>,
    /// Whether the conversation began so, and holds nothing else for the member yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub concealed: bool,
}

/// Positions at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// What was read.
    pub read: u64,
    /// What had come.
    pub delivered: u64,
}

impl Silenced {
    /// The member does not listen from now on.
    #[must_use]
    pub fn begun(before: Option<Self>, last_seq: u64, last_read_seq: u64) -> Self {
        let begun = Self { after: last_seq, up_to: None, concealed: false };
        match before {
            // What was not read is still counted: without those that never came.
            Some(before) if before.up_to.is_none_or(|up_to| up_to > last_read_seq) => Self {
                after: before.after,
                concealed: before.concealed && before.hides_all(last_seq),
                ..begun
            },
            _ => begun,
        }
    }

    /// The member listens again.
    #[must_use]
    pub fn ended(self, last_seq: u64) -> Self {
        Self { up_to: self.up_to.or(Some(last_seq)), ..self }
    }

    fn hides_all(&self, last_seq: u64) -> bool {
        self.up_to.is_none_or(|up_to| last_seq <= up_to)
    }

    /// How many of the messages behind `from` up to `to` they are.
    fn among(&self, from: u64, to: u64) -> u64 {
        self.up_to.map_or(to, |up_to| up_to.min(to)).saturating_sub(self.after.max(from))
    }
}

/// The last move of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Where it was before.
    pub after: u64,
    /// When it moved.
    pub at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(seq: &u64) -> bool {
    *seq == 0
}

/// Which of a member's two positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// What it has read.
    Read,
    /// What has come to it.
    Delivered,
}

impl MemberDocument {
    /// The document of who becomes a member, at a position in the log.
    #[must_use]
    pub fn new(joined_at: Timestamp, last_read_seq: u64) -> Self {
        Self {
            state: MemberState::Member,
            joined_at,
            last_read_seq,
            read: None,
            delivered_seq: 0,
            delivered: None,
            removed_by: None,
            was: None,
            silenced: None,
            frozen: None,
        }
    }

    /// How many messages up to `last_seq` who has read up to `read` has not read, of those that come to it.
    #[must_use]
    pub fn unread(&self, read: u64, last_seq: u64) -> u64 {
        let silent = self.silenced.map_or(0, |silenced| silenced.among(read, last_seq));
        last_seq.saturating_sub(read).saturating_sub(silent)
    }

    /// Whether the member does not know of the conversation: nothing in it came to it.
    #[must_use]
    pub fn is_concealed(&self, last_seq: u64) -> bool {
        self.silenced.is_some_and(|silenced| silenced.concealed && silenced.hides_all(last_seq))
    }

    /// The document as the other one of a direct conversation sees it.
    #[must_use]
    pub fn seen_by_other(self) -> Self {
        match self.frozen {
            Some(Frozen { read, delivered }) => {
                Self { last_read_seq: read, delivered_seq: delivered, ..self }
            }
            None => self,
        }
    }

    /// Where a position is. What was read has come, too.
    #[must_use]
    pub fn position(&self, position: Position) -> u64 {
        match position {
            Position::Read => self.last_read_seq,
            Position::Delivered => self.delivered_seq.max(self.last_read_seq),
        }
    }

    /// The document with a position moved up to `seq`.
    #[must_use]
    pub fn moved(self, position: Position, seq: u64, at: Timestamp) -> Self {
        let moved = Some(Moved { after: self.position(position), at });
        match position {
            Position::Read => Self { last_read_seq: seq, read: moved, ..self },
            Position::Delivered => Self { delivered_seq: seq, delivered: moved, ..self },
        }
    }

    /// When a position moved over the message at `seq`; `None` where it did not, or nobody knows any more.
    #[must_use]
    pub fn passed_at(&self, position: Position, seq: u64) -> Option<Timestamp> {
        let over = |moved: Option<Moved>, up_to: u64| {
            moved.filter(|moved| moved.after < seq && seq <= up_to).map(|moved| moved.at)
        };
        let read = over(self.read, self.last_read_seq);
        match position {
            Position::Read => read,
            Position::Delivered => over(self.delivered, self.delivered_seq).or(read),
        }
    }

    /// Whether the user was a member `at` that time. `None` where that is not known any more: of earlier memberships only
    /// the last one is.
    #[must_use]
    pub fn held(&self, at: Timestamp) -> Option<bool> {
        match self.was {
            _ if self.holds() && self.joined_at <= at => Some(true),
            Some((_, to)) if to <= at => Some(false),
            Some((from, _)) if from <= at => Some(true),
            // What ended before that left a tombstone for a day.
            None if self.holds() && self.joined_at <= at.plus(TOMBSTONE) => Some(false),
            _ => None,
        }
    }

    /// Whether the user is a member.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.state == MemberState::Member
    }
}

/// Whether who has no document now was a member `at` that time.
#[must_use]
pub fn held_without(at: Timestamp, now: Timestamp) -> Option<bool> {
    (now <= at.plus(TOMBSTONE)).then_some(false)
}

/// The document of `keys::membership`: the same, seen from the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipDocument {
    /// Whether it holds.
    pub state: MemberState,
    /// What kind of conversation it is.
    #[serde(rename = "type")]
    pub kind: ConversationType,
    /// Since when; of a tombstone, when it ended.
    pub joined_at: Timestamp,
    /// The other one of a direct conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<UserId>,
    /// Until when the user has muted it; in the past, or none: it is not muted. `keys::mutes` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

impl MembershipDocument {
    /// Whether the user is a member.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.state == MemberState::Member
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn document(state: MemberState, joined_at: u64, was: Option<(u64, u64)>) -> MemberDocument {
        let was = was.map(|(from, to)| (at(from), at(to)));
        MemberDocument { state, was, ..MemberDocument::new(at(joined_at), 0) }
    }

    #[test]
    fn a_membership_and_the_one_before_it_are_known_and_no_other() {
        let back = document(MemberState::Member, 500, Some((100, 300)));
        for (when, held) in
            [(500, Some(true)), (400, Some(false)), (300, Some(false)), (299, Some(true)), (99, None)]
        {
            assert_eq!(back.held(at(when)), held, "{when}");
        }
        // Removed once more since, though there was nothing to remove.
        let removed = document(MemberState::Removed, 900, Some((100, 300)));
        for (when, held) in [(950, Some(false)), (301, Some(false)), (100, Some(true)), (99, None)] {
            assert_eq!(removed.held(at(when)), held, "{when}");
        }
    }

    #[test]
    fn who_was_removed_before_leaves_a_trace_for_a_day() {
        let first = document(MemberState::Member, 3 * DAY, None);
        assert_eq!(first.held(at(3 * DAY)), Some(true));
        assert_eq!((first.held(at(2 * DAY)), first.held(at(2 * DAY - 1))), (Some(false), None));
        assert_eq!(document(MemberState::Removed, 5, None).held(at(5)), None, "no word of what it ended");
        assert_eq!(
            (held_without(at(DAY), at(2 * DAY)), held_without(at(DAY), at(2 * DAY + 1))),
            (Some(false), None)
        );
    }
}
