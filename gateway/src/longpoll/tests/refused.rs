//! What may not be, and when a session ends.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_no_frame_ends_the_session() {
    let served = Served::new(&["--max-sockets-per-user=100"]).await;
    for (kind, body) in [
        ("application/json", "{"),
        ("application/json", ""),
        ("application/x-ndjson", "[]"),
        ("application/x-ndjson", "???"),
        ("application/x-ndjson", "AAEC"),
        ("application/x-ndjson", r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#),
    ] {
        let mut alice = Client::opened(&served, "alice").await;
        assert_eq!(alice.send(&served, kind, body).await.json(), json!({"status": 408}), "{body}");
        assert_eq!(alice.post(&served, HEARTBEAT).await, json!({"status": 410}), "{body}");
        assert_eq!(alice.poll(&served).await["status"], 410, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_bad_line_is_answered() {
    let served = Served::new(&[]).await;
    let mut alice = Client::opened(&served, "alice").await;
    let mut poller = Client { token: alice.token.clone(), query: alice.query.clone() };
    let (answer, posted) = tokio::join!(poller.poll(&served), async {
        settle().await;
        alice.post(&served, &format!("{HEARTBEAT}\n[]")).await
    });
    assert_eq!((frames(&answer), posted), (vec![alive("1")], json!({"status": 408})));
    assert_eq!(alice.poll(&served).await["status"], 410);
}

#[tokio::test(start_paused = true)]
async fn frames_beyond_the_hundredth_of_a_post_are_refused_and_not_lost() {
    let here = Served::new(&[]).await;
    let there = here.beside(&[]).await;
    for through in [&here, &there] {
        let mut alice = Client::opened(&here, "alice").await;
        let body: Vec<String> = (1..=102).map(heartbeat).collect();
        assert_eq!(alice.post(through, &body.join("\n")).await, json!({"status": 200}));
        let heard = frames(&alice.poll(through).await);
        assert_eq!(heard[99], alive("100"));
        for (frame, reference) in heard[100..].iter().zip(["101", "102"]) {
            assert_eq!((&frame[1], &frame[4]["status"]), (&json!(reference), &json!("error")));
            assert_eq!(frame[4]["response"]["reason"], "rate_limit_exceeded");
            assert_eq!(frame[4]["response"]["retry_after"], 1);
        }
        assert_eq!(heard.len(), 102);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_whole_and_the_session_lives() {
    let served = Served::new(&["--max-frame-bytes=2048"]).await;
    let mut alice = Client::opened(&served, "alice").await;
    let long = format!(r#"[null,"1","phoenix","heartbeat",{{"pad":"{}"}}]"#, "x".repeat(2_048));
    for body in [
        format!("{HEARTBEAT}\n{long}"),
        format!("{HEARTBEAT}\n").repeat(1_001),
        " ".repeat(simurgh_protocol::longpoll::body::POST_BYTES + 1),
    ] {
        let heard = alice.send(&served, "application/x-ndjson", &body).await;
        assert_eq!((heard.status, heard.json()), (413, json!({"status": 413})));
    }
    alice.post(&served, &heartbeat(2)).await;
    assert_eq!(frames(&alice.poll(&served).await), [alive("2")]);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_have_a_session_is_told_so_in_a_readable_way() {
    let served = Served::new(&["--allowed-origins=https://app.test", "--max-sockets-per-user=1"]).await;
    let query = |query: &str| Client { token: None, query: query.to_owned() };
    let good = Client::new(&served, "alice");
    for (client, headers) in [
        (query("vsn=2.0.0"), ""),
        (query("vsn=2.0.0&token=abc"), ""),
        (query(&good.query.replace("vsn=2.0.0", "vsn=3.0.0")), ""),
        (query(&good.query), "origin: https://evil.test\n"),
    ] {
        let heard = client.get(&served, headers).await;
        assert_eq!((heard.status, heard.json()), (200, json!({"status": 403})), "{}", client.query);
        assert_eq!(heard.header("access-control-allow-origin"), Some("*"));
    }
    let _alice = Client::opened(&served, "alice").await;
    let heard = good.get(&served, "origin: https://app.test\n").await;
    assert_eq!((heard.status, heard.header("retry-after")), (429, Some("1")));
    assert_eq!(
        (&heard.json()["status"], &heard.json()["error"]["reason"]),
        (&json!(500), &json!("rate_limit_exceeded"))
    );

    let part = served.readiness.part("other");
    let heard = Client::new(&served, "bob").get(&served, "").await;
    assert_eq!((heard.status, heard.json()["status"].as_u64()), (503, Some(500)));
    part.works();
    for (method, status) in [("PUT", 400), ("DELETE", 400), ("OPTIONS", 200)] {
        let request = format!(
            "{method} /socket/longpoll HTTP/1.1\nhost: x\norigin: https://a.test\naccess-control-request-headers: x-phoenix-authtoken\ncontent-length: 0\n\n"
        );
        let heard = exchange(&mut served.connect().await, &request).await;
        assert_eq!((heard.status, heard.body.as_str()), (status, ""), "{method}");
        let headers = (method == "OPTIONS").then_some("x-phoenix-authtoken");
        assert_eq!(heard.header("access-control-allow-headers"), headers);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_may_come_by_a_header_of_phoenix_js() {
    let served = Served::new(&[]).await;
    let client = Client { token: None, query: "vsn=2.0.0".to_owned() };
    let token = testing::user_token(&served.env, "alice");
    for header in ["x-phoenix-authtoken: ", "authorization: Bearer "] {
        assert_eq!(
            client.get(&served, &format!("{header}{token}\n")).await.json()["status"],
            410,
            "{header}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_as_a_socket_and_waits_for_its_turn() {
    let served = Served::new(&["--rate-connects=1:1", "--rate-connects-per-address=0"]).await;
    let start = testing::now();
    for waited_s in [0, 1] {
        Client::opened(&served, "alice").await;
        assert_eq!(start.elapsed().as_secs(), waited_s);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token_and_the_poll_is_told() {
    let served = Served::new(&[]).await;
    let exp = served.env.now().as_secs() + 5;
    let token = testing::token(&json!({"sub": "alice", "exp": exp}));
    let mut alice = Client { token: None, query: format!("vsn=2.0.0&token={token}") };
    assert_eq!(alice.poll(&served).await["status"], 410);
    let start = testing::now();
    assert_eq!(alice.poll(&served).await["status"], 204);
    assert_eq!(alice.poll(&served).await, json!({"status": 403}));
    assert!((14..=15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}
