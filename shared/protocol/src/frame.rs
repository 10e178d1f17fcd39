//! Frames of Phoenix Channels: their two text serializers, and [`binary`] frames.
//!
//! `vsn` 2.0.0: `[join_ref, ref, topic, event, payload]`. `vsn` 1.0.0: `{"topic", "event", "payload", "ref"}`.
//! Payloads stay raw JSON. What the server writes is compact, and its payload is always an object.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{Refusal, event::phx};

pub mod binary;
mod words;

pub use words::{Name, Raw, Ref};

/// The version of the serializer that a client asked for by `vsn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vsn {
    /// `~> 1.0.0`: objects. Also when `vsn` is absent.
    V1,
    /// `~> 2.0.0`: arrays.
    V2,
}

impl Vsn {
    /// The version that `vsn` in a URL asks for; `None` where it is not supported (such an upgrade is refused).
    /// As Phoenix: `1.0.x` and `2.0.x`, nothing shorter.
    #[must_use]
    pub fn negotiate(vsn: Option<&str>) -> Option<Self> {
        let Some(vsn) = vsn else { return Some(Self::V1) };
        let (version, patch) = match (vsn.strip_prefix("1.0."), vsn.strip_prefix("2.0.")) {
            (Some(patch), _) => (Self::V1, patch),
            (_, Some(patch)) => (Self::V2, patch),
            _ => return None,
        };
        let digits = !patch.is_empty() && patch.len() <= 9 && patch.bytes().all(|byte| byte.is_ascii_digit());
        digits.then_some(version)
    }
}

/// Why something is not a frame. The socket is closed with 1007.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFrame {
    /// A text that is not JSON of the serializer's shape.
    #[error("not a message of the protocol: {0}")]
    Text(#[from] serde_json::Error),
    /// Bytes that are not a client's binary push, or that come from a client whose serializer has none.
    #[error("not a binary message of the protocol")]
    Binary,
}

/// One frame, from either side.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The ref of the join that opened the channel. Not on the wire in `vsn` 1.
    pub join_ref: Ref,
    /// What a reply repeats.
    pub reference: Ref,
    /// The topic.
    pub topic: Name,
    /// The event.
    pub event: Name,
    /// The payload: any JSON from a client, an object from the server.
    pub payload: Raw,
}

impl Frame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// [`InvalidFrame`] where it is not JSON, not an array of at least five elements (`vsn` 2; more are ignored), or
    /// not an object with all four keys (`vsn` 1; others are ignored).
    pub fn decode(vsn: Vsn, text: &str) -> Result<Self, InvalidFrame> {
        match vsn {
            Vsn::V1 => {
                // serde would take an array of the values for the object.
                if !text.trim_ascii_start().starts_with('{') {
                    return Err(InvalidFrame::Text(de::Error::custom("not an object")));
                }
                let object: V1<'_> = serde_json::from_str(text)?;
                Ok(Self {
                    join_ref: Ref::null(),
                    reference: Ref::from_raw(object.reference),
                    topic: Name::from_raw(object.topic)?,
                    event: Name::from_raw(object.event)?,
                    payload: Raw::copied(object.payload),
                })
            }
            Vsn::V2 => {
                let V2([join_ref, reference, topic, event, payload]) = serde_json::from_str(text)?;
                Ok(Self {
                    join_ref: Ref::from_raw(join_ref),
                    reference: Ref::from_raw(reference),
                    topic: Name::from_raw(topic)?,
                    event: Name::from_raw(event)?,
                    payload: Raw::copied(payload),
                })
            }
        }
    }

    /// Reads a binary frame, whose refs are text and never null. A payload that is not JSON becomes `null`, which is no
    /// object, and so is refused wherever a payload counts.
    ///
    /// # Errors
    /// [`InvalidFrame`] where it is not a client's push, and always in `vsn` 1, which has no binary frames.
    pub fn decode_binary(vsn: Vsn, bytes: &[u8]) -> Result<Self, InvalidFrame> {
        let push = match vsn {
            Vsn::V1 => None,
            Vsn::V2 => binary::ClientPush::decode(bytes),
        }
        .ok_or(InvalidFrame::Binary)?;
        let payload = std::str::from_utf8(push.payload)
            .ok()
            .and_then(|text| Raw::from_string(text.to_owned()).ok())
            .unwrap_or_else(Raw::null);
        Ok(Self {
            join_ref: Ref::text(push.join_ref),
            reference: Ref::text(push.reference),
            topic: push.topic.into(),
            event: push.event.into(),
            payload,
        })
    }

    /// Writes a text frame.
    #[must_use]
    pub fn encode(&self, vsn: Vsn) -> Bytes {
        write(vsn, &self.join_ref, &self.reference, &self.topic, &self.event, self.payload.get())
    }
}

/// The reply to a join or a push.
#[must_use]
pub fn reply(
    vsn: Vsn,
    join_ref: &Ref,
    reference: &Ref,
    topic: &Name,
    outcome: Result<&Raw, &Refusal>,
) -> Bytes {
    let refused;
    let (response, status) = match outcome {
        Ok(response) => (response.get(), "ok"),
        Err(refusal) => {
            refused = Raw::of(refusal);
            (refused.get(), "error")
        }
    };
    let payload = format!(r#"{{"response":{response},"status":"{status}"}}"#);
    write(vsn, join_ref, reference, topic, &Name::Text(phx::REPLY.to_owned()), &payload)
}

/// A broadcast: both refs are null, so the same bytes serve every socket of that serializer.
#[must_use]
pub fn broadcast(vsn: Vsn, topic: &str, event: &str, payload: &Raw) -> Bytes {
    push(vsn, &Ref::null(), topic, event, payload)
}

/// A push to one channel: it carries that channel's join_ref.
#[must_use]
pub fn push(vsn: Vsn, join_ref: &Ref, topic: &str, event: &str, payload: &Raw) -> Bytes {
    write(vsn, join_ref, &Ref::null(), &topic.into(), &event.into(), payload.get())
}

/// `phx_close` or `phx_error`: the ref is the join's.
#[must_use]
pub fn closed(vsn: Vsn, join_ref: &Ref, topic: &str, event: &str) -> Bytes {
    let reference = match vsn {
        Vsn::V1 => &Ref::null(),
        Vsn::V2 => join_ref,
    };
    write(vsn, join_ref, reference, &topic.into(), &event.into(), "{}")
}

fn write(vsn: Vsn, join_ref: &Ref, reference: &Ref, topic: &Name, event: &Name, payload: &str) -> Bytes {
    let mut out = String::with_capacity(payload.len() + 128);
    match vsn {
        Vsn::V1 => {
            out.push_str(r#"{"event":"#);
            event.write(&mut out);
            out.push_str(r#","payload":"#);
            out.push_str(payload);
            out.push_str(r#","ref":"#);
            out.push_str(reference.json());
            out.push_str(r#","topic":"#);
            topic.write(&mut out);
            out.push('}');
        }
        Vsn::V2 => {
            out.push('[');
            out.push_str(join_ref.json());
            out.push(',');
            out.push_str(reference.json());
            out.push(',');
            topic.write(&mut out);
            out.push(',');
            event.write(&mut out);
            out.push(',');
            out.push_str(payload);
            out.push(']');
        }
    }
    out.into()
}

#[derive(Deserialize)]
struct V1<'a> {
    #[serde(borrow)]
    topic: &'a RawValue,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow, rename = "ref")]
    reference: &'a RawValue,
}

struct V2<'a>([&'a RawValue; 5]);

impl<'de: 'a, 'a> Deserialize<'de> for V2<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = [&'de RawValue; 5];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of join_ref, ref, topic, event and payload")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut element = |at| -> Result<&'de RawValue, A::Error> {
                    seq.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &"five elements"))
                };
                let elements = [element(0)?, element(1)?, element(2)?, element(3)?, element(4)?];
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(elements)
            }
        }

        deserializer.deserialize_seq(Elements).map(V2)
    }
}

#[cfg(test)]
mod tests;
