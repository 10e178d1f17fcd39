use std::time::Duration;

use serde_json::{Value, json};
use simurgh_backplane::{Bucket, Bus, memory::Outage, subject};
use simurgh_protocol::{
    ConversationId, Push, Raw,
    envelope::{self, Call, UserPresence},
};
use simurgh_service::config::OfflineStream;
use tokio::time::sleep;

use crate::{
    Limits,
    fixture::{World, user},
    rig::Rig,
};

/// Who missed which message, in the order of the stream.
fn missed(bus: &simurgh_backplane::memory::MemoryBus) -> Vec<(String, u64)> {
    let entry = |payload: &[u8]| serde_json::from_slice::<Value>(payload).unwrap();
    let all = bus.kept().into_iter().map(|(_, _, payload)| entry(&payload));
    all.map(|entry| (entry["user_id"].as_str().unwrap().to_owned(), entry["seq"].as_u64().unwrap())).collect()
}

fn of(who: &[(&str, u64)]) -> Vec<(String, u64)> {
    who.iter().map(|(who, seq)| ((*who).to_owned(), *seq)).collect()
}

fn send(id: &ConversationId, name: &str, metadata: &Value) -> Call {
    let payload =
        json!({"message_type": "text", "content": name, "client_random": name, "metadata": metadata});
    Call::Push { conversation: Some(id.clone()), push: Push::SendMessage, payload: Raw::of(&payload) }
}

/// The task that writes has had its time.
async fn rest() {
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_not_connected_misses_a_message_and_is_told_of_it_without_what_it_says() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob", "carol", "dave"]).await;
    world.connect("bob", &["ref"], None).await;
    let (_, sent) =
        world.call("alice", send(&id, "hush", &json!({"mentions": ["dave", "bob"]}))).await.unwrap();
    rest().await;
    let kept = world.bus.kept();
    assert_eq!(missed(&world.bus), of(&[("carol", 1), ("dave", 1)]), "neither who is there nor who sent it");
    let entry: Value = serde_json::from_slice(&kept[1].2).unwrap();
    assert_eq!(
        entry,
        json!({
            "user_id": "dave", "conversation_id": id, "conversation_type": "group", "message_id": sent["message_id"],
            "seq": 1, "sender_id": "alice", "message_type": "text", "sent_at": sent["sent_at"], "mentioned": true,
        })
    );
    assert_eq!(
        (kept[1].0.as_str(), kept[1].1.clone()),
        ("test.offline.dave", format!("{}:dave", sent["message_id"].as_str().unwrap()))
    );
    let other: Value = serde_json::from_slice(&kept[0].2).unwrap();
    assert_eq!(other["mentioned"], false);
}

#[tokio::test(start_paused = true)]
async fn what_it_says_is_in_it_where_that_is_wanted_and_short() {
    let world = World::with(Limits { offline: OfflineStream::Content, ..Limits::default() }).await;
    let id = world.create("alice", "direct", &["bob"]).await;
    world.call("alice", send(&id, "x", &json!({"n": 1}))).await.unwrap();
    let long = json!({"message_type": "text", "content": "x".repeat(4_095), "client_random": "long"});
    let call =
        Call::Push { conversation: Some(id.clone()), push: Push::SendMessage, payload: Raw::of(&long) };
    world.call("alice", call).await.unwrap();
    rest().await;
    let entries: Vec<Value> =
        world.bus.kept().iter().map(|(_, _, entry)| serde_json::from_slice(entry).unwrap()).collect();
    assert_eq!((&entries[0]["content"], &entries[0]["metadata"]), (&json!("x"), &json!({"n": 1})));
    assert_eq!(entries[0]["conversation_type"], "direct");
    assert_eq!((&entries[1]["content"], &entries[1]["metadata"]), (&Value::Null, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_where_it_is_off() {
    let world = World::with(Limits { offline: OfflineStream::Off, ..Limits::default() }).await;
    let id = world.create("alice", "direct", &["bob"]).await;
    world.send("alice", &id, "x").await;
    rest().await;
    assert!(world.bus.kept().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_muted_the_conversation_misses_nothing_mentioned_or_not() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob", "carol"]).await;
    let until = world.worker.env.now().plus(Duration::from_secs(60));
    let body = Raw::of(&json!({"muted_until": until}));
    world.call("bob", Call::PatchSettings { conversation: id.clone(), user: None, body }).await.unwrap();
    world.call("alice", send(&id, "one", &json!({"mentions": ["bob"]}))).await.unwrap();
    rest().await;
    assert_eq!(missed(&world.bus), of(&[("carol", 1)]));
    assert_eq!(world.worker.metrics.offline_entries("muted"), 1);
    sleep(Duration::from_secs(60)).await;
    world.send("alice", &id, "two").await;
    rest().await;
    assert_eq!(missed(&world.bus), of(&[("carol", 1), ("bob", 2), ("carol", 2)]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_or_written_where_all_are_connected() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    sleep(Duration::from_secs(4)).await;
    let (reads, _) = rig.workers[0].metrics.counted_units();
    rig.send(0, "alice", "two").await.unwrap();
    rest().await;
    // The members, and the tail that was forgotten.
    assert_eq!(rig.workers[0].metrics.counted_units().0 - reads, 2.0);
    assert!(missed(&rig.bus).is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_has_channels_and_not_its_own_topic_is_connected_and_a_subscription_is_not() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob", "carol"]).await;
    world.connect("bob", &[], None).await;
    let watched = UserPresence { watchers: 1, ..UserPresence::default() };
    let key = subject::user_key(&user("carol"), "g1");
    world.bus.put(Bucket::Presence, &key, envelope::encode(&watched)).await.unwrap();
    world.send("alice", &id, "x").await;
    rest().await;
    assert_eq!(missed(&world.bus), of(&[("carol", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_writes_what_the_first_did_not_and_nothing_twice() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    let key = subject::user_key(&user("bob"), "g1");
    let entry = rig.bus.get(Bucket::Presence, &key).await.unwrap().unwrap();
    rig.bus.delete(Bucket::Presence, &key, entry.revision).await.unwrap();
    // The worker that stores it dies before anything else is done.
    let (id, call) = (rig.env.uuid(), rig.text("x", "x"));
    rig.bus.disconnect();
    rig.attempt(0, "alice", id, call.clone()).await.unwrap();
    rig.workers[0].stop();
    rig.bus.reconnect(Outage::KeepsKeys);
    rest().await;
    assert_eq!(missed(&rig.bus), []);
    rig.attempt(1, "alice", id, call.clone()).await.unwrap();
    rest().await;
    assert_eq!(missed(&rig.bus), of(&[("bob", 1)]));
    rig.attempt(1, "alice", id, call).await.unwrap();
    rest().await;
    assert_eq!(missed(&rig.bus), of(&[("bob", 1)]));
    let by_head_and_repeat = 2;
    assert_eq!(rig.workers[1].metrics.offline_entries("repeated"), by_head_and_repeat);
    // What was sent long ago is not missed again.
    for _ in 0..37 {
        rig.renew_lease().await;
        sleep(Duration::from_secs(10)).await;
    }
    rig.renew_lease().await;
    rig.send(1, "alice", "x").await.unwrap();
    rest().await;
    assert_eq!(missed(&rig.bus), of(&[("bob", 1)]));
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_left_behind_is_noted_by_whoever_finds_its_head_lagging() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    let key = subject::user_key(&user("bob"), "g1");
    let entry = rig.bus.get(Bucket::Presence, &key).await.unwrap().unwrap();
    rig.bus.delete(Bucket::Presence, &key, entry.revision).await.unwrap();
    // The backplane takes nothing while the message is told; then the worker dies, before the burst is written.
    rig.bus.disconnect();
    rig.send(0, "alice", "x").await.unwrap();
    rig.workers[0].stop();
    rig.bus.reconnect(Outage::KeepsKeys);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(missed(&rig.bus), []);
    rig.renew_lease().await;
    rig.call(1, "service", Call::Heads { conversations: vec![rig.room.clone()] }).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(missed(&rig.bus), of(&[("bob", 1)]));
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_left_behind_is_noted_by_the_one_that_goes_on_at_once() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    let key = subject::user_key(&user("bob"), "g1");
    let entry = rig.bus.get(Bucket::Presence, &key).await.unwrap().unwrap();
    rig.bus.delete(Bucket::Presence, &key, entry.revision).await.unwrap();
    // Of three messages the first and the last are this worker's.
    rig.send(1, "alice", "x").await.unwrap();
    rig.bus.disconnect();
    rig.send(0, "carol", "y").await.unwrap();
    rig.workers[0].stop();
    rig.bus.reconnect(Outage::KeepsKeys);
    rig.renew_lease().await;
    rig.send(1, "alice", "z").await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        missed(&rig.bus),
        of(&[("bob", 1), ("bob", 3), ("bob", 2)]),
        "the second is found a second later"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_told_on_a_gateway_that_dies_is_missed_by_who_is_nowhere_else() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    // Carol is on a second gateway, too.
    let entry =
        rig.bus.get(Bucket::Presence, &subject::user_key(&user("carol"), "g1")).await.unwrap().unwrap();
    rig.bus.put(Bucket::Presence, &subject::user_key(&user("carol"), "g2"), entry.value).await.unwrap();
    let renew = async || {
        rig.bus.put(Bucket::Leases, &subject::lease_key("g2"), Vec::new().into()).await.unwrap();
    };
    renew().await;
    // The first one is dead already, and its lease is still there.
    rig.send(0, "alice", "x").await.unwrap();
    for _ in 0..8 {
        sleep(Duration::from_secs(3)).await;
        renew().await;
    }
    assert_eq!(missed(&rig.bus), of(&[("bob", 1)]), "alice sent it, carol is on the other one");
    for _ in 0..10 {
        sleep(Duration::from_secs(3)).await;
        renew().await;
    }
    assert_eq!(rig.workers[0].metrics.offline_entries("repeated"), 0, "it is looked at once");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_says_who_has_no_socket_there_any_more() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, sent) = rig.send(0, "alice", "x").await.unwrap();
    let call = Call::Missed {
        conversation: rig.room.clone(),
        users: ["alice", "bob", "mallory"].map(user).to_vec(),
        gateway: "g1".to_owned(),
        message: Raw::of(&sent["message"]),
    };
    assert_eq!(rig.call(0, "service", call.clone()).await.unwrap().0, 204);
    assert_eq!(missed(&rig.bus), of(&[("bob", 1)]), "neither who sent it nor who is no member");
    let elsewhere = Call::Missed {
        conversation: rig.room.clone(),
        users: vec![user("carol")],
        gateway: "g9".to_owned(),
        message: Raw::of(&sent["message"]),
    };
    rig.call(0, "service", elsewhere).await.unwrap();
    assert_eq!(missed(&rig.bus), of(&[("bob", 1)]), "carol is connected elsewhere");
    rig.bus.disconnect();
    assert!(rig.call(0, "service", call.clone()).await.is_err(), "the gateway asks again");
    rig.bus.reconnect(Outage::KeepsKeys);
    assert_eq!(crate::fixture::reason(rig.call(0, "mallory", call).await), "forbidden");
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_no_entry_and_what_waits_has_a_bound() {
    let world = World::new().await;
    let names: Vec<String> = (0..1_000).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = world.create("alice", "group", &names).await;
    world.bus.disconnect();
    let began = world.worker.env.instant();
    for n in 0..300 {
        world.send("alice", &id, &n.to_string()).await;
    }
    assert!(world.worker.env.instant() < began + Duration::from_millis(1), "no time passed");
    let dropped = world.worker.metrics.offline_entries("dropped");
    assert!((40_000..60_000).contains(&dropped), "{dropped}");
    world.bus.reconnect(Outage::KeepsKeys);
    sleep(Duration::from_secs(30)).await;
    assert!(missed(&world.bus).len() > 60_000, "and the rest is written once the backplane is back");
}
