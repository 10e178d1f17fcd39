//! What only a cluster shows: replicated buckets, and a server that dies while others live.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{config, connect, server::Server, stands};
use crate::{Bucket, BusError, Notice, SharedBus, nats::NatsConfig, subject};

async fn member(server: &Server) -> SharedBus {
    let bus = connect(NatsConfig { replicas: 3, ..config(server) }).await;
    stands(&bus).await;
    bus
}

/// Makes the buckets, for which a leader has to be elected first, and awaits that this one's server knows the way to
/// them: another server makes them, and tells it of its subscriptions a moment later.
async fn ensure(bus: &SharedBus) {
    let (bucket, key) = (Bucket::Presence, subject::lease_key("first"));
    let made = async {
        while bus.ensure_buckets().await.is_err() || bus.put(bucket, &key, "1".into()).await.is_err() {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(60), made).await.expect("no buckets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_removal_and_an_update_in_a_replicated_bucket_one_wins() {
    let servers = Server::start_cluster().await;
    let [a, b] = [member(&servers[0]).await, member(&servers[1]).await];
    for bus in [&a, &b] {
        ensure(bus).await;
    }
    let key = subject::lease_key("g1");
    let mut removals = 0;
    for _ in 0..300 {
        let revision = a.put(Bucket::Presence, &key, "1".into()).await.unwrap();
        let removal = async { a.delete(Bucket::Presence, &key, revision).await };
        let update = async { b.update(Bucket::Presence, &key, "2".into(), revision).await.map(drop) };
        let outcomes = tokio::join!(removal, update);
        assert!(
            matches!(outcomes, (Ok(()), Err(BusError::Conflict)) | (Err(BusError::Conflict), Ok(()))),
            "{outcomes:?}"
        );
        removals += u32::from(outcomes.0.is_ok());
    }
    println!("{removals} of 300 races went to the removal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_removed_from_a_replicated_bucket_can_be_created_at_once() {
    let servers = Server::start_cluster().await;
    let buses = [member(&servers[0]).await, member(&servers[1]).await, member(&servers[2]).await];
    for bus in &buses {
        ensure(bus).await;
    }
    let key = subject::lease_key("g1");
    for n in 0..300 {
        let (one, other) = (&buses[n % 3], &buses[(n + n / 3) % 3]);
        let revision = one.update(Bucket::Presence, &key, "1".into(), 0).await.unwrap();
        other.delete(Bucket::Presence, &key, revision).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_moves_to_another_server_and_keys_outlive_theirs() {
    let mut servers = Server::start_cluster().await;
    let bus = member(&servers[0]).await;
    ensure(&bus).await;
    let (key, subject) = (subject::lease_key("g1"), crate::contract::conversation("c1"));
    let revision = bus.put(Bucket::Presence, &key, "here".into()).await.unwrap();
    let mut subscription = bus.subscribe(&subject, None).await.unwrap();
    let mut notices = bus.notices();
    servers[0].kill();
    let notice = timeout(Duration::from_secs(10), notices.recv()).await.expect("not connected again");
    assert_eq!(notice, Ok(Notice::Reconnected));
    let read = async {
        loop {
            if let Ok(entry) = bus.get(Bucket::Presence, &key).await {
                return entry;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    let entry = timeout(Duration::from_secs(30), read).await.expect("no answer");
    assert_eq!(entry.map(|entry| entry.revision), Some(revision));
    bus.publish(&subject, "back".into()).await.unwrap();
    assert_eq!(crate::contract::next(&mut subscription).await, "back");
}
