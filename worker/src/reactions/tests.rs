use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use simurgh_protocol::{
    ConversationId, Push, Reason, UserId,
    envelope::{Call, ConversationEvent, HistoryPage},
};
use tokio::time::sleep;

use super::check;
use crate::{
    document,
    faults::Fault,
    fixture::{create, reason, remove},
    reactions::{React, Reactions},
    rig::Rig,
    store::{Expect, Store, keys},
};

#[test]
fn a_reaction_is_short_and_no_name_on_the_prototype() {
    for reaction in ["👍", "+1", "a b", " ", "\u{a0}\n", &"x".repeat(64)] {
        assert_eq!(check(reaction), Ok(()), "{reaction}");
    }
    for reaction in ["", "constructor", "__proto__", &"x".repeat(65), &"👍".repeat(17)] {
        assert_eq!(check(reaction).unwrap_err().reason, Reason::ValidationFailed, "{reaction}");
    }
}

fn react(rig: &Rig, push: Push, message: &Value, reaction: &str) -> Call {
    rig.push(push, &json!({"message_id": message["message_id"], "reaction": reaction}))
}

async fn history(rig: &Rig, who: &str, page: HistoryPage) -> Value {
    rig.call(0, who, Call::History { conversation: rig.room.clone(), page }).await.unwrap().1
}

const LATEST: HistoryPage = HistoryPage { before_seq: None, after_seq: None, limit: 50, since: None };

#[tokio::test(start_paused = true)]
async fn two_hundred_who_react_at_once_all_do() {
    let mut rig = Rig::new(2, Duration::from_millis(10), 1).await;
    let names: Vec<String> = (0..200).map(|n| format!("user{n}")).collect();
    let room = ConversationId::new("crowd").unwrap();
    let body = json!({"id": room, "type": "group", "member_ids": names});
    rig.call(0, "service", create(body)).await.unwrap();
    rig.enter(room).await;
    let (_, message) = rig.send(0, "user0", "x").await.unwrap();
    rig.told();
    let begun = rig.env.instant();
    let calls = names.iter().map(|name| rig.call(0, name, react(&rig, Push::AddReaction, &message, "👍")));
    let refused = join_all(calls).await.into_iter().filter(Result::is_err).count();
    assert_eq!(refused, 0, "of 200, within {:?}", begun.elapsed());
    let told: Vec<u64> = rig
        .told()
        .into_iter()
        .filter_map(|told| match told.event {
            ConversationEvent::Change(change) => Some(change.change_seq),
            _ => None,
        })
        .collect();
    assert_eq!(told, (1..=200).collect::<Vec<u64>>(), "each once, in order");
    let shown = history(&rig, "user0", LATEST).await["messages"][0]["reactions"]["👍"].clone();
    let shown: BTreeSet<String> = serde_json::from_value(shown).unwrap();
    assert_eq!(shown, names.into_iter().collect());
}

#[tokio::test(start_paused = true)]
async fn two_workers_react_at_once_and_nothing_is_lost() {
    for seed in 0..20 {
        let rig = Rig::new(2, Duration::from_millis(10), seed).await;
        let (_, message) = rig.send(0, "alice", "x").await.unwrap();
        let calls = (0..24).map(|n| {
            let who = ["alice", "bob", "carol"][n % 3];
            rig.call(n % 2, who, react(&rig, Push::AddReaction, &message, &format!("r{}", n / 3)))
        });
        for outcome in join_all(calls).await {
            outcome.unwrap();
        }
        let page = history(&rig, "bob", LATEST).await;
        let reactions = page["messages"][0]["reactions"].as_object().unwrap();
        assert!(reactions.values().all(|users| users.as_array().unwrap().len() == 3));
        assert_eq!((reactions.len(), &page["change_cursor"]), (8, &json!("c24")), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reaction_stored_without_an_answer_shows_in_the_head() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, message) = rig.send(0, "alice", "x").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    rig.told();
    rig.store.plan("r#", Fault::AnswerLost);
    assert_eq!(
        reason(rig.call(0, "bob", react(&rig, Push::AddReaction, &message, "👍")).await),
        "unavailable"
    );
    sleep(Duration::from_secs(2)).await;
    let told = rig.told();
    assert!(
        matches!(&told[..], [told] if matches!(&told.event, ConversationEvent::Head(head) if head.change_seq == 1)),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_members_react() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, message) = rig.send(0, "alice", "x").await.unwrap();
    rig.call(0, "bob", react(&rig, Push::AddReaction, &message, "👍")).await.unwrap();
    rig.call(0, "service", remove(&rig.room, "bob")).await.unwrap();
    let writes = rig.store.count("r#");
    for who in ["mallory", "bob"] {
        for push in [Push::AddReaction, Push::RemoveReaction] {
            let call = react(&rig, push, &message, "🎉");
            assert_eq!(reason(rig.call(0, who, call).await), "not_a_member", "{who} {push:?}");
        }
        let mark = rig.push(Push::MarkAsRead, &json!({"message_id": message["message_id"]}));
        assert_eq!(reason(rig.call(0, who, mark).await), "not_a_member", "{who}");
    }
    assert_eq!(rig.store.count("r#"), writes);
}

/// As many reactions as a message may have.
fn full() -> Reactions {
    let mut reactions = Reactions::default();
    for n in 0.. {
        let user = UserId::new(&format!("{:x<60}{:04}", "u", n)).unwrap();
        match reactions.decide(&user, &(n % 10).to_string(), React::Add, 64) {
            Ok(more) => reactions = more,
            Err(_) => return reactions,
        }
    }
    reactions
}

#[tokio::test(start_paused = true)]
async fn no_message_is_shown_without_the_reactions_that_it_has() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let full = full();
    let many = full.clone().shown().values().map(Vec::len).sum::<usize>();
    for seq in 1..=120 {
        rig.send(0, "alice", &format!("m{seq}")).await.unwrap();
        rig.store.put(document::write(keys::reactions(&rig.room, seq), &full, Expect::Absent)).await.unwrap();
    }
    let after = HistoryPage { after_seq: Some(3), ..LATEST };
    for (page, wanted) in [(LATEST, 120), (HistoryPage { limit: 200, ..LATEST }, 120), (after, 4)] {
        let shown = history(&rig, "bob", page).await;
        let messages = shown["messages"].as_array().unwrap();
        assert!(messages.iter().any(|message| message["seq"] == json!(wanted)), "{}", messages.len());
        for message in messages {
            let users = message["reactions"]
                .as_object()
                .unwrap()
                .values()
                .map(|users| users.as_array().unwrap().len());
            assert_eq!(users.sum::<usize>(), many, "{}", message["seq"]);
        }
    }
}
