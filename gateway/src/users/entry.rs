//! Writing a user's presence entry.

use std::sync::Arc;

use simurgh_backplane::{Bucket, BusError, Key, subject};
use simurgh_protocol::{
    UserId,
    envelope::{self, Arrived, ChosenStatus, EntryMark, UserPresence},
};
use tokio::sync::oneshot;

use super::user::Merged;
use crate::{Shared, visible};

/// What a write came to.
pub(super) struct Written {
    pub(super) user: UserId,
    /// A later choice found on another gateway.
    pub(super) outcome: Result<Option<ChosenStatus>, BusError>,
    pub(super) joining: Vec<oneshot::Sender<Result<Option<ChosenStatus>, BusError>>>,
    pub(super) choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
    /// What the entry says to others.
    pub(super) says: Merged,
    pub(super) again: bool,
    pub(super) epoch: u64,
    /// The write.
    pub(super) mark: Option<EntryMark>,
    /// Whether the entry has connections, as workers know.
    pub(super) placed: bool,
}

/// What a write needs of a user's state.
pub(super) struct Write {
    pub(super) entry: UserPresence,
    /// Whether the user has channels here; otherwise the entry goes.
    pub(super) keep: bool,
    /// Whether the other gateways' entries were read.
    pub(super) known: bool,
    /// The entry's revision, as far as it is known.
    pub(super) last: Option<u64>,
    /// The entry may have been gone.
    pub(super) again: bool,
    /// The user has connections here, and had none as far as workers know.
    pub(super) came: bool,
    pub(super) epoch: u64,
    pub(super) joining: Vec<oneshot::Sender<Result<Option<ChosenStatus>, BusError>>>,
    pub(super) choosing: Vec<oneshot::Sender<Result<(), BusError>>>,
}

/// Writes, and hands back who waited for it.
pub(super) async fn write(shared: Arc<Shared>, user: UserId, write: Write) -> Written {
    let stored = store(&shared, &user, &write).await;
    if stored.is_ok() && write.again {
        // While the entry was gone, nobody told this gateway of those whom the user sees.
        shared.visible.tell(visible::Message::Back { viewer: user.clone() }).await;
    }
    let (outcome, mark) = match stored {
        Ok((mark, chosen)) => (Ok(chosen), mark),
        Err(error) => (Err(error), None),
    };
    let (says, placed) = (Merged::of(&write.entry), write.entry.is_told());
    let Write { again, epoch, joining, choosing, .. } = write;
    Written { user, outcome, joining, choosing, says, again, epoch, mark, placed }
}

/// Writes the entry (or removes it), and answers the write, and a later choice found on another gateway.
async fn store(
    shared: &Shared,
    user: &UserId,
    write: &Write,
) -> Result<(Option<EntryMark>, Option<ChosenStatus>), BusError> {
    let gateway = shared.leases.id();
    let key = subject::user_key(user, &gateway);
    let mark = |revision, gone| Some(EntryMark { gateway: gateway.to_string(), revision, gone });
    if !write.keep {
        let removed = remove(shared, &key, write.last).await?;
        return Ok((removed.and_then(|revision| mark(revision, true)), None));
    }
    let revision = shared.bus.put(Bucket::Presence, &key, envelope::encode(&write.entry)).await?;
    if write.came {
        // After the write: who reads then finds it. Before the join is answered: what follows it is told here.
        let arrived = envelope::encode(&Arrived { user: user.clone() });
        shared.bus.publish(&shared.subjects.arrivals(), arrived).await?;
    }
    if write.known {
        return Ok((mark(revision, false), None));
    }
    let entries = shared.bus.get_many(Bucket::Presence, &[subject::user_filter(user)]).await?;
    let mut latest: Option<ChosenStatus> = None;
    for entry in entries.iter().filter(|entry| entry.key != key) {
        let gateway = entry.key.parts().pop().unwrap_or_default();
        if let Ok(UserPresence { chosen: Some(chosen), metas, .. }) =
            envelope::decode::<UserPresence>(&entry.value)
            && !metas.is_empty()
            && latest.is_none_or(|held| held.at < chosen.at)
            && shared.leases.stands(&gateway).await
        {
            latest = Some(chosen);
        }
    }
    Ok((mark(revision, false), latest))
}

/// Removes the entry, and answers the revision that it had; none where there was none. It is read only where the last
/// write's answer was lost, or the bucket: a replica that lags would show an older entry, or none.
async fn remove(shared: &Shared, key: &Key, last: Option<u64>) -> Result<Option<u64>, BusError> {
    if let Some(revision) = last {
        match shared.bus.delete(Bucket::Presence, key, revision).await {
            Ok(()) => return Ok(last),
            Err(BusError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    let Some(found) = shared.bus.get(Bucket::Presence, key).await? else { return Ok(None) };
    shared.bus.delete(Bucket::Presence, key, found.revision).await?;
    Ok(Some(found.revision))
}
