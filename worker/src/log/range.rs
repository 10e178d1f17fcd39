//! What gateways ask for: parts of the logs, and who is a member.

use simurgh_protocol::{
    ConversationId, Raw, Reason, Refusal, UserId,
    envelope::{Logged, Membership, Range, Success},
    limits,
    record::Message,
};

use super::read::{Room, SLACK, left, size};
use crate::{Request, Worker, access::MembersDocument, store::keys};

/// Bytes of changes in a range; what messages leave free is theirs, too.
const CHANGE_BYTES: usize = 128 * 1024;

/// Bytes of a message as it is told: twice, where some do not get it.
fn told_size(message: &Message) -> usize {
    size(message) * if message.silent.is_some() { 2 } else { 1 }
}

impl Worker {
    /// The messages after `after_seq` and the changes after `after_change`, in order and without a gap, as many as an
    /// envelope holds.
    pub(crate) async fn range(
        &self,
        request: &Request,
        id: &ConversationId,
        after_seq: u64,
        after_change: u64,
    ) -> Result<Success, Refusal> {
        let ends = self.ends(request, id).await?;
        let room = Room { count: usize::MAX, bytes: limits::ENVELOPE_BYTES - SLACK - CHANGE_BYTES };
        let messages = self.messages_after(request, id, after_seq, ends.last_seq(), room).await?;
        let messages = room.fill(self.with_quotes(request, id, messages).await?, told_size);
        // Where messages are left out, so are the changes from the first to one of them on: told a change to a message
        // that is still to come, a client has nothing to apply it to.
        let seen = messages.last().map_or(ends.last_seq(), |last| last.seq);
        let messages: Vec<Message> = messages.into_iter().map(Message::told).collect();
        // A gateway that does not know of them shows their places to everybody.
        let apart = messages.iter().filter(|message| message.silent.is_some());
        let apart: Vec<Logged> = apart
            .map(|message| Logged {
                except: message.silent.clone(),
                ..Logged::new(message.seq, Raw::of(message))
            })
            .collect();
        let blank = |message: Message| if message.silent.is_some() { message.hide() } else { message };
        let messages: Vec<Logged> = messages
            .into_iter()
            .map(blank)
            .map(|message| Logged::new(message.seq, Raw::of(&message)))
            .collect();
        // The first message fits always, even where it is larger than its share.
        let room = Room { count: usize::MAX, bytes: left(messages.iter().chain(&apart)) };
        let changes = self.changes_after(request, id, after_change, ends.change_seq, seen, room).await?;
        // After the logs: whoever was removed before one of these messages was sent is told of by this version.
        let members = self.load::<MembersDocument>(request, &keys::members(id)).await?;
        let members =
            members.ok_or_else(|| Refusal::new(Reason::NotFound, "there is no such conversation"))?;
        Ok(Success::ok(&Range { head: ends.head(id, members.version), messages, changes, apart }))
    }

    /// Which of these users are members.
    pub(crate) async fn check_members(
        &self,
        request: &Request,
        id: &ConversationId,
        users: Vec<UserId>,
    ) -> Result<Success, Refusal> {
        let roster = self.roster(request, id).await?;
        let members_version = roster.as_ref().map_or(0, |roster| roster.version);
        let is_member = |user: &UserId| roster.as_ref().is_some_and(|roster| roster.members.contains(user));
        let members = users.into_iter().filter(is_member).collect();
        Ok(Success::ok(&Membership { members_version, members }))
    }
}
