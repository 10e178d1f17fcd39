//! Ids in paths.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use simurgh_protocol::{ConversationId, MessageId, Refusal, UserId};

use super::{Context, Error};

/// The path's `{conversation_id}`. A malformed one breaks a rule of the contract (section 2) and is told so, which says
/// nothing of any conversation.
pub(super) struct Conversation(pub(super) ConversationId);

/// The path's `{message_id}`.
pub(super) struct Message(pub(super) MessageId);

/// The path's `{user_id}`.
pub(super) struct User(pub(super) UserId);

impl FromRequestParts<Context> for Conversation {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Error> {
        id(parts, context, "conversation_id", ConversationId::new).await.map(Self)
    }
}

impl FromRequestParts<Context> for User {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Error> {
        id(parts, context, "user_id", UserId::new).await.map(Self)
    }
}

impl FromRequestParts<Context> for Message {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Error> {
        let read = |text: &str| MessageId::parse(text).ok_or("must be the id of a message");
        id(parts, context, "message_id", read).await.map(Self)
    }
}

async fn id<T, E: ToString>(
    parts: &mut Parts,
    context: &Context,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Error> {
    // Fails where percent-encoding hides what is not UTF-8.
    let params = RawPathParams::from_request_parts(parts, context).await;
    let text = params.ok().and_then(|params| {
        params.iter().find(|(param, _)| *param == name).map(|(_, value)| value.to_owned())
    });
    read(text.as_deref().unwrap_or_default())
        .map_err(|invalid| Refusal::invalid(name, invalid.to_string()).into())
}
