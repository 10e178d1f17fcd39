//! What is read from the log: ranges, heads, joins, history; with reactions, changes and positions.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use simurgh_protocol::{
    ConversationId, Push, Raw, UserId,
    envelope::{Call, ConversationEvent, HistoryPage, JoinedConversation, Membership, Range},
};

use crate::{
    Request,
    fixture::reason,
    log::HeadDocument,
    rig::{MEMBERS, Rig},
    store::keys,
};

/// A rig whose log holds `count` messages `m1`, `m2`, … in slots of several.
async fn filled(count: usize) -> Rig {
    let rig = Rig::new(1, Duration::from_millis(5), 5).await;
    let names: Vec<String> = (1..=count).map(|n| format!("m{n}")).collect();
    for names in names.chunks(200) {
        join_all(names.iter().map(|name| rig.send(0, "alice", name))).await;
    }
    assert_eq!(rig.log().await.len(), count);
    assert!(count < 20 || rig.slots().await.len() < count / 4, "several in a slot");
    rig
}

async fn range(rig: &Rig, after_seq: u64, after_change: u64) -> Range {
    let call = Call::Range { conversation: rig.room.clone(), after_seq, after_change };
    serde_json::from_value(rig.call(0, "service", call).await.unwrap().1).unwrap()
}

async fn history(rig: &Rig, who: &str, page: HistoryPage) -> Value {
    rig.call(0, who, Call::History { conversation: rig.room.clone(), page }).await.unwrap().1
}

fn page(before_seq: Option<u64>, after_seq: Option<u64>, limit: usize) -> HistoryPage {
    HistoryPage { before_seq, after_seq, limit, since: None }
}

async fn join_room(rig: &Rig, who: &str, params: Value) -> Result<Value, simurgh_protocol::Refusal> {
    let call = Call::JoinConversation { conversation: rig.room.clone(), params: Raw::of(&params) };
    let joined: JoinedConversation = serde_json::from_value(rig.call(0, who, call).await?.1).unwrap();
    assert_eq!(joined.head.members_version, 1);
    Ok(joined.response.parse().unwrap())
}

fn seqs(messages: &Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

async fn react(rig: &Rig, who: &str, push: Push, seq: usize, reaction: &str) -> Value {
    let id = rig.log().await[seq - 1].id;
    rig.call(0, who, rig.push(push, &json!({"message_id": id, "reaction": reaction}))).await.unwrap().1
}

#[tokio::test(start_paused = true)]
async fn a_range_begins_anywhere_in_a_slot_and_has_no_gap() {
    let rig = filled(100).await;
    for after in [0, 1, 15, 16, 17, 50, 99, 100, 1_000] {
        let range = range(&rig, after, 0).await;
        let got: Vec<u64> = range.messages.iter().map(|logged| logged.seq).collect();
        assert_eq!(got, (after + 1..=100).collect::<Vec<u64>>());
        assert_eq!((range.head.last_seq, range.head.change_seq, range.head.members_version), (100, 0, 1));
    }
    let members = ("c#room".to_owned(), "members".to_owned());
    assert_eq!(rig.store.last_read(), members, "a removal before the last message shows in the version");
    let nowhere =
        Call::Range { conversation: ConversationId::new("no").unwrap(), after_seq: 0, after_change: 0 };
    assert_eq!(reason(rig.call(0, "service", nowhere).await), "not_found");
}

#[tokio::test(start_paused = true)]
async fn a_range_stops_where_an_envelope_is_full() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    for n in 0..40 {
        rig.call(0, "alice", rig.text(&format!("m{n}"), &"x".repeat(30_000))).await.unwrap();
    }
    let (mut after, mut pages) = (0, 0);
    while after < 40 {
        let range = range(&rig, after, 0).await;
        assert!(Raw::of(&range).get().len() < simurgh_protocol::limits::ENVELOPE_BYTES);
        assert_eq!(range.messages[0].seq, after + 1);
        assert_eq!(range.head.last_seq, 40, "where the log ends, not where the page does");
        after = range.messages.last().unwrap().seq;
        pages += 1;
    }
    assert_eq!(pages, 2);
}

#[tokio::test(start_paused = true)]
async fn heads_come_from_the_log() {
    let rig = filled(3).await;
    react(&rig, "bob", Push::AddReaction, 2, "👍").await;
    let conversations = vec![ConversationId::new("nowhere").unwrap(), rig.room.clone()];
    let (_, heads) = rig.call(0, "service", Call::Heads { conversations }).await.unwrap();
    let expected = json!([{"conversation": "room", "last_seq": 3, "change_seq": 1, "members_version": 1}]);
    assert_eq!(heads, expected);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let head: HeadDocument = rig.item(&keys::head(&rig.room)).await.unwrap().body.parse().unwrap();
    assert_eq!((head.last_seq, head.change_seq), (3, 1));
    let slot = rig.slots().await.pop().unwrap();
    assert_eq!(head.slot, slot.first);
    rig.call(0, "service", Call::Heads { conversations: vec![rig.room.clone()] }).await.unwrap();
    assert_eq!(rig.store.last_read(), ("c#room".to_owned(), "members".to_owned()), "after the ends");
    let many = Call::Heads { conversations: vec![rig.room.clone(); 101] };
    assert_eq!(reason(rig.call(0, "service", many).await), "validation_failed");
}

#[tokio::test(start_paused = true)]
async fn members_are_checked_as_they_are_stored() {
    let rig = filled(0).await;
    let users = ["alice", "mallory", "carol"].map(|name| UserId::new(name).unwrap()).to_vec();
    let check =
        |room: &ConversationId| Call::CheckMembers { conversation: room.clone(), users: users.clone() };
    let answer = rig.call(0, "service", check(&rig.room)).await.unwrap().1;
    let membership: Membership = serde_json::from_value(answer).unwrap();
    assert_eq!((membership.members.len(), membership.members_version), (2, 1));
    let nowhere = ConversationId::new("nowhere").unwrap();
    let answer = rig.call(0, "service", check(&nowhere)).await.unwrap().1;
    assert_eq!(answer, json!({"members_version": 0, "members": []}));
}

#[tokio::test(start_paused = true)]
async fn a_join_tells_the_tail_and_what_was_missed() {
    let rig = filled(30).await;
    let joined = join_room(&rig, "bob", json!({})).await.unwrap();
    assert_eq!((&joined["status"], &joined["conversation_id"]), (&json!("joined"), &json!("room")));
    assert_eq!((&joined["last_seq"], &joined["last_read_seq"]), (&json!(30), &json!(0)));
    assert_eq!(
        (&joined["messages"], &joined["truncated"], &joined["changes"]),
        (&json!([]), &json!(false), &json!([]))
    );
    assert_eq!(joined["conversation"]["member_ids"], json!(MEMBERS));
    assert_eq!(joined["conversation"]["last_seq"], json!(30));
    assert_eq!(joined.as_object().unwrap().len(), 9, "no more than the contract says");
    let own = join_room(&rig, "alice", json!({"last_seq": null})).await.unwrap();
    assert_eq!(own["last_read_seq"], json!(30), "who sent the last message has read it");

    for (asked, first) in [(0, 1), (7, 8), (29, 30)] {
        let joined = join_room(&rig, "bob", json!({"last_seq": asked})).await.unwrap();
        assert_eq!(seqs(&joined["messages"]), (first..=30).collect::<Vec<u64>>());
        assert_eq!(joined["truncated"], json!(false));
        assert_eq!(joined["messages"][0]["reactions"], json!({}));
    }
    for asked in [30, 99] {
        let joined = join_room(&rig, "bob", json!({"last_seq": asked})).await.unwrap();
        assert_eq!((&joined["messages"], &joined["truncated"]), (&json!([]), &json!(false)));
    }
    for bad in [json!({"last_seq": -1}), json!({"last_seq": "x"}), json!({"since": "x"}), json!({"since": 5})]
    {
        assert_eq!(join_room(&rig, "bob", bad).await.unwrap_err().reason.as_str(), "validation_failed");
    }
    assert_eq!(join_room(&rig, "mallory", json!({})).await.unwrap_err().reason.as_str(), "not_a_member");
}

#[tokio::test(start_paused = true)]
async fn a_join_after_long_is_truncated_by_number_and_by_bytes() {
    let rig = filled(510).await;
    let joined = join_room(&rig, "bob", json!({"last_seq": 3})).await.unwrap();
    assert_eq!(seqs(&joined["messages"]), (4..=503).collect::<Vec<u64>>());
    assert_eq!(joined["truncated"], json!(true));
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    for n in 0..10 {
        rig.call(0, "alice", rig.text(&format!("m{n}"), &"x".repeat(30_000))).await.unwrap();
    }
    let joined = join_room(&rig, "bob", json!({"last_seq": 0})).await.unwrap();
    assert_eq!((seqs(&joined["messages"]).len(), &joined["truncated"]), (6, &json!(true)));
}

#[tokio::test(start_paused = true)]
async fn history_pages_both_ways() {
    let rig = filled(60).await;
    let latest = history(&rig, "bob", page(None, None, 50)).await;
    assert_eq!((seqs(&latest["messages"]), &latest["has_more"]), ((11..=60).collect(), &json!(true)));
    let before = history(&rig, "bob", page(Some(11), None, 50)).await;
    assert_eq!((seqs(&before["messages"]), &before["has_more"]), ((1..=10).collect(), &json!(false)));
    let after = history(&rig, "service", page(None, Some(20), 30)).await;
    assert_eq!((seqs(&after["messages"]), &after["has_more"]), ((21..=50).collect(), &json!(true)));
    let after = history(&rig, "bob", page(None, Some(50), 30)).await;
    assert_eq!((seqs(&after["messages"]), &after["has_more"]), ((51..=60).collect(), &json!(false)));
    for (before, after) in [(Some(1), None), (Some(0), None), (None, Some(60)), (None, Some(99))] {
        let none = history(&rig, "bob", page(before, after, 30)).await;
        assert_eq!((&none["messages"], &none["has_more"]), (&json!([]), &json!(false)));
    }
    let outsider = Call::History { conversation: rig.room.clone(), page: page(None, None, 5) };
    assert_eq!(reason(rig.call(0, "mallory", outsider).await), "not_a_member");
}

#[tokio::test(start_paused = true)]
async fn a_page_of_history_is_shorter_where_messages_are_long() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    for n in 0..40 {
        rig.call(0, "alice", rig.text(&format!("m{n}"), &"x".repeat(30_000))).await.unwrap();
    }
    let latest = history(&rig, "bob", page(None, None, 50)).await;
    let got = seqs(&latest["messages"]);
    assert_eq!((got.len(), got.last(), &latest["has_more"]), (17, Some(&40), &json!(true)));
    assert!(got.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn reactions_are_told_once_kept_and_listed_as_changes() {
    let mut rig = filled(20).await;
    let cursor = history(&rig, "bob", page(None, None, 5)).await["change_cursor"].clone();
    rig.told();
    for _ in 0..2 {
        assert_eq!(react(&rig, "bob", Push::AddReaction, 3, "👍").await, json!({"reaction_added": true}));
    }
    react(&rig, "carol", Push::AddReaction, 3, "👍").await;
    react(&rig, "bob", Push::AddReaction, 9, "🎉").await;
    for _ in 0..2 {
        assert_eq!(
            react(&rig, "bob", Push::RemoveReaction, 3, "👍").await,
            json!({"reaction_removed": true})
        );
    }
    let told: Vec<(u64, String)> = rig
        .told()
        .into_iter()
        .filter_map(|envelope| match envelope.event {
            ConversationEvent::Change(change) => Some((change.change_seq, change.event)),
            _ => None,
        })
        .collect();
    let events = ["reaction_added", "reaction_added", "reaction_added", "reaction_removed"];
    assert_eq!(told, (1..).zip(events.map(str::to_owned)).collect::<Vec<_>>());

    let listed = history(
        &rig,
        "bob",
        HistoryPage { since: cursor.as_str().map(str::to_owned), ..page(None, Some(2), 1) },
    )
    .await;
    assert_eq!(listed["messages"][0]["reactions"], json!({"👍": ["carol"]}));
    assert_eq!(seqs(&listed["changes"]), [3, 9], "each once, in its latest form");
    assert_eq!(listed["changes"][0], listed["messages"][0]);
    let joined = join_room(&rig, "bob", json!({"since": cursor})).await.unwrap();
    assert_eq!(
        (&joined["changes"], &joined["change_cursor"]),
        (&listed["changes"], &listed["change_cursor"])
    );
    let none = join_room(&rig, "bob", json!({"since": listed["change_cursor"]})).await.unwrap();
    assert_eq!(none["changes"], json!([]));

    let changes = range(&rig, 20, 1).await.changes;
    assert_eq!(changes.iter().map(|change| change.change_seq).collect::<Vec<_>>(), [2, 3, 4]);
    let payload: Value = changes[2].payload.parse().unwrap();
    let id = rig.log().await[2].id;
    let expected = json!({"conversation_id": "room", "message_id": id, "user_id": "bob", "reaction": "👍",
        "timestamp": payload["timestamp"]});
    assert_eq!(payload, expected);
}

#[tokio::test(start_paused = true)]
async fn changes_of_more_messages_than_fit_go_on_from_the_cursor() {
    let rig = filled(120).await;
    for seq in 1..=120 {
        react(&rig, "bob", Push::AddReaction, seq, "👍").await;
    }
    let first = join_room(&rig, "bob", json!({"since": "c0"})).await.unwrap();
    assert_eq!((seqs(&first["changes"]).len(), &first["changes_truncated"]), (100, &json!(true)));
    let since = first["change_cursor"].as_str().map(str::to_owned);
    let rest = history(&rig, "bob", HistoryPage { since, ..page(None, None, 1) }).await;
    assert_eq!(seqs(&rest["changes"]), (101..=120).collect::<Vec<u64>>());
    let request = Request::own(rig.env.now(), Duration::from_secs(1));
    let worker = &rig.workers[0];
    let roster = worker.roster(&request, &rig.room).await.unwrap().unwrap();
    let none = worker.changed_messages(&request, &rig.room, &roster, 7, 120, 10).await.unwrap();
    assert_eq!((none.messages.len(), none.change_seq), (0, 7), "where there is no room, the cursor stays");
}

#[tokio::test(start_paused = true)]
async fn reading_is_told_where_the_position_moved() {
    let mut rig = filled(3).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.renew_lease().await;
    let log = rig.log().await;
    let mark = |seq: usize| rig.push(Push::MarkAsRead, &json!({"message_id": log[seq - 1].id}));
    let (one, two, three) = (mark(1), mark(2), mark(3));
    rig.told();
    rig.heard();
    let (_, reply) = rig.call(0, "bob", two.clone()).await.unwrap();
    assert_eq!(reply, json!({"marked_read": true, "last_read_seq": 2}));
    let now = rig.env.now();
    let receipt = json!({"conversation_id": "room", "message_id": log[1].id, "seq": 2, "user_id": "bob",
        "read_at": now});
    // In a group a read of the store goes before it.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let told = rig.told();
    let ConversationEvent::Told { event, payload, except } = &told[0].event else { panic!("{told:?}") };
    assert_eq!(
        (event.as_str(), payload.parse::<Value>().unwrap(), except),
        ("read_receipt", receipt.clone(), &None)
    );
    let updated = json!({"conversation_id": "room", "change": "read", "user_id": "bob", "updated_at": now});
    let heard = rig.heard();
    assert_eq!(heard[0], (vec!["alice".to_owned()], "read_receipt".to_owned(), receipt));
    assert_eq!(heard[1], (vec!["bob".to_owned()], "conversation_updated".to_owned(), updated));
    for again in [two, one] {
        assert_eq!(rig.call(0, "bob", again).await.unwrap().1["last_read_seq"], json!(2));
    }
    assert_eq!((rig.told().len(), rig.heard().len()), (0, 0));
    rig.call(0, "bob", three).await.unwrap();
    let unknown = json!({"message_id": "00000000-0000-8000-8000-000000000000"});
    assert_eq!(reason(rig.call(0, "bob", rig.push(Push::MarkAsRead, &unknown)).await), "not_found");
    assert_eq!(reason(rig.call(0, "mallory", rig.push(Push::MarkAsRead, &unknown)).await), "not_a_member");
    let bad = json!({"message_id": "nonsense"});
    assert_eq!(reason(rig.call(0, "bob", rig.push(Push::MarkAsRead, &bad)).await), "validation_failed");
}

#[tokio::test(start_paused = true)]
async fn mark_all_read_answers_each_conversation_and_names_the_last_message_by_another() {
    let mut rig = filled(3).await;
    rig.send(0, "bob", "bob's").await.unwrap();
    rig.told();
    rig.heard();
    let all = |payload: Value| Call::Push {
        conversation: None,
        push: Push::MarkAllRead,
        payload: Raw::of(&payload),
    };
    let (_, answer) =
        rig.call(0, "bob", all(json!({"conversation_ids": ["nowhere", "room"]}))).await.unwrap();
    let expected = json!({"results": [
        {"conversation_id": "nowhere", "status": "error", "reason": "not_a_member"},
        {"conversation_id": "room", "status": "ok", "last_read_seq": 4}]});
    assert_eq!(answer, expected);
    // In a group a read of the store goes before it.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let receipts: Vec<Value> = rig
        .heard()
        .into_iter()
        .filter(|(_, event, _)| event == "read_receipt")
        .map(|(_, _, receipt)| receipt)
        .collect();
    assert_eq!((receipts.len(), &receipts[0]["seq"]), (1, &json!(3)), "the last by another, not one's own");
    let (_, answer) = rig.call(0, "bob", all(json!({}))).await.unwrap();
    assert_eq!(answer, json!({"results": [{"conversation_id": "room", "status": "ok", "last_read_seq": 4}]}));
    assert!(!rig.heard().iter().any(|(_, event, _)| event == "read_receipt"));
    assert_eq!(
        reason(rig.call(0, "bob", all(json!({"conversation_ids": "all"}))).await),
        "validation_failed"
    );
}
