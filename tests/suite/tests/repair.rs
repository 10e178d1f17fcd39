//! What the backplane loses is found again: every channel gets every message once and in order.

use std::time::Duration;

use serde_json::{Value, json};
use simurgh_tests::{
    client::{Client, Seen, call, token},
    system::System,
};

const ROOM: &str = "conversation:room";

async fn room(system: &System) -> Vec<Client> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let service = token("backend", true, &system.env);
    let body = json!({"id": "room", "type": "group", "member_ids": ["alice", "bob"]});
    let (status, _) =
        call(&system.gateway(0), &service, "POST", "/api/v1/conversations", Some(body)).await.unwrap();
    assert_eq!(status, 201);
    let mut clients = Vec::new();
    for (n, user) in ["alice", "bob"].into_iter().enumerate() {
        let mut client = Client::connect(&system.gateway(n), user, &system.env).await;
        assert_eq!(client.join(ROOM, json!({})).await["status"], "ok");
        clients.push(client);
    }
    // The first look after a subscription is over: what is lost from here on is found by later ones.
    tokio::time::sleep(Duration::from_secs(5)).await;
    clients
}

async fn send(client: &mut Client, n: u64) {
    let payload = json!({"message_type": "text", "content": "x", "client_random": n});
    assert_eq!(client.push(ROOM, "send_message", payload).await["status"], "ok");
}

fn seqs(seen: &[Seen]) -> Vec<u64> {
    let messages = seen.iter().filter(|seen| seen.frame[3] == "new_message");
    messages.filter_map(|seen| seen.frame[4]["seq"].as_u64()).collect()
}

#[tokio::test(start_paused = true)]
async fn lost_broadcasts_are_read_from_the_log_once_and_in_order() {
    for seed in 0..20 {
        let system = System::start(seed, 2, 2, &[]);
        let mut clients = room(&system).await;
        system.lose(40);
        for n in 0..40 {
            send(&mut clients[usize::from(n % 3 == 0)], n).await;
        }
        for client in &mut clients {
            client.rest(Duration::from_secs(31)).await;
            assert_eq!(seqs(&client.seen), (1..=40).collect::<Vec<_>>(), "seed {seed}");
        }
        assert!(system.lost() > 5, "seed {seed}");
        system.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_last_message_and_of_every_head_is_found_within_30_s() {
    let system = System::start(3, 2, 2, &[]);
    let mut clients = room(&system).await;
    system.lose(100);
    send(&mut clients[0], 1).await;
    clients[1].rest(Duration::from_secs(31)).await;
    assert_eq!(seqs(&clients[1].seen), [1]);
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_reaction_is_told_later_and_once() {
    let system = System::start(5, 2, 2, &[]);
    let mut clients = room(&system).await;
    send(&mut clients[0], 1).await;
    let message = clients[1].broadcast(ROOM, "new_message").await;
    system.lose(100);
    let reaction = json!({"message_id": message["id"], "reaction": "👍"});
    assert_eq!(clients[0].push(ROOM, "add_reaction", reaction).await["status"], "ok");
    clients[1].rest(Duration::from_secs(31)).await;
    let told: Vec<&Value> =
        clients[1].seen.iter().map(|seen| &seen.frame).filter(|frame| frame[3] == "reaction_added").collect();
    assert_eq!(told.len(), 1);
    system.stop().await;
}

fn events(seen: &[Seen], names: &[&str]) -> Vec<Value> {
    let frames = seen.iter().map(|seen| &seen.frame).filter(|frame| frame[2] == ROOM);
    frames.filter(|frame| names.iter().any(|name| frame[3] == *name)).cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_edit_and_a_lost_deletion_are_told_later_as_the_message_is_then() {
    const NAMES: &[&str] = &["message_edited", "message_deleted"];
    let system = System::start(6, 2, 2, &[]);
    let mut clients = room(&system).await;
    for n in 1..=2 {
        send(&mut clients[0], n).await;
    }
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(clients[1].broadcast(ROOM, "new_message").await["id"].clone());
    }
    system.lose(100);
    for (id, content) in [(&ids[0], "one"), (&ids[0], "two"), (&ids[1], "secret")] {
        let edit = json!({"message_id": id, "content": content});
        assert_eq!(clients[0].push(ROOM, "edit_message", edit).await["status"], "ok");
    }
    let delete = json!({"message_id": ids[1], "for_everyone": true});
    assert_eq!(clients[0].push(ROOM, "delete_message", delete).await["status"], "ok");
    clients[1].rest(Duration::from_secs(31)).await;
    let told = events(&clients[1].seen, NAMES);
    let told_as: Vec<(&str, &Value, &Value)> = told
        .iter()
        .map(|frame| (frame[3].as_str().unwrap(), &frame[4]["message"]["content"], &frame[4]["message_id"]))
        .collect();
    let (edited, deleted) = ("message_edited", "message_deleted");
    assert_eq!(
        told_as,
        [
            (edited, &json!("two"), &Value::Null),
            (edited, &json!("two"), &Value::Null),
            (deleted, &Value::Null, &ids[1]),
            (deleted, &Value::Null, &ids[1]),
        ]
    );
    assert!(!json!(told).to_string().contains("secret"), "{told:?}");
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_hidden_meanwhile_comes_blank_to_a_device_that_missed_it() {
    let system = System::start(7, 2, 2, &[]);
    let mut clients = room(&system).await;
    system.lose(100);
    let payload = json!({"message_type": "text", "content": "secret", "client_random": 1});
    let sent = clients[0].push(ROOM, "send_message", payload).await;
    let bob = token("bob", false, &system.env);
    let id = sent["response"]["message_id"].as_str().unwrap();
    let path = format!("/api/v1/conversations/room/messages/{id}?for_everyone=false");
    let (status, _) = call(&system.gateway(0), &bob, "DELETE", &path, None).await.unwrap();
    assert_eq!(status, 204);
    for client in &mut clients {
        client.rest(Duration::from_secs(31)).await;
    }
    let messages = |seen: &[Seen]| events(seen, &["new_message", "message_hidden"]);
    let told = messages(&clients[1].seen);
    assert_eq!(told.iter().map(|frame| &frame[3]).collect::<Vec<_>>(), ["new_message", "message_hidden"]);
    assert_eq!((&told[0][4]["seq"], &told[0][4]["hidden"]), (&json!(1), &json!(true)));
    assert!(!json!(told).to_string().contains("secret"), "{told:?}");
    let told = messages(&clients[0].seen);
    assert_eq!((told.len(), &told[0][4]["content"]), (1, &json!("secret")));
    system.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_kick_whose_broadcast_was_lost_closes_the_channel_within_30_s_and_nothing_is_sent_meanwhile() {
    let system = System::start(9, 2, 2, &[]);
    let mut clients = room(&system).await;
    system.lose(100);
    let service = token("backend", true, &system.env);
    let path = "/api/v1/conversations/room/members/bob";
    let (status, _) = call(&system.gateway(0), &service, "DELETE", path, None).await.unwrap();
    assert_eq!(status, 204);
    let payload = json!({"message_type": "text", "content": "x", "client_random": 1});
    let refused = clients[1].push(ROOM, "send_message", payload).await;
    assert_eq!(refused["response"]["reason"], "not_a_member");
    send(&mut clients[0], 2).await;
    clients[1].rest(Duration::from_secs(31)).await;
    let frames: Vec<&Value> = clients[1].seen.iter().map(|seen| &seen.frame).collect();
    assert!(frames.iter().any(|frame| frame[3] == "phx_close" && frame[2] == ROOM), "{frames:?}");
    assert!(seqs(&clients[1].seen).is_empty(), "nothing of the conversation after the removal");
    system.stop().await;
}
