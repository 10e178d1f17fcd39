//! Neither of the two is told anything that the other one does here; all others see both.

use serde_json::{Value, json};
use simurgh_protocol::envelope::{ConversationEnvelope, ConversationEvent, Logged, PresenceMeta, Range};

use super::*;
use crate::{
    mailbox::{Item, Mailbox},
    testing::metrics,
    topic::tests::{head, id, join, user},
};
use std::sync::Arc;

const ROOM: usize = 1_000_000;

fn meta(name: &str) -> PresenceMeta {
    let online_at = Timestamp::from_millis(0);
    PresenceMeta { user: user(name), phx_ref: format!("ref-{name}"), phx_ref_prev: None, online_at }
}

fn unseen(asked: u64, users: &[&str]) -> Unseen {
    Unseen::new(asked, users.iter().map(|name| user(name)))
}

/// Events and payloads that came since it was asked last.
fn told(mailbox: &Mailbox) -> Vec<(String, Value)> {
    let mut items = Vec::new();
    mailbox.take(usize::MAX, &mut items);
    let frames = items.iter().filter_map(|item| match item {
        Item::Frame { bytes, .. } => serde_json::from_str::<Value>(bytes).ok(),
        Item::Closed { .. } => None,
    });
    frames.map(|frame| (frame[3].as_str().unwrap().to_owned(), frame[4].clone())).collect()
}

fn events(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(event, _)| event.as_str()).collect()
}

/// Alice, bob and carol are here, and have their states.
fn three() -> (Topic, [Arc<Mailbox>; 3]) {
    let mut topic = Topic::new(id(), metrics());
    for name in ["alice", "bob", "carol"] {
        topic.presence.add_own(meta(name));
    }
    topic.tell_presence();
    let mut socket = 0;
    let mailboxes = ["alice", "bob", "carol"].map(|name| {
        socket += 1;
        join(&mut topic, socket, name, head(0, 1), ROOM)
    });
    mailboxes.iter().for_each(|mailbox| drop(told(mailbox)));
    (topic, mailboxes)
}

fn happens(topic: &mut Topic, event: ConversationEvent) {
    topic.event(ConversationEnvelope { members_version: 1, event });
}

#[test]
fn who_is_blocked_goes_for_the_one_and_comes_back_as_if_it_had_been_away() {
    let (mut topic, [alice, bob, carol]) = three();
    let now = Timestamp::from_millis(5);
    for (who, other) in [("alice", "bob"), ("bob", "alice")] {
        topic.set_unseen(&user(who), unseen(1, &[other]), now);
    }
    for (mailbox, other) in [(&alice, "bob"), (&bob, "alice")] {
        let told = told(mailbox);
        assert_eq!(events(&told), ["user_left", "presence_diff"]);
        assert_eq!(told[0].1, json!({"user_id": other, "timestamp": now}));
        assert_eq!((&told[1].1["joins"], told[1].1["leaves"].as_object().unwrap().len()), (&json!({}), 1));
        assert!(told[1].1["leaves"].get(other).is_some());
    }
    assert_eq!(told(&carol), []);
    topic.set_unseen(&user("alice"), unseen(1, &["bob"]), now);
    assert_eq!(told(&alice), [], "the same again is no news");
    topic.set_unseen(&user("alice"), unseen(3, &[]), now);
    topic.set_unseen(&user("alice"), unseen(2, &["bob"]), now);
    let told = told(&alice);
    assert_eq!(events(&told), ["user_joined", "presence_diff"], "and an older answer changes nothing");
    assert!(told[1].1["joins"].get("bob").is_some());
}

#[test]
fn what_the_one_does_is_not_told_to_the_other() {
    let (mut topic, [alice, bob, carol]) = three();
    topic.set_unseen(&user("alice"), unseen(1, &["bob"]), Timestamp::from_millis(5));
    told(&alice);
    for event in ["typing_indicator", "read_receipt"] {
        let (event, payload) = (event.to_owned(), Raw::of(&json!({"user_id": "bob"})));
        let except = (event == "typing_indicator").then(|| user("bob"));
        happens(&mut topic, ConversationEvent::Told { event, payload, except });
    }
    let arrival = topic.presence.remove_own("ref-bob");
    topic.tell_arrivals(arrival.as_slice(), Timestamp::from_millis(6));
    topic.presence.remove_own("ref-carol");
    topic.tell_presence();
    let seen = told(&alice);
    assert_eq!(events(&seen), ["presence_diff"]);
    assert_eq!(seen[0].1["leaves"].as_object().unwrap().keys().collect::<Vec<_>>(), ["carol"]);
    let seen = told(&carol);
    assert_eq!(events(&seen), ["typing_indicator", "read_receipt", "user_left", "presence_diff"]);
    assert_eq!(seen[3].1["leaves"].as_object().unwrap().len(), 2);
    assert_eq!(events(&told(&bob)), ["read_receipt", "presence_diff"]);
}

#[test]
fn who_joins_is_shown_nobody_whom_it_does_not_see_and_the_list_ends_with_its_channels() {
    let (mut topic, _mailboxes) = three();
    let mailbox = Mailbox::new(crate::mailbox::SocketId(9), ROOM);
    topic.presence.add_own(meta("dave"));
    topic.join(super::super::Joined {
        channel: crate::mailbox::ChannelId(1),
        user: Some(user("dave")),
        form: simurgh_protocol::Vsn::V2.into(),
        join_ref: simurgh_protocol::Ref::text("1"),
        mailbox: Arc::clone(&mailbox),
        head: head(0, 1),
        unseen: unseen(1, &["alice"]),
    });
    let state = told(&mailbox);
    assert_eq!(state[0].1.as_object().unwrap().keys().collect::<Vec<_>>(), ["bob", "carol", "dave"]);
    topic.leave(crate::mailbox::SocketId(9), crate::mailbox::ChannelId(1));
    assert!(topic.unseen.0.is_empty());
}

#[test]
fn channels_of_who_does_not_get_a_message_pass_over_it_live_and_from_the_log() {
    let (mut topic, [alice, bob, _]) = three();
    let logged = |seq, content: &str| Logged::new(seq, Raw::of(&json!({"seq": seq, "content": content})));
    let apart = |seq| Logged { except: Some(user("alice")), ..logged(seq, "unheard") };
    happens(&mut topic, ConversationEvent::messages(vec![apart(1), logged(2, "heard")]));
    let messages = vec![logged(3, ""), logged(4, "heard")];
    happens(&mut topic, ConversationEvent::Head(head(4, 1)));
    topic.range(&Range { head: head(4, 1), messages, changes: vec![], apart: vec![apart(3)] });
    let said = |mailbox: &Mailbox| -> Vec<(u64, String)> {
        let said = told(mailbox).into_iter().map(|(_, payload)| payload);
        said.map(|payload| {
            (payload["seq"].as_u64().unwrap(), payload["content"].as_str().unwrap().to_owned())
        })
        .collect()
    };
    let heard = |seq| (seq, "heard".to_owned());
    assert_eq!(said(&alice), [heard(2), heard(4)]);
    let unheard = |seq| (seq, "unheard".to_owned());
    assert_eq!(said(&bob), [unheard(1), heard(2), unheard(3), heard(4)]);
    assert_eq!(topic.wants_range(), None);
}
