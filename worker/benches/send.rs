//! `send_message` in the worker, from the command to the answer: load, decide, commit, tell. The store and the bus are
//! memory, so what is measured is the worker's own work. With allocations.
#![expect(clippy::unwrap_used, reason = "a bench ends where its ground is missing, as a test does")]

use std::{sync::Arc, time::Duration};

use divan::Bencher;
use simurgh_backplane::{Bus as _, memory::MemoryBus, subject::Subjects};
use simurgh_env::Env;
use simurgh_protocol::{
    ConversationId, Push, Raw, UserId,
    envelope::{Answer, Call, Command, CreatePolicy, Principal},
};
use simurgh_worker::{Limits, Worker, metrics::Metrics, store::memory::MemoryStore};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const WITHIN: Duration = Duration::from_secs(5);

fn main() {
    divan::main();
}

fn ask(runtime: &Runtime, worker: &Worker, principal: Principal, call: Call) {
    let (id, deadline) = (worker.env.uuid(), worker.env.now().plus(WITHIN));
    let answer = runtime.block_on(worker.answer(Command { id, principal, token: None, deadline, call }));
    assert!(matches!(answer, Answer::Ok(_)), "{answer:?}");
}

/// A worker with a conversation of so many members.
fn rigged(runtime: &Runtime, members: usize) -> (Worker, ConversationId) {
    let worker = runtime.block_on(async {
        let env = Env::system();
        let bus = Arc::new(MemoryBus::new(env.clone()));
        bus.ensure_buckets().await.unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        Worker::new(
            bus,
            Arc::new(MemoryStore::new()),
            env,
            Subjects::new("bench"),
            Limits::default(),
            metrics,
        )
    });
    let names: Vec<_> = (0..members).map(|index| format!("u{index}")).collect();
    let body = Raw::of(&serde_json::json!({"id": "room", "type": "group", "member_ids": names}));
    let create = Call::CreateConversation { policy: CreatePolicy::Users, body };
    ask(runtime, &worker, Principal::Service, create);
    (worker, ConversationId::new("room").unwrap())
}

#[divan::bench(args = [2, 20, 1_000])]
fn send_message(bencher: Bencher, members: usize) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (worker, room) = rigged(&runtime, members);
    let (user, content) = (UserId::new("u0").unwrap(), "x".repeat(128));
    let mut random = 0;
    bencher.bench_local(|| {
        random += 1;
        let payload = format!(
            r#"{{"message_type":"text","content":"{content}","metadata":{{}},"client_random":{random}}}"#
        );
        let payload = Raw::from_string(payload).unwrap();
        let push = Call::Push { conversation: Some(room.clone()), push: Push::SendMessage, payload };
        ask(&runtime, &worker, Principal::User(user.clone()), push);
    });
    worker.stop();
}
