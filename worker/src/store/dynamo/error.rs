//! The SDK's errors as the port's.

use std::error::Error;

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    types::CancellationReason,
};

use super::super::StoreError;

/// How DynamoDB begins to say that an item is too large; it has no code for it.
const TOO_LARGE: &str = "Item size";

/// What `error` means to the caller of the port, where nothing special is known of it. Its text names the operation,
/// the code and the cause, and never an item's content.
pub(super) fn of<E>(operation: &str, error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match (error.code(), error.message()) {
        (Some("ValidationException"), Some(message)) if message.contains(TOO_LARGE) => StoreError::TooLarge,
        (Some(code), message) => {
            StoreError::Unavailable(format!("{operation}: {code}: {}", message.unwrap_or("no message")))
        }
        (None, _) => StoreError::Unavailable(format!("{operation}: {}", chain(error))),
    }
}

/// An error and what caused it, as `connector error: … : connection refused`.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why a transaction was cancelled.
pub(super) enum Cancelled {
    /// An expectation did not hold.
    Conflict,
    /// Another transaction or a throttle was in the way: the same again may succeed.
    InTheWay,
    /// An item is too large.
    TooLarge,
    /// Anything else.
    Other,
}

/// Judges a cancellation by the codes of its reasons, one for each write (`TransactWriteItems`, "Errors").
pub(super) fn cancelled(reasons: &[CancellationReason]) -> Cancelled {
    let mut verdict = Cancelled::Other;
    for reason in reasons {
        match reason.code().unwrap_or("None") {
            "None" => {}
            "ConditionalCheckFailed" if matches!(verdict, Cancelled::Other) => verdict = Cancelled::Conflict,
            "ConditionalCheckFailed" => {}
            "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded" => {
                verdict = Cancelled::InTheWay;
            }
            "ValidationError" if reason.message().is_some_and(|message| message.contains(TOO_LARGE)) => {
                return Cancelled::TooLarge;
            }
            _ => return Cancelled::Other,
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::{CancellationReason, Cancelled, cancelled};

    fn verdict(codes: &[&str]) -> Cancelled {
        let reason = |code: &&str| CancellationReason::builder().code(*code).build();
        cancelled(&codes.iter().map(reason).collect::<Vec<_>>())
    }

    #[test]
    fn only_failed_conditions_make_a_conflict() {
        assert!(matches!(verdict(&["None", "ConditionalCheckFailed"]), Cancelled::Conflict));
        for other in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
            assert!(matches!(verdict(&["ConditionalCheckFailed", other]), Cancelled::InTheWay));
            assert!(matches!(verdict(&[other, "ConditionalCheckFailed"]), Cancelled::InTheWay));
        }
        assert!(matches!(verdict(&["ConditionalCheckFailed", "ValidationError"]), Cancelled::Other));
        assert!(matches!(verdict(&[]), Cancelled::Other));
    }
}
