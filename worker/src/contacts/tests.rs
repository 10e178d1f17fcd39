use std::time::Duration;

use serde_json::json;
use simurgh_protocol::{envelope::Call, record::Status};

use crate::{
    Limits, Request,
    fixture::{World, reason, user},
};

fn list(of: Option<&str>) -> Call {
    Call::ListContacts { user: of.map(user) }
}

#[tokio::test(start_paused = true)]
async fn contacts_come_and_go_and_are_listed_in_order() {
    let world = World::new().await;
    for contact in ["carol", "bob", "bob"] {
        assert_eq!(world.contact("alice", contact, true).await.unwrap().0, 204);
    }
    assert_eq!(world.call("alice", list(None)).await.unwrap(), (200, json!({"contacts": ["bob", "carol"]})));
    for _ in 0..2 {
        assert_eq!(world.contact("alice", "bob", false).await.unwrap().0, 204);
    }
    assert_eq!(world.call("alice", list(None)).await.unwrap().1, json!({"contacts": ["carol"]}));
    world.contact("alice", "bob", true).await.unwrap();
    assert_eq!(
        world.call("service", list(Some("alice"))).await.unwrap().1,
        json!({"contacts": ["bob", "carol"]})
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_names_a_user_and_a_user_only_itself() {
    let world = World::new().await;
    let set = Call::SetContact { user: Some(user("alice")), contact: user("bob"), present: true };
    assert_eq!(world.call("service", set.clone()).await.unwrap().0, 204);
    assert_eq!(world.call("alice", set.clone()).await.unwrap().0, 204);
    assert_eq!(reason(world.call("carol", set).await), "forbidden");
    assert_eq!(reason(world.call("carol", list(Some("alice"))).await), "forbidden");
    assert_eq!(reason(world.call("service", list(None)).await), "validation_failed");
}

#[tokio::test(start_paused = true)]
async fn oneself_is_no_contact_and_there_is_a_limit() {
    let world = World::with(Limits { contacts: 2, ..Limits::default() }).await;
    assert_eq!(reason(world.contact("alice", "alice", true).await), "validation_failed");
    world.contact("alice", "bob", true).await.unwrap();
    world.contact("alice", "carol", true).await.unwrap();
    let refused = world.contact("alice", "dave", true).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), &refused.details["limit"]), ("conflict", &json!(2)));
    assert!(world.contact("alice", "carol", true).await.is_ok(), "who is there stays");
    world.contact("alice", "bob", false).await.unwrap();
    assert!(world.contact("alice", "dave", true).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_is_added_or_removed_has_its_gateways_look_whom_it_sees() {
    let mut world = World::new().await;
    world.connect("alice", &["ref-a"], Some(Status::Busy)).await;
    world.connect("bob", &["ref-b"], None).await;
    let now = world.worker.env.now();
    for present in [true, true, false, false] {
        world.contact("alice", "bob", present).await.unwrap();
        let heard = world.heard();
        // Also where nothing changed: an attempt before may have died before it told.
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!((heard[0].event.as_str(), &heard[0].users[..]), ("visibility", &["bob".to_owned()][..]));
        assert_eq!(heard[0].payload, json!({"user_id": "alice", "status": "busy", "last_seen": now}));
        let sees = if present { json!(["alice"]) } else { json!([]) };
        assert_eq!(world.call("bob", Call::Visible).await.unwrap().1, sees);
        assert_eq!(
            world.call("alice", Call::Visible).await.unwrap().1,
            json!([]),
            "it never shows the other"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_direct_conversation_goes_on_seeing() {
    let mut world = World::new().await;
    world.create("alice", "direct", &["bob"]).await;
    world.contact("alice", "bob", true).await.unwrap();
    world.contact("alice", "bob", false).await.unwrap();
    assert_eq!(world.call("bob", Call::Visible).await.unwrap().1, json!(["alice"]));
    world.heard();
}

#[tokio::test(start_paused = true)]
async fn a_late_attempt_does_not_undo_what_came_after_it() {
    let world = World::new().await;
    let key = crate::store::keys::contact(&user("alice"), &user("bob"));
    world.contact("alice", "bob", true).await.unwrap();
    let read = world.worker.store.get(&key, crate::store::Consistency::Strong).await.unwrap().unwrap();
    // It is there already, and yet who read it before that and writes now finds another version.
    world.contact("alice", "bob", true).await.unwrap();
    let late = crate::document::write(
        key,
        &json!({"state": "removed"}),
        crate::store::Expect::Version(read.version),
    );
    assert!(world.worker.store.put(late).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_sees_a_user_are_its_contacts_and_peers_however_many_follow_it() {
    let world = World::new().await;
    world.contact("alice", "bob", true).await.unwrap();
    world.contact("alice", "dave", true).await.unwrap();
    world.contact("alice", "dave", false).await.unwrap();
    world.create("alice", "direct", &["carol"]).await;
    for followers in [0..3, 3..250] {
        for follower in followers {
            world.contact(&format!("f{follower}"), "alice", true).await.unwrap();
        }
        let request = Request::own(world.worker.env.now(), Duration::from_secs(2));
        let audience = world.worker.audience(&request, &user("alice")).await.unwrap();
        assert_eq!(audience, [user("bob"), user("carol")]);
    }
}
