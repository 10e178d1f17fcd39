//! async-nats' errors as the port's.

use async_nats::{
    PublishError, PublishErrorKind, SubscribeError,
    jetstream::{
        Error, ErrorCode,
        context::{CreateStreamError, CreateStreamErrorKind},
    },
};

use crate::{BusError, MAX_PAYLOAD_BYTES};

pub(super) fn publish(error: PublishError) -> BusError {
    match error.kind() {
        // The server's bound is below the port's, or headers took the rest.
        PublishErrorKind::MaxPayloadExceeded => BusError::TooLarge(MAX_PAYLOAD_BYTES),
        PublishErrorKind::Send | PublishErrorKind::InvalidSubject => {
            BusError::Disconnected(error.to_string())
        }
    }
}

pub(super) fn subscribe(error: SubscribeError) -> BusError {
    BusError::Disconnected(error.to_string())
}

/// A write that the stream refused.
pub(super) fn write(error: &Error) -> BusError {
    match error.error_code() {
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE => BusError::Conflict,
        _ => BusError::Disconnected(error.to_string()),
    }
}

pub(super) fn create(error: CreateStreamError) -> BusError {
    match error.kind() {
        CreateStreamErrorKind::TimedOut => BusError::TimedOut,
        _ => BusError::Disconnected(error.to_string()),
    }
}

/// No answer to something sent to a bucket: its stream is not there (or JetStream has no leader).
pub(super) fn bucket(error: BusError, stream: &str) -> BusError {
    match error {
        BusError::NoResponders => BusError::Disconnected(format!("the bucket {stream} is missing")),
        other => other,
    }
}
