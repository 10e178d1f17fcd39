use simurgh_protocol::envelope::{ConversationEnvelope, ConversationEvent};

use super::*;
use crate::topic::tests::{head, id, join, messages, user};

/// What the topic says of the only channel of a user.
fn only(topic: &Topic, name: &str) -> ChannelHere {
    let report = topic.report(&user(name));
    assert_eq!(report.channels.len(), 1, "{report:?}");
    report.channels.into_values().next().unwrap()
}

fn written(mailbox: &crate::mailbox::Mailbox) {
    mailbox.take(usize::MAX, &mut Vec::new());
    mailbox.written();
}

#[test]
fn a_channel_was_told_what_was_written_to_its_socket() {
    let mut topic = Topic::new(id(), crate::testing::metrics());
    let mailbox = join(&mut topic, 1, "a", head(3, 1), usize::MAX / 2);
    let joined = ChannelHere { joined_seq: 3, queued_seq: 3, sent_seq: 3, state: ChannelState::Open };
    assert_eq!(only(&topic, "a"), joined);
    topic.event(messages(1, [4, 5]));
    assert_eq!(only(&topic, "a"), ChannelHere { queued_seq: 5, ..joined }, "both wait");
    written(&mailbox);
    assert_eq!(only(&topic, "a"), ChannelHere { queued_seq: 5, sent_seq: 5, ..joined });
    topic.event(messages(1, [7]));
    assert_eq!(only(&topic, "a"), ChannelHere { queued_seq: 5, sent_seq: 5, ..joined }, "6 is missing");
    assert_eq!(topic.report(&user("a")).heard_seq, 7);
    assert_eq!(topic.report(&user("b")), Report { heard_seq: 7, ..Report::default() });
}

#[test]
fn a_full_mailbox_and_an_unchecked_membership_are_told_apart() {
    let mut topic = Topic::new(id(), crate::testing::metrics());
    let slow = join(&mut topic, 1, "a", head(0, 1), 1);
    let _other = join(&mut topic, 2, "b", head(0, 1), usize::MAX / 2);
    topic.event(messages(1, [1]));
    let behind = ChannelHere { joined_seq: 0, queued_seq: 0, sent_seq: 0, state: ChannelState::Full };
    assert_eq!(only(&topic, "a"), behind, "the state of presence fills it");
    assert_eq!(only(&topic, "b").state, ChannelState::Open);
    // Of members that changed, and how is not known.
    topic.event(ConversationEnvelope { members_version: 3, event: ConversationEvent::Messages(Vec::new()) });
    assert_eq!(only(&topic, "b").state, ChannelState::Unchecked);
    written(&slow);
    topic.drained(crate::mailbox::SocketId(1));
    assert_eq!(only(&topic, "a"), ChannelHere { state: ChannelState::Unchecked, ..behind });
}
