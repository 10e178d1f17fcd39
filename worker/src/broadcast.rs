//! Telling the gateways. At most once, and never a reason for a command to fail: what is lost is found again by the
//! logs' sequence numbers or by the next read.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use simurgh_backplane::{
    Bucket, BusError,
    subject::{self, Filter},
    trace,
};
use simurgh_protocol::{
    ConversationId, Raw, UserId,
    envelope::{self, ConversationEnvelope, ConversationEvent, GatewayEnvelope},
    limits,
};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, info_span};

use self::places::owner;
use crate::{Worker, access::Roster};

mod places;

pub(crate) use places::{KnownPlaces, Places};

/// How long the list of living gateways is believed.
const LEASES_FRESH: Duration = Duration::from_secs(1);
/// How long telling users may take: later, nobody waits for it.
const TELL_USERS: Duration = Duration::from_secs(2);

/// How long a gateway has to note that it is to look at something.
const LOOK: Duration = Duration::from_secs(1);

/// Which gateways lived when their leases were read last.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<Option<(Instant, BTreeSet<String>)>>);

/// An event on the user topic.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// Its name.
    pub(crate) event: &'static str,
    /// Its payload.
    pub(crate) payload: Raw,
    /// Who is not told.
    pub(crate) except: Option<UserId>,
}

impl Notice {
    /// One that all are told.
    pub(crate) const fn new(event: &'static str, payload: Raw) -> Self {
        Self { event, payload, except: None }
    }

    /// Those of these users who are told.
    fn told<'a>(&self, users: &'a [UserId]) -> Cow<'a, [UserId]> {
        match &self.except {
            Some(except) => users.iter().filter(|user| *user != except).cloned().collect(),
            None => Cow::Borrowed(users),
        }
    }
}

/// The envelopes that tell these users a notice: as many as it takes.
fn envelopes(users: &[UserId], notice: &Notice) -> impl Iterator<Item = Bytes> {
    // Quotes and a comma.
    const USER_BYTES: usize = limits::ID_CHARS + 3;
    // The event's name, and what is between the parts.
    const REST: usize = 1024;
    let room = limits::ENVELOPE_BYTES.saturating_sub(notice.payload.get().len() + REST);
    users.chunks((room / USER_BYTES).max(1)).map(|users| {
        let Notice { event, payload, .. } = notice.clone();
        envelope::encode(&GatewayEnvelope::Told { users: users.to_vec(), event: event.to_owned(), payload })
    })
}

impl Worker {
    /// Tells everybody who listens on the conversation.
    pub async fn tell_conversation(
        &self,
        id: &ConversationId,
        members_version: u64,
        event: ConversationEvent,
    ) {
        let payload = envelope::encode(&ConversationEnvelope { members_version, event });
        let traced = !Span::current().is_none();
        let span = if traced { info_span!(target: trace::TARGET, "broadcast") } else { Span::none() };
        let sent = self.bus.publish(&self.subjects.conversation(id), payload).instrument(span).await;
        self.metrics.broadcast("conversation", sent.is_ok());
        if let Err(error) = sent {
            tracing::warn!(%error, "a broadcast was not sent, gateways find it by its number: check NATS");
        }
    }

    /// Tells these users on their own topics, wherever they are connected: one copy to each gateway that holds any of
    /// them, by their presence entries. Answers how many live connections they have there.
    pub async fn tell_users(&self, users: &[UserId], event: &'static str, payload: &Raw) -> usize {
        self.tell_users_each(users, &[Notice::new(event, payload.clone())]).await
    }

    /// The same for several events, in their order, looking the users up once.
    pub(crate) async fn tell_users_each(&self, users: &[UserId], notices: &[Notice]) -> usize {
        self.telling(async {
            let places = self.places(users).await?;
            self.tell_places(&places, notices).await
        })
        .await
    }

    /// Tells the members of a conversation on their own topics, in the order of the notices. Answers where they are, where
    /// that was found out.
    pub(crate) async fn tell_members(
        &self,
        id: &ConversationId,
        roster: &Roster,
        notices: &[Notice],
    ) -> Option<Arc<Places>> {
        let mut found = None;
        self.telling(async {
            let places = self.member_places(id, roster).await?;
            found = Some(Arc::clone(&places));
            self.tell_places(&places, notices).await
        })
        .await;
        found
    }

    /// The same at once, where it is known where they are; nothing where it is not.
    pub(crate) async fn tell_members_known(
        &self,
        id: &ConversationId,
        roster: &Roster,
        notices: &[Notice],
    ) -> Option<Arc<Places>> {
        let places = self.memory.places.find(id, roster, self.env.instant())?;
        self.telling(self.tell_places(&places, notices)).await;
        Some(places)
    }

    /// Where the members are, as far as that was read lately and nobody came since; else as it is read now.
    pub(crate) async fn member_places(
        &self,
        id: &ConversationId,
        roster: &Roster,
    ) -> Result<Arc<Places>, BusError> {
        match self.memory.places.find(id, roster, self.env.instant()) {
            Some(places) => Ok(places),
            None => self.read_places(id, roster).await,
        }
    }

    /// Where the members are now, remembered for the next time.
    async fn read_places(&self, id: &ConversationId, roster: &Roster) -> Result<Arc<Places>, BusError> {
        let (heard, read_at) = (self.memory.places.heard(), self.env.instant());
        let users: Vec<UserId> = roster.members.iter().cloned().collect();
        let places = Arc::new(self.places(&users).await?);
        if let Some(heard) = heard {
            self.memory.places.keep(id, roster, heard, read_at, &places);
        }
        Ok(places)
    }

    /// Tells the users there; answers how many connections they have.
    async fn tell_places(&self, places: &Places, notices: &[Notice]) -> Result<usize, BusError> {
        for (gateway, users) in &places.users {
            for notice in notices {
                self.tell_gateway(gateway, &notice.told(users), notice).await?;
            }
        }
        Ok(places.metas)
    }

    /// Telling users has an end, and nothing fails with it.
    async fn telling(&self, tell: impl Future<Output = Result<usize, BusError>>) -> usize {
        let told = tokio::time::timeout(TELL_USERS, tell).await.unwrap_or(Err(BusError::TimedOut));
        self.metrics.broadcast("users", told.is_ok());
        told.unwrap_or_else(|error| {
            tracing::warn!(%error, "users were not told, they find it in their list: check NATS");
            0
        })
    }

    /// Has every gateway that holds any of these users look at something, and waits until each has noted it. One that is
    /// gone, or cut off, looks by itself when it is back.
    ///
    /// # Errors
    /// Where one did not answer in time, or presence could not be read.
    pub(crate) async fn have_gateways_look(
        &self,
        users: &[UserId],
        look: &GatewayEnvelope,
    ) -> Result<(), BusError> {
        if users.is_empty() {
            return Ok(());
        }
        let (places, payload) = (self.places(users).await?, envelope::encode(look));
        try_join_all(places.users.keys().map(|gateway| async {
            let subject = self.subjects.gateway(gateway);
            match self.bus.request(&subject, payload.clone(), LOOK).await {
                Ok(_) | Err(BusError::NoResponders) => Ok(()),
                Err(error) => Err(error),
            }
        }))
        .await
        .map(drop)
    }

    async fn tell_gateway(&self, gateway: &str, users: &[UserId], notice: &Notice) -> Result<(), BusError> {
        for told in envelopes(users, notice) {
            if told.len() > limits::ENVELOPE_BYTES {
                return Err(BusError::TooLarge(told.len()));
            }
            self.bus.publish(&self.subjects.gateway(gateway), told).await?;
        }
        Ok(())
    }

    /// Where these users are connected now. Entries of gateways whose lease is gone count as gone.
    async fn places(&self, users: &[UserId]) -> Result<Places, BusError> {
        self.places_but(users, None).await
    }

    /// The same, but for the entries of one gateway.
    pub(crate) async fn places_but(
        &self,
        users: &[UserId],
        except: Option<&str>,
    ) -> Result<Places, BusError> {
        let filters: Vec<Filter> = users.iter().map(subject::user_filter).collect();
        let mut entries = self.bus.get_many(Bucket::Presence, &filters).await?;
        if let Some(except) = except {
            entries.retain(|entry| owner(entry).is_none_or(|(_, gateway)| gateway != except));
        }
        let named: BTreeSet<String> = entries.iter().filter_map(owner).map(|(_, gateway)| gateway).collect();
        if named.is_empty() {
            return Ok(Places { away: users.to_vec(), ..Places::default() });
        }
        Ok(Places::of(users, &entries, &self.living(&named).await?))
    }

    /// The gateways that live. One that is `named` and was not known a moment ago may be new: then the leases are read
    /// again.
    async fn living(&self, named: &BTreeSet<String>) -> Result<BTreeSet<String>, BusError> {
        let now = self.env.instant();
        let known = self.memory.leases.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read, alive)) = known
            && now < read + LEASES_FRESH
            && named.is_subset(&alive)
        {
            self.memory.leases_meter.looked_up(true);
            return Ok(alive);
        }
        self.memory.leases_meter.looked_up(false);
        let leases = self.bus.get_many(Bucket::Leases, &[subject::all_leases()]).await?;
        let alive: BTreeSet<String> = leases.iter().filter_map(|lease| lease.key.parts().pop()).collect();
        *self.memory.leases.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, alive.clone()));
        Ok(alive)
    }
}

impl Worker {
    /// As [`Self::tell_users`], for who must know whether anybody could be told.
    ///
    /// # Errors
    /// Where it could not be found out where they are, or they could not be told. Some may have been.
    pub(crate) async fn reach_users(
        &self,
        users: &[UserId],
        event: &'static str,
        payload: &Raw,
    ) -> Result<usize, BusError> {
        let notice = Notice::new(event, payload.clone());
        let told = tokio::time::timeout(TELL_USERS, async {
            let places = self.places(users).await?;
            self.tell_places(&places, std::slice::from_ref(&notice)).await
        });
        let told = told.await.unwrap_or(Err(BusError::TimedOut));
        self.metrics.broadcast("users", told.is_ok());
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_to_many_users_takes_as_many_envelopes_as_it_must() {
        let users: Vec<UserId> = (0..5_000).map(|n| UserId::new(&format!("{n:x<64}")).unwrap()).collect();
        let told = |bytes: usize| {
            let payload = Raw::of(&serde_json::json!({"x": "x".repeat(bytes)}));
            let (mut count, mut told) = (0, Vec::new());
            for envelope in envelopes(&users, &Notice::new("presence_diff", payload)) {
                assert!(envelope.len() <= limits::ENVELOPE_BYTES);
                let GatewayEnvelope::Told { users, .. } = envelope::decode(&envelope).unwrap() else {
                    panic!("workers choose no status");
                };
                count += 1;
                told.extend(users);
            }
            assert_eq!(told, users);
            count
        };
        assert_eq!((told(100), told(700_000)), (1, 4));
    }
}
