//! From a call to the rule that answers it.

use simurgh_protocol::{
    ConversationId, Push, Raw, Reason, Refusal,
    envelope::{Answer, Call, Command, Success},
};

use crate::{Request, Worker, document::done, reactions::React};

impl Worker {
    /// Does what a command asks, within its deadline.
    pub async fn answer(&self, command: Command) -> Answer {
        let Command { id, principal, token, deadline, call } = command;
        let request = Request { id, principal, deadline };
        let left = deadline.since(self.env.now());
        if left.is_zero() {
            return Answer::Refused(Refusal::unavailable("it came too late"));
        }
        let called = async {
            if let Some(token) = token {
                self.check_token(&request, &token).await?;
            }
            self.call(&request, call).await
        };
        match tokio::time::timeout(left, Box::pin(called)).await {
            Ok(Ok(success)) => Answer::Ok(success),
            Ok(Err(refusal)) => Answer::Refused(refusal),
            Err(_) => Answer::Refused(Refusal::unavailable("it took too long")),
        }
    }

    async fn call(&self, request: &Request, call: Call) -> Result<Success, Refusal> {
        match call {
            Call::JoinUser => self.join_user(request).await,
            Call::CreateConversation { policy, body } => {
                self.create_conversation(request, policy, &body).await
            }
            Call::ListConversations { user, limit, cursor } => {
                self.list_conversations(request, user.as_ref(), limit, cursor.as_deref()).await
            }
            Call::GetConversation { conversation } => self.get_conversation(request, &conversation).await,
            Call::PatchConversation { conversation, body } => {
                self.patch_conversation(request, &conversation, &body).await
            }
            Call::GetSettings { conversation, user } => {
                self.get_settings(request, &conversation, user.as_ref()).await
            }
            Call::PatchSettings { conversation, user, body } => {
                self.patch_settings(request, &conversation, user.as_ref(), &body).await
            }
            Call::Missed { conversation, users, gateway, message } => {
                self.missed_on_gateway(request, &conversation, users, gateway, message).await
            }
            Call::AddMember { conversation, user } => self.add_member(request, &conversation, &user).await,
            Call::RemoveMember { conversation: id, user } => self.remove_member(request, &id, &user).await,
            Call::ListContacts { user } => self.list_contacts(request, user.as_ref()).await,
            Call::SetContact { user, contact, present } => {
                self.set_contact(request, user.as_ref(), &contact, present).await
            }
            Call::ListBlocks { user, limit, cursor } => {
                self.list_blocks(request, user.as_ref(), limit, cursor.as_deref()).await
            }
            Call::SetBlock { user, other, present } => {
                self.set_block(request, user.as_ref(), &other, present).await
            }
            Call::GetPresence { user } => self.get_presence(request, &user).await,
            Call::Revoke { user } => self.revoke(request, user).await,
            Call::Revocations { since } => self.revocations(request, since).await,
            // It was, or there would be no call.
            Call::Admit => Ok(Success { status: 204, body: Raw::empty() }),
            Call::Notify { user, body } => self.notify(request, &user, &body).await,
            Call::PresenceChanged { user, entry } => self.presence_changed(request, &user, entry).await,
            Call::Visible => self.visible(request).await,
            Call::Sees => self.sees(request).await,
            Call::Push { conversation, push, payload } => {
                self.push(request, conversation.as_ref(), push, &payload).await
            }
            Call::JoinConversation { conversation, params } => {
                self.join_conversation(request, &conversation, &params).await
            }
            Call::History { conversation, page } => self.history(request, &conversation, &page).await,
            Call::Delivery { conversation, message, user } => {
                self.delivery(request, conversation, message, user).await
            }
            Call::PostMessage { conversation: id, body } => self.send_message(request, &id, &body).await,
            Call::EditMessage { conversation, message, body } => {
                self.edit_message(request, &conversation, message, &body).await
            }
            Call::DeleteMessage { conversation, message, for_everyone } => {
                self.delete_message(request, &conversation, message, for_everyone).await.map(|_| done(204))
            }
            Call::Receipts { conversation, message } => self.receipts(request, &conversation, message).await,
            Call::Range { conversation, after_seq, after_change } => {
                self.range(request, &conversation, after_seq, after_change).await
            }
            Call::Heads { conversations } => self.heads(request, conversations).await,
            Call::CheckMembers { conversation, users } => {
                self.check_members(request, &conversation, users).await
            }
        }
    }

    async fn push(
        &self,
        request: &Request,
        conversation: Option<&ConversationId>,
        push: Push,
        payload: &Raw,
    ) -> Result<Success, Refusal> {
        match (push, conversation) {
            (Push::MarkAllRead, None) => self.mark_all_read(request, payload).await,
            (Push::SendMessage, Some(id)) => self.send_message(request, id, payload).await,
            (Push::MarkAsRead, Some(id)) => self.mark_as_read(request, id, payload).await,
            (Push::MarkAsDelivered, Some(id)) => self.mark_as_delivered(request, id, payload).await,
            (Push::EditMessage, Some(id)) => self.push_edit(request, id, payload).await,
            (Push::DeleteMessage, Some(id)) => self.push_delete(request, id, payload).await,
            (Push::AddReaction, Some(id)) => self.react(request, id, payload, React::Add).await,
            (Push::RemoveReaction, Some(id)) => self.react(request, id, payload, React::Remove).await,
            // The others are the gateways' own.
            _ => Err(Refusal::new(Reason::UnknownEvent, "workers know no such event on this topic")),
        }
    }
}
