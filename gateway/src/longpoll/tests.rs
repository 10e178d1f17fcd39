//! Requests and answers, on the wire; two gateways where it matters which of them is asked.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::testing::{self, Heard, Served, exchange, settle};

mod answered_elsewhere;
mod refused;

const HEARTBEAT: &str = r#"[null,"1","phoenix","heartbeat",{}]"#;

/// A client of long poll that asks whichever gateway it is told to.
struct Client {
    token: Option<String>,
    /// What a query begins with.
    query: String,
}

impl Client {
    fn new(served: &Served, user: &str) -> Self {
        let query = format!("vsn=2.0.0&token={}", testing::user_token(&served.env, user));
        Self { token: None, query }
    }

    /// One with a session on this gateway.
    async fn opened(served: &Served, user: &str) -> Self {
        let mut client = Self::new(served, user);
        assert_eq!(client.poll(served).await, json!({"status": 410, "messages": []}));
        client
    }

    fn target(&self) -> String {
        let token = self.token.as_ref().map_or(String::new(), |token| format!("&token={token}"));
        format!("/socket/longpoll?{}{token}", self.query)
    }

    async fn get(&self, served: &Served, headers: &str) -> Heard {
        let request =
            format!("GET {} HTTP/1.1\nhost: x\naccept: application/json\n{headers}\n", self.target());
        exchange(&mut served.connect().await, &request).await
    }

    /// Polls as phoenix.js does; the answer without its token, which is kept.
    async fn poll(&mut self, served: &Served) -> Value {
        let heard = self.get(served, "").await;
        assert_eq!(heard.status, 200, "{heard:?}");
        let mut answer = heard.json();
        let token = answer.as_object_mut().unwrap().remove("token");
        self.token = token.and_then(|token| token.as_str().map(str::to_owned));
        answer
    }

    /// Polls until a message comes that is `wanted`.
    async fn hears(&mut self, served: &Served, wanted: &Value) {
        loop {
            let answer = self.poll(served).await;
            assert_eq!(answer["status"], 200, "{wanted} did not come");
            if frames(&answer).contains(wanted) {
                return;
            }
        }
    }

    async fn send(&self, served: &Served, kind: &str, body: &str) -> Heard {
        let request = format!(
            "POST {} HTTP/1.1\nhost: x\ncontent-type: {kind}\ncontent-length: {}\n\n",
            self.target(),
            body.len()
        );
        let (mut reader, mut writer) = tokio::io::split(served.connect().await);
        let writing = async {
            // A body that is refused is not read to its end, and cannot be written to it.
            let _ = writer.write_all(request.replace('\n', "\r\n").as_bytes()).await;
            let _ = writer.write_all(body.as_bytes()).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            heard = testing::heard(&mut reader) => heard,
            () = writing => unreachable!("it never ends"),
        }
    }

    async fn post(&self, served: &Served, body: &str) -> Value {
        self.send(served, "application/x-ndjson", body).await.json()
    }
}

fn frames(answer: &Value) -> Vec<Value> {
    let messages = answer["messages"].as_array().unwrap();
    messages.iter().map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap()).collect()
}

fn alive(reference: &str) -> Value {
    json!([null, reference, "phoenix", "phx_reply", {"status": "ok", "response": {}}])
}

fn heartbeat(reference: usize) -> String {
    format!(r#"[null,"{reference}","phoenix","heartbeat",{{}}]"#)
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_with_410_and_carries_frames_both_ways() {
    let served = Served::new(&[]).await;
    let mut alice = Client::opened(&served, "alice").await;
    let first = alice.get(&served, "").await;
    assert_eq!(first.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(first.header("access-control-allow-origin"), Some("*"));
    assert_eq!(first.json()["status"], 204);

    let body = format!("{}\n{}", heartbeat(1), heartbeat(2));
    assert_eq!(alice.post(&served, &body).await, json!({"status": 200}));
    let answer = alice.poll(&served).await;
    assert_eq!(answer["status"], 200);
    assert_eq!(frames(&answer), [alive("1"), alive("2")]);

    let one = alice.send(&served, "application/json", HEARTBEAT).await;
    assert_eq!(one.json(), json!({"status": 200}));
    // A heartbeat as a binary frame.
    assert_eq!(alice.post(&served, "AAABBwk2cGhvZW5peGhlYXJ0YmVhdA==").await, json!({"status": 200}));
    assert_eq!(frames(&alice.poll(&served).await), [alive("1"), alive("6")]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_ten_seconds_and_is_answered_at_once_when_something_comes() {
    let served = Served::new(&[]).await;
    let mut alice = Client::opened(&served, "alice").await;
    let start = testing::now();
    assert_eq!(alice.poll(&served).await, json!({"status": 204, "messages": []}));
    assert_eq!(start.elapsed().as_secs(), 10);

    let poster = Client { token: alice.token.clone(), query: alice.query.clone() };
    let start = testing::now();
    let (answer, posted) = tokio::join!(alice.poll(&served), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        poster.post(&served, HEARTBEAT).await
    });
    assert_eq!((frames(&answer), posted), (vec![alive("1")], json!({"status": 200})));
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_newer_of_two_polls_gets_the_message_and_the_older_waits_for_its_end() {
    let served = Served::new(&[]).await;
    let alice = Client::opened(&served, "alice").await;
    let start = testing::now();
    let older = async {
        let answer = alice.get(&served, "").await.json();
        (answer["status"].clone(), start.elapsed().as_secs())
    };
    let newer = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        frames(&alice.get(&served, "").await.json())
    };
    let post = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        alice.post(&served, HEARTBEAT).await;
    };
    let (older, newer, ()) = tokio::join!(older, newer, post);
    assert_eq!((older, newer), ((json!(204), 10), vec![alive("1")]));
}

#[tokio::test(start_paused = true)]
async fn a_session_lives_as_long_as_it_is_polled() {
    let served = Served::new(&[]).await;
    let mut alice = Client::opened(&served, "alice").await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(14)).await;
        assert_eq!(alice.poll(&served).await["status"], 204);
    }
}

#[tokio::test(start_paused = true)]
async fn the_older_serializer_may_send_lines_too() {
    let served = Served::new(&[]).await;
    let mut alice = Client::new(&served, "alice");
    alice.query = alice.query.replace("vsn=2.0.0", "vsn=1.0.0");
    assert_eq!(alice.poll(&served).await["status"], 410);
    let line = |reference: u8| {
        format!(r#"{{"topic":"phoenix","event":"heartbeat","payload":{{}},"ref":"{reference}"}}"#)
    };
    let ok = |reference: &str| json!({"topic": "phoenix", "event": "phx_reply", "ref": reference, "payload": {"status": "ok", "response": {}}});
    assert_eq!(alice.post(&served, &format!("{}\n{}", line(1), line(2))).await["status"], 200);
    assert_eq!(alice.send(&served, "application/json", &line(3)).await.json()["status"], 200);
    assert_eq!(frames(&alice.poll(&served).await), [ok("1"), ok("2"), ok("3")]);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_does_not_poll_for_is_bounded_and_posts_wait() {
    let served = Served::new(&["--max-unsent-bytes=16384"]).await;
    let mut alice = Client::opened(&served, "alice").await;
    let body: Vec<String> = (0..100).map(heartbeat).collect();
    let mut taken = 0;
    // 100 replies are about 7,000 bytes.
    while alice.post(&served, &body.join("\n")).await["status"] == 200 {
        taken += 1;
        assert!(taken < 5, "nothing holds it back");
    }
    assert!(taken >= 2, "{taken}");
    let mut heard = 0;
    loop {
        let answer = alice.poll(&served).await;
        if answer["status"] == 204 {
            break;
        }
        heard += frames(&answer).len();
    }
    assert_eq!(heard, (taken + 1) * 100, "late is not lost");
}

#[tokio::test(start_paused = true)]
async fn channels_work_over_it_and_broadcasts_come() {
    let served = Served::new(&[]).await;
    let head = json!({"last_seq": 0, "last_change_seq": 0, "members_version": 1});
    let asked = testing::worker(&served, move |command| match serde_json::to_value(&command.call).unwrap() {
        call if call.get("join_user").is_some() || call == json!("join_user") => {
            Ok((200, json!({"visible": [], "unread": []})))
        }
        _ => Ok((200, json!({"head": head, "response": {}}))),
    })
    .await;
    let mut alice = Client::opened(&served, "alice").await;
    alice.post(&served, r#"["1","1","user:alice","phx_join",{}]"#).await;
    let mut events = Vec::new();
    while !events.contains(&json!("sync_complete")) {
        let answer = alice.poll(&served).await;
        assert_eq!(answer["status"], 200, "{events:?}");
        events.extend(frames(&answer).iter().map(|frame| frame[3].clone()));
    }
    assert_eq!(events, [json!("phx_reply"), json!("presence_state"), json!("sync_complete")]);
    assert!(!asked.lock().unwrap().is_empty());
    // What workers say to users.
    let told = Arc::clone(&served.bus);
    let user = simurgh_protocol::UserId::new("alice").unwrap();
    let entries = told
        .get_many(simurgh_backplane::Bucket::Presence, &[simurgh_backplane::subject::user_filter(&user)])
        .await
        .unwrap();
    let gateway = entries[0].key.parts().pop().unwrap();
    let notice = simurgh_protocol::envelope::GatewayEnvelope::Told {
        users: vec![user],
        event: "notification".to_owned(),
        payload: simurgh_protocol::Raw::of(&json!({"n": 1})),
    };
    told.publish(&served.subjects.gateway(&gateway), simurgh_protocol::envelope::encode(&notice))
        .await
        .unwrap();
    alice.hears(&served, &json!([null, null, "user:alice", "notification", {"n": 1}])).await;
}
