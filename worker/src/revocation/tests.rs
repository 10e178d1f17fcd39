use std::time::Duration;

use serde_json::json;
use simurgh_backplane::Bus;
use simurgh_protocol::{
    Reason, Timestamp,
    envelope::{self, Answer, Call, Command, GatewayEnvelope, Presented, Principal, Revocations},
};

use crate::fixture::{World, reason, user};

/// What becomes of a token of alice's that was issued then.
async fn admitted(world: &World, issued_at: Option<Timestamp>) -> Result<(), Reason> {
    let command = Command {
        id: world.worker.env.uuid(),
        principal: Principal::User(user("alice")),
        token: Some(Presented { user: user("alice"), issued_at }),
        deadline: world.worker.env.now().plus(Duration::from_secs(2)),
        call: Call::Admit,
    };
    match world.worker.answer(command).await {
        Answer::Ok(_) => Ok(()),
        Answer::Refused(refusal) => Err(refusal.reason),
    }
}

fn revoke(who: &str) -> Call {
    Call::Revoke { user: user(who) }
}

#[tokio::test(start_paused = true)]
async fn tokens_of_before_count_no_more_and_later_ones_do() {
    let world = World::new().await;
    let before = world.worker.env.now();
    assert_eq!(admitted(&world, Some(before)).await, Ok(()));
    assert_eq!(admitted(&world, None).await, Ok(()), "one that does not say when it was issued");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (status, body) = world.call("service", revoke("alice")).await.unwrap();
    let at = world.worker.env.now();
    assert_eq!((status, body), (202, json!({"user_id": "alice", "revoked_at": at})));
    for issued_at in [None, Some(before), Some(at)] {
        assert_eq!(admitted(&world, issued_at).await, Err(Reason::Unauthorized), "{issued_at:?}");
    }
    assert_eq!(admitted(&world, Some(at.plus(Duration::from_millis(1)))).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn only_services_revoke_and_only_that_user_is() {
    let world = World::new().await;
    assert_eq!(reason(world.call("alice", revoke("alice")).await), "forbidden");
    world.call("service", revoke("bob")).await.unwrap();
    assert_eq!(admitted(&world, None).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn gateways_are_told_and_can_ask_what_they_missed_in_order() {
    let world = World::new().await;
    let mut gateways = world.bus.subscribe(&world.worker.subjects.all_gateways(), None).await.unwrap();
    let since = world.worker.env.now();
    let mut all = Vec::new();
    for who in ["bob", "alice", "carol"] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (_, body) = world.call("service", revoke(who)).await.unwrap();
        all.push(json!({"user": who, "at": body["revoked_at"]}));
    }
    for expected in &all {
        let told = gateways.next().await.unwrap();
        let GatewayEnvelope::Revoked(revocation) = envelope::decode(&told.payload).unwrap() else {
            panic!("{told:?}")
        };
        assert_eq!(json!(revocation), *expected);
    }
    let asked = async |since| {
        let (_, body) = world.call("service", Call::Revocations { since }).await.unwrap();
        serde_json::from_value::<Revocations>(body).unwrap()
    };
    let page = asked(since).await;
    assert_eq!(json!(page.revocations), json!(all));
    assert!(!page.more);
    let later = asked(page.revocations[1].at).await;
    assert_eq!(later.revocations, page.revocations[1..]);
}
