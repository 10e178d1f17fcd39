//! Bytes on the wire: WebSocket frames of whole messages, and the elements of a Phoenix V2 message, taken apart without
//! a JSON parser, for the generator reads as much as every socket of the server writes.

use memchr::memmem;

/// A message's mark in its content: `~sender.count.scheduled_us~`.
const MARK: &str = "~sl";

/// What the next bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A whole message, and how many bytes it took.
    Text(&'a [u8], usize),
    /// A ping's payload, which wants a pong.
    Ping(&'a [u8], usize),
    /// The other side closes, with this code.
    Close(u16),
    /// Something to be passed over.
    Other(usize),
    /// More bytes are needed.
    Partial,
    /// Nothing that this reads: a fragment, or a length that no server of the protocol sends here.
    Bad,
}

/// Longest message that is taken, in bytes.
const MAX_FRAME: usize = 16 * 1024 * 1024;

/// Reads the header of the frame that `bytes` begin with: opcode, mask, length of header and payload.
fn header(bytes: &[u8]) -> Option<(u8, Option<[u8; 4]>, usize, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        short => (usize::from(short), 2),
    };
    let mut mask = None;
    if second & 0x80 != 0 {
        mask = Some(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4;
    }
    Some((first, mask, at, length))
}

/// The next frame that a server sent.
pub fn next(bytes: &[u8]) -> Next<'_> {
    let Some((first, _, at, length)) = header(bytes) else { return Next::Partial };
    if length > MAX_FRAME {
        return Next::Bad;
    }
    let Some(payload) = bytes.get(at..at + length) else { return Next::Partial };
    let taken = at + length;
    match first {
        0x81 => Next::Text(payload, taken),
        0x89 => Next::Ping(payload, taken),
        0x88 => Next::Close(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))),
        0x82 | 0x8a => Next::Other(taken),
        _ => Next::Bad,
    }
}

/// The next frame that a client sent, unmasked: opcode and payload, and how many bytes it took. `None` for part of one.
pub fn next_of_client(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (first, mask, at, length) = header(bytes)?;
    let mut payload = bytes.get(at..at.checked_add(length)?)?.to_vec();
    if let Some(mask) = mask.filter(|mask| *mask != [0; 4]) {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
    Some((first & 0x0f, payload, at + length))
}

/// Writes a frame. A client's is masked, by a key of zeros: the server does the same work for it, and this does none.
pub fn write(out: &mut Vec<u8>, opcode: u8, masked: bool, payload: &[u8]) {
    let bit = if masked { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    let length = payload.len();
    if let (Ok(short), true) = (u8::try_from(length), length < 126) {
        out.push(bit | short);
    } else if let Ok(medium) = u16::try_from(length) {
        out.push(bit | 126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(bit | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
    if masked {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(payload);
}

/// The elements of `[join_ref, ref, topic, event, payload]`; refs are empty where they are null.
#[derive(Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    pub join_ref: &'a [u8],
    pub reference: &'a [u8],
    pub topic: &'a [u8],
    pub event: &'a [u8],
    /// To the end of the message, its closing bracket included.
    pub payload: &'a [u8],
}

/// Takes a compact message apart whose first four elements hold no escapes, as all do that this tool names.
pub fn elements(text: &[u8]) -> Option<Elements<'_>> {
    let rest = text.strip_prefix(b"[")?;
    let (join_ref, rest) = element(rest)?;
    let (reference, rest) = element(rest)?;
    let (topic, rest) = element(rest)?;
    let (event, payload) = element(rest)?;
    Some(Elements { join_ref, reference, topic, event, payload })
}

/// A string without escapes or a null, and what follows the comma.
fn element(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(rest) = text.strip_prefix(b"null,") {
        return Some((b"", rest));
    }
    let text = text.strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', text)?;
    let rest = text.get(end + 1..)?.strip_prefix(b",")?;
    Some((text.get(..end)?, rest))
}

/// Who sent a message, as which of theirs, and when that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Place among the conversation's members.
    pub sender: u32,
    /// 1, 2, 3, … for each sender.
    pub count: u64,
    /// Microseconds since the run began.
    pub due_us: u64,
}

/// Content of `bytes` bytes (more where the mark is longer) that holds a mark.
pub fn content(mark: Mark, bytes: usize) -> String {
    let mut text = format!("{MARK}{}.{}.{}~", mark.sender, mark.count, mark.due_us);
    while text.len() < bytes {
        text.push('x');
    }
    text
}

/// Finds marks and numbers in payloads.
pub struct Finder {
    mark: memmem::Finder<'static>,
    seq: memmem::Finder<'static>,
    ok: memmem::Finder<'static>,
}

impl Finder {
    pub fn new() -> Self {
        Self {
            mark: memmem::Finder::new(MARK),
            seq: memmem::Finder::new("\"seq\":"),
            ok: memmem::Finder::new("\"status\":\"ok\""),
        }
    }

    /// The mark in a payload.
    pub fn mark(&self, payload: &[u8]) -> Option<Mark> {
        let rest = payload.get(self.mark.find(payload)? + MARK.len()..)?;
        let (sender, rest) = number(rest)?;
        let (count, rest) = number(rest.strip_prefix(b".")?)?;
        let (due_us, rest) = number(rest.strip_prefix(b".")?)?;
        rest.starts_with(b"~").then_some(Mark { sender: u32::try_from(sender).ok()?, count, due_us })
    }

    /// The `seq` of a message.
    pub fn seq(&self, payload: &[u8]) -> Option<u64> {
        Some(number(payload.get(self.seq.find(payload)? + 6..)?)?.0)
    }

    /// Whether a reply says ok.
    pub fn is_ok(&self, payload: &[u8]) -> bool {
        self.ok.find(payload).is_some()
    }
}

/// The digits that `text` begins with, and what follows.
pub fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits)?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_length_reads_back_and_part_of_one_waits() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'a'; length];
            let mut bytes = Vec::new();
            write(&mut bytes, 1, false, &payload);
            assert_eq!(next(&bytes), Next::Text(&payload, bytes.len()));
            assert_eq!(next(&bytes[..bytes.len() - 1]), Next::Partial);
            bytes.clear();
            write(&mut bytes, 1, true, &payload);
            assert_eq!(next_of_client(&bytes), Some((1, payload, bytes.len())));
        }
        assert_eq!(next(b"\x88\x02\x03\xf4"), Next::Close(1012));
    }

    #[test]
    fn a_message_comes_apart() {
        let text = br#"[null,"7","conversation:c","phx_reply",{"response":{},"status":"ok"}]"#;
        let parts = elements(text).unwrap();
        assert_eq!((parts.join_ref, parts.reference), (&b""[..], &b"7"[..]));
        assert_eq!((parts.topic, parts.event), (&b"conversation:c"[..], &b"phx_reply"[..]));
        assert!(Finder::new().is_ok(parts.payload));
        assert_eq!(elements(b"{}"), None);
    }

    #[test]
    fn a_mark_and_a_seq_are_found() {
        let mark = Mark { sender: 3, count: 14, due_us: 159_265 };
        let payload = format!(r#"{{"seq":41,"content":"{}"}}]"#, content(mark, 128));
        let finder = Finder::new();
        assert_eq!(finder.mark(payload.as_bytes()), Some(mark));
        assert_eq!(finder.seq(payload.as_bytes()), Some(41));
        assert_eq!(finder.mark(b"~sl1.2"), None);
    }
}
