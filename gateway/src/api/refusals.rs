//! What the document says of refusals. Which status a reason has is the service's own table
//! ([`Reason::http_status`]), and so is what each carries.

use std::collections::{BTreeMap, BTreeSet};

use simurgh_protocol::Reason;
use utoipa::openapi::{
    Content, Type,
    response::Response,
    schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema},
};

use super::{
    calls::{JSON, answer, header},
    schema::{Shape, nullable, refer, text, whole},
};

/// What carries these reasons, by status.
pub(super) fn responses(reasons: &BTreeSet<Reason>) -> BTreeMap<u16, Response> {
    let mut by_status: BTreeMap<u16, Vec<Reason>> = BTreeMap::new();
    for reason in reasons {
        by_status.entry(reason.http_status()).or_default().push(*reason);
    }
    by_status.into_iter().map(|(status, reasons)| (status, response(status, &reasons))).collect()
}

fn response(status: u16, reasons: &[Reason]) -> Response {
    let codes: Vec<String> = reasons.iter().map(|reason| format!("`{reason}`")).collect();
    let schema: Shape = match reasons {
        [reason] => refer(name(*reason)),
        several => {
            let one = OneOfBuilder::new();
            several.iter().fold(one, |one, reason| one.item(refer(name(*reason)))).into()
        }
    };
    let response = answer(&codes.join(", ")).content(JSON, Content::new(Some(schema)));
    match status {
        401 => response.header_ref("WWW-Authenticate", header("WWW-Authenticate")),
        429 | 503 => response.header_ref("Retry-After", header("Retry-After")),
        _ => response,
    }
    .build()
}

/// The schema of each of these reasons, with its name.
pub(super) fn schemas(reasons: &BTreeSet<Reason>) -> impl Iterator<Item = (&'static str, Schema)> {
    reasons.iter().map(|reason| (name(*reason), schema(*reason)))
}

const fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Unauthorized => "Unauthorized",
        Reason::NotAMember => "NotAMember",
        Reason::UnmatchedTopic => "UnmatchedTopic",
        Reason::UnknownEvent => "UnknownEvent",
        Reason::ValidationFailed => "ValidationFailed",
        Reason::MessageTooLarge => "MessageTooLarge",
        Reason::RateLimitExceeded => "RateLimitExceeded",
        Reason::NotFound => "NotFound",
        Reason::Forbidden => "Forbidden",
        Reason::Blocked => "Blocked",
        Reason::Conflict => "Conflict",
        Reason::TooManyChannels => "TooManyChannels",
        Reason::Unavailable => "Unavailable",
    }
}

/// `{"error": {"reason": CODE, "message": TEXT, …}}`.
fn schema(reason: Reason) -> Schema {
    let code = text().enum_values(Some([reason.as_str()]));
    let message = text().description(Some("A sentence for people; it may change."));
    let error = ObjectBuilder::new().property("reason", code).property("message", message);
    let error = details(reason, error.required("reason").required("message"));
    ObjectBuilder::new().description(Some(meaning(reason))).property("error", error).required("error").into()
}

/// What an error of this reason carries beside.
fn details(reason: Reason, error: ObjectBuilder) -> ObjectBuilder {
    match reason {
        Reason::ValidationFailed => {
            let problems = ArrayBuilder::new().items(text()).min_items(Some(1));
            let errors = ObjectBuilder::new()
                .description(Some("What is wrong with which parameter or field; `body` is the whole body."))
                .additional_properties(Some(problems))
                .min_properties(Some(1));
            error.property("errors", errors).required("errors")
        }
        Reason::MessageTooLarge => {
            error.property("max_bytes", whole(1).description(Some("As many may be."))).required("max_bytes")
        }
        Reason::RateLimitExceeded => {
            let wait = whole(1).description(Some("When to try again, in seconds."));
            error.property("retry_after", wait).required("retry_after")
        }
        Reason::Forbidden => {
            let window = whole(0).description(Some("For how many seconds a message may be edited."));
            error.property("limit", limit()).property("edit_window", window)
        }
        Reason::Conflict => {
            let first = text().format(Some(super::schema::format("uuid")));
            let first = first.description(Some(
                "Of a `client_random` that was used for another content: the message that has it, or null where that \
                 was never stored.",
            ));
            error.property("limit", limit()).property("message_id", nullable(first, Type::String))
        }
        Reason::Unauthorized
        | Reason::NotAMember
        | Reason::UnmatchedTopic
        | Reason::UnknownEvent
        | Reason::NotFound
        | Reason::Blocked
        | Reason::TooManyChannels
        | Reason::Unavailable => error,
    }
}

fn limit() -> ObjectBuilder {
    whole(0).description(Some("The limit that was reached."))
}

const fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Unauthorized => "No token, or one that does not count (any more).",
        Reason::NotAMember => {
            "The caller is no member, or there is no such conversation: which of them is not told."
        }
        Reason::UnmatchedTopic => "No channel is routed for the topic.",
        Reason::UnknownEvent => "The channel knows no such event.",
        Reason::ValidationFailed => "A parameter or the body breaks a rule.",
        Reason::MessageTooLarge => "The body, or a part of it, has too many bytes.",
        Reason::RateLimitExceeded => "Too often; `Retry-After` says when to try again.",
        Reason::NotFound => "There is no such thing.",
        Reason::Forbidden => {
            "Not for this caller. A service's token may be refused on the public listener (SIMURGH_SERVICE_CALLS)."
        }
        Reason::Blocked => "The sender blocks the other one of this direct conversation.",
        Reason::Conflict => "It contradicts what is stored.",
        Reason::TooManyChannels => "The socket has as many channels as it may.",
        Reason::Unavailable => {
            "It did not work now; nothing is known to be wrong with it. `Retry-After` says when to try again."
        }
    }
}
