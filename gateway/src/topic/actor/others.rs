//! What the other gateways say of presence, and coming back after an outage.

use std::sync::Arc;

use simurgh_backplane::BusError;

use super::{Actor, BACK, Done, FIRST_LOOK, RETRY};
use crate::topic::entry::{self, Entries};

impl Actor {
    pub(super) fn read_entry(&mut self, gateway: String) {
        let (shared, id) = (Arc::clone(&self.shared), self.id.clone());
        self.work.push(Box::pin(async move { Done::Entries(entry::read_one(&shared, &id, &gateway).await) }));
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
        // The others come back, too, and write their entries again: until then the view stays as it is.
        let now = self.shared.env.instant();
        self.read_entries_at = Some(now + BACK + self.shared.env.jitter(FIRST_LOOK));
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

    pub(super) fn read_all_entries(&mut self, known: Vec<(String, u64)>, read: Result<Entries, BusError>) {
        let Ok(mut entries) = read else {
            let now = self.shared.env.instant();
            self.read_entries_at = Some(now + RETRY * 2 + self.shared.env.jitter(RETRY * 4));
            return;
        };
        let present: Vec<(String, u64)> =
            self.topic.presence.gateways().map(|(gateway, revision)| (gateway.clone(), revision)).collect();
        let missing = known
            .into_iter()
            .filter(|seen| present.contains(seen) && !entries.iter().any(|(gateway, _)| *gateway == seen.0));
        let missing: Entries = missing.map(|(gateway, _)| (gateway, None)).collect();
        entries.extend(missing);
        self.read_entries(entries);
    }
}
