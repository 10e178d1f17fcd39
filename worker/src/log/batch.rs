//! A batch of sends: load, decide, claim, store, tell, answer.

use std::sync::Arc;

use futures_util::future::{join_all, try_join};
use simurgh_backplane::offline::REMEMBERED;
use simurgh_protocol::{
    ConversationId, MessageId, Raw, Reason, Refusal, Timestamp,
    envelope::{ConversationEvent, Logged},
    event::sent,
    record::Message,
};

use super::{
    burst::Burst,
    claim::{Claim, Claimed, far},
    lane::Waiting,
    notifier::Notices,
    read::Tail,
    send,
    slot::{Slot, StoredMessage},
};
use crate::{
    Worker,
    access::Roster,
    broadcast::Notice,
    store::{PAGE_BYTES, StoreError, keys},
};

/// How often a batch tries for the next slot. Each time it loses, another batch was stored.
const ATTEMPTS: usize = 16;

/// A send whose message is to be stored.
struct Open {
    waiting: Waiting,
    claim: Claim,
    /// Tells the ids of two messages apart that are written for one place at one moment.
    random: u64,
}

/// A send whose message is stored.
struct Done {
    waiting: Waiting,
    message: StoredMessage,
    /// Whether this very attempt stored it. What an earlier one stored was told to users already, or may have been.
    fresh: bool,
}

impl Open {
    fn message(&self, seq: u64, sent_at: Timestamp) -> StoredMessage {
        self.waiting.draft.message(self.waiting.request.id, seq, sent_at, self.random)
    }
}

impl Worker {
    /// Serves a batch.
    pub(crate) async fn send_batch(&self, id: &ConversationId, batch: Vec<Waiting>) {
        let batch = self.in_time(batch);
        // The latest deadline: what is read serves all of them, and each checks its own before it goes on.
        let widest = batch.iter().map(|waiting| &waiting.request).max_by_key(|request| request.deadline);
        let Some(widest) = widest.cloned() else { return };
        let (roster, seen) = match try_join(self.roster(&widest, id), self.recent_tail(&widest, id)).await {
            Ok(read) => read,
            Err(refusal) => {
                return refuse_all(batch, &refusal);
            }
        };
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for (waiting, claimed) in self.claim_all(id, roster.as_deref(), seen, batch).await {
            let claimed = match (claimed, &waiting.draft.refused) {
                (Ok(Claimed::Open(_)), Some(refusal)) => Err(refusal.clone()),
                (claimed, _) => claimed,
            };
            match claimed {
                Ok(Claimed::Open(claim)) => open.push(Open { waiting, claim, random: self.env.random_u64() }),
                Ok(Claimed::Stored(message)) => done.push(Done { waiting, message: *message, fresh: false }),
                Err(refusal) => {
                    if refusal.reason == Reason::Conflict {
                        self.metrics.message("conflict");
                    }
                    waiting.answer(Err(refusal));
                }
            }
        }
        self.store_open(id, open, &mut done).await;
        done.sort_by_key(|done| done.message.seq());
        if let Some(roster) = roster {
            self.finish(id, &roster, done).await;
        }
    }

    /// Those whose deadline has not passed; the others are answered.
    fn in_time(&self, batch: Vec<Waiting>) -> Vec<Waiting> {
        let check = |waiting: Waiting| match waiting.request.in_time(&self.env) {
            Ok(()) => Some(waiting),
            Err(refusal) => {
                waiting.answer(Err(refusal));
                None
            }
        };
        batch.into_iter().filter_map(check).collect()
    }

    /// Claims the names of those who may send, all at once.
    async fn claim_all(
        &self,
        id: &ConversationId,
        roster: Option<&Roster>,
        seen: u64,
        batch: Vec<Waiting>,
    ) -> Vec<(Waiting, Result<Claimed, Refusal>)> {
        join_all(batch.into_iter().map(|mut waiting| async move {
            waiting.draft.silent = roster.and_then(|roster| send::silent_for(&waiting.draft, roster));
            let Waiting { request, draft, .. } = &waiting;
            let claimed = match send::may_send(&request.principal, draft, roster) {
                Ok(()) => self.claim_as_member(request, id, draft, roster, seen).await,
                Err(refusal) => Err(refusal),
            };
            (waiting, claimed)
        }))
        .await
    }

    /// Puts the open messages into the first free slot behind those that all of them have looked at; and has them look
    /// at each slot that is met on the way.
    async fn store_open(&self, id: &ConversationId, mut open: Vec<Open>, done: &mut Vec<Done>) {
        let Some(mut looked) = open.iter().map(|open| open.claim.looked).min() else { return };
        let mut room = PAGE_BYTES;
        let sent_at = self.env.now();
        for _ in 0..ATTEMPTS {
            open = self.still_in_time(open);
            if open.is_empty() {
                return;
            }
            let messages: Vec<StoredMessage> =
                open.iter().zip(looked + 1..).map(|(open, seq)| open.message(seq, sent_at)).collect();
            match self.store.put(Slot::write(id, looked + 1, &messages)).await {
                Ok(_) => {
                    self.metrics.batch(messages.len());
                    self.note_tail(id, looked + messages.len() as u64);
                    let stored = open.into_iter().zip(messages);
                    done.extend(stored.map(|(open, message)| Done {
                        waiting: open.waiting,
                        message,
                        fresh: true,
                    }));
                    return;
                }
                Err(StoreError::Conflict(Some(item))) => {
                    let read = Slot::read(&item).map(|slot| (item.body.get().len(), slot));
                    match read {
                        Ok((bytes, slot)) => {
                            room = room.saturating_sub(bytes);
                            looked = slot.last();
                            open = take_found(&slot, open, sent_at, done);
                        }
                        Err(refusal) => return refuse_open(open, &refusal),
                    }
                }
                Err(StoreError::TooLarge) => {
                    let refusal = Refusal::too_large("the message", self.limits.content_bytes);
                    return refuse_open(open, &refusal);
                }
                // It may have been written: whoever repeats it finds it by its claim.
                Err(error) => return refuse_open(open, &error.into()),
            }
            match self.look_ahead(id, looked, room, open, sent_at, done).await {
                Some((to, left, rest)) => (looked, room, open) = (to, left, rest),
                None => return,
            }
        }
        refuse_open(open, &Refusal::unavailable("too many send in this conversation at once"));
    }

    /// After a slot was lost: looks at what lies behind it in one read. Answers how far it looked, the bytes that may
    /// still be looked at, and what is still open; `None` where nothing is, all being answered.
    async fn look_ahead(
        &self,
        id: &ConversationId,
        mut looked: u64,
        mut room: usize,
        open: Vec<Open>,
        sent_at: Timestamp,
        done: &mut Vec<Done>,
    ) -> Option<(u64, usize, Vec<Open>)> {
        let mut open = self.still_in_time(open);
        let widest =
            open.iter().map(|open| &open.waiting.request).max_by_key(|request| request.deadline)?.clone();
        let page = self.query(&widest, keys::slots(id, looked + 1, MessageId::MAX_SEQ)).await;
        let slots = page.and_then(|page| {
            room = room.saturating_sub(page.items.iter().map(|item| item.body.get().len()).sum());
            let more = page.more || room == 0;
            Ok((page.items.iter().map(Slot::read).collect::<Result<Vec<_>, _>>()?, more))
        });
        let (slots, more) = match slots {
            Ok(read) => read,
            Err(refusal) => {
                refuse_open(open, &refusal);
                return None;
            }
        };
        for slot in &slots {
            looked = slot.last();
            open = take_found(slot, open, sent_at, done);
        }
        self.note_tail(id, looked);
        if more {
            self.give_up(id, looked, open).await;
            return None;
        }
        Some((looked, room, open))
    }

    /// Too much lies behind the hints for one attempt: the next one starts here.
    async fn give_up(&self, id: &ConversationId, looked: u64, open: Vec<Open>) {
        join_all(open.iter().map(|Open { waiting, claim, .. }| {
            self.raise_hint(&waiting.request, id, &waiting.draft, claim, looked)
        }))
        .await;
        refuse_open(open, &far());
    }

    fn still_in_time(&self, open: Vec<Open>) -> Vec<Open> {
        let (kept, late): (Vec<Open>, Vec<Open>) =
            open.into_iter().partition(|open| open.waiting.request.in_time(&self.env).is_ok());
        refuse_open(late, &Refusal::unavailable("it took too long"));
        kept
    }

    /// Tells the conversation in the order of the log, then answers. The members' own topics are told meanwhile.
    async fn finish(&self, id: &ConversationId, roster: &Arc<Roster>, done: Vec<Done>) {
        if done.is_empty() {
            return;
        }
        let tail = tail_of(&done);
        let stored = tail.as_ref().map(|tail| (tail.slot, tail.seq));
        let mut burst = Burst { look: tail.is_none(), tail, stored, ..Burst::of(roster.version) };
        let (mut logged, mut notices, mut answers, mut again) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for done in done {
            let (message, fresh) = (self.shown_done(id, &done).await, done.fresh);
            let payload = Raw::of(&message);
            burst.reads(&message.sender_id, message.seq);
            let except = message.silent.clone();
            let entry = Logged { seq: message.seq, payload: payload.clone(), except: except.clone() };
            let late = self.env.now().since(message.sent_at) >= REMEMBERED;
            answers.push((done, message));
            if fresh {
                notices.push(Notice { event: sent::NEW_MESSAGE, payload, except });
                logged.push(entry);
            } else {
                // Who stored it may have died before it noted who is away.
                again.extend((!late && except.is_none()).then(|| entry.payload.clone()));
                // Gateways drop what they have; users were told, or may have been.
                self.tell_conversation(id, roster.version, ConversationEvent::messages(vec![entry])).await;
            }
        }
        if !logged.is_empty() {
            self.tell_conversation(id, roster.version, ConversationEvent::messages(logged)).await;
        }
        // At once, where nothing need be read for it: then both frames of a member's socket leave in one write.
        let places = if notices.is_empty() { None } else { self.notify_known(id, roster, &notices).await };
        self.note_burst(id, burst);
        for (Done { waiting, message: stored, .. }, message) in answers {
            let duplicate = stored.command != waiting.request.id;
            self.metrics.message(if duplicate { "duplicate" } else { "stored" });
            waiting.answer(Ok(send::reply(&message, duplicate)));
        }
        self.note_again(id, Some(roster), again);
        if places.is_some() {
            self.note_told(id, roster, places, notices);
        } else if !notices.is_empty() {
            self.notify_members(id, Notices { roster: Arc::clone(roster), notices });
        }
    }

    /// A message that was sent, with what it answers.
    async fn shown_done(&self, id: &ConversationId, done: &Done) -> Message {
        let Done { waiting, message, .. } = done;
        let message = message.clone().shown(id);
        let quote = waiting.draft.quote.as_ref().filter(|quote| Some(quote.id) == message.reply_to_id);
        if quote.is_some() || message.reply_to_id.is_none() {
            return Message { reply_to: quote.cloned(), ..message }.told();
        }
        // A repeat that does not say what the first one did.
        let found = self.with_quotes(&waiting.request, id, vec![message.clone()]).await;
        found.ok().and_then(|mut found| found.pop()).unwrap_or(message).told()
    }
}

/// Where the log stands after a batch that stored something: fresh messages are the last, in one slot.
fn tail_of(done: &[Done]) -> Option<Tail> {
    let first = done.iter().find(|done| done.fresh)?;
    let StoredMessage { id, sender, sent_at, .. } = done.last().map(|last| last.message.clone())?;
    Some(Tail { seq: id.seq(), slot: first.message.seq(), sender, sent_at })
}

/// Takes those that a slot holds out of the open ones.
fn take_found(slot: &Slot, open: Vec<Open>, sent_at: Timestamp, done: &mut Vec<Done>) -> Vec<Open> {
    let mut rest = Vec::new();
    for open in open {
        let draft = &open.waiting.draft;
        match slot.messages.iter().find(|message| message.is(&draft.sender, &draft.client_random)) {
            Some(message) => {
                // The store's client repeats a write whose answer was lost, and meets it: then nobody told of it yet.
                let fresh = message.id == open.message(message.seq(), sent_at).id;
                done.push(Done { waiting: open.waiting, message: message.clone(), fresh });
            }
            None => rest.push(open),
        }
    }
    rest
}

fn refuse_all(batch: Vec<Waiting>, refusal: &Refusal) {
    batch.into_iter().for_each(|waiting| waiting.answer(Err(refusal.clone())));
}

fn refuse_open(open: Vec<Open>, refusal: &Refusal) {
    open.into_iter().for_each(|open| open.waiting.answer(Err(refusal.clone())));
}
