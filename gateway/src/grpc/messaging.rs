//! The calls, each as what workers are asked.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use simurgh_protocol::{Refusal, envelope::Call, event::RateClass, limits};
use simurgh_rpc::v1::{messaging_server, *};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{
    bodies::{self, Body, conversation, user, whose},
    caller::Caller,
    status::status,
    subscription::{self, Places},
};
use crate::Shared;

/// The service.
#[derive(Clone)]
pub(super) struct Messaging {
    shared: Arc<Shared>,
    places: Places,
}

type Answer<T> = Result<Response<T>, Status>;

impl Messaging {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, places: Places::default() }
    }

    async fn caller<T>(&self, request: Request<T>) -> Result<(Caller, T), Status> {
        let caller = Caller::of(&self.shared, &request).await?;
        Ok((caller, request.into_inner()))
    }

    async fn set_contact(
        &self,
        caller: Caller,
        whom: Option<String>,
        contact: &str,
        present: bool,
    ) -> Result<(), Status> {
        caller.count(RateClass::Pushes)?;
        let user = whose("user_id", whom.as_ref()).map_err(status)?;
        let contact = user_of("contact_id", contact)?;
        caller.done(Call::SetContact { user, contact, present }).await
    }
}

fn user_of(field: &str, id: &str) -> Result<simurgh_protocol::UserId, Status> {
    user(field, id).map_err(status)
}

#[tonic::async_trait]
impl messaging_server::Messaging for Messaging {
    async fn create_conversation(
        &self,
        request: Request<CreateConversationRequest>,
    ) -> Answer<CreateConversationResponse> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let CreateConversationRequest { id, r#type, member_ids, metadata } = asked;
        let body = Body::default().with_some("id", id).with("type", r#type).with("member_ids", member_ids);
        let body = body.with_object("metadata", metadata.as_ref()).map_err(status)?;
        let policy = self.shared.settings.access.create_conversations;
        let call = Call::CreateConversation { policy, body: caller.body(&body.into_json())? };
        let (code, conversation) = caller.call(call).await?;
        Ok(Response::new(CreateConversationResponse {
            conversation: Some(conversation),
            existed: code == 200,
        }))
    }

    async fn list_conversations(
        &self,
        request: Request<ListConversationsRequest>,
    ) -> Answer<ListConversationsResponse> {
        let (caller, asked) = self.caller(request).await?;
        let call = || -> Result<Call, Refusal> {
            Ok(Call::ListConversations {
                user: whose("user_id", asked.user_id.as_ref())?,
                limit: bodies::limit(asked.limit, limits::LIST_PAGE)?,
                cursor: bodies::cursor("cursor", asked.cursor)?,
            })
        };
        caller.call(call().map_err(status)?).await.map(|(_, page)| Response::new(page))
    }

    async fn get_conversation(&self, request: Request<GetConversationRequest>) -> Answer<Conversation> {
        let (caller, asked) = self.caller(request).await?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        caller.call(Call::GetConversation { conversation }).await.map(|(_, found)| Response::new(found))
    }

    async fn update_conversation(&self, request: Request<UpdateConversationRequest>) -> Answer<Conversation> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let body = Body::default().with_object("metadata", asked.metadata.as_ref()).map_err(status)?;
        let call = Call::PatchConversation { conversation, body: caller.body(&body.into_json())? };
        caller.call(call).await.map(|(_, changed)| Response::new(changed))
    }

    async fn get_settings(&self, request: Request<GetSettingsRequest>) -> Answer<ConversationSettings> {
        let (caller, asked) = self.caller(request).await?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let user = whose("user_id", asked.user_id.as_ref()).map_err(status)?;
        caller.call(Call::GetSettings { conversation, user }).await.map(|(_, found)| Response::new(found))
    }

    async fn update_settings(&self, request: Request<UpdateSettingsRequest>) -> Answer<ConversationSettings> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let user = whose("user_id", asked.user_id.as_ref()).map_err(status)?;
        let until = bodies::time("muted_until", asked.muted_until.as_ref()).map_err(status)?;
        let body = Body::default().with("muted_until", until);
        let call = Call::PatchSettings { conversation, user, body: caller.body(&body.into_json())? };
        caller.call(call).await.map(|(_, now)| Response::new(now))
    }

    async fn add_member(&self, request: Request<AddMemberRequest>) -> Answer<AddMemberResponse> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let call = Call::AddMember { conversation, user: user_of("user_id", &asked.user_id)? };
        caller.done(call).await.map(|()| Response::new(AddMemberResponse {}))
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Answer<RemoveMemberResponse> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let call = Call::RemoveMember { conversation, user: user_of("user_id", &asked.user_id)? };
        caller.done(call).await.map(|()| Response::new(RemoveMemberResponse {}))
    }

    async fn list_messages(&self, request: Request<ListMessagesRequest>) -> Answer<ListMessagesResponse> {
        let (caller, asked) = self.caller(request).await?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let page = bodies::page(asked, limits::HISTORY_PAGE).map_err(status)?;
        caller.call(Call::History { conversation, page }).await.map(|(_, page)| Response::new(page))
    }

    async fn send_message(&self, request: Request<SendMessageRequest>) -> Answer<SendMessageResponse> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Messages)?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let body = Body::default()
            .with_some("sender_id", asked.sender_id)
            .with("message_type", asked.message_type.unwrap_or_else(|| "text".to_owned()))
            .with("content", asked.content)
            .with("client_random", asked.client_random)
            .with_some("reply_to_id", asked.reply_to_id);
        let body = body.with_object("metadata", asked.metadata.as_ref()).map_err(status)?;
        let call = Call::PostMessage { conversation, body: caller.body(&body.into_json())? };
        caller.call(call).await.map(|(_, sent)| Response::new(sent))
    }

    async fn edit_message(&self, request: Request<EditMessageRequest>) -> Answer<EditMessageResponse> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let message = bodies::message(&asked.message_id).map_err(status)?;
        let body = Body::default().with("content", asked.content).with_some("sender_id", asked.sender_id);
        let body = body.with_object("metadata", asked.metadata.as_ref()).map_err(status)?;
        let call = Call::EditMessage { conversation, message, body: caller.body(&body.into_json())? };
        caller.call(call).await.map(|(_, edited)| Response::new(edited))
    }

    async fn delete_message(&self, request: Request<DeleteMessageRequest>) -> Answer<DeleteMessageResponse> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let message = bodies::message(&asked.message_id).map_err(status)?;
        let call = Call::DeleteMessage { conversation, message, for_everyone: !asked.for_me };
        caller.done(call).await.map(|()| Response::new(DeleteMessageResponse {}))
    }

    async fn list_receipts(&self, request: Request<ListReceiptsRequest>) -> Answer<ListReceiptsResponse> {
        let (caller, asked) = self.caller(request).await?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let message = bodies::message(&asked.message_id).map_err(status)?;
        caller.call(Call::Receipts { conversation, message }).await.map(|(_, rows)| Response::new(rows))
    }

    async fn get_delivery(&self, request: Request<GetDeliveryRequest>) -> Answer<Delivery> {
        let (caller, asked) = self.caller(request).await?;
        let conversation = conversation(&asked.conversation_id).map_err(status)?;
        let message = bodies::message(&asked.message_id).map_err(status)?;
        let user = user_of("user_id", &asked.user_id)?;
        caller.call(Call::Delivery { conversation, message, user }).await.map(|(_, told)| Response::new(told))
    }

    async fn list_contacts(&self, request: Request<ListContactsRequest>) -> Answer<ListContactsResponse> {
        let (caller, asked) = self.caller(request).await?;
        let user = whose("user_id", asked.user_id.as_ref()).map_err(status)?;
        caller.call(Call::ListContacts { user }).await.map(|(_, contacts)| Response::new(contacts))
    }

    async fn add_contact(&self, request: Request<AddContactRequest>) -> Answer<AddContactResponse> {
        let (caller, AddContactRequest { user_id, contact_id }) = self.caller(request).await?;
        self.set_contact(caller, user_id, &contact_id, true).await?;
        Ok(Response::new(AddContactResponse {}))
    }

    async fn remove_contact(&self, request: Request<RemoveContactRequest>) -> Answer<RemoveContactResponse> {
        let (caller, RemoveContactRequest { user_id, contact_id }) = self.caller(request).await?;
        self.set_contact(caller, user_id, &contact_id, false).await?;
        Ok(Response::new(RemoveContactResponse {}))
    }

    async fn get_presence(&self, request: Request<GetPresenceRequest>) -> Answer<Presence> {
        let (caller, asked) = self.caller(request).await?;
        let user = user_of("user_id", &asked.user_id)?;
        caller.call(Call::GetPresence { user }).await.map(|(_, seen)| Response::new(seen))
    }

    async fn notify(&self, request: Request<NotifyRequest>) -> Answer<NotifyResponse> {
        let (caller, asked) = self.caller(request).await?;
        caller.count(RateClass::Pushes)?;
        let NotifyRequest { user_id, kind, title, body, data } = asked;
        let user = user_of("user_id", &user_id)?;
        let said = Body::default().with("kind", kind).with("title", title).with("body", body);
        let said = said.with_object("data", data.as_ref()).map_err(status)?;
        let call = Call::Notify { user, body: caller.body(&said.into_json())? };
        caller.call(call).await.map(|(_, told)| Response::new(told))
    }

    async fn revoke_sessions(
        &self,
        request: Request<RevokeSessionsRequest>,
    ) -> Answer<RevokeSessionsResponse> {
        let (caller, asked) = self.caller(request).await?;
        let user = user_of("user_id", &asked.user_id)?;
        caller.call(Call::Revoke { user }).await.map(|(_, revoked)| Response::new(revoked))
    }

    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        let (caller, asked) = self.caller(request).await?;
        // In a task: whoever calls may be gone before it stands, and what was noted of it is to be taken back then.
        let starting = subscription::start(caller, asked, self.places.clone()).in_current_span();
        let begun = self.shared.connections.spawn(starting);
        let events = begun.await.map_err(|_| Status::internal("the gateway is stopping"))??;
        Ok(Response::new(Box::pin(events)))
    }
}
