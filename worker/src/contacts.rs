//! Contacts: who a user shows its status to. Stored twice, seen from both sides, always changed in one transaction.

use serde::{Deserialize, Serialize};
use serde_json::json;
use simurgh_protocol::{Reason, Refusal, Timestamp, UserId, envelope::Success};

use crate::{
    Request, Worker,
    document::{self, ATTEMPTS, Stored},
    members::{document::TOMBSTONE, rules::room_for_tombstone},
    store::{Item, Write, keys},
};

pub(crate) mod visibility;

#[cfg(test)]
mod tests;

/// The document of `keys::contact` and, the same, of `keys::follower`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ContactDocument {
    state: ContactState,
    /// When the state began.
    since: Timestamp,
}

impl ContactDocument {
    fn holds(&self) -> bool {
        self.state == ContactState::Contact
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ContactState {
    Contact,
    /// A tombstone, kept so that an attempt that comes late meets a version it did not read.
    Removed,
}

/// What setting a contact comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// It is so already. The document is still written again on its version, so that an attempt of the opposite call
    /// that read the same version and comes late finds another.
    Unchanged,
    /// It becomes so.
    Change,
}

/// A contact that is there stays, also beyond a limit that was lowered since.
fn decide(was: bool, present: bool, count: usize, limit: usize) -> Result<Decision, Refusal> {
    match (was, present) {
        (true, true) | (false, false) => Ok(Decision::Unchanged),
        (false, true) if count >= limit => {
            let refusal = Refusal::new(Reason::Conflict, format!("a user has at most {limit} contacts"));
            Err(refusal.with("limit", limit))
        }
        _ => Ok(Decision::Change),
    }
}

/// The users whom the live documents of a range name, in its order.
pub(crate) fn live(items: &[Item]) -> Result<Vec<UserId>, Refusal> {
    let mut users = Vec::new();
    for item in items {
        if document::read::<ContactDocument>(item)?.holds() {
            users.extend(keys::named(&item.key).and_then(|id| UserId::new(id).ok()));
        }
    }
    Ok(users)
}

impl Worker {
    /// `GET /api/v1/contacts`: `{contacts: [user_id]}`, sorted.
    pub(crate) async fn list_contacts(
        &self,
        request: &Request,
        user: Option<&UserId>,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(user)?;
        let contacts = self.contacts(request, &user).await?;
        Ok(Success::ok(&json!({ "contacts": contacts })))
    }

    /// `PUT` and `DELETE /api/v1/contacts/{user_id}`: 204, also where it was so already.
    ///
    /// # Errors
    /// `validation_failed` for oneself, `conflict` (+ `limit`) where the user has as many contacts as one may have.
    pub(crate) async fn set_contact(
        &self,
        request: &Request,
        user: Option<&UserId>,
        contact: &UserId,
        present: bool,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(user)?;
        if user == *contact {
            return Err(Refusal::invalid("user_id", "must be another user"));
        }
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            if self.try_set_contact(request, &user, contact, present).await? {
                // Also where nothing changed: who changed it may have died before it told.
                self.tell_visibility(request, &user, contact).await;
                return Ok(document::done(204));
            }
        }
        Err(document::contended())
    }

    /// One attempt; `false` where somebody else was quicker.
    async fn try_set_contact(
        &self,
        request: &Request,
        user: &UserId,
        contact: &UserId,
        present: bool,
    ) -> Result<bool, Refusal> {
        let (key, mirror) = (keys::contact(user, contact), keys::follower(contact, user));
        let stored: Option<Stored<ContactDocument>> = self.load(request, &key).await?;
        let was = stored.as_ref().is_some_and(|stored| stored.document.holds());
        let count = if was {
            0
        } else {
            let items = self.load_whole(request, keys::contacts(user)).await?;
            let count = live(&items)?.len();
            // Also that a contact is gone is stored, so that a late attempt finds it.
            room_for_tombstone(items.len() - count, stored.is_some())?;
            count
        };
        let decision = decide(was, present, count, self.limits.contacts)?;

        let now = self.env.now();
        let state = if present { ContactState::Contact } else { ContactState::Removed };
        let since = match (decision, &stored) {
            (Decision::Unchanged, Some(Stored { document, .. })) => document.since,
            _ => now,
        };
        let document = ContactDocument { state, since };
        let expires_at = (!present).then(|| now.plus(TOMBSTONE));
        let expect = document::expect(stored.as_ref());
        let mut writes = vec![Write { expires_at, ..document::write(key, &document, expect) }];
        if decision == Decision::Change {
            let seen: Option<Stored<ContactDocument>> = self.load(request, &mirror).await?;
            let expect = document::expect(seen.as_ref());
            writes.push(Write { expires_at, ..document::write(mirror, &document, expect) });
        }
        self.commit(request, writes).await
    }
}
