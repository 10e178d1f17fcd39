//! What a member has set for itself in a conversation.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{Reason, envelope::Call, event::RateClass};
use utoipa::openapi::HttpMethod;

use super::{
    Error,
    caller::Caller,
    calls::{self, Calls},
    path::Conversation,
    query::{self, Query},
};

const TAG: &str = "conversations";
const PATH: &str = "/conversations/{conversation_id}/settings";

/// To users and to services, where the path names a conversation.
const NOT_THERE: [Reason; 2] = [Reason::NotAMember, Reason::NotFound];

pub(super) fn calls(calls: Calls) -> Calls {
    calls
        .on(
            PATH,
            get,
            calls::Call::new(HttpMethod::Get, TAG, "getSettings", "A member's settings of a conversation")
                .query(query::for_user())
                .answers(200, "The settings.", "ConversationSettings")
                .refused(NOT_THERE),
        )
        .on(
            PATH,
            patch,
            calls::Call::new(
                HttpMethod::Patch,
                TAG,
                "updateSettings",
                "Mutes a conversation, or not any more",
            )
            .says("While it is muted, push services are told nothing of what the member misses there.")
            .query(query::for_user())
            .body("SettingsPatch")
            .answers(200, "The settings as they are now.", "ConversationSettings")
            .refused(NOT_THERE)
            .refused([Reason::RateLimitExceeded]),
        )
}

pub(super) async fn get(
    caller: Caller,
    Conversation(conversation): Conversation,
    query: Query,
) -> Result<Response, Error> {
    let user = query.user()?;
    caller.call(Call::GetSettings { conversation, user }).await
}

pub(super) async fn patch(
    caller: Caller,
    Conversation(conversation): Conversation,
    query: Query,
    request: Request,
) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let user = query.user()?;
    let body = caller.body(request).await?;
    caller.call(Call::PatchSettings { conversation, user, body }).await
}
