use std::time::Duration;

use serde_json::{Value, json};
use simurgh_backplane::{Bucket, Bus, subject};
use simurgh_protocol::{
    envelope::{Call, EntryMark},
    record::Status,
};

use crate::fixture::{World, reason, user};

fn presence(of: &str) -> Call {
    Call::GetPresence { user: user(of) }
}

/// Bob shows his status to alice; both are connected.
async fn world() -> World {
    let mut world = World::new().await;
    world.contact("bob", "alice", true).await.unwrap();
    world.connect("alice", &["ref-a"], None).await;
    world.connect("bob", &["ref-b"], None).await;
    world.changed("bob").await.unwrap();
    world.heard();
    world
}

/// The one thing that gateways heard: how somebody looks now.
fn seen(world: &mut World) -> Value {
    let mut heard = world.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    let heard = heard.remove(0);
    assert_eq!(heard.event, "presence");
    heard.payload
}

#[tokio::test(start_paused = true)]
async fn the_gateways_of_those_who_may_see_a_user_look_when_it_comes_changes_and_goes() {
    let mut world = World::new().await;
    world.contact("bob", "alice", true).await.unwrap();
    world.connect("alice", &["ref-a"], None).await;
    world.connect("bob", &["ref-b"], None).await;
    world.heard();
    let came = world.worker.env.now();
    world.changed("bob").await.unwrap();
    assert_eq!(seen(&mut world), json!({"user_id": "bob", "status": "online", "last_seen": came}));

    world.connect("bob", &["ref-c"], Some(Status::Away)).await;
    world.changed("bob").await.unwrap();
    assert_eq!(seen(&mut world)["status"], "away");

    tokio::time::sleep(Duration::from_secs(5)).await;
    let went = world.worker.env.now();
    world.connect("bob", &[], Some(Status::Away)).await;
    world.changed("bob").await.unwrap();
    assert_eq!(seen(&mut world), json!({"user_id": "bob", "status": "offline", "last_seen": went}));
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.changed("bob").await.unwrap();
    assert_eq!(seen(&mut world)["last_seen"], json!(went), "a repeat tells the same");
}

#[tokio::test(start_paused = true)]
async fn who_is_seen_by_nobody_who_is_connected_is_told_to_nobody() {
    let mut world = World::new().await;
    world.connect("bob", &["ref-b"], None).await;
    world.changed("bob").await.unwrap();
    assert_eq!(world.heard(), []);
}

#[tokio::test(start_paused = true)]
async fn an_invisible_user_looks_as_one_who_went() {
    let mut world = world().await;
    let vanished = world.worker.env.now();
    world.connect("bob", &["ref-c"], Some(Status::Offline)).await;
    world.changed("bob").await.unwrap();
    let looks = json!({"user_id": "bob", "status": "offline", "last_seen": vanished});
    assert_eq!(seen(&mut world), looks);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.connect("bob", &["ref-c", "ref-d"], Some(Status::Offline)).await;
    world.changed("bob").await.unwrap();
    assert_eq!(seen(&mut world), looks);
    assert_eq!(world.call("alice", presence("bob")).await.unwrap().1, looks);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_makes_the_one_that_asked_ask_again() {
    let mut world = world().await;
    // Alice has a socket on a gateway that listens and says nothing.
    let silent = world.worker.subjects.gateway("g2");
    let _silent = world.bus.subscribe(&silent, None).await.unwrap();
    let key = subject::user_key(&user("alice"), "g2");
    let entry = world.bus.get(Bucket::Presence, &subject::user_key(&user("alice"), "g1")).await.unwrap();
    world.bus.put(Bucket::Presence, &key, entry.unwrap().value).await.unwrap();
    world.bus.put(Bucket::Leases, &subject::lease_key("g2"), Vec::new().into()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reason(world.changed("bob").await), "unavailable");
    assert_eq!(world.heard().len(), 1, "the other one looks");
    drop(_silent);
    world.changed("bob").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_that_comes_late_does_not_undo_the_next_one() {
    let world = world().await;
    let key = crate::store::keys::status(&user("bob"));
    let read = world.worker.store.get(&key, crate::store::Consistency::Strong).await.unwrap().unwrap();
    // Nothing changed, and yet who read it before that and writes now finds another version.
    world.changed("bob").await.unwrap();
    let late = crate::document::write(
        key,
        &json!({"status": "offline", "since": "2026-01-01T00:00:00.000Z"}),
        crate::store::Expect::Version(read.version),
    );
    assert!(world.worker.store.put(late).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_a_replica_does_not_show_yet_is_waited_for() {
    let mut world = world().await;
    let entry = Some(EntryMark { gateway: "g1".to_owned(), revision: u64::MAX, gone: false });
    let began = world.worker.env.now();
    world.call("service", Call::PresenceChanged { user: user("bob"), entry }).await.unwrap();
    assert!(world.worker.env.now().since(began) >= Duration::from_millis(100), "but not for ever");
    assert_eq!(seen(&mut world)["status"], "online");
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_gateway_left_counts_as_gone() {
    let mut world = world().await;
    tokio::time::sleep(simurgh_backplane::LEASE + Duration::from_secs(1)).await;
    assert_eq!(world.call("service", presence("bob")).await.unwrap().1["status"], "offline");
    world.changed("bob").await.unwrap();
    assert_eq!(world.heard(), [], "alice's gateway is dead too");
    world.connect("alice", &["ref-a"], None).await;
    assert_eq!(world.call("alice", presence("bob")).await.unwrap().1["status"], "online", "it lives again");
}

#[tokio::test(start_paused = true)]
async fn who_may_see_a_status_reads_it_and_others_may_not() {
    let world = world().await;
    for who in ["alice", "bob", "service"] {
        let now = world.worker.env.now();
        let expected = json!({"user_id": "bob", "status": "online", "last_seen": now});
        assert_eq!(world.call(who, presence("bob")).await.unwrap(), (200, expected), "{who}");
    }
    assert_eq!(reason(world.call("carol", presence("bob")).await), "forbidden");
    assert_eq!(reason(world.call("bob", presence("alice")).await), "forbidden", "adding shows oneself only");
    let never = world.call("service", presence("nobody")).await.unwrap().1;
    assert_eq!(never, json!({"user_id": "nobody", "status": "offline", "last_seen": Value::Null}));
    assert_eq!(world.call("alice", Call::Visible).await.unwrap().1, json!(["bob"]));
    assert_eq!(world.call("bob", Call::Visible).await.unwrap().1, json!([]));
}

#[tokio::test(start_paused = true)]
async fn the_two_of_a_direct_conversation_see_each_other() {
    let mut world = World::new().await;
    world.connect("alice", &["ref-a"], None).await;
    world.connect("bob", &["ref-b"], None).await;
    world.create("alice", "direct", &["bob"]).await;
    let told = world.heard();
    for (viewer, other) in [("alice", "bob"), ("bob", "alice")] {
        let looks = |heard: &&crate::fixture::Heard| {
            heard.event == "visibility" && heard.users == [viewer] && heard.payload["user_id"] == other
        };
        assert_eq!(told.iter().filter(looks).count(), 1);
        assert_eq!(world.call(viewer, presence(other)).await.unwrap().1["status"], "online");
    }
    world.changed("bob").await.unwrap();
    assert_eq!(seen(&mut world)["user_id"], "bob");
}
