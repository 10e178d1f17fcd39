//! Sends as they go well: one order, several in a slot, told and answered.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use simurgh_protocol::{
    Push, Raw,
    envelope::{Call, ConversationEvent, HistoryPage},
};

use crate::{
    fixture::{add, reason, remove},
    log::{HeadDocument, slot::SLOT_MESSAGES},
    members::MemberDocument,
    rig::{MEMBERS, Rig},
    store::keys,
};

#[tokio::test(start_paused = true)]
async fn a_send_is_stored_told_and_answered() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let payload = json!({"message_type": "media", "content": "héllo", "client_random": 42,
        "metadata": {"z": 1, "a": [1, 2.50]}});
    let (status, reply) = rig.call(0, "alice", rig.push(Push::SendMessage, &payload)).await.unwrap();
    assert_eq!(status, 201);
    let id = reply["message_id"].as_str().unwrap();
    let message = json!({"id": id, "conversation_id": "room", "seq": 1, "sender_id": "alice",
        "message_type": "media", "content": "héllo", "metadata": {"z": 1, "a": [1, 2.5]}, "client_random": 42,
        "reply_to_id": null, "sent_at": rig.env.now()});
    let expected =
        json!({"message_id": id, "seq": 1, "sent_at": rig.env.now(), "message": message, "duplicate": false});
    assert_eq!(reply, expected);

    tokio::time::sleep(Duration::from_millis(1)).await;
    let told = rig.told();
    let ConversationEvent::Messages(messages) = &told[0].event else { panic!("{told:?}") };
    assert_eq!((told.len(), messages.len(), messages[0].seq), (1, 1, 1));
    assert_eq!(messages[0].payload.parse::<Value>().unwrap(), message);
    let heard = rig.heard();
    assert_eq!(heard, [(MEMBERS.map(str::to_owned).to_vec(), "new_message".to_owned(), message)]);
}

#[tokio::test(start_paused = true)]
async fn concurrent_sends_through_two_workers_are_one_order_without_a_gap() {
    let mut rig = Rig::new(2, Duration::from_millis(10), 7).await;
    let sends = (0..60).map(|n| {
        let (rig, name) = (&rig, format!("m{n}"));
        async move { rig.send(n % 2, MEMBERS[n % 3], &name).await.unwrap() }
    });
    let replies = join_all(sends).await;
    let log = rig.log().await;
    assert_eq!(log.len(), 60);
    for (n, (status, reply)) in replies.iter().enumerate() {
        let stored = &log[usize::try_from(reply["seq"].as_u64().unwrap()).unwrap() - 1];
        assert_eq!((*status, stored.content.clone()), (201, format!("m{n}")));
        assert_eq!(reply["message_id"], json!(stored.id));
    }
    assert!(rig.slots().await.len() < 30, "messages that wait together share a slot");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut told = rig.told_messages();
    told.sort_unstable();
    assert_eq!(told, (1..=60).collect::<Vec<u64>>(), "each once");
    let mut heard = rig.heard_messages();
    heard.sort_unstable();
    assert_eq!(heard, (1..=60).collect::<Vec<u64>>(), "each once");
}

#[tokio::test(start_paused = true)]
async fn one_lane_tells_in_the_order_of_the_log() {
    let mut rig = Rig::new(1, Duration::from_millis(10), 3).await;
    let names: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
    join_all(names.iter().map(|name| rig.send(0, "alice", name))).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.told_messages(), (1..=50).collect::<Vec<u64>>());
    assert_eq!(rig.heard_messages(), (1..=50).collect::<Vec<u64>>());
    assert!(rig.slots().await.iter().all(|slot| slot.messages.len() <= SLOT_MESSAGES));
    // Claims and slots: no more than two plain writes a message.
    assert!(rig.store.count("k#") == 50 && rig.store.count("l#") <= 5);
}

#[tokio::test(start_paused = true)]
async fn only_members_send_and_a_removal_holds_for_what_starts_later() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    assert_eq!(reason(rig.send(0, "mallory", "x").await), "not_a_member");
    rig.send(0, "carol", "in").await.unwrap();
    rig.send(1, "carol", "in too").await.unwrap();
    assert_eq!(
        rig.call(0, "alice", remove(&rig.room, "carol")).await.map_err(|r| r.reason.as_str()).unwrap_err(),
        "forbidden"
    );
    rig.call(0, "service", remove(&rig.room, "carol")).await.unwrap();
    for worker in 0..2 {
        assert_eq!(reason(rig.send(worker, "carol", "out").await), "not_a_member");
    }
    assert_eq!(rig.store.count("k#room#carol"), 2, "no claim for what is refused");
    rig.call(1, "bob", add(&rig.room, "carol")).await.unwrap();
    rig.send(0, "carol", "in again").await.unwrap();
    let nowhere = Call::PostMessage {
        conversation: simurgh_protocol::ConversationId::new("nowhere").unwrap(),
        body: Raw::of(
            &json!({"message_type": "system", "content": "x", "client_random": 1, "sender_id": "bot"}),
        ),
    };
    assert_eq!(reason(rig.call(0, "alice", nowhere.clone()).await), "not_a_member");
    assert_eq!(reason(rig.call(0, "service", nowhere).await), "not_found");
}

#[tokio::test(start_paused = true)]
async fn an_answer_names_a_message_of_this_conversation() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, first) = rig.send(0, "alice", "first").await.unwrap();
    let answer = |id: &Value| {
        let payload = json!({"message_type": "text", "content": "x", "client_random": 9, "reply_to_id": id});
        rig.push(Push::SendMessage, &payload)
    };
    let unknown = json!("00000000-0000-8000-8000-000000000000");
    assert_eq!(reason(rig.call(0, "bob", answer(&unknown)).await), "validation_failed");
    assert_eq!(reason(rig.call(0, "mallory", answer(&unknown)).await), "not_a_member");
    assert_eq!(reason(rig.call(0, "mallory", answer(&first["message_id"])).await), "not_a_member");
    let (_, reply) = rig.call(0, "bob", answer(&first["message_id"])).await.unwrap();
    assert_eq!(reply["message"]["reply_to_id"], first["message_id"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_shows_whom_it_answers_and_how_that_begins() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let long = "é".repeat(300);
    let (_, first) = rig.send(0, "alice", "short").await.unwrap();
    let (_, second) = rig.call(0, "alice", rig.text("long", &long)).await.unwrap();
    rig.told();
    let answer = |name: &str, to: &Value| {
        let payload = json!({"message_type": "text", "content": "x", "client_random": name,
            "reply_to_id": to["message_id"]});
        rig.push(Push::SendMessage, &payload)
    };
    let (to_first, to_second) = (answer("a", &first), answer("b", &second));
    let quote = |of: &Value, preview: &str| {
        json!({"id": of["message_id"], "seq": of["seq"], "sender_id": "alice",
        "message_type": "text", "preview": preview})
    };
    let wanted = [quote(&first, "short"), quote(&second, &"é".repeat(100))];
    for (call, wanted) in [to_first.clone(), to_second].into_iter().zip(&wanted) {
        let (_, reply) = rig.call(0, "bob", call).await.unwrap();
        assert_eq!(reply["message"]["reply_to"], *wanted);
    }
    for envelope in rig.told() {
        let ConversationEvent::Messages(messages) = envelope.event else { continue };
        let message: Value = messages[0].payload.parse().unwrap();
        assert_eq!(message["reply_to"], wanted[messages[0].seq as usize - 3]);
    }
    // Both on the page and behind it, in a repeat, and in the list.
    for after_seq in [0, 2] {
        let page = HistoryPage { before_seq: None, after_seq: Some(after_seq), limit: 50, since: None };
        let history = Call::History { conversation: rig.room.clone(), page };
        let (_, page) = rig.call(0, "carol", history).await.unwrap();
        let shown = page["messages"].as_array().unwrap();
        let quotes: Vec<_> = shown.iter().filter_map(|message| message.get("reply_to")).collect();
        assert_eq!(quotes, [&wanted[0], &wanted[1]], "{shown:?}");
    }
    let (_, again) = rig.call(0, "bob", to_first).await.unwrap();
    assert_eq!((&again["duplicate"], &again["message"]["reply_to"]), (&json!(true), &wanted[0]));
    let list = Call::ListConversations { user: None, limit: 1, cursor: None };
    let (_, list) = rig.call(0, "bob", list).await.unwrap();
    assert_eq!(list["conversations"][0]["last_message"]["reply_to"], wanted[1]);
}

#[tokio::test(start_paused = true)]
async fn a_second_after_a_burst_the_head_is_written_and_repeated() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    for name in ["one", "two"] {
        rig.send(0, "alice", name).await.unwrap();
    }
    rig.send(0, "bob", "three").await.unwrap();
    assert!(rig.item(&keys::head(&rig.room)).await.is_none());
    rig.told();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let head: HeadDocument = rig.item(&keys::head(&rig.room)).await.unwrap().body.parse().unwrap();
    assert_eq!((head.last_seq, head.slot, head.change_seq), (3, 3, 0));
    assert_eq!(head.sender_id.unwrap().as_str(), "bob");
    let told = rig.told();
    let ConversationEvent::Head(head) = &told[0].event else { panic!("{told:?}") };
    assert_eq!((told.len(), head.last_seq, head.members_version), (1, 3, 1));
    for (who, position) in [("alice", 2), ("bob", 3), ("carol", 0)] {
        assert_eq!(position_of(&rig, who).await, position, "{who}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_drains_writes_the_head_at_once() {
    let rig = Rig::new(1, Duration::from_millis(5), 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    let before = rig.env.instant();
    rig.workers[0].drain().await;
    assert!(rig.env.instant() - before < Duration::from_millis(200));
    assert!(rig.item(&keys::head(&rig.room)).await.is_some());
    assert_eq!(position_of(&rig, "alice").await, 1);
}

async fn position_of(rig: &Rig, who: &str) -> u64 {
    let key = keys::member(&rig.room, &simurgh_protocol::UserId::new(who).unwrap());
    rig.item(&key).await.unwrap().body.parse::<MemberDocument>().unwrap().last_read_seq
}
