use std::time::Duration;

use serde_json::json;
use simurgh_protocol::{Timestamp, envelope::Call};
use tokio::time::sleep;

use super::*;
use crate::fixture::{World, reason, user};

#[test]
fn what_is_read_is_not_named() {
    let active = Active {
        id: simurgh_protocol::ConversationId::new("c").unwrap(),
        at: Timestamp::default(),
        last_seq: 5,
        sender: Some(user("bob")),
        muted_until: None,
    };
    let count = |who: &str, position| {
        let member = MemberDocument::new(Timestamp::default(), position);
        let item = Item {
            key: keys::member(&active.id, &user(who)),
            version: 1,
            body: simurgh_protocol::Raw::of(&member),
            expires_at: None,
        };
        unread(&user(who), &active, Some(&item)).unwrap().map(|unread| unread.unread_count)
    };
    assert_eq!((count("alice", 5), count("alice", 6), count("alice", 2)), (None, None, Some(3)));
    assert_eq!(count("bob", 2), None, "what one sent oneself is read, wherever the position lags");
}

#[test]
fn anybody_may_have_any_number_of_followers() {
    let followers: Vec<UserId> = (0..VISIBLE + 9).map(|number| user(&format!("f{number:063}"))).collect();
    let visible = bounded([user("peer")].into_iter(), followers);
    assert_eq!(visible.len(), VISIBLE);
    assert!(visible.contains(&user("peer")));
    let joined = JoinedUser { visible, unread: Vec::new() };
    assert!(Success::ok(&joined).body.get().len() < limits::ENVELOPE_BYTES * 2 / 3);
}

#[tokio::test(start_paused = true)]
async fn a_join_says_whom_one_sees_and_what_is_unread() {
    let world = World::new().await;
    world.contact("bob", "alice", true).await.unwrap();
    world.contact("alice", "dave", true).await.unwrap();
    world.create("alice", "direct", &["carol"]).await;
    let read = world.create("alice", "group", &["bob"]).await;
    let unread = world.create("alice", "group", &["bob"]).await;
    world.send("alice", &read, "mine").await;
    world.send("bob", &unread, "one").await;
    world.send("bob", &unread, "two").await;
    sleep(Duration::from_secs(3)).await;
    let (status, joined) = world.call("alice", Call::JoinUser).await.unwrap();
    assert_eq!((status, &joined["visible"]), (200, &json!(["bob", "carol"])));
    let expected = json!([{"conversation_id": unread, "unread_count": 2, "last_seq": 2}]);
    assert_eq!(joined["unread"], expected);
    assert_eq!(world.call("dave", Call::JoinUser).await.unwrap().1["visible"], json!(["alice"]));
    assert_eq!(reason(world.call("service", Call::JoinUser).await), "validation_failed");
}

#[tokio::test(start_paused = true)]
async fn the_latest_are_named_first_and_no_more_than_there_is_room_for() {
    let world = World::new().await;
    let mut all = Vec::new();
    for _ in 0..limits::SYNC_UNREAD + 5 {
        let id = world.create("alice", "group", &["bob"]).await;
        world.send("bob", &id, "hello").await;
        sleep(Duration::from_millis(10)).await;
        all.push(id);
    }
    sleep(Duration::from_secs(3)).await;
    let joined = world.call("alice", Call::JoinUser).await.unwrap().1;
    let unread = joined["unread"].as_array().unwrap();
    assert_eq!(unread.len(), limits::SYNC_UNREAD);
    assert_eq!(unread[0]["conversation_id"], json!(all.last()));
}
