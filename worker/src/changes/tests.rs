use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use simurgh_protocol::{
    MessageId, Push,
    envelope::{Call, ConversationEvent, HistoryPage},
};

use crate::{
    faults::Fault,
    fixture::reason,
    rig::Rig,
    store::{Store, keys},
};

/// Nobody says this otherwise.
const SECRET: &str = "s3cret-words";

fn id(message: &Value) -> MessageId {
    MessageId::parse(message["message_id"].as_str().unwrap()).unwrap()
}

fn edit(rig: &Rig, message: &Value, content: &str) -> Call {
    rig.push(Push::EditMessage, &json!({"message_id": message["message_id"], "content": content}))
}

fn delete(rig: &Rig, message: &Value, for_everyone: bool) -> Call {
    let payload = json!({"message_id": message["message_id"], "for_everyone": for_everyone});
    rig.push(Push::DeleteMessage, &payload)
}

fn react(rig: &Rig, push: Push, message: &Value) -> Call {
    rig.push(push, &json!({"message_id": message["message_id"], "reaction": "👍"}))
}

fn answer(rig: &Rig, name: &str, to: &Value) -> Call {
    let payload = json!({"message_type": "text", "content": "re", "client_random": name,
        "reply_to_id": to["message_id"]});
    rig.push(Push::SendMessage, &payload)
}

async fn secret(rig: &Rig) -> Value {
    let payload = json!({"message_type": "text", "content": SECRET, "client_random": "n",
        "metadata": {"m": SECRET}});
    rig.call(0, "alice", rig.push(Push::SendMessage, &payload)).await.unwrap().1
}

async fn history(rig: &Rig, who: &str, since: Option<&str>) -> Value {
    let since = since.map(str::to_owned);
    let page = HistoryPage { before_seq: None, after_seq: Some(0), limit: 200, since };
    rig.call(0, who, Call::History { conversation: rig.room.clone(), page }).await.unwrap().1
}

async fn range(rig: &Rig, after_seq: u64, after_change: u64) -> Value {
    let conversation = rig.room.clone();
    rig.call(0, "service", Call::Range { conversation, after_seq, after_change }).await.unwrap().1
}

fn events(range: &Value) -> Vec<&str> {
    range["changes"].as_array().unwrap().iter().map(|change| change["event"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn its_author_edits_a_message_and_everybody_sees_it() {
    let mut rig = Rig::new(2, Duration::ZERO, 1).await;
    let (_, first) = rig.send(0, "bob", "first").await.unwrap();
    let (_, message) = rig.call(0, "alice", answer(&rig, "a", &first)).await.unwrap();
    rig.told();
    let payload = json!({"message_id": message["message_id"], "content": "now", "metadata": {"a": 1}});
    let (_, reply) = rig.call(0, "alice", rig.push(Push::EditMessage, &payload)).await.unwrap();
    let shown = &reply["message"];
    assert_eq!((&reply["message_edited"], &shown["content"]), (&json!(true), &json!("now")));
    assert_eq!((&shown["metadata"], &shown["reply_to"]["preview"]), (&json!({"a": 1}), &json!("first")));
    assert!(shown["edited_at"].is_string());
    let told = rig.told();
    let [ConversationEvent::Change(change)] =
        &told.iter().map(|told| told.event.clone()).collect::<Vec<_>>()[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((change.change_seq, change.seq, change.event.as_str()), (1, 2, "message_edited"));
    assert_eq!(change.payload.parse::<Value>().unwrap(), json!({"message": shown}));
    // Metadata stays where none is given, and the same again changes nothing.
    let (_, reply) = rig.call(1, "alice", edit(&rig, &message, "later")).await.unwrap();
    assert_eq!(reply["message"]["metadata"], json!({"a": 1}));
    let (_, again) = rig.call(1, "alice", edit(&rig, &message, "later")).await.unwrap();
    assert_eq!(again, reply);
    let page = history(&rig, "carol", Some("c0")).await;
    assert_eq!((&page["messages"][1]["content"], &page["change_cursor"]), (&json!("later"), &json!("c2")));
    assert_eq!(page["changes"][0]["content"], "later");
    // Whoever lost both reads them with the message as it is now.
    let lost = range(&rig, 2, 0).await;
    assert_eq!(events(&lost), ["message_edited", "message_edited"]);
    assert_eq!(lost["changes"][0]["payload"]["message"]["content"], "later");
    // What was first sent is what a repeat is judged by, and the present form is the answer.
    let (_, repeat) = rig.call(1, "alice", answer(&rig, "a", &first)).await.unwrap();
    assert_eq!((&repeat["duplicate"], &repeat["message"]["content"]), (&json!(true), &json!("later")));
}

#[tokio::test(start_paused = true)]
async fn others_do_not_edit_nor_does_its_author_once_it_is_late() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let (_, message) = rig.send(0, "alice", "x").await.unwrap();
    assert_eq!(reason(rig.call(0, "bob", edit(&rig, &message, "y")).await), "forbidden");
    assert_eq!(reason(rig.call(0, "mallory", edit(&rig, &message, "y")).await), "not_a_member");
    let large = "x".repeat(33 * 1024);
    assert_eq!(reason(rig.call(0, "alice", edit(&rig, &message, &large)).await), "message_too_large");
    let by = |sender: &str| Call::EditMessage {
        conversation: rig.room.clone(),
        message: id(&message),
        body: simurgh_protocol::Raw::of(&json!({"content": "z", "sender_id": sender})),
    };
    assert_eq!(reason(rig.call(0, "service", by("bob")).await), "forbidden");
    let (_, reply) = rig.call(0, "service", by("alice")).await.unwrap();
    assert_eq!(reply["message"]["content"], "z");
    let unknown = json!({"message_id": MessageId::new(rig.env.now(), 9, 9)});
    assert_eq!(reason(rig.call(0, "alice", edit(&rig, &unknown, "y")).await), "not_found");
    rig.told();
    tokio::time::sleep(Duration::from_hours(24)).await;
    let late = rig.call(0, "alice", edit(&rig, &message, "late")).await.unwrap_err();
    assert_eq!((late.reason.as_str(), &late.details["edit_window"]), ("forbidden", &json!(86_400)));
    assert_eq!(history(&rig, "bob", None).await["messages"][0]["content"], "z");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_what_is_deleted_is_left_anywhere() {
    let mut rig = Rig::new(2, Duration::ZERO, 1).await;
    let message = secret(&rig).await;
    rig.call(0, "bob", answer(&rig, "re", &message)).await.unwrap();
    rig.call(0, "alice", edit(&rig, &message, &format!("{SECRET} again"))).await.unwrap();
    rig.call(0, "bob", react(&rig, Push::AddReaction, &message)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.told();
    assert_eq!(reason(rig.call(0, "bob", delete(&rig, &message, true)).await), "forbidden");
    let deleted = rig.call(0, "alice", delete(&rig, &message, true)).await.unwrap().1;
    assert_eq!(deleted, json!({"message_deleted": true}));
    let told = rig.told();
    let ConversationEvent::Change(change) = &told[0].event else { panic!("{told:?}") };
    let payload: Value = change.payload.parse().unwrap();
    assert_eq!(change.event, "message_deleted");
    assert_eq!(
        payload,
        json!({"conversation_id": "room", "message_id": message["message_id"], "seq": 1, "user_id": "alice",
            "at": payload["at"]})
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    for item in rig.store.store.dump() {
        assert!(!item.body.get().contains(SECRET), "{item:?}");
    }
    let page = history(&rig, "carol", Some("c0")).await;
    assert!(!page.to_string().contains(SECRET), "{page}");
    let left = &page["messages"][0];
    assert_eq!(
        *left,
        json!({"id": message["message_id"], "conversation_id": "room", "seq": 1, "sender_id": "alice",
            "message_type": "text", "content": "", "metadata": {}, "client_random": "n", "reply_to_id": null,
            "sent_at": message["sent_at"], "deleted_at": payload["at"], "reactions": {}})
    );
    assert_eq!(page["messages"][1]["reply_to"]["preview"], Value::Null);
    // Whoever missed all of it learns the end of it, and nothing before.
    let lost = range(&rig, 0, 0).await;
    assert!(!lost.to_string().contains(SECRET), "{lost}");
    assert_eq!(events(&lost), ["message_deleted", "reaction_added", "message_deleted"]);
    // By whichever worker.
    for worker in 0..2 {
        let again = rig.call(worker, "alice", delete(&rig, &message, true)).await.unwrap().1;
        assert_eq!(again, deleted, "idempotent");
        assert_eq!(reason(rig.call(worker, "alice", edit(&rig, &message, "x")).await), "not_found");
        for push in [Push::AddReaction, Push::RemoveReaction] {
            assert_eq!(reason(rig.call(worker, "bob", react(&rig, push, &message)).await), "not_found");
        }
        assert_eq!(
            reason(rig.call(worker, "bob", answer(&rig, "late", &message)).await),
            "validation_failed"
        );
        // The answer that is stored is still answered.
        let repeat = rig.call(worker, "bob", answer(&rig, "re", &message)).await.unwrap().1;
        assert_eq!((&repeat["seq"], &repeat["duplicate"]), (&json!(2), &json!(true)));
        assert_eq!(repeat["message"]["reply_to"]["preview"], Value::Null);
        // Its name stays taken by what was first sent.
        let name = |content: &str| rig.text("n", content);
        let same = rig.call(worker, "alice", name(SECRET)).await.unwrap().1;
        assert_eq!((&same["seq"], &same["message"]["content"]), (&json!(1), &json!("")));
        assert_eq!(reason(rig.call(worker, "alice", name("other")).await), "conflict");
    }
    assert_eq!(history(&rig, "carol", None).await["change_cursor"], "c3", "none of that changed anything");
}

#[tokio::test(start_paused = true)]
async fn a_service_deletes_for_everyone_only() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let message = secret(&rig).await;
    let gone = |for_everyone| Call::DeleteMessage {
        conversation: rig.room.clone(),
        message: id(&message),
        for_everyone,
    };
    assert_eq!(reason(rig.call(0, "service", gone(false)).await), "validation_failed");
    assert_eq!(rig.call(0, "service", gone(true)).await.unwrap().0, 204);
    let lost = range(&rig, 1, 0).await;
    assert_eq!(lost["changes"][0]["payload"]["user_id"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_races_a_deletion_never_brings_it_back() {
    for seed in 0..30 {
        let rig = Rig::new(2, Duration::from_millis(10), seed).await;
        let message = secret(&rig).await;
        let calls = [
            (0, "alice", edit(&rig, &message, &format!("{SECRET} 1"))),
            (1, "alice", delete(&rig, &message, true)),
            (1, "bob", react(&rig, Push::AddReaction, &message)),
            (0, "carol", react(&rig, Push::AddReaction, &message)),
            (1, "alice", edit(&rig, &message, &format!("{SECRET} 2"))),
        ];
        let outcomes = join_all(calls.map(|(worker, who, call)| rig.call(worker, who, call))).await;
        assert!(outcomes[1].is_ok(), "seed {seed}: {outcomes:?}");
        for outcome in outcomes {
            let refused = outcome.err().map(|refusal| refusal.reason.as_str());
            assert!(refused.is_none_or(|reason| reason == "not_found"), "seed {seed}: {refused:?}");
        }
        let page = history(&rig, "bob", Some("c0")).await;
        assert!(!page.to_string().contains(SECRET), "seed {seed}: {page}");
        assert_eq!(page["messages"][0]["reactions"], json!({}), "seed {seed}");
        assert_eq!(events(&range(&rig, 1, 0).await).last(), Some(&"message_deleted"), "seed {seed}");
        for item in rig.store.store.dump() {
            assert!(!item.body.get().contains(SECRET), "seed {seed}: {item:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_the_store_does_late_finds_the_deletion() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let message = secret(&rig).await;
    rig.store.plan("l#", Fault::Held);
    assert_eq!(
        reason(rig.call(0, "alice", edit(&rig, &message, &format!("{SECRET} 1"))).await),
        "unavailable"
    );
    rig.call(0, "alice", delete(&rig, &message, true)).await.unwrap();
    assert!(rig.store.release().await.iter().all(Result::is_err));
    assert!(!history(&rig, "bob", None).await.to_string().contains(SECRET));
    // And one that is done late, though nothing came after it but an edit back to what it was.
    let (_, other) = rig.send(0, "alice", "same").await.unwrap();
    rig.store.plan("l#", Fault::Held);
    assert_eq!(reason(rig.call(0, "alice", edit(&rig, &other, "late")).await), "unavailable");
    rig.call(0, "alice", edit(&rig, &other, "same")).await.unwrap();
    assert!(rig.store.release().await.iter().all(Result::is_err));
    assert_eq!(history(&rig, "bob", None).await["messages"][1]["content"], "same");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_stored_without_an_answer_shows_in_the_head() {
    let mut rig = Rig::new(1, Duration::ZERO, 1).await;
    let message = secret(&rig).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.told();
    rig.store.plan("l#", Fault::AnswerLost);
    assert_eq!(reason(rig.call(0, "alice", delete(&rig, &message, true)).await), "unavailable");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = rig.told();
    assert!(
        matches!(&told[..], [told] if matches!(&told.event, ConversationEvent::Head(head) if head.change_seq == 1)),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_one_deletes_for_oneself_is_hidden_from_oneself_alone() {
    let mut rig = Rig::new(2, Duration::ZERO, 1).await;
    let message = secret(&rig).await;
    rig.call(0, "carol", answer(&rig, "re", &message)).await.unwrap();
    rig.told();
    for worker in 0..2 {
        rig.call(worker, "bob", delete(&rig, &message, false)).await.unwrap();
    }
    assert_eq!(reason(rig.call(0, "mallory", delete(&rig, &message, false)).await), "not_a_member");
    let told = rig.told();
    let ConversationEvent::Change(change) = &told[0].event else { panic!("{told:?}") };
    assert_eq!(
        (change.event.as_str(), change.only.as_ref().map(|user| user.as_str())),
        ("message_hidden", Some("bob"))
    );
    assert!(
        told[1..].iter().all(|told| !matches!(told.event, ConversationEvent::Change(_))),
        "once: {told:?}"
    );
    let join = |since: &str| Call::JoinConversation {
        conversation: rig.room.clone(),
        params: simurgh_protocol::Raw::of(&json!({"last_seq": 0, "since": since})),
    };
    let list = || Call::ListConversations { user: None, limit: 1, cursor: None };
    for (who, hides) in [("bob", true), ("carol", false)] {
        let page = history(&rig, who, Some("c0")).await;
        let (_, joined) = rig.call(0, who, join("c0")).await.unwrap();
        let joined: Value = joined["response"].clone();
        for shown in [&page["messages"], &joined["messages"]] {
            assert_eq!(shown[0].get("hidden"), hides.then_some(&json!(true)), "{who}: {shown}");
            assert_eq!(shown[0]["content"], if hides { "" } else { SECRET });
            assert_eq!(shown[1]["reply_to"]["preview"].is_null(), hides, "{who}: {shown}");
        }
        for changes in [&page["changes"], &joined["changes"]] {
            let hidden: Vec<_> =
                changes.as_array().unwrap().iter().map(|message| &message["hidden"]).collect();
            assert_eq!(hidden, if hides { vec![&json!(true)] } else { vec![] }, "{who}: {changes}");
        }
        let (_, list) = rig.call(0, who, list()).await.unwrap();
        assert_eq!(list["conversations"][0]["last_message"]["reply_to"]["preview"].is_null(), hides);
        assert_eq!(page.to_string().contains(SECRET), !hides, "{who}");
    }
    // Nobody answers what it does not see; a hidden message is read as ever, and edited for the others.
    assert_eq!(reason(rig.call(0, "bob", answer(&rig, "b", &message)).await), "validation_failed");
    let mark = rig.push(Push::MarkAsRead, &json!({"message_id": message["message_id"]}));
    assert_eq!(rig.call(0, "bob", mark).await.unwrap().1["last_read_seq"], 1);
    rig.told();
    rig.call(0, "alice", edit(&rig, &message, "edited")).await.unwrap();
    let except: Vec<Value> =
        rig.told().iter().map(|told| json!(told.event)["change"]["except"].clone()).collect();
    assert!(except.contains(&json!(["bob"])), "who hides a message is not told of its edits: {except:?}");
    assert_eq!(range(&rig, 2, 0).await["changes"][1]["except"], json!(["bob"]));
    assert_eq!(history(&rig, "bob", None).await["messages"][0]["content"], "");
    let hidden = keys::hidden(&rig.room, &crate::fixture::user("bob"), 1);
    assert!(rig.item(&hidden).await.is_some());
    // The service that lists for bob sees what bob sees.
    let (_, last) = rig.send(0, "alice", "last").await.unwrap();
    rig.call(0, "bob", delete(&rig, &last, false)).await.unwrap();
    let of_bob = Call::ListConversations { user: Some(crate::fixture::user("bob")), limit: 1, cursor: None };
    let (_, list) = rig.call(0, "service", of_bob).await.unwrap();
    assert_eq!(list["conversations"][0]["last_message"]["hidden"], json!(true));
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_stored_together_are_edited_and_deleted_alone() {
    let rig = Rig::new(1, Duration::ZERO, 1).await;
    let large = "x".repeat(31 * 1024);
    let names: Vec<String> = (0..16).map(|n| format!("m{n}")).collect();
    let sent = join_all(names.iter().map(|name| rig.send(0, "alice", name))).await;
    let sent: Vec<Value> = sent.into_iter().map(|sent| sent.unwrap().1).collect();
    let edits = join_all(sent.iter().map(|message| rig.call(0, "alice", edit(&rig, message, &large)))).await;
    let refused: Vec<_> = edits.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty(), "sixteen of 31 KiB are more than an item takes");
    assert!(refused.iter().all(|refusal| refusal.reason.as_str() == "message_too_large"), "{refused:?}");
    for message in &sent {
        rig.call(0, "alice", delete(&rig, message, true)).await.unwrap();
    }
    assert!(rig.log().await.iter().all(|message| message.content.is_empty() && message.deleted.is_some()));
    rig.store.ready().await.unwrap();
}
