use serde_json::{Value, json};
use simurgh_backplane::Bus as _;
use simurgh_protocol::{
    Push, Raw,
    envelope::{Call, ChannelHere, ChannelState, SocketHere},
};
use uuid::Uuid;

use super::*;
use crate::fixture::{World, add, reason, remove, user};

/// Alice and bob in a group, and the reply to a message of alice's.
async fn world() -> (World, ConversationId, Value) {
    let world = World::new().await;
    let room = world.create("alice", "group", &["bob"]).await;
    let sent = world.send("alice", &room, "hello").await;
    (world, room, sent)
}

fn delivery(room: &ConversationId, sent: &Value, of: &str) -> Call {
    let message = MessageId::parse(sent["message_id"].as_str().unwrap()).unwrap();
    Call::Delivery { conversation: room.clone(), message, user: user(of) }
}

async fn ask(world: &World, room: &ConversationId, sent: &Value, of: &str) -> Value {
    let (status, answer) = world.call("service", delivery(room, sent, of)).await.unwrap();
    assert_eq!(status, 200);
    answer
}

/// A gateway with a lease that answers every question so, or never.
async fn gateway(world: &World, name: &'static str, says: Option<SocketsHere>) {
    world.bus.put(Bucket::Leases, &subject::lease_key(name), Vec::new().into()).await.unwrap();
    let mut inbox = world.bus.subscribe(&world.worker.subjects.gateway(name), None).await.unwrap();
    let bus = std::sync::Arc::clone(&world.bus);
    tokio::spawn(async move {
        while let Some(asked) = inbox.next().await {
            let GatewayEnvelope::Sockets { conversation, user } = envelope::decode(&asked.payload).unwrap()
            else {
                panic!("nothing else is asked")
            };
            assert!(!conversation.as_str().is_empty() && user.as_str() == "bob");
            if let Some(says) = &says {
                bus.publish(&asked.reply_to.unwrap(), envelope::encode(says)).await.unwrap();
            }
        }
    });
}

fn joined(seq: u64) -> SocketsHere {
    let channel = ChannelHere { joined_seq: 0, queued_seq: seq, sent_seq: seq, state: ChannelState::Open };
    let transport = "websocket".to_owned();
    let socket = SocketHere { session_id: Uuid::nil(), transport, unsent_bytes: 5, channel: Some(channel) };
    SocketsHere { sockets: vec![socket], heard_seq: seq, ..SocketsHere::default() }
}

#[tokio::test(start_paused = true)]
async fn what_the_store_and_the_gateways_know_is_put_together() {
    let (world, room, sent) = world().await;
    gateway(&world, "g2", Some(joined(1))).await;
    gateway(&world, "g3", Some(SocketsHere::default())).await;
    let expected = json!({
        "conversation_id": room, "message_id": sent["message_id"], "user_id": "bob",
        "stored": {"at": sent["sent_at"], "seq": 1},
        "deleted": false, "hidden": false,
        "member": {"then": true, "now": true},
        "last_read_seq": 0, "last_delivered_seq": 0,
        "verdict": "delivered", "reason": "sent",
        "sockets": [{
            "gateway": "g2", "session_id": Uuid::nil(), "transport": "websocket", "last_seq": 1, "unsent_bytes": 5,
            "verdict": "delivered", "reason": "sent",
        }],
        "gateways": [{"id": "g2", "state": "answered"}],
        "partial": false,
    });
    assert_eq!(ask(&world, &room, &sent, "bob").await, expected);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_named_within_a_second() {
    let (world, room, sent) = world().await;
    gateway(&world, "g2", Some(joined(1))).await;
    gateway(&world, "g3", None).await;
    // It died, and has its lease yet.
    world.bus.put(Bucket::Leases, &subject::lease_key("g4"), Vec::new().into()).await.unwrap();
    // It died long ago, and nobody tidied up behind it.
    let left = envelope::encode(&UserPresence::default());
    world.bus.put(Bucket::Presence, &subject::user_key(&user("bob"), "g5"), left).await.unwrap();
    let began = world.worker.env.instant();
    let answer = ask(&world, &room, &sent, "bob").await;
    assert_eq!(world.worker.env.instant() - began, GATEWAYS);
    let states = json!([
        {"id": "g2", "state": "answered"}, {"id": "g3", "state": "silent"}, {"id": "g4", "state": "unreachable"},
        {"id": "g5", "state": "gone"},
    ]);
    assert_eq!((&answer["gateways"], &answer["partial"]), (&states, &json!(true)));
    assert_eq!((&answer["verdict"], &answer["reason"]), (&json!("delivered"), &json!("sent")));
    let gone = &answer["sockets"][1];
    assert_eq!((&gone["gateway"], &gone["reason"]), (&json!("g5"), &json!("socket_gone")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_counts_as_none() {
    let (mut world, room, sent) = world().await;
    // The fixture's gateway notes everything, and has nothing to say.
    world.connect("bob", &["ref-1", "ref-2"], None).await;
    world.heard();
    let answer = ask(&world, &room, &sent, "bob").await;
    assert_eq!(answer["gateways"], json!([{"id": "g1", "state": "silent"}]));
    assert_eq!((&answer["verdict"], &answer["reason"]), (&json!("unknown"), &json!("gateway_silent")));
    assert_eq!(answer["sockets"].as_array().unwrap().len(), 2, "as many as its presence entry names");
}

#[tokio::test(start_paused = true)]
async fn members_then_and_now_and_what_they_read() {
    let (world, room, sent) = world().await;
    let of = async |who: &str, sent: &Value| {
        let answer = ask(&world, &room, sent, who).await;
        (answer["member"].clone(), answer["last_read_seq"].clone(), answer["reason"].clone())
    };
    let member = |then: Value, now| json!({"then": then, "now": now});
    assert_eq!(
        of("alice", &sent).await,
        (member(json!(true), true), json!(1), json!("read")),
        "who sends reads"
    );
    assert_eq!(of("carol", &sent).await, (member(json!(false), false), Value::Null, json!("not_a_member")));
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.call("service", add(&room, "carol")).await.unwrap();
    assert_eq!(of("carol", &sent).await, (member(json!(false), true), json!(1), json!("no_socket")));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = world.send("alice", &room, "carol is here").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.call("service", remove(&room, "carol")).await.unwrap();
    assert_eq!(of("carol", &second).await, (member(json!(true), false), Value::Null, json!("not_a_member")));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let third = world.send("alice", &room, "carol is not").await;
    assert_eq!(of("carol", &third).await.0, member(json!(false), false));
    world.call("service", remove(&room, "carol")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.call("service", add(&room, "carol")).await.unwrap();
    assert_eq!(
        of("carol", &second).await,
        (member(json!(true), true), json!(3), json!("no_socket")),
        "back, and a member then, but the position began at the log's end since"
    );
    assert_eq!(of("carol", &third).await.0, member(json!(false), true));
    assert_eq!(of("carol", &sent).await.0, member(Value::Null, true), "that is not known any more");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_said_that_it_got_and_what_is_deleted_or_hidden_is_told() {
    let (world, room, sent) = world().await;
    let of = async || {
        let answer = ask(&world, &room, &sent, "bob").await;
        ["last_read_seq", "last_delivered_seq", "verdict", "reason", "deleted", "hidden"]
            .map(|field| answer[field].clone())
    };
    let push = async |what, payload: Value| {
        let payload = Raw::of(&payload);
        let call = Call::Push { conversation: Some(room.clone()), push: what, payload };
        world.call("bob", call).await.unwrap()
    };
    let message_id = &sent["message_id"];
    push(Push::MarkAsDelivered, json!({"message_id": message_id})).await;
    let delivered = |deleted, hidden| {
        [json!(0), json!(1), json!("delivered"), json!("received"), json!(deleted), json!(hidden)]
    };
    assert_eq!(of().await, delivered(false, false));
    push(Push::DeleteMessage, json!({"message_id": message_id, "for_everyone": false})).await;
    assert_eq!(of().await, delivered(false, true));
    let message = MessageId::parse(message_id.as_str().unwrap()).unwrap();
    let delete = Call::DeleteMessage { conversation: room.clone(), message, for_everyone: true };
    world.call("alice", delete).await.unwrap();
    assert_eq!(of().await[4], json!(true), "and what is left of it is told");
}

#[tokio::test(start_paused = true)]
async fn users_may_not_ask_and_what_is_not_there_is_not_found() {
    let (world, room, sent) = world().await;
    assert_eq!(reason(world.call("bob", delivery(&room, &sent, "bob")).await), "forbidden");
    let nowhere = ConversationId::new("nowhere").unwrap();
    assert_eq!(reason(world.call("service", delivery(&nowhere, &sent, "bob")).await), "not_found");
    let later = MessageId::new(world.worker.env.now(), 2, 0);
    let same_place = MessageId::new(world.worker.env.now(), 1, 0);
    for message in [later, same_place] {
        let call = Call::Delivery { conversation: room.clone(), message, user: user("bob") };
        assert_eq!(reason(world.call("service", call).await), "not_found");
    }
    world.bus.disconnect();
    assert_eq!(reason(world.call("service", delivery(&room, &sent, "bob")).await), "unavailable");
}
