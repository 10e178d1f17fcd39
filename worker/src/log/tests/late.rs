//! Attempts that come late, and workers that die.

use std::time::Duration;

use serde_json::json;
use simurgh_protocol::{Push, UserId, envelope::ConversationEvent};
use tokio::time::sleep;

use crate::{
    faults::{Fault, Odds},
    fixture::reason,
    log::{HeadDocument, change::ChangeDocument},
    members::MemberDocument,
    rig::Rig,
    store::{StoreError, keys},
};

#[tokio::test(start_paused = true)]
async fn after_its_deadline_a_command_writes_nothing() {
    let rig = Rig::new(1, Duration::from_millis(40), 1).await;
    let writes = rig.store.count("");
    let late = rig.ask(&rig.workers[0], "alice", rig.env.uuid(), Duration::ZERO, rig.text("n", "x")).await;
    assert_eq!((reason(late), rig.store.count("")), ("unavailable", writes));
    for within in (1..300).map(Duration::from_millis) {
        let name = format!("m{}", within.as_millis());
        let claimed = rig.store.count("l#");
        let begun = rig.env.now();
        let sent = rig.ask(&rig.workers[0], "alice", rig.env.uuid(), within, rig.text(&name, "x")).await;
        assert!(rig.env.now() <= begun.plus(within + Duration::from_millis(1)), "answered by its deadline");
        if sent.is_err() {
            // Whatever was under way then ends; nothing new begins.
            tokio::time::sleep(Duration::from_millis(200)).await;
            let writes = rig.store.count("l#");
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(rig.store.count("l#"), writes);
        }
        assert!(rig.store.count("l#") <= claimed + 1);
    }
    rig.log().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_with_sends_under_way_loses_nothing_that_was_acknowledged() {
    for seed in 0..30 {
        let rig = Rig::new(2, Duration::from_millis(20), seed).await;
        let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
        let sends = futures_util::future::join_all(names.iter().map(|name| rig.send(0, "alice", name)));
        let dies = async {
            tokio::time::sleep(rig.env.jitter(Duration::from_millis(120))).await;
            rig.workers[0].stop();
        };
        let (first, ()) = futures_util::future::join(sends, dies).await;
        for (name, first) in names.iter().zip(first) {
            let again = rig.send(1, "alice", name).await.unwrap().1;
            if let Ok((_, first)) = first {
                assert_eq!(again["message_id"], first["message_id"], "seed {seed}");
            }
        }
        assert_eq!(rig.log().await.len(), 20, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_and_positions_that_were_not_written_are_tried_again() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    rig.told();
    rig.store.odds(Odds { lost: 1_000, ..Odds::default() });
    sleep(Duration::from_secs(4)).await;
    assert!(rig.told().is_empty() && rig.item(&keys::head(&rig.room)).await.is_none());
    rig.send(0, "alice", "two").await.unwrap_err();
    rig.store.odds(Odds::default());
    sleep(Duration::from_secs(8)).await;
    let head: HeadDocument = rig.item(&keys::head(&rig.room)).await.unwrap().body.parse().unwrap();
    assert_eq!(head.last_seq, 1);
    assert!(
        matches!(&rig.told()[..], [told] if matches!(&told.event, ConversationEvent::Head(head) if head.last_seq == 1))
    );
    let key = keys::member(&rig.room, &UserId::new("alice").unwrap());
    let alice: MemberDocument = rig.item(&key).await.unwrap().body.parse().unwrap();
    assert_eq!(alice.last_read_seq, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_new_does_not_wait_for_what_failed() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    rig.store.odds(Odds { lost: 1_000, ..Odds::default() });
    sleep(Duration::from_secs(60)).await;
    rig.store.odds(Odds::default());
    rig.send(0, "alice", "two").await.unwrap();
    sleep(Duration::from_millis(1_100)).await;
    let head: HeadDocument = rig.item(&keys::head(&rig.room)).await.unwrap().body.parse().unwrap();
    assert_eq!(head.last_seq, 2);
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_is_never_written_is_given_up() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    rig.send(0, "alice", "one").await.unwrap();
    let before = rig.store.count("c#room");
    rig.store.odds(Odds { lost: 1_000, ..Odds::default() });
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(rig.store.count("c#room") - before, 10, "the position, ten times; the head comes after it");
}

#[tokio::test(start_paused = true)]
async fn a_reaction_that_comes_late_does_not_undo_its_removal() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, message) = rig.send(0, "alice", "x").await.unwrap();
    let payload = json!({"message_id": message["message_id"], "reaction": "👍"});
    let (add, remove) = (rig.push(Push::AddReaction, &payload), rig.push(Push::RemoveReaction, &payload));
    rig.store.plan("r#", Fault::Held);
    assert_eq!(reason(rig.call(0, "bob", add.clone()).await), "unavailable");
    rig.call(0, "bob", remove.clone()).await.unwrap();
    assert_eq!(rig.store.release().await, [Err(StoreError::Conflict(None))], "also where nothing was there");

    rig.call(0, "bob", add.clone()).await.unwrap();
    rig.store.plan("r#", Fault::Held);
    assert_eq!(reason(rig.call(0, "bob", remove).await), "unavailable");
    rig.call(0, "bob", add).await.unwrap();
    assert_eq!(rig.store.release().await, [Err(StoreError::Conflict(None))]);

    let changes = rig.items(keys::changes(&rig.room, 1, 99)).await;
    let events: Vec<String> =
        changes.iter().map(|item| item.body.parse::<ChangeDocument>().unwrap().event).collect();
    assert_eq!(events, ["reaction_added"], "what changed nothing is not told");
    rig.told();
}

#[tokio::test(start_paused = true)]
async fn a_position_that_comes_late_does_not_move_back() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, one) = rig.send(0, "alice", "one").await.unwrap();
    let (_, two) = rig.send(0, "alice", "two").await.unwrap();
    let mark = |message: &serde_json::Value| {
        rig.push(Push::MarkAsRead, &json!({"message_id": message["message_id"]}))
    };
    rig.store.plan("c#room", Fault::Held);
    assert_eq!(reason(rig.call(0, "bob", mark(&one)).await), "unavailable");
    let (_, reply) = rig.call(0, "bob", mark(&two)).await.unwrap();
    assert_eq!(reply, json!({"marked_read": true, "last_read_seq": 2}));
    assert!(rig.store.release().await[0].is_err());
    let (_, reply) = rig.call(0, "bob", mark(&one)).await.unwrap();
    assert_eq!(reply["last_read_seq"], json!(2));
}
