//! `GET /api/v1/conversations/{id}/messages`: pages of history.

use serde::Serialize;
use simurgh_protocol::{
    ConversationId, Refusal,
    envelope::{HistoryPage, Success},
    limits,
    record::Message,
};

use super::{
    change,
    read::{Room, left, size},
};
use crate::{Request, Worker, access::Roster};

/// A page of history (contract section 4).
#[derive(Serialize)]
struct History {
    messages: Vec<Message>,
    has_more: bool,
    changes: Vec<Message>,
    change_cursor: String,
    /// There where `changes` are not all: go on from `change_cursor`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    changes_truncated: bool,
}

/// The part of the log that a page is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The earliest behind this `seq`.
    After(u64),
    /// The latest up to this `seq`.
    UpTo(u64),
}

impl Part {
    fn of(page: &HistoryPage, last_seq: u64) -> Self {
        match (page.after_seq, page.before_seq) {
            (Some(after), _) => Self::After(after),
            (None, Some(before)) => Self::UpTo(before.saturating_sub(1).min(last_seq)),
            (None, None) => Self::UpTo(last_seq),
        }
    }

    /// Whether the log goes on, in the page's direction, behind what is shown of it.
    fn goes_on(self, shown: &[Message], last_seq: u64) -> bool {
        match self {
            Self::After(after) => shown.last().map_or(after, |last| last.seq) < last_seq,
            Self::UpTo(_) => shown.first().is_some_and(|first| first.seq > 1),
        }
    }
}

impl Worker {
    /// A page of history, ascending, with reactions; and what changed since the cursor given, if any.
    pub(crate) async fn history(
        &self,
        request: &Request,
        id: &ConversationId,
        page: &HistoryPage,
    ) -> Result<Success, Refusal> {
        let since = page.since.as_deref().map(change::position).transpose()?;
        let roster = self.member_access(request, id).await?;
        let ends = self.ends(request, id).await?;
        let last_seq = ends.last_seq();
        let part = Part::of(page, last_seq);
        let count = page.limit.clamp(1, limits::HISTORY_PAGE.0);
        let mut messages = self.history_part(request, id, &roster, part, last_seq, count).await?;
        if matches!(part, Part::UpTo(_)) {
            messages.reverse();
        }
        let has_more = part.goes_on(&messages, last_seq);
        let room = left(&messages);
        let changed = self.changed_since(request, id, &roster, since, ends.change_seq, room).await?;
        Ok(Success::ok(&History {
            messages,
            has_more,
            changes_truncated: changed.change_seq < ends.change_seq,
            changes: changed.messages,
            change_cursor: change::cursor(changed.change_seq),
        }))
    }

    /// The messages of a page, in the direction it is read in.
    async fn history_part(
        &self,
        request: &Request,
        id: &ConversationId,
        roster: &Roster,
        part: Part,
        last_seq: u64,
        count: usize,
    ) -> Result<Vec<Message>, Refusal> {
        let room = Room { count, bytes: limits::HISTORY_BYTES };
        let messages = match part {
            Part::After(after) => self.messages_after(request, id, after, last_seq, room).await?,
            Part::UpTo(to) => self.messages_before(request, id, to, room).await?,
        };
        // With their reactions and what they answer, fewer of them may fit.
        Ok(room.fill(self.shown_to(request, id, roster, messages).await?, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(before_seq: Option<u64>, after_seq: Option<u64>) -> HistoryPage {
        HistoryPage { before_seq, after_seq, limit: 50, since: None }
    }

    #[test]
    fn a_page_is_the_latest_unless_asked_otherwise() {
        assert_eq!(Part::of(&page(None, None), 9), Part::UpTo(9));
        assert_eq!(Part::of(&page(Some(5), None), 9), Part::UpTo(4));
        assert_eq!(Part::of(&page(Some(500), None), 9), Part::UpTo(9));
        assert_eq!(Part::of(&page(Some(0), None), 9), Part::UpTo(0));
        assert_eq!(Part::of(&page(None, Some(3)), 9), Part::After(3));
    }

    #[test]
    fn an_empty_page_goes_on_only_towards_what_is_there() {
        assert!(!Part::After(9).goes_on(&[], 9));
        assert!(!Part::After(99).goes_on(&[], 9));
        assert!(!Part::UpTo(0).goes_on(&[], 9));
    }
}
