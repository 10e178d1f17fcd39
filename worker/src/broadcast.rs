//! Telling the gateways. At most once, and never a reason for a command to fail: what is lost is found again by the
//! logs' sequence numbers or by the next read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use simurgh_backplane::{
    Bucket, BusError, Entry,
    subject::{self, Filter},
};
use simurgh_protocol::{
    ConversationId, Raw, UserId,
    envelope::{self, ConversationEnvelope, ConversationEvent, GatewayEnvelope, UserPresence},
    limits,
};
use tokio::time::Instant;

use crate::Worker;

/// How long the list of living gateways is believed.
const LEASES_FRESH: Duration = Duration::from_secs(1);
/// How long telling users may take: later, nobody waits for it.
const TELL_USERS: Duration = Duration::from_secs(2);

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
}

/// Where users are connected.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    /// Users by gateway.
    users: BTreeMap<String, Vec<UserId>>,
    /// Their connections on all gateways.
    metas: usize,
}

/// Groups presence entries by the gateways that live.
fn places(entries: &[Entry], alive: &BTreeSet<String>) -> Places {
    let mut places = Places::default();
    for entry in entries {
        let Some((user, gateway)) = owner(entry).filter(|(_, gateway)| alive.contains(gateway)) else {
            continue;
        };
        let metas = envelope::decode::<UserPresence>(&entry.value).map_or(0, |presence| presence.metas.len());
        if metas > 0 {
            places.metas += metas;
            places.users.entry(gateway).or_default().push(user);
        }
    }
    places
}

/// The user and the gateway of a presence entry.
fn owner(entry: &Entry) -> Option<(UserId, String)> {
    let [_, user, gateway] = <[String; 3]>::try_from(entry.key.parts()).ok()?;
    Some((UserId::new(&user).ok()?, gateway))
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
        if let Err(error) = self.bus.publish(&self.subjects.conversation(id), payload).await {
            tracing::warn!(%error, "a broadcast was not sent; gateways find it by its number");
        }
    }

    /// Tells these users on their own topics, wherever they are connected: one copy to each gateway that holds any of
    /// them, by their presence entries. Answers how many live connections they have there.
    pub async fn tell_users(&self, users: &[UserId], event: &'static str, payload: &Raw) -> usize {
        self.tell_users_each(users, &[Notice { event, payload: payload.clone() }]).await
    }

    /// The same for several events, in their order, looking the users up once.
    pub(crate) async fn tell_users_each(&self, users: &[UserId], notices: &[Notice]) -> usize {
        let told = tokio::time::timeout(TELL_USERS, async {
            let places = self.places(users).await?;
            for (gateway, users) in &places.users {
                for notice in notices {
                    self.tell_gateway(gateway, users, notice).await?;
                }
            }
            Ok(places.metas)
        });
        match told.await.unwrap_or(Err(BusError::TimedOut)) {
            Ok(metas) => metas,
            Err(error) => {
                tracing::warn!(%error, "users were not told; they find it in their list");
                0
            }
        }
    }

    async fn tell_gateway(&self, gateway: &str, users: &[UserId], notice: &Notice) -> Result<(), BusError> {
        let Notice { event, payload } = notice.clone();
        let told = GatewayEnvelope::Told { users: users.to_vec(), event: event.to_owned(), payload };
        let payload = envelope::encode(&told);
        if payload.len() > limits::ENVELOPE_BYTES {
            return Err(BusError::TooLarge(payload.len()));
        }
        self.bus.publish(&self.subjects.gateway(gateway), payload).await
    }

    /// Where these users are connected now. Entries of gateways whose lease is gone count as gone.
    async fn places(&self, users: &[UserId]) -> Result<Places, BusError> {
        let filters: Vec<Filter> = users.iter().map(subject::user_filter).collect();
        let entries = self.bus.get_many(Bucket::Presence, &filters).await?;
        let named: BTreeSet<String> = entries.iter().filter_map(owner).map(|(_, gateway)| gateway).collect();
        if named.is_empty() {
            return Ok(Places::default());
        }
        Ok(places(&entries, &self.living(&named).await?))
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
            return Ok(alive);
        }
        let leases = self.bus.get_many(Bucket::Leases, &[subject::all_leases()]).await?;
        let alive: BTreeSet<String> = leases.iter().filter_map(|lease| lease.key.parts().pop()).collect();
        *self.memory.leases.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, alive.clone()));
        Ok(alive)
    }
}
