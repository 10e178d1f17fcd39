//! Conversations and their members.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{envelope::Call, event::RateClass, limits};

use super::{
    Error,
    caller::Caller,
    path::{Conversation, User},
    query::Query,
};

pub(super) async fn create(caller: Caller, request: Request) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let body = caller.body(request).await?;
    let policy = caller.create_policy();
    caller.call(Call::CreateConversation { policy, body }).await
}

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, Error> {
    let limit = query.limit(limits::LIST_PAGE)?;
    let (user, cursor) = (query.user()?, query.cursor("cursor")?);
    caller.call(Call::ListConversations { user, limit, cursor }).await
}

pub(super) async fn get(caller: Caller, Conversation(conversation): Conversation) -> Result<Response, Error> {
    caller.call(Call::GetConversation { conversation }).await
}

pub(super) async fn patch(
    caller: Caller,
    Conversation(conversation): Conversation,
    request: Request,
) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let body = caller.body(request).await?;
    caller.call(Call::PatchConversation { conversation, body }).await
}

pub(super) async fn add_member(
    caller: Caller,
    Conversation(conversation): Conversation,
    User(user): User,
) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    caller.call(Call::AddMember { conversation, user }).await
}

pub(super) async fn remove_member(
    caller: Caller,
    Conversation(conversation): Conversation,
    User(user): User,
) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    caller.call(Call::RemoveMember { conversation, user }).await
}
