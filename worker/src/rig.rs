//! For tests: several workers on one store with faults and one bus, a group of three, and what it hears.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use simurgh_backplane::{Bucket, Bus, Subscription, memory::MemoryBus, subject, subject::Subjects};
use simurgh_env::Env;
use simurgh_protocol::{
    ConversationId, MessageId, Push, Raw, UserId,
    envelope::{
        self, Answer, Call, Command, ConversationEnvelope, ConversationEvent, PresenceMeta, Principal,
        UserPresence,
    },
};
use uuid::Uuid;

use crate::{
    Limits, Worker,
    faults::FaultyStore,
    fixture::{Gateway, Heard, Outcome, create},
    log::slot::{Slot, StoredMessage},
    metrics::Metrics,
    store::{Item, Key, Store, keys},
};

/// How long a command may take.
pub(crate) const WITHIN: Duration = Duration::from_millis(2_500);
/// The members of the room. Each is connected once.
pub(crate) const MEMBERS: [&str; 3] = ["alice", "bob", "carol"];

/// Metrics that nobody reads.
pub(crate) fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

pub(crate) struct Rig {
    pub(crate) env: Env,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) bus: Arc<MemoryBus>,
    pub(crate) workers: Vec<Worker>,
    /// A group of [`MEMBERS`].
    pub(crate) room: ConversationId,
    channel: Subscription,
    gateway: Gateway,
}

impl Rig {
    /// Rigs up so many workers; each call of the store takes up to `delay`.
    pub(crate) async fn new(workers: usize, delay: Duration, seed: u64) -> Self {
        let env = Env::seeded(seed);
        let bus = Arc::new(MemoryBus::new(env.clone()));
        bus.ensure_buckets().await.unwrap();
        let subjects = Subjects::new("test");
        let room = ConversationId::new("room").unwrap();
        let channel = bus.subscribe(&subjects.conversation(&room), None).await.unwrap();
        let gateway = Gateway::new(&bus, &subjects, "g1").await;
        let store = FaultyStore::new(env.fork(), delay);
        let mut rig = Self { env, store, bus, workers: Vec::new(), room, channel, gateway };
        for _ in 0..workers {
            let worker = rig.worker();
            rig.workers.push(worker);
        }
        rig.fill().await;
        rig
    }

    /// Another worker.
    pub(crate) fn worker(&self) -> Worker {
        let (bus, store) = (Arc::clone(&self.bus), Arc::clone(&self.store));
        Worker::new(bus, store, self.env.fork(), Subjects::new("test"), Limits::default(), metrics())
    }

    async fn fill(&mut self) {
        let body = json!({"id": self.room, "type": "group", "member_ids": MEMBERS});
        self.call(0, "service", create(body)).await.unwrap();
        for who in MEMBERS {
            let user = UserId::new(who).unwrap();
            let key = subject::user_key(&user, "g1");
            let meta =
                PresenceMeta { user, phx_ref: who.to_owned(), phx_ref_prev: None, online_at: self.env.now() };
            let entry = UserPresence { chosen: None, metas: vec![meta], ..UserPresence::default() };
            self.bus.put(Bucket::Presence, &key, envelope::encode(&entry)).await.unwrap();
        }
        self.renew_lease().await;
        self.heard();
    }

    /// Pushes go to this conversation from now on, and its channel is heard.
    pub(crate) async fn enter(&mut self, room: ConversationId) {
        self.channel = self.bus.subscribe(&self.workers[0].subjects.conversation(&room), None).await.unwrap();
        self.room = room;
    }

    /// The gateway lives on.
    pub(crate) async fn renew_lease(&self) {
        self.bus.put(Bucket::Leases, &subject::lease_key("g1"), Vec::new().into()).await.unwrap();
    }

    /// A call of `who`'s by this worker, as one attempt of the request `id`.
    pub(crate) async fn attempt(&self, worker: usize, who: &str, id: Uuid, call: Call) -> Outcome {
        self.ask(&self.workers[worker], who, id, WITHIN, call).await
    }

    pub(crate) async fn call(&self, worker: usize, who: &str, call: Call) -> Outcome {
        self.attempt(worker, who, self.env.uuid(), call).await
    }

    pub(crate) async fn ask(
        &self,
        worker: &Worker,
        who: &str,
        id: Uuid,
        within: Duration,
        call: Call,
    ) -> Outcome {
        let principal =
            if who == "service" { Principal::Service } else { Principal::User(UserId::new(who).unwrap()) };
        let command = Command { id, principal, token: None, deadline: self.env.now().plus(within), call };
        match worker.answer(command).await {
            Answer::Ok(success) => Ok((success.status, success.body.parse().unwrap())),
            Answer::Refused(refusal) => Err(refusal),
        }
    }

    /// A push into the room.
    pub(crate) fn push(&self, push: Push, payload: &Value) -> Call {
        Call::Push { conversation: Some(self.room.clone()), push, payload: Raw::of(payload) }
    }

    /// `send_message` of a text.
    pub(crate) fn text(&self, name: &str, content: &str) -> Call {
        let payload = json!({"message_type": "text", "content": content, "client_random": name});
        self.push(Push::SendMessage, &payload)
    }

    /// Sends a text, its name being its content.
    pub(crate) async fn send(&self, worker: usize, who: &str, name: &str) -> Outcome {
        self.call(worker, who, self.text(name, name)).await
    }

    /// All items of a range, without faults.
    pub(crate) async fn items(&self, mut query: crate::store::Query) -> Vec<Item> {
        let mut items = Vec::new();
        loop {
            let page = self.store.store.query(query.clone()).await.unwrap();
            items.extend(page.items);
            if !page.more {
                return items;
            }
            query.from = format!("{}!", items.last().unwrap().key.sk);
        }
    }

    pub(crate) async fn item(&self, key: &Key) -> Option<Item> {
        self.store.store.get(key, crate::store::Consistency::Strong).await.unwrap()
    }

    /// The slots of the room.
    pub(crate) async fn slots(&self) -> Vec<Slot> {
        let items = self.items(keys::slots(&self.room, 1, MessageId::MAX_SEQ)).await;
        items.iter().map(|item| Slot::read(item).unwrap()).collect()
    }

    /// The messages of the room, which are numbered without a gap.
    pub(crate) async fn log(&self) -> Vec<StoredMessage> {
        let messages: Vec<_> = self.slots().await.into_iter().flat_map(|slot| slot.messages).collect();
        for (message, seq) in messages.iter().zip(1..) {
            assert_eq!(message.seq(), seq, "no gap, no repeat");
        }
        messages
    }

    /// What the room's channel heard since it was asked last.
    pub(crate) fn told(&mut self) -> Vec<ConversationEnvelope> {
        let told = std::iter::from_fn(|| self.channel.try_next());
        told.map(|delivery| envelope::decode(&delivery.payload).unwrap()).collect()
    }

    /// The numbers of the messages that the room's channel heard since it was asked last.
    pub(crate) fn told_messages(&mut self) -> Vec<u64> {
        let told = self.told().into_iter();
        told.flat_map(|envelope| match envelope.event {
            ConversationEvent::Messages(messages) => messages.iter().map(|logged| logged.seq).collect(),
            _ => Vec::new(),
        })
        .collect()
    }

    /// What users heard on their own topics since it was asked last: whom, event, payload.
    pub(crate) fn heard(&mut self) -> Vec<(Vec<String>, String, Value)> {
        let heard = self.gateway.heard().into_iter();
        heard.map(|Heard { users, event, payload }| (users, event, payload)).collect()
    }

    /// The numbers of the messages that users heard of since it was asked last.
    pub(crate) fn heard_messages(&mut self) -> Vec<u64> {
        let heard = self.heard().into_iter();
        heard
            .filter(|(_, event, _)| event == "new_message")
            .map(|(users, _, message)| {
                assert_eq!(users, MEMBERS, "every member, the sender too");
                message["seq"].as_u64().unwrap()
            })
            .collect()
    }
}
