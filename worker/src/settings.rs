//! What a member has set for itself in a conversation: until when it is muted. Push services are told nothing of what is
//! said there until then.
//!
//! It stands in the user's membership, where the user's list finds it, and in an item of the conversation that says it of
//! all its members, where it is looked up with what they missed. Both are written in one transaction.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use simurgh_protocol::{ConversationId, Raw, Refusal, Timestamp, UserId, envelope::Success};

use crate::{
    Request, Worker,
    conversations::updated::{Change, ConversationUpdated},
    document::{self, ATTEMPTS, Stored},
    members::MembershipDocument,
    store::{Expect, keys},
};

#[cfg(test)]
mod tests;

/// The document of `keys::mutes`. Whose time is over, and who is no member, is left out when it is written next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct MutesDocument {
    /// Until when, in milliseconds since 1970.
    until: BTreeMap<UserId, u64>,
}

/// As the user is shown them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Settings {
    /// Null where it is not muted.
    muted_until: Option<Timestamp>,
}

impl Settings {
    pub(crate) fn at(muted_until: Option<Timestamp>, now: Timestamp) -> Self {
        Self { muted_until: muted_until.filter(|until| *until > now) }
    }
}

/// The answer to both calls.
#[derive(Serialize)]
struct Shown<'a> {
    conversation_id: &'a ConversationId,
    #[serde(flatten)]
    settings: Settings,
}

/// `{muted_until}`: a time, or null. Not as other bodies are read, for here null says something.
fn read(body: &Raw) -> Result<Option<Timestamp>, Refusal> {
    const FIELD: &str = "muted_until";
    let fields = body.parse::<BTreeMap<Cow<'_, str>, &RawValue>>();
    let fields = fields.map_err(|_| Refusal::invalid("payload", "must be an object"))?;
    let given = fields
        .get(FIELD)
        .ok_or_else(|| Refusal::invalid(FIELD, "is required; null where it is not muted"))?;
    serde_json::from_str(given.get()).map_err(|_| {
        Refusal::invalid(FIELD, "must be a time such as 2026-11-22T07:39:07.036Z, in UTC, or null")
    })
}

impl Worker {
    /// `GET /api/v1/conversations/{id}/settings`: `{conversation_id, muted_until}`.
    ///
    /// # Errors
    /// `not_a_member`, and those of [`Request::acting_user`].
    pub(crate) async fn get_settings(
        &self,
        request: &Request,
        id: &ConversationId,
        user: Option<&UserId>,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(user)?;
        self.check_member(request, id, &user).await?;
        let membership: Option<Stored<MembershipDocument>> =
            self.load(request, &keys::membership(&user, id)).await?;
        let muted_until = membership.and_then(|stored| stored.document.muted_until);
        Ok(self.shown_settings(id, muted_until))
    }

    /// `PATCH /api/v1/conversations/{id}/settings`: the settings as they are now, told to the user's devices.
    ///
    /// # Errors
    /// `validation_failed`, `not_a_member`, and those of [`Request::acting_user`].
    pub(crate) async fn patch_settings(
        &self,
        request: &Request,
        id: &ConversationId,
        user: Option<&UserId>,
        body: &Raw,
    ) -> Result<Success, Refusal> {
        let user = request.acting_user(user)?;
        let muted_until = Settings::at(read(body)?, self.env.now()).muted_until;
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            if self.try_mute(request, id, &user, muted_until).await? {
                let updated = ConversationUpdated {
                    conversation_id: id.clone(),
                    change: Change::Settings,
                    user_id: Some(user.clone()),
                    metadata: None,
                    updated_at: self.env.now(),
                };
                self.tell_updated([&user], &updated).await;
                return Ok(self.shown_settings(id, muted_until));
            }
        }
        Err(document::contended())
    }

    /// One attempt; `false` where somebody else was quicker.
    async fn try_mute(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
        muted_until: Option<Timestamp>,
    ) -> Result<bool, Refusal> {
        let members = self.check_member(request, id, user).await?;
        let key = keys::membership(user, id);
        let membership: Option<Stored<MembershipDocument>> = self.load(request, &key).await?;
        // Removed, or added, since the roster was read.
        let Some(Stored { version, document }) = membership.filter(|stored| stored.document.holds()) else {
            return Ok(false);
        };
        let document = MembershipDocument { muted_until, ..document };
        let mut writes = vec![document::write(key, &document, Expect::Version(version))];
        let stored: Option<Stored<MutesDocument>> = self.load(request, &keys::mutes(id)).await?;
        if stored.is_some() || muted_until.is_some() {
            let expect = document::expect(stored.as_ref());
            let mut mutes = stored.map(|stored| stored.document).unwrap_or_default();
            let now = self.env.now().as_millis();
            mutes.until.retain(|other, until| *until > now && other != user && members.contains(other));
            mutes.until.extend(muted_until.map(|until| (user.clone(), until.as_millis())));
            writes.push(document::write(keys::mutes(id), &mutes, expect));
        }
        self.commit(request, writes).await
    }

    /// Who is about to become a member has not muted it, whatever was when it was one before. `false` where somebody else
    /// was quicker.
    pub(crate) async fn unmute(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<bool, Refusal> {
        let stored: Option<Stored<MutesDocument>> = self.load(request, &keys::mutes(id)).await?;
        let Some(Stored { version, mut document }) = stored else { return Ok(true) };
        if document.until.remove(user).is_none() {
            return Ok(true);
        }
        let write = document::write(keys::mutes(id), &document, Expect::Version(version));
        self.commit(request, vec![write]).await
    }

    /// Who has muted a conversation now.
    pub(crate) async fn muted(
        &self,
        request: &Request,
        id: &ConversationId,
    ) -> Result<BTreeSet<UserId>, Refusal> {
        let stored: Option<Stored<MutesDocument>> = self.load(request, &keys::mutes(id)).await?;
        let (until, now) = (stored.map(|stored| stored.document.until), self.env.now().as_millis());
        let muted = until.unwrap_or_default().into_iter().filter(|(_, until)| *until > now);
        Ok(muted.map(|(user, _)| user).collect())
    }

    async fn check_member(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
    ) -> Result<BTreeSet<UserId>, Refusal> {
        let roster = self.member_access(request, id).await?;
        if !roster.members.contains(user) {
            return Err(Refusal::not_a_member());
        }
        Ok(roster.members.clone())
    }

    fn shown_settings(&self, id: &ConversationId, muted_until: Option<Timestamp>) -> Success {
        let settings = Settings::at(muted_until, self.env.now());
        Success::ok(&Shown { conversation_id: id, settings })
    }
}
