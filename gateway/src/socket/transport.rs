//! How frames travel between a client and its socket's task.

use std::{
    future::Future,
    task::{Context, Poll},
};

use bytes::Bytes;
use simurgh_protocol::CloseCode;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A client's frame.
#[derive(Debug, PartialEq)]
pub struct Incoming {
    /// What came.
    pub data: Data,
    /// It came with more others than are taken at once: it is refused.
    pub excess: bool,
}

/// What a frame is made of.
#[derive(Debug, PartialEq)]
pub enum Data {
    /// Text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl From<Data> for Incoming {
    fn from(data: Data) -> Self {
        Self { data, excess: false }
    }
}

/// How a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closed it, or is gone.
    Gone,
    /// The server closes it.
    Close(CloseCode),
}

/// Something that happened on a transport.
#[derive(Debug, PartialEq)]
pub enum Happened {
    /// A frame came.
    Received(Incoming),
    /// Something came that is no frame.
    Heard,
    /// The client asks for what there is.
    Asked,
    /// What was given is on its way.
    Written,
    /// No more can come.
    Ended(End),
}

/// One client's connection, of whichever kind.
pub trait Transport: Send + 'static {
    /// What metrics call it.
    const NAME: &'static str;

    /// Bytes that are worth one write.
    const BATCH: usize;

    /// Writes what was given, then reads, where `reads`. Safe to drop and call again.
    fn next(&mut self, reads: bool) -> impl Future<Output = Happened> + Send;

    /// Writes what was given, as far as that can be done at once: whether it is done.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Happened>;

    /// Takes a frame for the client.
    fn give(&mut self, frame: Utf8Bytes);

    /// Whether anything was given that is not on its way.
    fn owes(&self) -> bool;

    /// Whether so much was given that is not on its way that nothing more should be done for the client.
    fn is_behind(&self) -> bool;

    /// Whether it would write frames of the mailbox now. Until then they wait there, where they are bounded.
    fn takes_mail(&self) -> bool;

    /// When [`Self::tick`] is due.
    fn deadline(&mut self) -> Instant;

    /// Looks at the clock: whether the client is silent, or takes nothing, for too long.
    fn tick(&mut self) -> Option<CloseCode>;

    /// Takes leave of the client, within moments.
    fn end(&mut self, end: End) -> impl Future<Output = ()> + Send;
}
