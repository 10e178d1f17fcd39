//! What a gateway does with what builds beside it say that it does not know: it drops or refuses it, and goes on.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use simurgh_backplane::{Bucket, BusError, subject};
use simurgh_protocol::{
    ConversationId, Raw, UserId,
    envelope::{
        self, Answer, Call, ConversationEnvelope, ConversationEvent, GatewayEnvelope, Success, WorkerAlive,
    },
};

use crate::testing::{self, Client, Served, settle, socket, told};

const ID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

fn id() -> ConversationId {
    ConversationId::new(ID).unwrap()
}

/// Alice's socket, on her own topic and in a conversation.
async fn alice(served: &Served) -> Client {
    testing::worker(served, |command| match command.call {
        Call::JoinUser => Ok((200, json!({"visible": [], "unread": []}))),
        Call::JoinConversation { .. } => {
            let head = json!({"conversation": ID, "last_seq": 0, "change_seq": 0, "members_version": 1});
            Ok((200, json!({"head": head, "response": {"last_seq": 0}})))
        }
        _ => Ok((200, json!([]))),
    })
    .await;
    let mut client = socket(served, "alice").await;
    for topic in ["user:alice".to_owned(), format!("conversation:{ID}")] {
        let reply = told(&mut client, &json!([topic, topic, topic, "phx_join", {}])).await;
        assert_eq!(reply[4]["status"], "ok", "{reply}");
    }
    client
}

/// The next event of this name; what came before it is in the second place.
async fn heard(client: &mut Client, event: &str) -> (Value, Vec<Value>) {
    let mut before = Vec::new();
    loop {
        let frame = client.next().await.unwrap().unwrap();
        let frame: Value = serde_json::from_str(frame.to_text().unwrap()).unwrap();
        if frame[3] == event {
            return (frame, before);
        }
        before.push(frame);
    }
}

/// The envelope as three kinds of other builds would have it: another version, another variant, another shape.
fn unknown(known: &Bytes, variant: &str) -> [Bytes; 3] {
    let text = std::str::from_utf8(known).unwrap();
    assert!(text.contains(variant), "{text}");
    [
        text.replacen(r#"{"v":1"#, r#"{"v":2"#, 1).into(),
        text.replacen(variant, r#"{"of_a_newer_build":"#, 1).into(),
        r#"{"v":1,"e":[1,2]}"#.into(),
    ]
}

fn typing(user: &str) -> Bytes {
    let payload = Raw::of(&json!({"user_id": user}));
    let event = ConversationEvent::Told { event: "typing_indicator".to_owned(), payload, except: None };
    envelope::encode(&ConversationEnvelope { members_version: 0, event })
}

#[tokio::test(start_paused = true)]
async fn what_a_conversation_hears_and_cannot_read_is_dropped() {
    let served = Served::new(&[]).await;
    let mut client = alice(&served).await;
    let subject = served.subjects.conversation(&id());
    for unread in unknown(&typing("unread"), r#"{"told":"#) {
        served.bus.publish(&subject, unread).await.unwrap();
    }
    served.bus.publish(&subject, typing("read")).await.unwrap();
    let (frame, before) = heard(&mut client, "typing_indicator").await;
    assert_eq!(frame[4]["user_id"], "read");
    assert!(before.iter().all(|frame| !frame.to_string().contains("unread")), "{before:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_hears_and_cannot_read_is_not_called_noted() {
    let served = Served::new(&[]).await;
    let mut client = alice(&served).await;
    let user = UserId::new("alice").unwrap();
    let entries = served.bus.get_many(Bucket::Presence, &[subject::user_filter(&user)]).await.unwrap();
    let subject = served.subjects.gateway(&entries[0].key.parts().pop().unwrap());
    let notice = |n: u64| {
        let (event, payload) = ("notification".to_owned(), Raw::of(&json!({ "n": n })));
        envelope::encode(&GatewayEnvelope::Told { users: vec![user.clone()], event, payload })
    };
    let second = Duration::from_secs(1);
    for unread in unknown(&notice(1), r#"{"told":"#) {
        let answer = served.bus.request(&subject, unread, second).await;
        assert_eq!(answer, Err(BusError::TimedOut), "whoever asked must not take it for noted");
    }
    assert_eq!(served.bus.request(&subject, notice(2), second).await, Ok(Bytes::new()));
    assert_eq!(heard(&mut client, "notification").await.0[4]["n"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_unavailable() {
    let served = Served::new(&[]).await;
    let mut client = alice(&served).await;
    // The only worker that is heard of, so the conversation's commands go to it.
    let mut commands = served.bus.subscribe(&served.subjects.worker("newer"), None).await.unwrap();
    let alive = envelope::encode(&WorkerAlive { id: "newer".to_owned(), leaving: false });
    served.bus.publish(&served.subjects.worker_heartbeats(), alive).await.unwrap();
    settle().await;

    let known = envelope::encode(&Answer::Ok(Success::ok(&json!({"seq": 7}))));
    let mut answers = unknown(&known, r#"{"ok":"#).to_vec();
    answers.push(known);
    let bus = std::sync::Arc::clone(&served.bus);
    tokio::spawn(async move {
        for answer in answers {
            let command = commands.next().await.unwrap();
            bus.publish(&command.reply_to.unwrap(), answer).await.unwrap();
        }
    });
    let topic = format!("conversation:{ID}");
    let mut replies = Vec::new();
    for n in ["a", "b", "c", "d"] {
        let payload = json!({"message_type": "text", "content": "x", "client_random": n});
        let reply = told(&mut client, &json!([topic, n, topic, "send_message", payload])).await;
        replies.push(reply[4].clone());
    }
    for refused in &replies[..3] {
        assert_eq!(
            (&refused["status"], &refused["response"]["reason"]),
            (&json!("error"), &json!("unavailable"))
        );
    }
    assert_eq!(replies[3], json!({"status": "ok", "response": {"seq": 7}}));
}
