//! What dies with a worker, and who finds it.

use std::time::Duration;

use serde_json::{Value, json};
use simurgh_protocol::{
    ConversationId, Push, UserId,
    envelope::{Call, Range},
};
use tokio::time::sleep;

use crate::{fixture::create, log::HeadDocument, members::MemberDocument, rig::Rig, store::keys};

async fn position(rig: &Rig, who: &str) -> u64 {
    let key = keys::member(&rig.room, &UserId::new(who).unwrap());
    rig.item(&key).await.unwrap().body.parse::<MemberDocument>().unwrap().last_read_seq
}

/// `(last_read_seq, unread_count)` of the room in `who`'s list.
async fn listed(rig: &Rig, worker: usize, who: &str) -> (u64, u64) {
    let list = Call::ListConversations { user: None, limit: 50, cursor: None };
    let (_, page) = rig.call(worker, who, list).await.unwrap();
    let number = |field: &str| page["conversations"][0][field].as_u64().unwrap();
    (number("last_read_seq"), number("unread_count"))
}

async fn heads(rig: &Rig, worker: usize, ids: &[&str]) -> Value {
    let conversations = ids.iter().map(|id| ConversationId::new(id).unwrap()).collect();
    rig.call(worker, "service", Call::Heads { conversations }).await.unwrap().1
}

#[tokio::test(start_paused = true)]
async fn ones_own_message_is_read_though_the_worker_died_that_was_to_write_so() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    rig.send(0, "bob", "one").await.unwrap();
    rig.send(0, "alice", "two").await.unwrap();
    rig.workers[0].stop();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(listed(&rig, 1, "alice").await, (2, 0));
    assert_eq!(position(&rig, "alice").await, 0, "so it is stored for good, unless somebody looks");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        (position(&rig, "alice").await, position(&rig, "bob").await),
        (2, 1),
        "who lists has it repaired"
    );
    assert_eq!(listed(&rig, 1, "bob").await, (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stored_head_that_lags_is_raised_with_the_positions_behind_it() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    for (who, name) in [("bob", "two"), ("carol", "three"), ("bob", "four")] {
        rig.send(0, who, name).await.unwrap();
    }
    rig.workers[0].stop();
    heads(&rig, 1, &["room"]).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(position(&rig, "bob").await, 0, "it might still have come");
    sleep(Duration::from_secs(1)).await;
    heads(&rig, 1, &["room"]).await;
    sleep(Duration::from_secs(2)).await;
    let head: HeadDocument = rig.item(&keys::head(&rig.room)).await.unwrap().body.parse().unwrap();
    assert_eq!((head.last_seq, head.sender_id), (4, UserId::new("bob").ok()));
    let positions =
        (position(&rig, "alice").await, position(&rig, "bob").await, position(&rig, "carol").await);
    assert_eq!(positions, (1, 4, 3));
    let (_, joined) = rig.call(1, "carol", Call::JoinUser).await.unwrap();
    assert_eq!(joined["unread"], json!([{"conversation_id": "room", "unread_count": 1, "last_seq": 4}]));
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_cannot_be_read_hides_no_other_ones_head() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let body = json!({"id": "other", "type": "group", "member_ids": ["alice"]});
    rig.call(0, "service", create(body)).await.unwrap();
    rig.store.unreadable(|query| query.pk == "l#room");
    let other = json!([{"conversation": "other", "last_seq": 0, "change_seq": 0, "members_version": 1}]);
    assert_eq!(heads(&rig, 0, &["room", "other"]).await, other);
}

#[tokio::test(start_paused = true)]
async fn a_range_tells_no_change_to_a_message_that_it_leaves_out() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    for n in 0..40 {
        rig.call(0, "alice", rig.text(&format!("m{n}"), &"x".repeat(30_000))).await.unwrap();
    }
    let log = rig.log().await;
    for seq in [1, 40, 2] {
        let payload = json!({"message_id": log[seq - 1].id, "reaction": "👍"});
        rig.call(0, "bob", rig.push(Push::AddReaction, &payload)).await.unwrap();
    }
    let (mut after_seq, mut after_change, mut told) = (0, 0, Vec::new());
    while after_seq < 40 {
        let call = Call::Range { conversation: rig.room.clone(), after_seq, after_change };
        let range: Range = serde_json::from_value(rig.call(0, "service", call).await.unwrap().1).unwrap();
        after_seq = range.messages.last().unwrap().seq;
        assert!(range.changes.iter().all(|change| change.seq <= after_seq));
        after_change = range.changes.last().map_or(after_change, |last| last.change_seq);
        told.push(range.changes.iter().map(|change| change.change_seq).collect::<Vec<_>>());
    }
    assert_eq!(told, [vec![1], vec![2, 3]]);
}
