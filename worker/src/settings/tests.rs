use std::time::Duration;

use serde_json::{Value, json};
use simurgh_protocol::{ConversationId, Raw, Timestamp, envelope::Call};
use tokio::time::sleep;

use crate::fixture::{Outcome, World, add, reason, remove, user};

fn patch(conversation: &ConversationId, of: Option<&str>, body: &Value) -> Call {
    Call::PatchSettings { conversation: conversation.clone(), user: of.map(user), body: Raw::of(body) }
}

fn get(conversation: &ConversationId, of: Option<&str>) -> Call {
    Call::GetSettings { conversation: conversation.clone(), user: of.map(user) }
}

fn until(outcome: Outcome) -> Value {
    let (status, body) = outcome.unwrap();
    assert_eq!(status, 200);
    body["muted_until"].clone()
}

/// Who is muted, as what was missed is judged by.
async fn muted(world: &World, id: &ConversationId) -> Vec<String> {
    let muted = world.worker.muted(&world.worker.own_request(), id).await.unwrap();
    muted.iter().map(ToString::to_string).collect()
}

async fn listed(world: &World, who: &str) -> Value {
    let list = Call::ListConversations { user: None, limit: 10, cursor: None };
    let (_, page) = world.call(who, list).await.unwrap();
    page["conversations"][0]["settings"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_member_mutes_a_conversation_for_itself_until_then() {
    let mut world = World::new().await;
    let id = world.create("alice", "group", &["bob"]).await;
    world.connect("alice", &["ref-a"], None).await;
    let at = world.worker.env.now().plus(Duration::from_secs(3_600));
    assert_eq!(until(world.call("alice", get(&id, None)).await), Value::Null);
    world.heard();
    let answer = world.call("alice", patch(&id, None, &json!({"muted_until": at}))).await.unwrap();
    assert_eq!(answer, (200, json!({"conversation_id": id, "muted_until": at})));
    let told = world.heard();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0].users[..], told[0].payload["change"].as_str()),
        (&["alice".to_owned()][..], Some("settings"))
    );
    assert_eq!(until(world.call("alice", get(&id, None)).await), json!(at));
    assert_eq!(until(world.call("bob", get(&id, None)).await), Value::Null);
    assert_eq!(listed(&world, "alice").await, json!({"muted_until": at}));
    assert_eq!(listed(&world, "bob").await, json!({"muted_until": null}));
    assert_eq!(muted(&world, &id).await, ["alice"]);
    sleep(Duration::from_secs(3_601)).await;
    assert_eq!(until(world.call("alice", get(&id, None)).await), Value::Null, "its time is over");
    assert_eq!(listed(&world, "alice").await, json!({"muted_until": null}));
    assert!(muted(&world, &id).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn null_and_the_past_mute_nothing_and_what_is_no_time_is_refused() {
    let world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    let far = json!({"muted_until": "9999-12-31T23:59:59.999Z"});
    for body in [json!({"muted_until": null}), json!({"muted_until": Timestamp::default()})] {
        assert!(until(world.call("alice", patch(&id, None, &far)).await).is_string());
        assert_eq!(until(world.call("alice", patch(&id, None, &body)).await), Value::Null);
        assert!(muted(&world, &id).await.is_empty());
    }
    for body in
        [json!({}), json!({"muted_until": 5}), json!({"muted_until": "soon"}), json!({"muted_until": [null]})]
    {
        let refused = world.call("alice", patch(&id, None, &body)).await.unwrap_err();
        assert!(refused.details["errors"]["muted_until"].is_array(), "{body}: {refused:?}");
    }
    let refused = world.call(
        "alice",
        Call::PatchSettings { conversation: id.clone(), user: None, body: Raw::of(&json!([])) },
    );
    assert_eq!(reason(refused.await), "validation_failed");
}

#[tokio::test(start_paused = true)]
async fn members_have_settings_and_a_service_names_one() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob"]).await;
    let far = json!({"muted_until": "9999-12-31T23:59:59.999Z"});
    for call in [get(&id, None), patch(&id, None, &far)] {
        assert_eq!(reason(world.call("mallory", call.clone()).await), "not_a_member");
        assert_eq!(reason(world.call("service", call).await), "validation_failed");
    }
    assert_eq!(reason(world.call("bob", patch(&id, Some("alice"), &far)).await), "forbidden");
    assert_eq!(reason(world.call("service", patch(&id, Some("mallory"), &far)).await), "not_a_member");
    assert!(until(world.call("service", patch(&id, Some("bob"), &far)).await).is_string());
    assert!(until(world.call("bob", get(&id, None)).await).is_string());
}

#[tokio::test(start_paused = true)]
async fn who_left_and_comes_back_has_muted_nothing() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob", "carol"]).await;
    let far = json!({"muted_until": "9999-12-31T23:59:59.999Z"});
    for who in ["bob", "carol"] {
        world.call(who, patch(&id, None, &far)).await.unwrap();
    }
    world.call("alice", remove(&id, "bob")).await.unwrap();
    assert_eq!(reason(world.call("bob", get(&id, None)).await), "not_a_member");
    world.call("alice", add(&id, "bob")).await.unwrap();
    assert_eq!(until(world.call("bob", get(&id, None)).await), Value::Null);
    assert_eq!(muted(&world, &id).await, ["carol"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_mutes_at_once_is_muted() {
    for seed in 0..20 {
        let world = World::slow(seed).await;
        let id = world.create("alice", "group", &["bob", "carol"]).await;
        let far = json!({"muted_until": "9999-12-31T23:59:59.999Z"});
        let mute = async |who: &'static str| world.call(who, patch(&id, None, &far)).await;
        let (a, b, c) = tokio::join!(mute("alice"), mute("bob"), mute("carol"));
        a.and(b).and(c).unwrap();
        assert_eq!(muted(&world, &id).await, ["alice", "bob", "carol"]);
    }
}
