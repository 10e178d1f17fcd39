//! Conversations and their members.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{Reason, envelope::Call, event::RateClass, limits};
use utoipa::openapi::HttpMethod;

use super::{
    Error,
    caller::Caller,
    calls::{self, Calls, optional},
    path::{Conversation, User},
    query::{self, Query},
    schema,
};

const TAG: &str = "conversations";

/// To users and to services, where the path names a conversation.
const NOT_THERE: [Reason; 2] = [Reason::NotAMember, Reason::NotFound];

pub(super) fn calls(calls: Calls) -> Calls {
    let calls = calls
        .on(
            "/conversations",
            create,
            calls::Call::new(HttpMethod::Post, TAG, "createConversation", "Creates a conversation")
                .body("NewConversation")
                .answers(201, "It is created.", "Conversation")
                .answers(200, "It was there, with these members and, if one is given, this id.", "Conversation")
                .refused([Reason::Conflict, Reason::RateLimitExceeded, Reason::Blocked]),
        )
        .on(
            "/conversations",
            list,
            calls::Call::new(HttpMethod::Get, TAG, "listConversations", "A page of a user's conversations")
                .says(
                    "Latest activity first. A page may be shorter than `limit`: go by `next_cursor`. What becomes \
                     active while pages are read moves before them.",
                )
                .query(optional("limit", "Conversations at most.", schema::page_limit(limits::LIST_PAGE)))
                .query(optional(
                    "cursor",
                    "The `next_cursor` of the page before. Empty is as good as absent.",
                    schema::cursor(),
                ))
                .query(query::for_user())
                .answers(200, "The page.", "ConversationPage"),
        )
        .on(
            "/conversations/{conversation_id}",
            get,
            calls::Call::new(HttpMethod::Get, TAG, "getConversation", "A conversation")
                .answers(200, "The conversation.", "Conversation")
                .refused(NOT_THERE),
        )
        .on(
            "/conversations/{conversation_id}",
            patch,
            calls::Call::new(HttpMethod::Patch, TAG, "updateConversation", "Changes a conversation's metadata")
                .says("Of its creator and of services.")
                .body("ConversationPatch")
                .answers(200, "The conversation as it is now.", "Conversation")
                .refused(NOT_THERE)
                .refused([Reason::RateLimitExceeded]),
        );
    members(calls)
}

fn members(calls: Calls) -> Calls {
    const PATH: &str = "/conversations/{conversation_id}/members/{user_id}";
    calls
        .on(
            PATH,
            add_member,
            calls::Call::new(HttpMethod::Put, TAG, "addMember", "Adds a member")
                .says("Of members and services, to groups.")
                .done("It is a member, or was one already.")
                .refused(NOT_THERE)
                .refused([Reason::Conflict, Reason::RateLimitExceeded]),
        )
        .on(
            PATH,
            remove_member,
            calls::Call::new(HttpMethod::Delete, TAG, "removeMember", "Removes a member, or leaves")
                .says(
                    "Of the creator and of services, from groups; one may always leave. Once it is answered, nothing \
                     of that member's in the conversation succeeds.",
                )
                .done("It is no member.")
                .refused(NOT_THERE)
                .refused([Reason::Conflict, Reason::RateLimitExceeded]),
        )
}

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
