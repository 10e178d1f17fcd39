//! What waits to be written to one socket, bounded in bytes.
//!
//! Broadcasts are put in by whoever fans out and taken out by the socket's task. Past the bound nothing more is taken:
//! the channel that was refused keeps its position and reads on from the log once the socket has drained.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use simurgh_protocol::ConversationId;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::few::FewQueue;

/// Names a join on a socket: a later join of the same topic has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

/// Names a socket of this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// Something for the socket's task.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A frame for a channel; dropped where that channel is no longer the topic's.
    Frame {
        /// Which join it is for.
        channel: ChannelId,
        /// The encoded frame, shared with other mailboxes.
        bytes: Utf8Bytes,
        /// Of a message: its place in the log. 0 of everything else.
        seq: u64,
    },
    /// The server closed the channel.
    Closed {
        /// Which join.
        channel: ChannelId,
    },
}

/// The queue. Shared by the socket's task and the topics it joined.
#[derive(Debug)]
pub struct Mailbox {
    /// The socket it belongs to.
    pub socket: SocketId,
    inner: Mutex<Inner>,
    filled: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    items: FewQueue<Item>,
    bytes: usize,
    /// Topics that were refused and want to know when there is room again.
    waiting: Vec<ConversationId>,
    user_topic_waits: bool,
    /// The first message of each channel that was taken and is not written yet.
    under_way: FewQueue<(ChannelId, u64)>,
    /// Bytes that were taken and are not written yet.
    under_way_bytes: usize,
}

impl Inner {
    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop()?;
        self.bytes -= item.bytes();
        self.under_way_bytes += item.bytes();
        if let Item::Frame { channel, seq, .. } = &item
            && *seq > 0
            && self.under_way.iter().all(|(of, _)| of != channel)
        {
            self.under_way.push((*channel, *seq));
        }
        Some(item)
    }
}

impl Item {
    /// Bytes of its frame.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Frame { bytes, .. } => bytes.len(),
            Self::Closed { .. } => 0,
        }
    }
}

/// What was refused for want of room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Mailbox {
    /// A mailbox of at most `max_bytes` of frames.
    #[must_use]
    pub fn new(socket: SocketId, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { socket, inner: Mutex::default(), filled: Notify::new(), max_bytes })
    }

    /// Puts a frame for a channel in.
    ///
    /// # Errors
    /// [`Full`] where it would exceed the bound; an empty mailbox takes one frame of any size.
    pub fn push(&self, channel: ChannelId, bytes: Utf8Bytes) -> Result<(), Full> {
        self.push_logged(channel, 0, bytes)
    }

    /// Puts the message at `seq` in.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_logged(&self, channel: ChannelId, seq: u64, bytes: Utf8Bytes) -> Result<(), Full> {
        let mut inner = self.lock();
        if inner.bytes > 0 && inner.bytes + bytes.len() > self.max_bytes {
            return Err(Full);
        }
        inner.bytes += bytes.len();
        let first = inner.items.is_empty();
        inner.items.push(Item::Frame { channel, bytes, seq });
        drop(inner);
        // Who takes some and leaves some wakes itself for the rest.
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Tells that the server closed a channel. Always taken: there are only so many channels.
    pub fn close_channel(&self, channel: ChannelId) {
        self.lock().items.push(Item::Closed { channel });
        self.filled.notify_one();
    }

    /// Asks for a word to the conversation once there is room again.
    pub fn wait_for_room(&self, conversation: &ConversationId) {
        let mut inner = self.lock();
        if !inner.waiting.contains(conversation) {
            inner.waiting.push(conversation.clone());
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// Notes that a notice on the user topic was dropped.
    pub fn user_topic_missed(&self) {
        self.lock().user_topic_waits = true;
        self.filled.notify_one();
    }

    /// Takes up to `max_bytes` of what is there (at least one item) onto `taken`.
    pub fn take(&self, max_bytes: usize, taken: &mut Vec<Item>) {
        let mut inner = self.lock();
        let mut bytes = 0;
        while bytes < max_bytes {
            let Some(item) = inner.pop() else { break };
            bytes += item.bytes();
            taken.push(item);
        }
    }

    /// Takes the first.
    pub fn pop(&self) -> Option<Item> {
        self.lock().pop()
    }

    /// Who waits for room, once the mailbox is empty; then nobody waits any more.
    pub fn take_waiting(&self) -> (Vec<ConversationId>, bool) {
        let mut inner = self.lock();
        if inner.items.is_empty() {
            (std::mem::take(&mut inner.waiting), std::mem::take(&mut inner.user_topic_waits))
        } else {
            (Vec::new(), false)
        }
    }

    /// What was taken is written.
    pub fn written(&self) {
        let mut inner = self.lock();
        (inner.under_way, inner.under_way_bytes) = (FewQueue::default(), 0);
    }

    /// The first message of a channel that is not written yet, where there is one.
    #[must_use]
    pub fn unwritten(&self, of: ChannelId) -> Option<u64> {
        let inner = self.lock();
        let under_way = inner.under_way.iter().find(|(channel, _)| *channel == of).map(|(_, seq)| *seq);
        under_way.or_else(|| {
            inner.items.iter().find_map(|item| match item {
                Item::Frame { channel, seq, .. } if *channel == of && *seq > 0 => Some(*seq),
                _ => None,
            })
        })
    }

    /// Whether there is nothing to write and nobody to tell of room.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let inner = self.lock();
        inner.items.is_empty() && inner.waiting.is_empty() && !inner.user_topic_waits
    }

    /// Bytes of the frames that are not written yet.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let inner = self.lock();
        inner.bytes + inner.under_way_bytes
    }

    /// Wakes whoever waits for something to be put in.
    pub fn nudge(&self) {
        self.filled.notify_one();
    }

    /// Waits until something was put in since the last wait.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId(1);

    #[test]
    fn past_the_bound_nothing_is_taken_and_what_was_taken_stays() {
        let mailbox = Mailbox::new(SocketId(1), 10);
        assert_eq!(mailbox.push(CHANNEL, Utf8Bytes::from_static("123456")), Ok(()));
        assert_eq!(mailbox.push(CHANNEL, Utf8Bytes::from_static("12345")), Err(Full));
        mailbox.close_channel(CHANNEL);
        let mut taken = Vec::new();
        mailbox.take(usize::MAX, &mut taken);
        assert_eq!(taken.len(), 2);
        assert_eq!(mailbox.push(CHANNEL, Utf8Bytes::from_static("12345")), Ok(()));
    }

    #[test]
    fn who_waits_for_room_is_told_once_when_it_is_empty() {
        let mailbox = Mailbox::new(SocketId(1), 10);
        let conversation = ConversationId::new("c").unwrap();
        mailbox.push(CHANNEL, Utf8Bytes::from_static("1")).unwrap();
        mailbox.wait_for_room(&conversation);
        mailbox.wait_for_room(&conversation);
        assert_eq!(mailbox.take_waiting(), (vec![], false));
        mailbox.take(usize::MAX, &mut Vec::new());
        assert_eq!(mailbox.take_waiting(), (vec![conversation], false));
        assert!(mailbox.is_idle());
    }

    #[test]
    fn a_message_counts_as_written_once_what_was_taken_is() {
        let mailbox = Mailbox::new(SocketId(1), 100);
        let message = |channel, seq| mailbox.push_logged(channel, seq, Utf8Bytes::from_static("1")).unwrap();
        let other = ChannelId(2);
        assert_eq!(mailbox.unwritten(CHANNEL), None);
        mailbox.push(CHANNEL, Utf8Bytes::from_static("no message")).unwrap();
        message(other, 70);
        (5..8).for_each(|seq| message(CHANNEL, seq));
        assert_eq!((mailbox.unwritten(CHANNEL), mailbox.unwritten(other)), (Some(5), Some(70)));
        mailbox.take(12, &mut Vec::new());
        assert_eq!((mailbox.unwritten(CHANNEL), mailbox.unwritten(other)), (Some(5), Some(70)), "under way");
        assert_eq!(mailbox.bytes(), "no message".len() + 4, "what is under way is not written");
        mailbox.written();
        assert_eq!(mailbox.bytes(), 2);
        assert_eq!((mailbox.unwritten(CHANNEL), mailbox.unwritten(other)), (Some(6), None));
        mailbox.take(usize::MAX, &mut Vec::new());
        mailbox.written();
        assert_eq!(mailbox.unwritten(CHANNEL), None);
    }

    #[test]
    fn one_frame_of_any_size_fits_into_an_empty_mailbox() {
        let mailbox = Mailbox::new(SocketId(1), 10);
        assert_eq!(mailbox.push(CHANNEL, Utf8Bytes::from("x".repeat(100))), Ok(()));
        assert_eq!(mailbox.push(CHANNEL, Utf8Bytes::from_static("1")), Err(Full));
    }
}
