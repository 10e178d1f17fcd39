//! What users see on their own topics of those whose status they may see.

use std::sync::Arc;

use serde_json::{Value, json};
use simurgh_protocol::{
    Ref, Timestamp, UserId, Vsn,
    envelope::{ChosenStatus, PresenceMeta, Seen, UserPresence},
    record::Status,
};

use super::view::*;
use crate::mailbox::{ChannelId, Item, Mailbox, SocketId};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn entry(who: &str, refs: &[&str], chosen: Option<(Status, u64)>) -> UserPresence {
    let meta = |phx_ref: &&str| PresenceMeta {
        user: user(who),
        phx_ref: (*phx_ref).to_owned(),
        phx_ref_prev: None,
        online_at: at(0),
    };
    let chosen = chosen.map(|(status, ms)| ChosenStatus { status, at: at(ms) });
    UserPresence { chosen, metas: refs.iter().map(meta).collect(), dropped: 0, watchers: 0 }
}

fn apart(users: &[&str]) -> std::collections::BTreeSet<UserId> {
    users.iter().map(|one| user(one)).collect()
}

fn entries(who: &str, refs: &[&str]) -> Entries {
    Entries::from([("g1".to_owned(), entry(who, refs, None))])
}

/// Alice has a channel, and may see these.
fn open(view: &mut View, sees: &[&str]) -> (Arc<Mailbox>, Vec<UserId>) {
    let mailbox = Mailbox::new(SocketId(1), 1_000_000);
    let channel = Channel {
        form: Vsn::V2.into(),
        join_ref: Ref::text("1"),
        mailbox: Arc::clone(&mailbox),
        unread: Some(Vec::new()),
    };
    let sees = sees.iter().map(|one| user(one)).collect();
    view.joining(&user("alice"), (SocketId(1), ChannelId(1)));
    let (unknown, news) = view.open(&user("alice"), (SocketId(1), ChannelId(1)), channel, sees, at(1));
    assert!(!news);
    (mailbox, unknown)
}

/// Event and payload of what came since it was asked last.
fn told(mailbox: &Mailbox) -> Vec<(String, Value)> {
    let mut items = Vec::new();
    mailbox.take(usize::MAX, &mut items);
    items
        .iter()
        .map(|item| match item {
            Item::Frame { bytes, .. } => {
                let frame: Value = serde_json::from_str(bytes).unwrap();
                (frame[3].as_str().unwrap().to_owned(), frame[4].clone())
            }
            Item::Closed { .. } => panic!("nothing closes it"),
        })
        .collect()
}

fn events(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(event, _)| event.as_str()).collect()
}

#[test]
fn the_state_comes_once_everybody_whom_it_shows_is_known_and_then_sync_complete() {
    let mut view = View::default();
    let (mailbox, unknown) = open(&mut view, &["bob", "carol"]);
    assert_eq!(unknown, [user("bob"), user("carol")]);
    view.read(&user("bob"), entries("bob", &["b1"]), at(2));
    assert_eq!(told(&mailbox), []);
    view.read(&user("carol"), Entries::new(), at(2));
    let told = told(&mailbox);
    assert_eq!(events(&told), ["presence_state", "sync_complete"]);
    assert_eq!(told[0].1["bob"]["metas"][0]["phx_ref"], "b1");
    assert!(told[0].1.get("carol").is_none());
}

#[test]
fn nobody_waits_for_one_whom_it_may_no_longer_see() {
    let mut view = View::default();
    let (mailbox, unknown) = open(&mut view, &["bob"]);
    assert_eq!((unknown, events(&told(&mailbox))), (vec![user("bob")], vec![]));
    assert_eq!(view.set_visible(&user("alice"), Vec::new(), &apart(&[]), at(2)), []);
    assert_eq!(events(&told(&mailbox)), ["presence_state", "sync_complete"]);
}

#[test]
fn what_is_read_again_is_told_as_a_diff_once_and_a_status_where_it_changed() {
    let mut view = View::default();
    let (mailbox, _) = open(&mut view, &["bob"]);
    view.read(&user("bob"), entries("bob", &["b1"]), at(2));
    told(&mailbox);
    view.read(&user("bob"), entries("bob", &["b1", "b2"]), at(3));
    view.read(&user("bob"), entries("bob", &["b1", "b2"]), at(3));
    let second = told(&mailbox);
    assert_eq!(events(&second), ["presence_diff"]);
    assert_eq!(second[0].1["joins"]["bob"]["metas"].as_array().unwrap().len(), 1);
    view.heard(Seen { user_id: user("bob"), status: Status::Offline, last_seen: Some(at(4)) });
    view.read(&user("bob"), Entries::new(), at(5));
    let gone = told(&mailbox);
    assert_eq!(events(&gone), ["presence_diff", "user_presence_changed"]);
    assert_eq!(gone[1].1, json!({"user_id": "bob", "status": "offline", "last_seen": at(4)}));
}

#[test]
fn who_is_blocked_looks_as_if_it_had_gone() {
    let mut view = View::default();
    let (mailbox, _) = open(&mut view, &["bob", "carol"]);
    view.read(&user("bob"), entries("bob", &["b1"]), at(2));
    view.read(&user("carol"), Entries::new(), at(2));
    told(&mailbox);
    view.set_visible(&user("alice"), Vec::new(), &apart(&["bob", "carol"]), at(4));
    let gone = told(&mailbox);
    assert_eq!(events(&gone), ["presence_diff", "user_presence_changed"], "of who was there alone");
    assert_eq!(gone[1].1, json!({"user_id": "bob", "status": "offline", "last_seen": at(4)}));
}

#[test]
fn an_invisible_user_is_in_no_state_and_no_diff_and_looks_offline() {
    let mut view = View::default();
    let (mailbox, _) = open(&mut view, &["bob"]);
    view.read(&user("bob"), entries("bob", &["b1"]), at(2));
    told(&mailbox);
    let invisible = Entries::from([("g1".to_owned(), entry("bob", &["b2"], Some((Status::Offline, 3))))]);
    view.read(&user("bob"), invisible, at(3));
    let told = told(&mailbox);
    assert_eq!(events(&told), ["presence_diff", "user_presence_changed"]);
    assert_eq!(told[0].1["joins"], json!({}));
    assert_eq!(told[1].1["status"], "offline");
}

#[test]
fn who_becomes_visible_is_announced_and_who_may_no_longer_be_seen_just_leaves() {
    let mut view = View::default();
    let (mailbox, _) = open(&mut view, &[]);
    assert_eq!(events(&told(&mailbox)), ["presence_state", "sync_complete"]);
    assert_eq!(view.set_visible(&user("alice"), vec![user("bob")], &apart(&[]), at(3)), [user("bob")]);
    view.read(&user("bob"), entries("bob", &["b1"]), at(3));
    let came = told(&mailbox);
    assert_eq!(events(&came), ["user_presence_changed", "presence_diff"]);
    assert_eq!(came[0].1["status"], "online");
    assert_eq!(view.set_visible(&user("alice"), Vec::new(), &apart(&[]), at(4)), Vec::<UserId>::new());
    let went = told(&mailbox);
    assert_eq!(events(&went), ["presence_diff"]);
    assert_eq!(went[0].1["leaves"]["bob"]["metas"][0]["phx_ref"], "b1");
    assert_eq!(view.subjects().count(), 0);
}

#[test]
fn a_gateway_that_is_gone_takes_its_connections_along() {
    let mut view = View::default();
    let (mailbox, _) = open(&mut view, &["bob"]);
    let mut both = entries("bob", &["b1"]);
    both.insert("g2".to_owned(), entry("bob", &["b2"], None));
    view.read(&user("bob"), both, at(2));
    told(&mailbox);
    view.gateway_gone("g2", at(3));
    let told = told(&mailbox);
    assert_eq!(events(&told), ["presence_diff"]);
    assert_eq!(told[0].1["leaves"]["bob"]["metas"][0]["phx_ref"], "b2");
}

#[test]
fn nothing_is_kept_of_who_has_left() {
    let mut view = View::default();
    open(&mut view, &["bob"]);
    view.close(&user("alice"), (SocketId(1), ChannelId(1)));
    assert_eq!((view.subjects().count(), view.viewers().count()), (0, 0));
}

#[test]
fn who_may_have_become_visible_during_a_join_is_asked_for_again_and_an_old_answer_undoes_no_newer_one() {
    let mut view = View::default();
    let (mailbox, _) = open(&mut view, &["bob"]);
    view.read(&user("bob"), entries("bob", &["b1"]), at(2));
    told(&mailbox);
    let second = (SocketId(2), ChannelId(1));
    view.joining(&user("alice"), second);
    view.news_for(&user("alice"));
    let channel = Channel {
        form: Vsn::V2.into(),
        join_ref: Ref::text("1"),
        mailbox: Mailbox::new(SocketId(2), 1_000_000),
        unread: Some(Vec::new()),
    };
    assert_eq!(view.open(&user("alice"), second, channel, Vec::new(), at(3)), (Vec::new(), true));
    assert_eq!(told(&mailbox), [], "bob stays until that is known");
}

#[test]
fn state_and_sync_complete_come_together_however_full_the_mailbox_is() {
    let mut view = View::default();
    let mailbox = Mailbox::new(SocketId(1), 400);
    mailbox.push(ChannelId(9), "x".repeat(300).into()).unwrap();
    let channel = Channel {
        form: Vsn::V2.into(),
        join_ref: Ref::text("1"),
        mailbox: Arc::clone(&mailbox),
        unread: Some(Vec::new()),
    };
    let key = (SocketId(1), ChannelId(1));
    view.open(&user("alice"), key, channel, vec![user("bob")], at(1));
    view.read(&user("bob"), entries("bob", &["b1"]), at(2));
    mailbox.take(usize::MAX, &mut Vec::new());
    assert!(mailbox.take_waiting().1, "there was no room");
    view.missed(&user("alice"), key, at(3));
    assert_eq!(events(&told(&mailbox)), ["presence_state", "sync_complete"]);
}

#[test]
fn one_who_was_there_was_last_seen_then_also_where_nobody_said_so() {
    let mut view = View::default();
    let (mailbox, _) = open(&mut view, &["bob"]);
    view.read(&user("bob"), entries("bob", &["b1"]), at(2));
    told(&mailbox);
    view.gateway_gone("g1", at(5));
    assert_eq!(told(&mailbox)[1].1, json!({"user_id": "bob", "status": "offline", "last_seen": at(5)}));
}
