//! Frames on their way to a client: a header for each socket, the payload shared by all, and as many as there are in one
//! write.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::few::FewQueue;

/// Pieces of one write, two of each frame; the kernel takes 1,024.
const PIECES: usize = 256;
/// Pieces of most writes: one frame, or the two of a message on both of a member's topics.
const FEW_PIECES: usize = 4;
/// The first byte of a whole text message (RFC 6455, 5.2).
const TEXT: u8 = 0x81;

/// A whole text message, as a server sends it.
#[derive(Debug)]
struct Text {
    /// As far as it is used, and how much of it is: 2, 4 or 10 bytes.
    header: ([u8; 10], usize),
    payload: Utf8Bytes,
}

impl Text {
    fn new(payload: Utf8Bytes) -> Self {
        let length = payload.len();
        let [.., a, b] = length.to_be_bytes();
        let header = match length {
            0..=125 => ([TEXT, b, 0, 0, 0, 0, 0, 0, 0, 0], 2),
            126..=65_535 => ([TEXT, 126, a, b, 0, 0, 0, 0, 0, 0], 4),
            _ => {
                let [c, d, e, f, g, h, i, j] = (length as u64).to_be_bytes();
                ([TEXT, 127, c, d, e, f, g, h, i, j], 10)
            }
        };
        Self { header, payload }
    }

    fn parts(&self) -> [&[u8]; 2] {
        let (header, used) = &self.header;
        [header.get(..*used).unwrap_or_default(), self.payload.as_bytes()]
    }

    fn len(&self) -> usize {
        self.header.1 + self.payload.len()
    }
}

/// What is not written yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: FewQueue<Text>,
    /// Bytes of the first that are written.
    written: usize,
}

impl Outgoing {
    /// Puts a message behind the others.
    pub(super) fn push(&mut self, payload: Utf8Bytes) {
        self.frames.push(Text::new(payload));
    }

    /// Writes all of it.
    pub(super) fn poll_write<Io: AsyncWrite + Unpin>(
        &mut self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.frames.is_empty() {
            let written = if self.frames.len() * 2 <= FEW_PIECES {
                ready!(self.write_some::<FEW_PIECES, Io>(io, cx))?
            } else {
                ready!(self.write_some::<PIECES, Io>(io, cx))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what goes into so many pieces.
    fn write_some<const MOST: usize, Io: AsyncWrite + Unpin>(
        &self,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut pieces = [IoSlice::new(&[]); MOST];
        let parts = self.frames.iter().flat_map(Text::parts);
        let used = pieces.iter_mut().zip(parts).map(|(piece, part)| *piece = IoSlice::new(part)).count();
        let mut rest = pieces.get_mut(..used).unwrap_or_default();
        IoSlice::advance_slices(&mut rest, self.written);
        Pin::new(io).poll_write_vectored(cx, rest)
    }

    fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        while let Some(first) = self.frames.first()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.frames.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::duplex;
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::*;

    /// Messages of each kind of header, and more than one write takes.
    fn texts() -> Vec<String> {
        [0, 1, 125, 126, 65_535, 65_536, 70_000]
            .into_iter()
            .chain(std::iter::repeat_n(3, PIECES))
            .map(|bytes| "x".repeat(bytes))
            .collect()
    }

    #[tokio::test]
    async fn what_is_pushed_is_read_by_a_client_whatever_a_write_takes() {
        for room in [1, 7, 1_000, 1 << 20] {
            let (client, mut server) = duplex(room);
            let reads = tokio::spawn(async move {
                let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
                let mut read = Vec::new();
                while let Some(Ok(Message::Text(text))) = futures_util::StreamExt::next(&mut client).await {
                    read.push(text.to_string());
                }
                read
            });
            let mut outgoing = Outgoing::default();
            texts().into_iter().for_each(|text| outgoing.push(text.into()));
            poll_fn(|cx| outgoing.poll_write(&mut server, cx)).await.unwrap();
            drop(server);
            assert_eq!(reads.await.unwrap(), texts(), "{room}");
        }
    }
}
