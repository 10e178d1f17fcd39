//! Delivery: the positions up to which messages have come to members, and who has got and read what.

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Refusal, Timestamp, UserId,
    envelope::{Principal, Success},
    event::sent,
    record::ConversationType,
};

use crate::{
    Request, Worker, document,
    members::{MemberDocument, Position},
    reactions::{message_id, no_such_message},
    store::keys,
    validate,
};

#[cfg(test)]
mod tests;

#[derive(Deserialize)]
struct MarkAsDelivered {
    message_id: String,
}

#[derive(Serialize)]
struct Marked {
    marked_delivered: bool,
    last_delivered_seq: u64,
}

/// The payload of `delivery_receipt`.
#[derive(Serialize)]
struct Receipt<'a> {
    conversation_id: &'a ConversationId,
    message_id: MessageId,
    seq: u64,
    user_id: &'a UserId,
    at: Timestamp,
}

/// What one member has of a message.
#[derive(Debug, Serialize)]
struct Has {
    user_id: UserId,
    delivered: bool,
    /// Null where it is not known.
    delivered_at: Option<Timestamp>,
    read: bool,
    read_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Receipts<'a> {
    conversation_id: &'a ConversationId,
    message_id: MessageId,
    seq: u64,
    receipts: Vec<Has>,
}

impl Has {
    /// Of a message that never comes to the member.
    fn nothing(user_id: UserId) -> Self {
        Self { user_id, delivered: false, delivered_at: None, read: false, read_at: None }
    }

    /// Of the message at `seq`. `sent` is what the member has sent, and so read, that its document may not say yet.
    fn of(user_id: UserId, member: &MemberDocument, sent: u64, seq: u64) -> Self {
        Self {
            user_id,
            delivered: member.position(Position::Delivered).max(sent) >= seq,
            delivered_at: member.passed_at(Position::Delivered, seq),
            read: member.position(Position::Read).max(sent) >= seq,
            read_at: member.passed_at(Position::Read, seq),
        }
    }
}

impl Worker {
    /// `mark_as_delivered`: the position held. A receipt goes to the sender where it moved.
    pub(crate) async fn mark_as_delivered(
        &self,
        request: &Request,
        id: &ConversationId,
        payload: &Raw,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(None)?;
        let MarkAsDelivered { message_id: text } = validate::parse(payload)?;
        let wanted = message_id(&text)?;
        let roster = self.member_access(request, id).await?;
        let message = self.message(request, id, wanted).await?.ok_or_else(no_such_message)?;
        let moved = self.move_position(request, id, &user, Position::Delivered, message.seq()).await?;
        let moved = moved.ok_or_else(Refusal::not_a_member)?;
        // What happens in a conversation is no business of those who left it.
        let concerned = message.sender != user
            && roster.members.contains(&message.sender)
            && roster.unseen(&user) != Some(&message.sender);
        if moved.moved() && concerned {
            let (message_id, seq, at) = (message.id, message.seq(), self.env.now());
            let receipt = Raw::of(&Receipt { conversation_id: id, message_id, seq, user_id: &user, at });
            let (worker, unsure) = (self.clone(), roster.kind == ConversationType::Group);
            self.spawn(async move {
                if unsure && worker.may_be_apart(&message.sender, &user).await {
                    return;
                }
                worker.tell_users(&[message.sender], sent::DELIVERY_RECEIPT, &receipt).await;
            });
        }
        Ok(Success::ok(&Marked { marked_delivered: true, last_delivered_seq: moved.now }))
    }

    /// `GET …/messages/{message_id}/receipts`: what each member but its sender has of a message.
    pub(crate) async fn receipts(
        &self,
        request: &Request,
        id: &ConversationId,
        wanted: MessageId,
    ) -> Result<Success, Refusal> {
        let roster = self.member_access(request, id).await?;
        let message = self.message(request, id, wanted).await?.ok_or_else(no_such_message)?;
        let (seq, mut receipts) = (message.seq(), Vec::new());
        for item in self.load_whole(request, keys::all_members(id)).await? {
            let user = keys::named(&item.key).and_then(|user| UserId::new(user).ok());
            let member: MemberDocument = document::read(&item)?;
            if let Some(user) = user.filter(|user| member.holds() && *user != message.sender) {
                let sent = self.memory.bursts.position(id, &user);
                // While one of the two blocks the other, what the other one reads shows no more.
                let apart = match &request.principal {
                    Principal::User(asks) => roster.unseen(asks) == Some(&user),
                    Principal::Service => false,
                };
                let (member, sent) = if apart { (member.seen_by_other(), 0) } else { (member, sent) };
                receipts.push(match &message.silent {
                    Some(silent) if *silent == user => Has::nothing(user),
                    _ => Has::of(user, &member, sent, seq),
                });
            }
        }
        receipts.sort_by(|one, other| one.user_id.cmp(&other.user_id));
        Ok(Success::ok(&Receipts { conversation_id: id, message_id: message.id, seq, receipts }))
    }
}
