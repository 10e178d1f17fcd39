//! A message in the gateway: the session that takes a push, and the fan-out of a broadcast to the mailboxes of a
//! conversation. With allocations.
#![expect(clippy::unwrap_used, reason = "a bench ends where its ground is missing, as a test does")]

use std::{sync::Arc, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use simurgh_gateway::{
    blocks::Unseen,
    mailbox::{ChannelId, Mailbox, SocketId},
    metrics::{Asked, Metrics},
    session::{Effect, Gate, Session},
    topic::{Joined, Topic},
};
use simurgh_protocol::{
    ConversationId, Raw, Reason, Ref, Timestamp, UserId, Vsn,
    envelope::{ConversationEnvelope, ConversationEvent, Head, Logged},
    event::RateClass,
};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

/// A year: no token ends in a bench.
const LATER: Timestamp = Timestamp::from_millis(31_536_000_000);

fn main() {
    divan::main();
}

/// No rates, and a clock that stands.
struct Open;

impl Gate for Open {
    fn count(&mut self, _: RateClass) -> Result<(), Duration> {
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn answered(&mut self, _: Asked, _: Option<Reason>) {}
}

/// A push of 128 bytes of content through a session, and the worker's answer to it.
#[divan::bench]
fn push_and_reply(bencher: Bencher) {
    let mut session = Session::new(UserId::new("alice").unwrap(), Vsn::V2, 100, LATER);
    let effects = session.text(r#"["1","1","conversation:room","phx_join",{}]"#, &mut Open);
    let channel = effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Join { channel, .. } => Some(*channel),
            _ => None,
        })
        .unwrap();
    session.joined(channel, Ok(Raw::empty()), &mut Open);
    let content = "x".repeat(128);
    let push = format!(
        r#"["1","7","conversation:room","send_message",{{"message_type":"text","content":"{content}","metadata":{{}},"client_random":7}}]"#
    );
    let answer = Raw::from_string(format!(r#"{{"seq":1,"content":"{content}"}}"#)).unwrap();
    bencher.bench_local(|| {
        let asked = session.text(&push, &mut Open);
        let answered = session.done(channel, Ok(answer.clone()), &mut Open);
        (asked, answered)
    });
}

/// One message to everyone in the conversation, and each mailbox emptied.
#[divan::bench(args = [10, 100, 1_000])]
fn fan_out(bencher: Bencher, members: u64) {
    let id = ConversationId::new("room").unwrap();
    let mut topic = Topic::new(id.clone(), Arc::new(Metrics::new().unwrap()));
    let mailboxes: Vec<_> = (0..members)
        .map(|index| {
            let mailbox = Mailbox::new(SocketId(index), 256 * 1024);
            topic.join(Joined {
                channel: ChannelId(1),
                user: Some(UserId::new(&format!("u{index}")).unwrap()),
                form: Vsn::V2.into(),
                join_ref: Ref::text("1"),
                mailbox: Arc::clone(&mailbox),
                head: Head { conversation: id.clone(), last_seq: 0, change_seq: 0, members_version: 1 },
                unseen: Unseen::default(),
            });
            mailbox
        })
        .collect();
    let mut items = Vec::new();
    mailboxes.iter().for_each(|mailbox| mailbox.take(usize::MAX, &mut items));
    let (mut seq, content) = (0, "x".repeat(128));
    bencher.counter(ItemsCount::new(members)).bench_local(|| {
        seq += 1;
        let payload = Raw::from_string(format!(r#"{{"seq":{seq},"content":"{content}"}}"#)).unwrap();
        let event = ConversationEvent::Messages(vec![Logged::new(seq, payload)]);
        topic.event(ConversationEnvelope { members_version: 1, event });
        for mailbox in &mailboxes {
            items.clear();
            mailbox.take(usize::MAX, &mut items);
        }
    });
    assert_eq!(topic.head().last_seq, seq, "every message was taken");
    assert_eq!(topic.wants_range(), None, "nobody misses any");
}
