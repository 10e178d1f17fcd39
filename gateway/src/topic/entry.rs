//! This gateway's presence entry of a conversation, and reading the others'.

use std::{future::Future, sync::Arc, time::Duration};

use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_env::Env;
use simurgh_protocol::{
    ConversationId,
    envelope::{
        self, ConversationEnvelope, ConversationEvent, ConversationPresence, PresenceChange, PresenceMeta,
    },
};
use simurgh_service::metrics::Counted;
use tokio::time::Instant;

use crate::Shared;

/// An entry is written at most so often.
const PACE: Duration = Duration::from_millis(100);
/// How long after a step its revision is repeated, so that a step that was lost is noticed.
const REPEAT: Duration = Duration::from_secs(1);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Entries by gateway; none where that gateway has none (any more).
pub type Entries = Vec<(String, Option<ConversationPresence>)>;

/// What a write came to.
#[derive(Debug)]
pub struct Saved {
    outcome: Result<(), BusError>,
    told: bool,
    empty: bool,
    change: PresenceChange,
}

/// Writes the entry when it changed, then tells the step.
#[derive(Debug, Default)]
pub struct Saver {
    joins: Vec<PresenceMeta>,
    leaves: Vec<String>,
    whole: bool,
    saving: bool,
    not_before: Option<Instant>,
    /// The revision that others know; 0 where there is no entry.
    revision: u64,
    /// The highest revision ever used.
    highest: u64,
    /// The last step, by name and revision, and when it is repeated.
    last: Option<(String, u64)>,
    repeat_at: Option<Instant>,
    /// The entry, counted while it is there.
    entry: Option<Counted>,
}

impl Saver {
    /// A connection came.
    pub fn joined(&mut self, meta: PresenceMeta) {
        self.joins.push(meta);
    }

    /// A connection went.
    pub fn left(&mut self, phx_ref: &str) {
        let before = self.joins.len();
        self.joins.retain(|meta| meta.phx_ref != phx_ref);
        if self.joins.len() == before {
            self.leaves.push(phx_ref.to_owned());
        }
    }

    /// The entry may be gone: write all of it. With `renamed`, under another name, where none was before.
    pub fn save_all(&mut self, renamed: bool) {
        self.whole = true;
        if renamed {
            self.revision = 0;
        }
    }

    /// Whether everything is written.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        !self.saving && !self.is_dirty()
    }

    /// When the next write may start or the last step is repeated, if either is wanted.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let write = self.not_before.filter(|_| self.is_dirty() && !self.saving);
        [write, self.repeat_at].into_iter().flatten().min()
    }

    const fn is_dirty(&self) -> bool {
        self.whole || !self.joins.is_empty() || !self.leaves.is_empty()
    }

    /// The write that is due, if one is.
    pub fn start<'a>(
        &mut self,
        now: Instant,
        shared: &Arc<Shared>,
        id: &ConversationId,
        own: impl Iterator<Item = &'a PresenceMeta>,
    ) -> Option<impl Future<Output = Saved> + Send + 'static> {
        if self.saving || !self.is_dirty() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.saving = true;
        self.whole = false;
        self.not_before = Some(now + PACE);
        let gateway = shared.leases.id();
        let revision = shared.env.now().as_millis().max(self.highest + 1);
        self.highest = revision;
        let metas: Vec<_> = own.cloned().collect();
        let (previous, joins) = if self.revision == 0 {
            self.joins.clear();
            (0, metas.clone())
        } else {
            (self.revision, std::mem::take(&mut self.joins))
        };
        let leaves = std::mem::take(&mut self.leaves);
        let change = PresenceChange { gateway: gateway.to_string(), previous, revision, joins, leaves };
        let (shared, id, empty) = (Arc::clone(shared), id.clone(), metas.is_empty());
        Some(async move {
            let entry = ConversationPresence { revision, metas };
            let outcome = save(&shared, &id, &gateway, &entry).await;
            let told = outcome.is_ok() && tell(&shared, &id, &change).await.is_ok();
            Saved { outcome, told, empty, change }
        })
    }

    /// The repetition that is due, if one is: a step that changes nothing. Who missed the one before reads the entry.
    pub fn repeat(
        &mut self,
        now: Instant,
        shared: &Arc<Shared>,
        id: &ConversationId,
    ) -> Option<impl Future<Output = Result<(), BusError>> + Send + 'static> {
        let (gateway, revision) = self.last.clone().filter(|_| self.repeat_at.is_some_and(|at| at <= now))?;
        self.repeat_at = None;
        let change =
            PresenceChange { gateway, previous: revision, revision, joins: Vec::new(), leaves: Vec::new() };
        let (shared, id) = (Arc::clone(shared), id.clone());
        Some(async move { tell(&shared, &id, &change).await })
    }

    /// A repetition was not sent.
    pub fn repeat_again(&mut self, env: &Env) {
        self.repeat_at.get_or_insert(env.instant() + RETRY + env.jitter(RETRY));
    }

    /// A write ended.
    pub fn saved(&mut self, saved: Saved, shared: &Shared) {
        let env = &shared.env;
        self.saving = false;
        match saved.outcome {
            Ok(()) => {
                self.revision = if saved.empty { 0 } else { saved.change.revision };
                self.entry = (!saved.empty).then(|| shared.metrics.presence_entry("conversation"));
                self.last = Some((saved.change.gateway, saved.change.revision));
                self.repeat_at = Some(env.instant() + if saved.told { REPEAT } else { RETRY / 4 });
            }
            Err(error) => {
                tracing::debug!(%error, "presence was not written; trying again");
                self.not_before = Some(env.instant() + RETRY + env.jitter(RETRY));
                // What others know is unknown now: the next step replaces the entry whole.
                self.revision = 0;
                self.whole = true;
            }
        }
    }
}

async fn tell(shared: &Shared, id: &ConversationId, change: &PresenceChange) -> Result<(), BusError> {
    let event = ConversationEvent::Presence(change.clone());
    let step = envelope::encode(&ConversationEnvelope { members_version: 0, event });
    shared.bus.publish(&shared.subjects.conversation(id), step).await
}

/// Writes the entry, or removes it where nobody is there.
async fn save(
    shared: &Shared,
    id: &ConversationId,
    gateway: &str,
    entry: &ConversationPresence,
) -> Result<(), BusError> {
    let key = subject::conversation_key(id, gateway);
    if !entry.metas.is_empty() {
        return shared.bus.put(Bucket::Presence, &key, envelope::encode(entry)).await.map(|_| ());
    }
    match shared.bus.get(Bucket::Presence, &key).await? {
        Some(found) => shared.bus.delete(Bucket::Presence, &key, found.revision).await,
        None => Ok(()),
    }
}

/// The entries of all gateways whose lease stands, and whether there are others: of gateways that are gone, or that are
/// about to take their lease.
///
/// # Errors
/// Where the backplane did not answer.
pub async fn read_all(shared: &Shared, id: &ConversationId) -> Result<(Entries, bool), BusError> {
    let found = shared.bus.get_many(Bucket::Presence, &[subject::conversation_filter(id)]).await?;
    let (mut entries, mut doubtful) = (Vec::with_capacity(found.len()), false);
    for entry in found {
        let Some(gateway) = entry.key.parts().pop() else { continue };
        if !shared.leases.stands(&gateway).await {
            doubtful = true;
        } else if let Ok(presence) = envelope::decode(&entry.value) {
            entries.push((gateway, Some(presence)));
        }
    }
    Ok((entries, doubtful))
}

/// One gateway's entry; none where it has none (any more).
///
/// # Errors
/// Where the backplane did not answer.
pub async fn read_one(
    shared: &Shared,
    id: &ConversationId,
    gateway: &str,
) -> Result<Option<ConversationPresence>, BusError> {
    if !shared.leases.stands(gateway).await {
        return Ok(None);
    }
    let entry = shared.bus.get(Bucket::Presence, &subject::conversation_key(id, gateway)).await?;
    Ok(entry.and_then(|entry| envelope::decode(&entry.value).ok()))
}
