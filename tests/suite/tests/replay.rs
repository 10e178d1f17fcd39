//! A whole system runs twice from one seed and does the same thing twice.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use simurgh_tests::{
    client::{Client, Seen, call, token},
    system::System,
};

/// Three users over two gateways and two workers: joins, sends that race, reactions, typing, presence, a drop.
async fn scene(seed: u64) -> Vec<Vec<Seen>> {
    let system = System::start(seed, 2, 2, &[]);
    let env = system.env.clone();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let members = json!({"id": "room", "type": "group", "member_ids": ["alice", "bob", "carol"]});
    let service = token("backend", true, &env);
    let (status, body) =
        call(&system.gateway(0), &service, "POST", "/api/v1/conversations", Some(members)).await.unwrap();
    assert_eq!(status, 201, "{body}");

    let mut clients = Vec::new();
    for (n, user) in ["alice", "bob", "carol"].into_iter().enumerate() {
        let mut client = Client::connect(&system.gateway(n), user, &env).await;
        assert_eq!(client.join(&format!("user:{user}"), json!({})).await["status"], "ok");
        assert_eq!(client.join("conversation:room", json!({})).await["status"], "ok");
        clients.push(client);
    }
    let sends = clients.iter_mut().map(async |client| {
        let mut refs = Vec::new();
        for n in 0..10 {
            let payload = json!({"message_type": "text", "content": format!("{n}"), "client_random": n});
            refs.push(client.start("conversation:room", "send_message", payload).await);
        }
        for name in refs {
            assert_eq!(client.reply(&name).await["status"], "ok");
        }
    });
    join_all(sends).await;
    let first = clients[0].broadcast("conversation:room", "new_message").await;
    let reaction = json!({"message_id": first["id"], "reaction": "👍"});
    assert_eq!(clients[1].push("conversation:room", "add_reaction", reaction).await["status"], "ok");
    clients[2].push("conversation:room", "typing_start", json!({})).await;
    let carol = clients.pop();
    let seen_by_carol = carol.map(|carol| carol.seen).unwrap_or_default();
    for client in &mut clients {
        client.rest(Duration::from_secs(15)).await;
    }
    let mut seen: Vec<Vec<Seen>> = clients.into_iter().map(|client| client.seen).collect();
    seen.push(seen_by_carol);
    system.stop().await;
    seen
}

fn order(seen: &[Seen]) -> Vec<Value> {
    let on_topic = |seen: &&Seen| seen.frame[2] == "conversation:room" && seen.frame[3] == "new_message";
    seen.iter().filter(on_topic).map(|seen| seen.frame[4]["id"].clone()).collect()
}

fn events(seen: &[Seen]) -> Vec<&str> {
    seen.iter().filter_map(|seen| seen.frame[3].as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_the_same_frames_at_the_same_times() {
    let (first, second) = (scene(7).await, scene(7).await);
    assert_eq!(first.len(), 3);
    for (client, (one, other)) in first.iter().zip(&second).enumerate() {
        for (n, (one, other)) in one.iter().zip(other).enumerate() {
            assert_eq!(one, other, "client {client}, frame {n}");
        }
        assert_eq!(one.len(), other.len(), "client {client}");
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_sees_one_order_on_both_gateways_and_all_that_happened() {
    let seen = scene(11).await;
    assert_eq!(order(&seen[0]).len(), 30);
    assert_eq!(order(&seen[0]), order(&seen[1]));
    for event in ["reaction_added", "typing_indicator", "user_left", "presence_diff", "user_joined"] {
        assert!(events(&seen[0]).contains(&event), "{event}: {:?}", events(&seen[0]));
    }
}

#[tokio::test(start_paused = true)]
async fn another_seed_gives_other_ids() {
    assert_ne!(order(&scene(1).await[0]), order(&scene(2).await[0]));
}
