//! Messages of a conversation.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{Reason, envelope::Call, event::RateClass, limits};
use utoipa::openapi::HttpMethod;

use super::{
    Error,
    caller::Caller,
    calls::{self, Calls, optional},
    path::Conversation,
    query::Query,
    schema,
};

const TAG: &str = "messages";

pub(super) fn calls(calls: Calls) -> Calls {
    calls
        .on(
            "/conversations/{conversation_id}/messages",
            history,
            calls::Call::new(HttpMethod::Get, TAG, "listMessages", "A page of a conversation's messages")
                .says(
                    "The latest, or those next to `before_seq` or `after_seq`, of which one at most is given. A page \
                     may be shorter than `limit` (512 KiB): go by `has_more`.",
                )
                .query(optional("before_seq", "The latest of those before this one.", schema::position()))
                .query(optional("after_seq", "The earliest of those after this one.", schema::position()))
                .query(optional("limit", "Messages at most.", schema::page_limit(limits::HISTORY_PAGE)))
                .query(optional(
                    "since",
                    "A `change_cursor` of an earlier answer: `changes` are those since. Empty is as good as absent.",
                    schema::cursor(),
                ))
                .answers(200, "The page.", "HistoryPage")
                .refused([Reason::NotAMember, Reason::NotFound]),
        )
        .on(
            "/conversations/{conversation_id}/messages",
            post,
            calls::Call::new(HttpMethod::Post, TAG, "sendMessage", "Sends a message")
                .says(
                    "`client_random` names the message: sent again with the same type and content it is not stored \
                     again, and with others it is a `conflict`.",
                )
                .body("NewMessage")
                .answers(201, "It is stored.", "SentMessage")
                .answers(200, "It was stored by an earlier request.", "SentMessage")
                .refused([Reason::NotAMember, Reason::NotFound, Reason::Conflict, Reason::RateLimitExceeded]),
        )
}

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
