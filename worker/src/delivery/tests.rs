use std::time::Duration;

use serde_json::{Value, json};
use simurgh_protocol::{MessageId, Push, envelope::Call};
use tokio::time::sleep;

use crate::{
    fixture::{reason, remove},
    rig::Rig,
};

fn mark(rig: &Rig, push: Push, message: &Value) -> Call {
    rig.push(push, &json!({"message_id": message["message_id"]}))
}

async fn receipts(rig: &Rig, who: &str, message: &Value) -> Value {
    let message = MessageId::parse(message["message_id"].as_str().unwrap()).unwrap();
    let call = Call::Receipts { conversation: rig.room.clone(), message };
    rig.call(0, who, call).await.unwrap().1["receipts"].clone()
}

fn told(rig: &mut Rig) -> Vec<(Vec<String>, Value)> {
    let heard = rig.heard().into_iter().filter(|(_, event, _)| event == "delivery_receipt");
    heard.map(|(users, _, payload)| (users, payload)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_has_come_to_a_member_is_told_to_its_sender_once() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, one) = rig.send(0, "alice", "one").await.unwrap();
    let (_, two) = rig.send(0, "alice", "two").await.unwrap();
    let (_, reply) = rig.call(0, "bob", mark(&rig, Push::MarkAsDelivered, &two)).await.unwrap();
    assert_eq!(reply, json!({"marked_delivered": true, "last_delivered_seq": 2}));
    rig.workers[0].drain().await;
    let told_now = told(&mut rig);
    let [(users, payload)] = &told_now[..] else { panic!("{told_now:?}") };
    assert_eq!(users, &["alice"]);
    assert_eq!(
        *payload,
        json!({"conversation_id": "room", "message_id": two["message_id"], "seq": 2, "user_id": "bob",
            "at": payload["at"]})
    );
    // It never moves back, and nothing is told that is known.
    for message in [&one, &two] {
        let (_, reply) = rig.call(0, "bob", mark(&rig, Push::MarkAsDelivered, message)).await.unwrap();
        assert_eq!(reply["last_delivered_seq"], 2);
    }
    assert_eq!(told(&mut rig), []);
    let unknown = json!({"message_id": MessageId::new(rig.env.now(), 9, 9)});
    assert_eq!(reason(rig.call(0, "bob", mark(&rig, Push::MarkAsDelivered, &unknown)).await), "not_found");
    assert_eq!(reason(rig.call(0, "mallory", mark(&rig, Push::MarkAsDelivered, &one)).await), "not_a_member");
}

#[tokio::test(start_paused = true)]
async fn receipts_say_who_has_got_and_read_a_message_and_when() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, one) = rig.send(0, "alice", "one").await.unwrap();
    let (_, two) = rig.send(0, "alice", "two").await.unwrap();
    let row = |user: &str, delivered: &Value, read: &Value| {
        json!({"user_id": user, "delivered": !delivered.is_null(), "delivered_at": delivered,
            "read": !read.is_null(), "read_at": read})
    };
    let (now, no) = (json!(rig.env.now()), Value::Null);
    rig.call(0, "bob", mark(&rig, Push::MarkAsDelivered, &one)).await.unwrap();
    assert_eq!(receipts(&rig, "alice", &one).await, json!([row("bob", &now, &no), row("carol", &no, &no)]));
    assert_eq!(receipts(&rig, "bob", &two).await, json!([row("bob", &no, &no), row("carol", &no, &no)]));
    sleep(Duration::from_secs(5)).await;
    let later = json!(rig.env.now());
    rig.call(0, "bob", mark(&rig, Push::MarkAsRead, &two)).await.unwrap();
    // Reading brings delivery along; of the first, delivery was earlier.
    assert_eq!(receipts(&rig, "alice", &one).await[0], row("bob", &now, &later));
    assert_eq!(receipts(&rig, "alice", &two).await[0], row("bob", &later, &later));
    let (_, reply) = rig.call(0, "bob", mark(&rig, Push::MarkAsDelivered, &two)).await.unwrap();
    assert_eq!(reply["last_delivered_seq"], 2);
    rig.workers[0].drain().await;
    assert_eq!(told(&mut rig).len(), 1, "who reads a message has told so by that");
    // Of what lies behind the last move, the time is forgotten; that it was is not.
    sleep(Duration::from_secs(5)).await;
    let (_, three) = rig.send(0, "alice", "three").await.unwrap();
    rig.call(0, "bob", mark(&rig, Push::MarkAsRead, &three)).await.unwrap();
    let row = &receipts(&rig, "service", &two).await[0];
    assert_eq!((&row["read"], &row["read_at"]), (&json!(true), &no));
    rig.call(0, "service", remove(&rig.room, "carol")).await.unwrap();
    assert_eq!(receipts(&rig, "alice", &three).await.as_array().unwrap().len(), 1, "members only");
}

#[tokio::test(start_paused = true)]
async fn a_receipt_for_a_message_that_is_hidden_or_deleted_is_like_any_other() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, one) = rig.send(0, "alice", "one").await.unwrap();
    let gone = |for_everyone: bool| json!({"message_id": one["message_id"], "for_everyone": for_everyone});
    rig.call(0, "bob", rig.push(Push::DeleteMessage, &gone(false))).await.unwrap();
    rig.call(0, "bob", mark(&rig, Push::MarkAsDelivered, &one)).await.unwrap();
    rig.call(0, "alice", rig.push(Push::DeleteMessage, &gone(true))).await.unwrap();
    rig.call(0, "carol", mark(&rig, Push::MarkAsDelivered, &one)).await.unwrap();
    rig.workers[0].drain().await;
    assert_eq!(told(&mut rig).len(), 2);
    let rows = receipts(&rig, "alice", &one).await;
    assert!(rows.as_array().unwrap().iter().all(|row| row["delivered"] == true), "{rows}");
}

#[tokio::test(start_paused = true)]
async fn who_answers_has_read_what_came_before_and_not_earlier() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, one) = rig.send(0, "alice", "one").await.unwrap();
    rig.call(0, "bob", mark(&rig, Push::MarkAsRead, &one)).await.unwrap();
    let (_, two) = rig.send(0, "alice", "two").await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let answered = rig.env.now();
    rig.send(0, "bob", "three").await.unwrap();
    let row = receipts(&rig, "alice", &two).await[0].clone();
    assert_eq!(
        (&row["read"], &row["read_at"]),
        (&json!(true), &Value::Null),
        "before its position is written"
    );
    sleep(Duration::from_secs(3)).await;
    let row = receipts(&rig, "alice", &two).await[0].clone();
    assert!(row["read_at"].as_str().unwrap() >= answered.to_string().as_str(), "{row}");
}
