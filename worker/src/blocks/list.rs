//! `GET /api/v1/blocks`.

use serde::Serialize;
use simurgh_protocol::{Refusal, Timestamp, UserId, envelope::Success};

use super::holding;
use crate::{Request, Worker, store::keys};

#[derive(Serialize)]
struct Page {
    blocks: Vec<Block>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Block {
    user_id: UserId,
    created_at: Timestamp,
}

/// Where a page ended: the last user's id, in digits that need no escaping in a URL.
fn cursor(user: &UserId) -> String {
    user.as_str().bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The user that a cursor names.
///
/// # Errors
/// `validation_failed` for what [`cursor`] did not write.
fn parse(text: &str) -> Result<UserId, Refusal> {
    let digits: Vec<char> = text.chars().collect();
    let bytes = digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).ok());
    let id = bytes.collect::<Option<Vec<u8>>>().and_then(|bytes| String::from_utf8(bytes).ok());
    let user = id.and_then(|id| UserId::new(&id).ok()).filter(|user| cursor(user) == text);
    user.ok_or_else(|| Refusal::invalid("cursor", "must be the next_cursor of a page before"))
}

impl Worker {
    /// `{blocks: [{user_id, created_at}], next_cursor}`, sorted by user.
    ///
    /// # Errors
    /// `validation_failed` for a cursor that is none.
    pub(crate) async fn list_blocks(
        &self,
        request: &Request,
        user: Option<&UserId>,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(user)?;
        let after = after.map(parse).transpose()?;
        // Few, and bounded: what is there is read as a whole.
        let held = holding(&self.load_whole(request, keys::blocks(&user)).await?)?;
        let mut held: Vec<_> =
            held.into_iter().filter(|(user, _)| after.as_ref().is_none_or(|after| user > after)).collect();
        let more = held.len() > limit;
        held.truncate(limit);
        let next_cursor = held.last().filter(|_| more).map(|(user, _)| cursor(user));
        let blocks = held.into_iter().map(|(user_id, created_at)| Block { user_id, created_at }).collect();
        Ok(Success::ok(&Page { blocks, next_cursor }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_what_is_none_is_refused() {
        let user = UserId::new("a+b|c@d").unwrap();
        assert_eq!(parse(&cursor(&user)).unwrap(), user);
        for text in ["", "6", "zz", "é", "5f", "+6", "6A"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
