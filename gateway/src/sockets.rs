//! The users that are connected here: how many sockets each has, and the channels on their own topics, which what
//! workers say to users is handed to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use simurgh_backplane::Delivery;
use simurgh_protocol::{
    Raw, Timestamp, UserId,
    envelope::{self, GatewayEnvelope, Revocation},
    event::sent,
};
use simurgh_service::readiness::PartHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Shared, blocks, diagnosis,
    form::{Encoded, Form},
    mailbox::{ChannelId, Mailbox, SocketId},
    metrics::Metrics,
    users::Message,
    visible,
};

mod elsewhere;

pub use elsewhere::elsewhere;

/// Between attempts to listen.
const RETRY: Duration = Duration::from_millis(250);

/// Everybody who is connected here.
#[derive(Debug)]
pub struct Sockets {
    max_per_user: usize,
    inner: Mutex<Inner>,
    /// Whether they are to take leave: the gateway drains.
    leaving: AtomicBool,
    /// What waits for each socket that is served, for who asks how much that is and who wakes it.
    served: Mutex<BTreeMap<SocketId, Served>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    users: BTreeMap<UserId, Connected>,
}

#[derive(Debug, Default)]
struct Connected {
    sockets: Vec<Open>,
    channels: Vec<UserChannel>,
}

/// A socket that is served.
#[derive(Debug)]
struct Served {
    mailbox: Weak<Mailbox>,
    session: Uuid,
    transport: &'static str,
}

/// What there is to say of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub id: SocketId,
    /// What the join of the user topic answers.
    pub session: Uuid,
    /// How its frames travel.
    pub transport: &'static str,
    /// Bytes of frames that wait for it.
    pub unsent_bytes: usize,
}

/// A socket, a long-poll session, or a subscription.
#[derive(Debug)]
struct Open {
    id: SocketId,
    /// Whether it is a subscription, which is no session of the user's.
    subscription: bool,
    /// Of its token.
    issued_at: Option<Timestamp>,
    revoked: CancellationToken,
}

/// A channel joined on a user's own topic.
#[derive(Clone, Debug)]
pub struct UserChannel {
    /// Which join.
    pub channel: ChannelId,
    /// How its frames are written.
    pub form: Form,
    /// Where its frames go.
    pub mailbox: Arc<Mailbox>,
}

impl Connected {
    fn sessions(&self) -> usize {
        self.sockets.iter().filter(|open| !open.subscription).count()
    }

    fn is_nobody(&self) -> bool {
        self.sockets.is_empty() && self.channels.is_empty()
    }
}

/// Leave to have one socket or subscription more; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    sockets: Arc<Sockets>,
    /// Whose token it came with; none where that names nobody.
    user: Option<UserId>,
    /// The socket's name.
    pub id: SocketId,
    /// Cancelled once its token is revoked; its mailbox wakes it then, too.
    pub revoked: CancellationToken,
    /// How many sockets the user has here with this one.
    pub here: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.sockets.served().remove(&self.id);
        let Some(user) = &self.user else { return };
        let mut inner = self.sockets.lock();
        if let Some(connected) = inner.users.get_mut(user) {
            connected.sockets.retain(|open| open.id != self.id);
            if connected.is_nobody() {
                inner.users.remove(user);
            }
        }
    }
}

impl Sockets {
    /// Nobody yet; each user may have `max_per_user` sockets.
    #[must_use]
    pub fn new(max_per_user: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            max_per_user,
            inner: Mutex::default(),
            leaving: AtomicBool::new(false),
            served: Mutex::default(),
            metrics,
        })
    }

    /// A socket whose permit is held is served from now on: its mailbox, its session and its transport's name.
    pub fn serves(&self, mailbox: &Arc<Mailbox>, session: Uuid, transport: &'static str) {
        let served = Served { mailbox: Arc::downgrade(mailbox), session, transport };
        self.served().insert(mailbox.socket, served);
    }

    /// The user's sockets that are served.
    #[must_use]
    pub fn of(&self, user: &UserId) -> Vec<Shown> {
        let open: Vec<SocketId> = {
            let inner = self.lock();
            let sockets = inner.users.get(user).into_iter().flat_map(|connected| &connected.sockets);
            sockets.map(|open| open.id).collect()
        };
        let served = self.served();
        let shown = |id| {
            let Served { mailbox, session, transport } = served.get(&id)?;
            let unsent_bytes = mailbox.upgrade()?.bytes();
            Some(Shown { id, session: *session, transport, unsent_bytes })
        };
        open.into_iter().filter_map(shown).collect()
    }

    /// Bytes that wait to be written, of all sockets.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.served()
            .values()
            .filter_map(|served| served.mailbox.upgrade())
            .map(|mailbox| mailbox.bytes())
            .sum()
    }

    /// Leave for one more socket of the user, with a token of then; none where it has as many as it may.
    #[must_use]
    pub fn admit(self: &Arc<Self>, user: &UserId, issued_at: Option<Timestamp>) -> Option<Permit> {
        let mut inner = self.lock();
        inner.last += 1;
        let id = SocketId(inner.last);
        let connected = inner.users.entry(user.clone()).or_default();
        if connected.sessions() >= self.max_per_user {
            return None;
        }
        let revoked = CancellationToken::new();
        // Most users have one.
        connected.sockets.reserve_exact(1);
        connected.sockets.push(Open { id, subscription: false, issued_at, revoked: revoked.clone() });
        let here = connected.sessions();
        Some(Permit { sockets: Arc::clone(self), user: Some(user.clone()), id, revoked, here })
    }

    /// Leave for a subscription, with a token of then, and of this user where it names one.
    #[must_use]
    pub fn subscribed(self: &Arc<Self>, user: Option<&UserId>, issued_at: Option<Timestamp>) -> Permit {
        let mut inner = self.lock();
        inner.last += 1;
        let (id, revoked) = (SocketId(inner.last), CancellationToken::new());
        let connected = user.map(|user| inner.users.entry(user.clone()).or_default());
        let here = connected.map_or(0, |connected| {
            connected.sockets.push(Open { id, subscription: true, issued_at, revoked: revoked.clone() });
            connected.sessions()
        });
        Permit { sockets: Arc::clone(self), user: user.cloned(), id, revoked, here }
    }

    /// The socket goes on with a token of then.
    pub fn renewed(&self, user: &UserId, socket: SocketId, issued_at: Option<Timestamp>) {
        let mut inner = self.lock();
        let sockets = inner.users.get_mut(user).into_iter().flat_map(|connected| &mut connected.sockets);
        sockets.filter(|open| open.id == socket).for_each(|open| open.issued_at = issued_at);
    }

    /// Ends the sockets whose tokens this covers.
    pub fn revoke(&self, revocation: &Revocation) {
        let inner = self.lock();
        let sockets = inner.users.get(&revocation.user).into_iter().flat_map(|connected| &connected.sockets);
        let revoked: Vec<SocketId> = sockets
            .filter(|open| revocation.covers(open.issued_at))
            .inspect(|open| open.revoked.cancel())
            .map(|open| open.id)
            .collect();
        drop(inner);
        // One whose mailbox is not listed yet looks when it is.
        let served = self.served();
        let mailboxes = revoked.iter().filter_map(|id| served.get(id)?.mailbox.upgrade());
        mailboxes.for_each(|mailbox| mailbox.nudge());
    }

    /// Has all sockets take leave, and those that come.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        let served = self.served();
        served.values().filter_map(|served| served.mailbox.upgrade()).for_each(|mailbox| mailbox.nudge());
    }

    /// Whether they are to take leave.
    #[must_use]
    pub fn leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// What is said to the user reaches this channel from now on.
    pub fn open(&self, user: &UserId, channel: UserChannel) {
        let mut inner = self.lock();
        let channels = &mut inner.users.entry(user.clone()).or_default().channels;
        channels.reserve_exact(1);
        channels.push(channel);
    }

    /// No more does.
    pub fn close(&self, user: &UserId, socket: SocketId, channel: ChannelId) {
        let mut inner = self.lock();
        if let Some(connected) = inner.users.get_mut(user) {
            connected.channels.retain(|open| (open.mailbox.socket, open.channel) != (socket, channel));
            if connected.is_nobody() {
                inner.users.remove(user);
            }
        }
    }

    /// How many sockets are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().users.values().map(Connected::sessions).sum()
    }

    /// Whether the user has a socket or a long-poll session here.
    #[must_use]
    pub fn has(&self, user: &UserId) -> bool {
        self.lock().users.get(user).is_some_and(|connected| connected.sessions() > 0)
    }

    /// Says something to users on their own topics. Lost to sockets that have no room (contract, guarantee 6). Answers who
    /// has no socket here.
    pub fn tell(&self, users: &[UserId], event: &str, payload: &Raw) -> Vec<UserId> {
        let inner = self.lock();
        let (mut deliveries, mut missing) = (0, Vec::new());
        for user in users {
            let connected = inner.users.get(user);
            if connected.is_none_or(|connected| connected.sessions() == 0) {
                missing.push(user.clone());
            }
            let Some(connected) = connected else { continue };
            let topic = format!("user:{user}");
            let mut encoded = Encoded::new(&topic, event, payload);
            for UserChannel { channel, form, mailbox } in &connected.channels {
                let taken = mailbox.push(*channel, encoded.frame(*form)).is_ok();
                deliveries += usize::from(taken);
                if !taken && *form == Form::Event {
                    // A subscription is told once there is room what it is to read.
                    mailbox.user_topic_missed();
                }
            }
        }
        self.metrics.noticed(deliveries);
        missing
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<SocketId, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what is said to this gateway, under whichever name it has, until it stops.
pub async fn listen(shared: Arc<Shared>, part: PartHandle) {
    let mut renamed = shared.renamed.subscribe();
    loop {
        let id = renamed.borrow_and_update().clone();
        let Ok(mut inbox) = shared.bus.subscribe(&shared.subjects.gateway(&id), None).await else {
            tokio::select! {
                biased;
                () = shared.stopped.cancelled() => return,
                () = tokio::time::sleep(RETRY) => continue,
            }
        };
        part.works();
        loop {
            tokio::select! {
                biased;
                () = shared.stopped.cancelled() => return,
                changed = renamed.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                delivery = inbox.next() => match delivery {
                    Some(delivery) => receive(&shared, delivery).await,
                    None => return,
                },
            }
        }
    }
}

/// Does what is said to this gateway, and says that it is noted where somebody waits for that.
pub(crate) async fn receive(shared: &Arc<Shared>, delivery: Delivery) {
    match envelope::decode(&delivery.payload) {
        Ok(GatewayEnvelope::Told { users, event, payload }) => {
            let missing = shared.sockets.tell(&users, &event, &payload);
            if event == sent::NEW_MESSAGE && !missing.is_empty() {
                shared.missed.note(shared, missing, payload);
            }
        }
        Ok(GatewayEnvelope::Chosen { user, chosen }) => {
            shared.users.tell(Message::Chosen { user, chosen }).await;
        }
        Ok(GatewayEnvelope::Presence { seen, entry }) => {
            shared.visible.tell(visible::Message::Changed { seen, entry }).await;
        }
        Ok(GatewayEnvelope::Visibility { viewer, seen }) => {
            shared.visible.tell(visible::Message::Visibility { viewer, seen }).await;
        }
        Ok(GatewayEnvelope::Blocks { one, other }) => blocks::changed(shared, [one, other]),
        Ok(GatewayEnvelope::Revoked(revocation)) => shared.sockets.revoke(&revocation),
        Ok(GatewayEnvelope::Sockets { conversation, user }) => {
            if let Some(reply_to) = delivery.reply_to {
                diagnosis::begin(shared, conversation, user, reply_to);
            }
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "an envelope that this build cannot read was dropped: upgrade this gateway");
            return;
        }
    }
    if let Some(reply_to) = delivery.reply_to {
        // Whoever asked asks again where this is lost.
        let _ = shared.bus.publish(&reply_to, Bytes::new()).await;
    }
}
