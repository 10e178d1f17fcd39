use std::time::Duration;

use serde_json::{Value, json};
use simurgh_protocol::{envelope::Call, record::Status};

use crate::fixture::{Heard, World, reason, user};

fn presence(of: &str) -> Call {
    Call::GetPresence { user: user(of) }
}

fn events(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|heard| heard.event.as_str()).collect()
}

/// Bob shows his status to alice; both are connected.
async fn world() -> World {
    let mut world = World::new().await;
    world.contact("bob", "alice", true).await.unwrap();
    world.connect("alice", &["ref-a"], None).await;
    world.connect("bob", &["ref-b"], None).await;
    world.changed("bob", &["ref-b"], &[]).await.unwrap();
    world.heard();
    world
}

#[tokio::test(start_paused = true)]
async fn those_who_may_see_a_user_are_told_that_it_comes_changes_and_goes() {
    let mut world = World::new().await;
    world.contact("bob", "alice", true).await.unwrap();
    world.connect("alice", &["ref-a"], None).await;
    world.connect("bob", &["ref-b"], None).await;
    world.heard();
    let came = world.worker.env.now();
    world.changed("bob", &["ref-b"], &[]).await.unwrap();
    let heard = world.heard();
    assert_eq!(events(&heard), ["presence_diff", "user_presence_changed"]);
    assert!(heard.iter().all(|heard| heard.users == ["alice"]));
    assert_eq!(heard[1].payload, json!({"user_id": "bob", "status": "online", "last_seen": came}));

    world.connect("bob", &["ref-c"], Some(Status::Away)).await;
    world.changed("bob", &["ref-c"], &["ref-b"]).await.unwrap();
    let heard = world.heard();
    assert_eq!(events(&heard), ["presence_diff", "user_presence_changed"]);
    assert_eq!(heard[1].payload["status"], "away");

    tokio::time::sleep(Duration::from_secs(5)).await;
    let went = world.worker.env.now();
    world.connect("bob", &[], Some(Status::Away)).await;
    world.changed("bob", &[], &["ref-c"]).await.unwrap();
    let heard = world.heard();
    assert_eq!(heard[0].payload["leaves"]["bob"]["metas"][0]["phx_ref"], "ref-c");
    assert_eq!(heard[1].payload, json!({"user_id": "bob", "status": "offline", "last_seen": went}));
}

#[tokio::test(start_paused = true)]
async fn another_attempt_tells_a_change_again_and_another_request_does_not() {
    let mut world = world().await;
    let request = world.worker.env.uuid();
    world.connect("bob", &["ref-b"], Some(Status::Away)).await;
    world.attempt("service", request, world.change("bob", &[], &[])).await.unwrap();
    let first = world.heard();
    assert_eq!(
        (events(&first), &first[0].payload["status"]),
        (vec!["user_presence_changed"], &json!("away"))
    );
    world.attempt("service", request, world.change("bob", &[], &[])).await.unwrap();
    assert_eq!(world.heard(), first, "the one before may have died before it told");
    world.changed("bob", &[], &[]).await.unwrap();
    assert_eq!(world.heard(), []);

    let request = world.worker.env.uuid();
    world.connect("bob", &[], None).await;
    for _ in 0..2 {
        world.attempt("service", request, world.change("bob", &[], &["ref-b"])).await.unwrap();
        assert_eq!(events(&world.heard()), ["presence_diff", "user_presence_changed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_is_a_diff_and_no_change_of_status() {
    let mut world = world().await;
    world.connect("bob", &["ref-b", "ref-c"], None).await;
    world.changed("bob", &["ref-c"], &[]).await.unwrap();
    assert_eq!(events(&world.heard()), ["presence_diff"]);
}

#[tokio::test(start_paused = true)]
async fn an_invisible_user_looks_as_one_who_went() {
    let mut world = world().await;
    let vanished = world.worker.env.now();
    world.connect("bob", &["ref-c"], Some(Status::Offline)).await;
    world.changed("bob", &[], &["ref-b"]).await.unwrap();
    let heard = world.heard();
    assert_eq!(heard[1].payload, json!({"user_id": "bob", "status": "offline", "last_seen": vanished}));
    assert_eq!(heard[0].payload["joins"], json!({}));

    tokio::time::sleep(Duration::from_secs(60)).await;
    world.connect("bob", &["ref-c", "ref-d"], Some(Status::Offline)).await;
    world.changed("bob", &["ref-d"], &[]).await.unwrap();
    assert_eq!(world.heard(), []);
    let seen = world.call("alice", presence("bob")).await.unwrap().1;
    assert_eq!(seen, json!({"user_id": "bob", "status": "offline", "last_seen": vanished}));

    world.connect("bob", &["ref-e", "ref-f"], Some(Status::Online)).await;
    world.changed("bob", &["ref-e", "ref-f"], &[]).await.unwrap();
    let heard = world.heard();
    assert_eq!(heard[0].payload["joins"]["bob"]["metas"].as_array().map(Vec::len), Some(2));
    assert_eq!(heard[1].payload["status"], "online");
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_gateway_left_counts_as_gone() {
    let mut world = world().await;
    tokio::time::sleep(simurgh_backplane::LEASE + Duration::from_secs(1)).await;
    assert_eq!(world.call("service", presence("bob")).await.unwrap().1["status"], "offline");
    world.call("service", Call::PresenceChanged { user: user("bob"), diff: None }).await.unwrap();
    assert_eq!(world.heard(), [], "alice's gateway is dead too");
    world.connect("alice", &["ref-a"], None).await;
    assert_eq!(world.call("alice", presence("bob")).await.unwrap().1["status"], "online", "it lives again");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_comes_after_the_next_one_brings_nobody_back() {
    let mut world = world().await;
    // Bob's second connection came and went; that it came is told last.
    world.changed("bob", &["ref-c"], &[]).await.unwrap();
    assert_eq!(world.heard(), []);
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
}

#[tokio::test(start_paused = true)]
async fn the_two_of_a_direct_conversation_see_each_other() {
    let mut world = World::new().await;
    world.connect("alice", &["ref-a"], None).await;
    world.connect("bob", &["ref-b"], None).await;
    world.create("alice", "direct", &["bob"]).await;
    let told = world.heard();
    let changed: Vec<_> = told.iter().filter(|heard| heard.event == "user_presence_changed").collect();
    assert_eq!(changed.len(), 2);
    for (viewer, seen) in [("alice", "bob"), ("bob", "alice")] {
        assert!(changed.iter().any(|heard| heard.users == [viewer] && heard.payload["user_id"] == seen));
        assert_eq!(world.call(viewer, presence(seen)).await.unwrap().1["status"], "online");
    }
    world.changed("bob", &["ref-b"], &[]).await.unwrap();
    assert!(world.heard().iter().all(|heard| heard.users == ["alice"]));
}
