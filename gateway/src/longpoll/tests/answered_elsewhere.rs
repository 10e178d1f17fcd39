//! Two gateways, and answers that do not arrive.

use simurgh_protocol::{
    envelope::{LongPollAnswer, LongPollCall, decode_with, encode_with},
    longpoll::SessionToken,
};

use super::*;

#[tokio::test(start_paused = true)]
async fn any_gateway_answers_for_a_session() {
    let here = Served::new(&[]).await;
    let there = here.beside(&[]).await;
    let mut alice = Client::opened(&here, "alice").await;
    for (turn, (posted, polled)) in [(&there, &there), (&there, &here), (&here, &there)].iter().enumerate() {
        assert_eq!(alice.post(posted, &heartbeat(turn)).await, json!({"status": 200}));
        assert_eq!(frames(&alice.poll(polled).await), [alive(&turn.to_string())]);
    }
    let start = testing::now();
    assert_eq!(alice.poll(&there).await["status"], 204);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn more_than_fits_into_an_envelope_goes_between_gateways_both_ways() {
    let here = Served::new(&["--max-frame-bytes=524288", "--max-unsent-bytes=4194304"]).await;
    let there = here.beside(&["--max-frame-bytes=524288"]).await;
    let mut alice = Client::opened(&here, "alice").await;
    // A ref comes back as it is; quotes are escaped twice.
    let long = |mark: &str| format!("{mark}{}", "\\\"".repeat(200_000));
    let body =
        ["a", "b"].map(|mark| format!(r#"[null,"{}","phoenix","heartbeat",{{}}]"#, long(mark))).join("\n");
    assert!(body.len() > simurgh_protocol::limits::ENVELOPE_BYTES);
    assert_eq!(alice.post(&there, &body).await, json!({"status": 200}));
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.extend(frames(&alice.poll(&there).await));
    }
    assert_eq!(heard, ["a", "b"].map(|mark| alive(&long(mark).replace('\\', ""))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_given_again_to_who_asks_again() {
    let here = Served::new(&[]).await;
    let there = here.beside(&[]).await;
    let mut alice = Client::opened(&here, "alice").await;
    alice.post(&here, &heartbeat(1)).await;
    assert_eq!(frames(&alice.poll(&here).await), [alive("1")]);
    alice.post(&here, &heartbeat(2)).await;
    // This one's answer does not arrive: its token is not taken over.
    assert_eq!(frames(&alice.get(&here, "").await.json()), [alive("2")]);
    alice.post(&here, &heartbeat(3)).await;
    assert_eq!(frames(&alice.poll(&there).await), [alive("2")]);
    assert_eq!(frames(&alice.poll(&there).await), [alive("3")]);
    assert_eq!(alice.poll(&here).await["status"], 204);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_its_first_token_gets_everything_once() {
    let served = Served::new(&[]).await;
    let alice = Client::opened(&served, "alice").await;
    for turn in 1..4 {
        alice.post(&served, &heartbeat(turn)).await;
        assert_eq!(frames(&alice.get(&served, "").await.json()), [alive(&turn.to_string())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_went_away_while_it_polled_leaves_its_messages_for_the_next_and_ends_soon() {
    let here = Served::new(&[]).await;
    let there = here.beside(&[]).await;
    for through in [&here, &there] {
        let mut alice = Client::opened(&here, "alice").await;
        for lives in [true, false] {
            let cut = tokio::time::timeout(Duration::from_secs(1), alice.get(through, "")).await;
            assert!(cut.is_err());
            settle().await;
            if lives {
                alice.post(through, HEARTBEAT).await;
                assert_eq!(frames(&alice.poll(through).await), [alive("1")]);
            } else {
                tokio::time::sleep(Duration::from_secs(3)).await;
                assert_eq!(alice.poll(through).await["status"], 410);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_called_off_by_what_comes_right_after_it() {
    let here = Served::new(&[]).await;
    let alice = Client::opened(&here, "alice").await;
    let session = SessionToken::parse(alice.token.as_deref().unwrap()).unwrap();
    let (secret, subject) = (session.secret.reveal(), here.subjects.long_polls(&session.process));
    let poll = LongPollCall::Poll { session: secret.clone(), seen: None, from: 0, poll: 7 };
    let leave = LongPollCall::Leave { session: secret, poll: 7 };
    let start = testing::now();
    let (answer, _) = tokio::join!(
        biased;
        here.bus.request(&subject, encode_with(&poll, b""), Duration::from_secs(20)),
        here.bus.publish(&subject, encode_with(&leave, b"")),
    );
    assert_eq!(decode_with::<LongPollAnswer>(&answer.unwrap()).unwrap().0, LongPollAnswer::Gone);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_gone_is_followed_by_a_new_one_for_who_may_have_it() {
    let here = Served::new(&[]).await;
    let there = here.beside(&[]).await;
    let mut alice = Client::opened(&here, "alice").await;
    let old = alice.token.clone().unwrap();
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(alice.post(&there, HEARTBEAT).await, json!({"status": 410}));
    // Without a JWT, nobody knows who asks.
    let stranger = Client { token: Some(old.clone()), query: "vsn=2.0.0".to_owned() };
    assert_eq!(stranger.get(&here, "").await.json(), json!({"status": 403}));
    // phoenix.js before 1.8 would take the 410 for the first answer of the session that it has.
    let old_client = alice.get(&here, "content-type: application/json\n").await;
    assert_eq!(old_client.json(), json!({"status": 500}));
    assert_eq!(alice.poll(&there).await, json!({"status": 410, "messages": []}));
    assert_ne!(alice.token, Some(old));
    alice.post(&here, HEARTBEAT).await;
    assert_eq!(frames(&alice.poll(&here).await), [alive("1")]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_hands_over_what_there_is_and_sends_clients_elsewhere() {
    let here = Served::new(&["--drain-window=4s"]).await;
    let there = here.beside(&[]).await;
    let mut waiting = Client::opened(&here, "alice").await;
    let mut behind = Client::opened(&here, "bob").await;
    behind.post(&there, HEARTBEAT).await;
    let start = testing::now();
    let (told, ()) = tokio::join!(waiting.poll(&here), async {
        settle().await;
        here.shutdown.cancel();
        settle().await;
        // Nobody can reach it any more, but for other gateways.
        assert_eq!(frames(&behind.poll(&there).await), [alive("1")]);
    });
    assert_eq!(told, json!({"status": 500}));
    assert!(start.elapsed() <= Duration::from_secs(5));
    let answer = behind.poll(&there).await;
    assert!([json!(500), json!(410)].contains(&answer["status"]), "{answer}");
    waiting.token = None;
    assert_eq!(waiting.poll(&there).await["status"], 410);
}
