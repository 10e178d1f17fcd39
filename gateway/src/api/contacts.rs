//! Contacts.

use axum::response::Response;
use simurgh_protocol::{Reason, UserId, envelope::Call, event::RateClass};
use utoipa::openapi::HttpMethod;

use super::{
    Error,
    caller::Caller,
    calls::{self, Calls},
    path::User,
    query::{self, Query},
};

const TAG: &str = "contacts";

pub(super) fn calls(calls: Calls) -> Calls {
    calls
        .on(
            "/contacts",
            list,
            calls::Call::new(HttpMethod::Get, TAG, "listContacts", "The contacts of a user")
                .query(query::for_user())
                .answers(200, "Who may see the user's status.", "Contacts"),
        )
        .on(
            "/contacts/{user_id}",
            add,
            calls::Call::new(HttpMethod::Put, TAG, "addContact", "Adds a contact")
                .says("Shows the caller's status to that user, and not the other way round.")
                .query(query::for_user())
                .done("It is a contact, or was one already.")
                .refused([Reason::Conflict, Reason::RateLimitExceeded]),
        )
        .on(
            "/contacts/{user_id}",
            remove,
            calls::Call::new(HttpMethod::Delete, TAG, "removeContact", "Removes a contact")
                .query(query::for_user())
                .done("It is no contact.")
                .refused([Reason::RateLimitExceeded]),
        )
}

pub(super) async fn list(caller: Caller, query: Query) -> Result<Response, Error> {
    let user = query.user()?;
    caller.call(Call::ListContacts { user }).await
}

pub(super) async fn add(caller: Caller, User(contact): User, query: Query) -> Result<Response, Error> {
    set(caller, contact, &query, true).await
}

pub(super) async fn remove(caller: Caller, User(contact): User, query: Query) -> Result<Response, Error> {
    set(caller, contact, &query, false).await
}

async fn set(caller: Caller, contact: UserId, query: &Query, present: bool) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let user = query.user()?;
    caller.call(Call::SetContact { user, contact, present }).await
}
