//! The rights of `infra/nats/accounts.conf`, on a real server: enough for all that gateways and workers do, and no more.

use std::{path::Path, time::Duration};

use async_nats::{ConnectOptions, Event, jetstream::consumer::pull};
use bytes::Bytes;
use futures_util::StreamExt as _;
use simurgh_protocol::{ConversationId, UserId};
use tokio::{sync::mpsc, time::timeout};

use super::{Server, access::refuses, config, connect, stands};
use crate::{
    Bucket, SharedBus,
    nats::NatsConfig,
    subject::{self, Subject, Subjects, WORKERS},
};

/// The namespace that the file is written for.
const NAMESPACE: &str = "simurgh";

const WAIT: Duration = Duration::from_secs(10);

async fn server() -> Server {
    let rights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/nats/accounts.conf");
    Server::start(&["-c", rights.to_str().unwrap()]).await
}

fn url(server: &Server, role: &str) -> String {
    server.url().replace("//", &format!("//{role}:{role}-password@"))
}

async fn bus(server: &Server, role: &str) -> SharedBus {
    let bus =
        connect(NatsConfig { url: url(server, role), namespace: NAMESPACE.into(), ..config(server) }).await;
    stands(&bus).await;
    bus
}

fn conversation() -> ConversationId {
    ConversationId::new("c1").unwrap()
}

#[tokio::test]
async fn gateways_and_workers_may_do_all_that_they_do() {
    let server = server().await;
    let (gateway, other) = (bus(&server, "gateway").await, bus(&server, "gateway").await);
    let worker = bus(&server, "worker").await;
    let subjects = Subjects::new(NAMESPACE);

    keys(&gateway, &worker).await;
    missed(&server, &gateway, &worker, &subjects).await;
    asks(&gateway, &worker, &subjects.worker("w1"), None).await;
    asks(&gateway, &worker, &subjects.any_worker(), Some(WORKERS)).await;
    asks(&worker, &gateway, &subjects.gateway("g1"), None).await;
    asks(&other, &gateway, &subjects.gateway("g1"), None).await;
    asks(&other, &gateway, &subjects.long_polls("p1"), None).await;
    for (from, to, subject) in [
        (&worker, &gateway, subjects.worker_heartbeats()),
        (&worker, &gateway, subjects.conversation(&conversation())),
        (&worker, &gateway, subjects.all_gateways()),
        (&gateway, &worker, subjects.arrivals()),
        (&gateway, &other, subjects.conversation(&conversation())),
    ] {
        let mut heard = to.subscribe(&subject, None).await.unwrap();
        from.publish(&subject, "said".into()).await.unwrap();
        let said = timeout(WAIT, heard.next()).await.unwrap_or_else(|_| panic!("{subject}")).unwrap();
        assert_eq!(said.payload, "said", "{subject}");
    }
    for each in [&gateway, &worker] {
        each.flush().await.unwrap();
    }
}

async fn keys(gateway: &SharedBus, worker: &SharedBus) {
    for _ in 0..2 {
        gateway.ensure_buckets().await.unwrap();
    }
    let user = UserId::new("alice").unwrap();
    let (key, filter) = (subject::user_key(&user, "g1"), subject::user_filter(&user));
    let lease = subject::lease_key("g1");
    let first = gateway.update(Bucket::Leases, &lease, Bytes::new(), 0).await.unwrap();
    assert!(gateway.update(Bucket::Leases, &lease, Bytes::new(), 0).await.is_err());
    gateway.update(Bucket::Leases, &lease, Bytes::new(), first).await.unwrap();
    let revision = gateway.put(Bucket::Presence, &key, "here".into()).await.unwrap();
    for reader in [gateway, worker] {
        assert_eq!(reader.get(Bucket::Presence, &key).await.unwrap().unwrap().value, "here");
        assert_eq!(reader.get_many(Bucket::Presence, std::slice::from_ref(&filter)).await.unwrap().len(), 1);
        assert_eq!(reader.get_many(Bucket::Leases, &[subject::all_leases()]).await.unwrap().len(), 1);
        assert!(reader.get(Bucket::Leases, &lease).await.unwrap().is_some());
    }
    gateway.delete(Bucket::Presence, &key, revision).await.unwrap();
}

/// Gateways make the stream of what users missed, workers write it, and a push service consumes it with rights of its own.
async fn missed(server: &Server, gateway: &SharedBus, worker: &SharedBus, subjects: &Subjects) {
    for _ in 0..2 {
        gateway.ensure_offline().await.unwrap();
    }
    let user = UserId::new("alice").unwrap();
    assert_eq!(worker.keep(&subjects.offline(&user), "m1:alice", "missed".into()).await, Ok(true));

    let options = ConnectOptions::new().user_and_password("push".into(), "push-password".into());
    let push = async_nats::jetstream::new(options.connect(server.url()).await.unwrap());
    let config = pull::Config { durable_name: Some("push".into()), ..pull::Config::default() };
    let stream = push.get_stream("simurgh_offline").await.unwrap();
    let consumer = stream.get_or_create_consumer("push", config).await.unwrap();
    let mut batch = consumer.fetch().max_messages(1).messages().await.unwrap();
    let message = timeout(WAIT, batch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((message.subject.as_str(), &*message.payload), ("simurgh.offline.alice", &b"missed"[..]));
    message.double_ack().await.unwrap();
}

async fn asks(from: &SharedBus, of: &SharedBus, subject: &Subject, queue: Option<&str>) {
    let mut asked = of.subscribe(subject, queue).await.unwrap();
    let answering = async {
        let question = asked.next().await.unwrap();
        of.publish(&question.reply_to.unwrap(), "answer".into()).await.unwrap();
    };
    let (answer, ()) = tokio::join!(from.request(subject, "question".into(), WAIT), answering);
    assert_eq!(answer.unwrap_or_else(|error| panic!("{subject}: {error}")), "answer");
}

/// A connection of a role, and what the server refuses it.
struct Role {
    client: async_nats::Client,
    refused: mpsc::UnboundedReceiver<String>,
}

impl Role {
    async fn of(server: &Server, role: &str) -> Self {
        let (sender, refused) = mpsc::unbounded_channel();
        let options = ConnectOptions::new().event_callback(move |event| {
            if let Event::ServerError(error) = event {
                let _ = sender.send(error.to_string().to_lowercase());
            }
            std::future::ready(())
        });
        let options = options.user_and_password(role.into(), format!("{role}-password"));
        Self { client: options.connect(server.url()).await.unwrap(), refused }
    }

    /// What the server refuses next; it answers in order, so that what came before was not refused.
    async fn next_refusal(&mut self) -> String {
        self.client.flush().await.unwrap();
        timeout(WAIT, self.refused.recv()).await.expect("nothing was refused").unwrap()
    }

    async fn refuses_publish(&mut self, subject: &str) {
        self.client.publish(subject.to_owned(), Bytes::new()).await.unwrap();
        let refusal = self.next_refusal().await;
        let wanted = format!("publish to \"{}\"", subject.to_lowercase());
        assert!(
            refusal.contains("permissions violation") && refusal.contains(&wanted),
            "{subject}: {refusal}"
        );
    }

    async fn refuses_subscribe(&mut self, subject: &str) {
        let _subscription = self.client.subscribe(subject.to_owned()).await.unwrap();
        let refusal = self.next_refusal().await;
        let wanted = format!("subscription to \"{}\"", subject.to_lowercase());
        assert!(
            refusal.contains("permissions violation") && refusal.contains(&wanted),
            "{subject}: {refusal}"
        );
    }
}

#[tokio::test]
async fn what_a_role_does_not_need_it_may_not() {
    let server = server().await;
    let own = bus(&server, "gateway").await;
    own.ensure_buckets().await.unwrap();
    let (mut gateway, mut worker) = (Role::of(&server, "gateway").await, Role::of(&server, "worker").await);
    // Nobody is anybody else: not a worker to gateways, not a gateway to workers.
    for subject in ["simurgh.work.alive", "simurgh.gates", "simurgh.offline.alice"] {
        gateway.refuses_publish(subject).await;
    }
    for subject in [
        "simurgh.work.any",
        "simurgh.work.id.w1",
        "simurgh.poll.p1",
        "simurgh.came",
        "$KV.simurgh_presence.u.alice.g1",
        "$KV.simurgh_leases.g1",
        "$JS.API.STREAM.CREATE.KV_simurgh_presence",
        "$JS.API.STREAM.UPDATE.KV_simurgh_leases",
        "$JS.API.STREAM.CREATE.simurgh_offline",
        "$JS.API.CONSUMER.CREATE.simurgh_offline",
    ] {
        worker.refuses_publish(subject).await;
    }
    for subject in ["simurgh.work.any", "simurgh.work.id.w1", "simurgh.work.id.*"] {
        gateway.refuses_subscribe(subject).await;
    }
    // A push service reads what users missed, and neither writes nor hears anything else.
    let mut push = Role::of(&server, "push").await;
    for subject in [
        "simurgh.offline.alice",
        "simurgh.work.any",
        "simurgh.conv.c1",
        "$KV.simurgh_presence.u.alice.g1",
        "$JS.API.DIRECT.GET.KV_simurgh_presence",
        "$JS.API.STREAM.UPDATE.simurgh_offline",
        "$JS.API.STREAM.DELETE.simurgh_offline",
        "$JS.API.STREAM.PURGE.simurgh_offline",
        "$JS.API.CONSUMER.CREATE.KV_simurgh_presence",
    ] {
        push.refuses_publish(subject).await;
    }
    for subject in ["simurgh.offline.*", "simurgh.conv.c1", "simurgh.gate.g1", "$JS.>"] {
        push.refuses_subscribe(subject).await;
    }
    for subject in
        ["simurgh.conv.c1", "simurgh.gate.g1", "simurgh.gates", "simurgh.poll.p1", "simurgh.work.any"]
    {
        worker.refuses_subscribe(subject).await;
    }
    // And neither is an operator, or another system.
    for role in [&mut gateway, &mut worker] {
        for subject in [
            "other.conv.c1",
            "simurgh",
            "_INBOX.somebody.1",
            "$JS.API.STREAM.DELETE.KV_simurgh_presence",
            "$JS.API.STREAM.PURGE.KV_simurgh_presence",
            "$JS.API.STREAM.CREATE.OTHER",
            "$JS.API.STREAM.NAMES",
            "$JS.API.CONSUMER.CREATE.KV_simurgh_presence",
            "$KV.other_presence.u.alice.g1",
            "$SYS.REQ.SERVER.PING",
        ] {
            role.refuses_publish(subject).await;
        }
        for subject in [">", "simurgh.>", "*.conv.c1", "other.conv.c1", "$KV.>", "$SYS.>", "$JS.>"] {
            role.refuses_subscribe(subject).await;
        }
    }
}

#[tokio::test]
async fn without_a_password_nobody_enters() {
    let server = server().await;
    for url in [server.url(), url(&server, "gateway").replace("-password", "-guess"), url(&server, "admin")] {
        refuses(NatsConfig { url, ..config(&server) }).await;
    }
    let bus = |url: String| async { connect(NatsConfig { url, ..config(&server) }).await };
    stands(&bus(url(&server, "worker")).await).await;
    // A password may hold what a URL has other uses for.
    stands(&bus(url(&server, "worker").replace("-password", "%2Dpassword")).await).await;
}
