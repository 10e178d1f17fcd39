//! Blocks: who wants to hear nothing of whom. Whoever is blocked is to notice nothing: it is answered as ever.
//!
//! What decides is one item of the pair ([`PairDocument`]), and for their direct conversation its item `members`, which
//! each send reads anyway: both are written in one transaction, with the two sides that lists are read from. Who creates
//! the pair's conversation writes the pair's item with it. So a block and a conversation that begin at once meet.
//!
//! A message that is said to somebody who blocks its sender is stored as ever and says in itself who never gets it
//! (`log::slot`). So what was said while a block was there stays unheard once it is gone, and nothing that was heard
//! before it gets lost.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use simurgh_protocol::{
    Raw, Reason, Refusal, Timestamp, UserId,
    envelope::{self, GatewayEnvelope, Success},
    event::sent,
    limits,
};

use crate::{
    Request, Worker,
    document::{self, ATTEMPTS, Stored},
    members::{document::TOMBSTONE, rules::room_for_tombstone},
    store::{Consistency, Item, Write, keys},
};

mod direct;
mod list;
#[cfg(test)]
mod tests;

/// Users whom one does not see, that gateways are told of, at most: each of them is kept there.
const UNSEEN: usize = 6_000;

/// The document of `keys::pair`: who of the two blocks the other, and since when. It is written again with everything that
/// depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PairDocument {
    pub(crate) blocked_by: BTreeMap<UserId, Timestamp>,
}

impl PairDocument {
    /// The write that leaves the pair so. Without a block it is a tombstone.
    pub(crate) fn write(
        &self,
        one: &UserId,
        other: &UserId,
        read: Option<&Stored<Self>>,
        now: Timestamp,
    ) -> Write {
        let expires_at = self.blocked_by.is_empty().then(|| now.plus(TOMBSTONE));
        Write { expires_at, ..document::write(keys::pair(one, other), self, document::expect(read)) }
    }

    /// Since when neither sees the other.
    fn apart_since(&self) -> Option<Timestamp> {
        self.blocked_by.values().min().copied()
    }
}

/// The document of `keys::block` and, the same, of `keys::blocker`: for lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BlockDocument {
    /// Whether it holds; else it is a tombstone.
    blocked: bool,
    /// Since when.
    since: Timestamp,
}

/// The users whom these items name, and since when, where they hold.
fn holding(items: &[Item]) -> Result<Vec<(UserId, Timestamp)>, Refusal> {
    let mut found = Vec::new();
    for item in items {
        let document: BlockDocument = document::read(item)?;
        let user = keys::named(&item.key).and_then(|id| UserId::new(id).ok());
        found.extend(user.filter(|_| document.blocked).map(|user| (user, document.since)));
    }
    Ok(found)
}

impl Worker {
    /// `PUT` and `DELETE /api/v1/blocks/{user_id}`: 204, also where it was so already.
    ///
    /// # Errors
    /// `validation_failed` for oneself, `conflict` (+ `limit`) where the user blocks as many as one may.
    pub(crate) async fn set_block(
        &self,
        request: &Request,
        user: Option<&UserId>,
        other: &UserId,
        present: bool,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(user)?;
        if user == *other {
            return Err(Refusal::invalid("user_id", "must be another user"));
        }
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            if let Some(at) = self.try_set_block(request, &user, other, present).await? {
                // Also where nothing changed: who changed it may have died before it told.
                self.tell_block(request, &user, other, present, at).await;
                return Ok(document::done(204));
            }
        }
        Err(document::contended())
    }

    /// One attempt: since when it is so; `None` where somebody else was quicker.
    async fn try_set_block(
        &self,
        request: &Request,
        user: &UserId,
        other: &UserId,
        present: bool,
    ) -> Result<Option<Timestamp>, Refusal> {
        let (key, mirror) = (keys::block(user, other), keys::blocker(other, user));
        // First: what is read after it is written with it, or not at all.
        let stored: Option<Stored<PairDocument>> = self.load(request, &keys::pair(user, other)).await?;
        let mut pair = stored.as_ref().map(|stored| stored.document.clone()).unwrap_or_default();
        let (now, before) = (self.env.now(), pair.blocked_by.get(user).copied());
        if before.is_some() == present {
            // Written again on its version, so that a late attempt of the opposite call finds another.
            let writes = vec![pair.write(user, other, stored.as_ref(), now)];
            return Ok(self.commit(request, writes).await?.then_some(before.unwrap_or(now)));
        }
        let side: Option<Stored<BlockDocument>> = self.load(request, &key).await?;
        let seen: Option<Stored<BlockDocument>> = self.load(request, &mirror).await?;
        if present {
            self.check_room_for_block(request, user, side.is_some()).await?;
            pair.blocked_by.insert(user.clone(), now);
        } else {
            pair.blocked_by.remove(user);
        }
        let document = BlockDocument { blocked: present, since: now };
        let expires_at = (!present).then(|| now.plus(TOMBSTONE));
        let write = |key, read: Option<&Stored<BlockDocument>>| Write {
            expires_at,
            ..document::write(key, &document, document::expect(read))
        };
        let mut writes = vec![write(key, side.as_ref()), write(mirror, seen.as_ref())];
        writes.extend(self.in_direct(request, user, other, &pair).await?);
        writes.push(pair.write(user, other, stored.as_ref(), now));
        Ok(self.commit(request, writes).await?.then_some(now))
    }

    async fn check_room_for_block(
        &self,
        request: &Request,
        user: &UserId,
        known: bool,
    ) -> Result<(), Refusal> {
        let items = self.load_whole(request, keys::blocks(user)).await?;
        let held = holding(&items)?.len();
        if held >= limits::BLOCKS {
            let refusal = Refusal::new(Reason::Conflict, format!("a user blocks at most {}", limits::BLOCKS));
            return Err(refusal.with("limit", limits::BLOCKS));
        }
        room_for_tombstone(items.len() - held, known)
    }

    /// Tells the user's own devices, and has all gateways ask whom the two see.
    async fn tell_block(
        &self,
        request: &Request,
        user: &UserId,
        other: &UserId,
        blocked: bool,
        at: Timestamp,
    ) {
        let told = envelope::encode(&GatewayEnvelope::Blocks { one: user.clone(), other: other.clone() });
        if let Err(error) = self.bus.publish(&self.subjects.all_gateways(), told).await {
            tracing::debug!(%error, "gateways will find a block by themselves");
        }
        let updated = Raw::of(&json!({ "user_id": other, "blocked": blocked, "at": at }));
        self.tell_users(std::slice::from_ref(user), sent::BLOCKS_UPDATED, &updated).await;
        self.tell_visibility(request, user, other).await;
        self.tell_visibility(request, other, user).await;
    }

    /// Who of the two blocks the other.
    pub(crate) async fn pair(
        &self,
        request: &Request,
        one: &UserId,
        other: &UserId,
    ) -> Result<Option<Stored<PairDocument>>, Refusal> {
        self.load(request, &keys::pair(one, other)).await
    }

    /// Since when neither of the two sees the other, where that is so.
    pub(crate) async fn apart_since(
        &self,
        request: &Request,
        one: &UserId,
        other: &UserId,
    ) -> Result<Option<Timestamp>, Refusal> {
        Ok(self.pair(request, one, other).await?.and_then(|stored| stored.document.apart_since()))
    }

    /// Whether one of the two blocks the other, for what is told at most once: as it was a second ago. What cannot be
    /// found out is not told.
    pub(crate) async fn may_be_apart(&self, one: &UserId, other: &UserId) -> bool {
        let found = self.store.get(&keys::pair(one, other), Consistency::Eventual).await;
        found.is_ok_and(|item| match item {
            Some(item) => {
                document::read::<PairDocument>(&item).map_or(true, |pair| !pair.blocked_by.is_empty())
            }
            None => false,
        })
    }

    /// Whom the user does not see, nor they it: one of the two blocks the other.
    pub(crate) async fn unseen(&self, request: &Request, user: &UserId) -> Result<BTreeSet<UserId>, Refusal> {
        let items = self.load_range(request, keys::blocks_and_blockers(user)).await?;
        unseen(&items)
    }
}

/// Who of these does not see the one whose blocks and blockers they are, and is not seen.
pub(crate) fn unseen(items: &[Item]) -> Result<BTreeSet<UserId>, Refusal> {
    Ok(holding(items)?.into_iter().map(|(user, _)| user).collect())
}

/// As many as gateways are told of.
pub(crate) fn bounded(unseen: BTreeSet<UserId>) -> Vec<UserId> {
    unseen.into_iter().take(UNSEEN).collect()
}
