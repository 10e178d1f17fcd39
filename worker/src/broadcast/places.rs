//! Where users are connected, and what is remembered of it for the members of a conversation.
//!
//! Gateways say when a user comes to them who was not there, before that user's join is answered
//! ([`Subjects::arrivals`](simurgh_backplane::subject::Subjects::arrivals)). So what was read of a conversation's members
//! holds until one of them comes somewhere; that somebody left costs a word to a gateway that drops it. An arrival may
//! be lost like everything on the backplane: where it was away or dropped something all is forgotten, nothing is
//! remembered while nobody listens, and what was read is believed for [`FRESH`] at most.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use simurgh_backplane::Entry;
use simurgh_protocol::{
    ConversationId, UserId,
    envelope::{self, UserPresence},
};
use tokio::time::Instant;

use crate::{access::Roster, cache::Cache, metrics::Metrics};

/// How long what was read is believed where no arrival was heard of.
pub(super) const FRESH: Duration = Duration::from_secs(10);
/// Bytes of all remembered places together.
const PLACES_BYTES: usize = 16 * 1024 * 1024;
/// About what a user takes, and a conversation beside its users.
const USER_BYTES: usize = 16;
const CONVERSATION_BYTES: usize = 400;
/// Arrivals that are remembered; what was read before the first of them is forgotten.
const ARRIVALS: usize = 4_096;

/// Where users are connected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Users by gateway.
    pub(crate) users: BTreeMap<String, Vec<UserId>>,
    /// Those who have joined conversations there and not their own topic: they are not told.
    pub(crate) quiet: BTreeMap<String, Vec<UserId>>,
    /// Who has no connection on any of them.
    pub(crate) away: Vec<UserId>,
    /// Their connections on all gateways.
    pub(super) metas: usize,
}

impl Places {
    /// Groups the presence entries of these users by the gateways that live.
    pub(super) fn of(users: &[UserId], entries: &[Entry], alive: &BTreeSet<String>) -> Self {
        let (mut places, mut here) = (Self::default(), BTreeSet::new());
        for entry in entries {
            let Some((user, gateway)) = owner(entry).filter(|(_, gateway)| alive.contains(gateway)) else {
                continue;
            };
            let Ok(presence) = envelope::decode::<UserPresence>(&entry.value) else { continue };
            if !presence.metas.is_empty() || presence.watchers == 0 {
                // Who is only told by a subscription has no socket.
                here.insert(user.clone());
            }
            let told = if presence.is_told() { &mut places.users } else { &mut places.quiet };
            told.entry(gateway).or_default().push(user);
            places.metas += presence.metas.len();
        }
        places.away = users.iter().filter(|user| !here.contains(*user)).cloned().collect();
        places
    }

    fn bytes(&self) -> usize {
        let told = self.users.values().chain(self.quiet.values()).map(Vec::len).sum::<usize>();
        (told + self.away.len()) * USER_BYTES + CONVERSATION_BYTES
    }
}

/// The user and the gateway of a presence entry.
pub(super) fn owner(entry: &Entry) -> Option<(UserId, String)> {
    let [_, user, gateway] = <[String; 3]>::try_from(entry.key.parts()).ok()?;
    Some((UserId::new(&user).ok()?, gateway))
}

/// Where the members of conversations are, as far as it was read lately and nobody came since.
#[derive(Debug)]
pub(crate) struct KnownPlaces {
    known: Cache<ConversationId, Arc<Known>>,
    arrivals: Mutex<Arrivals>,
}

/// What was read of one conversation's members.
#[derive(Debug)]
struct Known {
    members_version: u64,
    read_at: Instant,
    /// The arrivals that were heard before, or are no member's.
    heard: AtomicU64,
    places: Arc<Places>,
}

/// Who came lately.
#[derive(Debug, Default)]
struct Arrivals {
    listening: bool,
    /// The last is the latest.
    recent: VecDeque<UserId>,
    /// How many came before the first of those.
    before: u64,
}

impl Arrivals {
    fn heard(&self) -> u64 {
        self.before + self.recent.len() as u64
    }

    /// Anybody may have come.
    fn forget(&mut self) {
        self.before = self.heard() + 1;
        self.recent.clear();
    }

    /// Whether any of these came after so many had been heard of, as far as that can be told.
    fn any_since(&self, heard: u64, users: &BTreeSet<UserId>) -> bool {
        let Some(skipped) = heard.checked_sub(self.before).and_then(|skip| usize::try_from(skip).ok()) else {
            return true;
        };
        self.recent.range(skipped.min(self.recent.len())..).any(|user| users.contains(user))
    }
}

impl KnownPlaces {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self { known: Cache::new(PLACES_BYTES, metrics.cache("places")), arrivals: Mutex::default() }
    }

    /// Whether arrivals are listened to from now on.
    pub(crate) fn listen(&self, listening: bool) {
        let mut arrivals = self.arrivals();
        arrivals.forget();
        arrivals.listening = listening;
    }

    /// Arrivals may have been missed.
    pub(crate) fn missed(&self) {
        self.arrivals().forget();
    }

    /// A user came to a gateway.
    pub(crate) fn arrived(&self, user: UserId) {
        let mut arrivals = self.arrivals();
        if arrivals.recent.len() == ARRIVALS {
            arrivals.recent.pop_front();
            arrivals.before += 1;
        }
        arrivals.recent.push_back(user);
    }

    /// The arrivals that were heard of: to be asked before places are read. `None` where nobody listens.
    pub(super) fn heard(&self) -> Option<u64> {
        let arrivals = self.arrivals();
        arrivals.listening.then(|| arrivals.heard())
    }

    /// Where the members are, where that is known.
    pub(super) fn find(&self, id: &ConversationId, roster: &Roster, now: Instant) -> Option<Arc<Places>> {
        let known = self.known.find(id, |known| {
            let fresh = known.members_version == roster.version && now < known.read_at + FRESH;
            fresh && self.nobody_came(known, roster)
        })?;
        Some(Arc::clone(&known.places))
    }

    fn nobody_came(&self, known: &Known, roster: &Roster) -> bool {
        let arrivals = self.arrivals();
        let heard = known.heard.load(Ordering::Relaxed);
        let holds = arrivals.listening && !arrivals.any_since(heard, &roster.members);
        if holds {
            known.heard.fetch_max(arrivals.heard(), Ordering::Relaxed);
        }
        holds
    }

    /// Remembers what was read of the members after so many arrivals had been heard of.
    pub(super) fn keep(
        &self,
        id: &ConversationId,
        roster: &Roster,
        heard: u64,
        read_at: Instant,
        places: &Arc<Places>,
    ) {
        let (members_version, places) = (roster.version, Arc::clone(places));
        let bytes = places.bytes();
        let known = Known { members_version, read_at, heard: AtomicU64::new(heard), places };
        self.known.put(id.clone(), Arc::new(known), bytes);
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::{Timestamp, record::ConversationType};

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn roster(version: u64) -> Roster {
        Roster {
            version,
            kind: ConversationType::Group,
            changed_at: Timestamp::default(),
            completed_by: None,
            members: ["alice", "bob"].map(user).into(),
            blocked_by: BTreeSet::new(),
        }
    }

    struct Ground {
        known: KnownPlaces,
        id: ConversationId,
        now: Instant,
    }

    impl Ground {
        fn new() -> Self {
            let known = KnownPlaces::new(&Metrics::new().unwrap());
            known.listen(true);
            Self { known, id: ConversationId::new("c").unwrap(), now: simurgh_env::Env::seeded(1).instant() }
        }

        fn keep(&self, heard: Option<u64>) {
            self.known.keep(&self.id, &roster(1), heard.unwrap(), self.now, &Arc::default());
        }

        fn knows(&self) -> bool {
            self.known.find(&self.id, &roster(1), self.now).is_some()
        }
    }

    #[tokio::test]
    async fn what_was_read_holds_until_a_member_comes() {
        let ground = Ground::new();
        assert!(!ground.knows());
        ground.keep(ground.known.heard());
        assert!(ground.knows());
        ground.known.arrived(user("somebody_else"));
        assert!(ground.knows());
        ground.known.arrived(user("bob"));
        assert!(!ground.knows());
        ground.keep(ground.known.heard());
        assert!(ground.knows());
    }

    #[tokio::test]
    async fn who_comes_while_it_is_read_is_not_overlooked() {
        let ground = Ground::new();
        let heard = ground.known.heard();
        ground.known.arrived(user("alice"));
        ground.keep(heard);
        assert!(!ground.knows());
    }

    #[tokio::test]
    async fn it_ends_with_the_members_version_and_with_time() {
        let ground = Ground::new();
        ground.keep(ground.known.heard());
        assert!(ground.known.find(&ground.id, &roster(2), ground.now).is_none());
        assert!(ground.known.find(&ground.id, &roster(1), ground.now + FRESH).is_none());
        assert!(ground.knows());
    }

    #[tokio::test]
    async fn nothing_is_known_where_arrivals_may_have_been_missed() {
        let ground = Ground::new();
        ground.keep(ground.known.heard());
        ground.known.missed();
        assert!(!ground.knows());
        ground.keep(ground.known.heard());
        (0..=ARRIVALS).for_each(|n| ground.known.arrived(user(&format!("u{n}"))));
        assert!(!ground.knows(), "more came than are remembered");
        ground.keep(ground.known.heard());
        assert!(ground.knows());
        ground.known.listen(false);
        assert!(!ground.knows());
        assert_eq!(ground.known.heard(), None);
    }
}
