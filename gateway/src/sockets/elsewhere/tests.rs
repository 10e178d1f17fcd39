use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use simurgh_protocol::{
    Timestamp,
    envelope::{Call, PresenceMeta},
};

use super::*;
use crate::testing::{self, Client, Heard, Served, exchange, socket, told};

const UPGRADE: &str = "host: x\nupgrade: websocket\nconnection: Upgrade\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n";

/// A worker for joins of the user topic.
async fn worker(served: &Served) {
    testing::worker(served, |command| match command.call {
        Call::JoinUser => Ok((200, json!({"visible": [], "unread": []}))),
        _ => Ok((200, json!({}))),
    })
    .await;
}

/// A socket of alice's that has joined her topic.
async fn online(served: &Served) -> Client {
    let mut client = socket(served, "alice").await;
    let reply = told(&mut client, &json!(["1", "1", "user:alice", "phx_join", {}])).await;
    assert_eq!(reply[4]["status"], "ok", "{reply}");
    client
}

/// Asks for one more, and leaves at once where there is one.
async fn one_more(served: &Served) -> Heard {
    let token = testing::user_token(&served.env, "alice");
    let request = format!("GET /socket/websocket?token={token} HTTP/1.1\n{UPGRADE}\n");
    exchange(&mut served.connect().await, &request).await
}

#[tokio::test(start_paused = true)]
async fn a_users_sockets_are_counted_on_all_gateways() {
    let first = Served::new(&["--max-sockets-per-user=3"]).await;
    worker(&first).await;
    let second = first.beside(&["--max-sockets-per-user=3"]).await;
    let (on_first, on_second) = (online(&first).await, online(&second).await);
    let third = online(&first).await;
    for served in [&first, &second] {
        let heard = one_more(served).await;
        assert_eq!((heard.status, heard.header("retry-after")), (429, Some("1")));
        assert_eq!(heard.json()["error"]["reason"], "rate_limit_exceeded");
    }
    // Once one has gone there is room, long before its user would count as gone.
    drop(third);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(one_more(&second).await.status, 101);
    drop((on_first, on_second));
}

fn entry(sockets: usize) -> bytes::Bytes {
    let meta = |number: usize| PresenceMeta {
        user: UserId::new("alice").unwrap(),
        phx_ref: number.to_string(),
        phx_ref_prev: None,
        online_at: Timestamp::default(),
    };
    envelope::encode(&UserPresence {
        chosen: None,
        metas: (0..sockets).map(meta).collect(),
        dropped: 0,
        watchers: 0,
    })
}

#[tokio::test(start_paused = true)]
async fn a_gateway_without_a_lease_and_a_silent_backplane_count_for_nothing() {
    let (served, _, silent) = Served::watched(&["--max-sockets-per-user=3"]).await;
    let alice = UserId::new("alice").unwrap();
    let put = |gateway: &str, value| {
        let key = subject::user_key(&alice, gateway);
        let bus = std::sync::Arc::clone(&served.bus);
        async move { bus.put(Bucket::Presence, &key, value).await.unwrap() }
    };
    put("dead", entry(50)).await;
    put("junk", "junk".into()).await;
    assert_eq!(one_more(&served).await.status, 101);

    served.bus.put(Bucket::Leases, &subject::lease_key("alive"), "".into()).await.unwrap();
    put("alive", entry(3)).await;
    assert_eq!(one_more(&served).await.status, 429);
    silent.store(true, Ordering::SeqCst);
    let asked = testing::now();
    assert_eq!(one_more(&served).await.status, 101);
    assert_eq!(asked.elapsed().as_millis(), PATIENCE.as_millis());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_costs_no_backplane_traffic() {
    let once = ["--rate-messages=1:1", "--rate-typing=1:1", "--rate-joins=1:2", "--rate-pushes=1:1"];
    let rest = ["--max-sockets-per-user=1", "--rate-connects-per-address=0", "--max-frame-bytes=2048"];
    let (served, calls, _) = Served::watched(&[&once[..], &rest[..]].concat()).await;
    worker(&served).await;
    let mut client = online(&served).await;
    told(&mut client, &json!(["2", "2", "conversation:c1", "phx_join", {}])).await;
    let spend = ["mark_all_read"].map(|event| json!(["1", "3", "user:alice", event, {}]));
    for frame in &spend {
        told(&mut client, frame).await;
    }
    testing::settle().await;
    let before = calls.load(Ordering::SeqCst);
    let started = testing::now();
    for turn in 0..20 {
        for frame in [
            json!(["1", turn.to_string(), "user:alice", "mark_all_read", {}]),
            json!(["1", turn.to_string(), "user:alice", "update_presence", {"status": "away"}]),
            json!(["9", turn.to_string(), "conversation:c9", "phx_join", {}]),
        ] {
            let reply = told(&mut client, &frame).await;
            assert_eq!(reply[4]["response"]["reason"], "rate_limit_exceeded", "{reply}");
            let retry_after = &reply[4]["response"]["retry_after"];
            assert!(retry_after.as_u64().is_some_and(|seconds| seconds >= 1), "{reply}");
        }
        for frame in [
            json!(["1", "x", "conversation:c5", "send_message", {}]),
            json!(["1", "x", "user:alice", "no_such_event", {}]),
            json!(["1", "x", "user:bob", "phx_join", {}]),
        ] {
            let reply: Value = told(&mut client, &frame).await;
            assert_eq!(reply[4]["status"], "error", "{reply}");
        }
        assert_eq!(one_more(&served).await.status, 429);
        let request = "GET /socket/websocket?token=junk HTTP/1.1\nhost: x\n\n";
        assert_eq!(exchange(&mut served.connect().await, request).await.status, 403);
    }
    let token = testing::user_token(&served.env, "alice");
    let write = format!(
        "POST /api/v1/conversations HTTP/1.1\nhost: x\nauthorization: Bearer {token}\ncontent-length: 2\n\n{{}}"
    );
    assert_eq!(exchange(&mut served.connect().await, &write).await.status, 429);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "its own renewals would count: {:?}",
        started.elapsed()
    );
    assert_eq!(calls.load(Ordering::SeqCst), before);
}
