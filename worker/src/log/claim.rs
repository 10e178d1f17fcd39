//! Claims: one item for each `(conversation, sender, client_random)`, put before its message's slot.
//!
//! Whoever puts the claim may store the message; whoever finds it there looks for the message from the claim's hint on
//! and finishes the job where it is not there. The hint is a slot that was seen written before the claim was sent,
//! never one in flight: the message of a claim is stored behind it. A claim lives a day longer than its last unfinished
//! hour, so that a message can be repeated for 24 hours after it was stored (contract section 3.4, 5).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{ConversationId, MessageId, Raw, Reason, Refusal, Timestamp};

use super::{
    send::Draft,
    slot::{Slot, StoredMessage},
};
use crate::{
    Request, Worker, document,
    store::{Expect, Item, StoreError, Write, keys},
};

/// How long a claim is kept after it was made or renewed.
pub(crate) const KEPT: Duration = Duration::from_hours(26);
/// The age at which an unfinished claim is renewed before its message is stored.
pub(crate) const RENEWED_AFTER: Duration = Duration::from_hours(1);

/// How long a message may still be under way to the store after it was claimed: the longest command, and a call of the
/// store's that began within it.
const UNDER_WAY: Duration = Duration::from_secs(12);
/// How often a message under way is looked for before who asks is sent away.
const LOOKS: u32 = 4;

/// The document of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClaimDocument {
    /// Of the message's type and content, as they were first sent.
    pub(crate) hash: String,
    /// No slot up to this `seq` holds the message.
    pub(crate) hint: u64,
    /// When the claim was made, or renewed.
    pub(crate) since: Timestamp,
    /// Where the message is, once a repeat has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
}

/// A claim that this attempt may store a message for.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// No slot up to this `seq` holds the message: the hint, or as far as this attempt has looked.
    pub(crate) looked: u64,
    version: u64,
    expires_at: Option<Timestamp>,
    document: ClaimDocument,
}

/// What a claim allows.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The message is not stored yet: store it.
    Open(Claim),
    /// It is stored.
    Stored(Box<StoredMessage>),
}

/// What follows from a claim that was there already and from what was found behind its hint.
fn decide(found: Option<&MessageId>, same: bool) -> Result<(), Refusal> {
    if same {
        return Ok(());
    }
    let first = found.map_or(serde_json::Value::Null, |id| id.to_string().into());
    Err(Refusal::new(Reason::Conflict, "this client_random was used for another message")
        .with("message_id", first))
}

impl Worker {
    /// Claims a draft's name. `seen` is a `seq` up to which the log was seen written.
    pub(crate) async fn claim(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
        seen: u64,
    ) -> Result<Claimed, Refusal> {
        request.in_time(&self.env)?;
        let now = self.env.now();
        let document = ClaimDocument { hash: draft.hash.clone(), hint: seen, since: now, seq: None };
        let claim = Claim { looked: seen, version: 0, expires_at: Some(now.plus(KEPT)), document };
        match self.store.put(claim.write(id, draft)).await {
            Ok(item) => Ok(Claimed::Open(Claim { version: item.version, ..claim })),
            // An expired claim that is still there counts: nobody could tell when it goes.
            Err(StoreError::Conflict(Some(item))) => self.repeat(request, id, draft, &item).await,
            Err(error) => Err(error.into()),
        }
    }

    /// What is to be done where the claim was there already.
    async fn repeat(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
        item: &Item,
    ) -> Result<Claimed, Refusal> {
        let mut claim = Claim::read(item)?;
        let found = match claim.document.seq {
            Some(seq) => Some(self.message_at(request, id, seq).await?.ok_or_else(lost)?),
            None => self.look(request, id, draft, &mut claim).await?,
        };
        let same = claim.document.hash == draft.hash;
        let found = match found {
            None if !same => self.look_again(request, id, draft, &mut claim).await?,
            found => found,
        };
        decide(found.as_ref().map(|message| &message.id), same)?;
        match found {
            Some(message) => Ok(Claimed::Stored(Box::new(message))),
            None => Ok(Claimed::Open(self.renewed(request, id, draft, claim).await?)),
        }
    }

    /// Looks for another message of this name that may be on its way into the log right now; only what was never stored
    /// is answered as such.
    async fn look_again(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
        claim: &mut Claim,
    ) -> Result<Option<StoredMessage>, Refusal> {
        for look in 1..=LOOKS {
            if self.env.now().since(claim.document.since) >= UNDER_WAY {
                return Ok(None);
            }
            self.back_off(look).await;
            if let Some(found) = self.look(request, id, draft, claim).await? {
                return Ok(Some(found));
            }
        }
        Err(Refusal::unavailable("another message of this client_random is being stored"))
    }

    /// Looks for the message behind the hint: through 1 MB of slots, one page of the store. Where there is more, the
    /// hint is raised, so that each attempt looks further than the one before.
    async fn look(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
        claim: &mut Claim,
    ) -> Result<Option<StoredMessage>, Refusal> {
        let page = self.query(request, keys::slots(id, claim.looked + 1, MessageId::MAX_SEQ)).await?;
        for item in &page.items {
            let slot = Slot::read(item)?;
            claim.looked = slot.last();
            let found =
                slot.messages.into_iter().find(|message| message.is(&draft.sender, &draft.client_random));
            if let Some(message) = found {
                let document = ClaimDocument { seq: Some(message.seq()), ..claim.document.clone() };
                self.rewrite(request, id, draft, &Claim { document, ..claim.clone() }).await;
                return Ok(Some(message));
            }
        }
        self.note_tail(id, claim.looked);
        if page.more {
            self.raise_hint(request, id, draft, claim, claim.looked).await;
            return Err(far());
        }
        Ok(None)
    }

    /// Notes that no slot up to `looked` holds the claim's message.
    pub(crate) async fn raise_hint(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
        claim: &Claim,
        looked: u64,
    ) {
        let document = ClaimDocument { hint: looked.max(claim.document.hint), ..claim.document.clone() };
        self.rewrite(request, id, draft, &Claim { document, ..claim.clone() }).await;
    }

    /// Writes what was learned into a claim. It only makes the next attempt shorter, so nothing fails with it.
    async fn rewrite(&self, request: &Request, id: &ConversationId, draft: &Draft, claim: &Claim) {
        if request.in_time(&self.env).is_ok()
            && let Err(error) = self.store.put(claim.write(id, draft)).await
        {
            tracing::debug!(%error, "a claim was not rewritten");
        }
    }

    /// The claim, good for at least 24 hours more.
    async fn renewed(
        &self,
        request: &Request,
        id: &ConversationId,
        draft: &Draft,
        claim: Claim,
    ) -> Result<Claim, Refusal> {
        let now = self.env.now();
        if now.since(claim.document.since) < RENEWED_AFTER {
            return Ok(claim);
        }
        request.in_time(&self.env)?;
        let document = ClaimDocument { since: now, ..claim.document };
        let renewed = Claim { document, expires_at: Some(now.plus(KEPT)), ..claim };
        let item = self.store.put(renewed.write(id, draft)).await?;
        Ok(Claim { version: item.version, ..renewed })
    }
}

impl Claim {
    fn read(item: &Item) -> Result<Self, Refusal> {
        let document: ClaimDocument = document::read(item)?;
        Ok(Self { looked: document.hint, version: item.version, expires_at: item.expires_at, document })
    }

    /// The write of the claim on the version that was read; version 0 is none.
    fn write(&self, id: &ConversationId, draft: &Draft) -> Write {
        Write {
            key: keys::claim(id, &draft.sender, &draft.client_random),
            body: Raw::of(&self.document),
            expires_at: self.expires_at,
            expect: if self.version == 0 { Expect::Absent } else { Expect::Version(self.version) },
        }
    }
}

/// The answer where more lies behind a hint than one attempt looks at.
pub(crate) fn far() -> Refusal {
    Refusal::unavailable("there is much to look through before this can be stored safely")
}

fn lost() -> Refusal {
    tracing::error!("a claim names a message that is not there: something else writes to the table");
    Refusal::unavailable("a stored document cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_content_conflicts_with_the_first_message_and_the_same_does_not() {
        let id = MessageId::new(Timestamp::from_millis(1), 7, 0);
        assert_eq!(decide(Some(&id), true), Ok(()));
        assert_eq!(decide(None, true), Ok(()));
        let refused = decide(Some(&id), false).unwrap_err();
        assert_eq!(
            (refused.reason, &refused.details["message_id"]),
            (Reason::Conflict, &id.to_string().into())
        );
        assert!(decide(None, false).unwrap_err().details["message_id"].is_null());
    }
}
