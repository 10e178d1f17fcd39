//! What becomes of a frame.

use std::collections::VecDeque;

use simurgh_protocol::{
    Frame, Push, Raw, Reason, Ref, Refusal, Timestamp, Topic,
    event::{RateClass, phx},
    frame,
    limits::PAYLOAD_LEVELS,
    topic,
};

use super::{Channel, Effect, Gate, PATIENCE, Session, State, Waiting};
use crate::{
    mailbox::ChannelId,
    metrics::{Asked, kind},
    rates::exceeded,
};

impl Session {
    pub(super) fn frame(
        &mut self,
        Waiting { at, frame, counted }: Waiting,
        gate: &mut dyn Gate,
        effects: &mut Vec<Effect>,
    ) {
        let event = frame.event.as_text().unwrap_or_default();
        if frame.topic.as_text() == Some(topic::PHOENIX) && event == phx::HEARTBEAT {
            let ok = frame::reply(self.vsn, &Ref::null(), &frame.reference, &frame.topic, Ok(&Raw::empty()));
            effects.push(Effect::Send(ok));
            return;
        }
        let topic = frame.topic.as_text().and_then(Topic::parse);
        let Some((topic, channel)) = topic.and_then(|topic| {
            let channel = self.channels.get_mut(&topic)?;
            Some((topic, channel))
        }) else {
            self.not_joined(at, &frame, gate, effects);
            return;
        };
        if matches!(channel.state, State::Open) {
            self.on_channel(&topic, Waiting { at, frame, counted }, gate, effects);
            return;
        }
        // What is beyond the user's rate does not wait for its turn to be refused.
        let counts = !counted && !matches!(event, phx::JOIN | phx::LEAVE);
        if counts && let Err(retry_after) = gate.count(rate_class(&topic, Some(event))) {
            let join_ref = channel.join_ref.clone();
            self.refuse(&join_ref, &frame, &exceeded(retry_after), gate, effects);
            return;
        }
        self.held_bytes += frame.payload.get().len();
        self.waiting += 1;
        channel.waiting.push_back(Waiting { at, frame, counted: counted || counts });
    }

    /// A frame for a topic that has no channel.
    fn not_joined(&mut self, at: Timestamp, frame: &Frame, gate: &mut dyn Gate, effects: &mut Vec<Effect>) {
        let topic = frame.topic.as_text().and_then(Topic::parse);
        match (frame.event.as_text(), topic) {
            (Some(phx::LEAVE), _) => {
                let ok = frame::reply(
                    self.vsn,
                    &frame.join_ref,
                    &frame.reference,
                    &frame.topic,
                    Ok(&Raw::empty()),
                );
                effects.push(Effect::Send(ok));
            }
            (Some(phx::JOIN), Some(topic)) => self.join(topic, at, frame, None, gate, effects),
            _ => {
                let refusal = Refusal::new(Reason::UnmatchedTopic, "no channel is joined on this topic");
                self.refuse(&Ref::null(), frame, &refusal, gate, effects);
            }
        }
    }

    fn join(
        &mut self,
        topic: Topic,
        at: Timestamp,
        frame: &Frame,
        replaces: Option<Channel>,
        gate: &mut dyn Gate,
        effects: &mut Vec<Effect>,
    ) {
        let refusal = self.refuse_join(&topic, frame, replaces.is_some(), gate);
        if let Some(refusal) = refusal {
            self.refuse(&frame.join_ref, frame, &refusal, gate, effects);
            if let Some(old) = replaces {
                // The old channel goes even so, as in Phoenix.
                let closed = frame::closed(self.vsn, &old.join_ref, &topic.to_string(), phx::CLOSE);
                effects.push(Effect::Send(closed));
                self.release(old.waiting, gate, effects);
            }
            return;
        }
        self.last_channel += 1;
        let id = ChannelId(self.last_channel);
        let (old_ref, waiting) = replaces.map(|old| (old.join_ref, old.waiting)).unzip();
        let channel = Box::new(Channel {
            id,
            join_ref: frame.join_ref.clone(),
            state: State::Joining { reference: frame.reference.clone(), replaces: old_ref },
            waiting: waiting.unwrap_or_default(),
            closing: false,
        });
        self.channels.insert(topic.clone(), channel);
        effects.push(Effect::Join { channel: id, topic, params: frame.payload.clone(), asked_at: at });
    }

    fn refuse_join(
        &self,
        topic: &Topic,
        frame: &Frame,
        replaces: bool,
        gate: &mut dyn Gate,
    ) -> Option<Refusal> {
        if let Err(refusal) = well_formed(&frame.payload) {
            return Some(refusal);
        }
        if matches!(topic, Topic::User(user) if *user != self.user) {
            return Some(Refusal::new(Reason::Unauthorized, "this is another user's topic"));
        }
        if !replaces && self.channels.len() >= self.max_channels {
            let message = format!("a socket may have {} channels", self.max_channels);
            return Some(Refusal::new(Reason::TooManyChannels, message));
        }
        gate.count(RateClass::Joins).err().map(exceeded)
    }

    /// A frame for a channel with nothing under way.
    fn on_channel(
        &mut self,
        topic: &Topic,
        Waiting { at, frame, counted }: Waiting,
        gate: &mut dyn Gate,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(topic) else { return };
        let (id, join_ref) = (channel.id, channel.join_ref.clone());
        match frame.event.as_text() {
            Some(phx::JOIN) => {
                if let Some(old) = self.channels.remove(topic) {
                    effects.push(Effect::Leave { channel: id, topic: topic.clone() });
                    self.join(topic.clone(), at, &frame, Some(*old), gate, effects);
                }
            }
            // A leave that does not name this join is stale; Phoenix ignores it without a reply.
            Some(phx::LEAVE) if frame.join_ref != join_ref => {}
            Some(phx::LEAVE) => {
                let ok = frame::reply(self.vsn, &join_ref, &frame.reference, &frame.topic, Ok(&Raw::empty()));
                effects.push(Effect::Send(ok));
                let closed = frame::closed(self.vsn, &join_ref, &topic.to_string(), phx::CLOSE);
                effects.push(Effect::Send(closed));
                self.remove(topic, gate, effects);
            }
            _ if gate.now().since(at) >= PATIENCE => {
                let refusal = Refusal::unavailable("it waited too long behind others");
                self.refuse(&join_ref, &frame, &refusal, gate, effects);
            }
            event => match accept(topic, event, &frame, counted, gate) {
                Err(refusal) => self.refuse(&join_ref, &frame, &refusal, gate, effects),
                Ok(Push::Ping) => {
                    gate.answered(Asked::Push(Some(Push::Ping)), None);
                    self.ping(&join_ref, &frame, gate.now(), effects);
                }
                Ok(push) => {
                    let bytes = frame.payload.get().len();
                    self.held_bytes += bytes;
                    channel.state = State::Busy { reference: frame.reference, bytes };
                    effects.push(Effect::Do {
                        channel: id,
                        topic: topic.clone(),
                        push,
                        payload: frame.payload,
                        asked_at: at,
                    });
                }
            },
        }
    }

    fn ping(&self, join_ref: &Ref, frame: &Frame, now: Timestamp, effects: &mut Vec<Effect>) {
        #[derive(serde::Deserialize)]
        struct Ping {
            timestamp: Option<serde_json::Value>,
        }
        let timestamp = frame.payload.parse::<Ping>().ok().and_then(|ping| ping.timestamp);
        let pong = Raw::of(&serde_json::json!({"pong": timestamp, "server_time": now}));
        let reply = frame::reply(self.vsn, join_ref, &frame.reference, &frame.topic, Ok(&pong));
        effects.push(Effect::Send(reply));
    }

    /// Nothing is under way on the topic any more: the frames that waited have their turn.
    pub(super) fn go_on(&mut self, topic: &Topic, gate: &mut dyn Gate, effects: &mut Vec<Effect>) {
        while let Some(channel) = self.channels.get_mut(topic) {
            if !matches!(channel.state, State::Open) {
                return;
            }
            let Some(waiting) = channel.waiting.pop_front() else { return };
            self.let_go(&waiting);
            self.on_channel(topic, waiting, gate, effects);
        }
    }

    /// Takes the channel away; frames that waited find no channel.
    pub(super) fn remove(&mut self, topic: &Topic, gate: &mut dyn Gate, effects: &mut Vec<Effect>) {
        if let Some(channel) = self.channels.remove(topic) {
            effects.push(Effect::Leave { channel: channel.id, topic: topic.clone() });
            self.release(channel.waiting, gate, effects);
        }
    }

    fn release(&mut self, waiting: VecDeque<Waiting>, gate: &mut dyn Gate, effects: &mut Vec<Effect>) {
        waiting.iter().for_each(|waiting| self.let_go(waiting));
        for waiting in waiting {
            self.frame(waiting, gate, effects);
        }
    }

    fn let_go(&mut self, waiting: &Waiting) {
        self.waiting = self.waiting.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(waiting.frame.payload.get().len());
    }

    pub(super) fn refuse(
        &self,
        join_ref: &Ref,
        frame: &Frame,
        refusal: &Refusal,
        gate: &mut dyn Gate,
        effects: &mut Vec<Effect>,
    ) {
        gate.answered(asked(frame), Some(refusal.reason));
        let reply = frame::reply(self.vsn, join_ref, &frame.reference, &frame.topic, Err(refusal));
        effects.push(Effect::Send(reply));
    }
}

/// What the frame asks for, as it is counted.
fn asked(frame: &Frame) -> Asked {
    let topic = frame.topic.as_text().and_then(Topic::parse);
    match frame.event.as_text() {
        Some(phx::JOIN) => Asked::Join(topic.as_ref().map_or("other", kind)),
        event => Asked::Push(topic.zip(event).and_then(|(topic, event)| Push::parse(&topic, event))),
    }
}

fn rate_class(topic: &Topic, event: Option<&str>) -> RateClass {
    let push = event.and_then(|event| Push::parse(topic, event));
    push.map_or(RateClass::Pushes, Push::rate_class)
}

/// The push that a frame asks for, if it may. It counts in the user's rate, unless it was `counted` before.
fn accept(
    topic: &Topic,
    event: Option<&str>,
    frame: &Frame,
    counted: bool,
    gate: &mut dyn Gate,
) -> Result<Push, Refusal> {
    if !counted {
        gate.count(rate_class(topic, event)).map_err(exceeded)?;
    }
    let push = event.and_then(|event| Push::parse(topic, event));
    let push = push.ok_or_else(|| Refusal::new(Reason::UnknownEvent, "this channel knows no such event"))?;
    well_formed(&frame.payload)?;
    Ok(push)
}

fn well_formed(payload: &Raw) -> Result<(), Refusal> {
    if !payload.is_object() {
        return Err(Refusal::invalid("payload", "must be an object"));
    }
    if !payload.is_within(PAYLOAD_LEVELS) {
        return Err(Refusal::invalid("payload", format!("must nest at most {PAYLOAD_LEVELS} levels deep")));
    }
    Ok(())
}
