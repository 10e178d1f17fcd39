//! The promises of the stream of what users missed.

use simurgh_protocol::UserId;

use super::{World, bytes};
use crate::{BusError, MAX_PAYLOAD_BYTES, OfflineLimits, Subject, subject::Subjects};

fn of(user: &str) -> Subject {
    Subjects::new("test").offline(&UserId::new(user).unwrap())
}

fn texts(kept: Vec<(String, String)>) -> Vec<String> {
    kept.into_iter().map(|(_, text)| text).collect()
}

pub(crate) async fn what_is_kept_is_there_by_user_and_in_order(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    assert_eq!(a.keep(&of("alice"), "m1:alice", bytes("one")).await, Ok(true));
    assert_eq!(b.keep(&of("b.o@b"), "m1:b.o@b", bytes("two")).await, Ok(true));
    assert_eq!(a.keep(&of("alice"), "m2:alice", bytes("three")).await, Ok(true));
    let subject = |user: &str| of(user).as_str().to_owned();
    assert_eq!(
        world.kept().await,
        [("alice", "one"), ("b.o@b", "two"), ("alice", "three")]
            .map(|(user, text)| (subject(user), text.to_owned()))
    );
}

pub(crate) async fn what_has_a_name_is_kept_once(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    assert_eq!(a.keep(&of("alice"), "m1:alice", bytes("one")).await, Ok(true));
    assert_eq!(a.keep(&of("alice"), "m1:alice", bytes("one")).await, Ok(false));
    assert_eq!(b.keep(&of("alice"), "m1:alice", bytes("again")).await, Ok(false));
    assert_eq!(texts(world.kept().await), ["one"]);
}

pub(crate) async fn of_one_user_the_oldest_go_first(world: &mut impl World) {
    let (bus, most) = (world.connect().await, OfflineLimits::default().max_per_user);
    bus.keep(&of("bob"), "bob", bytes("bob")).await.unwrap();
    for n in 0..most + 3 {
        bus.keep(&of("alice"), &n.to_string(), bytes(n.to_string())).await.unwrap();
    }
    let kept = texts(world.kept().await);
    let wanted: Vec<_> =
        std::iter::once("bob".to_owned()).chain((3..most + 3).map(|n| n.to_string())).collect();
    assert_eq!(kept, wanted);
}

pub(crate) async fn what_is_kept_outlives_an_outage(world: &mut impl World) {
    let bus = world.connect().await;
    bus.keep(&of("alice"), "m1:alice", bytes("one")).await.unwrap();
    world.outage(false).await;
    let bus = {
        drop(bus);
        world.connect().await
    };
    assert_eq!(bus.keep(&of("alice"), "m1:alice", bytes("one")).await, Ok(false), "its name, too");
    assert_eq!(texts(world.kept().await), ["one"]);
}

pub(crate) async fn what_is_kept_has_a_bound(world: &mut impl World) {
    let bus = world.connect().await;
    let payload = |bytes: usize| vec![b'x'; bytes].into();
    let beyond = bus.keep(&of("alice"), "m1:alice", payload(MAX_PAYLOAD_BYTES + 1)).await;
    assert_eq!(beyond, Err(BusError::TooLarge(MAX_PAYLOAD_BYTES + 1)));
    assert!(world.kept().await.is_empty());
}
