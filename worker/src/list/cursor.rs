//! Where a page of the list ended. Opaque to clients; in letters and digits that need no escaping in a URL.

use std::{
    cmp::{Ordering, Reverse},
    fmt,
};

use simurgh_protocol::{ConversationId, Refusal, Timestamp};

/// A place in the list: the latest activity first, then by id. It stays where it is whatever is written meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) at: Timestamp,
    pub(super) id: ConversationId,
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        (Reverse(self.at), &self.id).cmp(&(Reverse(other.at), &other.id))
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-", self.at.as_millis())?;
        self.id.as_str().bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Cursor {
    /// # Errors
    /// `validation_failed` for what [`Display`](fmt::Display) did not write.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let cursor = text.split_once('-').and_then(|(at, id)| {
            let at = Timestamp::from_millis(u64::from_str_radix(at, 16).ok()?);
            let id = ConversationId::new(&unhex(id)?).ok()?;
            Some(Self { at, id })
        });
        let cursor = cursor.filter(|cursor| cursor.to_string() == text);
        cursor.ok_or_else(|| Refusal::invalid("cursor", "must be the next_cursor of a page before"))
    }
}

fn unhex(text: &str) -> Option<String> {
    let digits: Vec<char> = text.chars().collect();
    let bytes = digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::Reason;

    use super::*;

    fn cursor(at: u64, id: &str) -> Cursor {
        Cursor { at: Timestamp::from_millis(at), id: ConversationId::new(id).unwrap() }
    }

    #[test]
    fn a_cursor_reads_back() {
        let cursor = cursor(1_767_225_600_000, "a+b|c@d");
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        assert!(cursor.to_string().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "-", "5", "x-61", "5-6", "5-", "+5-61", "05-61", "5-5f", "5-zz", "5-c3", "é-é"] {
            assert_eq!(Cursor::parse(text).unwrap_err().reason, Reason::ValidationFailed, "{text}");
        }
    }

    #[test]
    fn the_latest_comes_first() {
        assert!(cursor(2, "a") < cursor(1, "a"));
        assert!(cursor(2, "a") < cursor(2, "b"));
    }
}
