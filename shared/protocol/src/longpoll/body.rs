//! The body of a post: one frame, or a frame a line (`application/x-ndjson`), where a line that does not begin like
//! text is base64 of a binary frame.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use crate::Vsn;

/// Bytes of one post.
pub const POST_BYTES: usize = 1024 * 1024;
/// Frames of one post that are taken. Phoenix drops the others without a word; here each of them is answered with an
/// error, so that a client which sends more (phoenix.js before 1.8.5) learns of it.
pub const POST_LINES: usize = 100;
/// Frames of one post that are answered at all.
const MOST_LINES: usize = 1_000;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A frame of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Text.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// Neither.
    Invalid,
}

/// A post's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostBody {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether each line is a frame.
    pub lines: bool,
}

impl PostBody {
    /// Whether it has too many frames, or one that is larger than a frame may be.
    #[must_use]
    pub fn is_too_large(&self, max_frame_bytes: usize) -> bool {
        let mut lines = 0;
        self.each().any(|line| {
            lines += 1;
            // Base64 is larger by a third than what it stands for.
            let most = match line.first() {
                Some(b'[' | b'{') => max_frame_bytes,
                _ if self.lines => max_frame_bytes.div_ceil(3) * 4,
                _ => max_frame_bytes,
            };
            lines > MOST_LINES || line.len() > most
        })
    }

    /// The frames, and whether each is one too many, `before` lines of the same post having been taken already.
    pub fn frames(&self, vsn: Vsn, before: usize) -> impl Iterator<Item = (Line, bool)> {
        let lines = self.lines;
        self.each().enumerate().map(move |(at, bytes)| {
            let line = if !lines || vsn == Vsn::V1 || bytes.starts_with(b"[") {
                String::from_utf8(bytes.into()).map_or(Line::Invalid, Line::Text)
            } else {
                BASE64.decode(&bytes).map_or(Line::Invalid, Line::Binary)
            };
            (line, before + at >= POST_LINES)
        })
    }

    /// Parts of at most `max_bytes` that end where lines end, each with how many lines are before it. `None` where a
    /// line is longer.
    pub fn parts(&self, max_bytes: usize) -> Option<Vec<(Self, usize)>> {
        let (mut rest, mut parts, mut before) = (self.bytes.clone(), Vec::new(), 0);
        while rest.len() > max_bytes {
            let end =
                rest.get(..max_bytes)?.iter().rposition(|byte| *byte == b'\n').filter(|_| self.lines)?;
            let part = Self { bytes: rest.split_to(end + 1), lines: true };
            let lines = part.each().count();
            parts.push((part, before));
            before += lines;
        }
        parts.push((Self { bytes: rest, lines: self.lines }, before));
        Some(parts)
    }

    /// Each frame's bytes. Lines without anything in them are skipped.
    fn each(&self) -> impl Iterator<Item = Bytes> {
        let (mut rest, lines) = (Some(self.bytes.clone()), self.lines);
        std::iter::from_fn(move || {
            let mut bytes = rest.take()?;
            if !lines {
                return Some(bytes);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let line = match end {
                Some(end) => {
                    let line = bytes.split_to(end);
                    rest = Some(bytes.slice(1..));
                    line
                }
                None => bytes,
            };
            let ended = line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
            Some(line.slice(..ended))
        })
        .filter(move |line| !lines || !line.is_empty())
    }
}

#[cfg(test)]
mod tests;
