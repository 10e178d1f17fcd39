//! The forms in which what happens is written for whom it is told to.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use simurgh_protocol::{Raw, Ref, Vsn, frame};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// How a channel's frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A socket's serializer.
    Phoenix(Vsn),
    /// A [`Told`], for a subscription.
    Event,
}

/// What a subscription is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Told {
    /// The event's name.
    pub event: String,
    /// Of a change to a message: its place in the log of changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_seq: Option<u64>,
    /// What sockets get.
    pub payload: Raw,
}

impl From<Vsn> for Form {
    fn from(vsn: Vsn) -> Self {
        Self::Phoenix(vsn)
    }
}

impl Form {
    /// A frame of one channel's own.
    #[must_use]
    pub fn push(self, join_ref: &Ref, topic: &str, event: &str, payload: &Raw) -> Utf8Bytes {
        match self {
            Self::Phoenix(vsn) => text(frame::push(vsn, join_ref, topic, event, payload)),
            Self::Event => told(event, None, payload),
        }
    }
}

/// A broadcast: a payload and its frames, encoded when first needed, once for each form.
pub struct Encoded<'a> {
    topic: &'a str,
    event: &'a str,
    change_seq: Option<u64>,
    payload: &'a Raw,
    frames: [Option<Utf8Bytes>; 3],
}

impl<'a> Encoded<'a> {
    /// What is told on the topic.
    #[must_use]
    pub const fn new(topic: &'a str, event: &'a str, payload: &'a Raw) -> Self {
        Self { topic, event, change_seq: None, payload, frames: [None, None, None] }
    }

    /// The same, of a change to a message.
    #[must_use]
    pub fn of_change(self, change_seq: u64) -> Self {
        Self { change_seq: Some(change_seq), ..self }
    }

    /// The frame in that form.
    pub fn frame(&mut self, form: Form) -> Utf8Bytes {
        let [v1, v2, plain] = &mut self.frames;
        let slot = match form {
            Form::Phoenix(Vsn::V1) => v1,
            Form::Phoenix(Vsn::V2) => v2,
            Form::Event => plain,
        };
        let encode = || match form {
            Form::Phoenix(vsn) => text(frame::broadcast(vsn, self.topic, self.event, self.payload)),
            Form::Event => told(self.event, self.change_seq, self.payload),
        };
        slot.get_or_insert_with(encode).clone()
    }
}

/// An encoded frame as mailboxes and the WebSocket take it.
#[must_use]
pub fn text(frame: Bytes) -> Utf8Bytes {
    // Frames are written from text; anything else would be a fault that must not reach a client.
    Utf8Bytes::try_from(frame).unwrap_or_default()
}

fn told(event: &str, change_seq: Option<u64>, payload: &Raw) -> Utf8Bytes {
    let told = Told { event: event.to_owned(), change_seq, payload: payload.clone() };
    Raw::of(&told).get().into()
}
