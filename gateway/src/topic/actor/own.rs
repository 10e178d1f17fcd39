//! The channels of this gateway: who shows in presence, who types.

use std::sync::Arc;

use simurgh_protocol::{
    Raw, UserId,
    envelope::{self, ChosenStatus, ConversationEnvelope, ConversationEvent, PresenceMeta},
    event::sent,
    record::Status,
};
use tokio::time::Instant;

use super::{Actor, FIRST_LOOK, GRACE, LINGER, Local, TYPING};
use crate::{
    mailbox::{ChannelId, SocketId},
    topic::{Joined, report::Report},
};

impl Actor {
    pub(super) fn join(&mut self, joined: Joined, chosen: Option<ChosenStatus>) {
        let Some(user) = joined.user.clone() else { return self.watch(joined) };
        self.begin();
        let key = (joined.mailbox.socket, joined.channel);
        self.topic.set_unseen(&user, joined.unseen.clone(), self.shared.env.now());
        self.locals.insert(key, Local { user: user.clone(), phx_ref: None });
        if let Some(chosen) = chosen {
            self.chosen(user.clone(), chosen);
        }
        if self.is_visible(&user) {
            self.appear(key);
        }
        self.topic.join(joined);
        let (back, departing) =
            std::mem::take(&mut self.departing).into_iter().partition(|(_, meta)| meta.user == user);
        self.departing = departing;
        let back: Vec<(Instant, PresenceMeta)> = back;
        for (_, meta) in back {
            self.vanish(&meta.phx_ref);
        }
    }

    /// A subscription: it hears everything and is in no presence.
    pub(super) fn watch(&mut self, joined: Joined) {
        self.begin();
        self.topic.join(joined);
    }

    fn begin(&mut self) {
        (self.linger_until, self.joined) = (None, true);
        self.look_at.get_or_insert(self.shared.env.instant() + FIRST_LOOK);
    }

    pub(super) fn leave(&mut self, socket: SocketId, channel: ChannelId, dropped: bool) {
        self.topic.leave(socket, channel);
        if let Some(local) = self.locals.remove(&(socket, channel)) {
            self.left(local, dropped);
        }
        if self.locals.is_empty() && self.topic.is_empty() {
            // Nobody is left who lacks anything.
            (self.gap, self.drained) = (None, false);
            self.linger_until = Some(self.shared.env.instant() + LINGER);
        }
    }

    fn left(&mut self, local: Local, dropped: bool) {
        if !self.locals.values().any(|other| other.user == local.user) {
            self.typing_ended(&local.user);
            self.chosen.remove(&local.user);
        }
        if let Some(phx_ref) = local.phx_ref {
            let meta = self.topic.presence.own().find(|meta| meta.phx_ref == phx_ref).cloned();
            match meta {
                Some(meta) if dropped => self.departing.push((self.shared.env.instant() + GRACE, meta)),
                _ => self.vanish(&phx_ref),
            }
        }
    }

    /// Somebody is no member any more: the channels are closed already, presence follows at once.
    pub(super) fn removed(&mut self, user: &UserId) {
        let gone: Vec<_> =
            // One who was added again and joined since stays.
            self.locals
                .iter()
                .filter(|(key, local)| local.user == *user && !self.topic.has_channel(**key))
                .map(|(key, _)| *key)
                .collect();
        for (socket, channel) in gone {
            self.leave(socket, channel, false);
        }
        let (gone, departing) =
            std::mem::take(&mut self.departing).into_iter().partition(|(_, meta)| meta.user == *user);
        self.departing = departing;
        let gone: Vec<(Instant, PresenceMeta)> = gone;
        for (_, meta) in gone {
            self.vanish(&meta.phx_ref);
        }
    }

    /// How far the user's channels were told.
    pub(super) fn report(&self, user: &UserId) -> Report {
        let dropped = self.departing.iter().filter(|(_, meta)| meta.user == *user).count();
        Report { dropped, ..self.topic.report(user) }
    }

    /// A channel shows in presence from now on, if it does not already.
    pub(super) fn appear(&mut self, key: (SocketId, ChannelId)) {
        let Some(local) = self.locals.get_mut(&key).filter(|local| local.phx_ref.is_none()) else { return };
        let meta = PresenceMeta {
            user: local.user.clone(),
            phx_ref: self.shared.env.short_id(),
            phx_ref_prev: None,
            online_at: self.shared.env.now(),
        };
        local.phx_ref = Some(meta.phx_ref.clone());
        self.saver.joined(meta.clone());
        let arrival = self.topic.presence.add_own(meta);
        self.told_arrivals(arrival.as_slice());
    }

    pub(super) fn vanish(&mut self, phx_ref: &str) {
        self.saver.left(phx_ref);
        let arrival = self.topic.presence.remove_own(phx_ref);
        self.told_arrivals(arrival.as_slice());
    }

    fn is_visible(&self, user: &UserId) -> bool {
        self.chosen.get(user).is_none_or(|chosen| chosen.status != Status::Offline)
    }

    /// The latest choice holds, in whichever order they are heard of.
    pub(super) fn chosen(&mut self, user: UserId, chosen: ChosenStatus) {
        if self.chosen.get(&user).is_some_and(|held| held.at >= chosen.at) {
            return;
        }
        self.chosen.insert(user.clone(), chosen);
        let visible = self.is_visible(&user);
        let user = &user;
        let keys: Vec<_> = self
            .locals
            .iter()
            .filter(|(_, local)| local.user == *user && local.phx_ref.is_none() == visible)
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if visible {
                self.appear(key);
            } else if let Some(phx_ref) = self.locals.get_mut(&key).and_then(|local| local.phx_ref.take()) {
                self.vanish(&phx_ref);
            }
        }
    }

    pub(super) fn typing(&mut self, user: UserId, start: bool) {
        if start {
            self.typing.insert(user.clone(), self.shared.env.instant() + TYPING);
        } else {
            self.typing.remove(&user);
        }
        self.tell_typing(&user, start);
    }

    pub(super) fn typing_ended(&mut self, user: &UserId) {
        if self.typing.remove(user).is_some() {
            self.tell_typing(user, false);
        }
    }

    pub(super) fn tell_typing(&self, user: &UserId, start: bool) {
        let action = if start { "start" } else { "stop" };
        let now = self.shared.env.now();
        let payload = Raw::of(&serde_json::json!({"user_id": user, "action": action, "timestamp": now}));
        let event = ConversationEvent::Told {
            event: sent::TYPING_INDICATOR.to_owned(),
            payload,
            except: Some(user.clone()),
        };
        let envelope = envelope::encode(&ConversationEnvelope { members_version: 0, event });
        let (shared, subject) = (Arc::clone(&self.shared), self.shared.subjects.conversation(&self.id));
        // Best effort by contract; spawned so that a stalled connection does not stall the topic.
        self.shared.tasks.spawn(async move {
            let _ = shared.bus.publish(&subject, envelope).await;
        });
    }
}
