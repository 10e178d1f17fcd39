//! One message for each `(conversation, sender, client_random)`, whatever goes wrong.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use simurgh_protocol::UserId;

use crate::{
    faults::Fault,
    fixture::reason,
    log::claim::ClaimDocument,
    rig::Rig,
    store::{Item, keys},
};

async fn claim(rig: &Rig, name: &str) -> (Item, ClaimDocument) {
    let name = simurgh_protocol::record::ClientRandom::Text(name.to_owned());
    let key = keys::claim(&rig.room, &UserId::new("alice").unwrap(), &name);
    let item = rig.item(&key).await.unwrap();
    let document = item.body.parse().unwrap();
    (item, document)
}

#[tokio::test(start_paused = true)]
async fn the_same_name_through_two_workers_at_once_is_one_message() {
    for seed in 0..50 {
        let mut rig = Rig::new(2, Duration::from_millis(10), seed).await;
        let sends = (0..4).map(|n| rig.call(n % 2, "alice", rig.text("once", "once")));
        let replies: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(rig.log().await.len(), 1);
        assert!(replies.iter().all(|(_, reply)| reply["message_id"] == replies[0].1["message_id"]));
        let firsts = replies.iter().filter(|(_, reply)| reply["duplicate"] == json!(false)).count();
        assert_eq!(firsts, 1, "one of them stored it");
        assert!(
            replies.iter().all(|(status, reply)| (*status == 200) == (reply["duplicate"] == json!(true)))
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(rig.heard_messages(), [1], "users are told once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_twice_in_a_batch_is_one_message() {
    let mut rig = Rig::new(1, Duration::from_millis(10), 1).await;
    let texts = [("a", "a"), ("b", "b"), ("a", "a"), ("b", "other"), ("a", "a")];
    let replies = join_all(texts.map(|(name, text)| rig.call(0, "alice", rig.text(name, text)))).await;
    assert_eq!(rig.log().await.len(), 2);
    let first = replies[0].as_ref().unwrap().1["message_id"].clone();
    for n in [2, 4] {
        assert_eq!(replies[n].as_ref().unwrap().1["message_id"], first);
    }
    let refused = replies[3].as_ref().unwrap_err();
    assert_eq!(refused.reason.as_str(), "conflict");
    assert_eq!(refused.details["message_id"], replies[1].as_ref().unwrap().1["message_id"]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.heard_messages(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn other_content_conflicts_and_stores_nothing() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, first) = rig.call(0, "alice", rig.text("n", "one")).await.unwrap();
    let refused = rig.call(0, "alice", rig.text("n", "two")).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), &refused.details["message_id"]), ("conflict", &first["message_id"]));
    rig.call(0, "bob", rig.text("n", "two")).await.unwrap();

    rig.store.plan("l#", Fault::Lost);
    assert_eq!(reason(rig.call(0, "alice", rig.text("m", "one")).await), "unavailable");
    assert_eq!(
        reason(rig.call(0, "alice", rig.text("m", "two")).await),
        "unavailable",
        "it may be on its way"
    );
    tokio::time::sleep(Duration::from_secs(12)).await;
    let refused = rig.call(0, "alice", rig.text("m", "two")).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), &refused.details["message_id"]), ("conflict", &json!(null)));
    assert_eq!(rig.log().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_names_the_message_that_is_stored_at_that_moment() {
    for seed in 0..50 {
        let rig = Rig::new(2, Duration::from_millis(10), seed).await;
        for worker in [0, 1] {
            // So that both know the members, and neither is later by that.
            rig.send(worker, "bob", &format!("w{worker}")).await.unwrap();
        }
        let sends =
            [(0, "one"), (1, "two")].map(|(worker, text)| rig.call(worker, "alice", rig.text("n", text)));
        let mut outcomes = join_all(sends).await;
        outcomes.sort_by_key(Result::is_err);
        let stored = outcomes[0].as_ref().unwrap().1["message_id"].clone();
        let refused = outcomes[1].as_ref().unwrap_err();
        assert_eq!(refused.reason.as_str(), "conflict", "seed {seed}");
        assert_eq!(refused.details["message_id"], stored, "seed {seed}");
        assert_eq!(rig.log().await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_finishes_what_a_claim_began() {
    for fault in [Fault::Lost, Fault::AnswerLost] {
        let mut rig = Rig::new(2, Duration::ZERO, 1).await;
        rig.store.plan("l#", fault);
        assert_eq!(reason(rig.send(0, "alice", "once").await), "unavailable");
        rig.send(1, "bob", "meanwhile").await.unwrap();
        rig.told();
        rig.heard();
        let (_, reply) = rig.send(1, "alice", "once").await.unwrap();
        assert_eq!(reply["duplicate"], json!(fault == Fault::AnswerLost), "{fault:?}");
        assert_eq!(rig.log().await.iter().filter(|message| message.content == "once").count(), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let seq = reply["seq"].as_u64().unwrap();
        assert_eq!(rig.told_messages(), [seq], "the conversation is told in any case");
        // The first attempt may have told users; the one that stores it does.
        assert_eq!(rig.heard_messages(), if fault == Fault::Lost { vec![seq] } else { vec![] });
    }
}

#[tokio::test(start_paused = true)]
async fn another_attempt_of_the_same_request_is_no_duplicate() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    let id = rig.env.uuid();
    rig.store.plan("l#", Fault::AnswerLost);
    assert_eq!(reason(rig.attempt(0, "alice", id, rig.text("n", "x")).await), "unavailable");
    let (status, reply) = rig.attempt(1, "alice", id, rig.text("n", "x")).await.unwrap();
    assert_eq!((status, &reply["duplicate"]), (201, &json!(false)));
    let (status, reply) = rig.call(1, "alice", rig.text("n", "x")).await.unwrap();
    assert_eq!((status, &reply["duplicate"]), (200, &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn the_stores_client_may_repeat_its_own_write() {
    let mut rig = Rig::new(1, Duration::from_millis(5), 1).await;
    rig.store.plan("l#", Fault::Repeated);
    let replies = join_all(["a", "b"].map(|name| rig.send(0, "alice", name))).await;
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().1["duplicate"] == json!(false)));
    assert_eq!(rig.log().await.len(), 2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!((rig.told_messages(), rig.heard_messages()), (vec![1, 2], vec![1, 2]), "told as ever");
    rig.store.plan("k#", Fault::Repeated);
    assert_eq!(rig.send(0, "alice", "c").await.unwrap().1["duplicate"], json!(false));
    assert_eq!(rig.log().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_old_unfinished_claim_is_renewed_before_its_message_is_stored() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.store.plan("l#", Fault::Lost);
    assert_eq!(reason(rig.send(0, "alice", "old").await), "unavailable");
    let made = rig.env.now();
    assert_eq!(claim(&rig, "old").await.0.expires_at.unwrap().as_millis() - made.as_millis(), 26 * 3_600_000);
    tokio::time::sleep(Duration::from_hours(25)).await;
    rig.send(0, "alice", "old").await.unwrap();
    let (item, document) = claim(&rig, "old").await;
    assert_eq!(document.since, rig.env.now());
    assert!(item.expires_at.unwrap() >= rig.env.now().plus(Duration::from_hours(24)));

    // One that expired and is still there counts.
    tokio::time::sleep(Duration::from_hours(30)).await;
    assert!(item.expires_at.unwrap() < rig.env.now());
    assert_eq!(rig.send(0, "alice", "old").await.unwrap().1["duplicate"], json!(true));
    assert_eq!(rig.log().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_after_many_others_looks_through_a_megabyte_an_attempt() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    rig.store.plan("l#", Fault::AnswerLost);
    assert_eq!(reason(rig.send(0, "alice", "far").await), "unavailable");
    rig.store.plan("l#", Fault::Lost);
    assert_eq!(reason(rig.send(0, "alice", "never").await), "unavailable");
    let long = "x".repeat(30_000);
    for n in 0..100 {
        rig.call(1, "bob", rig.text(&format!("o{n}"), &long)).await.unwrap();
    }
    assert_eq!(rig.send(0, "alice", "far").await.unwrap().1["seq"], json!(1));
    assert_eq!(claim(&rig, "far").await.1.seq, Some(1), "the next one need not look");

    let mut hints = vec![claim(&rig, "never").await.1.hint];
    let stored = loop {
        match rig.send(0, "alice", "never").await {
            Ok((_, reply)) => break reply,
            Err(refusal) => assert_eq!(refusal.reason.as_str(), "unavailable"),
        }
        hints.push(claim(&rig, "never").await.1.hint);
        assert!(hints.is_sorted_by(|one, other| one < other), "each attempt looks further: {hints:?}");
    };
    assert!(hints.len() > 2, "it took more than one attempt");
    assert_eq!((&stored["seq"], &stored["duplicate"]), (&json!(102), &json!(false)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_far_behind_the_log_raises_its_hints_and_comes_again() {
    let rig = Rig::new(2, Duration::ZERO, 1).await;
    rig.send(0, "alice", "first").await.unwrap();
    let long = "x".repeat(30_000);
    // The first worker still believes in the tail that it saw.
    for n in 0..80 {
        rig.call(1, "bob", rig.text(&format!("o{n}"), &long)).await.unwrap();
    }
    assert_eq!(reason(rig.send(0, "alice", "late").await), "unavailable");
    assert!(claim(&rig, "late").await.1.hint > 1);
    let mut attempts = 1;
    while rig.send(0, "alice", "late").await.is_err() {
        attempts += 1;
        assert!(attempts < 5);
    }
    assert_eq!(rig.slots().await.len(), 82);
}
