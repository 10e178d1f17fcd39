//! Reading messages from slots.

use std::time::Duration;

use simurgh_protocol::{ConversationId, MessageId, Raw, Refusal, Timestamp, UserId, limits, record::Message};
use tokio::time::Instant;

use super::slot::{SLOT_MESSAGES, Slot, StoredMessage, earliest_slot};
use crate::{
    Request, Worker,
    cache::Cache,
    metrics::Metrics,
    store::{Page, Query, keys},
};

/// Bytes of all remembered tails together: some 20,000 conversations'.
const TAILS_BYTES: usize = 4 * 1024 * 1024;
/// About what a tail takes beside its conversation's id, which is held twice.
const TAIL_BYTES: usize = 120;
/// How long a remembered tail is used as a start: an older one may lie far behind, which costs failed writes.
const TAIL_FRESH: Duration = Duration::from_secs(3);

/// Where logs ended when somebody looked last. A tail is a slot that was seen written, so the log ends there or later.
#[derive(Debug)]
pub(crate) struct Tails(Cache<ConversationId, (u64, Instant)>);

impl Tails {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self(Cache::new(TAILS_BYTES, metrics.cache("tails")))
    }
}

/// The last message of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Its place.
    pub(crate) seq: u64,
    /// The key of the slot it is in.
    pub(crate) slot: u64,
    /// Who sent it.
    pub(crate) sender: UserId,
    /// When.
    pub(crate) sent_at: Timestamp,
}

/// How much a reader takes: so many messages, so many bytes of them as JSON, and always one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Messages that still fit.
    pub(crate) count: usize,
    /// Bytes that still fit.
    pub(crate) bytes: usize,
}

impl Tail {
    /// The last message of a slot.
    pub(crate) fn of(slot: &Slot) -> Option<Self> {
        let last = slot.messages.last()?;
        let (sender, sent_at) = (last.sender.clone(), last.sent_at);
        Some(Self { seq: last.seq(), slot: slot.first, sender, sent_at })
    }
}

impl Room {
    /// Takes what fits, in order, up to the first that does not; the first of all always fits.
    pub(crate) fn fill<T>(
        mut self,
        items: impl IntoIterator<Item = T>,
        size: impl Fn(&T) -> usize,
    ) -> Vec<T> {
        let mut taken = Vec::new();
        for item in items {
            if !self.admit(size(&item), taken.is_empty()) {
                break;
            }
            taken.push(item);
        }
        taken
    }

    fn admit(&mut self, size: usize, first: bool) -> bool {
        if self.count == 0 || (!first && size > self.bytes) {
            return false;
        }
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub(size);
        true
    }
}

/// Bytes of an envelope that are neither messages nor changes.
pub(crate) const SLACK: usize = 32 * 1024;

/// What is left of an envelope beside these.
pub(crate) fn left<'a, T: serde::Serialize + 'a>(taken: impl IntoIterator<Item = &'a T>) -> usize {
    (limits::ENVELOPE_BYTES - SLACK).saturating_sub(taken.into_iter().map(size).sum())
}

/// The bytes of a value as JSON, with the comma behind it.
pub(crate) fn size<T: serde::Serialize>(value: &T) -> usize {
    Raw::of(value).get().len() + 1
}

impl Worker {
    /// The last message of the log now; `None` while there is none.
    pub(crate) async fn tail(&self, request: &Request, id: &ConversationId) -> Result<Option<Tail>, Refusal> {
        let query = Query { descending: true, limit: 1, ..keys::slots(id, 1, MessageId::MAX_SEQ) };
        let page = self.query(request, query).await?;
        let Some(item) = page.items.first() else { return Ok(None) };
        let tail = Tail::of(&Slot::read(item)?);
        if let Some(tail) = &tail {
            self.note_tail(id, tail.seq);
        }
        Ok(tail)
    }

    /// A `seq` up to which the log was seen written: the tail as somebody saw it a moment ago, or as it is now. 0 is
    /// the beginning.
    pub(crate) async fn recent_tail(&self, request: &Request, id: &ConversationId) -> Result<u64, Refusal> {
        let now = self.env.instant();
        match self.memory.tails.0.find(id, |(_, seen)| now < *seen + TAIL_FRESH) {
            Some((seq, _)) => Ok(seq),
            None => Ok(self.tail(request, id).await?.map_or(0, |tail| tail.seq)),
        }
    }

    /// Remembers that the log was seen written up to `seq`.
    pub(crate) fn note_tail(&self, id: &ConversationId, seq: u64) {
        let known = self.memory.tails.0.get(id).map_or(0, |(seq, _)| seq);
        let bytes = 2 * id.as_str().len() + TAIL_BYTES;
        self.memory.tails.0.put(id.clone(), (seq.max(known), self.env.instant()), bytes);
    }

    /// The message at `seq`.
    pub(crate) async fn message_at(
        &self,
        request: &Request,
        id: &ConversationId,
        seq: u64,
    ) -> Result<Option<StoredMessage>, Refusal> {
        let slot = self.slot_of(request, id, seq).await?;
        Ok(slot.and_then(|(slot, _)| slot.messages.into_iter().find(|message| message.seq() == seq)))
    }

    /// The slot that may hold `seq`, and its version.
    pub(crate) async fn slot_of(
        &self,
        request: &Request,
        id: &ConversationId,
        seq: u64,
    ) -> Result<Option<(Slot, u64)>, Refusal> {
        if seq == 0 {
            return Ok(None);
        }
        let query = Query { descending: true, limit: 1, ..keys::slots(id, earliest_slot(seq), seq) };
        let page = self.query(request, query).await?;
        let Some(item) = page.items.first() else { return Ok(None) };
        Ok(Some((Slot::read(item)?, item.version)))
    }

    /// The message of this id in this conversation.
    pub(crate) async fn message(
        &self,
        request: &Request,
        id: &ConversationId,
        message: MessageId,
    ) -> Result<Option<StoredMessage>, Refusal> {
        let found = self.message_at(request, id, message.seq()).await?;
        Ok(found.filter(|found| found.id == message))
    }

    /// The earliest messages after `after`, up to `to`, in order, as many as there is room for.
    pub(crate) async fn messages_after(
        &self,
        request: &Request,
        id: &ConversationId,
        after: u64,
        to: u64,
        room: Room,
    ) -> Result<Vec<Message>, Refusal> {
        if after >= to {
            return Ok(Vec::new());
        }
        let limit = room.count.saturating_add(SLOT_MESSAGES);
        let query = Query { limit, ..keys::slots(id, earliest_slot(after + 1), to) };
        self.messages_in(request, id, query, after + 1, to, room).await
    }

    /// The latest messages up to `to`, from the last to the first, as many as there is room for.
    pub(crate) async fn messages_before(
        &self,
        request: &Request,
        id: &ConversationId,
        to: u64,
        room: Room,
    ) -> Result<Vec<Message>, Refusal> {
        if to == 0 {
            return Ok(Vec::new());
        }
        let from = to.saturating_sub(room.count as u64 - 1).max(1);
        let limit = room.count.saturating_add(SLOT_MESSAGES);
        let query = Query { descending: true, limit, ..keys::slots(id, earliest_slot(from), to) };
        self.messages_in(request, id, query, from, to, room).await
    }

    async fn messages_in(
        &self,
        request: &Request,
        id: &ConversationId,
        mut query: Query,
        from: u64,
        to: u64,
        mut room: Room,
    ) -> Result<Vec<Message>, Refusal> {
        let mut taken: Vec<Message> = Vec::new();
        loop {
            let page = self.query(request, query.clone()).await?;
            for item in &page.items {
                let mut messages = Slot::read(item)?.messages;
                if query.descending {
                    messages.reverse();
                }
                let wanted = messages.into_iter().filter(|message| (from..=to).contains(&message.seq()));
                for message in wanted.map(|message| message.shown(id)) {
                    if !room.admit(size(&message), taken.is_empty()) {
                        return Ok(taken);
                    }
                    taken.push(message);
                }
            }
            let Some(rest) = rest(&query, &page) else { return Ok(taken) };
            query = rest;
        }
    }

    /// One page of a range, in time.
    pub(crate) async fn query(&self, request: &Request, query: Query) -> Result<Page, Refusal> {
        request.in_time(&self.env)?;
        Ok(self.store.query(query).await?)
    }
}

/// What a range holds behind this page of it; `None` where the page is the last.
pub(crate) fn rest(query: &Query, page: &Page) -> Option<Query> {
    let last = page.items.last().filter(|_| page.more)?.key.sk.parse::<u64>().ok()?;
    Some(if query.descending {
        Query { to: keys::seq_sk(last.checked_sub(1)?), ..query.clone() }
    } else {
        Query { from: keys::seq_sk(last + 1), ..query.clone() }
    })
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn room_takes_what_fits_and_at_least_one() {
        let room = Room { count: 3, bytes: 10 };
        let fill = |sizes: &[usize]| room.fill(sizes.to_vec(), |size| *size);
        assert_eq!(fill(&[99, 1]), [99]);
        assert_eq!(fill(&[4, 6, 0, 0]), [4, 6, 0]);
        assert_eq!(fill(&[4, 7, 1]), [4]);
        assert_eq!(fill(&[]), [0; 0]);
    }
}
