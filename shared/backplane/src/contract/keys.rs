//! Promises about keys.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use simurgh_protocol::{ConversationId, UserId};
use tokio::time::{sleep, timeout};

use super::{World, bytes, user_key};
use crate::{
    Bucket::{Leases, Presence},
    BusError, Entry, Filter, LEASE, MAX_VALUE_BYTES, SharedBus,
    subject::{all_leases, conversation_filter, conversation_key, gateway_filters, lease_key, user_filter},
};

fn users(user: &str) -> Filter {
    user_filter(&UserId::new(user).unwrap())
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

pub(crate) async fn a_key_reads_back_on_any_connection_with_its_revision(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let (key, other) = (user_key("u1", "g1"), user_key("u2", "g1"));
    assert_eq!(a.get(Presence, &key).await, Ok(None));
    let first = a.put(Presence, &key, bytes("one")).await.unwrap();
    let second = a.put(Presence, &other, bytes("two")).await.unwrap();
    let third = a.put(Presence, &key, bytes("")).await.unwrap();
    assert!(0 < first && first < second && second < third);
    let entry = Entry { key: key.clone(), value: bytes(""), revision: third };
    assert_eq!(b.get(Presence, &key).await, Ok(Some(entry)));
    let entry = Entry { key: other.clone(), value: bytes("two"), revision: second };
    assert_eq!(b.get(Presence, &other).await, Ok(Some(entry)));
}

pub(crate) async fn a_write_needs_the_revision_that_it_names(world: &mut impl World) {
    let a = world.connect().await;
    let key = user_key("u1", "g1");
    let first = a.update(Presence, &key, bytes("one"), 0).await.unwrap();
    assert_eq!(a.update(Presence, &key, bytes("x"), 0).await, Err(BusError::Conflict));
    assert_eq!(a.update(Presence, &key, bytes("x"), first + 1).await, Err(BusError::Conflict));
    let second = a.update(Presence, &key, bytes("two"), first).await.unwrap();
    assert_eq!(a.update(Presence, &key, bytes("x"), first).await, Err(BusError::Conflict));
    let entry = Entry { key: key.clone(), value: bytes("two"), revision: second };
    assert_eq!(a.get(Presence, &key).await, Ok(Some(entry)));
    let missing = user_key("u2", "g1");
    assert_eq!(a.update(Presence, &missing, bytes("x"), second).await, Err(BusError::Conflict));
}

pub(crate) async fn of_many_who_create_a_key_one_wins(world: &mut impl World) {
    let buses = [world.connect().await, world.connect().await];
    for removed_before in [false, true] {
        let key = user_key("u1", if removed_before { "g1" } else { "g2" });
        if removed_before {
            let revision = buses[0].put(Presence, &key, bytes("x")).await.unwrap();
            buses[0].delete(Presence, &key, revision).await.unwrap();
        }
        one_wins(&buses, &key, 0).await;
    }
}

pub(crate) async fn of_many_who_update_a_revision_one_wins(world: &mut impl World) {
    let buses = [world.connect().await, world.connect().await];
    let key = user_key("u1", "g1");
    let revision = buses[0].put(Presence, &key, bytes("x")).await.unwrap();
    one_wins(&buses, &key, revision).await;
}

async fn one_wins(buses: &[SharedBus], key: &crate::Key, revision: u64) {
    let write = |n: usize| buses[n % buses.len()].update(Presence, key, bytes(n.to_string()), revision);
    let outcomes = join_all((0..40).map(write)).await;
    let winners: Vec<_> = outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_ok()).collect();
    let [(winner, Ok(revision))] = winners[..] else { panic!("{outcomes:?}") };
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(BusError::Conflict))));
    let entry = Entry { key: key.clone(), value: bytes(winner.to_string()), revision: *revision };
    assert_eq!(buses[0].get(Presence, key).await, Ok(Some(entry)));
}

pub(crate) async fn a_removed_key_is_gone_and_can_be_created_again(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let key = user_key("u1", "g1");
    // At once, soon after, and when whatever a removal left behind is gone too.
    for pause_ms in [0, 0, 0, 900, 1100, 2500] {
        let first = a.update(Presence, &key, bytes("one"), 0).await.unwrap();
        a.delete(Presence, &key, first).await.unwrap();
        assert_eq!(b.get(Presence, &key).await, Ok(None));
        assert_eq!(b.get_many(Presence, &[users("u1")]).await, Ok(vec![]));
        assert_eq!(b.update(Presence, &key, bytes("x"), first).await, Err(BusError::Conflict));
        sleep(Duration::from_millis(pause_ms)).await;
        let second = b.update(Presence, &key, bytes("two"), 0).await.unwrap();
        assert!(second > first);
        // What the removal left behind does not take the new key with it.
        sleep(Duration::from_millis(pause_ms)).await;
        assert_eq!(a.get(Presence, &key).await.unwrap().map(|entry| entry.revision), Some(second));
        b.delete(Presence, &key, second).await.unwrap();
    }
}

pub(crate) async fn a_removal_needs_the_revision_that_it_names(world: &mut impl World) {
    let a = world.connect().await;
    let key = user_key("u1", "g1");
    assert_eq!(a.delete(Presence, &key, 0).await, Err(BusError::Conflict));
    assert_eq!(a.delete(Presence, &key, 1).await, Err(BusError::Conflict));
    let first = a.put(Presence, &key, bytes("one")).await.unwrap();
    let second = a.put(Presence, &key, bytes("two")).await.unwrap();
    assert_eq!(a.delete(Presence, &key, first).await, Err(BusError::Conflict));
    assert_eq!(a.delete(Presence, &key, 0).await, Err(BusError::Conflict));
    a.delete(Presence, &key, second).await.unwrap();
    assert_eq!(a.delete(Presence, &key, second).await, Err(BusError::Conflict));
}

pub(crate) async fn many_are_read_by_wildcard_once_each_and_in_order(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    for (user, gateway) in [("u2", "g2"), ("u1", "g2"), ("u1", "g1"), ("u10", "g1"), ("u3", "g1")] {
        a.put(Presence, &user_key(user, gateway), bytes(format!("{user} {gateway}"))).await.unwrap();
    }
    let conversation = ConversationId::new("u1").unwrap();
    a.put(Presence, &conversation_key(&conversation, "g1"), bytes("c")).await.unwrap();

    let found = b.get_many(Presence, &[users("u2"), users("u1"), users("u2"), users("u1")]).await.unwrap();
    assert_eq!(names(&found), ["u.u1.g1", "u.u1.g2", "u.u2.g2"]);
    assert_eq!(found[1].value, bytes("u1 g2"));
    assert_eq!(b.get(Presence, &found[1].key).await, Ok(Some(found[1].clone())));

    let [on_g1, conversations_on_g1] = gateway_filters("g1");
    let found = b.get_many(Presence, &[users("u1"), on_g1]).await.unwrap();
    assert_eq!(names(&found), ["u.u1.g1", "u.u1.g2", "u.u10.g1", "u.u3.g1"]);
    let found = b.get_many(Presence, &[conversations_on_g1]).await.unwrap();
    assert_eq!(names(&found), ["c.u1.g1"]);
    let found = b.get_many(Presence, &[conversation_filter(&conversation)]).await.unwrap();
    assert_eq!(names(&found), ["c.u1.g1"]);
}

/// Writes the keys of `count` users on each of the gateways, many at a time.
async fn write_many(bus: &SharedBus, count: usize, gateways: &[&str]) {
    for gateway in gateways {
        let keys: Vec<_> = (0..count).map(|n| user_key(&format!("u{n:04}"), gateway)).collect();
        for outcome in join_all(keys.iter().map(|key| bus.put(Presence, key, bytes("here")))).await {
            outcome.unwrap();
        }
    }
}

pub(crate) async fn many_are_read_by_1500_filters(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    write_many(&a, 1500, &["g1", "g2", "g3", "g4", "g5"]).await;
    let filters: Vec<Filter> = (0..1500).rev().map(|n| users(&format!("u{n:04}"))).collect();
    let found = b.get_many(Presence, &filters).await.unwrap();
    assert_eq!(found.len(), 7500);
    assert!(found.is_sorted_by(|one, two| one.key < two.key));
    assert_eq!((found[0].key.as_str(), found[7499].key.as_str()), ("u.u0000.g1", "u.u1499.g5"));
}

pub(crate) async fn many_are_read_by_one_filter_that_matches_thousands(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    write_many(&a, 2500, &["g1", "g2"]).await;
    for n in 0..3 {
        let entry = a.get(Presence, &user_key(&format!("u{n:04}"), "g1")).await.unwrap().unwrap();
        a.delete(Presence, &entry.key, entry.revision).await.unwrap();
    }
    let found = b.get_many(Presence, &gateway_filters("g1")).await.unwrap();
    assert_eq!(found.len(), 2497);
    assert!(found.is_sorted_by(|one, two| one.key < two.key));
    assert_eq!(found[0].key, user_key("u0003", "g1"));
}

pub(crate) async fn nothing_is_read_where_nothing_matches(world: &mut impl World) {
    let a = world.connect().await;
    assert_eq!(a.get_many(Presence, &[users("u1")]).await, Ok(vec![]));
    a.put(Presence, &user_key("u1", "g1"), bytes("here")).await.unwrap();
    let missing: Vec<Filter> = (0..300).map(|n| users(&format!("other{n}"))).collect();
    assert_eq!(a.get_many(Presence, &missing).await, Ok(vec![]));
    assert_eq!(a.get_many(Presence, &gateway_filters("g2")).await, Ok(vec![]));
    assert_eq!(a.get_many(Presence, &[]).await, Ok(vec![]));
}

pub(crate) async fn keys_of_ids_with_dots_and_at_signs_read_back(world: &mut impl World) {
    let a = world.connect().await;
    let ids = ["a", "a.b", "a.b@c", "a.b@c|d+e", "a-b_c", "a:b"];
    for id in ids {
        a.put(Presence, &user_key(id, "gate.way@1"), bytes(id)).await.unwrap();
    }
    for id in ids {
        let found = a.get_many(Presence, &[users(id)]).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key.parts(), ["u", id, "gate.way@1"]);
        assert_eq!(found[0].value, bytes(id));
        assert_eq!(a.get(Presence, &user_key(id, "gate.way@1")).await, Ok(Some(found[0].clone())));
    }
    assert_eq!(a.get_many(Presence, &gateway_filters("gate.way@1")).await.unwrap().len(), ids.len());
}

pub(crate) async fn a_lease_lapses_unless_it_is_renewed(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let (lost, held, present) = (lease_key("g1"), lease_key("g2"), user_key("u1", "g1"));
    let first = a.update(Leases, &lost, bytes("1"), 0).await.unwrap();
    let revision = a.update(Leases, &held, bytes("1"), 0).await.unwrap();
    a.put(Presence, &present, bytes("here")).await.unwrap();
    sleep(LEASE / 2).await;
    a.update(Leases, &held, bytes("2"), revision).await.unwrap();
    sleep(LEASE / 2 - Duration::from_secs(1)).await;
    assert_eq!(names(&b.get_many(Leases, &[all_leases()]).await.unwrap()), ["g1", "g2"]);
    let lapse = async {
        while b.get(Leases, &lost).await.unwrap().is_some() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(3), lapse).await.expect("the lease lasts too long");
    assert_eq!(names(&b.get_many(Leases, &[all_leases()]).await.unwrap()), ["g2"]);
    assert_eq!(a.update(Leases, &lost, bytes("2"), first).await, Err(BusError::Conflict));
    a.update(Leases, &lost, bytes("2"), 0).await.unwrap();
    assert!(b.get(Presence, &present).await.unwrap().is_some());
}

pub(crate) async fn a_value_is_taken_up_to_the_bound_and_refused_beyond(world: &mut impl World) {
    let a = world.connect().await;
    let key = user_key("u1", "g1");
    let (largest, too_large) = (vec![b'x'; MAX_VALUE_BYTES], vec![b'x'; MAX_VALUE_BYTES + 1]);
    let refused = Err(BusError::TooLarge(MAX_VALUE_BYTES + 1));
    assert_eq!(a.put(Presence, &key, Bytes::from(too_large.clone())).await, refused);
    assert_eq!(a.update(Presence, &key, Bytes::from(too_large), 0).await, refused);
    let revision = a.update(Presence, &key, Bytes::from(largest.clone()), 0).await.unwrap();
    let entry = Entry { key: key.clone(), value: Bytes::from(largest), revision };
    assert_eq!(a.get(Presence, &key).await, Ok(Some(entry.clone())));
    assert_eq!(a.get_many(Presence, &[users("u1")]).await, Ok(vec![entry]));
}

pub(crate) async fn buckets_are_apart_and_made_once(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let key = lease_key("g1");
    let revision = a.put(Presence, &key, bytes("here")).await.unwrap();
    assert_eq!(a.get(Leases, &key).await, Ok(None));
    assert_eq!(a.get_many(Leases, &[all_leases()]).await, Ok(vec![]));
    b.ensure_buckets().await.unwrap();
    assert_eq!(a.get(Presence, &key).await.unwrap().map(|entry| entry.revision), Some(revision));
}

pub(crate) async fn buckets_that_were_lost_are_made_again(world: &mut impl World) {
    let a = world.connect().await;
    let key = user_key("u1", "g1");
    a.put(Presence, &key, bytes("here")).await.unwrap();
    let mut connected = a.connected();
    connected.mark_unchanged();
    world.outage(true).await;
    connected.changed().await.unwrap();
    connected.wait_for(|stands| *stands).await.unwrap();
    let missing = |outcome: Result<(), BusError>| assert!(matches!(outcome, Err(BusError::Disconnected(_))));
    missing(a.get(Presence, &key).await.map(drop));
    missing(a.get_many(Presence, &[users("u1")]).await.map(drop));
    missing(a.put(Presence, &key, bytes("here")).await.map(drop));
    missing(a.update(Presence, &key, bytes("here"), 0).await.map(drop));
    missing(a.delete(Presence, &key, 1).await);
    a.ensure_buckets().await.unwrap();
    assert_eq!(a.get(Presence, &key).await, Ok(None));
    a.update(Presence, &key, bytes("again"), 0).await.unwrap();
    assert_eq!(a.get_many(Presence, &[users("u1")]).await.unwrap().len(), 1);
}
