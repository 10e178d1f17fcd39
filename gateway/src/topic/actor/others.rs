//! What the other gateways say of presence, and coming back after an outage.

use std::{sync::Arc, time::Duration};

use simurgh_backplane::BusError;
use simurgh_protocol::envelope::ConversationPresence;

use super::{Actor, Done, FIRST_LOOK, RETRY};
use crate::topic::entry::{self, Entries};

impl Actor {
    /// Reads a gateway's entry, which is to be of this revision at least.
    pub(super) fn read_entry(&mut self, gateway: String, revision: u64) {
        let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
        self.work.push(Box::pin(async move {
            let read = entry::read_one(&shared, &id, &gateway).await;
            Done::Entry(gateway, revision, read)
        }));
    }

    pub(super) fn read_entry_of(
        &mut self,
        gateway: String,
        revision: u64,
        read: Result<Option<ConversationPresence>, BusError>,
    ) {
        // A replica of the backplane may lag.
        let lags = |entry: &ConversationPresence| entry.revision < revision;
        if read.as_ref().map_or(true, |entry| entry.as_ref().is_some_and(lags)) {
            self.read_entries_soon(RETRY);
        }
        if let Ok(entry) = read {
            self.read_entries(vec![(gateway, entry)]);
        }
    }

    /// A gateway is gone.
    pub(super) fn forget(&mut self, gateway: &str) {
        let arrivals = self.topic.presence.forget(gateway);
        self.told_arrivals(&arrivals);
    }

    /// All entries are read again within this time, or before.
    pub(super) fn read_entries_soon(&mut self, within: Duration) {
        let at = self.shared.env.instant() + within / 2 + self.shared.env.jitter(within / 2);
        self.read_entries_at = Some(self.read_entries_at.map_or(at, |planned| planned.min(at)));
    }

    pub(super) fn read_entries(&mut self, entries: Entries) {
        let own = self.shared.leases.id();
        for (gateway, entry) in entries {
            if *gateway == *own {
                continue;
            }
            let arrivals = match entry {
                Some(entry) => self.topic.presence.read(&gateway, entry),
                None => self.topic.presence.forget(&gateway),
            };
            self.told_arrivals(&arrivals);
        }
    }

    pub(super) fn again(&mut self, reborn: bool) {
        if reborn {
            // Others count the old name's connections as gone: the new name's have refs of their own.
            let keys: Vec<_> = self
                .locals
                .iter()
                .filter(|(_, local)| local.phx_ref.is_some())
                .map(|(key, _)| *key)
                .collect();
            for key in keys {
                let old = self.locals.get_mut(&key).and_then(|local| local.phx_ref.take());
                self.appear(key);
                if let Some(old) = old {
                    self.vanish(&old);
                }
            }
        }
        self.saver.save_all(reborn);
        self.look_soon();
        // The others come back, too, and write their entries again; who is awaited stays in the view.
        self.read_entries_soon(FIRST_LOOK * 3);
    }

    pub(super) fn look_soon(&mut self) {
        self.look_at = Some(self.shared.env.instant() + self.shared.env.jitter(FIRST_LOOK * 3));
    }

    /// Reads all entries; who is missing is forgotten, unless something was heard of it meanwhile.
    pub(super) fn start_reading_entries(&mut self) {
        let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
        let known: Vec<(String, u64)> =
            self.topic.presence.gateways().map(|(gateway, revision)| (gateway.clone(), revision)).collect();
        self.work.push(Box::pin(async move { Done::AllEntries(known, entry::read_all(&shared, &id).await) }));
    }

    pub(super) fn read_all_entries(
        &mut self,
        known: Vec<(String, u64)>,
        read: Result<(Entries, bool), BusError>,
    ) {
        let Ok((mut entries, doubtful)) = read else {
            self.read_entries_soon(RETRY * 6);
            return;
        };
        let present: Vec<(String, u64)> =
            self.topic.presence.gateways().map(|(gateway, revision)| (gateway.clone(), revision)).collect();
        let missing = known
            .into_iter()
            .filter(|seen| present.contains(seen) && !entries.iter().any(|(gateway, _)| *gateway == seen.0));
        let (awaited, missing): (Entries, Entries) = missing
            .map(|(gateway, _)| (gateway, None))
            .partition(|(gateway, _)| self.shared.leases.is_awaited(gateway));
        if doubtful || !awaited.is_empty() {
            self.read_entries_soon(RETRY * 3);
        }
        entries.extend(missing);
        self.read_entries(entries);
    }
}
