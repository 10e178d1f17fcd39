//! Revocation: a user's tokens of before count no more (contract section 2).
//!
//! What decides is a document of the user's, read with every request that comes with a token of its own and whenever a
//! socket is opened or renewed. So it holds whatever becomes of the backplane and the gateways. That open sockets end is
//! published to all gateways; those who did not hear of it read it from a list of all revocations of the last day.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{
    Raw, Reason, Refusal, Timestamp, UserId,
    envelope::{self, GatewayEnvelope, Presented, Revocation, Revocations, Success},
};

use crate::{
    Request, Worker,
    document::{self, ATTEMPTS, Stored},
    store::{Expect, Write, keys},
};

/// How long gateways can find a revocation that they did not hear of. A gateway asks every few seconds, and after each
/// reconnect.
const LISTED: Duration = Duration::from_secs(24 * 60 * 60);
/// Revocations in one answer.
const PAGE: usize = 500;

/// The document of `keys::revoked`. It has no end: a token may be valid for years.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RevokedDocument {
    /// Tokens that were issued then or earlier count no more.
    at: Timestamp,
}

impl Worker {
    /// `DELETE /api/v1/users/{id}/sessions`: 202 `{user_id, revoked_at}` once it is stored.
    ///
    /// # Errors
    /// `forbidden` for users.
    pub(crate) async fn revoke(&self, request: &Request, user: UserId) -> Result<Success, Refusal> {
        request.service_only()?;
        let revocation = self.store_revocation(request, user).await?;
        let listed = Write {
            expires_at: Some(revocation.at.plus(LISTED)),
            ..document::write(keys::revocation(revocation.at, &revocation.user), &revocation, Expect::Absent)
        };
        // Where it is listed already, an earlier attempt did it.
        self.commit(request, vec![listed]).await?;
        let told = envelope::encode(&GatewayEnvelope::Revoked(revocation.clone()));
        if let Err(error) = self.bus.publish(&self.subjects.all_gateways(), told).await {
            tracing::debug!(%error, "gateways will find a revocation by themselves");
        }
        let Revocation { user, at } = revocation;
        Ok(Success { status: 202, body: Raw::of(&serde_json::json!({"user_id": user, "revoked_at": at})) })
    }

    /// Never goes back: of two at once the later holds.
    async fn store_revocation(&self, request: &Request, user: UserId) -> Result<Revocation, Refusal> {
        let key = keys::revoked(&user);
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let stored: Option<Stored<RevokedDocument>> = self.load(request, &key).await?;
            let now = self.env.now();
            let at = stored.as_ref().map_or(now, |stored| stored.document.at.max(now));
            let write =
                document::write(key.clone(), &RevokedDocument { at }, document::expect(stored.as_ref()));
            if self.commit(request, vec![write]).await? {
                return Ok(Revocation { user, at });
            }
        }
        Err(document::contended())
    }

    /// # Errors
    /// `unauthorized` where the token was revoked.
    pub(crate) async fn check_token(&self, request: &Request, token: &Presented) -> Result<(), Refusal> {
        let stored: Option<Stored<RevokedDocument>> = self.load(request, &keys::revoked(&token.user)).await?;
        let revoked = stored.is_some_and(|Stored { document: RevokedDocument { at }, .. }| {
            Revocation { user: token.user.clone(), at }.covers(token.issued_at)
        });
        if revoked { Err(Refusal::new(Reason::Unauthorized, "the token was revoked")) } else { Ok(()) }
    }

    /// The revocations of `since` and later, as far as they are listed.
    pub(crate) async fn revocations(&self, request: &Request, since: Timestamp) -> Result<Success, Refusal> {
        request.service_only()?;
        request.in_time(&self.env)?;
        let page = self.store.query(keys::revocations(since, PAGE)).await?;
        let revocations: Vec<Revocation> = page.items.iter().map(document::read).collect::<Result<_, _>>()?;
        Ok(Success::ok(&Revocations { revocations, more: page.more }))
    }
}

#[cfg(test)]
mod tests;
