//! Users: their presence, notices to them, and their sessions.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{envelope::Call, event::RateClass};

use super::{Error, caller::Caller, path::User};

pub(super) async fn presence(caller: Caller, User(user): User) -> Result<Response, Error> {
    caller.call(Call::GetPresence { user }).await
}

pub(super) async fn notify(caller: Caller, User(user): User, request: Request) -> Result<Response, Error> {
    caller.count(RateClass::Pushes)?;
    let body = caller.body(request).await?;
    caller.call(Call::Notify { user, body }).await
}

pub(super) async fn revoke(caller: Caller, User(user): User) -> Result<Response, Error> {
    caller.call(Call::Revoke { user }).await
}
