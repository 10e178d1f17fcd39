//! What gateways ask each other for long-poll sessions: any of them answers for a session that another one holds.
//!
//! Both ways the envelope is followed by a line feed and bytes that are passed on as they are: a part of a post's body,
//! or of a poll's messages.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{InvalidEnvelope, decode, encode};

/// What is asked of the gateway that holds the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongPollCall {
    /// Its next messages.
    Poll {
        /// Which session, by the secret in its token.
        session: String,
        /// The number of the messages that the client got last, where it says so.
        seen: Option<u64>,
        /// How many bytes of these messages were handed over before.
        from: usize,
        /// Names this poll.
        poll: u64,
    },
    /// Nobody waits for the answer to a poll any more. There is no answer to this.
    Leave {
        /// Of which session.
        session: String,
        /// Which poll.
        poll: u64,
    },
    /// To take frames. The bytes are lines, or one frame.
    Post {
        /// Which session.
        session: String,
        /// Whether each line is a frame.
        lines: bool,
        /// How many lines of the same post went before.
        before: usize,
    },
}

/// What the gateway that holds the session, or does not, answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongPollAnswer {
    /// Messages, as JSON texts in a JSON array. The bytes are what follows the `from` bytes handed over before.
    Messages {
        /// Their number.
        number: u64,
        /// How many bytes they are in all.
        total: usize,
    },
    /// Nothing happened within a window.
    Nothing,
    /// A newer poll took this one's place.
    Displaced,
    /// There is no such session (any more).
    Gone,
    /// The session is over; a new one is welcome.
    Restart,
    /// The session is over, and so is its token.
    Forbidden,
    /// The frames were taken.
    Taken,
    /// The session ended while it took the frames, or did not take them in time.
    Late,
}

/// The bytes of an envelope and of what follows it.
#[must_use]
pub fn encode_with<T: Serialize>(envelope: &T, rest: &[u8]) -> Bytes {
    let mut bytes = Vec::from(encode(envelope));
    bytes.push(b'\n');
    bytes.extend_from_slice(rest);
    bytes.into()
}

/// The envelope in these bytes, and where what follows it begins.
///
/// # Errors
/// [`InvalidEnvelope`] where it cannot be read.
pub fn decode_with<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), InvalidEnvelope> {
    // JSON as it is written here holds no line feed.
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let envelope = bytes.get(..end).unwrap_or_default();
    Ok((decode(envelope)?, bytes.len().min(end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_an_envelope_is_passed_on_as_it_is() {
        let call = LongPollCall::Post { session: "a\nb".to_owned(), lines: true, before: 0 };
        for rest in [&b""[..], b"[1]\n[2]\n", b"\xff\n"] {
            let bytes = encode_with(&call, rest);
            let (back, at) = decode_with::<LongPollCall>(&bytes).unwrap();
            assert_eq!((back, &bytes[at..]), (call.clone(), rest));
        }
        assert!(decode_with::<LongPollCall>(b"").is_err());
        assert!(decode_with::<LongPollCall>(b"junk\n").is_err());
    }
}
