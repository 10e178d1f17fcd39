use std::{sync::Arc, time::Duration};

use simurgh_env::Env;
use tokio::time::timeout;

use self::server::Server;
use super::{NatsBus, NatsConfig};
use crate::{Bucket, BusError, Notice, OfflineLimits, SharedBus, contract::World, subject};

mod access;
mod cluster;
mod rights;
mod server;

/// A server, and a connection for everybody who asks.
struct Nats(Server);

impl Nats {
    async fn start() -> Self {
        let nats = Self(Server::start(&[]).await);
        let bus = nats.connect().await;
        bus.ensure_buckets().await.unwrap();
        bus.ensure_offline().await.unwrap();
        nats
    }
}

impl World for Nats {
    async fn connect(&self) -> SharedBus {
        let bus = connect(config(&self.0)).await;
        stands(&bus).await;
        bus
    }

    async fn outage(&mut self, loses_buckets: bool) {
        self.0.kill();
        if loses_buckets {
            self.0.forget();
        }
        self.0.restart().await;
    }

    async fn kept(&self) -> Vec<(String, String)> {
        let client = async_nats::connect(self.0.url()).await.unwrap();
        let stream = async_nats::jetstream::new(client).get_stream("test_offline").await.unwrap();
        let state = stream.get_info().await.unwrap().state;
        let mut kept = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            // The oldest of a user that went left a hole.
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            kept.push((message.subject.to_string(), text));
        }
        assert_eq!(kept.len() as u64, state.messages);
        kept
    }
}

contract!(tokio::test(flavor = "multi_thread", worker_threads = 2), super::Nats::start());

fn config(server: &Server) -> NatsConfig {
    NatsConfig {
        url: server.url(),
        creds: None,
        ca: None,
        replicas: 1,
        namespace: "test".into(),
        offline: Some(OfflineLimits::default()),
        name: "a test".into(),
    }
}

async fn connect(config: NatsConfig) -> SharedBus {
    Arc::new(NatsBus::connect(config, Env::system()).await.unwrap())
}

async fn stands(bus: &SharedBus) {
    let mut connected = bus.connected();
    timeout(Duration::from_secs(10), connected.wait_for(|stands| *stands))
        .await
        .expect("no connection")
        .unwrap();
}

#[tokio::test]
async fn a_server_out_of_reach_fails_calls_at_once_and_is_tried_until_it_answers() {
    let mut server = Server::start(&[]).await;
    server.kill();
    let bus = connect(config(&server)).await;
    let mut notices = bus.notices();
    let key = subject::lease_key("g1");
    assert!(!*bus.connected().borrow());
    let down = || Err(BusError::Disconnected("not connected".into()));
    assert_eq!(bus.ensure_buckets().await, down());
    assert_eq!(bus.flush().await, down());
    assert_eq!(bus.get(Bucket::Leases, &key).await.map(drop), down());
    server.restart().await;
    stands(&bus).await;
    bus.ensure_buckets().await.unwrap();
    assert_eq!(bus.get(Bucket::Leases, &key).await, Ok(None));
    assert!(notices.try_recv().is_err());
}

#[tokio::test]
async fn a_bus_that_is_dropped_closes_its_connection() {
    let nats = Nats::start().await;
    let bus = nats.connect().await;
    let mut connected = bus.connected();
    drop(bus);
    let closed = connected.wait_for(|stands| !*stands);
    timeout(Duration::from_secs(5), closed).await.expect("it stays open").unwrap();
}

#[tokio::test]
async fn removed_keys_leave_nothing_behind() {
    let nats = Nats::start().await;
    let bus = nats.connect().await;
    for n in 0..200 {
        let key = subject::lease_key(&format!("g{n}"));
        let revision = bus.put(Bucket::Presence, &key, "here".into()).await.unwrap();
        bus.delete(Bucket::Presence, &key, revision).await.unwrap();
    }
    let client = async_nats::connect(nats.0.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("KV_test_presence").await.unwrap();
    let emptied = async {
        while stream.get_info().await.unwrap().state.messages > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(5), emptied).await.expect("markers stay");
}

#[tokio::test]
async fn buckets_take_on_the_configuration_of_the_version_that_runs() {
    let nats = Nats::start().await;
    let client = async_nats::connect(nats.0.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let mut older = jetstream.get_stream("KV_test_leases").await.unwrap().get_info().await.unwrap().config;
    older.max_age = Duration::from_secs(60);
    jetstream.update_stream(older).await.unwrap();
    nats.connect().await.ensure_buckets().await.unwrap();
    let stream = jetstream.get_stream("KV_test_leases").await.unwrap();
    assert_eq!(stream.get_info().await.unwrap().config.max_age, crate::LEASE);
}

#[tokio::test]
async fn a_connection_that_stalls_ends_every_wait() {
    let mut nats = Nats::start().await;
    let bus = nats.connect().await;
    let mut notices = bus.notices();
    nats.0.freeze();
    let (key, filters) = (subject::lease_key("g1"), [subject::all_leases()]);
    let (get, many, put, flush) = tokio::join!(
        bus.get(Bucket::Leases, &key),
        bus.get_many(Bucket::Leases, &filters),
        bus.put(Bucket::Leases, &key, "x".into()),
        bus.flush(),
    );
    assert_eq!((get, many), (Err(BusError::TimedOut), Err(BusError::TimedOut)));
    assert_eq!((put, flush), (Err(BusError::TimedOut), Err(BusError::TimedOut)));
    nats.0.kill();
    nats.0.restart().await;
    let notice = timeout(Duration::from_secs(10), notices.recv()).await.expect("not connected again");
    assert_eq!(notice, Ok(Notice::Reconnected));
}
