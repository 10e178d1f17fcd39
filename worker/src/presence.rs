//! The status of users: read from the presence entries of the gateways, told to those who may see it.

use std::time::Duration;

use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    Raw, Reason, Refusal, UserId,
    envelope::{self, Principal, Success},
    event::sent,
    record::Status,
};

use self::{
    diff::Diff,
    status::{Connections, StatusDocument, Told},
};
use crate::{
    Request, Worker,
    broadcast::Notice,
    document::{self, ATTEMPTS, Stored},
    store::{StoreError, keys},
};

mod diff;
mod status;

#[cfg(test)]
mod tests;

/// How often a presence entry that does not show yet what was told of it is read again.
const SETTLING: usize = 3;
/// The wait before each time.
const SETTLING_WAIT: Duration = Duration::from_millis(50);
/// How often a status that changed again while it was told is told anew.
const RETELLINGS: usize = 3;

/// A status as it was found: what the connections say, and what was told before.
struct Noted {
    connections: Connections,
    before: Option<StatusDocument>,
    /// Where it changed, now or by an earlier attempt of this request: what is told from now on, and the version that says so.
    after: Option<Stored<StatusDocument>>,
}

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
        Ok(Success::ok(&self.seen(request, user).await?.0))
    }

    /// From a gateway: its presence entry of `user` changed by `diff`. Tells those who may see it what they can notice.
    pub(crate) async fn presence_changed(
        &self,
        request: &Request,
        user: &UserId,
        diff: Option<&Raw>,
    ) -> Result<Success, Refusal> {
        let given: Option<Diff> = diff.map(Raw::parse).transpose().map_err(|error| {
            tracing::error!(%error, "a gateway sent a presence diff of an unknown shape: is this worker too old?");
            Refusal::unavailable("the diff cannot be read")
        })?;
        let noted = self.note_status(request, user, given.as_ref()).await?;
        let now = self.env.now();
        let diff = diff::decide(user, noted.before.as_ref(), &noted.connections, given, now);
        if noted.after.is_some() || diff.is_some() {
            let audience = self.audience(request, user).await?;
            if let Some(diff) = diff {
                self.tell_users(&audience, sent::PRESENCE_DIFF, &Raw::of(&diff)).await;
            }
            if let Some(after) = noted.after {
                self.tell_status(request, user, &audience, after).await?;
            }
        }
        Ok(Success { status: 200, body: Raw::empty() })
    }

    /// Brings what is stored as told in line with what the connections say.
    async fn note_status(
        &self,
        request: &Request,
        user: &UserId,
        given: Option<&Diff>,
    ) -> Result<Noted, Refusal> {
        let key = keys::status(user);
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            // First the version, then the connections: what is written on it is never older than what it replaces.
            let stored: Option<Stored<StatusDocument>> = self.load(request, &key).await?;
            let connections = self.settled(request, user, given).await?;
            let status = connections.status();
            let untold = stored.as_ref().and_then(|stored| stored.document.untold(request.id, status));
            if untold.is_some() {
                return Ok(Noted { connections, before: untold, after: stored });
            }
            let expect = document::expect(stored.as_ref());
            let before = stored.map(|stored| stored.document);
            let Some(after) = status::decide(before.as_ref(), status, request.id, self.env.now()) else {
                return Ok(Noted { connections, before, after: None });
            };
            request.in_time(&self.env)?;
            match self.store.put(document::write(key.clone(), &after, expect)).await {
                Ok(item) => {
                    let after = Some(Stored { version: item.version, document: after });
                    return Ok(Noted { connections, before, after });
                }
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(document::contended())
    }

    /// Tells a status, and again where it changed meanwhile: two workers who tell two changes in the wrong order would
    /// leave everybody with the older one.
    async fn tell_status(
        &self,
        request: &Request,
        user: &UserId,
        audience: &[UserId],
        mut stored: Stored<StatusDocument>,
    ) -> Result<(), Refusal> {
        for _ in 0..RETELLINGS {
            let StatusDocument { status, since, .. } = stored.document;
            let told = Told { user_id: user.clone(), status, last_seen: Some(since) };
            self.tell_users(audience, sent::USER_PRESENCE_CHANGED, &Raw::of(&told)).await;
            match self.load(request, &keys::status(user)).await? {
                Some(newer) if newer.version != stored.version => stored = newer,
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Tells `contact`, who was added or removed by `user`, what it sees of it from now on.
    pub(crate) async fn tell_contact(
        &self,
        request: &Request,
        user: &UserId,
        contact: &UserId,
        present: bool,
    ) {
        match self.share_direct(request, user, contact).await {
            // The contact sees the status anyway.
            Ok(true) => {}
            Ok(false) if present => self.show_status(request, user, contact).await,
            Ok(false) => self.hide_status(request, user, contact).await,
            Err(refusal) => {
                tracing::warn!(%refusal, "a contact was not told; it finds it when it joins again")
            }
        }
    }

    /// Tells `viewer`, who may see it from now on, the status of `user`.
    pub(crate) async fn show_status(&self, request: &Request, user: &UserId, viewer: &UserId) {
        let Some((told, connections)) = self.seen_or_logged(request, user).await else { return };
        let mut notices = vec![Notice { event: sent::USER_PRESENCE_CHANGED, payload: Raw::of(&told) }];
        if told.status != Status::Offline {
            let joins = Raw::of(&Diff::joins(user, &connections));
            notices.push(Notice { event: sent::PRESENCE_DIFF, payload: joins });
        }
        self.tell_users_each(std::slice::from_ref(viewer), &notices).await;
    }

    /// Lets `user` vanish from the presence of `viewer`, who may no longer see it. That says nothing of its status.
    async fn hide_status(&self, request: &Request, user: &UserId, viewer: &UserId) {
        let Some((told, connections)) = self.seen_or_logged(request, user).await else { return };
        if told.status != Status::Offline {
            let leaves = Raw::of(&Diff::leaves(user, &connections));
            self.tell_users(std::slice::from_ref(viewer), sent::PRESENCE_DIFF, &leaves).await;
        }
    }

    async fn seen_or_logged(&self, request: &Request, user: &UserId) -> Option<(Told, Connections)> {
        self.seen(request, user)
            .await
            .inspect_err(
                |refusal| tracing::warn!(%refusal, "a status was not told; it is found at the next join"),
            )
            .ok()
    }

    /// How a user looks now, and its connections.
    async fn seen(&self, request: &Request, user: &UserId) -> Result<(Told, Connections), Refusal> {
        let told: Option<Stored<StatusDocument>> = self.load(request, &keys::status(user)).await?;
        let connections = self.connections(request, user).await?;
        let told = told.map(|stored| stored.document);
        Ok((status::look(user, connections.status(), told.as_ref(), self.env.now()), connections))
    }

    /// A user's connections once they show what a gateway wrote before it told of it: a replica of the backplane may lag.
    async fn settled(
        &self,
        request: &Request,
        user: &UserId,
        given: Option<&Diff>,
    ) -> Result<Connections, Refusal> {
        let mut connections = self.connections(request, user).await?;
        for _ in 0..SETTLING {
            if given.is_none_or(|given| given.agrees(&connections)) {
                break;
            }
            tokio::time::sleep(SETTLING_WAIT).await;
            connections = self.connections(request, user).await?;
        }
        Ok(connections)
    }

    /// A user's connections on all gateways whose lease lasts.
    pub(crate) async fn connections(&self, request: &Request, user: &UserId) -> Result<Connections, Refusal> {
        request.in_time(&self.env)?;
        let filter = subject::user_filter(user);
        let entries = self.bus.get_many(Bucket::Presence, &[filter]).await.map_err(unreachable)?;
        let mut living = Vec::new();
        for entry in entries {
            let Some(gateway) = entry.key.parts().pop() else { continue };
            let lease = self.bus.get(Bucket::Leases, &subject::lease_key(&gateway)).await;
            if lease.map_err(unreachable)?.is_none() {
                continue;
            }
            match envelope::decode(&entry.value) {
                Ok(presence) => living.push(presence),
                Err(error) => tracing::warn!(%error, key = %entry.key, "a presence entry cannot be read"),
            }
        }
        Ok(Connections::of(living))
    }
}

fn unreachable(error: BusError) -> Refusal {
    tracing::warn!(%error, "presence cannot be read: check the backplane");
    Refusal::unavailable("presence cannot be read")
}
