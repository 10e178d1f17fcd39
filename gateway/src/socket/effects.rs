//! Doing what a session asks for: at once, or, what has to be waited for, before anything else happens.

use simurgh_protocol::ConversationId;

use super::{End, OnTopic, Socket, Transport, text};
use crate::session::Effect;

/// What is waited for: seldom, and so in a box.
pub(super) enum Later {
    Effect(Effect),
    /// The mailbox has room again.
    Room(Vec<ConversationId>, bool),
}

impl<T: Transport> Socket<T> {
    /// Does what the session asks for, up to what has to be waited for; that and what follows is done later.
    pub(super) fn apply(&mut self, effects: Vec<Effect>) -> Option<End> {
        for effect in effects {
            let waits = matches!(effect, Effect::Open { .. } | Effect::Leave { .. });
            if waits || !self.later.is_empty() {
                self.later.push(Later::Effect(effect));
            } else if let Some(end) = self.apply_one(effect) {
                return Some(end);
            }
        }
        None
    }

    fn apply_one(&mut self, effect: Effect) -> Option<End> {
        match effect {
            Effect::Send(frame) => self.transport.give(text(frame)),
            Effect::Join { channel, topic, params, asked_at } => {
                let until = self.until(asked_at);
                let joining = self.join(channel, topic, params, until);
                self.work.get_or_insert_default().push(joining);
            }
            Effect::Do { channel, topic, push, payload, asked_at } => {
                let until = self.until(asked_at);
                let doing = self.carry_out(channel, topic, push, payload, until);
                self.work.get_or_insert_default().push(doing);
            }
            Effect::Close(code) => return Some(End::Close(code)),
            Effect::Open { .. } | Effect::Leave { .. } => {}
        }
        None
    }

    /// Does what was left for later.
    pub(super) async fn do_later(&mut self) -> Option<End> {
        if self.later.is_empty() {
            return None;
        }
        let later = std::mem::take(&mut self.later);
        Box::pin(self.do_in_order(later)).await
    }

    async fn do_in_order(&mut self, later: Vec<Later>) -> Option<End> {
        for one in later {
            match one {
                Later::Effect(Effect::Open { channel, topic, join_ref }) => {
                    self.open(channel, &topic, join_ref).await;
                }
                Later::Effect(Effect::Leave { channel, .. }) => {
                    if let Some(left) = self.held.remove(&channel) {
                        let OnTopic { topic, held, .. } = *left;
                        self.release(channel, topic, held, false).await;
                    }
                }
                Later::Effect(effect) => {
                    if let Some(end) = self.apply_one(effect) {
                        return Some(end);
                    }
                }
                Later::Room(topics, user_topic) => self.room(topics, user_topic).await,
            }
        }
        None
    }
}
