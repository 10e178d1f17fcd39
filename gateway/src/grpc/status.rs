//! Refusals as gRPC says them: a status, and what comes with the reason in its details.

use std::time::Duration;

use serde_json::Value;
use simurgh_protocol::{Reason, Refusal};
use tonic::{Code, Status};
use tonic_types::{BadRequest, ErrorDetail, ErrorInfo, RetryInfo, StatusExt as _};

/// Whose reasons they are.
const DOMAIN: &str = "simurgh";

/// The status that says it, with `google.rpc.ErrorInfo`, and `BadRequest` or `RetryInfo` where they apply.
pub(super) fn status(refusal: Refusal) -> Status {
    let Refusal { reason, message, details } = refusal;
    let with = details.iter().filter(|(name, _)| *name != "errors");
    let mut said = vec![ErrorDetail::ErrorInfo(ErrorInfo {
        reason: reason.as_str().to_owned(),
        domain: DOMAIN.to_owned(),
        metadata: with.map(|(name, value)| (name.clone(), text(value))).collect(),
    })];
    let mut broken = BadRequest::new(Vec::new());
    for (field, problems) in details.get("errors").and_then(Value::as_object).into_iter().flatten() {
        for problem in problems.as_array().into_iter().flatten().filter_map(Value::as_str) {
            broken.add_violation(field, problem);
        }
    }
    if !broken.is_empty() {
        said.push(broken.into());
    }
    if matches!(reason, Reason::RateLimitExceeded | Reason::Unavailable) {
        let seconds = details.get("retry_after").and_then(Value::as_u64).unwrap_or(1);
        said.push(RetryInfo::new(Some(Duration::from_secs(seconds))).into());
    }
    Status::with_error_details_vec(code(reason), message, said)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The reason's code: what gRPC's clients decide by whether to try again.
const fn code(reason: Reason) -> Code {
    match reason {
        Reason::Unauthorized => Code::Unauthenticated,
        Reason::Forbidden | Reason::Blocked => Code::PermissionDenied,
        // As in the HTTP API, where it is no oracle.
        Reason::NotAMember | Reason::NotFound | Reason::UnmatchedTopic | Reason::UnknownEvent => {
            Code::NotFound
        }
        Reason::ValidationFailed | Reason::MessageTooLarge => Code::InvalidArgument,
        Reason::Conflict => Code::FailedPrecondition,
        Reason::RateLimitExceeded | Reason::TooManyChannels => Code::ResourceExhausted,
        Reason::Unavailable => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_reason_and_what_comes_with_it() {
        let said = status(Refusal::new(Reason::Conflict, "other content").with("message_id", "m"));
        assert_eq!((said.code(), said.message()), (Code::FailedPrecondition, "other content"));
        let info = said.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str(), info.metadata["message_id"].as_str()),
            ("conflict", "simurgh", "m")
        );
        assert!(said.get_details_retry_info().is_none());
    }

    #[test]
    fn fields_and_waits_are_said_as_grpc_says_them() {
        let said = status(Refusal::invalid("type", "must be direct or group"));
        assert_eq!(said.code(), Code::InvalidArgument);
        let broken = said.get_details_bad_request().unwrap().field_violations;
        assert_eq!(
            (broken[0].field.as_str(), broken[0].description.as_str()),
            ("type", "must be direct or group")
        );
        let said = status(Refusal::new(Reason::RateLimitExceeded, "wait").with("retry_after", 7));
        assert_eq!(said.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(7)));
    }
}
