use simurgh_protocol::Timestamp;
use uuid::Uuid;

use super::*;

const MEMBER: MemberThenAndNow = MemberThenAndNow { then: Some(true), now: true };

fn socket(channel: Option<ChannelHere>) -> SocketHere {
    SocketHere { session_id: Uuid::nil(), transport: "websocket".to_owned(), unsent_bytes: 0, channel }
}

fn channel(joined_seq: u64, queued_seq: u64, sent_seq: u64, state: ChannelState) -> Option<ChannelHere> {
    Some(ChannelHere { joined_seq, queued_seq, sent_seq, state })
}

/// Gateway `g` says this of the user's sockets.
fn saying(sockets: Vec<SocketHere>, dropped: usize, heard_seq: u64) -> BTreeMap<String, Place> {
    let said = Some(SocketsHere { sockets, dropped, heard_seq, left_out: 0 });
    [("g".to_owned(), Place { state: GatewayState::Answered, said, connections: 1 })].into()
}

/// What became of message 7 at each socket.
fn at_sockets(places: BTreeMap<String, Place>) -> Vec<(Verdict, Why)> {
    gathered(places, 7).0.into_iter().map(|socket| (socket.verdict, socket.reason)).collect()
}

#[test]
fn each_socket_has_a_verdict_and_a_reason() {
    for (channel, heard_seq, expected) in [
        (channel(0, 9, 7, ChannelState::Full), 9, (Verdict::Delivered, Why::Sent)),
        (channel(7, 7, 7, ChannelState::Unchecked), 9, (Verdict::Delivered, Why::BeforeJoin)),
        (channel(0, 7, 6, ChannelState::Full), 9, (Verdict::Pending, Why::Queued)),
        (channel(0, 6, 3, ChannelState::Full), 9, (Verdict::Behind, Why::MailboxFull)),
        (channel(0, 6, 6, ChannelState::Unchecked), 9, (Verdict::Pending, Why::Unchecked)),
        (channel(0, 6, 6, ChannelState::Open), 7, (Verdict::Pending, Why::Gap)),
        (channel(0, 6, 6, ChannelState::Open), 6, (Verdict::Pending, Why::Unheard)),
        (None, 0, (Verdict::Behind, Why::NotJoined)),
    ] {
        assert_eq!(at_sockets(saying(vec![socket(channel)], 0, heard_seq)), [expected], "{channel:?}");
    }
    let told = gathered(saying(vec![socket(channel(0, 6, 3, ChannelState::Full))], 0, 9), 7).0;
    assert_eq!((told[0].last_seq, told[0].unsent_bytes, told[0].gateway.as_str()), (Some(3), Some(0), "g"));
}

#[test]
fn sockets_that_are_gone_and_gateways_that_do_not_answer_are_named() {
    assert_eq!(at_sockets(saying(Vec::new(), 2, 9)), [(Verdict::Behind, Why::SocketGone); 2]);
    let silent = |state, connections| {
        let place = Place { state, said: None, connections };
        (gathered([("g".to_owned(), place.clone())].into(), 7), place.partial())
    };
    let ((sockets, gateways), partial) = silent(GatewayState::Gone, 1);
    assert_eq!((sockets[0].reason, gateways[0].state, partial), (Why::SocketGone, GatewayState::Gone, false));
    for state in [GatewayState::Silent, GatewayState::Unreachable] {
        let ((sockets, gateways), partial) = silent(state, 2);
        let verdicts: Vec<_> = sockets.iter().map(|socket| (socket.verdict, socket.reason)).collect();
        assert_eq!(verdicts, [(Verdict::Unknown, Why::GatewaySilent); 2]);
        assert_eq!((gateways[0].state, partial), (state, true));
        // There may be sockets that are in nobody's presence.
        assert_eq!(silent(state, 0).0.1.len(), 1);
    }
    let answered =
        Place { state: GatewayState::Answered, said: Some(SocketsHere::default()), connections: 0 };
    assert_eq!(
        gathered([("g".to_owned(), answered)].into(), 7),
        (Vec::new(), Vec::new()),
        "it has no part in it"
    );
}

#[test]
fn the_socket_that_it_reached_furthest_decides() {
    let sockets = |channels: &[Option<ChannelHere>]| {
        gathered(saying(channels.iter().map(|channel| socket(*channel)).collect(), 0, 9), 7).0
    };
    let (sent, full) = (channel(0, 7, 7, ChannelState::Open), channel(0, 3, 3, ChannelState::Full));
    let (gap, none) = (channel(0, 3, 3, ChannelState::Open), None);
    for (channels, expected) in [
        (&[none, full, gap, sent][..], (Verdict::Delivered, Why::Sent)),
        (&[none, full, gap], (Verdict::Pending, Why::Gap)),
        (&[none, full], (Verdict::Behind, Why::MailboxFull)),
        (&[none], (Verdict::Behind, Why::NotJoined)),
        (&[], (Verdict::Behind, Why::NoSocket)),
    ] {
        assert_eq!(overall(&sockets(channels), MEMBER, Come::default(), false), expected);
    }
    let partial =
        |channels: &[Option<ChannelHere>]| overall(&sockets(channels), MEMBER, Come::default(), true);
    assert_eq!(partial(&[full]), (Verdict::Unknown, Why::GatewaySilent), "it may have come elsewhere");
    assert_eq!(partial(&[sent, full]), (Verdict::Delivered, Why::Sent));
}

#[test]
fn who_read_it_has_it_and_who_is_no_member_does_not_get_it() {
    let stored = StoredAt { at: Timestamp::from_millis(100), seq: 7 };
    let of = |member, joined_at, read, delivered, sent| {
        let document = MemberDocument {
            delivered_seq: delivered,
            ..MemberDocument::new(Timestamp::from_millis(joined_at), read)
        };
        overall(&[], member, Come::of(Some(&document), sent, stored), false)
    };
    assert_eq!(of(MEMBER, 100, 7, 0, 0), (Verdict::Delivered, Why::Read));
    assert_eq!(of(MEMBER, 100, 6, 0, 7), (Verdict::Delivered, Why::Read), "who sends has read");
    assert_eq!(of(MEMBER, 100, 6, 7, 0), (Verdict::Delivered, Why::Received));
    assert_eq!(of(MEMBER, 100, 6, 6, 6), (Verdict::Behind, Why::NoSocket));
    for then in [Some(false), Some(true), None] {
        let since = MemberThenAndNow { then, now: true };
        assert_eq!(of(since, 101, 9, 9, 0), (Verdict::Behind, Why::NoSocket), "the position began there");
    }
    let removed = MemberThenAndNow { then: Some(true), now: false };
    let none = Come::of(None, 9, stored);
    assert_eq!(overall(&[], removed, none, false), (Verdict::Behind, Why::NotAMember));
    // A removal that the gateway has not heard of yet.
    let told = gathered(saying(vec![socket(channel(0, 7, 7, ChannelState::Open))], 0, 7), 7).0;
    assert_eq!(overall(&told, removed, none, false), (Verdict::Delivered, Why::Sent));
}

#[test]
fn a_gateway_that_left_sockets_out_makes_the_answer_a_partial_one() {
    let said = Some(SocketsHere { left_out: 1, ..SocketsHere::default() });
    let place = Place { state: GatewayState::Answered, said, connections: 0 };
    assert!(place.partial());
    assert!(!Place { said: Some(SocketsHere::default()), ..place }.partial());
}
