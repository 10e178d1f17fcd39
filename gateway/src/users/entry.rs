//! Writing a user's presence entry.

use std::sync::Arc;

use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    UserId,
    envelope::{self, ChosenStatus, UserPresence},
};
use tokio::sync::oneshot;

use super::shown::{Shown, shown};
use crate::Shared;

/// What a write came to.
pub(super) struct Written {
    pub(super) user: UserId,
    /// A later choice found on another gateway.
    pub(super) outcome: Result<Option<ChosenStatus>, BusError>,
    pub(super) joining: Vec<oneshot::Sender<Result<Option<ChosenStatus>, BusError>>>,
    pub(super) choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
    pub(super) shown: Vec<Shown>,
}

/// What a write needs of a user's state.
pub(super) struct Write {
    pub(super) entry: UserPresence,
    /// Whether the user has channels here; otherwise the entry goes.
    pub(super) keep: bool,
    /// Whether the other gateways' entries were read.
    pub(super) known: bool,
    pub(super) joining: Vec<oneshot::Sender<Result<Option<ChosenStatus>, BusError>>>,
    pub(super) choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
}

/// Writes, and hands back who waited for it.
pub(super) async fn write(shared: Arc<Shared>, user: UserId, write: Write) -> Written {
    let outcome = store(&shared, &user, &write).await;
    let shown = shown(&write.entry);
    Written { user, outcome, joining: write.joining, choosing: write.choosing, shown }
}

/// Writes the entry (or removes it), and answers a later choice found on another gateway.
async fn store(shared: &Shared, user: &UserId, write: &Write) -> Result<Option<ChosenStatus>, BusError> {
    let key = subject::user_key(user, &shared.leases.id());
    if !write.keep {
        if let Some(found) = shared.bus.get(Bucket::Presence, &key).await? {
            match shared.bus.delete(Bucket::Presence, &key, found.revision).await {
                Ok(()) | Err(BusError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        return Ok(None);
    }
    shared.bus.put(Bucket::Presence, &key, envelope::encode(&write.entry)).await?;
    if write.known {
        return Ok(None);
    }
    let entries = shared.bus.get_many(Bucket::Presence, &[subject::user_filter(user)]).await?;
    let mut latest: Option<ChosenStatus> = None;
    for entry in entries.iter().filter(|entry| entry.key != key) {
        let gateway = entry.key.parts().pop().unwrap_or_default();
        if let Ok(UserPresence { chosen: Some(chosen), metas }) =
            envelope::decode::<UserPresence>(&entry.value)
            && !metas.is_empty()
            && latest.is_none_or(|held| held.at < chosen.at)
            && shared.leases.stands(&gateway).await
        {
            latest = Some(chosen);
        }
    }
    Ok(latest)
}
