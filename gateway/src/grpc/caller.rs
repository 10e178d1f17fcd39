//! Who calls, until when it waits, and what comes of it.

use std::{sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use simurgh_protocol::{
    Raw, Refusal,
    envelope::{Call, Principal, Success},
    event::RateClass,
    limits::PAYLOAD_LEVELS,
};
use tokio::time::Instant;
use tonic::{Request, Status, metadata::MetadataMap};

use super::status::status;
use crate::{
    Shared,
    auth::{self, Claims},
    workers::BUDGET,
};

/// Somebody whose token was verified.
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) principal: Principal,
    pub(super) claims: Claims,
    /// When whoever calls waits no longer, where it says so.
    pub(super) deadline: Option<Instant>,
}

impl Caller {
    /// Who it is by the request's metadata.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a token that counts.
    pub(super) async fn of<T>(shared: &Arc<Shared>, request: &Request<T>) -> Result<Self, Status> {
        let headers = request.metadata();
        let deadline = deadline(headers).map(|wait| shared.env.instant() + wait);
        let token = auth::bearer(headers.as_ref()).unwrap_or_default();
        let claims = shared.auth.authenticate(token, &shared.env).await.map_err(Refusal::from);
        let claims = claims.map_err(status)?;
        // Only the internal listener serves this.
        let principal = claims.principal(true).map_err(status)?;
        Ok(Self { shared: Arc::clone(shared), principal, claims, deadline })
    }

    /// Counts against the user's rates; services have none.
    pub(super) fn count(&self, class: RateClass) -> Result<(), Status> {
        self.shared.count(&self.principal, class).map_err(status)
    }

    /// Has a worker do it, and answers its status and what it says.
    ///
    /// # Errors
    /// The worker's refusal, or `DEADLINE_EXCEEDED`: then it may have been done, or be done yet.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<(u16, T), Status> {
        let Success { status: code, body } = self.ask(call).await?;
        let read = body.parse().map_err(|error| {
            tracing::warn!(%error, "a worker's answer could not be read: upgrade this gateway");
            status(Refusal::unavailable("the answer could not be read"))
        })?;
        Ok((code, read))
    }

    /// The same, of which nothing but that it was done is of interest.
    pub(super) async fn done(&self, call: Call) -> Result<(), Status> {
        self.ask(call).await.map(drop)
    }

    async fn ask(&self, call: Call) -> Result<Success, Status> {
        let budget = self.shared.env.instant() + BUDGET;
        let until = self.deadline.map_or(budget, |deadline| deadline.min(budget));
        let (principal, token) = (self.principal.clone(), self.claims.presented());
        let asked = self.shared.workers.call_presenting(until, principal, token, call);
        match tokio::time::timeout_at(until, asked).await {
            Ok(answer) => answer.map_err(|refusal| match self.is_late() {
                true => late(),
                false => status(refusal),
            }),
            Err(_) if until < budget => Err(late()),
            Err(_) => Err(status(Refusal::unavailable("no worker answered"))),
        }
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= self.shared.env.instant())
    }

    /// A body for workers, within the bounds that it has by HTTP.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` where it is larger, or nests deeper.
    pub(super) fn body(&self, body: &serde_json::Value) -> Result<Raw, Status> {
        let (raw, max_bytes) = (Raw::of(body), self.shared.settings.bounds.max_frame_bytes);
        if raw.get().len() > max_bytes {
            return Err(status(Refusal::too_large("the message", max_bytes)));
        }
        if !raw.is_within(PAYLOAD_LEVELS) {
            let problem = format!("must nest at most {PAYLOAD_LEVELS} levels deep");
            return Err(status(Refusal::invalid("metadata", problem)));
        }
        Ok(raw)
    }
}

/// Whoever called waits no longer.
pub(super) fn late() -> Status {
    Status::deadline_exceeded("the deadline passed before it was known what became of it")
}

/// How long whoever calls waits: `grpc-timeout`, up to eight digits and a unit. Anything else is as none.
fn deadline(headers: &MetadataMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8 && !digits.starts_with('+'))?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        let read = |text: &'static str| {
            let mut headers = MetadataMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            deadline(&headers)
        };
        assert_eq!(read("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!((read("2M"), read("3S")), (Some(Duration::from_secs(120)), Some(Duration::from_secs(3))));
        assert_eq!(
            (read("5m"), read("6u")),
            (Some(Duration::from_millis(5)), Some(Duration::from_micros(6)))
        );
        assert_eq!(read("0n"), Some(Duration::ZERO));
        for bad in ["", "S", "5", "5s", "-1S", "+1S", "123456789S", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(deadline(&MetadataMap::new()), None);
    }
}
