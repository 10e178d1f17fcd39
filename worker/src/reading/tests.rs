use std::time::Duration;

use serde_json::{Value, json};
use simurgh_protocol::{ConversationId, Push, Raw, envelope::Call, record::ConversationType};

use crate::{
    document,
    fixture::{remove, user},
    members::{MemberDocument, MemberState, MembershipDocument},
    rig::Rig,
    store::{Expect, Store, keys},
};

fn mark_all() -> Call {
    Call::Push { conversation: None, push: Push::MarkAllRead, payload: Raw::of(&json!({})) }
}

/// Whom was told what on their own topics.
async fn heard(rig: &mut Rig) -> Vec<(Vec<String>, String)> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    rig.heard().into_iter().map(|(users, event, _)| (users, event)).collect()
}

fn of(who: &str, event: &str) -> (Vec<String>, String) {
    (vec![who.to_owned()], event.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_cannot_be_made_does_not_hide_that_the_position_moved() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    heard(&mut rig).await;
    rig.store.unreadable(|query| query.pk == "l#room" && query.limit > 1);
    let (_, answer) = rig.call(0, "bob", mark_all()).await.unwrap();
    let expected = json!({"results": [{"conversation_id": "room", "status": "ok", "last_read_seq": 1}]});
    assert_eq!(answer, expected);
    assert_eq!(heard(&mut rig).await, [of("bob", "conversation_updated")]);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_was_never_completed_is_not_named() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (half, bob, joined_at) = (ConversationId::new("half").unwrap(), user("bob"), rig.env.now());
    let state = MemberState::Member;
    let membership =
        MembershipDocument { state, kind: ConversationType::Group, joined_at, peer: None, muted_until: None };
    let member = MemberDocument { state, ..MemberDocument::new(joined_at, 0) };
    let writes = vec![
        document::write(keys::membership(&bob, &half), &membership, Expect::Absent),
        document::write(keys::member(&half, &bob), &member, Expect::Absent),
    ];
    rig.store.transact(writes).await.unwrap();
    let (_, answer) = rig.call(0, "bob", mark_all()).await.unwrap();
    let named: Vec<&Value> =
        answer["results"].as_array().unwrap().iter().map(|result| &result["conversation_id"]).collect();
    assert_eq!(named, [&json!("room")]);
}

#[tokio::test(start_paused = true)]
async fn who_left_is_told_of_no_more_receipts() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    for name in ["one", "two"] {
        let (_, sent) = rig.send(0, "alice", name).await.unwrap();
        heard(&mut rig).await;
        let mark = rig.push(Push::MarkAsRead, &json!({"message_id": sent["message_id"]}));
        rig.call(0, "bob", mark).await.unwrap();
        assert_eq!(heard(&mut rig).await, [of("alice", "read_receipt"), of("bob", "conversation_updated")]);
    }
    let (_, sent) = rig.send(0, "alice", "three").await.unwrap();
    rig.call(0, "service", remove(&rig.room, "alice")).await.unwrap();
    heard(&mut rig).await;
    let mark = rig.push(Push::MarkAsRead, &json!({"message_id": sent["message_id"]}));
    rig.call(0, "bob", mark).await.unwrap();
    assert_eq!(heard(&mut rig).await, [of("bob", "conversation_updated")]);
    rig.call(0, "carol", mark_all()).await.unwrap();
    assert_eq!(heard(&mut rig).await, [of("carol", "conversation_updated")]);
}
