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
use tokio::time::Instant;

use crate::Shared;

/// An entry is written at most so often.
const PACE: Duration = Duration::from_millis(100);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// Entries by gateway; none where that gateway has none (any more).
pub type Entries = Vec<(String, Option<ConversationPresence>)>;

/// What a write came to.
#[derive(Debug)]
pub struct Saved {
    outcome: Result<(), BusError>,
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

    /// When the next write may start, if one is wanted.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.is_dirty() && !self.saving)
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
            if outcome.is_ok() {
                let event = ConversationEvent::Presence(change.clone());
                let step = envelope::encode(&ConversationEnvelope { members_version: 0, event });
                // A step that is lost shows at the next one, by its revision.
                let _ = shared.bus.publish(&shared.subjects.conversation(&id), step).await;
            }
            Saved { outcome, empty, change }
        })
    }

    /// A write ended.
    pub fn saved(&mut self, saved: Saved, env: &Env) {
        self.saving = false;
        match saved.outcome {
            Ok(()) => self.revision = if saved.empty { 0 } else { saved.change.revision },
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

/// The entries of all other gateways whose lease stands.
///
/// # Errors
/// Where the backplane did not answer.
pub async fn read_all(shared: &Shared, id: &ConversationId) -> Result<Entries, BusError> {
    let found = shared.bus.get_many(Bucket::Presence, &[subject::conversation_filter(id)]).await?;
    let mut entries = Vec::with_capacity(found.len());
    for entry in found {
        let Some(gateway) = entry.key.parts().pop() else { continue };
        if shared.leases.stands(&gateway).await
            && let Ok(presence) = envelope::decode(&entry.value)
        {
            entries.push((gateway, Some(presence)));
        }
    }
    Ok(entries)
}

/// One gateway's entry.
pub async fn read_one(shared: &Shared, id: &ConversationId, gateway: &str) -> Entries {
    if !shared.leases.stands(gateway).await {
        return vec![(gateway.to_owned(), None)];
    }
    match shared.bus.get(Bucket::Presence, &subject::conversation_key(id, gateway)).await {
        Ok(Some(entry)) => {
            let presence = envelope::decode(&entry.value).ok();
            presence.map(|presence| vec![(gateway.to_owned(), Some(presence))]).unwrap_or_default()
        }
        Ok(None) => vec![(gateway.to_owned(), None)],
        Err(_) => Vec::new(),
    }
}
