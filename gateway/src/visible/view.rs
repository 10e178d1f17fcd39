//! What the user topics of this gateway show: whose status each user may see, and those users' connections as they were read
//! last. A state machine without tasks or I/O; every diff is worked out from what was shown, so lost, repeated and
//! reordered news do no harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, json};
use simurgh_protocol::{
    Raw, Ref, Timestamp, UserId,
    envelope::{Seen, UserPresence},
    event::sent,
    record::{Status, Unread},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{
    few::FewMap,
    form::{Encoded, Form},
    mailbox::{ChannelId, Mailbox, SocketId},
    users::{Shown, diff, metas, shown},
};

/// Names a channel.
pub type Key = (SocketId, ChannelId);

/// A user's presence entries by gateway.
pub type Entries = BTreeMap<String, UserPresence>;

/// A channel on a user's own topic.
#[derive(Debug)]
pub struct Channel {
    /// How its frames are written.
    pub form: Form,
    /// The join's ref.
    pub join_ref: Ref,
    /// Where its frames go.
    pub mailbox: Arc<Mailbox>,
    /// For `sync_complete`, which follows the first `presence_state`; none once both were sent.
    pub unread: Option<Vec<Unread>>,
}

/// A user with channels here.
#[derive(Debug, Default)]
struct Viewer {
    channels: FewMap<Key, Box<Channel>>,
    /// Joins under way, and whether whom the user sees may have changed since they began.
    joining: FewMap<Key, bool>,
    /// Whom it may see.
    sees: BTreeSet<UserId>,
    /// How many of them were not read yet.
    unknown: usize,
    /// Those among them that it sees since its channels are open, and that were not announced yet.
    new: BTreeSet<UserId>,
    /// How somebody looks whom it may come to see.
    heard: Option<Seen>,
}

/// A user whom somebody here may see.
#[derive(Debug, Default)]
struct Subject {
    viewers: BTreeSet<UserId>,
    /// None before they were read.
    entries: Option<Entries>,
    /// What was last heard of how the user looks.
    seen: Option<Seen>,
}

/// The view.
#[derive(Debug, Default)]
pub struct View {
    /// In boxes: a node of the map is as large as eleven of what it holds.
    viewers: BTreeMap<UserId, Box<Viewer>>,
    subjects: BTreeMap<UserId, Subject>,
}

impl Subject {
    fn presence(&self) -> UserPresence {
        UserPresence::merged(self.entries.iter().flat_map(BTreeMap::values).cloned())
    }

    fn shown(&self) -> Vec<Shown> {
        shown(&self.presence())
    }

    /// `user_presence_changed`: as it was heard, or where nobody said so yet, as it is found. `present`: the user was
    /// shown until now.
    fn seen(&self, user: &UserId, present: bool, now: Timestamp) -> Seen {
        let status = self.presence().status();
        let heard = self.seen.as_ref().filter(|seen| seen.status == Status::Offline);
        let last_seen = match status {
            Status::Offline => heard.and_then(|heard| heard.last_seen).or(present.then_some(now)),
            _ => Some(now),
        };
        Seen { user_id: user.clone(), status, last_seen }
    }
}

impl Channel {
    fn tell(&self, key: Key, user: &UserId, event: &str, payload: &Raw) {
        let topic = format!("user:{user}");
        self.push(key, Encoded::new(&topic, event, payload).frame(self.form));
    }

    fn push(&self, (_, channel): Key, frame: Utf8Bytes) -> bool {
        let taken = self.mailbox.push(channel, frame).is_ok();
        if !taken {
            self.mailbox.user_topic_missed();
        }
        taken
    }
}

impl View {
    /// A user joins: whom it sees is being asked.
    pub fn joining(&mut self, user: &UserId, key: Key) {
        self.viewers.entry(user.clone()).or_default().joining.insert(key, false);
    }

    /// Whom the user sees may have changed, also while it joins.
    pub fn news_for(&mut self, user: &UserId) {
        let joins = self.viewers.get_mut(user).map(|viewer| viewer.joining.values_mut());
        joins.into_iter().flatten().for_each(|news| *news = true);
    }

    /// A join's reply went out. `presence_state` and `sync_complete` follow once all that it shows is known. Answers who
    /// must be read, and whether it must be asked again whom the user sees: that may have changed since.
    pub fn open(
        &mut self,
        user: &UserId,
        key: Key,
        channel: Channel,
        sees: Vec<UserId>,
        now: Timestamp,
    ) -> (Vec<UserId>, bool) {
        let viewer = self.viewers.entry(user.clone()).or_default();
        let news = viewer.joining.remove(&key).unwrap_or(true);
        // An older answer does not undo a newer one.
        let known = news && !viewer.channels.is_empty();
        let unknown = if known { Vec::new() } else { self.set_visible(user, sees, &BTreeSet::new(), now) };
        if let Some(viewer) = self.viewers.get_mut(user) {
            viewer.channels.insert(key, Box::new(channel));
        }
        self.start(user, now);
        (unknown, news)
    }

    /// A channel is gone.
    pub fn close(&mut self, user: &UserId, key: Key) {
        let Some(viewer) = self.viewers.get_mut(user) else { return };
        viewer.channels.remove(&key);
        viewer.joining.remove(&key);
        if viewer.channels.is_empty() && viewer.joining.is_empty() {
            let sees = self.viewers.remove(user).map(|viewer| viewer.sees).unwrap_or_default();
            sees.iter().for_each(|subject| self.unsee(user, subject));
        }
    }

    /// The user may see these, and nobody else. Channels that are open are told what that changes: of those `apart` as if they
    /// had gone. Answers who must be read.
    pub fn set_visible(
        &mut self,
        user: &UserId,
        sees: Vec<UserId>,
        apart: &BTreeSet<UserId>,
        now: Timestamp,
    ) -> Vec<UserId> {
        let sees: BTreeSet<UserId> = sees.into_iter().collect();
        let viewer = self.viewers.entry(user.clone()).or_default();
        let before = std::mem::replace(&mut viewer.sees, sees.clone());
        let open = viewer.channels.values().any(|channel| channel.unread.is_none());
        let mut unknown = Vec::new();
        for subject in before.difference(&sees) {
            let unknown = self.entries(subject).is_none();
            if let Some(viewer) = self.viewers.get_mut(user) {
                viewer.new.remove(subject);
                viewer.unknown = viewer.unknown.saturating_sub(usize::from(unknown));
            }
            let shown = self.subjects.get(subject).map(Subject::shown).unwrap_or_default();
            self.tell_diff(user, subject, &shown, &[]);
            if apart.contains(subject) && !shown.is_empty() {
                let (user_id, last_seen) = (subject.clone(), Some(now));
                let gone = Seen { user_id, status: Status::Offline, last_seen };
                self.tell(user, sent::USER_PRESENCE_CHANGED, &Raw::of(&gone));
            }
            self.unsee(user, subject);
        }
        for subject in sees.difference(&before) {
            let heard = self
                .viewers
                .get_mut(user)
                .and_then(|viewer| viewer.heard.take_if(|one| one.user_id == *subject));
            let state = self.subjects.entry(subject.clone()).or_default();
            state.seen = heard.or(state.seen.take());
            state.viewers.insert(user.clone());
            let known = state.entries.is_some();
            if open && let Some(viewer) = self.viewers.get_mut(user) {
                viewer.new.insert(subject.clone());
            }
            if known {
                self.announce(user, subject, now);
            } else {
                unknown.push(subject.clone());
            }
        }
        if let Some(viewer) = self.viewers.get_mut(user) {
            viewer.unknown += unknown.len();
        }
        // Whom it may no longer see may be the last one who was waited for.
        self.start(user, now);
        unknown
    }

    /// Something was heard of how a user looks. Whether anybody here sees it.
    pub fn heard(&mut self, seen: Seen) -> bool {
        let Some(subject) = self.subjects.get_mut(&seen.user_id) else { return false };
        subject.seen = Some(seen);
        true
    }

    /// The same of somebody whom `viewer` is about to see, perhaps: it is kept until that is known.
    pub fn heard_for(&mut self, viewer: &UserId, seen: Seen) {
        if !self.heard(seen.clone())
            && let Some(viewer) = self.viewers.get_mut(viewer)
        {
            viewer.heard = Some(seen);
        }
    }

    /// A user's entries were read.
    pub fn read(&mut self, user: &UserId, entries: Entries, now: Timestamp) {
        let Some(subject) = self.subjects.get_mut(user) else { return };
        let (first, before, status) =
            (subject.entries.is_none(), subject.shown(), subject.presence().status());
        subject.entries = Some(entries);
        let found = subject.presence().status();
        let (after, changed) = (subject.shown(), found != status);
        let seen = Raw::of(&subject.seen(user, status != Status::Offline, now));
        if found != Status::Offline {
            subject.seen = None;
        }
        let viewers: Vec<UserId> = subject.viewers.iter().cloned().collect();
        for viewer in viewers {
            if first && let Some(viewer) = self.viewers.get_mut(&viewer) {
                viewer.unknown = viewer.unknown.saturating_sub(1);
            }
            let is_new = self.viewers.get(&viewer).is_some_and(|viewer| viewer.new.contains(user));
            if is_new {
                self.announce(&viewer, user, now);
                continue;
            }
            self.tell_diff(&viewer, user, &before, &after);
            if changed && !first {
                self.tell(&viewer, sent::USER_PRESENCE_CHANGED, &seen);
            }
            if first {
                self.start(&viewer, now);
            }
        }
    }

    /// The entries of a user that are known.
    #[must_use]
    pub fn entries(&self, user: &UserId) -> Option<&Entries> {
        self.subjects.get(user)?.entries.as_ref()
    }

    /// A gateway is gone, and with it all connections there.
    pub fn gateway_gone(&mut self, gateway: &str, now: Timestamp) {
        let holds =
            |subject: &Subject| subject.entries.as_ref().is_some_and(|held| held.contains_key(gateway));
        let users: Vec<UserId> = self
            .subjects
            .iter()
            .filter(|(_, subject)| holds(subject))
            .map(|(user, _)| user.clone())
            .collect();
        for user in users {
            if let Some(mut entries) = self.entries(&user).cloned() {
                entries.remove(gateway);
                self.read(&user, entries, now);
            }
        }
    }

    /// A channel had no room for something: it gets the whole state.
    pub fn missed(&mut self, user: &UserId, key: Key, now: Timestamp) {
        let Some(channel) = self.viewers.get(user).and_then(|viewer| viewer.channels.get(&key)) else {
            return;
        };
        if channel.unread.is_some() {
            self.start(user, now);
        } else {
            let state = self.state(user);
            Self::push_state(user, key, channel, &state);
        }
    }

    /// Who is seen by anybody here.
    pub fn subjects(&self) -> impl Iterator<Item = &UserId> {
        self.subjects.keys()
    }

    /// Whom the user sees.
    pub fn seen_by(&self, user: &UserId) -> impl Iterator<Item = &UserId> {
        self.viewers.get(user).into_iter().flat_map(|viewer| &viewer.sees)
    }

    /// Who has channels here.
    pub fn viewers(&self) -> impl Iterator<Item = &UserId> {
        self.viewers.keys()
    }

    /// Whether the user has a channel here.
    #[must_use]
    pub fn has_viewer(&self, user: &UserId) -> bool {
        self.viewers.contains_key(user)
    }

    fn unsee(&mut self, user: &UserId, subject: &UserId) {
        if let Some(state) = self.subjects.get_mut(subject) {
            state.viewers.remove(user);
            if state.viewers.is_empty() {
                self.subjects.remove(subject);
            }
        }
    }

    /// Channels that wait for their first state get it once everybody whom it shows is known.
    fn start(&mut self, user: &UserId, now: Timestamp) {
        let Some(viewer) = self.viewers.get(user) else { return };
        let waits = viewer.channels.values().any(|channel| channel.unread.is_some());
        if !waits || viewer.unknown > 0 {
            return;
        }
        let state = self.state(user);
        let Some(viewer) = self.viewers.get_mut(user) else { return };
        for (key, channel) in viewer.channels.iter_mut() {
            let Some(unread) = &channel.unread else { continue };
            let payload = Raw::of(&json!({"user_id": user, "unread": unread, "at": now}));
            let topic = format!("user:{user}");
            let sync = channel.form.push(&channel.join_ref, &topic, sent::SYNC_COMPLETE, &payload);
            // Where there is no room for both, both come again once there is.
            if Self::push_state(user, *key, channel, &state) && channel.push(*key, sync) {
                channel.unread = None;
            }
        }
    }

    fn push_state(user: &UserId, key: Key, channel: &Channel, state: &Raw) -> bool {
        let topic = format!("user:{user}");
        let frame = channel.form.push(&channel.join_ref, &topic, sent::PRESENCE_STATE, state);
        channel.push(key, frame)
    }

    /// `presence_state` of those whom the user may see.
    fn state(&self, user: &UserId) -> Raw {
        let mut state = Map::new();
        for subject in self.viewers.get(user).iter().flat_map(|viewer| &viewer.sees) {
            let shown = self.subjects.get(subject).map(Subject::shown).unwrap_or_default();
            if !shown.is_empty() {
                state.insert(subject.to_string(), metas(&shown));
            }
        }
        Raw::of(&state)
    }

    /// Somebody is seen from now on.
    fn announce(&mut self, user: &UserId, subject: &UserId, now: Timestamp) {
        let Some(viewer) = self.viewers.get_mut(user) else { return };
        if !viewer.new.remove(subject) {
            return;
        }
        let Some(state) = self.subjects.get(subject) else { return };
        let (seen, shown) = (Raw::of(&state.seen(subject, false, now)), state.shown());
        self.tell(user, sent::USER_PRESENCE_CHANGED, &seen);
        self.tell_diff(user, subject, &[], &shown);
        self.start(user, now);
    }

    fn tell_diff(&self, user: &UserId, subject: &UserId, before: &[Shown], after: &[Shown]) {
        if before != after {
            self.tell(user, sent::PRESENCE_DIFF, &Raw::of(&diff(subject, before, after)));
        }
    }

    /// To the user's channels that have their state.
    fn tell(&self, user: &UserId, event: &str, payload: &Raw) {
        let channels = self.viewers.get(user).into_iter().flat_map(|viewer| viewer.channels.iter());
        for (key, channel) in channels.filter(|(_, channel)| channel.unread.is_none()) {
            channel.tell(*key, user, event, payload);
        }
    }
}
