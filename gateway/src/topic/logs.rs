//! What the two logs say, handed to the channels whose positions are just before it.

use std::collections::{BTreeMap, BTreeSet};

use simurgh_protocol::{
    Raw, UserId,
    envelope::{Logged, LoggedChange},
    event::sent,
    record::Message,
};

use super::Topic;
use crate::form::Encoded;

impl Topic {
    /// A message, blank to those who have deleted it for themselves. Channels of who does not get it pass over it.
    pub(super) fn message(&mut self, logged: &Logged, hidden: Option<&BTreeSet<&UserId>>) {
        let (known, mut deliveries) = (logged.seq <= self.last_seq, 0);
        self.last_seq = self.last_seq.max(logged.seq);
        let members_version = self.members_version;
        let blank = hidden.map_or_else(Raw::empty, |_| blank(&logged.payload));
        let mut blank = Encoded::new(&self.name, sent::NEW_MESSAGE, &blank);
        let mut encoded = Encoded::new(&self.name, sent::NEW_MESSAGE, &logged.payload);
        for ((_, id), channel) in &mut self.channels {
            let form = channel.form;
            let hides = hidden.zip(channel.user.as_ref()).is_some_and(|(users, user)| users.contains(user));
            let encoded = if hides { &mut blank } else { &mut encoded };
            if channel.seq + 1 != logged.seq || channel.checked_at < members_version {
                continue;
            }
            if logged.except.is_some() && logged.except == channel.user {
                channel.seq = logged.seq;
            } else if channel.push(*id, logged.seq, &self.id, &self.metrics, || encoded.frame(form)) {
                channel.seq = logged.seq;
                deliveries += 1;
            }
        }
        if known && deliveries == 0 {
            self.metrics.repeats_dropped.inc();
        } else {
            self.metrics.fanned_out(deliveries);
        }
    }

    /// A change goes to those who have the message that it changes; to the others it comes again behind that. One that is
    /// not for all only moves the positions of the others.
    pub(super) fn change(&mut self, change: &LoggedChange) {
        self.last_change = self.last_change.max(change.change_seq);
        self.last_seq = self.last_seq.max(change.seq);
        let members_version = self.members_version;
        let (mut deliveries, mut encoded) =
            (0, Encoded::new(&self.name, &change.event, &change.payload).of_change(change.change_seq));
        for ((_, id), channel) in &mut self.channels {
            let form = channel.form;
            let next = channel.change_seq + 1 == change.change_seq && channel.seq >= change.seq;
            if !next || channel.checked_at < members_version {
                continue;
            }
            if !change.is_for(channel.user.as_ref()) {
                channel.change_seq = change.change_seq;
            } else if channel.push(*id, 0, &self.id, &self.metrics, || encoded.frame(form)) {
                channel.change_seq = change.change_seq;
                deliveries += 1;
            }
        }
        self.metrics.fanned_out(deliveries);
    }
}

/// What is shown of a message to who has deleted it for itself: its place.
pub(crate) fn blank(payload: &Raw) -> Raw {
    payload.parse::<Message>().map_or_else(|_| Raw::empty(), |message| Raw::of(&message.hide()))
}

/// Who has deleted which messages for itself, by these changes.
pub(crate) fn hidden_in(changes: &[LoggedChange]) -> BTreeMap<u64, BTreeSet<&UserId>> {
    let mut hidden: BTreeMap<u64, BTreeSet<&UserId>> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.event == sent::MESSAGE_HIDDEN) {
        hidden.entry(change.seq).or_default().extend(&change.only);
    }
    hidden
}
