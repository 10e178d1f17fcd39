//! Blocks: who wants to hear nothing of whom.

use axum::response::Response;
use simurgh_protocol::{Reason, UserId, envelope::Call, event::RateClass, limits};
use utoipa::openapi::HttpMethod;

use super::{
    Error,
    caller::Caller,
    calls::{self, Calls, optional},
    path::User,
    query::{self, Query},
    schema,
};

const TAG: &str = "blocks";

pub(super) fn calls(calls: Calls) -> Calls {
    calls
        .on(
            "/blocks",
            list,
            calls::Call::new(HttpMethod::Get, TAG, "listBlocks", "A page of those whom a user blocks")
                .query(optional("limit", "Users at most.", schema::page_limit(limits::BLOCKS_PAGE)))
                .query(optional(
                    "cursor",
                    "The `next_cursor` of the page before. Empty is as good as absent.",
                    schema::cursor(),
                ))
                .query(query::for_user())
                .answers(200, "The page.", "BlockPage"),
        )
        .on(
            "/blocks/{user_id}",
            add,
            calls::Call::new(HttpMethod::Put, TAG, "addBlock", "Blocks a user")
                .says(
                    "No direct messages, presence or typing between the two. Who is blocked is told nothing, and answered \
                     as ever.",
                )
                .query(query::for_user())
                .done("It is blocked, or was already.")
                .refused([Reason::Conflict, Reason::RateLimitExceeded]),
        )
        .on(
            "/blocks/{user_id}",
            remove,
            calls::Call::new(HttpMethod::Delete, TAG, "removeBlock", "Blocks a user no longer")
                .says("What was said meanwhile is not made up for.")
                .query(query::for_user())
                .done("It is not blocked.")
                .refused([Reason::RateLimitExceeded]),
        )
}

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, Error> {
    let limit = query.limit(limits::BLOCKS_PAGE)?;
    let (user, cursor) = (query.user()?, query.cursor("cursor")?);
    caller.call(Call::ListBlocks { user, limit, cursor }).await
}

pub(super) async fn add(caller: Caller, User(other): User, query: Query) -> Result<Response, Error> {
    set(caller, other, &query, true).await
}

pub(super) async fn remove(caller: Caller, User(other): User, query: Query) -> Result<Response, Error> {
    set(caller, other, &query, false).await
}

async fn set(caller: Caller, other: UserId, query: &Query, present: bool) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let user = query.user()?;
    caller.call(Call::SetBlock { user, other, present }).await
}
