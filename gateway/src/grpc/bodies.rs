//! What workers are asked, from what gRPC says: ids and pages are checked here, as those of the HTTP API are, and
//! bodies are the JSON objects that it takes.

use prost_types::Struct;
use serde_json::{Map, Value};
use simurgh_protocol::{
    ConversationId, MessageId, Refusal, Timestamp, UserId, envelope::HistoryPage, limits::CURSOR_BYTES,
};
use simurgh_rpc::{json, v1::ListMessagesRequest};

pub(super) fn user(field: &str, id: &str) -> Result<UserId, Refusal> {
    UserId::new(id).map_err(|invalid| Refusal::invalid(field, invalid.to_string()))
}

pub(super) fn whose(field: &str, id: Option<&String>) -> Result<Option<UserId>, Refusal> {
    id.map(|id| user(field, id)).transpose()
}

pub(super) fn conversation(id: &str) -> Result<ConversationId, Refusal> {
    ConversationId::new(id).map_err(|invalid| Refusal::invalid("conversation_id", invalid.to_string()))
}

pub(super) fn message(id: &str) -> Result<MessageId, Refusal> {
    MessageId::parse(id).ok_or_else(|| Refusal::invalid("message_id", "must be the id of a message"))
}

/// From 1 to the first of these, the second when absent.
pub(super) fn limit(limit: Option<u32>, (most, default): (usize, usize)) -> Result<usize, Refusal> {
    let Some(limit) = limit else { return Ok(default) };
    usize::try_from(limit)
        .ok()
        .filter(|limit| (1..=most).contains(limit))
        .ok_or_else(|| Refusal::invalid("limit", format!("must be from 1 to {most}")))
}

/// A cursor of an earlier answer; an empty one is none.
pub(super) fn cursor(field: &str, cursor: Option<String>) -> Result<Option<String>, Refusal> {
    match cursor {
        Some(cursor) if cursor.len() > CURSOR_BYTES => {
            Err(Refusal::invalid(field, "is not a cursor of this API"))
        }
        cursor => Ok(cursor.filter(|cursor| !cursor.is_empty())),
    }
}

pub(super) fn page(request: ListMessagesRequest, pages: (usize, usize)) -> Result<HistoryPage, Refusal> {
    let ListMessagesRequest { before_seq, after_seq, since, .. } = request;
    if before_seq.is_some() && after_seq.is_some() {
        return Err(Refusal::invalid("before_seq", "cannot be given together with after_seq"));
    }
    let limit = limit(request.limit, pages)?;
    Ok(HistoryPage { before_seq, after_seq, limit, since: cursor("since", since)? })
}

/// A time as JSON says it, in whole milliseconds; null where there is none.
///
/// # Errors
/// `validation_failed` for what is before 1970 or after 9999.
pub(super) fn time(field: &str, time: Option<&prost_types::Timestamp>) -> Result<Value, Refusal> {
    const LAST_SECOND: u64 = 253_402_300_799;
    let Some(time) = time else { return Ok(Value::Null) };
    let (seconds, nanos) = (u64::try_from(time.seconds), u64::try_from(time.nanos));
    match (seconds, nanos) {
        (Ok(seconds @ ..=LAST_SECOND), Ok(nanos @ ..1_000_000_000)) => {
            let at = Timestamp::from_millis(seconds * 1_000 + nanos / 1_000_000);
            Ok(Value::String(at.to_string()))
        }
        _ => Err(Refusal::invalid(field, "must be a time from 1970 to 9999")),
    }
}

/// An object of JSON, of the fields that are there.
#[derive(Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    pub(super) fn with_some(self, field: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self,
        }
    }

    /// # Errors
    /// `validation_failed` where it holds what JSON cannot say.
    pub(super) fn with_object(self, field: &str, value: Option<&Struct>) -> Result<Self, Refusal> {
        let Some(value) = value else { return Ok(self) };
        match json::of_object(value) {
            Some(fields) => Ok(self.with(field, fields)),
            None => Err(Refusal::invalid(field, "must hold only what JSON can say")),
        }
    }

    pub(super) fn into_json(self) -> Value {
        Value::Object(self.0)
    }
}
