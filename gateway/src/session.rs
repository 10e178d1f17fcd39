//! What a client's frames mean: the channels of one socket, as a state machine without sockets, clocks or tasks.
//!
//! Frames and outcomes go in, [`Effect`]s come out. On one topic everything happens in the order of the frames: while a
//! join or a push is under way, later frames of that topic wait; other topics go on (unlike in Phoenix, where a slow
//! join holds back the whole socket).

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use simurgh_protocol::{
    CloseCode, Frame, Name, Push, Raw, Reason, Ref, Refusal, Timestamp, Topic, UserId, Vsn,
    event::{RateClass, phx, sent},
    frame::{self, InvalidFrame},
};

use crate::{few::FewMap, mailbox::ChannelId, metrics::Asked, rates::exceeded};

mod frames;

/// How long before its token's end the client is told.
pub const TOKEN_WARNING: Duration = Duration::from_secs(60);
/// How far clocks may be apart (contract section 2).
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(10);
/// A push that waited so long behind others is refused: it could not be answered in time.
const PATIENCE: Duration = Duration::from_secs(7);
/// Frames that wait behind joins and pushes under way, and bytes of them and of those pushes; with more the socket is not
/// read.
const MAX_WAITING: usize = 256;
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// Something that the socket's task has to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Write this frame.
    Send(Bytes),
    /// Find out whether the channel may be joined, then call [`Session::joined`].
    Join {
        /// Which join.
        channel: ChannelId,
        /// Of what.
        topic: Topic,
        /// The client's params, an object.
        params: Raw,
        /// When the client asked.
        asked_at: Timestamp,
    },
    /// The join's reply is written: deliver broadcasts from now on.
    Open {
        /// Which join.
        channel: ChannelId,
        /// Of what.
        topic: Topic,
        /// Its join_ref.
        join_ref: Ref,
    },
    /// The channel is closed, or its join was abandoned: deliver nothing more.
    Leave {
        /// Which join.
        channel: ChannelId,
        /// Of what.
        topic: Topic,
    },
    /// Carry a push out, then call [`Session::done`].
    Do {
        /// On which join.
        channel: ChannelId,
        /// Where.
        topic: Topic,
        /// What.
        push: Push,
        /// Its payload, an object.
        payload: Raw,
        /// When the client asked.
        asked_at: Timestamp,
    },
    /// Close the socket.
    Close(CloseCode),
}

/// What the outside decides for a session.
pub trait Gate {
    /// Counts something against the user's rates.
    ///
    /// # Errors
    /// After how long it may be tried again.
    fn count(&mut self, class: RateClass) -> Result<(), Duration>;

    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Something was answered without being carried out: it is counted.
    fn answered(&mut self, asked: Asked, refused: Option<Reason>);
}

/// The channels of one socket.
#[derive(Debug)]
pub struct Session {
    user: UserId,
    vsn: Vsn,
    max_channels: usize,
    channels: FewMap<Topic, Box<Channel>>,
    last_channel: u64,
    waiting: usize,
    /// Bytes of the payloads that wait or are under way.
    held_bytes: usize,
    expires_at: Timestamp,
    warned: bool,
}

#[derive(Debug)]
struct Channel {
    id: ChannelId,
    join_ref: Ref,
    state: State,
    /// Frames behind what is under way.
    waiting: VecDeque<Waiting>,
    /// The server's side closed it while a push was under way, which is answered first.
    closing: bool,
}

/// A frame that waits.
#[derive(Debug)]
struct Waiting {
    /// When it came.
    at: Timestamp,
    frame: Frame,
    /// It is within the user's rate.
    counted: bool,
}

#[derive(Debug)]
enum State {
    /// The join with this ref is under way; it replaces a channel that had that join_ref.
    Joining { reference: Ref, replaces: Option<Ref> },
    /// Joined, nothing under way.
    Open,
    /// Joined, the push with this ref and so many bytes under way.
    Busy { reference: Ref, bytes: usize },
}

impl Session {
    /// A session of `user` without channels, whose token ends at `expires_at`.
    #[must_use]
    pub fn new(user: UserId, vsn: Vsn, max_channels: usize, expires_at: Timestamp) -> Self {
        Self {
            user,
            vsn,
            max_channels,
            channels: FewMap::default(),
            last_channel: 0,
            waiting: 0,
            held_bytes: 0,
            expires_at,
            warned: false,
        }
    }

    /// Whether so much waits that no more should be read.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting >= MAX_WAITING || self.held_bytes >= MAX_WAITING_BYTES
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.channels.values().all(|channel| matches!(channel.state, State::Open))
    }

    /// Whether the join is still the topic's.
    #[must_use]
    pub fn is_current(&self, id: ChannelId) -> bool {
        self.channels.values().any(|channel| channel.id == id)
    }

    /// The joins that are open or under way.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &Topic)> {
        self.channels.iter().map(|(topic, channel)| (channel.id, topic))
    }

    /// A text frame came.
    pub fn text(&mut self, text: &str, gate: &mut dyn Gate) -> Vec<Effect> {
        self.received(Frame::decode(self.vsn, text), gate)
    }

    /// A binary frame came.
    pub fn binary(&mut self, bytes: &[u8], gate: &mut dyn Gate) -> Vec<Effect> {
        self.received(Frame::decode_binary(self.vsn, bytes), gate)
    }

    /// A frame came with more of them than are taken at once: it is answered, and nothing comes of it.
    pub fn excess(&mut self, frame: Result<Frame, InvalidFrame>, gate: &mut dyn Gate) -> Vec<Effect> {
        let Ok(frame) = frame else { return vec![Effect::Close(CloseCode::InvalidFrame)] };
        let refusal = exceeded(Duration::from_secs(1));
        let mut effects = Vec::new();
        self.refuse(&frame.join_ref, &frame, &refusal, gate, &mut effects);
        effects
    }

    fn received(&mut self, frame: Result<Frame, InvalidFrame>, gate: &mut dyn Gate) -> Vec<Effect> {
        let mut effects = Vec::new();
        match frame {
            Ok(frame) => {
                let come = Waiting { at: gate.now(), frame, counted: false };
                self.frame(come, gate, &mut effects);
            }
            Err(_) => effects.push(Effect::Close(CloseCode::InvalidFrame)),
        }
        effects
    }

    /// A join was decided.
    pub fn joined(
        &mut self,
        id: ChannelId,
        outcome: Result<Raw, Refusal>,
        gate: &mut dyn Gate,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some((topic, channel)) = self.channels.iter_mut().find(|(_, channel)| channel.id == id) else {
            return effects;
        };
        let State::Joining { reference, replaces } = std::mem::replace(&mut channel.state, State::Open)
        else {
            return effects;
        };
        let (topic, join_ref, name) = (topic.clone(), channel.join_ref.clone(), topic.to_string());
        let reply = frame::reply(self.vsn, &join_ref, &reference, &name.as_str().into(), outcome.as_ref());
        effects.push(Effect::Send(reply));
        if let Some(old) = replaces {
            effects.push(Effect::Send(frame::closed(self.vsn, &old, &name, phx::CLOSE)));
        }
        if outcome.is_ok() {
            effects.push(Effect::Open { channel: id, topic: topic.clone(), join_ref });
            if matches!(topic, Topic::User(_)) && self.warned {
                effects.push(self.token_warning(&name));
            }
            self.go_on(&topic, gate, &mut effects);
        } else {
            self.remove(&topic, gate, &mut effects);
        }
        effects
    }

    /// A push was carried out, or refused.
    pub fn done(&mut self, id: ChannelId, outcome: Result<Raw, Refusal>, gate: &mut dyn Gate) -> Vec<Effect> {
        let mut effects = Vec::new();
        let Some((topic, channel)) = self.channels.iter_mut().find(|(_, channel)| channel.id == id) else {
            return effects;
        };
        let State::Busy { reference, bytes } = std::mem::replace(&mut channel.state, State::Open) else {
            return effects;
        };
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        let (topic, join_ref, closing) = (topic.clone(), channel.join_ref.clone(), channel.closing);
        let name = Name::Text(topic.to_string());
        effects.push(Effect::Send(frame::reply(self.vsn, &join_ref, &reference, &name, outcome.as_ref())));
        if closing {
            effects.push(Effect::Send(frame::closed(self.vsn, &join_ref, &topic.to_string(), phx::CLOSE)));
            self.remove(&topic, gate, &mut effects);
        } else {
            self.go_on(&topic, gate, &mut effects);
        }
        effects
    }

    /// The server's side closed a channel (its member was removed). Nothing happens where the join is not the topic's
    /// any more.
    pub fn closed(&mut self, id: ChannelId, gate: &mut dyn Gate) -> Vec<Effect> {
        let mut effects = Vec::new();
        let found = self.channels.iter_mut().find(|(_, channel)| channel.id == id);
        let Some((topic, channel)) = found else { return effects };
        if matches!(channel.state, State::Busy { .. }) {
            // What became of the push is told, whatever becomes of the channel: it may be stored.
            channel.closing = true;
            return effects;
        }
        let (topic, join_ref) = (topic.clone(), channel.join_ref.clone());
        effects.push(Effect::Send(frame::closed(self.vsn, &join_ref, &topic.to_string(), phx::CLOSE)));
        self.remove(&topic, gate, &mut effects);
        effects
    }

    /// The socket's token was renewed and ends at `expires_at`.
    pub fn renewed(&mut self, expires_at: Timestamp) {
        self.expires_at = expires_at;
        self.warned = false;
    }

    /// When [`Self::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        if self.warned { self.expires_at.plus(TOKEN_LEEWAY) } else { self.warn_at() }
    }

    /// Looks at the clock: warns before the token ends, closes after.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        if now >= self.expires_at.plus(TOKEN_LEEWAY) {
            effects.push(Effect::Close(CloseCode::TokenExpired));
        } else if !self.warned && now >= self.warn_at() {
            self.warned = true;
            let topic = Topic::User(self.user.clone());
            if self
                .channels
                .get(&topic)
                .is_some_and(|channel| !matches!(channel.state, State::Joining { .. }))
            {
                effects.push(self.token_warning(&topic.to_string()));
            }
        }
        effects
    }

    fn warn_at(&self) -> Timestamp {
        let warning = u64::try_from(TOKEN_WARNING.as_millis()).unwrap_or(0);
        Timestamp::from_millis(self.expires_at.as_millis().saturating_sub(warning))
    }

    fn token_warning(&self, topic: &str) -> Effect {
        let payload = Raw::of(&serde_json::json!({"expires_at": self.expires_at}));
        Effect::Send(frame::broadcast(self.vsn, topic, sent::TOKEN_EXPIRING, &payload))
    }
}

#[cfg(test)]
mod any_order;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod tests;
