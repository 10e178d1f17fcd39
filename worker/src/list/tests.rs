use std::time::Duration;

use serde_json::{Value, json};
use simurgh_protocol::{ConversationId, envelope::Call};
use tokio::time::sleep;

use crate::{
    fixture::{World, add, create, reason, remove, user},
    log::HeadDocument,
    rig::Rig,
    store::keys,
};

fn list(of: Option<&str>, limit: usize, cursor: Option<&str>) -> Call {
    Call::ListConversations { user: of.map(user), limit, cursor: cursor.map(str::to_owned) }
}

fn ids(page: &Value) -> Vec<ConversationId> {
    let listed = page["conversations"].as_array().unwrap();
    listed.iter().map(|listed| ConversationId::new(listed["id"].as_str().unwrap()).unwrap()).collect()
}

/// Three conversations of alice and bob, a second apart, the earliest first.
async fn three(world: &World) -> Vec<ConversationId> {
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(world.create("alice", "group", &["bob"]).await);
        sleep(Duration::from_secs(1)).await;
    }
    all
}

#[tokio::test(start_paused = true)]
async fn the_latest_activity_comes_first_and_shows_what_is_unread() {
    let world = World::new().await;
    let all = three(&world).await;
    world.send("bob", &all[0], "one").await;
    let two = world.send("bob", &all[0], "two").await;
    sleep(Duration::from_secs(3)).await;
    let (status, page) = world.call("alice", list(None, 50, None)).await.unwrap();
    assert_eq!((status, &page["next_cursor"]), (200, &Value::Null));
    assert_eq!(ids(&page), [all[0].clone(), all[2].clone(), all[1].clone()]);
    let first = &page["conversations"][0];
    assert_eq!(first["last_message"], two["message"]);
    assert_eq!(
        (&first["last_seq"], &first["last_read_seq"], &first["unread_count"]),
        (&json!(2), &json!(0), &json!(2))
    );
    assert_eq!(first["member_ids"], json!(["alice", "bob"]));
    assert_eq!(page["conversations"][1]["last_message"], Value::Null);
    let own = world.call("bob", list(None, 1, None)).await.unwrap().1;
    assert_eq!(own["conversations"][0]["unread_count"], 0, "sending reads");
}

#[tokio::test(start_paused = true)]
async fn pages_follow_one_another_whatever_is_written_between() {
    let world = World::new().await;
    let all = three(&world).await;
    let first = world.call("alice", list(None, 1, None)).await.unwrap().1;
    assert_eq!(ids(&first), [all[2].clone()]);
    let cursor = first["next_cursor"].as_str().unwrap();
    world.create("alice", "group", &[]).await;
    let second = world.call("alice", list(None, 1, Some(cursor))).await.unwrap().1;
    assert_eq!(ids(&second), [all[1].clone()]);
    let cursor = second["next_cursor"].as_str().unwrap();
    let third = world.call("alice", list(None, 1, Some(cursor))).await.unwrap().1;
    assert_eq!((ids(&third), &third["next_cursor"]), (vec![all[0].clone()], &Value::Null));
    assert_eq!(reason(world.call("alice", list(None, 1, Some("nonsense"))).await), "validation_failed");
}

#[tokio::test(start_paused = true)]
async fn what_was_shown_is_not_shown_again_where_a_replica_lags() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let before = rig.item(&keys::head(&rig.room)).await.unwrap();
    let group = create(json!({"type": "group", "member_ids": []}));
    let other = rig.call(0, "alice", group).await.unwrap().1["id"].clone();
    sleep(Duration::from_secs(1)).await;
    rig.send(0, "alice", "two").await.unwrap();
    sleep(Duration::from_secs(3)).await;

    let first = rig.call(0, "alice", list(None, 1, None)).await.unwrap().1;
    assert_eq!(ids(&first), std::slice::from_ref(&rig.room));
    rig.store.lag(before);
    let second = rig.call(0, "alice", list(None, 1, first["next_cursor"].as_str())).await.unwrap().1;
    assert_eq!((&second["conversations"][0]["id"], &second["next_cursor"]), (&other, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_service_names_whose_list_it_reads() {
    let world = World::new().await;
    three(&world).await;
    assert_eq!(ids(&world.call("service", list(Some("bob"), 50, None)).await.unwrap().1).len(), 3);
    assert_eq!(reason(world.call("service", list(None, 50, None)).await), "validation_failed");
    assert_eq!(reason(world.call("bob", list(Some("alice"), 50, None)).await), "forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_conversation_left_is_listed_no_more_and_one_joined_counts_from_then() {
    let world = World::new().await;
    let all = three(&world).await;
    world.call("bob", remove(&all[1], "bob")).await.unwrap();
    let page = world.call("bob", list(None, 50, None)).await.unwrap().1;
    assert_eq!(ids(&page), [all[2].clone(), all[0].clone()]);
    world.send("alice", &all[1], "one").await;
    sleep(Duration::from_secs(3)).await;
    world.call("alice", add(&all[1], "bob")).await.unwrap();
    let page = world.call("bob", list(None, 1, None)).await.unwrap().1;
    let first = &page["conversations"][0];
    assert_eq!(ids(&page), [all[1].clone()]);
    assert_eq!((&first["last_read_seq"], &first["unread_count"]), (&json!(1), &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_nobody_raised_is_raised_by_who_lists() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    rig.workers[0].stop();
    rig.call(1, "bob", list(None, 50, None)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(rig.item(&keys::head(&rig.room)).await.is_none(), "it might still have come");
    rig.call(1, "bob", list(None, 50, None)).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let head: HeadDocument = rig.item(&keys::head(&rig.room)).await.unwrap().body.parse().unwrap();
    assert_eq!((head.last_seq, head.slot), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_page_fits_an_envelope() {
    let world = World::new().await;
    let text = "x".repeat(32 * 1024);
    for _ in 0..30 {
        let id = world.create("alice", "group", &[]).await;
        let payload = json!({"message_type": "text", "content": text, "client_random": 1});
        let push = Call::Push {
            conversation: Some(id),
            push: simurgh_protocol::Push::SendMessage,
            payload: simurgh_protocol::Raw::of(&payload),
        };
        world.call("alice", push).await.unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    let (mut cursor, mut pages) = (None::<String>, 0);
    loop {
        let page = world.call("alice", list(None, 50, cursor.as_deref())).await.unwrap().1;
        assert!(page.to_string().len() < simurgh_protocol::limits::ENVELOPE_BYTES);
        seen.extend(ids(&page));
        pages += 1;
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (30, 2));
}
