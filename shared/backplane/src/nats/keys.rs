//! Keys in a JetStream stream.
//!
//! A bucket is laid out as NATS' own key-value stores are ([ADR-8]), so that `nats kv` shows it, with two differences.
//! A removed key leaves its marker for [`MARKER_LIFETIME`] only (per-message TTL, [ADR-43], servers from 2.11 on):
//! keys come and go by the million, and nobody watches them. And reads of many keys are batched direct gets
//! ([`super::pages`]). A marker, and not a deletion of the message, because only messages are checked against each
//! other's expected sequence in a replicated stream.
//!
//! [ADR-8]: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md
//! [ADR-43]: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-43.md

use std::time::Duration;

use async_nats::{
    HeaderMap, Message, StatusCode,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL, NATS_SEQUENCE, NATS_SUBJECT},
    jetstream::{
        Context, ErrorCode,
        context::CreateStreamErrorKind,
        publish::PublishAck,
        response::Response,
        stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType},
    },
};
use bytes::Bytes;
use tokio::time::sleep;

use super::{error, requests::Requests};
use crate::{Bucket, BusError, Entry, Key, LEASE, MAX_VALUE_BYTES, subject::BucketSubjects};

/// The wait for each call on JetStream.
pub(super) const JETSTREAM_WAIT: Duration = Duration::from_secs(5);

/// How long the marker of a removed key stays: the shortest TTL that NATS has.
const MARKER_LIFETIME: &str = "1s";

/// The header that tells a marker from a value (ADR-8).
const KV_OPERATION: &str = "KV-Operation";

/// How often a key is tried to be created, when what stood in the way is a marker or is gone already.
const CREATE_ATTEMPTS: usize = 3;

/// How often a write is sent while the server answers that another one is in process.
const WRITE_ATTEMPTS: u32 = 10;

/// The wait after the first such answer; twice that after the second, and so on (275 ms in all).
const IN_PROCESS_WAIT: Duration = Duration::from_millis(5);

/// What the leader of a stream has of a key.
enum Latest {
    Nothing,
    /// The marker of a removed key, with its revision.
    Marker(u64),
    Value,
}

/// The stream of a bucket.
pub(super) fn config(bucket: Bucket, subjects: &BucketSubjects, replicas: usize) -> Config {
    Config {
        name: subjects.stream().to_owned(),
        subjects: vec![subjects.all()],
        storage: StorageType::Memory,
        num_replicas: replicas,
        max_messages: -1,
        max_bytes: -1,
        max_consumers: -1,
        max_messages_per_subject: 1,
        max_age: match bucket {
            Bucket::Presence => Duration::ZERO,
            Bucket::Leases => LEASE,
        },
        discard: DiscardPolicy::New,
        allow_direct: true,
        allow_message_ttl: true,
        ..Config::default()
    }
}

/// Makes the stream, or gives the one that is there this configuration.
pub(super) async fn ensure(jetstream: &Context, config: Config) -> Result<(), BusError> {
    match jetstream.create_stream(config.clone()).await {
        Ok(_) => Ok(()),
        Err(refused) => match refused.kind() {
            CreateStreamErrorKind::JetStream(reason)
                if reason.error_code() == ErrorCode::STREAM_NAME_EXIST =>
            {
                jetstream.update_stream(config).await.map(drop).map_err(error::create)
            }
            _ => Err(error::create(refused)),
        },
    }
}

/// Reads and writes single keys of one bucket.
pub(super) struct Keys<'a> {
    pub(super) requests: &'a Requests,
    pub(super) jetstream: &'a Context,
    pub(super) subjects: &'a BucketSubjects,
}

impl Keys<'_> {
    /// Asks whichever replica answers.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError> {
        let message = self.send(self.subjects.get(key), HeaderMap::new(), Bytes::new()).await?;
        match message.status {
            None => found(&message, self.subjects),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(_) => Err(refused(&message)),
        }
    }

    pub(super) async fn put(&self, key: &Key, value: Bytes) -> Result<u64, BusError> {
        self.write(key, value, HeaderMap::new()).await
    }

    pub(super) async fn update(&self, key: &Key, value: Bytes, revision: u64) -> Result<u64, BusError> {
        if revision == 0 {
            self.create(key, value).await
        } else {
            self.write(key, value, expect(revision)).await
        }
    }

    pub(super) async fn delete(&self, key: &Key, revision: u64) -> Result<(), BusError> {
        if revision == 0 {
            return Err(BusError::Conflict);
        }
        let mut headers = expect(revision);
        headers.insert(KV_OPERATION, "DEL");
        headers.insert(NATS_MESSAGE_TTL, MARKER_LIFETIME);
        self.write(key, Bytes::new(), headers).await.map(drop)
    }

    /// Writes a key that is not there. A marker counts as nothing, but has a revision that the write must name.
    async fn create(&self, key: &Key, value: Bytes) -> Result<u64, BusError> {
        let mut revision = 0;
        for _ in 0..CREATE_ATTEMPTS {
            match self.write(key, value.clone(), expect(revision)).await {
                Err(BusError::Conflict) => {}
                done => return done,
            }
            revision = match self.latest(key).await? {
                Latest::Value => break,
                Latest::Marker(marker) => marker,
                Latest::Nothing => 0,
            };
        }
        Err(BusError::Conflict)
    }

    /// Asks the stream's leader: a replica that lags could still have the value that a marker has replaced.
    async fn latest(&self, key: &Key) -> Result<Latest, BusError> {
        let stream = self.jetstream.get_stream_no_info(self.subjects.stream()).await;
        let stream = stream.map_err(|reason| BusError::Disconnected(reason.to_string()))?;
        match stream.get_last_raw_message_by_subject(&self.subjects.of(key.as_str())).await {
            Ok(message) if is_marker(&message.headers) => Ok(Latest::Marker(message.sequence)),
            Ok(_) => Ok(Latest::Value),
            Err(reason) if reason.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(Latest::Nothing),
            Err(reason) => Err(BusError::Disconnected(reason.to_string())),
        }
    }

    /// Writes, and again while the leader of a replicated stream answers that a conditional write to this key is in
    /// process. It answers so without a comparison, and also for a moment after it has acknowledged that other write
    /// (nats-server clears its mark after the acknowledgement): this answer decides nothing.
    async fn write(&self, key: &Key, value: Bytes, headers: HeaderMap) -> Result<u64, BusError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(BusError::TooLarge(value.len()));
        }
        for attempt in 1..=WRITE_ATTEMPTS {
            let ack = self.send(self.subjects.of(key.as_str()), headers.clone(), value.clone()).await?;
            match serde_json::from_slice(&ack.payload) {
                Ok(Response::Ok(PublishAck { sequence, .. })) => return Ok(sequence),
                Ok(Response::Err { error })
                    if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT =>
                {
                    sleep(IN_PROCESS_WAIT * attempt).await;
                }
                Ok(Response::Err { error }) => return Err(error::write(&error)),
                Err(unreadable) => return Err(BusError::Disconnected(unreadable.to_string())),
            }
        }
        Err(BusError::Disconnected("another write to the key does not end".into()))
    }

    async fn send(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<Message, BusError> {
        let answer = self.requests.send(subject, Some(headers), payload, JETSTREAM_WAIT).await;
        answer.map_err(|reason| error::bucket(reason, self.subjects.stream()))
    }
}

fn expect(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
    headers
}

/// Reads a stored message as a direct get answers with it; `None` for a marker.
pub(super) fn found(message: &Message, subjects: &BucketSubjects) -> Result<Option<Entry>, BusError> {
    let unreadable = || BusError::Disconnected("a direct get without sequence or subject".into());
    let headers = message.headers.as_ref().ok_or_else(unreadable)?;
    if is_marker(headers) {
        return Ok(None);
    }
    let subject = headers.get(NATS_SUBJECT).ok_or_else(unreadable)?;
    let key = subjects.key(subject.as_str()).ok_or_else(unreadable)?;
    let revision = number(message, NATS_SEQUENCE.as_ref()).ok_or_else(unreadable)?;
    Ok(Some(Entry { key, value: message.payload.clone(), revision }))
}

/// Whether this is what a removal left.
fn is_marker(headers: &HeaderMap) -> bool {
    headers.get(KV_OPERATION).is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"))
}

/// A number in a header.
pub(super) fn number(message: &Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get(name)?.as_str().parse().ok()
}

/// The answer's status as an error.
pub(super) fn refused(message: &Message) -> BusError {
    let status = message.status.map_or(0, |status| status.as_u16());
    let description = message.description.as_deref().unwrap_or_default();
    BusError::Disconnected(format!("NATS answered {status} {description}"))
}
