//! The stream of what users missed, in JetStream.

use async_nats::{
    HeaderMap,
    header::NATS_MESSAGE_ID,
    jetstream::{
        publish::PublishAck,
        response::Response,
        stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use bytes::Bytes;

use super::{error, keys::JETSTREAM_WAIT, requests::Requests, trace_header};
use crate::{BusError, OfflineLimits, Subject, offline::REMEMBERED, subject::offline_stream};

/// What the stream is to be. It keeps what was taken until its bounds are reached, so that several services may consume
/// it, each at its own pace.
pub(super) fn config(namespace: &str, limits: OfflineLimits, replicas: usize) -> Config {
    let (name, subjects) = offline_stream(namespace);
    Config {
        name,
        subjects: vec![subjects],
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        num_replicas: replicas,
        max_messages: -1,
        max_bytes: i64::try_from(limits.max_bytes).unwrap_or(i64::MAX),
        max_messages_per_subject: i64::from(limits.max_per_user),
        max_age: limits.max_age,
        duplicate_window: REMEMBERED,
        discard: DiscardPolicy::Old,
        ..Config::default()
    }
}

/// Appends, and waits until the stream says that it has it: whether it is new there.
pub(super) async fn keep(
    requests: &Requests,
    subject: &Subject,
    name: &str,
    payload: Bytes,
) -> Result<bool, BusError> {
    let mut headers: HeaderMap = trace_header().unwrap_or_default();
    headers.insert(NATS_MESSAGE_ID, name);
    let sent = requests.send(subject.as_str().to_owned(), Some(headers), payload, JETSTREAM_WAIT).await;
    let ack = sent.map_err(|reason| error::bucket(reason, "of what users missed"))?;
    match serde_json::from_slice(&ack.payload) {
        Ok(Response::Ok(PublishAck { duplicate, .. })) => Ok(!duplicate),
        Ok(Response::Err { error }) => Err(error::write(&error)),
        Err(unreadable) => Err(BusError::Disconnected(unreadable.to_string())),
    }
}
