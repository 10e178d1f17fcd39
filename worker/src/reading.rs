//! Reading: positions that only rise, and the receipts that tell of them.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, future::try_join3, stream};
use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Reason, Refusal, Timestamp, UserId,
    envelope::{ConversationEvent, Success},
    event::sent,
    record::{ConversationType, Message},
};

use crate::{
    Request, Worker,
    access::Roster,
    broadcast::Notice,
    conversations::updated::{Change, ConversationUpdated},
    log::{burst::Moved, read::Room},
    members::{MemberDocument, Position},
    reactions::{message_id, no_such_message},
    store::keys,
    validate,
};

#[cfg(test)]
mod tests;

/// Conversations marked at once: all of a user's must be done within one attempt's time.
const AT_ONCE: usize = 64;
/// Conversations named in one `mark_all_read`, at most.
const NAMED: usize = 1_000;
/// How far back the last message by another is looked for: then a receipt names none, and is not sent.
const LOOKED_THROUGH: Room = Room { count: 200, bytes: 1024 * 1024 };

#[derive(Deserialize)]
struct MarkAsRead {
    message_id: String,
}

#[derive(Deserialize)]
struct MarkAllRead {
    conversation_ids: Option<Vec<ConversationId>>,
}

#[derive(Serialize)]
struct Marked {
    marked_read: bool,
    last_read_seq: u64,
}

/// What became of one conversation in `mark_all_read`.
#[derive(Serialize)]
struct Outcome {
    conversation_id: ConversationId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_read_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

/// The payload of `read_receipt`.
#[derive(Serialize)]
struct Receipt<'a> {
    conversation_id: &'a ConversationId,
    message_id: MessageId,
    seq: u64,
    user_id: &'a UserId,
    read_at: Timestamp,
}

/// The message that a receipt names.
struct Named {
    id: MessageId,
    sender: UserId,
}

/// A position that moved: what the users concerned are told of it.
struct Read {
    conversation: ConversationId,
    /// For the sender of the message that it names.
    receipt: Option<(UserId, Raw)>,
    /// Whether it has still to be found out that neither of the two blocks the other.
    unsure: bool,
}

impl Worker {
    /// `mark_as_read`: the position held. A receipt goes out where it moved.
    pub(crate) async fn mark_as_read(
        &self,
        request: &Request,
        id: &ConversationId,
        payload: &Raw,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let MarkAsRead { message_id: text } = validate::parse(payload)?;
        let wanted = message_id(&text)?;
        let roster = self.member_access(request, id).await?;
        let message = self.message(request, id, wanted).await?.ok_or_else(no_such_message)?;
        // What the user has sent since reads as well, and may not be written yet.
        let sent = self.memory.bursts.position(id, &user);
        let moved = self.move_position(request, id, &user, Position::Read, message.seq().max(sent)).await?;
        let moved = moved.ok_or_else(Refusal::not_a_member)?;
        if message.seq() > moved.before.max(sent) {
            let named = Named { id: message.id, sender: message.sender };
            let read = self.tell_receipt(id, &roster, &user, Some(named)).await;
            self.tell_readers(user, vec![read]);
        }
        Ok(Success::ok(&Marked { marked_read: true, last_read_seq: moved.now }))
    }

    /// `mark_all_read`: each conversation's outcome, in the order asked for.
    pub(crate) async fn mark_all_read(&self, request: &Request, payload: &Raw) -> Result<Success, Refusal> {
        let user = &request.acting_user(None)?;
        let MarkAllRead { conversation_ids } = validate::parse(payload)?;
        let named = conversation_ids.is_some();
        let ids = match conversation_ids {
            Some(ids) if ids.len() > NAMED => {
                return Err(Refusal::invalid("conversation_ids", format!("must be at most {NAMED}")));
            }
            Some(ids) => ids,
            None => self.memberships(request, user).await?.into_iter().map(|(id, _)| id).collect(),
        };
        let marks = ids.into_iter().map(|id| async move {
            let marked = self.mark_to_tail(request, &id, user).await;
            // One that failed must not hide what became of the others; but nothing is begun once it is too late.
            if marked.is_err() {
                request.in_time(&self.env)?;
            }
            Ok::<_, Refusal>((id, marked))
        });
        let (mut results, mut reads) = (Vec::new(), Vec::new());
        for (id, marked) in stream::iter(marks).buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
            // Who asks for all has not asked for those that were left, or never completed, meanwhile.
            let left = marked.as_ref().is_err_and(|refusal| refusal.reason == Reason::NotAMember);
            if named || !left {
                results.push(Outcome::of(id, marked.as_ref().map(|(seq, _)| *seq)));
            }
            reads.extend(marked.ok().and_then(|(_, read)| read));
        }
        self.tell_readers(user.clone(), reads);
        Ok(Success::ok(&BTreeMap::from([("results", results)])))
    }

    /// Moves the user's position to the last message. Answers the position held, and what is to be told.
    async fn mark_to_tail(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<(u64, Option<Read>), Refusal> {
        let key = keys::member(id, user);
        // A conversation that was never completed has member documents, too.
        let (roster, member, tail) = try_join3(
            self.member_access(request, id),
            self.load::<MemberDocument>(request, &key),
            self.tail(request, id),
        )
        .await?;
        let member = member.filter(|member| member.document.holds()).ok_or_else(Refusal::not_a_member)?;
        let (last_seq, held) = (tail.map_or(0, |tail| tail.seq), member.document.last_read_seq);
        if last_seq <= held {
            return Ok((held, None));
        }
        let moved = self.move_position(request, id, user, Position::Read, last_seq).await?;
        let moved = moved.ok_or_else(Refusal::not_a_member)?;
        if !moved.moved() {
            return Ok((moved.now, None));
        }
        let named = self.last_by_another(request, id, user, moved).await.unwrap_or_else(|refusal| {
            // The conversation is marked: that nobody is told of it does not undo that.
            tracing::debug!(%refusal, "a receipt was not sent");
            None
        });
        let read = self.tell_receipt(id, &roster, user, named).await;
        Ok((moved.now, Some(read)))
    }

    /// The last message by another among those that were read now.
    async fn last_by_another(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
        moved: Moved,
    ) -> Result<Option<Named>, Refusal> {
        let count = usize::try_from(moved.now - moved.before).unwrap_or(usize::MAX);
        let room = Room { count: LOOKED_THROUGH.count.min(count), ..LOOKED_THROUGH };
        let messages = self.messages_before(request, id, moved.now, room).await?;
        Ok(last_of_another(messages, user, moved.before))
    }

    /// Tells the conversation that a position moved, where a message can be named. Answers what users are to be told.
    async fn tell_receipt(
        &self,
        id: &ConversationId,
        roster: &Roster,
        user: &UserId,
        named: Option<Named>,
    ) -> Read {
        let conversation = id.clone();
        let unsure = roster.kind == ConversationType::Group;
        let Some(named) = named else { return Read { conversation, receipt: None, unsure } };
        let (message_id, seq, read_at) = (named.id, named.id.seq(), self.env.now());
        let payload = Raw::of(&Receipt { conversation_id: id, message_id, seq, user_id: user, read_at });
        let event = sent::READ_RECEIPT.to_owned();
        let apart = roster.unseen(user);
        let told = ConversationEvent::Told { event, payload: payload.clone(), except: apart.cloned() };
        self.tell_conversation(id, roster.version, told).await;
        // What happens in a conversation is no business of those who left it.
        let concerned = roster.members.contains(&named.sender) && apart != Some(&named.sender);
        Read { conversation, receipt: concerned.then_some((named.sender, payload)), unsure }
    }

    /// Tells the senders of what was read, and the reader's other devices, while the reader has its answer.
    fn tell_readers(&self, reader: UserId, reads: Vec<Read>) {
        if reads.is_empty() {
            return;
        }
        let (worker, updated_at) = (self.clone(), self.env.now());
        self.spawn(async move {
            let mut updates = Vec::new();
            for Read { conversation: conversation_id, receipt, unsure } in reads {
                if let Some((sender, receipt)) = receipt
                    && !(unsure && worker.may_be_apart(&sender, &reader).await)
                {
                    worker.tell_users(&[sender], sent::READ_RECEIPT, &receipt).await;
                }
                let (change, user_id) = (Change::Read, Some(reader.clone()));
                let updated =
                    ConversationUpdated { conversation_id, change, user_id, metadata: None, updated_at };
                updates.push(Notice::new(sent::CONVERSATION_UPDATED, Raw::of(&updated)));
            }
            worker.tell_users_each(&[reader], &updates).await;
        });
    }
}

impl Outcome {
    fn of(conversation_id: ConversationId, marked: Result<u64, &Refusal>) -> Self {
        let status = if marked.is_ok() { "ok" } else { "error" };
        let reason = marked.err().map(|refusal| refusal.reason);
        Self { conversation_id, status, last_read_seq: marked.ok(), reason }
    }
}

/// The first by another of these messages, which come from the last to the first, behind `after`.
fn last_of_another(messages: Vec<Message>, user: &UserId, after: u64) -> Option<Named> {
    let mut others = messages.into_iter().filter(|message| message.seq > after && message.sender_id != *user);
    others.next().map(|message| Named { id: message.id, sender: message.sender_id })
}
