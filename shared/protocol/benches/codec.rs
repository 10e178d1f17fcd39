//! The codec: a client's push read, a broadcast and a reply written, an envelope there and back. With allocations.
#![expect(clippy::unwrap_used, reason = "a bench ends where its ground is missing, as a test does")]

use divan::{Bencher, black_box};
use simurgh_protocol::{
    ConversationId, Frame, Push, Raw, Ref, Timestamp, UserId, Vsn,
    envelope::{self, Call, Command, ConversationEnvelope, ConversationEvent, Logged, Principal},
    frame,
};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const TOPIC: &str = "conversation:8a1f6c2e-94a5-4d5c-b0a1-5f3c3f9f9a01";
const BYTES: usize = 128;

fn main() {
    divan::main();
}

fn push() -> String {
    let content = "x".repeat(BYTES);
    format!(
        r#"["3","7","{TOPIC}","send_message",{{"message_type":"text","content":"{content}","metadata":{{}},"client_random":7}}]"#
    )
}

fn message() -> Raw {
    let content = "x".repeat(BYTES);
    let json = format!(
        r#"{{"id":"019b0000-0000-8000-8000-000000000001","conversation_id":"{}","seq":1,"sender_id":"alice","message_type":"text","content":"{content}","metadata":{{}},"client_random":7,"reply_to_id":null,"sent_at":"2026-01-01T00:00:00.000Z"}}"#,
        TOPIC.trim_start_matches("conversation:")
    );
    Raw::from_string(json).unwrap()
}

#[divan::bench]
fn push_read(bencher: Bencher) {
    let text = push();
    bencher.bench_local(|| Frame::decode(Vsn::V2, black_box(&text)).unwrap());
}

#[divan::bench]
fn broadcast_written(bencher: Bencher) {
    let payload = message();
    bencher.bench_local(|| frame::broadcast(Vsn::V2, TOPIC, "new_message", black_box(&payload)));
}

#[divan::bench]
fn reply_written(bencher: Bencher) {
    let (payload, join_ref, reference, topic) = (message(), Ref::text("3"), Ref::text("7"), TOPIC.into());
    bencher.bench_local(|| frame::reply(Vsn::V2, &join_ref, &reference, &topic, Ok(black_box(&payload))));
}

#[divan::bench]
fn command_there_and_back(bencher: Bencher) {
    let Frame { payload, .. } = Frame::decode(Vsn::V2, &push()).unwrap();
    let command = Command {
        id: uuid::Uuid::nil(),
        principal: Principal::User(UserId::new("alice").unwrap()),
        token: None,
        deadline: Timestamp::from_millis(1),
        call: Call::Push {
            conversation: Some(ConversationId::new("room").unwrap()),
            push: Push::SendMessage,
            payload,
        },
    };
    bencher.bench_local(|| {
        let bytes = envelope::encode(black_box(&command));
        envelope::decode::<Command>(&bytes).unwrap()
    });
}

#[divan::bench]
fn messages_there_and_back(bencher: Bencher) {
    let logged = Logged::new(1, message());
    let envelope =
        ConversationEnvelope { members_version: 1, event: ConversationEvent::Messages(vec![logged]) };
    bencher.bench_local(|| {
        let bytes = envelope::encode(black_box(&envelope));
        envelope::decode::<ConversationEnvelope>(&bytes).unwrap()
    });
}
