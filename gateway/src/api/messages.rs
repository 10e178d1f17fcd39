//! Messages of a conversation.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{envelope::Call, event::RateClass};

use super::{Error, caller::Caller, path::Conversation, query::Query};

pub(super) async fn history(
    caller: Caller,
    Conversation(conversation): Conversation,
    query: Query,
) -> Result<Response, Error> {
    let page = query.history()?;
    caller.call(Call::History { conversation, page }).await
}

pub(super) async fn post(
    caller: Caller,
    Conversation(conversation): Conversation,
    request: Request,
) -> Result<Response, Error> {
    caller.count(RateClass::Messages)?;
    let body = caller.body(request).await?;
    caller.call(Call::PostMessage { conversation, body }).await
}
