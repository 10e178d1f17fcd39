use std::{
    io::{self, Seek as _},
    sync::Arc,
};

use serde_json::{Value, json};
use simurgh_protocol::{
    Reason, Refusal,
    envelope::{Call, Principal},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::testing::{self, Heard, Served, exchange};

const MESSAGE: &str = "01932f00-0000-8000-8000-000000000001";
const ID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

/// One call of somebody's, on the public listener.
async fn call(served: &Served, token: &str, line: &str, body: &str) -> Heard {
    let request = format!(
        "{line} HTTP/1.1\nhost: x\nauthorization: Bearer {token}\ncontent-length: {}\n\n{body}",
        body.len()
    );
    exchange(&mut served.connect().await, &request).await
}

async fn as_alice(served: &Served, line: &str, body: &str) -> Heard {
    call(served, &testing::user_token(&served.env, "alice"), line, body).await
}

fn reason(heard: &Heard) -> String {
    heard.json()["error"]["reason"].as_str().unwrap().to_owned()
}

/// A call, its body, and what workers are asked by it.
type Asked = (String, &'static str, Value);

fn about_conversations() -> Vec<Asked> {
    let conversation = format!("/api/v1/conversations/{ID}");
    vec![
        (
            "POST /api/v1/conversations".to_owned(),
            r#"{"type": "group"}"#,
            json!({"create_conversation": {"policy": "users", "body": {"type": "group"}}}),
        ),
        (
            "GET /api/v1/conversations?limit=7&cursor=c".to_owned(),
            "",
            json!({"list_conversations": {"user": null, "limit": 7, "cursor": "c"}}),
        ),
        (format!("GET {conversation}"), "", json!({"get_conversation": {"conversation": ID}})),
        (
            format!("PATCH {conversation}"),
            r#" {"metadata":{}} "#,
            json!({"patch_conversation": {"conversation": ID, "body": {"metadata": {}}}}),
        ),
        (
            format!("PUT {conversation}/members/b%40b"),
            "",
            json!({"add_member": {"conversation": ID, "user": "b@b"}}),
        ),
        (
            format!("DELETE {conversation}/members/bob"),
            "",
            json!({"remove_member": {"conversation": ID, "user": "bob"}}),
        ),
        ("GET /api/v1/contacts?user_id=carol".to_owned(), "", json!({"list_contacts": {"user": "carol"}})),
        (
            "PUT /api/v1/contacts/bob".to_owned(),
            "",
            json!({"set_contact": {"user": null, "contact": "bob", "present": true}}),
        ),
        (
            "DELETE /api/v1/contacts/bob?user_id=carol".to_owned(),
            "",
            json!({"set_contact": {"user": "carol", "contact": "bob", "present": false}}),
        ),
        ("GET /api/v1/users/bob/presence".to_owned(), "", json!({"get_presence": {"user": "bob"}})),
        (
            "POST /api/v1/users/bob/notifications".to_owned(),
            r#"{"kind":"k"}"#,
            json!({"notify": {"user": "bob", "body": {"kind": "k"}}}),
        ),
    ]
}

fn about_messages() -> Vec<Asked> {
    let conversation = format!("/api/v1/conversations/{ID}");
    vec![
        (
            format!("GET {conversation}/messages?after_seq=5&limit=200&since=s"),
            "",
            json!({"history": {"conversation": ID, "page": {"before_seq": null, "after_seq": 5, "limit": 200, "since": "s"}}}),
        ),
        (
            format!("POST {conversation}/messages"),
            r#"{"content":"é"}"#,
            json!({"post_message": {"conversation": ID, "body": {"content": "é"}}}),
        ),
        (
            format!("PATCH {conversation}/messages/{MESSAGE}"),
            r#"{"content":"x"}"#,
            json!({"edit_message": {"conversation": ID, "message": MESSAGE, "body": {"content": "x"}}}),
        ),
        (
            format!("DELETE {conversation}/messages/{MESSAGE}"),
            "",
            json!({"delete_message": {"conversation": ID, "message": MESSAGE, "for_everyone": true}}),
        ),
        (
            format!("DELETE {conversation}/messages/{MESSAGE}?for_everyone=false"),
            "",
            json!({"delete_message": {"conversation": ID, "message": MESSAGE, "for_everyone": false}}),
        ),
        (
            format!("GET {conversation}/messages/{MESSAGE}/receipts"),
            "",
            json!({"receipts": {"conversation": ID, "message": MESSAGE}}),
        ),
        (
            format!("GET {conversation}/messages/{MESSAGE}/delivery?user_id=b%40b"),
            "",
            json!({"delivery": {"conversation": ID, "message": MESSAGE, "user": "b@b"}}),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_call_reaches_a_worker_as_what_it_is() {
    let served = Served::new(&[]).await;
    let asked = testing::worker(&served, |_| Ok((200, json!({"done": true})))).await;
    for (line, body, expected) in about_conversations().into_iter().chain(about_messages()) {
        let heard = as_alice(&served, &line, body).await;
        assert_eq!((heard.status, heard.json()), (200, json!({"done": true})), "{line}");
        assert_eq!(heard.header("content-type"), Some("application/json"));
        let command = asked.lock().unwrap().pop().unwrap();
        assert_eq!(serde_json::to_value(&command.call).unwrap(), expected, "{line}");
        assert!(matches!(command.principal, Principal::User(user) if user.as_str() == "alice"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_workers_answer_is_the_answer() {
    let served = Served::new(&[]).await;
    let _asked = testing::worker(&served, |command| match &command.call {
        Call::AddMember { .. } => Ok((204, json!({}))),
        Call::CreateConversation { .. } => Ok((201, json!({"id": ID}))),
        Call::GetConversation { .. } => Err(Refusal::not_a_member()),
        Call::PatchConversation { .. } => Err(Refusal::new(Reason::Forbidden, "no")),
        Call::PostMessage { .. } => Err(Refusal::new(Reason::Conflict, "other").with("message_id", "m")),
        _ => Err(Refusal::unavailable("later")),
    })
    .await;
    let conversation = format!("/api/v1/conversations/{ID}");
    let added = as_alice(&served, &format!("PUT {conversation}/members/bob"), "").await;
    assert_eq!((added.status, added.body.as_str(), added.header("content-type")), (204, "", None));
    let created = as_alice(&served, "POST /api/v1/conversations", "{}").await;
    assert_eq!((created.status, created.json()), (201, json!({"id": ID})));
    for (line, body, status, expected) in [
        (format!("GET {conversation}"), "", 404, "not_a_member"),
        (format!("PATCH {conversation}"), "{}", 403, "forbidden"),
        (format!("POST {conversation}/messages"), "{}", 409, "conflict"),
        ("GET /api/v1/contacts".to_owned(), "", 503, "unavailable"),
    ] {
        let heard = as_alice(&served, &line, body).await;
        assert_eq!((heard.status, reason(&heard).as_str()), (status, expected), "{line}");
        assert_eq!(heard.header("retry-after"), (status == 503).then_some("1"));
        if status == 409 {
            assert_eq!(heard.json()["error"]["message_id"], "m");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_no_good_token_is_nobody() {
    let served = Served::new(&[]).await;
    let asked = testing::worker(&served, |_| Ok((200, json!({})))).await;
    let expired = testing::token(&json!({"sub": "alice", "exp": 1}));
    for (token, message) in
        [("", "a token is required"), ("junk", "not a token"), (expired.as_str(), "the token has expired")]
    {
        let heard = call(&served, token, "GET /api/v1/contacts", "").await;
        assert_eq!(heard.status, 401, "{heard:?}");
        assert_eq!(heard.json(), json!({"error": {"reason": "unauthorized", "message": message}}));
        assert_eq!(heard.header("www-authenticate"), Some("Bearer"));
    }
    // A token in the URL ends up in logs: it is for sockets, which have no other way in a browser.
    let good = testing::user_token(&served.env, "alice");
    let heard = exchange(
        &mut served.connect().await,
        &format!("GET /api/v1/contacts?token={good} HTTP/1.1\nhost: x\n\n"),
    )
    .await;
    assert_eq!(heard.status, 401);
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_service_may_be_kept_off_the_public_listener() {
    for (args, public) in [(&[][..], 200), (&["--service-calls=internal"][..], 403)] {
        let served = Served::new(args).await;
        let asked = testing::worker(&served, |_| Ok((200, json!({})))).await;
        let token = testing::service_token(&served.env);
        let heard = call(&served, &token, "GET /api/v1/contacts?user_id=bob", "").await;
        assert_eq!(heard.status, public);
        let request =
            format!("GET /api/v1/contacts?user_id=bob HTTP/1.1\nhost: x\nauthorization: Bearer {token}\n\n");
        let mut stream = served.internal.connect().await.unwrap();
        assert_eq!(exchange(&mut stream, &request).await.status, 200);
        assert_eq!(asked.lock().unwrap().last().unwrap().principal, Principal::Service);
        assert_eq!(as_alice(&served, "GET /api/v1/contacts", "").await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn bad_input_never_reaches_a_worker() {
    let served = Served::new(&["--max-frame-bytes=2048"]).await;
    let asked = testing::worker(&served, |_| Ok((200, json!({})))).await;
    let messages = format!("/api/v1/conversations/{ID}/messages");
    let long = format!("{{\"content\":\"{}\"}}", "x".repeat(2_048));
    for (line, body, status, expected, field) in [
        ("GET /api/v1/conversations/a%20b", "", 400, "validation_failed", "conversation_id"),
        ("GET /api/v1/conversations/toString", "", 400, "validation_failed", "conversation_id"),
        ("GET /api/v1/conversations/%ff", "", 400, "validation_failed", "conversation_id"),
        ("PUT /api/v1/contacts/_x", "", 400, "validation_failed", "user_id"),
        ("GET /api/v1/conversations?limit=0", "", 400, "validation_failed", "limit"),
        (&format!("DELETE {messages}/{ID}"), "", 400, "validation_failed", "message_id"),
        (
            &format!("DELETE {messages}/{MESSAGE}?for_everyone=x"),
            "",
            400,
            "validation_failed",
            "for_everyone",
        ),
        ("GET /api/v1/contacts?user_id=", "", 400, "validation_failed", "user_id"),
        ("POST /api/v1/conversations", "", 400, "validation_failed", "body"),
        ("POST /api/v1/conversations", "[]", 400, "validation_failed", "body"),
        ("POST /api/v1/conversations", "{} {}", 400, "validation_failed", "body"),
        ("POST /api/v1/conversations", "{\"a\":", 400, "validation_failed", "body"),
        ("POST /api/v1/conversations", "null", 400, "validation_failed", "body"),
        (&format!("POST {messages}"), &long, 413, "message_too_large", ""),
        ("GET /api/v1/nothing", "", 404, "not_found", ""),
        ("GET /", "", 404, "not_found", ""),
        ("DELETE /api/v1/conversations", "", 405, "not_found", ""),
        ("POST /api/v1/contacts/bob", "{}", 405, "not_found", ""),
        (&format!("GET {messages}/{ID}/delivery?user_id=bob"), "", 400, "validation_failed", "message_id"),
        (&format!("GET {messages}/{MESSAGE}/delivery"), "", 400, "validation_failed", "user_id"),
        (
            &format!("GET {messages}/{MESSAGE}/delivery?user_id=a%20b"),
            "",
            400,
            "validation_failed",
            "user_id",
        ),
        (&format!("POST {messages}/{MESSAGE}/delivery?user_id=bob"), "", 405, "not_found", ""),
    ] {
        let heard = as_alice(&served, line, body).await;
        assert_eq!((heard.status, reason(&heard).as_str()), (status, expected), "{line} {body}");
        let error = &heard.json()["error"];
        match expected {
            "validation_failed" => assert!(error["errors"][field].is_array(), "{line}: {error}"),
            "message_too_large" => assert_eq!(error["max_bytes"], 2_048),
            _ => assert_eq!(error["errors"], Value::Null),
        }
        assert_eq!(heard.header("allow").is_some(), status == 405, "{line}: {}", heard.head);
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_is_bounded_too() {
    let served = Served::new(&["--max-frame-bytes=1024"]).await;
    let token = testing::user_token(&served.env, "alice");
    let head = format!(
        "POST /api/v1/conversations HTTP/1.1\nhost: x\nauthorization: Bearer {token}\ntransfer-encoding: chunked\n\n"
    );
    let chunk = format!("800\n{}\n", "x".repeat(2_048));
    let heard = exchange(&mut served.connect().await, &format!("{head}{chunk}")).await;
    assert_eq!((heard.status, reason(&heard).as_str()), (413, "message_too_large"));
    let heard = exchange(&mut served.connect().await, &head).await;
    assert_eq!((heard.status, reason(&heard).as_str()), (400, "validation_failed"), "it never came");
}

#[tokio::test(start_paused = true)]
async fn a_users_writes_have_a_rate_and_a_services_have_none() {
    let served = Served::new(&["--rate-messages=1:2", "--rate-pushes=1:1"]).await;
    let asked = testing::worker(&served, |_| Ok((200, json!({})))).await;
    let post = format!("POST /api/v1/conversations/{ID}/messages");
    let statuses = |line: String, token: String| {
        let served = &served;
        async move {
            let mut statuses = Vec::new();
            for _ in 0..3 {
                statuses.push(call(served, &token, &line, "{}").await.status);
            }
            statuses
        }
    };
    let alice = testing::user_token(&served.env, "alice");
    assert_eq!(statuses(post.clone(), alice.clone()).await, [200, 200, 429]);
    assert_eq!(statuses("PUT /api/v1/contacts/bob".to_owned(), alice.clone()).await, [200, 429, 429]);
    assert_eq!(statuses("GET /api/v1/contacts".to_owned(), alice.clone()).await, [200; 3]);
    assert_eq!(statuses(post.clone(), testing::service_token(&served.env)).await, [200; 3]);
    assert_eq!(asked.lock().unwrap().len(), 9, "what is refused costs no worker anything");
    let heard = call(&served, &alice, &post, "{}").await;
    assert_eq!(heard.header("retry-after"), Some("1"));
    assert_eq!(heard.json()["error"]["retry_after"], 1);
}

#[tokio::test(start_paused = true)]
async fn browsers_may_call_from_permitted_origins() {
    let preflight = |origin: &str| {
        format!(
            "OPTIONS /api/v1/contacts/bob HTTP/1.1\nhost: x\norigin: {origin}\naccess-control-request-method: PUT\naccess-control-request-headers: authorization\n\n"
        )
    };
    let served = Served::new(&[]).await;
    let heard = exchange(&mut served.connect().await, &preflight("https://a.test")).await;
    assert_eq!((heard.status, heard.header("access-control-allow-origin")), (200, Some("*")));
    assert!(heard.header("access-control-allow-methods").unwrap().contains("PUT"));
    assert!(heard.header("access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(heard.header("access-control-max-age"), Some("7200"));

    let served = Served::new(&["--allowed-origins=https://a.test"]).await;
    for (origin, allowed) in [("https://a.test", Some("https://a.test")), ("https://b.test", None)] {
        let heard = exchange(&mut served.connect().await, &preflight(origin)).await;
        assert_eq!(heard.header("access-control-allow-origin"), allowed);
        let get = format!("GET /api/v1/contacts HTTP/1.1\nhost: x\norigin: {origin}\n\n");
        let heard = exchange(&mut served.connect().await, &get).await;
        assert_eq!((heard.status, heard.header("access-control-allow-origin")), (401, allowed));
        assert!(heard.header("access-control-expose-headers").unwrap().contains("retry-after"));
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_has_a_request_id() {
    let served = Served::new(&[]).await;
    let ask = |id: &str| format!("GET /api/v1/contacts HTTP/1.1\nhost: x\n{id}\n\n");
    let heard = exchange(&mut served.connect().await, &ask("x-request-id: req-1.a/b")).await;
    assert_eq!(heard.header("x-request-id"), Some("req-1.a/b"));
    for id in [
        "x-other: 1".to_owned(),
        "x-request-id: a b".to_owned(),
        format!("x-request-id: {}", "x".repeat(200)),
    ] {
        let heard = exchange(&mut served.connect().await, &ask(&id)).await;
        assert_eq!(heard.header("x-request-id").unwrap().len(), 36, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_names_the_request_that_a_line_is_about() {
    let mut log = tempfile::tempfile().unwrap();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(log.try_clone().unwrap())).finish();
    // Beside another one: where it is alone, what another test's thread comes to first is switched off for all.
    let _other = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let served = Served::new(&[]).await;
    let token = testing::user_token(&served.env, "alice");
    let ask = format!(
        "GET /api/v1/contacts HTTP/1.1\nhost: x\nx-request-id: mine-1\nauthorization: Bearer {token}\n\n"
    );
    let heard = exchange(&mut served.connect().await, &ask).await;
    assert_eq!((heard.status, heard.header("x-request-id")), (503, Some("mine-1")));
    log.rewind().unwrap();
    let text = io::read_to_string(log).unwrap();
    let line = text.lines().find(|line| line.contains("a worker did not answer in time"));
    assert!(line.unwrap().contains("id=\"mine-1\""), "{text}");
}

#[tokio::test(start_paused = true)]
async fn health_is_served_on_both_listeners() {
    let served = Served::new(&[]).await;
    for path in ["/healthz", "/readyz"] {
        let ask = format!("GET {path} HTTP/1.1\nhost: x\n\n");
        assert_eq!(exchange(&mut served.connect().await, &ask).await.status, 200);
        let mut internal = served.internal.connect().await.unwrap();
        assert_eq!(exchange(&mut internal, &ask).await.status, 200);
    }
    let mut stream = served.connect().await;
    stream.write_all(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}
