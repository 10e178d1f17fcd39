use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    serve::Capacity,
    testing::{self, Heard, Served, exchange},
};

const UPGRADE: &str = "host: x\nupgrade: websocket\nconnection: Upgrade\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n";

async fn ask(served: &Served, target: &str, headers: &str) -> Heard {
    exchange(&mut served.connect().await, &format!("GET {target} HTTP/1.1\n{headers}\n")).await
}

fn alices(served: &Served, query: &str) -> String {
    format!("/socket/websocket?token={}{query}", testing::user_token(&served.env, "alice"))
}

#[tokio::test(start_paused = true)]
async fn a_good_request_becomes_a_socket() {
    let served = Served::new(&[]).await;
    let target = alices(&served, "&vsn=2.0.0");
    let heard = ask(&served, &target, UPGRADE).await;
    assert_eq!(heard.status, 101);
    assert_eq!(heard.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(heard.header("upgrade"), Some("websocket"));
    assert_eq!(heard.header("connection"), Some("upgrade"));
    assert_eq!(heard.header("sec-websocket-protocol"), None);
    assert_eq!(heard.header("sec-websocket-extensions"), None);

    let others = format!(
        "{UPGRADE}sec-websocket-extensions: permessage-deflate\nsec-websocket-protocol: foo, bar\norigin: http://evil.example\n"
    );
    let heard = ask(&served, &target.replace("/websocket", "/websocket/"), &others).await;
    assert_eq!((heard.status, heard.header("sec-websocket-protocol")), (101, None));
    assert_eq!(heard.header("sec-websocket-extensions"), None);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_comes_with_the_request_is_not_lost() {
    let served = Served::new(&[]).await;
    let mut stream = served.connect().await;
    let mut early =
        format!("GET {} HTTP/1.1\n{UPGRADE}\n", alices(&served, "")).replace('\n', "\r\n").into_bytes();
    // A ping that says "hi", masked with zeros, and what answers it.
    early.extend_from_slice(b"\x89\x82\0\0\0\0hi");
    stream.write_all(&early).await.unwrap();
    let pong = b"\x8a\x02hi";
    let mut answer = Vec::new();
    while !answer.ends_with(pong) {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{answer:?}");
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
}

#[tokio::test(start_paused = true)]
async fn a_head_has_room_for_the_longest_token_in_base64() {
    let served = Served::new(&[]).await;
    let encoded = "x".repeat(auth::MAX_TOKEN_BYTES / 3 * 4);
    let headers = format!("{UPGRADE}sec-websocket-protocol: phoenix, base64url.bearer.phx.{encoded}\n");
    assert_eq!(ask(&served, "/socket/websocket", &headers).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_token_comes_by_query_header_or_subprotocol() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let served = Served::new(&[]).await;
    let token = testing::user_token(&served.env, "alice");
    let by_header = format!("{UPGRADE}authorization: Bearer {token}\n");
    assert_eq!(ask(&served, "/socket/websocket", &by_header).await.status, 101);
    let encoded = URL_SAFE_NO_PAD.encode(token);
    let by_subprotocol =
        format!("{UPGRADE}sec-websocket-protocol: phoenix, base64url.bearer.phx.{encoded}\n");
    let heard = ask(&served, "/socket/websocket?vsn=2.0.0", &by_subprotocol).await;
    assert_eq!((heard.status, heard.header("sec-websocket-protocol")), (101, Some("phoenix")));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_connect_gets_403_and_no_word_before_headers_count() {
    let served = Served::new(&["--allowed-origins=https://app.test"]).await;
    let service = testing::service_token(&served.env);
    let expired = testing::token(&json!({"sub": "alice", "exp": 1}));
    for (target, more) in [
        ("/socket/websocket?vsn=2.0.0".to_owned(), ""),
        ("/socket/websocket?token=abc&vsn=2.0.0".to_owned(), ""),
        ("/socket/websocket?token=%zz&vsn=2.0.0".to_owned(), ""),
        (format!("/socket/websocket?token={expired}"), ""),
        (format!("/socket/websocket?token={service}"), ""),
        (alices(&served, "&vsn="), ""),
        (alices(&served, "&vsn=2"), ""),
        (alices(&served, "&vsn=2.1.0"), ""),
        (alices(&served, "&vsn=3.0.0"), ""),
        (alices(&served, "&vsn=2.0.0"), "origin: https://evil.test\n"),
        (alices(&served, "&vsn=2.0.0"), "origin: null\n"),
    ] {
        for headers in [UPGRADE, "host: x\n"] {
            let mut stream = served.connect().await;
            for _ in 0..2 {
                let request = format!("GET {target} HTTP/1.1\n{headers}{more}\n");
                let heard = exchange(&mut stream, &request).await;
                assert_eq!((heard.status, heard.body.as_str()), (403, ""), "{target}");
            }
        }
    }
    for vsn in ["", "&vsn=1.0.0", "&vsn=1.0.3", "&vsn=2.0.7"] {
        assert_eq!(ask(&served, &alices(&served, vsn), UPGRADE).await.status, 101, "{vsn}");
    }
    let permitted = format!("{UPGRADE}origin: https://app.test\n");
    assert_eq!(ask(&served, &alices(&served, ""), &permitted).await.status, 101);
}

#[tokio::test(start_paused = true)]
async fn a_service_may_open_a_socket_only_as_a_user() {
    for (args, status) in [(&[][..], 101), (&["--service-calls=internal"][..], 403)] {
        let served = Served::new(args).await;
        let exp = served.env.now().as_secs() + 60;
        let both = testing::token(&json!({"sub": "bot", "scope": "service", "exp": exp}));
        assert_eq!(ask(&served, &format!("/socket/websocket?token={both}"), UPGRADE).await.status, status);
    }
}

#[tokio::test(start_paused = true)]
async fn bad_headers_are_told_in_phoenix_words() {
    let served = Served::new(&[]).await;
    let target = alices(&served, "&vsn=2.0.0");
    for (from, to, text) in [
        (UPGRADE, "host: x\n", "'connection' header must contain 'upgrade', got []"),
        (
            "connection: Upgrade",
            "connection: keep-alive",
            r#"'connection' header must contain 'upgrade', got ["keep-alive"]"#,
        ),
        ("upgrade: websocket\n", "", "'upgrade' header must contain 'websocket', got []"),
        ("version: 13", "version: 8", r#"'sec-websocket-version' header must equal '13', got ["8"]"#),
        ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n", "", "'sec-websocket-key' header is absent"),
    ] {
        let heard = ask(&served, &target, &UPGRADE.replace(from, to)).await;
        assert_eq!((heard.status, heard.body.as_str()), (400, text));
    }
    let several = UPGRADE.replace("connection: Upgrade", "connection: keep-alive, upgrade");
    assert_eq!(ask(&served, &target, &several).await.status, 101);
    for method in ["POST", "PUT", "HEAD"] {
        let request =
            format!("{method} {target} HTTP/1.1\n{UPGRADE}content-length: 0\nconnection: close\n\n");
        let heard = exchange(&mut served.connect().await, &request).await;
        assert_eq!((heard.status, heard.body.as_str()), (400, ""), "{method}");
    }
    for path in ["/socket", "/socket/nope"] {
        assert_eq!(ask(&served, path, UPGRADE).await.status, 404);
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_held_for_its_turn_and_beyond_two_seconds_refused() {
    let served = Served::new(&["--rate-connects=2:1", "--rate-connects-per-address=0"]).await;
    let target = alices(&served, "");
    let start = testing::now();
    let attempts: Vec<_> = (0..6)
        .map(|_| {
            let (connector, request) = (served.public.clone(), format!("GET {target} HTTP/1.1\n{UPGRADE}\n"));
            tokio::spawn(async move {
                let mut stream = connector.connect().await.unwrap();
                let heard = exchange(&mut stream, &request).await;
                (heard.status, start.elapsed().as_millis(), heard.header("retry-after").map(str::to_owned))
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for attempt in attempts {
        outcomes.push(attempt.await.unwrap());
    }
    outcomes.sort();
    let expected: Vec<_> = [0, 500, 1_000, 1_500, 2_000].iter().map(|at| (101, *at, None)).collect();
    assert_eq!(outcomes[..5], expected);
    assert_eq!(outcomes[5], (503, 0, Some("3".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_storm_leaves_room_for_calls_and_for_telling_who_is_not_held() {
    let args = ["--rate-connects=100:1", "--rate-connects-per-address=0", "--max-sockets-per-user=10000"];
    let served = Served::new(&args).await;
    let (target, room) = (alices(&served, ""), Capacity::of_files(4_096).upgrades());
    let start = testing::now();
    let storm: Vec<_> = (0..Capacity::of_files(4_096).connections * 2)
        .map(|_| {
            let (connector, request) = (served.public.clone(), format!("GET {target} HTTP/1.1\n{UPGRADE}\n"));
            tokio::spawn(async move { exchange(&mut connector.connect().await.unwrap(), &request).await })
        })
        .collect();
    testing::settle().await;
    let heard = exchange(&mut served.connect().await, "GET /healthz HTTP/1.1\nhost: x\n\n").await;
    assert_eq!((heard.status, start.elapsed().as_secs()), (200, 0));
    assert!(storm.iter().filter(|attempt| attempt.is_finished()).count() >= storm.len() - room);
    for attempt in storm.into_iter().filter(tokio::task::JoinHandle::is_finished) {
        let heard = attempt.await.unwrap();
        if heard.status != 101 {
            let told = (heard.status, heard.header("retry-after"), heard.header("connection"));
            assert_eq!(told, (503, Some("2"), Some("close")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_address_is_held_and_others_are_not() {
    let served = Served::new(&["--rate-connects-per-address=1:1", "--trusted-proxies=10.0.0.0/8"]).await;
    let request = |client: &str| {
        format!("GET {} HTTP/1.1\n{UPGRADE}x-forwarded-for: {client}\n\n", alices(&served, ""))
    };
    let start = testing::now();
    for (client, waited_s) in [("192.0.2.1", 0), ("192.0.2.1", 1), ("192.0.2.2", 1)] {
        let mut stream = served.connect_from("10.0.0.1").await;
        assert_eq!(exchange(&mut stream, &request(client)).await.status, 101);
        assert_eq!(start.elapsed().as_secs(), waited_s, "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_not_ready_refuses_and_one_that_will_drain_does_not() {
    let served = Served::new(&["--drain-delay=10s"]).await;
    let part = served.readiness.part("other");
    let heard = ask(&served, &alices(&served, ""), UPGRADE).await;
    assert_eq!((heard.status, heard.json()["error"]["reason"].as_str()), (503, Some("unavailable")));
    assert_eq!(heard.header("retry-after"), Some("1"));
    assert_eq!(ask(&served, "/socket/websocket", UPGRADE).await.status, 403, "a bad token first");
    part.works();
    served.shutdown.cancel();
    testing::settle().await;
    assert!(served.readiness.is_draining());
    assert_eq!(ask(&served, &alices(&served, ""), UPGRADE).await.status, 101);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_the_wait_of_those_who_are_held() {
    let served = Served::new(&["--rate-connects=1:1", "--rate-connects-per-address=0"]).await;
    assert_eq!(ask(&served, &alices(&served, ""), UPGRADE).await.status, 101);
    let mut held = served.connect().await;
    let request = format!("GET {} HTTP/1.1\n{UPGRADE}\n", alices(&served, ""));
    let start = testing::now();
    let (heard, ()) = tokio::join!(exchange(&mut held, &request), async {
        testing::settle().await;
        served.shutdown.cancel();
    });
    assert_eq!(heard.status, 503);
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(held.read_to_end(&mut Vec::new()).await.unwrap(), 0, "and the connection ends");
}

#[tokio::test(start_paused = true)]
async fn one_socket_more_than_a_user_may_have_is_refused() {
    let served = Served::new(&["--max-sockets-per-user=2"]).await;
    let mut open = Vec::new();
    for status in [101, 101, 429] {
        let mut stream = served.connect().await;
        let request = format!("GET {} HTTP/1.1\n{UPGRADE}\n", alices(&served, ""));
        let heard = exchange(&mut stream, &request).await;
        assert_eq!(heard.status, status);
        open.push((stream, heard));
    }
    let (_, refused) = open.pop().unwrap();
    assert_eq!(refused.json()["error"]["reason"], "rate_limit_exceeded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let bob = format!("/socket/websocket?token={}", testing::user_token(&served.env, "bob"));
    assert_eq!(ask(&served, &bob, UPGRADE).await.status, 101, "each user for itself");
    drop(open);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ask(&served, &alices(&served, ""), UPGRADE).await.status, 101);
}
