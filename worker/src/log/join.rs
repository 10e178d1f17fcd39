//! Joining a conversation: who may, and where its channel begins.

use futures_util::future::{try_join, try_join3};
use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, Raw, Refusal, UserId,
    envelope::{JoinedConversation, Principal, Success},
    limits,
    record::{Conversation, ConversationType, Message},
};

use super::{
    change::{self, Changed},
    head::Ends,
    read::{Room, left, size},
};
use crate::{Request, Worker, access::Roster, conversations, members::MemberDocument, store::keys, validate};

#[derive(Deserialize)]
struct Params {
    last_seq: Option<u64>,
    since: Option<String>,
}

/// The reply to a join (contract section 3.2).
#[derive(Serialize)]
struct Joined {
    status: &'static str,
    conversation_id: ConversationId,
    conversation: Conversation,
    last_seq: u64,
    last_read_seq: u64,
    messages: Vec<Message>,
    truncated: bool,
    changes: Vec<Message>,
    change_cursor: String,
    /// There where `changes` are not all: go on from `change_cursor` by HTTP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    changes_truncated: bool,
}

/// Whether the log holds more than a join's reply shows.
fn truncated(shown: &[Message], asked: Option<u64>, last_seq: u64) -> bool {
    asked.is_some_and(|after| shown.last().map_or(after, |last| last.seq) < last_seq)
}

impl Worker {
    /// The join of a conversation's channel.
    pub(crate) async fn join_conversation(
        &self,
        request: &Request,
        id: &ConversationId,
        params: &Raw,
    ) -> Result<Success, Refusal> {
        let Params { last_seq: asked, since } = validate::parse(params)?;
        let since = since.as_deref().map(change::position).transpose()?;
        let (roster, ends) = try_join(self.member_access(request, id), self.ends(request, id)).await?;
        let last_seq = ends.last_seq();
        let (meta, messages, unseen) = try_join3(
            self.meta(request, id),
            self.missed(request, id, &roster, asked, last_seq),
            self.unseen_here(request, &roster),
        )
        .await?;
        let conversation = conversations::read::shown(id, &roster, meta.document, last_seq);
        let room = left(&messages).saturating_sub(size(&conversation));
        let changed = self.changed_since(request, id, &roster, since, ends.change_seq, room).await?;
        let last_read_seq = self.position_of(request, id, &ends).await?;
        let response = Joined {
            status: "joined",
            conversation_id: id.clone(),
            conversation,
            last_seq,
            last_read_seq,
            truncated: truncated(&messages, asked, last_seq),
            messages,
            changes_truncated: changed.change_seq < ends.change_seq,
            changes: changed.messages,
            change_cursor: change::cursor(changed.change_seq),
        };
        let head = ends.head(id, roster.version);
        Ok(Success::ok(&JoinedConversation { head, response: Raw::of(&response), unseen }))
    }

    /// The members whom who joins does not see, nor they it.
    async fn unseen_here(&self, request: &Request, roster: &Roster) -> Result<Vec<UserId>, Refusal> {
        match (&request.principal, roster.kind) {
            (Principal::Service, _) => Ok(Vec::new()),
            (Principal::User(user), ConversationType::Direct) => {
                Ok(roster.unseen(user).into_iter().cloned().collect())
            }
            (Principal::User(user), ConversationType::Group) => {
                let unseen = self.unseen(request, user).await?;
                Ok(unseen.intersection(&roster.members).cloned().collect())
            }
        }
    }

    /// What came after the `seq` asked for; nothing where none was.
    async fn missed(
        &self,
        request: &Request,
        id: &ConversationId,
        roster: &Roster,
        asked: Option<u64>,
        last_seq: u64,
    ) -> Result<Vec<Message>, Refusal> {
        let Some(after) = asked else { return Ok(Vec::new()) };
        let room = Room { count: limits::JOIN_MESSAGES, bytes: limits::JOIN_BYTES };
        let messages = self.messages_after(request, id, after, last_seq, room).await?;
        Ok(room.fill(self.shown_to(request, id, roster, messages).await?, size))
    }

    /// What changed since, where that was asked for, up to `change_seq`.
    pub(super) async fn changed_since(
        &self,
        request: &Request,
        id: &ConversationId,
        roster: &Roster,
        since: Option<u64>,
        change_seq: u64,
        bytes: usize,
    ) -> Result<Changed, Refusal> {
        match since {
            Some(since) => self.changed_messages(request, id, roster, since, change_seq, bytes).await,
            None => Ok(Changed { messages: Vec::new(), change_seq }),
        }
    }

    /// How far who joins has read; services read nothing.
    async fn position_of(&self, request: &Request, id: &ConversationId, ends: &Ends) -> Result<u64, Refusal> {
        let Principal::User(user) = &request.principal else { return Ok(0) };
        let stored = self.load::<MemberDocument>(request, &keys::member(id, user)).await?;
        let stored = stored.map_or(0, |stored| stored.document.last_read_seq);
        Ok(stored.max(sent_last(user, ends)))
    }
}

/// The tail where this user sent it: who sends has read, also while the position is still to be written.
fn sent_last(user: &UserId, ends: &Ends) -> u64 {
    ends.tail.as_ref().filter(|tail| tail.sender == *user).map_or(0, |tail| tail.seq)
}
