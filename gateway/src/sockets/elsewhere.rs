//! A user's sockets on other gateways.

use std::time::Duration;

use simurgh_backplane::{Bucket, subject};
use simurgh_protocol::{
    UserId,
    envelope::{self, UserPresence},
};
use tokio::time::timeout;

use super::{Connected, Sockets};
use crate::Shared;

/// How long an upgrade waits for what the other gateways say.
const PATIENCE: Duration = Duration::from_millis(500);

impl Sockets {
    /// Whether the user has anything open here.
    #[must_use]
    pub fn knows(&self, user: &UserId) -> bool {
        self.lock().users.get(user).is_some_and(|connected| !connected.is_nobody())
    }

    /// Whether the user has a subscription here.
    #[must_use]
    pub fn subscribes(&self, user: &UserId) -> bool {
        let subscribed = |connected: &Connected| connected.sockets.iter().any(|open| open.subscription);
        self.lock().users.get(user).is_some_and(subscribed)
    }
}

/// How many sockets the user has on other gateways, as the user's presence entries say. That is approximate, to the
/// user's good: sockets that are on no user topic, or not yet, are counted by their own gateway alone, and where the
/// backplane does not answer in time nobody else's are. A gateway that was killed counts until its lease lapses.
pub async fn elsewhere(shared: &Shared, user: &UserId) -> usize {
    let counted = async {
        let filter = [subject::user_filter(user)];
        let Ok(entries) = shared.bus.get_many(Bucket::Presence, &filter).await else { return 0 };
        let own = shared.leases.id();
        let mut sockets = 0;
        for entry in &entries {
            let Some(gateway) = entry.key.parts().pop().filter(|gateway| **gateway != *own) else { continue };
            let Ok(presence) = envelope::decode::<UserPresence>(&entry.value) else { continue };
            if presence.sockets() > 0 && shared.leases.stands(&gateway).await {
                sockets += presence.sockets();
            }
        }
        sockets
    };
    timeout(PATIENCE, counted).await.unwrap_or(0)
}

#[cfg(test)]
mod tests;
