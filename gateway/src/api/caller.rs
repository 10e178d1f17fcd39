//! Who calls, with which body, and what comes of it.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, Request},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use simurgh_protocol::{
    Raw, Refusal,
    envelope::{Call, Presented, Principal, Success},
    event::RateClass,
    limits::PAYLOAD_LEVELS,
};
use tokio::time::timeout;

use super::{Context, Error, calls::Accepts, query};
use crate::{Shared, auth, workers::BUDGET};

/// How long a body may take to arrive.
const BODY: Duration = Duration::from_secs(10);

/// Somebody whose token was verified.
pub(super) struct Caller {
    shared: Arc<Shared>,
    principal: Principal,
    /// The token, which a worker looks at before it does anything.
    token: Option<Presented>,
}

impl FromRequestParts<Context> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Error> {
        let shared = Arc::clone(&context.shared);
        let token = auth::bearer(&parts.headers).unwrap_or_default();
        let claims = shared.auth.authenticate(token, &shared.env).await.map_err(Refusal::from)?;
        let token = claims.presented();
        let principal = claims.principal(context.services)?;
        query::check_names(parts.uri.query().unwrap_or_default(), parts.extensions.get::<Accepts>())?;
        Ok(Self { shared, principal, token })
    }
}

impl Caller {
    /// Who may create conversations.
    pub(super) fn create_policy(&self) -> simurgh_protocol::envelope::CreatePolicy {
        self.shared.settings.access.create_conversations
    }

    /// Counts a write against the user's rates; services have none.
    pub(super) fn count(&self, class: RateClass) -> Result<(), Error> {
        self.shared.count(&self.principal, class).map_err(Error::from)
    }

    /// The request's body: a JSON object within the frame limit, whatever its content type says.
    pub(super) async fn body(&self, request: Request) -> Result<Raw, Error> {
        let max_bytes = self.shared.settings.bounds.max_frame_bytes;
        let too_large = || Error(Refusal::too_large("the body", max_bytes));
        if announced(request.headers()).is_some_and(|bytes| bytes > max_bytes) {
            return Err(too_large());
        }
        let body = Limited::new(request.into_body(), max_bytes);
        let bytes = match timeout(BODY, body.collect()).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Err(_)) | Err(_) => return Err(Refusal::invalid("body", "did not arrive").into()),
        };
        let text = String::from_utf8(bytes.into()).map_err(|_| Refusal::invalid("body", "must be UTF-8"))?;
        Raw::from_string(text)
            .ok()
            .filter(Raw::is_object)
            .ok_or_else(|| Refusal::invalid("body", "must be a JSON object"))
            .and_then(|body| match body.is_within(PAYLOAD_LEVELS) {
                true => Ok(body),
                false => {
                    let problem = format!("must nest at most {PAYLOAD_LEVELS} levels deep");
                    Err(Refusal::invalid("body", problem))
                }
            })
            .map_err(Error::from)
    }

    /// Has a worker do it, and answers as it says.
    pub(super) async fn call(self, call: Call) -> Result<Response, Error> {
        let Success { status, body } = {
            let Self { shared, principal, token } = self;
            shared.workers.call_presenting(shared.env.instant() + BUDGET, principal, token, call).await?
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        if status == StatusCode::NO_CONTENT {
            return Ok(status.into_response());
        }
        let mut response = Response::new(Body::from(body.get().to_owned()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
