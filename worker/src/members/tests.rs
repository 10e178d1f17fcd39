use std::time::Duration;

use serde_json::json;
use simurgh_protocol::{
    ConversationId, Raw,
    envelope::{Call, ConversationEnvelope, ConversationEvent},
};

use super::rules;
use crate::{
    Limits,
    fixture::{World, add, create, get, published, reason, remove, user},
    rig::Rig,
    store::{Expect, Store, keys},
};

#[tokio::test(start_paused = true)]
async fn any_member_adds_and_everybody_learns_of_it() {
    let mut world = World::new().await;
    for who in ["alice", "bob", "carol"] {
        world.connect(who, &[who], None).await;
    }
    let id = world.create("alice", "group", &["bob"]).await;
    world.heard();
    assert_eq!(world.call("bob", add(&id, "carol")).await.unwrap().0, 204);
    let heard = world.heard();
    assert_eq!((heard.len(), heard[0].event.as_str()), (1, "conversation_updated"));
    assert_eq!(heard[0].users, ["alice", "bob", "carol"]);
    let at = world.worker.env.now();
    let expected =
        json!({"conversation_id": id, "change": "member_added", "user_id": "carol", "updated_at": at});
    assert_eq!(heard[0].payload, expected);
    let (_, conversation) = world.call("carol", get(&id)).await.unwrap();
    assert_eq!(conversation["member_ids"], json!(["alice", "bob", "carol"]));
    assert_eq!(conversation["updated_at"], json!(at));

    assert_eq!(world.call("bob", add(&id, "carol")).await.unwrap().0, 204);
    assert_eq!(world.heard(), [], "nothing changed");
    assert_eq!(world.call("service", add(&id, "dave")).await.unwrap().0, 204);
    assert_eq!(reason(world.call("mallory", add(&id, "mallory")).await), "not_a_member");
}

#[tokio::test(start_paused = true)]
async fn limits_hold_for_groups_and_for_users() {
    let world = World::with(Limits { members: 2, conversations: 2, ..Limits::default() }).await;
    let full = world.create("alice", "group", &["bob"]).await;
    let refused = world.call("alice", add(&full, "carol")).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), &refused.details["limit"]), ("conflict", &json!(2)));
    let room = world.create("carol", "group", &[]).await;
    world.create("bob", "group", &[]).await;
    let refused = world.call("carol", add(&room, "bob")).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), &refused.details["limit"]), ("forbidden", &json!(2)));
    let body = json!({"type": "group", "member_ids": ["bob"]});
    assert_eq!(reason(world.call("dave", create(body)).await), "forbidden");
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_is_out_before_the_answer() {
    let mut world = World::new().await;
    for who in ["alice", "bob", "carol"] {
        world.connect(who, &[who], None).await;
    }
    let id = world.create("alice", "group", &["bob", "carol"]).await;
    world.heard();
    let mut conversation = world.listen(&id).await;
    assert_eq!(reason(world.call("bob", remove(&id, "carol")).await), "forbidden");
    assert_eq!(world.call("alice", remove(&id, "carol")).await.unwrap().0, 204);
    let told = published(&conversation.try_next().unwrap());
    assert_eq!(told.members_version, 2);
    assert!(matches!(told.event, ConversationEvent::Removed { user: gone } if gone == user("carol")));
    assert_eq!(reason(world.call("carol", get(&id)).await), "not_a_member");
    let heard = world.heard();
    assert_eq!(heard[0].users, ["alice", "bob", "carol"]);
    assert_eq!(heard[0].payload["change"], "member_removed");

    assert_eq!(world.call("alice", remove(&id, "carol")).await.unwrap().0, 204, "it is so already");
    assert_eq!(world.heard(), []);
    let told = published(&conversation.try_next().expect("an attempt before may have died before it told"));
    assert_says_nothing_but_the_version(&told, 2);
}

/// Of whose removal a step was the proof is said once, by who made it.
fn assert_says_nothing_but_the_version(told: &ConversationEnvelope, version: u64) {
    assert_eq!(told.members_version, version);
    assert!(matches!(&told.event, ConversationEvent::Messages(none) if none.is_empty()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_changes_nothing_is_no_proof_of_anything() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob"]).await;
    world.call("alice", remove(&id, "bob")).await.unwrap();
    let mut conversation = world.listen(&id).await;
    assert_eq!(world.call("alice", remove(&id, "dave")).await.unwrap().0, 204);
    assert_says_nothing_but_the_version(&published(&conversation.try_next().unwrap()), 2);
}

#[tokio::test(start_paused = true)]
async fn another_attempt_to_leave_finds_that_it_is_done() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob"]).await;
    let (request, other) = (world.worker.env.uuid(), world.worker.env.uuid());
    assert_eq!(world.attempt("bob", request, remove(&id, "bob")).await.unwrap().0, 204);
    assert_eq!(reason(world.attempt("bob", other, remove(&id, "bob")).await), "not_a_member");
    assert_eq!(world.call("alice", remove(&id, "bob")).await.unwrap().0, 204, "it is so already");
    let mut conversation = world.listen(&id).await;
    assert_eq!(world.attempt("bob", request, remove(&id, "bob")).await.unwrap().0, 204);
    assert_says_nothing_but_the_version(&published(&conversation.try_next().unwrap()), 2);
    assert_eq!(reason(world.attempt("carol", request, remove(&id, "bob")).await), "not_a_member");
    world.call("alice", add(&id, "bob")).await.unwrap();
    world.call("alice", remove(&id, "bob")).await.unwrap();
    assert_eq!(reason(world.attempt("bob", request, remove(&id, "bob")).await), "not_a_member");
}

#[tokio::test(start_paused = true)]
async fn one_leaves_and_comes_back() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob"]).await;
    assert_eq!(world.call("bob", remove(&id, "bob")).await.unwrap().0, 204);
    assert_eq!(reason(world.call("bob", remove(&id, "bob")).await), "not_a_member");
    assert_eq!(world.call("service", remove(&id, "alice")).await.unwrap().0, 204);
    assert_eq!(world.call("service", add(&id, "bob")).await.unwrap().0, 204);
    let (_, conversation) = world.call("bob", get(&id)).await.unwrap();
    assert_eq!(conversation["member_ids"], json!(["bob"]));
}

#[tokio::test(start_paused = true)]
async fn a_pair_is_fixed_and_what_does_not_exist_tells_nothing() {
    let world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    assert_eq!(reason(world.call("alice", add(&id, "carol")).await), "conflict");
    assert_eq!(reason(world.call("alice", remove(&id, "alice")).await), "conflict");
    assert_eq!(reason(world.call("carol", remove(&id, "alice")).await), "not_a_member");
    let nowhere = ConversationId::new("nowhere").unwrap();
    assert_eq!(reason(world.call("carol", add(&nowhere, "bob")).await), "not_a_member");
    assert_eq!(reason(world.call("service", add(&nowhere, "bob")).await), "not_found");
}

#[tokio::test(start_paused = true)]
async fn changes_at_once_all_hold() {
    let world = World::new().await;
    let id = world.create("alice", "group", &[]).await;
    let names: Vec<String> = (0..6).map(|number| format!("user{number}")).collect();
    let calls = names.iter().map(|name| world.call("alice", add(&id, name)));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(outcome.unwrap().0, 204);
    }
    let (_, conversation) = world.call("alice", get(&id)).await.unwrap();
    assert_eq!(conversation["member_ids"].as_array().map(Vec::len), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_late_attempt_to_add_does_not_undo_a_removal_that_found_nothing() {
    use crate::store::{Consistency, Expect, keys};
    let world = World::new().await;
    let id = world.create("alice", "group", &[]).await;
    let key = keys::member(&id, &user("bob"));
    assert_eq!(
        world.worker.store.get(&key, Consistency::Strong).await.unwrap(),
        None,
        "so the late one read"
    );
    assert_eq!(world.call("alice", remove(&id, "bob")).await.unwrap().0, 204);
    let late = crate::document::write(key, &json!({}), Expect::Absent);
    assert!(world.worker.store.put(late).await.is_err());
}

/// What is stored on all sides of a conversation's members, for as many as there may be.
async fn assert_consistent(world: &World, id: &ConversationId, names: &[&str]) {
    use crate::store::{Consistency, keys};
    let get = async |key: crate::store::Key| world.worker.store.get(&key, Consistency::Strong).await.unwrap();
    let state = |item: Option<crate::store::Item>| {
        item.is_some_and(|item| item.body.parse::<serde_json::Value>().unwrap()["state"] == "member")
    };
    let mut count = 0;
    for name in names {
        let name = user(name);
        let (one, other) =
            (state(get(keys::member(id, &name)).await), state(get(keys::membership(&name, id)).await));
        assert_eq!(one, other, "{name}");
        count += usize::from(one);
    }
    let members = get(keys::members(id)).await.unwrap();
    assert_eq!(members.body.parse::<serde_json::Value>().unwrap()["count"], count);
}

#[test]
fn all_sides_agree_whatever_runs_at_once_and_dies_on_the_way() {
    const NAMES: [&str; 3] = ["alice", "bob", "carol"];
    for seed in 0..150 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let world = World::slow(seed).await;
            let body = json!({"id": "room", "type": "group", "member_ids": ["alice", "bob"]});
            let id = ConversationId::new("room").unwrap();
            let calls = (0..60).map(|number| {
                let (world, id, body) = (&world, &id, body.clone());
                async move {
                    let env = &world.worker.env;
                    tokio::time::sleep(env.jitter(Duration::from_millis(number * 15))).await;
                    let name = NAMES[usize::try_from(env.random_u64() % 3).unwrap()];
                    let call = match env.random_u64() % 7 {
                        kind if number == 0 || kind == 0 => create(body),
                        1..=3 => add(id, name),
                        _ => remove(id, name),
                    };
                    // Some workers die before they are done.
                    let life = if env.random_u64() % 4 == 0 { 40 } else { 4_000 };
                    let call = world.call("service", call);
                    let _ = tokio::time::timeout(Duration::from_millis(life), call).await;
                }
            });
            futures_util::future::join_all(calls.collect::<Vec<_>>()).await;
            let _ = world.call("service", create(body)).await.unwrap();
            assert_consistent(&world, &id, &NAMES).await;
            // Without anybody else, each call holds.
            world.call("service", remove(&id, "bob")).await.unwrap();
            world.call("service", add(&id, "carol")).await.unwrap();
            let (_, conversation) = world.call("service", get(&id)).await.unwrap();
            let members = conversation["member_ids"].as_array().unwrap();
            assert!(members.contains(&json!("carol")) && !members.contains(&json!("bob")), "seed {seed}");
            assert_consistent(&world, &id, &NAMES).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_creator_who_left_removes_nobody() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob", "carol"]).await;
    world.call("alice", remove(&id, "alice")).await.unwrap();
    assert_eq!(reason(world.call("alice", remove(&id, "bob")).await), "not_a_member");
    assert_eq!(world.call("bob", get(&id)).await.unwrap().1["member_ids"], json!(["bob", "carol"]));
}

/// Stores tombstones of this many members of a conversation, and of as many memberships of a user's. Each holds `bytes` of
/// nothing.
async fn bury(rig: &Rig, id: &ConversationId, who: &str, count: usize, bytes: usize) {
    let gone = json!({"state": "removed", "type": "group", "joined_at": rig.env.now(), "last_read_seq": 0,
        "nothing": "x".repeat(bytes)});
    for n in 0..count {
        let name = format!("a{n}");
        for key in [
            keys::member(id, &user(&name)),
            keys::membership(&user(who), &ConversationId::new(&name).unwrap()),
        ] {
            rig.store.store.put(crate::document::write(key, &gone, Expect::Absent)).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_by_a_part_of_the_members_or_memberships() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    bury(&rig, &rig.room, "carol", 50, 390_000).await;
    let fresh = rig.worker();
    let ask = async |who, call| rig.ask(&fresh, who, rig.env.uuid(), Duration::from_secs(2), call).await;
    assert_eq!(reason(ask("carol", get(&rig.room)).await), "unavailable", "not: not_a_member");
    let list = Call::ListConversations { user: None, limit: 50, cursor: None };
    assert_eq!(reason(ask("carol", list).await), "unavailable", "not: none");
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_for_hours_makes_nothing_unreadable() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let other = ConversationId::new("other").unwrap();
    let body = json!({"id": other, "type": "group", "member_ids": ["dave"]});
    rig.call(0, "service", create(body)).await.unwrap();
    bury(&rig, &rig.room, "bob", rules::GONE, 0).await;
    let call = async |call| rig.call(0, "service", call).await;
    for refused in [add(&other, "bob"), add(&rig.room, "dave"), remove(&rig.room, "dave")] {
        let refused = call(refused).await.unwrap_err();
        assert_eq!(
            (refused.reason.as_str(), &refused.details["retry_after"]),
            ("rate_limit_exceeded", &json!(3_600))
        );
    }
    let body = json!({"id": "more", "type": "group", "member_ids": ["bob"]});
    assert_eq!(reason(call(create(body)).await), "rate_limit_exceeded");
    for _ in 0..2 {
        assert_eq!(call(remove(&rig.room, "bob")).await.unwrap().0, 204, "one may always go");
        assert_eq!(call(add(&rig.room, "bob")).await.unwrap().0, 204, "and come back to where one is known");
    }
    assert_eq!(rig.call(0, "bob", get(&rig.room)).await.unwrap().0, 200);
}

#[test]
fn as_many_documents_as_there_may_be_are_read() {
    let longest = user(&"x".repeat(64));
    let at = simurgh_protocol::Timestamp::default();
    let state = super::MemberState::Removed;
    let kind = simurgh_protocol::record::ConversationType::Direct;
    let membership = super::MembershipDocument {
        state,
        kind,
        joined_at: at,
        peer: Some(longest.clone()),
        muted_until: None,
    };
    let removed_by = Some(uuid::Uuid::max());
    let was = Some((at, at));
    let moved = Some(super::document::Moved { after: u64::MAX, at });
    let member = super::MemberDocument {
        state,
        joined_at: at,
        last_read_seq: u64::MAX,
        read: moved,
        delivered_seq: u64::MAX,
        delivered: moved,
        removed_by,
        was,
        silenced: Some(super::Silenced { after: u64::MAX, up_to: Some(u64::MAX), concealed: true }),
        frozen: Some(super::Frozen { read: u64::MAX, delivered: u64::MAX }),
    };
    // Keys, names of attributes, version and expiry.
    const REST: usize = 2 * 66 + 32;
    let bytes = [Raw::of(&membership), Raw::of(&member)].map(|body| body.get().len() + REST);
    let most = (crate::config::MAX_LISTED as usize + rules::GONE) * bytes.into_iter().max().unwrap();
    assert!(most < (crate::document::PAGES - 1) * crate::store::PAGE_BYTES, "{most}");
}
