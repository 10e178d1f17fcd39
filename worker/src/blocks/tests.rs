//! What a block stops, whom it does not show to, and what begins at once with it.

use std::time::Duration;

use serde_json::{Value, json};
use simurgh_backplane::Subscription;
use simurgh_protocol::{
    ConversationId, Push, Raw,
    envelope::{Call, ConversationEvent, HistoryPage},
    limits,
};
use tokio::time::sleep;

use crate::fixture::{Heard, Outcome, World, create, published, reason, user};

mod seen;

pub(super) fn block(other: &str, present: bool) -> Call {
    Call::SetBlock { user: None, other: user(other), present }
}

fn list(limit: usize, cursor: Option<&str>) -> Call {
    Call::ListBlocks { user: None, limit, cursor: cursor.map(str::to_owned) }
}

fn named(page: &Value) -> Vec<&str> {
    page["blocks"].as_array().unwrap().iter().map(|block| block["user_id"].as_str().unwrap()).collect()
}

pub(super) async fn set(world: &World, who: &str, other: &str, present: bool) {
    assert_eq!(world.call(who, block(other, present)).await.unwrap().0, 204);
}

pub(super) fn push(id: &ConversationId, push: Push, payload: &Value) -> Call {
    Call::Push { conversation: Some(id.clone()), push, payload: Raw::of(payload) }
}

pub(super) async fn history(world: &World, who: &str, id: &ConversationId) -> Vec<Value> {
    let page = HistoryPage { before_seq: None, after_seq: Some(0), limit: 100, since: Some("c0".to_owned()) };
    let (_, page) = world.call(who, Call::History { conversation: id.clone(), page }).await.unwrap();
    page["messages"].as_array().unwrap().clone()
}

pub(super) fn contents(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["content"].as_str().unwrap()).collect()
}

/// What was published of messages: whether all may have it, and who may not.
pub(super) fn logged(channel: &mut Subscription) -> Vec<(u64, Option<String>)> {
    let heard = std::iter::from_fn(|| channel.try_next());
    heard
        .flat_map(|delivery| match published(&delivery).event {
            ConversationEvent::Messages(messages) => {
                assert!(messages.iter().all(|logged| logged.except.is_none()), "older gateways tell all");
                messages
            }
            ConversationEvent::Apart(messages) => messages,
            _ => Vec::new(),
        })
        .map(|logged| (logged.seq, logged.except.map(|user| user.to_string())))
        .collect()
}

async fn listed(world: &World, who: &str) -> Value {
    let list = Call::ListConversations { user: None, limit: 10, cursor: None };
    world.call(who, list).await.unwrap().1["conversations"].clone()
}

fn told<'a>(heard: &'a [Heard], event: &str) -> Vec<(&'a str, &'a Value)> {
    let of_event = heard.iter().filter(|heard| heard.event == event);
    of_event.flat_map(|heard| heard.users.iter().map(|user| (user.as_str(), &heard.payload))).collect()
}

#[tokio::test(start_paused = true)]
async fn blocks_come_and_go_are_paged_and_told_to_ones_own_devices_alone() {
    let mut world = World::new().await;
    for who in ["alice", "bob", "carol"] {
        world.connect(who, &["ref"], None).await;
    }
    for other in ["carol", "bob", "bob"] {
        set(&world, "alice", other, true).await;
    }
    let heard = world.heard();
    let updates = told(&heard, "blocks_updated");
    assert_eq!(
        updates.len(),
        3,
        "also where nothing changed: an attempt before may have died before it told"
    );
    assert!(updates.iter().all(|(who, payload)| *who == "alice" && payload["blocked"] == true));
    let (_, first) = world.call("alice", list(1, None)).await.unwrap();
    assert_eq!(named(&first), ["bob"]);
    let (_, rest) = world.call("alice", list(1, first["next_cursor"].as_str())).await.unwrap();
    assert_eq!((named(&rest), &rest["next_cursor"]), (vec!["carol"], &Value::Null));
    assert_eq!(named(&world.call("bob", list(9, None)).await.unwrap().1), [""; 0]);
    for _ in 0..2 {
        set(&world, "alice", "bob", false).await;
    }
    assert_eq!(told(&world.heard(), "blocks_updated")[0].1["blocked"], false);
    assert_eq!(named(&world.call("alice", list(9, None)).await.unwrap().1), ["carol"]);
}

#[tokio::test(start_paused = true)]
async fn oneself_and_others_blocks_are_refused_and_there_is_a_limit() {
    let world = World::new().await;
    assert_eq!(reason(world.call("alice", block("alice", true)).await), "validation_failed");
    assert_eq!(reason(world.call("alice", list(9, Some("5f"))).await), "validation_failed");
    let of_alice = Call::SetBlock { user: Some(user("alice")), other: user("bob"), present: true };
    assert_eq!(reason(world.call("carol", of_alice.clone()).await), "forbidden");
    assert_eq!(reason(world.call("service", block("bob", true)).await), "validation_failed");
    assert_eq!(world.call("service", of_alice).await.unwrap().0, 204);
    for number in 1..limits::BLOCKS {
        set(&world, "alice", &format!("u{number}"), true).await;
    }
    let refused = world.call("alice", block("one-more", true)).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), &refused.details["limit"]), ("conflict", &json!(limits::BLOCKS)));
    set(&world, "alice", "bob", true).await;
    set(&world, "alice", "bob", false).await;
    set(&world, "alice", "one-more", true).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_blocked_one_says_is_answered_as_ever_and_never_comes_to_the_blocker() {
    let mut world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    world.send("bob", &id, "before").await;
    sleep(Duration::from_secs(3)).await;
    for who in ["alice", "bob"] {
        world.connect(who, &["ref"], None).await;
    }
    set(&world, "alice", "bob", true).await;
    let mut channel = world.listen(&id).await;
    world.heard();
    let reply = world.send("bob", &id, "unheard").await;
    assert_eq!((&reply["seq"], &reply["duplicate"]), (&json!(2), &json!(false)));
    assert!(reply["message"].get("hidden").is_none() && reply["message"].get("silent").is_none());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(logged(&mut channel)[0], (2, Some("alice".to_owned())));
    let heard = world.heard();
    let notices = told(&heard, "new_message");
    assert_eq!(notices.iter().map(|(who, _)| *who).collect::<Vec<_>>(), ["bob"], "its own devices");
    assert_eq!(contents(&history(&world, "bob", &id).await), ["before", "unheard"]);
    let alices = history(&world, "alice", &id).await;
    assert_eq!((contents(&alices), &alices[1]["hidden"]), (vec!["before", ""], &json!(true)));
    let unread = &listed(&world, "alice").await[0];
    assert_eq!(
        (&unread["unread_count"], &unread["last_seq"]),
        (&json!(1), &json!(2)),
        "the one before counts"
    );
    let (_, joined) = world.call("alice", Call::JoinUser).await.unwrap();
    assert_eq!(joined["unread"][0]["unread_count"], json!(1));
    // Once it listens again, what was said meanwhile stays unheard, and what comes is heard.
    set(&world, "alice", "bob", false).await;
    assert_eq!(listed(&world, "alice").await[0]["unread_count"], json!(1));
    world.send("bob", &id, "after").await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(listed(&world, "alice").await[0]["unread_count"], json!(2));
    assert_eq!(contents(&history(&world, "alice", &id).await), ["before", "", "after"]);
    assert_eq!(contents(&history(&world, "bob", &id).await), ["before", "unheard", "after"]);
}

#[tokio::test(start_paused = true)]
async fn the_blocker_says_nothing_new_and_a_repeat_of_what_it_said_is_answered_as_ever() {
    let world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    let first = world.send("alice", &id, "said").await;
    set(&world, "alice", "bob", true).await;
    let text = |text: &str| json!({"message_type": "text", "content": text, "client_random": text});
    let send = |payload: &Value| push(&id, Push::SendMessage, payload);
    assert_eq!(reason(world.call("alice", send(&text("more"))).await), "blocked");
    let edit = json!({"message_id": first["message_id"], "content": "other"});
    assert_eq!(reason(world.call("alice", push(&id, Push::EditMessage, &edit)).await), "blocked");
    let reaction = json!({"message_id": first["message_id"], "reaction": "+1"});
    assert_eq!(reason(world.call("alice", push(&id, Push::AddReaction, &reaction)).await), "blocked");
    let (_, again) = world.call("alice", send(&text("said"))).await.unwrap();
    assert_eq!((&again["message_id"], &again["duplicate"]), (&first["message_id"], &json!(true)));
    assert_eq!(contents(&history(&world, "bob", &id).await), ["said"]);
    let system = json!({"sender_id": "bot", "message_type": "system", "content": "s", "client_random": 1});
    world
        .call("service", Call::PostMessage { conversation: id.clone(), body: Raw::of(&system) })
        .await
        .unwrap();
    assert_eq!(contents(&history(&world, "alice", &id).await), ["said", "s"], "announcements come to both");
    set(&world, "alice", "bob", false).await;
    assert_eq!(world.send("alice", &id, "more").await["duplicate"], false, "nothing of it was taken before");
}

#[tokio::test(start_paused = true)]
async fn in_a_group_everything_is_said_as_ever() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob"]).await;
    set(&world, "alice", "bob", true).await;
    world.send("bob", &id, "to all").await;
    world.send("alice", &id, "to all, too").await;
    for who in ["alice", "bob"] {
        assert_eq!(contents(&history(&world, who, &id).await), ["to all", "to all, too"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_the_blocked_one_begins_is_its_own_alone() {
    let mut world = World::new().await;
    set(&world, "alice", "bob", true).await;
    for who in ["alice", "bob"] {
        world.connect(who, &["ref"], None).await;
    }
    world.heard();
    let direct = |who: &str| create(json!({"type": "direct", "member_ids": [who]}));
    assert_eq!(reason(world.call("alice", direct("bob")).await), "blocked", "nor does the blocker begin one");
    let (status, conversation) = world.call("bob", direct("alice")).await.unwrap();
    assert_eq!((status, &conversation["member_ids"]), (201, &json!(["alice", "bob"])));
    let id = ConversationId::new(conversation["id"].as_str().unwrap()).unwrap();
    world.send("bob", &id, "unheard").await;
    sleep(Duration::from_secs(3)).await;
    let heard = world.heard();
    assert!(heard.iter().filter(|heard| heard.event != "visibility").all(|heard| heard.users == ["bob"]));
    assert_eq!(listed(&world, "bob").await.as_array().unwrap().len(), 1);
    assert_eq!(listed(&world, "alice").await, json!([]));
    assert_eq!(world.call("alice", Call::JoinUser).await.unwrap().1["unread"], json!([]));
    set(&world, "alice", "bob", false).await;
    assert_eq!(listed(&world, "alice").await, json!([]), "until something of it can be shown");
    world.send("bob", &id, "heard").await;
    sleep(Duration::from_secs(3)).await;
    let shown = listed(&world, "alice").await;
    assert_eq!(
        (&shown[0]["unread_count"], &shown[0]["last_message"]["content"]),
        (&json!(1), &json!("heard"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_block_and_a_conversation_that_begin_at_once_meet() {
    for seed in 0..40 {
        let world = World::slow(seed).await;
        let direct = create(json!({"type": "direct", "member_ids": ["alice"]}));
        let (created, blocked): (Outcome, Outcome) =
            tokio::join!(world.call("bob", direct), world.call("alice", block("bob", true)));
        assert_eq!(blocked.unwrap().0, 204, "{seed}");
        let id = ConversationId::new(created.unwrap().1["id"].as_str().unwrap()).unwrap();
        world.send("bob", &id, "unheard").await;
        assert_eq!(contents(&history(&world, "alice", &id).await), [""], "{seed}");
        assert_eq!(contents(&history(&world, "bob", &id).await), ["unheard"], "{seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_after_a_block_was_answered_is_unheard_and_what_races_it_is_one_or_the_other() {
    for seed in 0..20 {
        let world = World::slow(seed).await;
        let id = world.create("alice", "direct", &["bob"]).await;
        let mut channel = world.listen(&id).await;
        let (_, blocked) =
            tokio::join!(world.send("bob", &id, "racing"), world.call("alice", block("bob", true)));
        blocked.unwrap();
        world.send("bob", &id, "later").await;
        let messages = history(&world, "alice", &id).await;
        assert_eq!(messages[1]["hidden"], true, "{seed}");
        let told = logged(&mut channel);
        let racing = told.iter().find(|(seq, _)| *seq == 1).unwrap();
        assert_eq!(racing.1.is_some(), messages[0]["hidden"] == true, "{seed}: told as it is shown");
        assert!(told.contains(&(2, Some("alice".to_owned()))), "{seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_leave_all_that_is_stored_of_a_block_alike() {
    for seed in 0..20 {
        let world = World::slow(seed).await;
        let id = world.create("alice", "direct", &["bob"]).await;
        let set = async |who: &'static str, other, present| world.call(who, block(other, present)).await;
        let (a, b, c, d) = tokio::join!(
            set("alice", "bob", true),
            set("alice", "bob", true),
            set("bob", "alice", true),
            set("alice", "bob", false)
        );
        a.and(b).and(c).and(d).unwrap();
        let blocks = named(&world.call("alice", list(9, None)).await.unwrap().1) == ["bob"];
        let text = json!({"message_type": "text", "content": "x", "client_random": 1});
        let bobs = world.call("bob", push(&id, Push::SendMessage, &text)).await;
        assert_eq!(reason(bobs), "blocked", "{seed}: bob blocks alice");
        let alices = world.call("alice", push(&id, Push::SendMessage, &text)).await;
        assert_eq!(alices.is_err(), blocks, "{seed}: as alice's list says");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_attempt_does_not_undo_what_came_after_it() {
    let world = World::new().await;
    let key = crate::store::keys::pair(&user("bob"), &user("alice"));
    for present in [true, false] {
        set(&world, "alice", "bob", present).await;
        let read = world.worker.store.get(&key, crate::store::Consistency::Strong).await.unwrap().unwrap();
        // It is so already, and yet who read it before that and writes now finds another version.
        set(&world, "alice", "bob", present).await;
        let expect = crate::store::Expect::Version(read.version);
        let late = crate::document::write(key.clone(), &json!({"blocked_by": {}}), expect);
        assert!(world.worker.store.put(late).await.is_err());
    }
}
