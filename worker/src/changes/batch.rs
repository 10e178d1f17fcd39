//! What a batch of changes comes to: decided one after the other, each on what those before it made of the messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Reason, Refusal, Timestamp, UserId,
    envelope::Success,
    event::sent,
    record::{Message, Quoted},
};

use super::{Ask, Asked, Edited, Gone, deleted};
use crate::{
    document,
    log::{
        change::ChangeDocument,
        slot::{Deleted, Slot, StoredMessage},
    },
    reactions::{React, Reacted, Reactions, no_such_message},
    store::{Expect, Write, keys},
};

/// Bytes of a slot once messages in it were edited, at most: an item of DynamoDB takes 400 KB.
const EDITED_SLOT_BYTES: usize = 380 * 1024;

/// The messages' state, as it was read and then as those who were decided left it.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The reactions on messages, with what their write expects.
    pub(super) reactions: BTreeMap<u64, (Reactions, Expect)>,
    /// Slots by the `seq` of their first message, with the version they were read at.
    pub(super) slots: BTreeMap<u64, (Slot, u64)>,
    /// Who has deleted which message for itself: of those that are edited all, else those who ask.
    pub(super) hidden: BTreeSet<(UserId, u64)>,
}

/// What is decided by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Distinct reactions on a message.
    pub(super) reactions: usize,
    /// How long after it was sent a message may be edited.
    pub(super) edit_window: Duration,
    /// The time.
    pub(super) now: Timestamp,
}

/// A change that is to be stored.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// As it is stored.
    pub(super) document: ChangeDocument,
    /// Its event's payload now.
    pub(super) payload: Raw,
    /// Who is not told.
    pub(super) except: Vec<UserId>,
}

impl Change {
    /// This user is not told; what is a user's own concerns no other anyway.
    fn leave_out(&mut self, user: Option<&UserId>) {
        if let (None, Some(user)) = (&self.document.only, user) {
            self.document.except = Some(user.clone());
            self.except.push(user.clone());
        }
    }
}

/// What one ask comes to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// None where it is so already.
    pub(super) change: Option<Change>,
    pub(super) answer: Success,
}

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Batch {
    state: State,
    /// What is written: also where nothing changes, lest a late attempt meets a version that it read.
    reactions: BTreeSet<u64>,
    slots: BTreeSet<u64>,
    hidden: BTreeMap<(UserId, u64), Timestamp>,
    /// What each comes to, in order.
    pub(super) outcomes: Vec<Result<Outcome, Refusal>>,
}

/// The document of `keys::hidden` and `keys::hider`.
#[derive(Serialize)]
struct Hidden {
    at: Timestamp,
}

#[derive(Serialize)]
struct EditReply<'a> {
    message_edited: bool,
    message: &'a Message,
}

impl Batch {
    /// Decides all.
    pub(super) fn decide<'a>(
        id: &ConversationId,
        open: impl IntoIterator<Item = &'a Asked>,
        state: State,
        rules: Rules,
    ) -> Self {
        let mut batch = Self { state, ..Self::default() };
        for Asked { message, silent, ask, .. } in open {
            let mut outcome = match ask {
                Ask::React { user, reaction, react } => {
                    batch.react(id, *message, user, reaction, *react, rules)
                }
                Ask::Edit { by, content, metadata, quote } => {
                    let edit = (content.clone(), metadata.clone());
                    batch.edit(id, *message, (by, silent.as_ref()), edit, quote.as_ref(), rules)
                }
                Ask::Delete { by } => batch.delete(id, *message, by.as_ref(), rules.now),
                Ask::Hide { user } => Ok(batch.hide(id, *message, user, rules.now)),
            };
            if let Ok(Outcome { change: Some(change), .. }) = &mut outcome {
                change.leave_out(silent.as_ref());
            }
            batch.outcomes.push(outcome);
        }
        batch
    }

    /// The changes, in their order.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()?.change.as_ref())
    }

    /// What is to be written, all at once; the last change before has the place `last`.
    pub(super) fn writes(&self, id: &ConversationId, last: u64) -> Vec<Write> {
        let slots = self.slots.iter().filter_map(|first| self.state.slots.get(first));
        let slots = slots.map(|(slot, version)| slot.rewrite(id, *version));
        let reactions = self.reactions.iter().filter_map(|seq| Some((seq, self.state.reactions.get(seq)?)));
        let reactions = reactions
            .map(|(seq, (reactions, expect))| document::write(keys::reactions(id, *seq), reactions, *expect));
        let hidden = self.hidden.iter().map(|((user, seq), at)| {
            [keys::hidden(id, user, *seq), keys::hider(id, *seq, user)]
                .map(|key| document::write(key, &Hidden { at: *at }, Expect::Absent))
        });
        let changes = self.changes().zip(last + 1..).map(|(change, place)| change.document.write(id, place));
        slots.chain(reactions).chain(hidden.flatten()).chain(changes).collect()
    }

    fn react(
        &mut self,
        id: &ConversationId,
        message: MessageId,
        user: &UserId,
        reaction: &str,
        react: React,
        rules: Rules,
    ) -> Result<Outcome, Refusal> {
        let seq = message.seq();
        let unknown = || (Reactions::default(), Expect::Absent);
        let (known, expect) = self.state.reactions.remove(&seq).unwrap_or_else(unknown);
        let decided = known.decide(user, reaction, react, rules.reactions);
        let after = decided.as_ref().unwrap_or(&known);
        let told = Reacted {
            conversation_id: id,
            message_id: message,
            user_id: user,
            reaction,
            timestamp: rules.now,
        };
        let change = (*after != known).then(|| {
            let payload = Raw::of(&told);
            let document = ChangeDocument::new(seq, react.event(), payload.clone());
            Change { document, payload, except: Vec::new() }
        });
        if decided.is_ok() {
            self.reactions.insert(seq);
        }
        self.state.reactions.insert(seq, (after.clone(), expect));
        decided.map(|_| Outcome { change, answer: react.reply() })
    }

    fn edit(
        &mut self,
        id: &ConversationId,
        message: MessageId,
        (by, silent): (&UserId, Option<&UserId>),
        (content, metadata): (String, Option<Raw>),
        quote: Option<&Quoted>,
        rules: Rules,
    ) -> Result<Outcome, Refusal> {
        let (first, before) = self.find(message)?;
        if before.deleted.is_some() {
            return Err(deleted());
        }
        may_edit(&before, by, rules)?;
        let same = before.content == content
            && metadata.as_ref().is_none_or(|metadata| before.metadata.get() == metadata.get());
        let after =
            if same { before } else { before.edited(content, metadata, rules.now).silent_for(silent) };
        if !same {
            self.replace(first, after.clone())?;
        }
        self.slots.insert(first);
        let shown = Message { reply_to: quote.cloned(), ..after.shown(id) }.told();
        let hides = |(user, seq): &(UserId, u64)| (*seq == message.seq()).then(|| user.clone());
        let except = self.state.hidden.iter().filter_map(hides).collect();
        let change = (!same).then(|| Change {
            // Nothing of what it says: that would outlive the message.
            document: ChangeDocument::new(message.seq(), sent::MESSAGE_EDITED, Raw::empty()),
            payload: Raw::of(&Edited { message: &shown }),
            except,
        });
        let answer = Success::ok(&EditReply { message_edited: true, message: &shown });
        Ok(Outcome { change, answer })
    }

    fn delete(
        &mut self,
        id: &ConversationId,
        message: MessageId,
        by: Option<&UserId>,
        now: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let (first, before) = self.find(message)?;
        if by.is_some_and(|by| *by != before.sender) {
            return Err(Refusal::new(
                Reason::Forbidden,
                "only its author may delete this message for everyone",
            ));
        }
        if before.deleted.is_some() {
            // Nothing brings it back, so no late attempt can undo this: nothing need be written.
            return Ok(gone(None));
        }
        let seq = message.seq();
        self.replace(first, before.tombstone(Deleted { at: now, by: by.cloned() }))?;
        self.slots.insert(first);
        let expect = self.state.reactions.get(&seq).map_or(Expect::Absent, |(_, expect)| *expect);
        self.state.reactions.insert(seq, (Reactions::closed(), expect));
        self.reactions.insert(seq);
        let payload = Raw::of(&Gone { conversation_id: id, message_id: message, seq, user_id: by, at: now });
        let document = ChangeDocument::new(seq, sent::MESSAGE_DELETED, payload.clone());
        Ok(gone(Some(Change { document, payload, except: Vec::new() })))
    }

    fn hide(&mut self, id: &ConversationId, message: MessageId, user: &UserId, now: Timestamp) -> Outcome {
        let seq = message.seq();
        if !self.state.hidden.insert((user.clone(), seq)) {
            return gone(None);
        }
        self.hidden.insert((user.clone(), seq), now);
        let payload =
            Raw::of(&Gone { conversation_id: id, message_id: message, seq, user_id: Some(user), at: now });
        let document = ChangeDocument::new(seq, sent::MESSAGE_HIDDEN, payload.clone());
        let document = ChangeDocument { only: Some(user.clone()), ..document };
        gone(Some(Change { document, payload, except: Vec::new() }))
    }

    /// The message, and the key of its slot.
    fn find(&self, message: MessageId) -> Result<(u64, StoredMessage), Refusal> {
        let slot = self.state.slots.range(..=message.seq()).next_back();
        let found = slot.and_then(|(first, (slot, _))| Some((*first, slot.at(message.seq())?.clone())));
        found.filter(|(_, found)| found.id == message).ok_or_else(no_such_message)
    }

    /// Puts a message into its place.
    fn replace(&mut self, first: u64, message: StoredMessage) -> Result<(), Refusal> {
        let Some((slot, version)) = self.state.slots.remove(&first) else { return Err(no_such_message()) };
        let (before, content) = (slot.bytes(), message.content.len());
        let after = slot.clone().with(message);
        let bytes = after.bytes();
        // What gets smaller always fits.
        if bytes > EDITED_SLOT_BYTES && bytes > before {
            self.state.slots.insert(first, (slot, version));
            let most = content.saturating_sub(bytes - EDITED_SLOT_BYTES);
            return Err(Refusal::too_large("the message, beside those that it is stored with,", most));
        }
        self.state.slots.insert(first, (after, version));
        Ok(())
    }
}

/// Its author edits a message, for a while.
fn may_edit(message: &StoredMessage, by: &UserId, rules: Rules) -> Result<(), Refusal> {
    if message.sender != *by {
        return Err(Refusal::new(Reason::Forbidden, "only its author may edit this message"));
    }
    if rules.now.since(message.sent_at) >= rules.edit_window {
        let refusal = Refusal::new(Reason::Forbidden, "this message was sent too long ago to be edited");
        return Err(refusal.with("edit_window", rules.edit_window.as_secs()));
    }
    Ok(())
}

fn gone(change: Option<Change>) -> Outcome {
    Outcome { change, answer: Success::ok(&BTreeMap::from([("message_deleted", true)])) }
}
