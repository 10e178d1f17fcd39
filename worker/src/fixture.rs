//! For tests: a worker on a store and a bus in memory, and one gateway that hears what users are told.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use simurgh_backplane::{Bucket, Bus, Delivery, Subscription, memory::MemoryBus, subject, subject::Subjects};
use simurgh_env::Env;
use simurgh_protocol::{
    ConversationId, Push, Raw, Refusal, UserId,
    envelope::{
        self, Answer, Call, ChosenStatus, Command, ConversationEnvelope, CreatePolicy, GatewayEnvelope,
        PresenceMeta, Principal, UserPresence,
    },
    record::Status,
};
use uuid::Uuid;

use crate::{
    Limits, Worker,
    store::{Consistency, Item, Key, Page, Query, Store, StoreError, Write, memory::MemoryStore},
};

/// The gateway's name.
const GATEWAY: &str = "g1";

/// A call's status and body, or why it was refused.
pub(crate) type Outcome = Result<(u16, Value), Refusal>;

/// What some users were told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) users: Vec<String>,
    pub(crate) event: String,
    pub(crate) payload: Value,
}

pub(crate) struct World {
    pub(crate) worker: Worker,
    pub(crate) bus: Arc<MemoryBus>,
    gateway: Gateway,
}

/// What workers said to a gateway that answers whoever wants to know that it noted it.
pub(crate) struct Gateway(Subscription);

impl Gateway {
    pub(crate) async fn new(bus: &Arc<MemoryBus>, subjects: &Subjects, name: &str) -> Self {
        let subject = subjects.gateway(name);
        let heard = bus.subscribe(&subject, None).await.unwrap();
        let mut inbox = bus.subscribe(&subject, None).await.unwrap();
        let bus = Arc::clone(bus);
        tokio::spawn(async move {
            while let Some(delivery) = inbox.next().await {
                if let Some(reply_to) = delivery.reply_to {
                    bus.publish(&reply_to, Vec::new().into()).await.unwrap();
                }
            }
        });
        Self(heard)
    }

    /// What was said since it was asked last.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        let told = std::iter::from_fn(|| self.0.try_next());
        told.map(|delivery| {
            let envelope = envelope::decode(&delivery.payload).unwrap();
            let (users, event, payload) = match envelope {
                GatewayEnvelope::Told { users, event, payload } => (users, event, payload),
                GatewayEnvelope::Presence { seen, .. } => (Vec::new(), "presence".to_owned(), Raw::of(&seen)),
                GatewayEnvelope::Visibility { viewer, seen } => {
                    (vec![viewer], "visibility".to_owned(), Raw::of(&seen))
                }
                GatewayEnvelope::Chosen { .. } => panic!("workers choose no status"),
                GatewayEnvelope::Revoked(_) | GatewayEnvelope::Blocks { .. } => {
                    panic!("that is said to all gateways")
                }
                GatewayEnvelope::Sockets { user, .. } => (vec![user], "sockets".to_owned(), Raw::empty()),
            };
            let users = users.iter().map(ToString::to_string).collect();
            Heard { users, event, payload: payload.parse().unwrap() }
        })
        .collect()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::of(Env::seeded(1), Arc::new(MemoryStore::new()), limits).await
    }

    /// On a store whose calls take up to 20 ms each, so that commands interleave as the seed has it.
    pub(crate) async fn slow(seed: u64) -> Self {
        let env = Env::seeded(seed);
        let store = SlowStore { store: MemoryStore::new(), env: env.fork() };
        Self::of(env, Arc::new(store), Limits::default()).await
    }

    async fn of(env: Env, store: Arc<dyn Store>, limits: Limits) -> Self {
        let bus = Arc::new(MemoryBus::new(env.clone()));
        bus.ensure_buckets().await.unwrap();
        let subjects = Subjects::new("test");
        let gateway = Gateway::new(&bus, &subjects, GATEWAY).await;
        let worker = Worker::new(bus.clone(), store, env, subjects, limits, crate::rig::metrics());
        Self { worker, bus, gateway }
    }

    /// A call of `who`'s: a user, or `service`.
    pub(crate) async fn call(&self, who: &str, call: Call) -> Outcome {
        self.attempt(who, self.worker.env.uuid(), call).await
    }

    /// A call as one attempt of the request `id`.
    pub(crate) async fn attempt(&self, who: &str, id: Uuid, call: Call) -> Outcome {
        let principal = if who == "service" { Principal::Service } else { Principal::User(user(who)) };
        let deadline = self.worker.env.now().plus(Duration::from_secs(5));
        let command = Command { id, principal, token: None, deadline, call };
        match self.worker.answer(command).await {
            Answer::Ok(success) => Ok((success.status, success.body.parse().unwrap())),
            Answer::Refused(refusal) => Err(refusal),
        }
    }

    /// Creates a conversation of any user's and answers its id.
    pub(crate) async fn create(&self, who: &str, kind: &str, members: &[&str]) -> ConversationId {
        let body = json!({"type": kind, "member_ids": members});
        let (_, conversation) = self.call(who, create(body)).await.unwrap();
        ConversationId::new(conversation["id"].as_str().unwrap()).unwrap()
    }

    /// Sends a text.
    pub(crate) async fn send(&self, who: &str, conversation: &ConversationId, text: &str) -> Value {
        let payload = json!({"message_type": "text", "content": text, "client_random": text});
        let call = Call::Push {
            conversation: Some(conversation.clone()),
            push: Push::SendMessage,
            payload: Raw::of(&payload),
        };
        self.call(who, call).await.unwrap().1
    }

    pub(crate) async fn contact(&self, who: &str, contact: &str, present: bool) -> Outcome {
        self.call(who, Call::SetContact { user: None, contact: user(contact), present }).await
    }

    /// The user's presence entry becomes this, and the gateway's lease is taken.
    pub(crate) async fn connect(&self, who: &str, refs: &[&str], status: Option<Status>) {
        let now = self.worker.env.now();
        let meta = |phx_ref: &&str| PresenceMeta {
            user: user(who),
            phx_ref: (*phx_ref).to_owned(),
            phx_ref_prev: None,
            online_at: now,
        };
        let chosen = status.map(|status| ChosenStatus { status, at: now });
        let entry =
            UserPresence { chosen, metas: refs.iter().map(meta).collect(), ..UserPresence::default() };
        let key = subject::user_key(&user(who), GATEWAY);
        self.bus.put(Bucket::Presence, &key, envelope::encode(&entry)).await.unwrap();
        self.bus.put(Bucket::Leases, &subject::lease_key(GATEWAY), Vec::new().into()).await.unwrap();
    }

    /// The gateway tells that the user's entry changed.
    pub(crate) async fn changed(&self, who: &str) -> Outcome {
        self.call("service", Call::PresenceChanged { user: user(who), entry: None }).await
    }

    /// What users were told since it was asked last.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        self.gateway.heard()
    }

    /// Listens on a conversation.
    pub(crate) async fn listen(&self, id: &ConversationId) -> Subscription {
        self.bus.subscribe(&self.worker.subjects.conversation(id), None).await.unwrap()
    }
}

/// A store whose calls wait before they are carried out and again before they answer.
struct SlowStore {
    store: MemoryStore,
    env: Env,
}

impl SlowStore {
    async fn wait(&self) {
        tokio::time::sleep(self.env.jitter(Duration::from_millis(10))).await;
    }
}

macro_rules! slowly {
    ($self:ident, $call:expr) => {{
        $self.wait().await;
        let answer = $call.await;
        $self.wait().await;
        answer
    }};
}

#[async_trait]
impl Store for SlowStore {
    async fn get(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        slowly!(self, self.store.get(key, consistency))
    }

    async fn get_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        slowly!(self, self.store.get_many(keys, consistency))
    }

    async fn put(&self, write: Write) -> Result<Item, StoreError> {
        slowly!(self, self.store.put(write))
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        slowly!(self, self.store.transact(writes))
    }

    async fn query(&self, query: Query) -> Result<Page, StoreError> {
        slowly!(self, self.store.query(query))
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }
}

/// What was published on a conversation.
pub(crate) fn published(delivery: &Delivery) -> ConversationEnvelope {
    envelope::decode(&delivery.payload).unwrap()
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn create(body: Value) -> Call {
    Call::CreateConversation { policy: CreatePolicy::Users, body: Raw::of(&body) }
}

pub(crate) fn add(conversation: &ConversationId, who: &str) -> Call {
    Call::AddMember { conversation: conversation.clone(), user: user(who) }
}

pub(crate) fn remove(conversation: &ConversationId, who: &str) -> Call {
    Call::RemoveMember { conversation: conversation.clone(), user: user(who) }
}

pub(crate) fn get(conversation: &ConversationId) -> Call {
    Call::GetConversation { conversation: conversation.clone() }
}

/// Why a call was refused.
pub(crate) fn reason(outcome: Outcome) -> &'static str {
    outcome.expect_err("it was to be refused").reason.as_str()
}
