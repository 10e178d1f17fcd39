//! Reads of many keys: batched direct gets ([ADR-31]), without a consumer.
//!
//! One request names many filters (`multi_last`) and is answered with a message for each key, and one at the end. The
//! server refuses (413) when more than 1,024 keys match: then the filters are halved, and a single filter of that kind
//! is read in the order of the stream instead (`next_by_subj`).
//!
//! [ADR-31]: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md

use std::collections::{BTreeMap, BTreeSet};

use async_nats::{
    Client, Message, StatusCode, Subscriber,
    header::{NATS_LAST_SEQUENCE, NATS_SEQUENCE},
};
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::timeout;

use super::{
    error,
    keys::{JETSTREAM_WAIT, found, number, refused},
    requests::Requests,
};
use crate::{BusError, Entry, Filter, Key, SUBSCRIPTION_CAPACITY, subject::BucketSubjects};

/// How many filters one request names. A filter has at most some 400 bytes, and a request 1 MiB.
const FILTERS: usize = 256;

/// How many keys one request is answered with: they and the end fit in a subscription.
const BATCH: usize = SUBSCRIPTION_CAPACITY / 2;

/// How often a page is asked for again, when a key went away or a message was lost while it was read.
const ATTEMPTS: usize = 3;

/// How many keys are still to come.
const NUM_PENDING: &str = "Nats-Num-Pending";

/// The request of a direct get.
#[derive(Clone, Serialize)]
struct Ask {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    multi_last: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<String>,
    batch: usize,
    /// The first sequence that is wanted.
    seq: u64,
}

/// How a page ended.
enum End {
    /// The first sequence of the next page; `None` after the last.
    Next(Option<u64>),
    /// Too many keys match.
    TooMany,
    /// Something was lost on the way: ask again.
    Torn,
}

/// A read of many keys of one bucket.
pub(super) struct Pages<'a> {
    client: &'a Client,
    requests: &'a Requests,
    subjects: &'a BucketSubjects,
    entries: BTreeMap<Key, Entry>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(client: &'a Client, requests: &'a Requests, subjects: &'a BucketSubjects) -> Self {
        Self { client, requests, subjects, entries: BTreeMap::new() }
    }

    /// All keys that match, in order.
    pub(super) async fn read(mut self, filters: &[Filter]) -> Result<Vec<Entry>, BusError> {
        let filters: BTreeSet<&Filter> = filters.iter().collect();
        let filters: Vec<String> =
            filters.into_iter().map(|filter| self.subjects.of(filter.as_str())).collect();
        let mut rest: Vec<&[String]> = filters.chunks(FILTERS).collect();
        while let Some(chunk) = rest.pop() {
            let ask = Ask { multi_last: chunk.to_vec(), next_by_subj: None, batch: BATCH, seq: 0 };
            if self.all_pages(ask).await? {
                continue;
            }
            match chunk {
                [single] => self.in_stream_order(single).await?,
                _ => rest.extend(<[_; 2]>::from(chunk.split_at(chunk.len() / 2))),
            }
        }
        Ok(self.entries.into_values().collect())
    }

    async fn in_stream_order(&mut self, filter: &str) -> Result<(), BusError> {
        let ask = Ask { multi_last: vec![], next_by_subj: Some(filter.to_owned()), batch: BATCH, seq: 1 };
        self.all_pages(ask).await.map(drop)
    }

    /// Reads one page after the other; false when too many keys match. A key that is written meanwhile moves to the
    /// stream's end and so to a later page, and is never missed.
    async fn all_pages(&mut self, mut ask: Ask) -> Result<bool, BusError> {
        let mut attempts = 0;
        loop {
            match self.page(&ask).await? {
                End::Next(None) => return Ok(true),
                End::TooMany => return Ok(false),
                End::Next(Some(seq)) => (ask.seq, attempts) = (seq, 0),
                End::Torn if attempts < ATTEMPTS => attempts += 1,
                End::Torn => return Err(BusError::Disconnected("a read of many keys was torn".into())),
            }
        }
    }

    async fn page(&mut self, ask: &Ask) -> Result<End, BusError> {
        let unwritable = |reason: serde_json::Error| BusError::Disconnected(reason.to_string());
        let payload = serde_json::to_vec(ask).map_err(unwritable)?;
        let inbox = self.requests.new_inbox();
        let exchange = async {
            let mut answers = self.client.subscribe(inbox.clone()).await.map_err(error::subscribe)?;
            let request = self.client.publish_with_reply(self.subjects.get_batch(), inbox, payload.into());
            request.await.map_err(error::publish)?;
            self.collect(&mut answers, ask).await
        };
        timeout(JETSTREAM_WAIT, exchange).await.map_err(|_| BusError::TimedOut)?
    }

    async fn collect(&mut self, answers: &mut Subscriber, ask: &Ask) -> Result<End, BusError> {
        let mut last = 0;
        while let Some(message) = answers.next().await {
            if let Some(status) = message.status {
                return end(&message, status, last, ask)
                    .map_err(|reason| error::bucket(reason, self.subjects.stream()));
            }
            // Each names the one before: a gap is a message that was lost.
            if number(&message, NATS_LAST_SEQUENCE.as_ref()) != Some(last) {
                return Ok(End::Torn);
            }
            last = number(&message, NATS_SEQUENCE.as_ref()).unwrap_or(last);
            if let Some(entry) = found(&message, self.subjects)? {
                self.entries.insert(entry.key.clone(), entry);
            }
        }
        Err(BusError::Disconnected("the bus is closed".into()))
    }
}

/// What the message with a status says that ends a page; `last` is the last sequence that came before it, or 0.
fn end(message: &Message, status: StatusCode, last: u64, ask: &Ask) -> Result<End, BusError> {
    let description = message.description.as_deref().unwrap_or_default();
    match (status.as_u16(), description) {
        (204, _) if number(message, NATS_LAST_SEQUENCE.as_ref()) != Some(last) => Ok(End::Torn),
        (204, _) if number(message, NUM_PENDING) == Some(0) => Ok(End::Next(None)),
        (204, _) if last == 0 => Ok(End::Torn),
        (204, _) => Ok(End::Next(Some(last + 1))),
        (404, "No Results") => Ok(End::Next(None)),
        // In the order of the stream: nothing more. Of many filters: a key went away before it was read.
        (404, _) if last == 0 && ask.next_by_subj.is_some() => Ok(End::Next(None)),
        (404, _) => Ok(End::Torn),
        (413, _) => Ok(End::TooMany),
        (503, _) => Err(BusError::NoResponders),
        _ => Err(refused(message)),
    }
}
