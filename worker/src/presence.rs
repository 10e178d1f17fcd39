//! The status of users: read from the presence entries of the gateways, noted for `last_seen`, and shown by the gateways of
//! those who may see it, which this module has look.

use std::time::Duration;

use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    Raw, Reason, Refusal, UserId,
    envelope::{self, EntryMark, GatewayEnvelope, Principal, Seen, Success, UserPresence},
};

use self::status::StatusDocument;
use crate::{
    Request, Worker,
    document::{self, ATTEMPTS, Stored},
    store::{StoreError, keys},
};

mod status;

#[cfg(test)]
mod tests;

/// How often a presence entry that is not what was written is read again: a replica of the backplane may lag.
const SETTLING: usize = 3;
/// The wait before each time.
const SETTLING_WAIT: Duration = Duration::from_millis(50);
/// How often gateways are told again of a change of visibility that they did not answer.
const TELLINGS: u32 = 5;
/// The wait before the first time; each further one is longer.
const TELLING_WAIT: Duration = Duration::from_secs(1);

impl Worker {
    /// `GET /api/v1/users/{id}/presence`: `{user_id, status, last_seen}`, for oneself, those who may see it and services.
    ///
    /// # Errors
    /// `forbidden` for others.
    pub(crate) async fn get_presence(&self, request: &Request, user: &UserId) -> Result<Success, Refusal> {
        if let Principal::User(viewer) = &request.principal
            && viewer != user
            && !self.may_see(request, viewer, user).await?
        {
            return Err(Refusal::new(Reason::Forbidden, "this user does not show its status to you"));
        }
        let seen = match &request.principal {
            Principal::User(viewer) if viewer != user => self.seen_by(request, viewer, user).await?,
            _ => self.seen(request, user).await?,
        };
        Ok(Success::ok(&seen))
    }

    /// How a user looks to one who may see it. To whom it blocks, or who blocks it, it went away when that began.
    async fn seen_by(&self, request: &Request, viewer: &UserId, user: &UserId) -> Result<Seen, Refusal> {
        let Some(since) = self.apart_since(request, viewer, user).await? else {
            return self.seen(request, user).await;
        };
        let noted: Option<Stored<StatusDocument>> = self.load(request, &keys::status(user)).await?;
        Ok(status::gone(user, noted.map(|noted| noted.document).as_ref(), since))
    }

    /// From a gateway: its presence entry of `user` changed. Notes the status, and has the gateways of those who may see it
    /// look.
    ///
    /// # Errors
    /// `unavailable` where one of them did not answer: the gateway asks again.
    pub(crate) async fn presence_changed(
        &self,
        request: &Request,
        user: &UserId,
        entry: Option<EntryMark>,
    ) -> Result<Success, Refusal> {
        let seen = self.note_status(request, user, entry.as_ref()).await?;
        let audience = self.audience(request, user).await?;
        request.in_time(&self.env)?;
        self.have_gateways_look(&audience, &GatewayEnvelope::Presence { seen, entry })
            .await
            .map_err(unreachable)?;
        Ok(Success { status: 200, body: Raw::empty() })
    }

    /// Brings what is stored in line with what the connections say.
    async fn note_status(
        &self,
        request: &Request,
        user: &UserId,
        entry: Option<&EntryMark>,
    ) -> Result<Seen, Refusal> {
        let key = keys::status(user);
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            // First the version, then the connections: what is written on it is never older than what it replaces.
            let stored: Option<Stored<StatusDocument>> = self.load_written(request, &key).await?;
            let status = self.settled(request, user, entry).await?.status();
            let expect = document::expect(stored.as_ref());
            let before = stored.map(|stored| stored.document);
            let now = self.env.now();
            let Some(after) = status::decide(before.as_ref(), status, now) else {
                return Ok(status::look(user, status, None, now));
            };
            request.in_time(&self.env)?;
            match self.overwrite(document::write(key.clone(), &after, expect)).await {
                Ok(()) => return Ok(status::look(user, status, Some(&after), now)),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(document::contended())
    }

    /// Has the gateways of `viewer` look whom it sees from now on: `user` was added, or may no longer be seen. Where one
    /// does not answer, it is told again, and nobody waits for that.
    pub(crate) async fn tell_visibility(&self, request: &Request, user: &UserId, viewer: &UserId) {
        if self.try_tell_visibility(request, user, viewer).await.is_ok() {
            return;
        }
        let (worker, user, viewer) = (self.clone(), user.clone(), viewer.clone());
        self.spawn(async move {
            for attempt in 1..=TELLINGS {
                tokio::select! {
                    biased;
                    () = worker.drains() => {}
                    () = tokio::time::sleep(TELLING_WAIT * attempt + worker.env.jitter(TELLING_WAIT)) => {}
                }
                let request = Request::own(worker.env.now(), TELLING_WAIT * 2);
                match worker.try_tell_visibility(&request, &user, &viewer).await {
                    Ok(()) => return,
                    Err(refusal) => tracing::debug!(%refusal, "who may see whom was not told yet"),
                }
                if worker.is_draining() {
                    break;
                }
            }
            tracing::warn!(
                "who may see whom was not told, it is found when the user joins again: check NATS"
            );
        });
    }

    async fn try_tell_visibility(
        &self,
        request: &Request,
        user: &UserId,
        viewer: &UserId,
    ) -> Result<(), Refusal> {
        let seen = self.seen(request, user).await?;
        let told = GatewayEnvelope::Visibility { viewer: viewer.clone(), seen };
        self.have_gateways_look(std::slice::from_ref(viewer), &told).await.map_err(unreachable)
    }

    /// How a user looks now.
    async fn seen(&self, request: &Request, user: &UserId) -> Result<Seen, Refusal> {
        let noted: Option<Stored<StatusDocument>> = self.load(request, &keys::status(user)).await?;
        let status = self.connections(request, user, None).await?.0.status();
        let noted = noted.map(|stored| stored.document);
        Ok(status::look(user, status, noted.as_ref(), self.env.now()))
    }

    /// A user's connections once they show what a gateway wrote before it told of it.
    async fn settled(
        &self,
        request: &Request,
        user: &UserId,
        entry: Option<&EntryMark>,
    ) -> Result<UserPresence, Refusal> {
        let (mut connections, mut met) = self.connections(request, user, entry).await?;
        for _ in 0..SETTLING {
            if met {
                break;
            }
            tokio::time::sleep(SETTLING_WAIT).await;
            (connections, met) = self.connections(request, user, entry).await?;
        }
        Ok(connections)
    }

    /// A user's connections on all gateways whose lease lasts, and whether the write that is looked for is among what was
    /// found.
    async fn connections(
        &self,
        request: &Request,
        user: &UserId,
        mark: Option<&EntryMark>,
    ) -> Result<(UserPresence, bool), Refusal> {
        request.in_time(&self.env)?;
        let filter = subject::user_filter(user);
        let entries = self.bus.get_many(Bucket::Presence, &[filter]).await.map_err(unreachable)?;
        let (mut living, mut found) = (Vec::new(), None);
        for entry in entries {
            let Some(gateway) = entry.key.parts().pop() else { continue };
            if mark.is_some_and(|mark| mark.gateway == gateway) {
                found = Some(entry.revision);
            }
            let lease = self.bus.get(Bucket::Leases, &subject::lease_key(&gateway)).await;
            if lease.map_err(unreachable)?.is_none() {
                continue;
            }
            match envelope::decode(&entry.value) {
                Ok(presence) => living.push(presence),
                Err(error) => {
                    tracing::warn!(%error, key = %entry.key, "a presence entry cannot be read: gateways and workers are of different builds")
                }
            }
        }
        Ok((UserPresence::merged(living), mark.is_none_or(|mark| mark.is_met_by(found))))
    }
}

fn unreachable(error: BusError) -> Refusal {
    tracing::debug!(%error, "presence cannot be read or told: the backplane, or a gateway, does not answer");
    Refusal::unavailable("presence cannot be read or told")
}
