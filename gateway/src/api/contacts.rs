//! Contacts.

use axum::response::Response;
use simurgh_protocol::{UserId, envelope::Call, event::RateClass};

use super::{Error, caller::Caller, path::User, query::Query};

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
