//! Joining a conversation: who may, and where its channel begins.

use std::sync::Arc;

use futures_util::future::try_join;
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
use crate::{
    Request, Worker,
    access::Roster,
    conversations::{self, MetaDocument},
    document,
    members::MemberDocument,
    store::{Consistency, Key, keys},
    validate,
};

#[derive(Deserialize)]
struct Params {
    last_seq: Option<u64>,
    since: Option<String>,
}

/// A conversation that somebody may join.
struct Entered {
    roster: Arc<Roster>,
    meta: MetaDocument,
    /// How far who joins has read; services read nothing.
    last_read_seq: u64,
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
        let (entered, ends) = try_join(self.entered(request, id), self.ends(request, id)).await?;
        let Entered { roster, meta, last_read_seq } = entered;
        let last_seq = ends.last_seq();
        let (messages, unseen) =
            try_join(self.missed(request, id, &roster, asked, last_seq), self.unseen_here(request, &roster))
                .await?;
        let conversation = conversations::read::shown(id, &roster, meta, last_seq);
        let room = left(&messages).saturating_sub(size(&conversation));
        let changed = self.changed_since(request, id, &roster, since, ends.change_seq, room).await?;
        let last_read_seq = last_read_seq.max(sent_last(&request.principal, &ends));
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

    /// What who joins may enter.
    async fn entered(&self, request: &Request, id: &ConversationId) -> Result<Entered, Refusal> {
        let user = match &request.principal {
            Principal::User(user) => Some(keys::member(id, user)),
            Principal::Service => None,
        };
        let asked: Vec<Key> = [keys::members(id), keys::meta(id)].into_iter().chain(user).collect();
        let found = self.load_many(request, &asked, Consistency::Strong).await?;
        let item = |place: usize| found.get(place).and_then(Option::as_ref);
        let roster = self.member_access_at(request, id, item(0)).await?;
        let meta = item(1).map_or_else(|| Err(conversations::read::not_yet()), document::read)?;
        let member: Option<MemberDocument> = item(2).map(document::read).transpose()?;
        Ok(Entered { roster, meta, last_read_seq: member.map_or(0, |member| member.last_read_seq) })
    }
}

/// The tail where this user sent it: who sends has read, also while the position is still to be written.
fn sent_last(principal: &Principal, ends: &Ends) -> u64 {
    let Principal::User(user) = principal else { return 0 };
    ends.tail.as_ref().filter(|tail| tail.sender == *user).map_or(0, |tail| tail.seq)
}
