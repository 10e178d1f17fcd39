//! Subscriptions: what happens in a conversation, or is told to a user, as a stream.
//!
//! To the gateway's other parts a subscription is a socket with one channel and a mailbox of its own, which is in no
//! presence. What was before its first live event is read from the log page by page, as fast as it is taken; what
//! comes live waits in the mailbox within its bound, and past it in the store.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::Stream;
use simurgh_protocol::{
    ConversationId, Raw, Reason, Ref, Refusal, Topic, UserId,
    cursor::{cursor, position},
    envelope::{Call, Head, JoinedConversation, JoinedUser, Membership, Principal, Range},
    event::{RateClass, sent},
};
use simurgh_rpc::v1::{
    Conversation, Event, SubscribeRequest, Subscribed, event::Payload, subscribe_request::Target,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    bodies,
    caller::Caller,
    ends::{End, Ends, Out},
    event::{SUBSCRIBED, event, in_range},
    status::status,
};
use crate::{
    Shared,
    blocks::{self, Unseen},
    form::{Form, Told},
    mailbox::{ChannelId, Item, Mailbox},
    metrics::kind,
    rates,
    sockets::{Permit, UserChannel},
    topic::{Joined, actor::Command},
    topics::Attachment,
    users::Message as Users,
    visible::{Message as Visible, view::Channel as OwnChannel},
    workers::BUDGET,
};

/// Subscriptions at once on one gateway.
const SUBSCRIPTIONS: usize = 4_096;

/// Events on their way to the connection.
const EVENTS: usize = 16;

/// Bytes taken from the mailbox at once.
const BATCH: usize = 64 * 1024;

/// The one channel.
const CHANNEL: ChannelId = ChannelId(0);

/// How long whoever reads slowly has to be told that, and why, the stream is over.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Room for subscriptions.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SUBSCRIPTIONS)))
    }
}

/// What a subscription is to.
enum Source {
    Conversation { id: ConversationId, attachment: Attachment, head: Head, unseen: Unseen },
    User { id: UserId },
}

struct Subscription {
    caller: Caller,
    source: Source,
    topic: String,
    mailbox: Arc<Mailbox>,
    ends: Ends,
    out: Out,
    /// What is to be handed out before anything else is taken.
    pending: VecDeque<Event>,
    /// Given back when it ends.
    _held: (Permit, OwnedSemaphorePermit),
}

/// Subscribes, and answers the events once the subscription stands.
///
/// # Errors
/// Where it may not be, or cannot be had now.
pub(super) async fn start(
    caller: Caller,
    asked: SubscribeRequest,
    places: Places,
) -> Result<impl Stream<Item = Result<Event, Status>> + Send + use<>, Status> {
    caller.count(RateClass::Joins)?;
    let shared = Arc::clone(&caller.shared);
    if shared.draining.is_cancelled() {
        return Err(status(Refusal::unavailable("this gateway is stopping: subscribe elsewhere")));
    }
    let full = || Refusal::new(Reason::RateLimitExceeded, format!("there are {SUBSCRIPTIONS} subscriptions"));
    let place = places.0.try_acquire_owned().map_err(|_| status(full()))?;
    let wait = shared.joins.reserve(shared.env.instant()).map_err(|wait| status(rates::exceeded(wait)))?;
    tokio::time::sleep(wait).await;
    let permit = shared.sockets.subscribed(caller.claims.user.as_ref(), caller.claims.issued_at);
    let mailbox = Mailbox::new(permit.id, shared.settings.bounds.max_unsent_bytes);
    shared.sockets.serves(&mailbox, shared.env.uuid(), "grpc");
    let (out, events) = mpsc::channel(EVENTS);
    let ends = Ends::new(&caller, permit.revoked.clone(), out.clone());
    let begun = match &asked.target {
        Some(Target::ConversationId(id)) => of_conversation(&caller, id, &asked).await?,
        Some(Target::UserId(id)) => of_user(&caller, id, &asked, &mailbox).await?,
        None => return Err(status(Refusal::invalid("target", "must be a conversation or a user"))),
    };
    let Begun { source, topic, first, from } = begun;
    let held = (permit, place);
    let pending = VecDeque::from([first]);
    let subscription = Subscription { caller, source, topic, mailbox, ends, out, pending, _held: held };
    shared.connections.spawn(subscription.run(from));
    Ok(ReceiverStream::new(events))
}

/// A subscription that stands.
struct Begun {
    source: Source,
    topic: String,
    /// Its first event.
    first: Event,
    /// The positions in the logs from which it goes on.
    from: (u64, u64),
}

async fn of_conversation(caller: &Caller, id: &str, asked: &SubscribeRequest) -> Result<Begun, Status> {
    let id = bodies::conversation(id).map_err(status)?;
    let since = asked.since.as_deref().filter(|since| !since.is_empty()).map(position).transpose();
    let since = since.map_err(status)?;
    let shared = &caller.shared;
    let until = shared.env.instant() + BUDGET;
    // The subscription stands before the log is read, so that nothing falls in between.
    let attachment = shared.topics.attach(&id, shared, until).await.map_err(|error| {
        tracing::debug!(%error, "the backplane is out of reach");
        status(Refusal::unavailable("the backplane is out of reach"))
    })?;
    let call = Call::JoinConversation { conversation: id.clone(), params: Raw::empty() };
    let asked_at = shared.blocks.ask();
    let (_, JoinedConversation { head, response, unseen }) = caller.call(call).await?;
    // Positions past the ends are those of logs that were longer once; what is there now comes.
    let seq = asked.after_seq.map_or(head.last_seq, |seq| seq.min(head.last_seq));
    let change = since.map_or(head.change_seq, |change| change.min(head.change_seq));
    let topic = format!("conversation:{id}");
    let subscribed = Subscribed {
        conversation: response.parse::<OfConversation>().ok().map(|joined| joined.conversation),
        after_seq: seq,
        since: cursor(change),
    };
    let first = subscribed_event(&topic, subscribed);
    Ok(Begun {
        source: Source::Conversation { id, attachment, head, unseen: Unseen::new(asked_at, unseen) },
        topic,
        first,
        from: (seq, change),
    })
}

#[derive(serde::Deserialize)]
struct OfConversation {
    conversation: Conversation,
}

async fn of_user(
    caller: &Caller,
    id: &str,
    asked: &SubscribeRequest,
    mailbox: &Arc<Mailbox>,
) -> Result<Begun, Status> {
    let id = bodies::user("user_id", id).map_err(status)?;
    if asked.after_seq.is_some() || asked.since.is_some() {
        return Err(status(Refusal::invalid("after_seq", "is a position in a conversation")));
    }
    if matches!(&caller.principal, Principal::User(user) if *user != id) {
        return Err(status(Refusal::new(Reason::Unauthorized, "this is another user's topic")));
    }
    let (shared, key) = (&caller.shared, (mailbox.socket, CHANNEL));
    let until = shared.env.instant() + BUDGET;
    shared.visible.tell(Visible::Joining { user: id.clone(), key }).await;
    let noted = shared.users.join(id.clone(), Topic::User(id.clone()), None, until).await;
    let joined = match noted {
        Ok(_) => joined_user(caller, &id).await,
        Err(_) => Err(status(Refusal::unavailable("the backplane is out of reach"))),
    };
    let JoinedUser { visible: sees, unread } = match joined {
        Ok(joined) => joined,
        Err(refused) => {
            leave_user(shared, &id, mailbox).await;
            return Err(refused);
        }
    };
    let (form, unread) = (Form::Event, Some(unread));
    let own = OwnChannel { form, join_ref: Ref::null(), mailbox: Arc::clone(mailbox), unread };
    shared.sockets.open(&id, UserChannel { channel: CHANNEL, form, mailbox: Arc::clone(mailbox) });
    shared.visible.tell(Visible::Open { user: id.clone(), key, channel: Box::new(own), sees }).await;
    let topic = format!("user:{id}");
    let first = subscribed_event(&topic, Subscribed::default());
    Ok(Begun { source: Source::User { id }, topic, first, from: (0, 0) })
}

/// What a join of the user's topic finds out. The caller's token is looked at; the user's own rules hold.
async fn joined_user(caller: &Caller, id: &UserId) -> Result<JoinedUser, Status> {
    let (shared, principal) = (&caller.shared, Principal::User(id.clone()));
    let until = shared.env.instant() + BUDGET;
    let token = caller.claims.presented();
    let success =
        shared.workers.call_presenting(until, principal, token, Call::JoinUser).await.map_err(status)?;
    success.body.parse().map_err(|_| status(Refusal::unavailable("the answer could not be read")))
}

async fn leave_user(shared: &Arc<Shared>, id: &UserId, mailbox: &Mailbox) {
    let (user, key) = (id.clone(), (mailbox.socket, CHANNEL));
    shared.sockets.close(id, mailbox.socket, CHANNEL);
    shared.visible.tell(Visible::Close { user: user.clone(), key }).await;
    let topic = Topic::User(user.clone());
    shared.users.tell(Users::Leave { user, topic, phx_ref: None, dropped: false }).await;
}

fn subscribed_event(topic: &str, subscribed: Subscribed) -> Event {
    Event {
        topic: topic.to_owned(),
        name: SUBSCRIBED.to_owned(),
        change_cursor: None,
        payload: Some(Payload::Subscribed(subscribed)),
    }
}

impl Subscription {
    async fn run(mut self, from: (u64, u64)) {
        let kind = match &self.source {
            Source::Conversation { id, .. } => kind(&Topic::Conversation(id.clone())),
            Source::User { id } => kind(&Topic::User(id.clone())),
        };
        let shared = Arc::clone(&self.caller.shared);
        let _counted = (shared.metrics.socket("grpc"), shared.metrics.channel(kind));
        let Err(end) = self.serve(from).await;
        if let End::Told(status) = end {
            let _ = tokio::time::timeout(LAST_WORD, self.out.send(Err(status))).await;
        }
        match &self.source {
            Source::Conversation { attachment, .. } => {
                let leave = Command::Leave { socket: self.mailbox.socket, channel: CHANNEL, dropped: false };
                attachment.tell(leave).await;
            }
            Source::User { id } => leave_user(&shared, id, &self.mailbox).await,
        }
        shared.metrics.socket_closed(None);
    }

    async fn serve(&mut self, from: (u64, u64)) -> Result<std::convert::Infallible, End> {
        self.hand_out().await?;
        self.catch_up(from).await?;
        let mut items = Vec::new();
        loop {
            self.mailbox.take(BATCH, &mut items);
            if items.is_empty() {
                self.make_room().await?;
                self.hand_out().await?;
                tokio::select! {
                    biased;
                    end = self.ends.wait() => return Err(end),
                    () = self.mailbox.filled() => {}
                }
            }
            for item in items.drain(..) {
                match item {
                    Item::Frame { bytes, .. } => {
                        let told: Option<Told> = serde_json::from_str(&bytes).ok();
                        self.pending.extend(told.map(|told| event(&self.topic, &told)));
                    }
                    Item::Closed { .. } => {
                        self.hand_out().await?;
                        return Err(Refusal::not_a_member().into());
                    }
                }
            }
            self.hand_out().await?;
            self.mailbox.written();
        }
    }

    /// Hands out what is pending, at the pace at which it is taken.
    async fn hand_out(&mut self) -> Result<(), End> {
        while !self.pending.is_empty() {
            tokio::select! {
                biased;
                end = self.ends.wait() => return Err(end),
                room = self.out.reserve() => match room {
                    Ok(room) => if let Some(event) = self.pending.pop_front() {
                        room.send(Ok(event));
                    },
                    Err(_) => return Err(End::Gone),
                },
            }
        }
        Ok(())
    }

    /// Hands out what is in the logs behind these positions, then has the topic go on from where they end.
    async fn catch_up(&mut self, (mut seq, mut change): (u64, u64)) -> Result<(), End> {
        let Source::Conversation { id, attachment, head, unseen } = &self.source else { return Ok(()) };
        let (id, attachment, mut head, unseen) =
            (id.clone(), attachment.clone(), head.clone(), unseen.clone());
        while seq < head.last_seq || change < head.change_seq {
            let call = Call::Range { conversation: id.clone(), after_seq: seq, after_change: change };
            let range: Range = self.ask(call).await?;
            if range.messages.is_empty() && range.changes.is_empty() {
                break;
            }
            self.check_member(&id, &mut head, &range.head).await?;
            seq = range.messages.last().map_or(seq, |message| message.seq);
            change = range.changes.last().map_or(change, |change| change.change_seq);
            (head.last_seq, head.change_seq) = (range.head.last_seq, range.head.change_seq);
            self.pending.extend(in_range(&self.topic, &range, self.user()));
            self.hand_out().await?;
        }
        let joined = Joined {
            channel: CHANNEL,
            user: self.user().cloned(),
            form: Form::Event,
            join_ref: Ref::null(),
            mailbox: Arc::clone(&self.mailbox),
            head: Head { last_seq: seq, change_seq: change, ..head },
            unseen: unseen.clone(),
        };
        attachment.tell(Command::Watch(Box::new(joined))).await;
        let shared = &self.caller.shared;
        if let Some(user) = self.user().filter(|user| shared.blocks.changed_since(user, unseen.asked)) {
            blocks::look(shared, user.clone());
        }
        Ok(())
    }

    /// Who reads; none of a service.
    const fn user(&self) -> Option<&UserId> {
        match &self.caller.principal {
            Principal::User(user) => Some(user),
            Principal::Service => None,
        }
    }

    /// A user who is no member any more reads no further.
    async fn check_member(&self, id: &ConversationId, known: &mut Head, read: &Head) -> Result<(), End> {
        let Some(user) = self.user() else { return Ok(()) };
        if known.members_version == read.members_version {
            return Ok(());
        }
        let call = Call::CheckMembers { conversation: id.clone(), users: vec![user.clone()] };
        let membership: Membership = self.ask(call).await?;
        known.members_version = membership.members_version;
        match membership.members.contains(user) {
            true => Ok(()),
            false => Err(Refusal::not_a_member().into()),
        }
    }

    /// Asks a worker something of the gateways' own.
    async fn ask<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<T, End> {
        let success = self.caller.shared.workers.call(Principal::Service, call).await?;
        success.body.parse().map_err(|_| Refusal::unavailable("the answer could not be read").into())
    }

    /// The mailbox is empty: who was refused goes on, and what a user was not told is told as what it is to read.
    async fn make_room(&mut self) -> Result<(), End> {
        let (conversations, missed) = self.mailbox.take_waiting();
        for id in conversations {
            self.caller.shared.topics.tell(&id, Command::Drained(self.mailbox.socket)).await;
        }
        if let (true, Source::User { id }) = (missed, &self.source) {
            let (user, key) = (id.clone(), (self.mailbox.socket, CHANNEL));
            self.caller.shared.visible.tell(Visible::Missed { user: user.clone(), key }).await;
            let JoinedUser { unread, .. } = joined_user(&self.caller, &user).await?;
            let at = self.caller.shared.env.now();
            let payload = Raw::of(&serde_json::json!({"user_id": user, "unread": unread, "at": at}));
            let told = Told { event: sent::SYNC_COMPLETE.to_owned(), change_seq: None, payload };
            self.pending.push_back(event(&self.topic, &told));
        }
        Ok(())
    }
}
