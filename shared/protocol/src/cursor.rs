//! Positions in a conversation's log of changes, as clients carry them: `change_cursor` and `since`.

use crate::{MessageId, Refusal};

/// What a cursor begins with.
const CURSOR: &str = "c";

/// The text of a position in the log of changes. Opaque to clients.
#[must_use]
pub fn cursor(change_seq: u64) -> String {
    format!("{CURSOR}{change_seq}")
}

/// The position that a cursor names.
///
/// # Errors
/// `validation_failed` where this service did not make it.
pub fn position(cursor_text: &str) -> Result<u64, Refusal> {
    let number = cursor_text.strip_prefix(CURSOR).and_then(|number| number.parse().ok());
    let made = number.filter(|number| cursor(*number) == cursor_text && *number <= MessageId::MAX_SEQ);
    made.ok_or_else(|| Refusal::invalid("since", "must be a change_cursor that was given"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_others_are_refused() {
        assert_eq!(position(&cursor(0)), Ok(0));
        assert_eq!(position(&cursor(77)), Ok(77));
        for bad in ["", "c", "77", "c-1", "c07", "c+7", "c99999999999999", "x7", "c7 "] {
            assert!(position(bad).is_err(), "{bad}");
        }
    }
}
