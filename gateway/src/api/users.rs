//! Users: their presence, notices to them, and their sessions.

use axum::{extract::Request, response::Response};
use simurgh_protocol::{Reason, envelope::Call, event::RateClass};
use utoipa::openapi::HttpMethod;

use super::{
    Error,
    caller::Caller,
    calls::{self, Calls},
    path::User,
};

const TAG: &str = "users";

pub(super) fn calls(calls: Calls) -> Calls {
    calls
        .on(
            "/users/{user_id}/presence",
            presence,
            calls::Call::new(HttpMethod::Get, TAG, "getPresence", "The status of a user")
                .says("For oneself, those who may see it, and services.")
                .answers(200, "How the user looks to others.", "Presence"),
        )
        .on(
            "/users/{user_id}/notifications",
            notify,
            calls::Call::new(HttpMethod::Post, TAG, "notifyUser", "Sends a notice to a user's live sessions")
                .says("Of services. It is stored nowhere; sent again, it may come twice, with one `id`.")
                .body("NewNotification")
                .answers(202, "It is on its way.", "Notified")
                .refused([Reason::RateLimitExceeded]),
        )
        .on(
            "/users/{user_id}/sessions",
            revoke,
            calls::Call::new(HttpMethod::Delete, TAG, "revokeSessions", "Revokes a user's tokens")
                .says(
                    "Of services. Closes the user's sockets everywhere within a second; tokens that were issued up to \
                     then, or say nothing of when, count no more.",
                )
                .answers(202, "It is stored, and holds from now on.", "Revoked"),
        )
}

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
