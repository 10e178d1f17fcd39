//! Every channel gets everything once and in order, whichever way it comes.

use proptest::prelude::*;
use serde_json::{Value, json};
use simurgh_protocol::{
    Timestamp,
    envelope::{Logged, LoggedChange},
};

use super::*;
use crate::{mailbox::Item, testing::metrics};

const UNBOUNDED: usize = usize::MAX / 2;

pub(super) fn id() -> ConversationId {
    ConversationId::new("c").unwrap()
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn head(last_seq: u64, members_version: u64) -> Head {
    Head { conversation: id(), last_seq, change_seq: 0, members_version }
}

fn logged(seq: u64) -> Logged {
    Logged::new(seq, Raw::of(&json!({ "seq": seq })))
}

pub(super) fn messages(members_version: u64, seqs: impl IntoIterator<Item = u64>) -> ConversationEnvelope {
    let messages = seqs.into_iter().map(logged).collect();
    ConversationEnvelope { members_version, event: ConversationEvent::Messages(messages) }
}

pub(super) fn join(topic: &mut Topic, socket: u64, name: &str, at: Head, max_bytes: usize) -> Arc<Mailbox> {
    let mailbox = Mailbox::new(SocketId(socket), max_bytes);
    topic.join(Joined {
        channel: ChannelId(1),
        user: Some(user(name)),
        form: simurgh_protocol::Vsn::V2.into(),
        join_ref: Ref::text("1"),
        mailbox: Arc::clone(&mailbox),
        head: at,
        unseen: Unseen::default(),
    });
    mailbox
}

fn taken(mailbox: &Mailbox) -> Vec<Value> {
    let mut items = Vec::new();
    mailbox.take(usize::MAX, &mut items);
    items
        .iter()
        .map(|item| match item {
            Item::Frame { bytes, .. } => serde_json::from_str(bytes).unwrap(),
            Item::Closed { .. } => json!("closed"),
        })
        .collect()
}

fn seqs(mailbox: &Mailbox) -> Vec<u64> {
    let frames = taken(mailbox);
    frames
        .iter()
        .filter(|frame| frame[3] == "new_message")
        .map(|frame| frame[4]["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_message_reaches_every_channel_once_however_often_it_is_published() {
    let mut topic = Topic::new(id(), metrics());
    let (a, b) =
        (join(&mut topic, 1, "a", head(3, 1), UNBOUNDED), join(&mut topic, 2, "b", head(4, 1), UNBOUNDED));
    topic.event(messages(1, [4]));
    topic.event(messages(1, [4]));
    topic.event(messages(1, [5]));
    assert_eq!(seqs(&a), [4, 5]);
    assert_eq!(seqs(&b), [5]);
    assert_eq!(topic.wants_range(), None);
}

#[test]
fn a_gap_is_read_from_the_log_and_delivered_in_order() {
    let mut topic = Topic::new(id(), metrics());
    let mailbox = join(&mut topic, 1, "a", head(0, 1), UNBOUNDED);
    topic.event(messages(1, [1]));
    topic.event(messages(1, [4]));
    assert_eq!(seqs(&mailbox), [1]);
    assert_eq!(topic.wants_range(), Some((1, 0)));
    let range = Range {
        head: head(4, 1),
        messages: vec![logged(2), logged(3), logged(4)],
        changes: vec![],
        apart: vec![],
    };
    topic.range(&range);
    assert_eq!(seqs(&mailbox), [2, 3, 4]);
    assert_eq!(topic.wants_range(), None);
}

#[test]
fn a_head_that_is_further_on_betrays_what_was_lost() {
    let mut topic = Topic::new(id(), metrics());
    let _mailbox = join(&mut topic, 1, "a", head(2, 1), UNBOUNDED);
    topic.event(ConversationEnvelope { members_version: 1, event: ConversationEvent::Head(head(3, 1)) });
    assert_eq!(topic.wants_range(), Some((2, 0)));
}

fn logged_change(change_seq: u64, seq: u64) -> LoggedChange {
    let payload = Raw::of(&json!({"n": change_seq}));
    LoggedChange {
        change_seq,
        seq,
        event: sent::REACTION_ADDED.to_owned(),
        payload,
        only: None,
        except: Vec::new(),
    }
}

fn change(change_seq: u64, seq: u64) -> ConversationEnvelope {
    let event = ConversationEvent::Change(logged_change(change_seq, seq));
    ConversationEnvelope { members_version: 1, event }
}

/// Events in the order in which the client gets them, presence left out.
fn events(mailbox: &Mailbox) -> Vec<(String, Value)> {
    let logs = |frame: Value| match frame[3].as_str() {
        Some(event @ "new_message") => Some((event.to_owned(), frame[4]["seq"].clone())),
        Some(event @ "reaction_added") => Some((event.to_owned(), frame[4]["n"].clone())),
        _ => None,
    };
    taken(mailbox).into_iter().filter_map(logs).collect()
}

fn hidden_change(change_seq: u64, seq: u64, name: &str) -> LoggedChange {
    let event = sent::MESSAGE_HIDDEN.to_owned();
    LoggedChange { event, only: Some(user(name)), ..logged_change(change_seq, seq) }
}

#[test]
fn what_is_not_for_all_is_told_to_those_it_is_for_and_holds_nobody_up() {
    let mut topic = Topic::new(id(), metrics());
    let (a, b) =
        (join(&mut topic, 1, "a", head(1, 1), UNBOUNDED), join(&mut topic, 2, "b", head(1, 1), UNBOUNDED));
    let event = ConversationEvent::Change(hidden_change(1, 1, "a"));
    topic.event(ConversationEnvelope { members_version: 1, event });
    let event = ConversationEvent::Change(LoggedChange { except: vec![user("a")], ..logged_change(2, 1) });
    topic.event(ConversationEnvelope { members_version: 1, event });
    topic.event(change(3, 1));
    let told = |mailbox: &Mailbox| -> Vec<Value> {
        taken(mailbox)
            .into_iter()
            .map(|frame| frame[3].clone())
            .filter(|event| event != "presence_state")
            .collect()
    };
    assert_eq!(told(&a), ["message_hidden", "reaction_added"]);
    assert_eq!(told(&b), ["reaction_added", "reaction_added"]);
    assert_eq!(topic.wants_range(), None);
}

#[test]
fn who_deleted_a_message_for_itself_is_not_shown_it_when_the_log_is_read() {
    let mut topic = Topic::new(id(), metrics());
    let (a, b) =
        (join(&mut topic, 1, "a", head(0, 1), UNBOUNDED), join(&mut topic, 2, "b", head(0, 1), UNBOUNDED));
    let message = json!({"id": simurgh_protocol::MessageId::new(Timestamp::default(), 1, 1),
        "conversation_id": "c", "seq": 1, "sender_id": "b", "message_type": "text", "content": "secret",
        "metadata": {"m": "secret"}, "client_random": 1, "reply_to_id": null, "sent_at": Timestamp::default()});
    let messages = vec![Logged::new(1, Raw::of(&message))];
    topic.range(&Range {
        head: head(1, 1),
        messages,
        changes: vec![hidden_change(1, 1, "a")],
        apart: vec![],
    });
    let shown = |mailbox: &Mailbox| {
        let frames = taken(mailbox).into_iter();
        frames.filter(|frame| frame[3] == "new_message").map(|frame| frame[4].clone()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&b), [message]);
    let blank = &shown(&a)[0];
    assert_eq!((&blank["seq"], &blank["hidden"], &blank["content"]), (&json!(1), &json!(true), &json!("")));
    assert!(!blank.to_string().contains("secret"), "{blank}");
    assert_eq!(topic.wants_range(), None);
}

#[test]
fn changes_have_an_order_of_their_own() {
    let mut topic = Topic::new(id(), metrics());
    let mailbox = join(&mut topic, 1, "a", head(1, 1), UNBOUNDED);
    topic.event(change(1, 1));
    topic.event(change(1, 1));
    topic.event(change(3, 1));
    assert_eq!(events(&mailbox), [("reaction_added".to_owned(), json!(1))]);
    assert_eq!(topic.wants_range(), Some((1, 1)));
}

#[test]
fn a_change_waits_for_the_message_that_it_changes() {
    let mut topic = Topic::new(id(), metrics());
    let mailbox = join(&mut topic, 1, "a", head(1, 1), UNBOUNDED);
    // The message itself was lost on its way here.
    topic.event(change(1, 2));
    assert_eq!(events(&mailbox), []);
    assert_eq!(topic.wants_range(), Some((1, 0)), "a change betrays its message");
    let range = Range {
        head: head(2, 1),
        messages: vec![logged(2)],
        changes: vec![logged_change(1, 2)],
        apart: vec![],
    };
    topic.range(&range);
    let told = [("new_message".to_owned(), json!(2)), ("reaction_added".to_owned(), json!(1))];
    assert_eq!(events(&mailbox), told);
    assert_eq!(topic.wants_range(), None);
}

#[test]
fn a_full_mailbox_keeps_its_position_and_reads_on_when_it_has_drained() {
    let mut topic = Topic::new(id(), metrics());
    let slow = join(&mut topic, 1, "slow", head(0, 1), 120);
    let quick = join(&mut topic, 2, "quick", head(0, 1), UNBOUNDED);
    topic.event(messages(1, 1..=5));
    assert_eq!(seqs(&quick), [1, 2, 3, 4, 5]);
    assert_eq!(topic.wants_range(), None, "no reading for who has no room");
    let first = seqs(&slow);
    assert!(first.len() < 5);
    assert_eq!(slow.take_waiting().0, [id()]);
    topic.drained(SocketId(1));
    let (after, _) = topic.wants_range().unwrap();
    assert_eq!(after, first.last().copied().unwrap_or(0));
    assert_eq!(taken(&slow), Vec::<Value>::new(), "presence is as it was");
}

#[test]
fn who_lost_a_step_of_presence_gets_the_state_afresh() {
    let mut topic = Topic::new(id(), metrics());
    let slow = join(&mut topic, 1, "slow", head(0, 1), 60);
    let meta = |phx_ref: &str| simurgh_protocol::envelope::PresenceMeta {
        user: user("b"),
        phx_ref: phx_ref.to_owned(),
        phx_ref_prev: None,
        online_at: Timestamp::from_millis(0),
    };
    topic.presence.add_own(meta("x"));
    topic.tell_presence();
    assert_eq!(slow.take_waiting().0, [], "not before it has drained");
    assert_eq!(taken(&slow).len(), 1);
    assert_eq!(slow.take_waiting().0, [id()]);
    topic.drained(SocketId(1));
    let state = taken(&slow);
    assert_eq!(
        (&state[0][3], &state[0][4]["b"]["metas"][0]["phx_ref"]),
        (&json!("presence_state"), &json!("x"))
    );
}

#[test]
fn a_removed_member_is_closed_and_others_go_on() {
    let mut topic = Topic::new(id(), metrics());
    let (a, b) =
        (join(&mut topic, 1, "a", head(0, 1), UNBOUNDED), join(&mut topic, 2, "b", head(0, 1), UNBOUNDED));
    let removed = ConversationEvent::Removed { user: user("b") };
    let heard = topic.event(ConversationEnvelope { members_version: 2, event: removed });
    assert_eq!(heard.removed, Some(user("b")));
    assert!(topic.wants_check().is_empty());
    topic.event(messages(2, [1]));
    assert_eq!(seqs(&a), [1]);
    let b = taken(&b);
    assert_eq!(b.last(), Some(&json!("closed")));
    assert!(!b.iter().any(|frame| frame[3] == "new_message"));
}

#[test]
fn an_added_member_holds_nobody_up() {
    let mut topic = Topic::new(id(), metrics());
    let a = join(&mut topic, 1, "a", head(0, 1), UNBOUNDED);
    let added = ConversationEvent::Added { user: user("c") };
    topic.event(ConversationEnvelope { members_version: 2, event: added });
    assert!(topic.wants_check().is_empty());
    topic.event(messages(2, [1]));
    assert_eq!(seqs(&a), [1]);
}

#[test]
fn news_of_nothing_does_not_vouch_for_the_version() {
    let mut topic = Topic::new(id(), metrics());
    let _b = join(&mut topic, 1, "b", head(0, 1), UNBOUNDED);
    // b was removed at version 2, which was lost; somebody who was no member was removed after.
    topic.event(messages(2, []));
    assert_eq!(topic.wants_check(), [user("b")]);
}

#[test]
fn a_removal_that_was_lost_shows_before_the_next_message_is_delivered() {
    let mut topic = Topic::new(id(), metrics());
    let (a, b) =
        (join(&mut topic, 1, "a", head(0, 1), UNBOUNDED), join(&mut topic, 2, "b", head(0, 1), UNBOUNDED));
    topic.event(messages(2, [1]));
    assert_eq!((seqs(&a), seqs(&b)), (vec![], vec![]));
    let asked = topic.wants_check();
    assert_eq!(asked, [user("a"), user("b")]);
    let gone = topic.checked(&asked, &Membership { members_version: 2, members: vec![user("a")] });
    assert_eq!(gone, [user("b")]);
    assert_eq!(topic.wants_range(), Some((0, 0)));
    topic.range(&Range { head: head(1, 2), messages: vec![logged(1)], changes: vec![], apart: vec![] });
    assert_eq!(seqs(&a), [1]);
    assert_eq!(taken(&b), [json!("closed")]);
}

#[test]
fn one_who_was_removed_and_is_back_is_not_closed_by_the_old_news() {
    let mut topic = Topic::new(id(), metrics());
    let mailbox = join(&mut topic, 1, "a", head(0, 3), UNBOUNDED);
    let removed = ConversationEvent::Removed { user: user("a") };
    topic.event(ConversationEnvelope { members_version: 2, event: removed });
    topic.event(messages(3, [1]));
    assert_eq!(seqs(&mailbox), [1]);
}

#[test]
fn the_others_are_other_users() {
    let mut topic = Topic::new(id(), metrics());
    let (a, a2) =
        (join(&mut topic, 1, "a", head(0, 1), UNBOUNDED), join(&mut topic, 2, "a", head(0, 1), UNBOUNDED));
    let b = join(&mut topic, 3, "b", head(0, 1), UNBOUNDED);
    let event = ConversationEvent::Told {
        event: "typing_indicator".to_owned(),
        payload: Raw::empty(),
        except: Some(user("a")),
    };
    topic.event(ConversationEnvelope { members_version: 0, event });
    let told =
        |mailbox: &Mailbox| taken(mailbox).iter().filter(|frame| frame[3] == "typing_indicator").count();
    assert_eq!((told(&a), told(&a2), told(&b)), (0, 0, 1));
}

proptest! {
    /// A log of messages, published with losses, repeats and in any order, and mailboxes that fill and drain: once the
    /// driver has read what the topic wants, every channel has had everything after its join, once and in order.
    #[test]
    fn every_channel_gets_everything_after_its_join_once_and_in_order(
        published in prop::collection::vec(1..20u64, 0..60),
        joins in prop::collection::vec((0..60usize, 60..400usize), 1..4),
    ) {
        const LAST: u64 = 20;
        let mut topic = Topic::new(id(), metrics());
        let mut channels: Vec<(Arc<Mailbox>, u64, Vec<u64>)> = Vec::new();
        let mut reached = 0;
        for (step, seq) in published.iter().copied().enumerate() {
            reached = reached.max(seq);
            for (n, (at, max_bytes)) in joins.iter().enumerate() {
                if *at == step {
                    let socket = u64::try_from(n).unwrap();
                    let mailbox = join(&mut topic, socket, "a", head(reached, 1), *max_bytes);
                    channels.push((mailbox, reached, Vec::new()));
                }
            }
            topic.event(messages(1, [seq]));
        }
        topic.event(ConversationEnvelope { members_version: 1, event: ConversationEvent::Head(head(LAST, 1)) });
        for _ in 0..200 {
            for (mailbox, _, got) in &mut channels {
                got.extend(seqs(mailbox));
                if !mailbox.take_waiting().0.is_empty() {
                    topic.drained(mailbox.socket);
                }
            }
            if let Some((after, _)) = topic.wants_range() {
                let page = (after + 1..=LAST).take(3).map(logged).collect();
                topic.range(&Range { head: head(LAST, 1), messages: page, changes: vec![], apart: vec![] });
            }
        }
        for (_, joined_at, got) in channels {
            prop_assert_eq!(got, (joined_at + 1..=LAST).collect::<Vec<_>>());
        }
    }
}
