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
        stream::{Config, DiscardPolicy, StorageType},
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
const CREATE_ATTEMPTS: u32 = 5;

/// The wait for a replica that lags, before the second attempt to create a key; twice that before the third, and so on.
const REPLICA_LAG: Duration = Duration::from_millis(10);

/// What a direct get found.
pub(super) enum Found {
    Value(Entry),
    /// The marker of a removed key, with its revision.
    Marker(u64),
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
    pub(super) subjects: &'a BucketSubjects,
}

impl Keys<'_> {
    pub(super) async fn get(&self, key: &Key) -> Result<Option<Entry>, BusError> {
        Ok(match self.find(key).await? {
            Some(Found::Value(entry)) => Some(entry),
            Some(Found::Marker(_)) | None => None,
        })
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
        for attempt in 1..=CREATE_ATTEMPTS {
            match self.write(key, value.clone(), expect(revision)).await {
                Err(BusError::Conflict) => {}
                done => return done,
            }
            revision = match self.find(key).await? {
                Some(Found::Value(_)) => break,
                Some(Found::Marker(marker)) => marker,
                // The marker has lapsed since, or is not yet on the replica that was asked.
                None => {
                    sleep(REPLICA_LAG * attempt).await;
                    0
                }
            };
        }
        Err(BusError::Conflict)
    }

    async fn write(&self, key: &Key, value: Bytes, headers: HeaderMap) -> Result<u64, BusError> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(BusError::TooLarge(value.len()));
        }
        let subject = self.subjects.of(key.as_str());
        let ack = self.send(subject, headers, value).await?;
        match serde_json::from_slice(&ack.payload) {
            Ok(Response::Ok(PublishAck { sequence, .. })) => Ok(sequence),
            Ok(Response::Err { error }) => Err(error::write(&error)),
            Err(unreadable) => Err(BusError::Disconnected(unreadable.to_string())),
        }
    }

    async fn find(&self, key: &Key) -> Result<Option<Found>, BusError> {
        let message = self.send(self.subjects.get(key), HeaderMap::new(), Bytes::new()).await?;
        match message.status {
            None => found(&message, self.subjects).map(Some),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(_) => Err(refused(&message)),
        }
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

/// Reads a stored message as a direct get answers with it.
pub(super) fn found(message: &Message, subjects: &BucketSubjects) -> Result<Found, BusError> {
    let header = |name| message.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str);
    let revision = number(message, NATS_SEQUENCE.as_ref());
    let key = header(NATS_SUBJECT.as_ref()).and_then(|subject| subjects.key(subject));
    match (revision, key, header(KV_OPERATION)) {
        (Some(revision), Some(_), Some("DEL" | "PURGE")) => Ok(Found::Marker(revision)),
        (Some(revision), Some(key), _) => {
            Ok(Found::Value(Entry { key, value: message.payload.clone(), revision }))
        }
        _ => Err(BusError::Disconnected("a direct get without sequence or subject".into())),
    }
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
