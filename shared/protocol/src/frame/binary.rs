//! Binary frames of `vsn` 2.0.0. Each begins with its kind and the lengths of what follows, one byte each:
//!
//! | frame | layout |
//! | --- | --- |
//! | a client's push | `0`, lengths of join_ref, ref, topic, event; then these, then the payload |
//! | a server's push | `0`, lengths of join_ref, topic, event; then these, then the payload |
//! | a reply | `1`, lengths of join_ref, ref, topic, status; then these, then the response |
//! | a broadcast | `2`, lengths of topic, event; then these, then the payload |
//!
//! This server answers in text, as payloads are JSON; of what it reads, only a client's push is allowed.

use bytes::Bytes;

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPush<'a> {
    /// Of the join; `""` where there is none.
    pub join_ref: &'a str,
    /// What a reply repeats; `""` where there is none.
    pub reference: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The event.
    pub event: &'a str,
    /// Any bytes.
    pub payload: &'a [u8],
}

/// What a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// To one channel.
    Push {
        /// That channel's.
        join_ref: &'a str,
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// Any bytes.
        payload: &'a [u8],
    },
    /// To a push or a join.
    Reply {
        /// The channel's.
        join_ref: &'a str,
        /// What it answers.
        reference: &'a str,
        /// The topic.
        topic: &'a str,
        /// `ok` or `error`.
        status: &'a str,
        /// Any bytes.
        response: &'a [u8],
    },
    /// To all in the topic.
    Broadcast {
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// Any bytes.
        payload: &'a [u8],
    },
}

impl<'a> ClientPush<'a> {
    /// Reads a frame; `None` where it is another one, is cut off, or names something that is not UTF-8.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (PUSH, rest) = split(bytes)? else { return None };
        let ([join_ref, reference, topic, event], payload) = parts(rest)?;
        Some(Self { join_ref, reference, topic, event, payload })
    }

    /// Writes a frame; `None` where a part is longer than 255 bytes.
    #[must_use]
    pub fn encode(&self) -> Option<Bytes> {
        write(PUSH, [self.join_ref, self.reference, self.topic, self.event], self.payload)
    }
}

impl<'a> ServerFrame<'a> {
    /// Reads a frame; `None` where it is not one, is cut off, or names something that is not UTF-8.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        match split(bytes)? {
            (PUSH, rest) => {
                let ([join_ref, topic, event], payload) = parts(rest)?;
                Some(Self::Push { join_ref, topic, event, payload })
            }
            (REPLY, rest) => {
                let ([join_ref, reference, topic, status], response) = parts(rest)?;
                Some(Self::Reply { join_ref, reference, topic, status, response })
            }
            (BROADCAST, rest) => {
                let ([topic, event], payload) = parts(rest)?;
                Some(Self::Broadcast { topic, event, payload })
            }
            _ => None,
        }
    }

    /// Writes a frame; `None` where a part is longer than 255 bytes.
    #[must_use]
    pub fn encode(&self) -> Option<Bytes> {
        match *self {
            Self::Push { join_ref, topic, event, payload } => write(PUSH, [join_ref, topic, event], payload),
            Self::Reply { join_ref, reference, topic, status, response } => {
                write(REPLY, [join_ref, reference, topic, status], response)
            }
            Self::Broadcast { topic, event, payload } => write(BROADCAST, [topic, event], payload),
        }
    }
}

fn split(bytes: &[u8]) -> Option<(u8, &[u8])> {
    bytes.split_first().map(|(kind, rest)| (*kind, rest))
}

/// The `N` parts that as many lengths announce, and what is left.
fn parts<const N: usize>(bytes: &[u8]) -> Option<([&str; N], &[u8])> {
    let (lengths, mut rest) = bytes.split_first_chunk::<N>()?;
    let mut parts = [""; N];
    for (part, length) in parts.iter_mut().zip(lengths) {
        let (text, after) = rest.split_at_checked(usize::from(*length))?;
        *part = std::str::from_utf8(text).ok()?;
        rest = after;
    }
    Some((parts, rest))
}

fn write<const N: usize>(kind: u8, parts: [&str; N], payload: &[u8]) -> Option<Bytes> {
    let length = 1 + N + parts.iter().map(|part| part.len()).sum::<usize>() + payload.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.push(kind);
    for part in parts {
        bytes.push(u8::try_from(part.len()).ok()?);
    }
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(payload);
    Some(bytes.into())
}

#[cfg(test)]
mod tests;
