//! What is known to have happened, from the answers that users and services got; and what is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

/// A conversation and a user in it.
pub type Member = (String, String);

/// Names a message: conversation, sender, `client_random`.
pub type Name = (String, String, String);

/// A message that somebody wanted to send.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What it says.
    pub content: String,
    /// When it was written, to be pushed.
    pub at: Instant,
    /// Its `seq` and id, once acknowledged.
    pub acknowledged: Option<(u64, String)>,
}

/// Names a reaction: conversation, message, user, emoji.
pub type Reaction = (String, String, String, String);

/// What a message was edited to.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// All that was asked for.
    pub tried: BTreeSet<String>,
    /// What was acknowledged last.
    pub last: Option<String>,
    /// Whether that is what it says, unless it was deleted.
    pub certain: bool,
}

/// A service's doings with a member.
#[derive(Clone, Copy, Debug, Default)]
struct Membership {
    /// Since when it may be gone: a removal was begun.
    going_since: Option<Instant>,
    /// Since when it is gone: the removal was answered.
    gone_since: Option<Instant>,
    /// When it was last certain to be a member again.
    back_since: Option<Instant>,
}

/// How far a member is with a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Position {
    /// It has read so far.
    Read,
    /// So much has come to one of its devices.
    Delivered,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Known {
    /// Messages.
    pub sends: BTreeMap<Name, Sent>,
    /// The latest acknowledged state of reactions; `None` where nobody knows.
    pub reactions: BTreeMap<Reaction, Option<bool>>,
    /// Edits, by conversation and message.
    pub edits: BTreeMap<(String, String), Edits>,
    /// Messages whose deletion was asked for, and whether it was acknowledged.
    pub deletions: BTreeMap<(String, String), bool>,
    /// Messages that a user deleted for itself, or tried to: conversation, message, user.
    pub hidden: BTreeMap<(String, String, String), bool>,
    /// How far members are, as was acknowledged.
    pub positions: BTreeMap<(Member, Position), u64>,
    /// How long acknowledgements took, from the first push of the message.
    pub latencies: Vec<Duration>,
    /// Acknowledgements that were told to be duplicates.
    pub duplicates: u64,
    members: BTreeMap<Member, Membership>,
    violations: Vec<String>,
}

/// The ledger, shared by all of a scene.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Known>);

impl Ledger {
    /// What is known.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    /// Something is wrong.
    pub fn violation(&self, what: String) {
        self.known().violations.push(what);
    }

    /// What is wrong so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.known().violations.clone()
    }

    /// A message was written, to be pushed until it is acknowledged.
    pub fn sends(&self, name: Name, content: String, at: Instant) {
        self.known().sends.insert(name, Sent { content, at, acknowledged: None });
    }

    /// A message was acknowledged: always with the same place and id.
    pub fn acknowledged(&self, name: &Name, seq: u64, id: &str, duplicate: bool, now: Instant) {
        let mut known = self.known();
        known.duplicates += u64::from(duplicate);
        let Some(sent) = known.sends.get_mut(name) else { return };
        let latency = now - sent.at;
        match &sent.acknowledged {
            Some(before) if *before != (seq, id.to_owned()) => {
                let wrong = format!("{name:?} was acknowledged as {before:?} and as {seq}, {id}");
                known.violations.push(wrong);
            }
            Some(_) => {}
            None => {
                sent.acknowledged = Some((seq, id.to_owned()));
                known.latencies.push(latency);
            }
        }
    }

    /// That a member is so far was acknowledged.
    pub fn marked(&self, member: Member, position: Position, seq: u64) {
        let mut known = self.known();
        let held = known.positions.entry((member, position)).or_default();
        *held = seq.max(*held);
    }

    /// A removal is about to be asked for.
    pub fn removing(&self, member: &Member, now: Instant) {
        self.known().members.entry(member.clone()).or_default().going_since = Some(now);
    }

    /// It was answered.
    pub fn removed(&self, member: &Member, now: Instant) {
        self.known().members.entry(member.clone()).or_default().gone_since = Some(now);
    }

    /// A member is about to be added again: from now on it may be one.
    pub fn adding(&self, member: &Member) {
        self.known().members.entry(member.clone()).or_default().gone_since = None;
    }

    /// It was answered: it is a member.
    pub fn added(&self, member: &Member, now: Instant) {
        let mut known = self.known();
        let membership = known.members.entry(member.clone()).or_default();
        (membership.going_since, membership.back_since) = (None, Some(now));
    }

    /// Whether nobody may be told anything of the conversation who asked, or was told something said, at `since`.
    #[must_use]
    pub fn is_gone(&self, member: &Member, since: Instant) -> bool {
        let known = self.known();
        let gone_since = known.members.get(member).and_then(|membership| membership.gone_since);
        gone_since.is_some_and(|gone| gone < since)
    }

    /// Whether the user was a member all the time since.
    #[must_use]
    pub fn is_member(&self, member: &Member, since: Instant) -> bool {
        let known = self.known();
        known.members.get(member).is_none_or(|membership| {
            membership.going_since.is_none() && membership.back_since.is_none_or(|back| back < since)
        })
    }

    /// Judges an answer to something that the user began at `since`: success after a removal, or a refusal of a member.
    pub fn judge(&self, member: &Member, what: &str, since: Instant, reason: Option<&str>) {
        match reason {
            None if self.is_gone(member, since) => {
                self.violation(format!("{what} of {member:?} succeeded after the removal"));
            }
            Some("not_a_member") if self.is_member(member, since) => {
                self.violation(format!("{what} of {member:?} was refused to a member"));
            }
            None | Some("not_a_member" | "unmatched topic" | "unavailable") => {}
            Some(other) => self.violation(format!("{what} of {member:?} was refused: {other}")),
        }
    }
}
