//! What the two of a block see of each other, and of what happens to messages.

use serde_json::{Value, json};
use simurgh_protocol::{
    Push, Timestamp,
    envelope::{Call, ConversationEvent, Range},
    record::Status,
};
use tokio::time::sleep;

use super::*;
use crate::members::{MemberDocument, Silenced};

/// The events of changes that were published, and who is not told.
fn changes(channel: &mut Subscription) -> Vec<(String, Vec<String>)> {
    let heard = std::iter::from_fn(|| channel.try_next());
    heard
        .filter_map(|delivery| match published(&delivery).event {
            ConversationEvent::Change(change) => {
                Some((change.event, change.except.iter().map(ToString::to_string).collect()))
            }
            _ => None,
        })
        .collect()
}

async fn range(world: &World, id: &ConversationId) -> Range {
    let call = Call::Range { conversation: id.clone(), after_seq: 0, after_change: 0 };
    serde_json::from_value(world.call("service", call).await.unwrap().1).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_the_blocked_one_does_to_messages_is_not_told_and_what_it_edits_is_not_shown() {
    let world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    let said = world.send("bob", &id, "said").await;
    let alices = world.send("alice", &id, "hers").await;
    set(&world, "alice", "bob", true).await;
    let unheard = world.send("bob", &id, "unheard").await;
    let mut channel = world.listen(&id).await;
    let on = |reply: &Value| reply["message_id"].clone();
    let react = json!({"message_id": on(&alices), "reaction": "a word"});
    let edit = |reply: &Value| json!({"message_id": on(reply), "content": "put otherwise"});
    let delete = json!({"message_id": on(&unheard), "for_everyone": true});
    for (what, payload) in [
        (Push::AddReaction, react),
        (Push::EditMessage, edit(&said)),
        (Push::EditMessage, edit(&unheard)),
        (Push::DeleteMessage, delete),
    ] {
        world.call("bob", push(&id, what, &payload)).await.unwrap();
    }
    let told = changes(&mut channel);
    assert_eq!(told.len(), 4);
    assert!(told.iter().all(|(_, except)| except == &["alice"]), "{told:?}");
    let again = range(&world, &id).await.changes;
    assert!(again.len() == 4 && again.iter().all(|change| !change.is_for(Some(&user("alice")))), "{again:?}");
    assert!(again.iter().all(|change| change.is_for(Some(&user("bob"))) && change.is_for(None)));
    let shown = history(&world, "alice", &id).await;
    assert_eq!((contents(&shown), &shown[0]["hidden"]), (vec!["", "hers", ""], &json!(true)));
    assert_eq!(shown[1]["reactions"], json!({}));
    let shown = history(&world, "bob", &id).await;
    assert_eq!(
        (contents(&shown), &shown[1]["reactions"]),
        (vec!["put otherwise", "hers", ""], &json!({"a word": ["bob"]}))
    );
}

#[tokio::test(start_paused = true)]
async fn gateways_that_know_of_no_blocks_are_told_the_places_of_what_is_unheard() {
    let world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    world.send("bob", &id, "said").await;
    set(&world, "alice", "bob", true).await;
    world.send("bob", &id, "unheard").await;
    let range = range(&world, &id).await;
    let content = |payload: &Raw| payload.parse::<Value>().unwrap()["content"].clone();
    let all: Vec<Value> = range.messages.iter().map(|logged| content(&logged.payload)).collect();
    assert_eq!(all, [json!("said"), json!("")]);
    let told: Vec<_> = range.told().map(|logged| (content(&logged.payload), logged.except.clone())).collect();
    assert_eq!(told, [(json!("said"), None), (json!("unheard"), Some(user("alice")))]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_what_was_unheard_quotes_nothing_of_it_to_who_did_not_hear_it() {
    let world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    set(&world, "alice", "bob", true).await;
    let unheard = world.send("bob", &id, "unheard").await;
    let answer = |to: &Value, text: &str| {
        let payload = json!({"message_type": "text", "content": text, "client_random": text, "reply_to_id": to["message_id"]});
        push(&id, Push::SendMessage, &payload)
    };
    let (_, meanwhile) = world.call("bob", answer(&unheard, "to myself")).await.unwrap();
    assert_eq!(meanwhile["message"]["reply_to"]["preview"], "unheard", "as ever");
    set(&world, "alice", "bob", false).await;
    let (_, later) = world.call("bob", answer(&unheard, "to both")).await.unwrap();
    assert_eq!(later["message"]["reply_to"]["preview"], Value::Null, "what is told to both");
    assert_eq!(history(&world, "alice", &id).await[2]["reply_to"]["preview"], Value::Null);
    assert_eq!(history(&world, "bob", &id).await[2]["reply_to"]["preview"], "unheard");
    assert_eq!(reason(world.call("alice", answer(&unheard, "to what?")).await), "validation_failed");
}

#[tokio::test(start_paused = true)]
async fn no_receipts_go_between_the_two_and_what_was_read_before_stays_so() {
    let mut world = World::new().await;
    let id = world.create("alice", "direct", &["bob"]).await;
    let one = world.send("bob", &id, "one").await;
    let two = world.send("bob", &id, "two").await;
    let hers = world.send("alice", &id, "hers").await;
    let mark = |what, reply: &Value| push(&id, what, &json!({"message_id": reply["message_id"]}));
    world.call("bob", mark(Push::MarkAsDelivered, &hers)).await.unwrap();
    set(&world, "alice", "bob", true).await;
    let unheard = world.send("bob", &id, "unheard").await;
    sleep(Duration::from_secs(3)).await;
    for who in ["alice", "bob"] {
        world.connect(who, &["ref"], None).await;
    }
    world.heard();
    let mut channel = world.listen(&id).await;
    for (who, reply) in [("alice", &two), ("alice", &unheard), ("bob", &hers)] {
        world.call(who, mark(Push::MarkAsDelivered, reply)).await.unwrap();
        world.call(who, mark(Push::MarkAsRead, reply)).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    let heard = world.heard();
    assert!(
        told(&heard, "read_receipt").is_empty() && told(&heard, "delivery_receipt").is_empty(),
        "{heard:?}"
    );
    while let Some(delivery) = channel.try_next() {
        if let ConversationEvent::Told { event, payload, except } = published(&delivery).event {
            let by: Value = payload.parse().unwrap();
            let other = if by["user_id"] == "alice" { "bob" } else { "alice" };
            assert_eq!((event.as_str(), except), ("read_receipt", Some(user(other))));
        }
    }
    let receipt = async |reply: &Value| {
        let message = simurgh_protocol::MessageId::parse(reply["message_id"].as_str().unwrap()).unwrap();
        let call = Call::Receipts { conversation: id.clone(), message };
        let (_, receipts) = world.call("bob", call).await.unwrap();
        (receipts["receipts"][0]["delivered"] == true, receipts["receipts"][0]["read"] == true)
    };
    assert_eq!(receipt(&one).await, (true, true), "by what she sent before");
    assert_eq!(receipt(&unheard).await, (false, false));
    set(&world, "alice", "bob", false).await;
    assert_eq!(receipt(&unheard).await, (false, false), "it never came");
}

#[tokio::test(start_paused = true)]
async fn neither_sees_the_other_and_both_look_gone_since_then() {
    let mut world = World::new().await;
    let direct = world.create("alice", "direct", &["bob"]).await;
    let group = world.create("carol", "group", &["alice", "bob"]).await;
    for who in ["alice", "bob"] {
        world.connect(who, &["ref"], Some(Status::Busy)).await;
        world.changed(who).await.unwrap();
    }
    sleep(Duration::from_secs(60)).await;
    world.connect("alice", &["ref"], Some(Status::Busy)).await;
    world.heard();
    let since = world.worker.env.now();
    set(&world, "alice", "bob", true).await;
    let heard = world.heard();
    let mut looks: Vec<&str> = told(&heard, "visibility").iter().map(|(who, _)| *who).collect();
    looks.sort_unstable();
    assert_eq!(looks, ["alice", "bob"]);
    sleep(Duration::from_secs(60)).await;
    for (who, other) in [("alice", "bob"), ("bob", "alice")] {
        let (_, sees) = world.call(who, Call::Sees).await.unwrap();
        assert_eq!(sees, json!({"visible": [], "unseen": [other]}));
        assert_eq!(world.call(who, Call::Visible).await.unwrap().1, json!([]));
        assert_eq!(world.call(who, Call::JoinUser).await.unwrap().1["visible"], json!([]));
        let (_, seen) = world.call(who, Call::GetPresence { user: user(other) }).await.unwrap();
        assert_eq!(seen, json!({"user_id": other, "status": "offline", "last_seen": since}));
        for id in [&direct, &group] {
            let join = Call::JoinConversation { conversation: id.clone(), params: Raw::empty() };
            assert_eq!(world.call(who, join).await.unwrap().1["unseen"], json!([other]));
        }
    }
    let join = Call::JoinConversation { conversation: group, params: Raw::empty() };
    assert!(world.call("carol", join).await.unwrap().1.get("unseen").is_none());
    world.connect("alice", &["ref"], Some(Status::Busy)).await;
    set(&world, "alice", "bob", false).await;
    assert_eq!(world.call("bob", Call::Sees).await.unwrap().1, json!({"visible": ["alice"], "unseen": []}));
    let (_, seen) = world.call("bob", Call::GetPresence { user: user("alice") }).await.unwrap();
    assert_eq!(seen["status"], "busy");
}

#[test]
fn what_never_came_is_not_unread_also_where_something_before_it_is() {
    let silenced = |after, up_to, concealed| Some(Silenced { after, up_to, concealed });
    let member = |silenced| MemberDocument { silenced, ..MemberDocument::new(Timestamp::default(), 0) };
    for (read, last, unread) in [(0, 3, 3), (0, 9, 5), (5, 9, 0), (9, 9, 0), (3, 8, 2)] {
        assert_eq!(member(silenced(5, None, false)).unread(read, last), unread, "{read} {last}");
    }
    for (read, last, unread) in [(5, 8, 0), (0, 8, 5), (5, 12, 4), (7, 12, 4), (10, 12, 2)] {
        assert_eq!(member(silenced(5, Some(8), false)).unread(read, last), unread, "{read} {last}");
    }
    assert!(
        member(silenced(0, Some(4), true)).is_concealed(4)
            && !member(silenced(0, Some(4), true)).is_concealed(5)
    );
    let again = |last_read| Silenced::begun(silenced(5, Some(8), false), 12, last_read);
    assert_eq!((again(8).after, again(7).after), (12, 5), "of what was not read yet all is one");
}
