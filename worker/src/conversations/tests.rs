use serde_json::{Value, json};
use simurgh_protocol::{
    Raw,
    envelope::{Call, CreatePolicy},
};

use super::draft;
use crate::{
    document,
    fixture::{World, add, create, get, reason, remove, user},
    store::{Expect, keys},
};

const UUID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

fn group(id: &str, members: &[&str]) -> Call {
    create(json!({"id": id, "type": "group", "member_ids": members}))
}

fn patch(id: &str, metadata: Value) -> Call {
    let conversation = simurgh_protocol::ConversationId::new(id).unwrap();
    Call::PatchConversation { conversation, body: Raw::of(&json!({"metadata": metadata})) }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_is_created_once_and_its_members_learn_of_it() {
    let mut world = World::new().await;
    world.connect("alice", &["a"], None).await;
    world.connect("bob", &["b"], None).await;
    let at = world.worker.env.now();
    let body = json!({"id": UUID, "type": "group", "member_ids": ["bob"], "metadata": {"name": "n"}});
    let (status, conversation) = world.call("alice", create(body.clone())).await.unwrap();
    let expected = json!({
        "id": UUID, "type": "group", "metadata": {"name": "n"}, "created_by": "alice",
        "member_ids": ["alice", "bob"], "last_seq": 0, "created_at": at, "updated_at": at,
    });
    assert_eq!((status, &conversation), (201, &expected));
    let heard = world.heard();
    assert_eq!((heard.len(), &heard[0].users[..]), (1, &["alice".to_owned(), "bob".to_owned()][..]));
    let updated =
        json!({"conversation_id": UUID, "change": "created", "metadata": {"name": "n"}, "updated_at": at});
    assert_eq!(heard[0].payload, updated);

    assert_eq!(world.call("alice", create(body)).await.unwrap(), (200, expected.clone()));
    assert_eq!(world.heard(), []);
    assert_eq!(
        world.call("bob", get(&conversation["id"].as_str().map(id).unwrap())).await.unwrap().1,
        expected
    );
}

fn id(text: &str) -> simurgh_protocol::ConversationId {
    simurgh_protocol::ConversationId::new(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_taken_otherwise_is_a_conflict() {
    let world = World::new().await;
    world.call("alice", group(UUID, &["bob"])).await.unwrap();
    assert_eq!(reason(world.call("alice", group(UUID, &["carol"])).await), "conflict");
    assert_eq!(reason(world.call("carol", group(UUID, &["alice"])).await), "conflict");
    let direct = create(json!({"id": UUID, "type": "direct", "member_ids": ["bob"]}));
    assert_eq!(reason(world.call("alice", direct).await), "conflict");
    assert_eq!(world.call("bob", group(UUID, &["alice"])).await.unwrap().0, 200);
    assert_eq!(world.call("service", group(UUID, &["alice", "bob"])).await.unwrap().0, 200);
    // The pair is not spoiled by what was refused.
    let direct = create(json!({"type": "direct", "member_ids": ["bob"]}));
    assert_eq!(world.call("alice", direct).await.unwrap().0, 201);
}

#[tokio::test(start_paused = true)]
async fn the_members_that_count_are_those_it_was_created_with() {
    let world = World::new().await;
    world.call("alice", group(UUID, &["bob"])).await.unwrap();
    world.call("alice", add(&id(UUID), "carol")).await.unwrap();
    let (status, conversation) = world.call("alice", group(UUID, &["bob"])).await.unwrap();
    assert_eq!((status, &conversation["member_ids"]), (200, &json!(["alice", "bob", "carol"])));
    world.call("alice", remove(&id(UUID), "bob")).await.unwrap();
    assert_eq!(reason(world.call("bob", group(UUID, &["alice"])).await), "conflict", "no longer a member");
    let (_, conversation) = world.call("alice", group(UUID, &["bob"])).await.unwrap();
    assert_eq!(conversation["member_ids"], json!(["alice", "carol"]), "nobody comes back by it");
}

#[tokio::test(start_paused = true)]
async fn a_pair_has_one_direct_conversation() {
    let world = World::new().await;
    let direct = |other: &str| create(json!({"type": "direct", "member_ids": [other]}));
    let (status, first) = world.call("alice", direct("bob")).await.unwrap();
    assert_eq!(status, 201);
    let (status, again) = world.call("bob", direct("alice")).await.unwrap();
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    let named = create(json!({"id": UUID, "type": "direct", "member_ids": ["bob"]}));
    let (status, again) = world.call("alice", named).await.unwrap();
    assert_eq!((status, &again["id"]), (200, &first["id"]));
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_creates_at_once_ends_in_one_conversation() {
    let world = World::new().await;
    let direct = |other: &str| create(json!({"type": "direct", "member_ids": [other]}));
    let (one, other) =
        futures_util::future::join(world.call("alice", direct("bob")), world.call("bob", direct("alice")))
            .await;
    assert_eq!(one.unwrap().1["id"], other.unwrap().1["id"]);
}

#[tokio::test(start_paused = true)]
async fn what_one_attempt_left_another_takes_up() {
    let world = World::new().await;
    let members = ["alice", "bob"].map(user).into_iter().collect();
    let now = world.worker.env.now();
    let meta = super::MetaDocument {
        kind: simurgh_protocol::record::ConversationType::Group,
        metadata: Raw::empty(),
        created_by: Some(user("alice")),
        created_at: now,
        updated_at: now,
        created_with: draft::fingerprint(&members),
    };
    let write = document::write(keys::meta(&id(UUID)), &meta, Expect::Absent);
    world.worker.store.put(write).await.unwrap();
    assert_eq!(reason(world.call("alice", get(&id(UUID))).await), "not_a_member", "it is not there yet");
    assert_eq!(reason(world.call("alice", group(UUID, &["carol"])).await), "conflict");
    assert_eq!(world.call("alice", group(UUID, &["bob"])).await.unwrap().0, 201);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_writes_only_the_members_that_are_left() {
    use crate::{faults::Fault, rig::Rig};
    let rig = Rig::new(1, std::time::Duration::ZERO, 1).await;
    let big = || create(json!({"id": "big", "type": "group", "member_ids": ["m0", "m1", "m2"]}));
    rig.store.plan("u#m1", Fault::Lost);
    assert_eq!(reason(rig.call(0, "service", big()).await), "unavailable");
    assert_eq!(rig.call(0, "service", big()).await.unwrap().0, 201);
    assert_eq!((rig.store.count("u#m0"), rig.store.count("u#m1")), (1, 2));
    for name in ["m0", "m1", "m2"] {
        assert!(rig.item(&keys::membership(&user(name), &id("big"))).await.is_some(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_was_lost_is_told_once() {
    use crate::{faults::Fault, rig::Rig};
    for fault in [Fault::Repeated, Fault::AnswerLost] {
        let mut rig = Rig::new(1, std::time::Duration::ZERO, 1).await;
        rig.store.plan_at("c#big", "members", fault);
        let big = || create(json!({"id": "big", "type": "group", "member_ids": ["alice", "bob"]}));
        assert_eq!(rig.call(0, "service", big()).await.unwrap().0, 201, "{fault:?}");
        let heard = rig.heard();
        assert!(matches!(&heard[..], [(_, _, told)] if told["change"] == "created"), "{fault:?}: {heard:?}");
        assert_eq!(rig.call(0, "service", big()).await.unwrap().0, 200);
        assert!(rig.heard().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn another_attempt_created_what_the_first_one_stored() {
    use crate::rig::Rig;
    let mut rig = Rig::new(2, std::time::Duration::ZERO, 1).await;
    let body = json!({"id": UUID, "type": "direct", "member_ids": ["bob"]});
    let (request, again) = (rig.env.uuid(), rig.env.uuid());
    let mut statuses = Vec::new();
    for (worker, request) in [(0, request), (1, request), (1, again)] {
        let (status, conversation) =
            rig.attempt(worker, "alice", request, create(body.clone())).await.unwrap();
        assert_eq!(conversation["id"], UUID);
        let events = rig.heard().into_iter().map(|(_, event, _)| event);
        let created = events.filter(|event| event == "conversation_updated").count();
        statuses.push((status, created));
    }
    assert_eq!(statuses, [(201, 1), (201, 0), (200, 0)], "users are told at most once");
    let request = rig.env.uuid();
    let group = || create(json!({"id": "h", "type": "group", "member_ids": ["bob"]}));
    assert_eq!(rig.attempt(0, "service", request, group()).await.unwrap().0, 201);
    rig.call(0, "service", add(&id("h"), "carol")).await.unwrap();
    assert_eq!(rig.attempt(1, "service", request, group()).await.unwrap().0, 201, "whoever came since");
}

#[tokio::test(start_paused = true)]
async fn a_pair_needs_consent_once() {
    let world = World::new().await;
    let direct = |other: &str| {
        let body = Raw::of(&json!({"type": "direct", "member_ids": [other]}));
        Call::CreateConversation { policy: CreatePolicy::Contacts, body }
    };
    assert_eq!(reason(world.call("alice", direct("bob")).await), "forbidden");
    world.contact("alice", "bob", true).await.unwrap();
    assert_eq!(
        reason(world.call("alice", direct("bob")).await),
        "forbidden",
        "it is bob's consent that counts"
    );
    world.contact("bob", "alice", true).await.unwrap();
    let (status, first) = world.call("alice", direct("bob")).await.unwrap();
    assert_eq!(status, 201);
    world.contact("bob", "alice", false).await.unwrap();
    let (status, again) = world.call("alice", direct("bob")).await.unwrap();
    assert_eq!((status, &again["id"]), (200, &first["id"]), "what is there is found again");
    let (status, again) = world.call("bob", direct("alice")).await.unwrap();
    assert_eq!((status, &again["id"]), (200, &first["id"]));
}

#[tokio::test(start_paused = true)]
async fn attempts_of_one_request_create_one_conversation() {
    use simurgh_protocol::envelope::{Answer, Command, Principal};
    let world = World::new().await;
    let command = Command {
        id: world.worker.env.uuid(),
        principal: Principal::User(user("alice")),
        token: None,
        deadline: world.worker.env.now().plus(std::time::Duration::from_secs(1)),
        call: create(json!({"type": "group", "member_ids": ["bob"]})),
    };
    let (Answer::Ok(first), Answer::Ok(second)) =
        (world.worker.answer(command.clone()).await, world.worker.answer(command).await)
    else {
        panic!("both were to be done");
    };
    assert_eq!((first.status, first.body), (second.status, second.body));
}

#[tokio::test(start_paused = true)]
async fn the_policy_is_kept() {
    let world = World::new().await;
    let create = |policy| {
        let body = Raw::of(&json!({"type": "group", "member_ids": ["bob", "carol"]}));
        Call::CreateConversation { policy, body }
    };
    assert_eq!(reason(world.call("alice", create(CreatePolicy::Service)).await), "forbidden");
    assert!(world.call("service", create(CreatePolicy::Service)).await.is_ok());
    world.contact("bob", "alice", true).await.unwrap();
    world.contact("alice", "carol", true).await.unwrap();
    assert_eq!(reason(world.call("alice", create(CreatePolicy::Contacts)).await), "forbidden");
    world.contact("carol", "alice", true).await.unwrap();
    assert!(world.call("alice", create(CreatePolicy::Contacts)).await.is_ok());
    assert!(world.call("service", create(CreatePolicy::Contacts)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn members_and_services_read_and_its_creator_and_services_change() {
    let mut world = World::new().await;
    world.call("alice", group(UUID, &["bob"])).await.unwrap();
    world.connect("bob", &["b"], None).await;
    for who in ["alice", "bob", "service"] {
        assert_eq!(world.call(who, get(&id(UUID))).await.unwrap().0, 200, "{who}");
    }
    assert_eq!(reason(world.call("carol", get(&id(UUID))).await), "not_a_member");
    assert_eq!(reason(world.call("carol", get(&id("nowhere"))).await), "not_a_member");
    assert_eq!(reason(world.call("service", get(&id("nowhere"))).await), "not_found");

    let (status, conversation) = world.call("alice", patch(UUID, json!({"name": "new"}))).await.unwrap();
    assert_eq!((status, &conversation["metadata"]), (200, &json!({"name": "new"})));
    let heard = world.heard();
    assert_eq!(
        (heard[0].payload["change"].as_str(), &heard[0].payload["metadata"]),
        (Some("metadata"), &json!({"name": "new"}))
    );
    assert!(world.call("service", patch(UUID, json!({}))).await.is_ok());
    assert_eq!(reason(world.call("bob", patch(UUID, json!({}))).await), "forbidden");
    assert_eq!(reason(world.call("carol", patch(UUID, json!({}))).await), "not_a_member");
    assert_eq!(reason(world.call("alice", patch(UUID, json!([]))).await), "validation_failed");
    assert_eq!(reason(world.call("alice", patch(UUID, Value::Null)).await), "validation_failed");
    let large = patch(UUID, json!({"name": "x".repeat(9_000)}));
    assert_eq!(reason(world.call("alice", large).await), "message_too_large");
}

#[tokio::test(start_paused = true)]
async fn the_last_seq_is_the_logs() {
    let world = World::new().await;
    let id = world.create("alice", "group", &["bob"]).await;
    world.send("alice", &id, "one").await;
    world.send("bob", &id, "two").await;
    assert_eq!(world.call("alice", get(&id)).await.unwrap().1["last_seq"], 2);
}
