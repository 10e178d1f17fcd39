//! Promises about messages and requests.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{World, bytes, conversation, next, next_delivery, settle, text};
use crate::{BusError, MAX_PAYLOAD_BYTES, Notice, SUBSCRIPTION_CAPACITY};

const LONG: Duration = Duration::from_secs(5);

pub(crate) async fn messages_arrive_in_the_order_of_their_publisher(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut subscription = b.subscribe(&subject, None).await.unwrap();
    for n in 0..500 {
        a.publish(&subject, bytes(n.to_string())).await.unwrap();
    }
    for n in 0..500 {
        let delivery = next_delivery(&mut subscription).await;
        assert_eq!((text(&delivery), &delivery.subject), (n.to_string(), &subject));
        assert_eq!(delivery.reply_to, None);
    }
    assert!(subscription.try_next().is_none());
}

pub(crate) async fn each_subscriber_gets_each_message(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut here = a.subscribe(&subject, None).await.unwrap();
    let mut here_too = a.subscribe(&subject, None).await.unwrap();
    let mut there = b.subscribe(&subject, None).await.unwrap();
    let mut elsewhere = b.subscribe(&conversation("c2"), None).await.unwrap();
    a.publish(&subject, bytes("hello")).await.unwrap();
    for subscription in [&mut here, &mut here_too, &mut there] {
        assert_eq!(next(subscription).await, "hello");
    }
    settle(&a, &b).await;
    assert!(elsewhere.try_next().is_none());
}

pub(crate) async fn one_of_a_queue_group_gets_each_message(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut workers = [
        a.subscribe(&subject, Some("workers")).await.unwrap(),
        b.subscribe(&subject, Some("workers")).await.unwrap(),
    ];
    let mut others = a.subscribe(&subject, Some("others")).await.unwrap();
    for n in 0..100 {
        a.publish(&subject, bytes(n.to_string())).await.unwrap();
    }
    settle(&a, &b).await;
    let mut got = Vec::new();
    for worker in &mut workers {
        let before = got.len();
        got.extend(std::iter::from_fn(|| worker.try_next()).map(|delivery| text(&delivery)));
        assert!(got.len() > before, "a member of the group gets nothing");
    }
    assert_eq!(got.len(), 100);
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), 100);
    assert_eq!(std::iter::from_fn(|| others.try_next()).count(), 100);

    let [mut left, gone] = workers;
    drop(gone);
    b.flush().await.unwrap();
    for n in 0..10 {
        a.publish(&subject, bytes(n.to_string())).await.unwrap();
        assert_eq!(next(&mut left).await, n.to_string());
    }
}

pub(crate) async fn nothing_arrives_once_a_subscription_is_dropped(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let first = b.subscribe(&subject, None).await.unwrap();
    let mut second = b.subscribe(&subject, None).await.unwrap();
    drop(first);
    a.publish(&subject, bytes("one")).await.unwrap();
    assert_eq!(next(&mut second).await, "one");
    settle(&a, &b).await;
    assert!(second.try_next().is_none());
    drop(second);
    b.flush().await.unwrap();
    assert_eq!(a.request(&subject, bytes(""), LONG).await, Err(BusError::NoResponders));
}

pub(crate) async fn interest_is_known_when_subscribe_returns(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    for n in 0..50 {
        let subject = conversation(&format!("c{n}"));
        let mut subscription = b.subscribe(&subject, None).await.unwrap();
        a.publish(&subject, bytes(n.to_string())).await.unwrap();
        assert_eq!(next(&mut subscription).await, n.to_string());
    }
}

pub(crate) async fn a_full_subscription_drops_the_newest_and_says_so(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut notices = b.notices();
    let mut full = b.subscribe(&subject, None).await.unwrap();
    for n in 0..SUBSCRIPTION_CAPACITY + 10 {
        a.publish(&subject, bytes(n.to_string())).await.unwrap();
    }
    settle(&a, &b).await;
    let notice = timeout(LONG, notices.recv()).await.expect("no notice in 5 s");
    assert_eq!(notice, Ok(Notice::Dropped));
    for n in 0..SUBSCRIPTION_CAPACITY {
        assert_eq!(next(&mut full).await, n.to_string());
    }
    assert!(full.try_next().is_none());
    a.publish(&subject, bytes("again")).await.unwrap();
    assert_eq!(next(&mut full).await, "again");
}

pub(crate) async fn each_request_gets_its_own_answer(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut questions = b.subscribe(&subject, Some("workers")).await.unwrap();
    let ask = |n: usize| {
        let (a, subject) = (&a, &subject);
        async move { (n, a.request(subject, bytes(n.to_string()), LONG).await) }
    };
    let answer = async {
        let mut waiting = Vec::new();
        for _ in 0..200 {
            waiting.push(next_delivery(&mut questions).await);
        }
        for question in waiting.iter().rev() {
            let reply_to = question.reply_to.as_ref().unwrap();
            b.publish(reply_to, bytes(format!("re {}", text(question)))).await.unwrap();
        }
    };
    let (answers, ()) = tokio::join!(join_all((0..200).map(ask)), answer);
    for (n, answer) in answers {
        assert_eq!(answer, Ok(bytes(format!("re {n}"))));
    }
}

pub(crate) async fn a_request_that_nobody_listens_to_fails_at_once(world: &mut impl World) {
    let a = world.connect().await;
    let subject = conversation("c1");
    let request = a.request(&subject, bytes("?"), Duration::from_secs(60));
    let answer = timeout(Duration::from_secs(1), request).await.expect("it waited");
    assert_eq!(answer, Err(BusError::NoResponders));
}

pub(crate) async fn a_request_without_an_answer_times_out_and_a_late_answer_harms_nobody(
    world: &mut impl World,
) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut questions = b.subscribe(&subject, None).await.unwrap();
    let short = Duration::from_millis(100);
    assert_eq!(a.request(&subject, bytes("?"), short).await, Err(BusError::TimedOut));
    let late = next_delivery(&mut questions).await.reply_to.unwrap();
    b.publish(&late, bytes("late")).await.unwrap();
    let again = a.request(&subject, bytes("again?"), LONG);
    let answer = async {
        let question = next_delivery(&mut questions).await;
        b.publish(&late, bytes("later")).await.unwrap();
        b.publish(&question.reply_to.unwrap(), bytes("in time")).await.unwrap();
    };
    let (answer, ()) = tokio::join!(again, answer);
    assert_eq!(answer, Ok(bytes("in time")));
}

pub(crate) async fn a_payload_is_taken_up_to_the_bound_and_refused_beyond(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut subscription = b.subscribe(&subject, None).await.unwrap();
    let largest = Bytes::from(vec![b'x'; MAX_PAYLOAD_BYTES]);
    let too_large = Bytes::from(vec![b'x'; MAX_PAYLOAD_BYTES + 1]);
    let refused = BusError::TooLarge(MAX_PAYLOAD_BYTES + 1);
    assert_eq!(a.publish(&subject, too_large.clone()).await, Err(refused.clone()));
    assert_eq!(a.request(&subject, too_large, LONG).await, Err(refused));
    a.publish(&subject, largest.clone()).await.unwrap();
    assert_eq!(next_delivery(&mut subscription).await.payload, largest);
}

pub(crate) async fn ids_with_dots_and_at_signs_do_not_mix(world: &mut impl World) {
    let a = world.connect().await;
    let ids = ["a", "a.b", "a.b@c", "a.b@c|d+e", "a-b_c", "a:b"];
    let mut subscriptions = Vec::new();
    for id in ids {
        subscriptions.push(a.subscribe(&conversation(id), None).await.unwrap());
    }
    for id in ids {
        a.publish(&conversation(id), bytes(id)).await.unwrap();
    }
    settle(&a, &a).await;
    for (id, subscription) in ids.iter().zip(&mut subscriptions) {
        assert_eq!(subscription.try_next().map(|delivery| text(&delivery)).as_deref(), Some(*id));
        assert!(subscription.try_next().is_none());
    }
}

pub(crate) async fn subscriptions_outlive_an_outage_and_the_return_is_noticed(world: &mut impl World) {
    let (a, b) = (world.connect().await, world.connect().await);
    let subject = conversation("c1");
    let mut subscription = b.subscribe(&subject, None).await.unwrap();
    let (mut notices, mut connected) = (b.notices(), b.connected());
    assert!(*connected.borrow_and_update());
    world.outage(false).await;
    timeout(LONG, connected.changed()).await.expect("the outage was not seen").unwrap();
    timeout(LONG, connected.wait_for(|stands| *stands)).await.expect("still down").unwrap();
    assert_eq!(timeout(LONG, notices.recv()).await.expect("no notice"), Ok(Notice::Reconnected));
    timeout(LONG, a.connected().wait_for(|stands| *stands)).await.expect("still down").unwrap();
    settle(&b, &a).await;
    a.publish(&subject, bytes("back")).await.unwrap();
    assert_eq!(next(&mut subscription).await, "back");
    let question = a.request(&subject, bytes("?"), LONG);
    let answer = async {
        let reply_to = next_delivery(&mut subscription).await.reply_to.unwrap();
        b.publish(&reply_to, bytes("!")).await.unwrap();
    };
    assert_eq!(tokio::join!(question, answer).0, Ok(bytes("!")));
}
