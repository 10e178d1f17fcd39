//! One conversation on this gateway: its channels, how far each has been told the logs, and who is present. A state
//! machine without tasks or I/O; [`actor`] drives it.
//!
//! Each channel has a position in the log of messages and one in the log of changes. What comes next at a position is
//! handed to the channel's mailbox; what was there before is dropped; where something is missing (the backplane lost
//! it, or the mailbox was full) the channel only keeps its position, and [`Topic::wants_range`] says from where to
//! read the log. So each channel gets everything once and in order, whichever way it comes.

use std::{collections::BTreeMap, sync::Arc};

use simurgh_protocol::{
    ConversationId, Raw, Ref, UserId,
    envelope::{ConversationEnvelope, ConversationEvent, Head, Membership, PresenceChange, Range},
    event::sent,
};

use crate::{
    blocks::Unseen,
    form::{Encoded, Form},
    mailbox::{ChannelId, Mailbox, SocketId},
    metrics::Metrics,
};

pub mod actor;
mod channel;
pub mod entry;
pub(crate) mod logs;
pub mod presence;
pub mod report;
mod unseen;

use channel::Channel;
use presence::{Arrival, Presence, Step};
use unseen::Unseens;

/// A channel that was joined here.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Which join.
    pub channel: ChannelId,
    /// Whose; none of a service, which may read any conversation.
    pub user: Option<UserId>,
    /// How its frames are written.
    pub form: Form,
    /// Its join_ref.
    pub join_ref: Ref,
    /// Where its frames go.
    pub mailbox: Arc<Mailbox>,
    /// Where the logs stood in the join's reply.
    pub head: Head,
    /// Whom the user does not see.
    pub unseen: Unseen,
}

/// A conversation's state on this gateway.
#[derive(Debug)]
pub struct Topic {
    id: ConversationId,
    name: String,
    /// In boxes: a node of the map is as large as eleven of what it holds, and most conversations are pairs.
    channels: BTreeMap<(SocketId, ChannelId), Box<Channel>>,
    /// The furthest that anything heard says the logs reach.
    last_seq: u64,
    last_change: u64,
    members_version: u64,
    /// Who is present.
    pub presence: Presence,
    /// Whether any channel may lack the state of presence.
    any_stale: bool,
    /// Whom users here do not see.
    unseen: Unseens,
    metrics: Arc<Metrics>,
}

impl Topic {
    /// A conversation nobody here has joined yet.
    #[must_use]
    pub fn new(id: ConversationId, metrics: Arc<Metrics>) -> Self {
        let name = format!("conversation:{id}");
        Self {
            id,
            name,
            channels: BTreeMap::new(),
            last_seq: 0,
            last_change: 0,
            members_version: 0,
            presence: Presence::default(),
            any_stale: false,
            unseen: Unseens::default(),
            metrics,
        }
    }

    /// Whether nobody here has it joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// A join's reply went out. `presence_state` follows it.
    pub fn join(&mut self, joined: Joined) {
        self.heard_of(&joined.head);
        let key = (joined.mailbox.socket, joined.channel);
        if let Some(user) = &joined.user {
            self.begin_unseen(user, joined.unseen.clone());
        }
        self.channels.insert(key, Box::new(Channel::new(joined)));
        self.any_stale = true;
        self.push_state(key);
    }

    /// A channel is gone.
    pub fn leave(&mut self, socket: SocketId, channel: ChannelId) {
        self.channels.remove(&(socket, channel));
        self.forget_unseen();
    }

    /// Whether the user has a channel here.
    #[must_use]
    pub fn has_user(&self, user: &UserId) -> bool {
        self.channels.values().any(|channel| channel.user.as_ref() == Some(user))
    }

    /// Whether the channel is still here.
    #[must_use]
    pub fn has_channel(&self, key: (SocketId, ChannelId)) -> bool {
        self.channels.contains_key(&key)
    }

    /// A mailbox has drained: its channel reads on.
    pub fn drained(&mut self, socket: SocketId) {
        let keys: Vec<_> = self
            .channels
            .iter()
            .filter(|((of, _), channel)| *of == socket && channel.full.is_some())
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if let Some(channel) = self.channels.get_mut(&key) {
                channel.full = None;
            }
            self.push_state(key);
        }
    }

    /// Something came over the backplane. Tells which gateway's presence entry must be read, if one must.
    pub fn event(&mut self, envelope: ConversationEnvelope) -> Heard {
        let mut heard = Heard::default();
        match &envelope.event {
            ConversationEvent::Added { .. } => self.members_step(envelope.members_version, None),
            ConversationEvent::Removed { user } => {
                self.remove_user(user, envelope.members_version);
                // Also without a channel: one that dropped a moment ago may still show.
                heard.removed = Some(user.clone());
            }
            _ => {}
        }
        self.members_version = self.members_version.max(envelope.members_version);
        match envelope.event {
            ConversationEvent::Messages(messages) | ConversationEvent::Apart(messages) => {
                messages.iter().for_each(|logged| self.message(logged, None));
            }
            ConversationEvent::Change(change) => self.change(&change),
            ConversationEvent::Head(head) => self.heard_of(&head),
            ConversationEvent::Told { event, payload, except } => {
                self.tell(&event, &payload, except.as_ref());
            }
            ConversationEvent::Added { .. } | ConversationEvent::Removed { .. } => {}
            ConversationEvent::Presence(change) => {
                let (step, arrivals) = self.presence.step(&change);
                heard.read_entry = (step == Step::Read).then_some(change);
                heard.arrivals = arrivals;
            }
        }
        self.push_states();
        heard
    }

    /// A part of the logs was read. Who deleted a message for itself meanwhile is shown its place only: the change that
    /// says so lies behind the message, since changes go to those who have what they change.
    pub fn range(&mut self, range: &Range) {
        self.heard_of(&range.head);
        let hidden = logs::hidden_in(&range.changes);
        for logged in range.told() {
            self.message(logged, hidden.get(&logged.seq));
        }
        for change in &range.changes {
            self.change(change);
        }
    }

    /// From where the logs must be read, if any channel misses something that it could be given.
    #[must_use]
    pub fn wants_range(&self) -> Option<(u64, u64)> {
        let behind = self.channels.values().filter(|channel| {
            self.is_served(channel) && (channel.seq < self.last_seq || channel.change_seq < self.last_change)
        });
        behind
            .map(|channel| (channel.seq, channel.change_seq))
            .reduce(|(seq, change), (other_seq, other_change)| (seq.min(other_seq), change.min(other_change)))
    }

    /// Whose membership must be looked up before anything more is delivered to them.
    #[must_use]
    pub fn wants_check(&self) -> Vec<UserId> {
        let mut users: Vec<_> = self
            .channels
            .values()
            .filter(|channel| channel.checked_at < self.members_version)
            .filter_map(|channel| channel.user.clone())
            .collect();
        users.sort();
        users.dedup();
        users
    }

    /// Membership was looked up for `asked`: who is no member is closed. Tells who.
    pub fn checked(&mut self, asked: &[UserId], membership: &Membership) -> Vec<UserId> {
        self.members_version = self.members_version.max(membership.members_version);
        let gone: Vec<_> = asked.iter().filter(|user| !membership.members.contains(user)).cloned().collect();
        for channel in self.channels.values_mut() {
            if channel.user.as_ref().is_some_and(|user| asked.contains(user) && !gone.contains(user)) {
                channel.checked_at = channel.checked_at.max(membership.members_version);
            }
        }
        self.push_states();
        gone.into_iter()
            .filter(|user| !self.close_channels(user, membership.members_version).is_empty())
            .collect()
    }

    /// Where the logs reach by all that was heard.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            conversation: self.id.clone(),
            last_seq: self.last_seq,
            change_seq: self.last_change,
            members_version: self.members_version,
        }
    }

    /// Somebody said where the logs end.
    pub fn heard_of(&mut self, head: &Head) {
        self.last_seq = self.last_seq.max(head.last_seq);
        self.last_change = self.last_change.max(head.change_seq);
        self.members_version = self.members_version.max(head.members_version);
    }

    fn is_served(&self, channel: &Channel) -> bool {
        channel.full.is_none() && channel.checked_at >= self.members_version
    }

    /// What has no place in a log, to those of these users: it is lost to those who have no room.
    fn tell_to(&mut self, event: &str, payload: &Raw, to: impl Fn(Option<&UserId>) -> bool) {
        let members_version = self.members_version;
        let (mut deliveries, mut encoded) = (0, Encoded::new(&self.name, event, payload));
        for ((_, id), channel) in &mut self.channels {
            if !to(channel.user.as_ref()) {
                continue;
            }
            let served = channel.checked_at >= members_version && channel.full.is_none();
            let lost = !served || channel.mailbox.push(*id, encoded.frame(channel.form)).is_err();
            deliveries += usize::from(!lost);
            if lost && event == sent::PRESENCE_DIFF {
                channel.stale = true;
                self.any_stale = true;
                channel.wait(&self.id, &self.metrics);
            }
        }
        self.metrics.fanned_out(deliveries);
    }

    /// Sends `presence_state` to all channels that lack it and may have it.
    fn push_states(&mut self) {
        if std::mem::take(&mut self.any_stale) {
            let stale: Vec<_> =
                self.channels.iter().filter(|(_, channel)| channel.stale).map(|(key, _)| *key).collect();
            self.any_stale = !stale.is_empty();
            stale.into_iter().for_each(|key| self.push_state(key));
        }
    }

    /// Sends `presence_state` to a channel whose list is not what this gateway's is.
    fn push_state(&mut self, key: (SocketId, ChannelId)) {
        let members_version = self.members_version;
        let wants = |channel: &&mut Box<Channel>| channel.stale && channel.checked_at >= members_version;
        let Some(channel) = self.channels.get_mut(&key).filter(wants) else { return };
        let state = self.presence.state(self.unseen.of(channel.user.as_ref()));
        let frame = channel.form.push(&channel.join_ref, &self.name, sent::PRESENCE_STATE, &state);
        channel.stale = !channel.push(key.1, 0, &self.id, &self.metrics, || frame);
        self.any_stale |= channel.stale;
    }

    /// The `Removed` of one member: their channels close; everybody else's membership is as it was, one version on.
    fn remove_user(&mut self, user: &UserId, version: u64) {
        self.members_step(version, Some(user));
        self.close_channels(user, version);
    }

    /// A version that is known to have changed nothing for anybody but `except`.
    fn members_step(&mut self, version: u64, except: Option<&UserId>) {
        for channel in self.channels.values_mut() {
            if (except.is_none() || channel.user.as_ref() != except)
                && version.checked_sub(1) == Some(channel.checked_at)
            {
                channel.checked_at = version;
            }
        }
    }

    /// Closes the user's channels that were checked before `version`.
    fn close_channels(&mut self, user: &UserId, version: u64) -> Vec<ChannelId> {
        let mut closed = Vec::new();
        self.channels.retain(|(_, id), channel| {
            let gone = channel.user.as_ref() == Some(user) && channel.checked_at < version;
            if gone {
                channel.mailbox.close_channel(*id);
                closed.push(*id);
            }
            !gone
        });
        self.forget_unseen();
        closed
    }
}

/// What an envelope asks of the driver.
#[derive(Debug, Default)]
pub struct Heard {
    /// Steps of a gateway's presence are missing: read its entry.
    pub read_entry: Option<PresenceChange>,
    /// A member who was removed.
    pub removed: Option<UserId>,
    /// Who came and went by it.
    pub arrivals: Vec<Arrival>,
}

#[cfg(test)]
mod tests;
