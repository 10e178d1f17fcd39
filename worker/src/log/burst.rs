//! What follows a second after a burst: the read positions of those who sent, and one head item.
//!
//! The head is stored after the positions. So where a worker died before either, the head lags, and whoever finds that
//! moves the positions of all who sent what lies behind it.
//!
//! Lists and unread counts live from these, and may lag two seconds (contract section 4). Nothing else does: what is
//! lost here is found again from the log.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, future, stream};
use simurgh_backplane::offline::REMEMBERED;
use simurgh_protocol::{
    ConversationId, Raw, Refusal, UserId,
    envelope::{ConversationEvent, Head},
};

use super::{
    head::HeadDocument,
    read::{Room, Tail},
};
use crate::{
    Request, Worker,
    document::{self, ATTEMPTS, Stored},
    members::{MemberDocument, Position},
    store::{Expect, StoreError, keys},
};

/// How long after the first message of a burst its head is written.
const DELAY: Duration = Duration::from_secs(1);
/// How long the writes may take.
const WITHIN: Duration = Duration::from_secs(5);
/// Positions written at once.
const AT_ONCE: usize = 8;
/// How often one burst is tried, at most. What is left then is found again from the log.
const TRIES: u32 = 10;
/// How far behind a log's tail the senders are looked for whose positions nobody moved.
const LOST: Room = Room { count: 200, bytes: 1024 * 1024 };
/// The wait doubles with each try so often.
const DOUBLINGS: u32 = 5;

/// What is to be written for one conversation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Burst {
    /// The members' version it was made at.
    pub(crate) members_version: u64,
    /// The last message stored.
    pub(crate) tail: Option<Tail>,
    /// Whether the logs' ends must be read: somebody else stored the last message, or nobody knows what was stored.
    pub(crate) look: bool,
    /// Whether others stored what lies behind the stored head, and may be lost who were to see to it: to the positions of
    /// who sent it, and to who missed it.
    pub(crate) lost: bool,
    /// The messages that this worker stored, the first and the last; no others lie between them.
    pub(crate) stored: Option<(u64, u64)>,
    /// The last change stored.
    pub(crate) change_seq: u64,
    /// How far those who sent have read.
    pub(crate) positions: BTreeMap<UserId, u64>,
    /// How often it was tried.
    pub(crate) tries: u32,
}

impl Burst {
    /// Nothing yet.
    pub(crate) fn of(members_version: u64) -> Self {
        Self { members_version, ..Self::default() }
    }

    /// Sending a message reads everything before it, and itself.
    pub(crate) fn reads(&mut self, user: &UserId, seq: u64) {
        let position = self.positions.entry(user.clone()).or_default();
        *position = seq.max(*position);
    }

    /// Whether some of what lies behind a stored head that ends at `known`, up to `last`, were stored by others.
    fn leaves_out(&self, known: u64, last: u64) -> bool {
        let all = self.stored.is_some_and(|(first, stored)| first <= known + 1 && stored >= last);
        known < last && (self.lost || !all)
    }

    /// Without the positions: what is left where the head could not be written.
    fn head_only(&self) -> Self {
        Self { positions: BTreeMap::new(), ..self.clone() }
    }

    fn merge(&mut self, other: Self) {
        // What is new is tried as often as if it were alone.
        self.tries = self.tries.min(other.tries);
        self.members_version = self.members_version.max(other.members_version);
        self.look |= other.look;
        self.lost |= other.lost;
        self.stored = match (self.stored, other.stored) {
            (Some((first, last)), Some((next, end))) if next == last + 1 => Some((first, end)),
            (Some((next, end)), Some((first, last))) if next == last + 1 => Some((first, end)),
            (Some(_), Some(_)) => {
                self.lost = true;
                None
            }
            (one, other) => one.or(other),
        };
        self.change_seq = self.change_seq.max(other.change_seq);
        if other.tail.as_ref().map(|tail| tail.seq) > self.tail.as_ref().map(|tail| tail.seq) {
            self.tail = other.tail;
        }
        for (user, seq) in other.positions {
            self.reads(&user, seq);
        }
    }
}

/// What is still to be written, by conversation. A conversation is here while a task waits for its second.
#[derive(Debug, Default)]
pub(crate) struct Bursts(Mutex<BTreeMap<ConversationId, Burst>>);

impl Bursts {
    /// Adds to what is to be written, and tells whether a task must be started.
    fn add(&self, id: &ConversationId, burst: Burst) -> bool {
        let mut bursts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match bursts.entry(id.clone()) {
            Entry::Occupied(mut waiting) => {
                // What is new does not wait as long as what failed before.
                let sooner = burst.tries < waiting.get().tries;
                waiting.get_mut().merge(burst);
                sooner
            }
            Entry::Vacant(entry) => {
                entry.insert(burst);
                true
            }
        }
    }

    /// How far the user has read by what it sent and what is not written yet; 0 where there is nothing such.
    pub(crate) fn position(&self, id: &ConversationId, user: &UserId) -> u64 {
        let bursts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bursts.get(id).and_then(|burst| burst.positions.get(user)).copied().unwrap_or(0)
    }

    fn take(&self, id: &ConversationId) -> Option<Burst> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }
}

impl Worker {
    /// Writes head and positions in a second, or at once when the worker drains.
    pub(crate) fn note_burst(&self, id: &ConversationId, burst: Burst) {
        let wait = self.wait_before(burst.tries);
        if self.memory.bursts.add(id, burst) {
            let (worker, id) = (self.clone(), id.clone());
            self.spawn(async move {
                tokio::select! {
                    biased;
                    () = worker.drains() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                let Some(burst) = worker.memory.bursts.take(&id) else { return };
                if let Some(left) = worker.write_burst(&id, burst).await {
                    worker.note_burst(&id, left);
                }
            });
        }
    }

    /// The wait before a burst is tried: a second, and longer and longer where the store refused it.
    fn wait_before(&self, tries: u32) -> Duration {
        if tries == 0 {
            return DELAY;
        }
        let longest = DELAY.saturating_mul(1 << tries.min(DOUBLINGS));
        longest / 2 + self.env.jitter(longest / 2)
    }

    /// Writes what can be written, and answers what is left to try again; nothing where it was tried often enough, or
    /// the worker drains.
    async fn write_burst(&self, id: &ConversationId, burst: Burst) -> Option<Burst> {
        let request = Request::own(self.env.now(), WITHIN);
        let tries = burst.tries + 1;
        let again = tries < TRIES && !self.is_draining();
        let unmoved = self.move_positions(&request, id, &burst.positions).await;
        if !unmoved.is_empty() {
            return again.then_some(Burst { positions: unmoved, tries, ..burst });
        }
        match self.write_head(&request, id, &burst).await {
            Ok(head) => {
                self.tell_conversation(id, burst.members_version, ConversationEvent::Head(head)).await;
                None
            }
            Err(refusal) => {
                tracing::debug!(%refusal, "a head was not written");
                again.then(|| Burst { tries, ..burst.head_only() })
            }
        }
    }

    /// Moves positions, and answers those that could not be.
    async fn move_positions(
        &self,
        request: &Request,
        id: &ConversationId,
        positions: &BTreeMap<UserId, u64>,
    ) -> BTreeMap<UserId, u64> {
        let moves = positions.clone().into_iter().map(|(user, seq)| async move {
            let refusal = self.raise_position(request, id, &user, seq).await.err()?;
            tracing::debug!(%refusal, "a read position was not moved");
            Some((user, seq))
        });
        stream::iter(moves).buffered(AT_ONCE).filter_map(future::ready).collect().await
    }

    async fn write_head(
        &self,
        request: &Request,
        id: &ConversationId,
        burst: &Burst,
    ) -> Result<Head, Refusal> {
        let Burst { mut tail, mut change_seq, .. } = burst.clone();
        if burst.look {
            let ends = self.ends(request, id).await?;
            (tail, change_seq) = (ends.tail, ends.change_seq.max(change_seq));
        }
        let last = tail.as_ref().map_or(0, |tail| tail.seq);
        let own = |known| !burst.leaves_out(known, last);
        let mut raised = self.raise_head(request, id, tail.as_ref(), change_seq, own).await?;
        if let (None, Some(tail)) = (&raised, &tail) {
            self.see_to_lost(request, id, tail).await?;
            raised = self.raise_head(request, id, Some(tail), change_seq, |_| true).await?;
        }
        let document = raised.unwrap_or_default();
        Ok(Head {
            conversation: id.clone(),
            last_seq: document.last_seq,
            change_seq: document.change_seq,
            members_version: burst.members_version,
        })
    }

    /// Moves the positions of those who sent what lies behind the stored head, and has noted who missed it.
    async fn see_to_lost(&self, request: &Request, id: &ConversationId, tail: &Tail) -> Result<(), Refusal> {
        let stored = self.load::<HeadDocument>(request, &keys::head(id)).await?;
        let known = stored.map_or(0, |stored| stored.document.last_seq);
        let behind = usize::try_from(tail.seq.saturating_sub(known)).unwrap_or(usize::MAX);
        if behind == 0 {
            return Ok(());
        }
        let room = Room { count: LOST.count.min(behind), ..LOST };
        let (mut found, mut again) = (Burst::default(), Vec::new());
        for message in self.messages_before(request, id, tail.seq, room).await? {
            found.reads(&message.sender_id, message.seq);
            if self.env.now().since(message.sent_at) < REMEMBERED && message.silent.is_none() {
                again.push(Raw::of(&message));
            }
        }
        // Who stored them may have died before it noted who is away.
        self.note_again(id, None, again);
        let unmoved = self.move_positions(request, id, &found.positions).await;
        if unmoved.is_empty() { Ok(()) } else { Err(Refusal::unavailable("positions were not moved")) }
    }

    /// Raises the stored head to this tail and this change; it never falls. `None` where it ends at a message from which it
    /// must not be raised.
    async fn raise_head(
        &self,
        request: &Request,
        id: &ConversationId,
        tail: Option<&Tail>,
        change_seq: u64,
        may: impl Fn(u64) -> bool,
    ) -> Result<Option<HeadDocument>, Refusal> {
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let stored = self.load_written::<HeadDocument>(request, &keys::head(id)).await?;
            let known = stored.as_ref().map(|stored| stored.document.clone()).unwrap_or_default();
            let raised = known.clone().raised(tail, change_seq);
            if raised == known {
                return Ok(Some(known));
            }
            if !may(known.last_seq) {
                return Ok(None);
            }
            request.in_time(&self.env)?;
            let write = document::write(keys::head(id), &raised, document::expect(stored.as_ref()));
            match self.overwrite(write).await {
                Ok(()) => return Ok(Some(raised)),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(document::contended())
    }

    /// Moves the position of who sent the message at `seq`, without a look at what is stored where that is remembered.
    async fn raise_position(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
        seq: u64,
    ) -> Result<(), Refusal> {
        request.in_time(&self.env)?;
        let key = keys::member(id, user);
        let known = self.load_written::<MemberDocument>(request, &key).await?;
        let Some(Stored { version, document }) = known.filter(|known| known.document.holds()) else {
            return self.move_position(request, id, user, Position::Read, seq).await.map(drop);
        };
        if document.last_read_seq >= seq {
            return Ok(());
        }
        let raised = document.moved(Position::Read, seq, self.env.now());
        match self.overwrite(document::write(key, &raised, Expect::Version(version))).await {
            Ok(()) => Ok(()),
            Err(StoreError::Conflict(_)) => {
                self.move_position(request, id, user, Position::Read, seq).await.map(drop)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a member's position up to `seq`; it never falls. Answers the position held and whether it moved;
    /// `None` where the user is no member.
    pub(crate) async fn move_position(
        &self,
        request: &Request,
        id: &ConversationId,
        user: &UserId,
        position: Position,
        seq: u64,
    ) -> Result<Option<Moved>, Refusal> {
        let key = keys::member(id, user);
        for attempt in 0..ATTEMPTS {
            self.back_off(attempt).await;
            let Some(stored) = self.load::<MemberDocument>(request, &key).await? else { return Ok(None) };
            if !stored.document.holds() {
                return Ok(None);
            }
            let before = stored.document.position(position);
            if before >= seq {
                // Positions only rise, so no late attempt can undo this one: nothing need be written.
                return Ok(Some(Moved { before, now: before }));
            }
            request.in_time(&self.env)?;
            let document = stored.document.moved(position, seq, self.env.now());
            match self
                .overwrite(document::write(key.clone(), &document, Expect::Version(stored.version)))
                .await
            {
                Ok(()) => return Ok(Some(Moved { before, now: seq })),
                Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(document::contended())
    }
}

/// A position before and after a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) before: u64,
    pub(crate) now: u64,
}

impl Moved {
    pub(crate) fn moved(self) -> bool {
        self.now > self.before
    }
}
