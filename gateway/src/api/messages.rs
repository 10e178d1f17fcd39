//! Messages of a conversation.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{Reason, Refusal, envelope::Call, event::RateClass, limits};
use utoipa::openapi::HttpMethod;

use super::{
    Error,
    caller::Caller,
    calls::{self, Calls, optional, required},
    path::{Conversation, Message},
    query::Query,
    schema::{self, refer},
};

const TAG: &str = "messages";

pub(super) fn calls(calls: Calls) -> Calls {
    whereabouts(written(calls))
}

/// Reading, writing and changing them.
fn written(calls: Calls) -> Calls {
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
                .refused([Reason::NotAMember, Reason::NotFound, Reason::Conflict, Reason::RateLimitExceeded])
                .refused([Reason::Blocked]),
        )
        .on(
            "/conversations/{conversation_id}/messages/{message_id}",
            edit,
            calls::Call::new(HttpMethod::Patch, TAG, "editMessage", "Gives a message other content")
                .says(
                    "Its author only, within 24 h after it was sent (SIMURGH_EDIT_WINDOW). Metadata stays where none is given.",
                )
                .body("MessageEdit")
                .answers(200, "The message as it is now.", "EditedMessage")
                .refused([Reason::NotAMember, Reason::NotFound, Reason::RateLimitExceeded, Reason::Blocked]),
        )
        .on(
            "/conversations/{conversation_id}/messages/{message_id}",
            delete,
            calls::Call::new(HttpMethod::Delete, TAG, "deleteMessage", "Deletes a message")
                .says(
                    "For everyone: its author, and services. For oneself: any member. Of what is deleted for everyone \
                     only its place, its sender and its `client_random` are left.",
                )
                .query(optional(
                    "for_everyone",
                    "Or for the caller alone. A service deletes for everyone.",
                    schema::flag().default(Some(true.into())),
                ))
                .done("It is deleted, or was before.")
                .refused([Reason::NotAMember, Reason::NotFound, Reason::RateLimitExceeded]),
        )
}

/// What has come to whom.
fn whereabouts(calls: Calls) -> Calls {
    calls
        .on(
            "/conversations/{conversation_id}/messages/{message_id}/receipts",
            receipts,
            calls::Call::new(
                HttpMethod::Get,
                TAG,
                "listReceipts",
                "Who has got and read a message, and when",
            )
            .answers(200, "A row for each member but its sender.", "Receipts")
            .refused([Reason::NotAMember, Reason::NotFound]),
        )
        .on(
            "/conversations/{conversation_id}/messages/{message_id}/delivery",
            delivery,
            calls::Call::new(
                HttpMethod::Get,
                TAG,
                "getDelivery",
                "What became of a message on its way to a user",
            )
            .says(
                "For services. All gateways are asked; what they say is of now, and those that do not answer \
                     within a second are named.",
            )
            .query(required("user_id", "To whom.", refer("UserId")))
            .answers(200, "What the store and the gateways know.", "Delivery")
            .refused([Reason::NotFound]),
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

pub(super) async fn edit(
    caller: Caller,
    Conversation(conversation): Conversation,
    Message(message): Message,
    request: Request,
) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let body = caller.body(request).await?;
    caller.call(Call::EditMessage { conversation, message, body }).await
}

pub(super) async fn delete(
    caller: Caller,
    Conversation(conversation): Conversation,
    Message(message): Message,
    query: Query,
) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let for_everyone = query.flag("for_everyone")?.unwrap_or(true);
    caller.call(Call::DeleteMessage { conversation, message, for_everyone }).await
}

pub(super) async fn receipts(
    caller: Caller,
    Conversation(conversation): Conversation,
    Message(message): Message,
) -> Result<Response, Error> {
    caller.call(Call::Receipts { conversation, message }).await
}

pub(super) async fn delivery(
    caller: Caller,
    Conversation(conversation): Conversation,
    Message(message): Message,
    query: Query,
) -> Result<Response, Error> {
    let user = query.user()?.ok_or_else(|| Refusal::invalid("user_id", "is required"))?;
    caller.call(Call::Delivery { conversation, message, user }).await
}
