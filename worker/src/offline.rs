//! What members missed who had no live socket: an entry for each of them and each message, in a stream of the backplane
//! that push services consume (contract section 6.1).
//!
//! Nobody waits for it. What was told is noted when it is answered ([`Worker::note_told`]), and one task of the process
//! writes the entries, each under the name of its message and its user, so that whoever writes it again does no harm. Who
//! is away is known from where the members were told of the message; four things close the gaps of that knowledge:
//!
//! - a gateway that is told of a message for a user who has no socket there (any more) says so ([`Worker::missed`]);
//! - where a gateway dies, its lease lapses: the messages of that time are looked at again ([`recent`]);
//! - a send that is repeated finds its message stored, and notes it again;
//! - where a worker died before it noted anything, the stored head lags: whoever finds that, and whoever raises the head
//!   over messages that it did not store itself, notes what lies behind it.
//!
//! So an entry is lost only where worker and gateway die together, or where the stream was out of reach for seconds. Where
//! it is not known whether somebody has seen a message, the entry is written: better one push too many than none.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use simurgh_protocol::{ConversationId, Raw, Refusal, UserId, envelope::Success, record::Message};
use simurgh_service::config::OfflineStream;
use tokio::time::sleep;

use self::entry::Entry;
use crate::{
    Request, Worker,
    access::Roster,
    broadcast::{Notice, Places},
    document,
};

mod entry;
mod queue;
mod recent;
#[cfg(test)]
mod tests;

pub(crate) use queue::Queue;
pub(crate) use recent::Recent;

/// Entries that are on their way to the stream at once.
const AT_ONCE: usize = 64;
/// Entries that are made at once.
const MADE_AT_ONCE: usize = 512;
/// How often something is tried that the backplane or the store did not do; the wait before the second time, and twice
/// that before the next: eight seconds in all.
const TRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// How long one read may take.
const WITHIN: Duration = Duration::from_secs(2);

/// Messages of one conversation that were told together.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) conversation: ConversationId,
    /// The members then; read where nobody knows them yet.
    roster: Option<Arc<Roster>>,
    /// As they were told.
    messages: Vec<Raw>,
}

/// Messages, and who may have missed them.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    said: Arc<Said>,
    whom: Whom,
}

/// Who may have missed something.
#[derive(Clone, Debug)]
enum Whom {
    /// All members who are not connected now.
    Members,
    /// Those who were found to be away.
    Away(Arc<Places>),
    /// Those of these who are not connected now, wherever that is but on this gateway.
    Of(Vec<UserId>, Option<String>),
}

impl Job {
    /// How many entries it comes to at most.
    fn entries(&self) -> usize {
        let users = match &self.whom {
            Whom::Members => self.said.roster.as_ref().map_or(1, |roster| roster.members.len()),
            Whom::Away(places) => places.away.len(),
            Whom::Of(users, _) => users.len(),
        };
        users * self.said.messages.len()
    }
}

impl Said {
    fn bytes(&self) -> usize {
        const REST: usize = 256;
        self.messages.iter().map(|message| message.get().len()).sum::<usize>() + REST
    }
}

impl Worker {
    /// Messages were told to the members who are connected; where these are, as far as that was found out.
    pub(crate) fn note_told(
        &self,
        id: &ConversationId,
        roster: &Arc<Roster>,
        places: Option<Arc<Places>>,
        notices: Vec<Notice>,
    ) {
        // Who is not told of one misses nothing, and it is nobody else's but its sender's.
        let messages: Vec<Raw> = notices
            .into_iter()
            .filter(|notice| notice.except.is_none())
            .map(|notice| notice.payload)
            .collect();
        if self.limits.offline == OfflineStream::Off || messages.is_empty() {
            return;
        }
        let said = Said { conversation: id.clone(), roster: Some(Arc::clone(roster)), messages };
        let said = Arc::new(said);
        let Some(places) = places else {
            return self.note_missed(Job { said, whom: Whom::Members });
        };
        if !places.away.is_empty() {
            let whom = Whom::Away(Arc::clone(&places));
            self.note_missed(Job { said: Arc::clone(&said), whom });
        }
        self.remember_told(said, places);
    }

    /// Messages of this conversation may have been noted by nobody.
    pub(crate) fn note_again(&self, id: &ConversationId, roster: Option<&Arc<Roster>>, messages: Vec<Raw>) {
        if self.limits.offline == OfflineStream::Off || messages.is_empty() {
            return;
        }
        let said = Arc::new(Said { conversation: id.clone(), roster: roster.cloned(), messages });
        self.note_missed(Job { said, whom: Whom::Members });
    }

    /// From a gateway: these users have no socket there, where they were to be told of a message.
    ///
    /// # Errors
    /// `unavailable` where it was not written: the gateway asks again.
    pub(crate) async fn missed_on_gateway(
        &self,
        request: &Request,
        id: &ConversationId,
        users: Vec<UserId>,
        gateway: String,
        message: Raw,
    ) -> Result<Success, Refusal> {
        request.service_only()?;
        if self.limits.offline != OfflineStream::Off {
            let said = Said { conversation: id.clone(), roster: None, messages: vec![message] };
            let job = Job { said: Arc::new(said), whom: Whom::Of(users, Some(gateway)) };
            if !self.write_missed(&job, 1).await {
                return Err(Refusal::unavailable("what was missed was not written"));
            }
        }
        Ok(document::done(204))
    }

    /// Writes what a job comes to, trying each thing so often; whether all of it was written.
    async fn write_missed(&self, job: &Job, tries: u32) -> bool {
        let Some((roster, users)) = self.addressees(job, tries).await else {
            self.metrics.offline("failed", job.entries());
            return false;
        };
        let messages: Vec<Message> =
            job.said.messages.iter().filter_map(|message| message.parse().ok()).collect();
        let mut missed: Vec<(&Message, &UserId)> = Vec::new();
        for message in &messages {
            let others = users.iter().filter(|user| **user != message.sender_id);
            missed.extend(others.map(|user| (message, user)));
        }
        if missed.is_empty() {
            return true;
        }
        let muted = self.muted_in(&job.said.conversation, tries).await;
        let before = missed.len();
        missed.retain(|(_, user)| !muted.contains(*user));
        self.metrics.offline("muted", before - missed.len());
        self.write_entries(&roster, &missed, tries).await
    }

    /// The members, and those of them whom the messages are for; nothing where that could not be found out.
    async fn addressees(&self, job: &Job, tries: u32) -> Option<(Arc<Roster>, BTreeSet<UserId>)> {
        let id = &job.said.conversation;
        for attempt in 0..tries {
            self.pause_before(attempt).await;
            let roster = match &job.said.roster {
                Some(roster) => Arc::clone(roster),
                None => match self.roster(&self.own_request(), id).await {
                    Ok(Some(roster)) => roster,
                    Ok(None) => return None,
                    Err(_) => continue,
                },
            };
            let away = match &job.whom {
                Whom::Away(places) => Ok(places.away.clone()),
                Whom::Members => self.members_away(&job.said, &roster).await,
                Whom::Of(users, except) => {
                    let members = |user: &&UserId| roster.members.contains(*user);
                    let users: Vec<UserId> = users.iter().filter(members).cloned().collect();
                    self.places_but(&users, except.as_deref()).await.map(|places| places.away)
                }
            };
            match away {
                Ok(away) => return Some((roster, away.into_iter().collect())),
                Err(error) => tracing::debug!(%error, "who is away could not be found out"),
            }
        }
        None
    }

    async fn members_away(
        &self,
        said: &Arc<Said>,
        roster: &Roster,
    ) -> Result<Vec<UserId>, simurgh_backplane::BusError> {
        let places = self.member_places(&said.conversation, roster).await?;
        self.remember_told(Arc::clone(said), Arc::clone(&places));
        Ok(places.away.clone())
    }

    /// Who has muted the conversation; nobody where that cannot be read: better one push too many.
    async fn muted_in(&self, id: &ConversationId, tries: u32) -> BTreeSet<UserId> {
        for attempt in 0..tries {
            self.pause_before(attempt).await;
            match self.muted(&self.own_request(), id).await {
                Ok(muted) => return muted,
                Err(refusal) => tracing::debug!(%refusal, "who muted a conversation was not read"),
            }
        }
        BTreeSet::new()
    }

    async fn write_entries(&self, roster: &Roster, missed: &[(&Message, &UserId)], tries: u32) -> bool {
        let content = self.limits.offline == OfflineStream::Content;
        let mut written = 0;
        for some in missed.chunks(MADE_AT_ONCE) {
            let writes: Vec<_> = some
                .iter()
                .map(|(message, user)| {
                    let entry = Entry::of(message, user, roster.kind, content);
                    self.write_entry(entry.name(), (*user).clone(), entry.payload(), tries)
                })
                .collect();
            let outcomes: Vec<Option<bool>> = stream::iter(writes).buffered(AT_ONCE).collect().await;
            let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
            let (kept, repeated) = (count(Some(true)), count(Some(false)));
            self.metrics.offline("kept", kept);
            self.metrics.offline("repeated", repeated);
            written += kept + repeated;
            if kept + repeated < some.len() {
                // The others would fare no better, and what comes next waits.
                break;
            }
        }
        let failed = missed.len() - written;
        if failed > 0 {
            tracing::warn!(
                entries = failed,
                "what users missed was not written: check NATS' stream of that, its rights and its disk"
            );
        }
        self.metrics.offline("failed", failed);
        failed == 0
    }

    /// Whether it is new in the stream; nothing where it could not be written.
    async fn write_entry(&self, name: String, user: UserId, payload: Raw, tries: u32) -> Option<bool> {
        let subject = self.subjects.offline(&user);
        for attempt in 0..tries {
            self.pause_before(attempt).await;
            let payload = payload.get().as_bytes().to_vec();
            match self.bus.keep(&subject, &name, payload.into()).await {
                Ok(new) => return Some(new),
                Err(error) => tracing::debug!(%error, "an entry of what a user missed was not written"),
            }
        }
        None
    }

    async fn pause_before(&self, attempt: u32) {
        if attempt > 0 {
            sleep(FIRST_WAIT * (1 << (attempt - 1).min(TRIES))).await;
        }
    }

    pub(crate) fn own_request(&self) -> Request {
        Request::own(self.env.now(), WITHIN)
    }
}
