//! Frames in, frames out; as a Phoenix server answers them, but for what the contract says otherwise.

use serde_json::{Value, json};

use super::*;

/// Lets everything through until told otherwise.
pub(super) struct Open {
    refused: Option<RateClass>,
    pub(super) answered: Vec<(Asked, Option<Reason>)>,
    now: Timestamp,
}

impl Gate for Open {
    fn count(&mut self, class: RateClass) -> Result<(), Duration> {
        if self.refused == Some(class) { Err(Duration::from_millis(1_200)) } else { Ok(()) }
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn answered(&mut self, asked: Asked, refused: Option<Reason>) {
        self.answered.push((asked, refused));
    }
}

pub(super) struct Client {
    pub(super) session: Session,
    pub(super) gate: Open,
}

const HOUR_MS: u64 = 3_600_000;

impl Client {
    pub(super) fn new(vsn: Vsn) -> Self {
        let alice = UserId::new("alice").unwrap();
        Self {
            session: Session::new(alice, vsn, 3, Timestamp::from_millis(HOUR_MS)),
            gate: Open { refused: None, answered: Vec::new(), now: Timestamp::from_millis(0) },
        }
    }

    pub(super) fn says(&mut self, text: &str) -> Vec<Effect> {
        self.session.text(text, &mut self.gate)
    }

    /// Joins a conversation and has the join granted.
    pub(super) fn joined(&mut self, join_ref: &str, id: &str) -> ChannelId {
        let effects =
            self.says(&format!(r#"["{join_ref}","{join_ref}","conversation:{id}","phx_join",{{}}]"#));
        let channel = effects.iter().find_map(join_of).unwrap();
        self.session.joined(channel, Ok(Raw::empty()), &mut self.gate);
        channel
    }

    fn done(&mut self, channel: ChannelId, response: Value) -> Vec<Effect> {
        self.session.done(channel, Ok(Raw::of(&response)), &mut self.gate)
    }
}

fn join_of(effect: &Effect) -> Option<ChannelId> {
    match effect {
        Effect::Join { channel, .. } => Some(*channel),
        _ => None,
    }
}

pub(super) fn frames(effects: &[Effect]) -> Vec<Value> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(bytes) => Some(serde_json::from_slice(bytes).unwrap()),
            _ => None,
        })
        .collect()
}

pub(super) fn reason(frame: &Value) -> &str {
    frame[4]["response"]["reason"].as_str().unwrap()
}

#[test]
fn a_heartbeat_is_answered_without_a_join_ref() {
    let effects = Client::new(Vsn::V2).says(r#"["3","8","phoenix","heartbeat",{}]"#);
    assert_eq!(
        frames(&effects),
        [json!([null, "8", "phoenix", "phx_reply", {"response": {}, "status": "ok"}])]
    );
}

#[test]
fn what_no_channel_is_routed_for_is_unmatched_and_the_socket_lives_on() {
    let mut client = Client::new(Vsn::V2);
    for text in [
        r#"["1","1","nope:1","phx_join",{}]"#,
        r#"["1","1",5,"phx_join",{}]"#,
        r#"["1","1","phoenix","phx_join",{}]"#,
        r#"["1","1","conversation:a",5,{}]"#,
        r#"["1","1","conversation:c9","send_message",{}]"#,
    ] {
        let frames = frames(&client.says(text));
        assert_eq!(reason(&frames[0]), "unmatched topic", "{text}");
        assert_eq!(frames[0][0], Value::Null);
    }
}

#[test]
fn a_frame_that_is_no_message_closes_the_socket() {
    let effects = Client::new(Vsn::V2).says("{");
    assert_eq!(effects, [Effect::Close(CloseCode::InvalidFrame)]);
}

#[test]
fn only_ones_own_user_topic_is_joined() {
    let mut client = Client::new(Vsn::V2);
    let refused = frames(&client.says(r#"["1","1","user:bob","phx_join",{}]"#));
    assert_eq!((reason(&refused[0]), &refused[0][0]), ("unauthorized", &json!("1")));
    let effects = client.says(r#"["2","2","user:alice","phx_join",{}]"#);
    assert!(join_of(&effects[0]).is_some());
}

#[test]
fn a_join_is_answered_before_anything_is_delivered() {
    let mut client = Client::new(Vsn::V2);
    let effects = client.says(r#"["4","4","conversation:l","phx_join",{"last_seq":3}]"#);
    let [Effect::Join { channel, params, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(params.get(), r#"{"last_seq":3}"#);
    let effects = client.session.joined(*channel, Ok(Raw::of(&json!({"a": 1}))), &mut client.gate);
    assert_eq!(
        frames(&effects),
        [json!(["4", "4", "conversation:l", "phx_reply", {"response": {"a": 1}, "status": "ok"}])]
    );
    assert!(matches!(effects[1], Effect::Open { .. }));
}

#[test]
fn a_refused_join_leaves_no_channel() {
    let mut client = Client::new(Vsn::V2);
    let effects = client.says(r#"["4","4","conversation:l","phx_join",{}]"#);
    let channel = join_of(&effects[0]).unwrap();
    let effects = client.session.joined(channel, Err(Refusal::not_a_member()), &mut client.gate);
    assert_eq!(reason(&frames(&effects)[0]), "not_a_member");
    let effects = client.says(r#"["4","5","conversation:l","typing_start",{}]"#);
    assert_eq!(reason(&frames(&effects)[0]), "unmatched topic");
}

#[test]
fn a_leave_is_answered_and_closes_and_a_second_one_is_ok() {
    let mut client = Client::new(Vsn::V2);
    client.joined("1", "l");
    let effects = client.says(r#"["1","2","conversation:l","phx_leave",{}]"#);
    assert_eq!(
        frames(&effects),
        [
            json!(["1", "2", "conversation:l", "phx_reply", {"response": {}, "status": "ok"}]),
            json!(["1", "1", "conversation:l", "phx_close", {}]),
        ]
    );
    assert!(matches!(effects[2], Effect::Leave { .. }));
    let effects = client.says(r#"["1","4","conversation:l","phx_leave",{}]"#);
    assert_eq!(
        frames(&effects),
        [json!(["1", "4", "conversation:l", "phx_reply", {"response": {}, "status": "ok"}])]
    );
}

#[test]
fn a_stale_or_nameless_leave_is_ignored() {
    let mut client = Client::new(Vsn::V2);
    client.joined("5", "l");
    assert_eq!(client.says(r#"[null,"6","conversation:l","phx_leave",{}]"#), []);
    assert_eq!(client.says(r#"["1","7","conversation:l","phx_leave",{}]"#), []);
    assert!(matches!(client.says(r#"["5","8","conversation:l","typing_start",{}]"#)[0], Effect::Do { .. }));
}

#[test]
fn a_second_join_replaces_the_first_and_says_so_after_its_reply() {
    let mut client = Client::new(Vsn::V2);
    let first = client.joined("1", "d");
    let effects = client.says(r#"["2","2","conversation:d","phx_join",{}]"#);
    assert!(matches!(effects[0], Effect::Leave { channel, .. } if channel == first));
    let second = join_of(&effects[1]).unwrap();
    let effects = client.session.joined(second, Ok(Raw::empty()), &mut client.gate);
    assert_eq!(
        frames(&effects),
        [
            json!(["2", "2", "conversation:d", "phx_reply", {"response": {}, "status": "ok"}]),
            json!(["1", "1", "conversation:d", "phx_close", {}]),
        ]
    );
    assert!(!client.session.is_current(first));
}

#[test]
fn a_push_with_any_join_ref_is_handled_and_answered_with_the_channels_own() {
    let mut client = Client::new(Vsn::V2);
    let channel = client.joined("2", "d");
    for sent in ["\"1\"", "null", "\"99\"", "\"2\""] {
        client.says(&format!(r#"[{sent},"9","conversation:d","send_message",{{}}]"#));
        let effects = client.done(channel, json!({"seq": 1}));
        assert_eq!(
            frames(&effects),
            [json!(["2", "9", "conversation:d", "phx_reply", {"response": {"seq": 1}, "status": "ok"}])]
        );
    }
}

#[test]
fn pushes_of_one_topic_wait_for_each_other_and_other_topics_do_not() {
    let mut client = Client::new(Vsn::V2);
    let (a, _) = (client.joined("1", "a"), client.joined("2", "b"));
    assert!(matches!(client.says(r#"["1","3","conversation:a","send_message",{}]"#)[0], Effect::Do { .. }));
    assert_eq!(client.says(r#"["1","4","conversation:a","send_message",{}]"#), []);
    assert!(matches!(client.says(r#"["2","5","conversation:b","send_message",{}]"#)[0], Effect::Do { .. }));
    let effects = client.done(a, json!({}));
    assert_eq!(frames(&effects)[0][1], "3");
    assert!(matches!(effects[1], Effect::Do { .. }));
}

#[test]
fn a_slow_join_holds_back_its_own_topic_only() {
    let mut client = Client::new(Vsn::V2);
    let effects = client.says(r#"["1","1","conversation:a","phx_join",{}]"#);
    let channel = join_of(&effects[0]).unwrap();
    assert_eq!(client.says(r#"["1","2","conversation:a","send_message",{}]"#), []);
    assert_eq!(frames(&client.says(r#"[null,"3","phoenix","heartbeat",{}]"#)).len(), 1);
    let effects = client.session.joined(channel, Ok(Raw::empty()), &mut client.gate);
    assert!(matches!(effects.last(), Some(Effect::Do { .. })));
}

#[test]
fn with_too_much_waiting_the_socket_is_not_read() {
    let mut client = Client::new(Vsn::V2);
    client.says(r#"["1","1","conversation:a","phx_join",{}]"#);
    for _ in 0..MAX_WAITING {
        assert!(!client.session.is_full());
        client.says(r#"["1","2","conversation:a","typing_start",{}]"#);
    }
    assert!(client.session.is_full());
}

#[test]
fn a_push_that_waited_too_long_is_refused_in_time() {
    let mut client = Client::new(Vsn::V2);
    let channel = client.joined("1", "a");
    client.says(r#"["1","2","conversation:a","send_message",{}]"#);
    client.says(r#"["1","3","conversation:a","send_message",{}]"#);
    client.gate.now = client.gate.now.plus(PATIENCE);
    let frames = frames(&client.done(channel, json!({})));
    assert_eq!((&frames[1][1], reason(&frames[1])), (&json!("3"), "unavailable"));
}

#[test]
fn unknown_events_reserved_ones_and_payloads_that_are_no_objects_are_refused() {
    let mut client = Client::new(Vsn::V2);
    client.joined("1", "a");
    for (text, expected) in [
        (r#"["1","2","conversation:a","nope",{}]"#, "unknown_event"),
        (r#"["1","2","conversation:a","phx_reply",{}]"#, "unknown_event"),
        (r#"["1","2","conversation:a","phx_close",{}]"#, "unknown_event"),
        (r#"["1","2","conversation:a","ping",{}]"#, "unknown_event"),
        (r#"["1","2","conversation:a","send_message","text"]"#, "validation_failed"),
        (r#"["1","2","conversation:a","send_message",[1]]"#, "validation_failed"),
        (r#"["1","2","conversation:b","phx_join",null]"#, "validation_failed"),
    ] {
        let frames = frames(&client.says(text));
        assert_eq!(reason(&frames[0]), expected, "{text}");
        assert_eq!(frames[0][0], "1", "{text}");
    }
}

#[test]
fn one_channel_too_many_is_refused_and_a_rejoin_is_exempt() {
    let mut client = Client::new(Vsn::V2);
    for (join_ref, id) in [("1", "a"), ("2", "b"), ("3", "c")] {
        client.joined(join_ref, id);
    }
    let refused = frames(&client.says(r#"["4","4","conversation:d","phx_join",{}]"#));
    assert_eq!(reason(&refused[0]), "too_many_channels");
    assert!(
        client
            .says(r#"["5","5","conversation:a","phx_join",{}]"#)
            .iter()
            .any(|effect| join_of(effect).is_some())
    );
}

#[test]
fn what_comes_too_often_is_refused_with_the_time_to_wait() {
    let mut client = Client::new(Vsn::V2);
    client.joined("1", "a");
    client.gate.refused = Some(RateClass::Messages);
    let refused = frames(&client.says(r#"["1","2","conversation:a","send_message",{}]"#));
    assert_eq!(reason(&refused[0]), "rate_limit_exceeded");
    assert_eq!(refused[0][4]["response"]["retry_after"], 2);
    assert!(matches!(client.says(r#"["1","3","conversation:a","typing_start",{}]"#)[0], Effect::Do { .. }));
}

#[test]
fn a_removed_member_is_told_what_became_of_its_push_then_gets_phx_close_and_no_more_is_done() {
    let mut client = Client::new(Vsn::V2);
    let channel = client.joined("1", "a");
    client.says(r#"["1","2","conversation:a","send_message",{}]"#);
    client.says(r#"["1","3","conversation:a","send_message",{}]"#);
    assert_eq!(client.session.closed(channel, &mut client.gate), []);
    let frames = frames(&client.done(channel, json!({"seq": 1})));
    assert_eq!((&frames[0][1], &frames[0][4]["response"]["seq"]), (&json!("2"), &json!(1)));
    assert_eq!(frames[1], json!(["1", "1", "conversation:a", "phx_close", {}]));
    assert_eq!((&frames[2][1], reason(&frames[2])), (&json!("3"), "unmatched topic"));
    assert_eq!(client.session.closed(channel, &mut client.gate), []);
}

#[test]
fn what_is_beyond_the_rate_does_not_wait_for_its_turn() {
    let mut client = Client::new(Vsn::V2);
    client.joined("1", "a");
    client.says(r#"["1","2","conversation:a","send_message",{}]"#);
    client.gate.refused = Some(RateClass::Messages);
    let refused = frames(&client.says(r#"["1","3","conversation:a","send_message",{}]"#));
    assert_eq!((&refused[0][1], reason(&refused[0])), (&json!("3"), "rate_limit_exceeded"));
    assert_eq!(client.says(r#"["1","4","conversation:a","typing_start",{}]"#), []);
}

#[test]
fn with_too_many_bytes_waiting_or_under_way_the_socket_is_not_read() {
    let mut client = Client::new(Vsn::V2);
    let channel = client.joined("1", "a");
    let big = format!(r#"["1","2","conversation:a","send_message",{{"x":"{}"}}]"#, "x".repeat(100_000));
    for _ in 0..3 {
        assert!(!client.session.is_full());
        client.says(&big);
    }
    assert!(client.session.is_full());
    client.done(channel, json!({}));
    assert!(!client.session.is_full());
}

#[test]
fn a_ping_is_answered_here() {
    let mut client = Client::new(Vsn::V2);
    let effects = client.says(r#"["1","1","user:alice","phx_join",{}]"#);
    client.session.joined(join_of(&effects[0]).unwrap(), Ok(Raw::empty()), &mut client.gate);
    let reply = frames(&client.says(r#"["1","2","user:alice","ping",{"timestamp":12}]"#));
    assert_eq!(reply[0][4]["response"], json!({"pong": 12, "server_time": "1970-01-01T00:00:00.000Z"}));
    let reply = frames(&client.says(r#"["1","2","user:alice","ping",{}]"#));
    assert_eq!(reply[0][4]["response"]["pong"], Value::Null);
}

#[test]
fn a_token_that_ends_is_told_and_then_closes_unless_renewed() {
    let mut client = Client::new(Vsn::V2);
    let effects = client.says(r#"["1","1","user:alice","phx_join",{}]"#);
    client.session.joined(join_of(&effects[0]).unwrap(), Ok(Raw::empty()), &mut client.gate);
    let at = |ms: u64| Timestamp::from_millis(ms);
    assert_eq!(client.session.deadline(), at(HOUR_MS - 60_000));
    assert_eq!(client.session.tick(at(HOUR_MS - 60_001)), []);
    let warned = frames(&client.session.tick(at(HOUR_MS - 60_000)));
    assert_eq!(
        warned[0],
        json!([null, null, "user:alice", "token_expiring", {"expires_at": "1970-01-01T01:00:00.000Z"}])
    );
    assert_eq!(client.session.tick(at(HOUR_MS + 9_999)), []);
    client.session.renewed(at(2 * HOUR_MS));
    assert_eq!(client.session.tick(at(HOUR_MS + 10_000)), []);
    assert_eq!(client.session.tick(at(2 * HOUR_MS + 10_000)), [Effect::Close(CloseCode::TokenExpired)]);
}

#[test]
fn the_first_version_has_no_join_refs_and_leaves_all_the_same() {
    let mut client = Client::new(Vsn::V1);
    let effects = client.says(r#"{"topic":"conversation:l","event":"phx_join","payload":{},"ref":"1"}"#);
    client.session.joined(join_of(&effects[0]).unwrap(), Ok(Raw::empty()), &mut client.gate);
    let effects = client.says(r#"{"topic":"conversation:l","event":"phx_leave","payload":{},"ref":"2"}"#);
    assert_eq!(
        frames(&effects),
        [
            json!({"topic": "conversation:l", "event": "phx_reply", "payload": {"response": {}, "status": "ok"}, "ref": "2"}),
            json!({"topic": "conversation:l", "event": "phx_close", "payload": {}, "ref": null}),
        ]
    );
}

#[test]
fn what_is_refused_is_counted_by_what_it_asked_and_why() {
    let mut client = Client::new(Vsn::V2);
    client.says(r#"["1","1","user:bob","phx_join",{}]"#);
    client.says(r#"[null,"2","room:1","phx_join",{}]"#);
    client.joined("3", "c");
    client.says(r#"["3","4","conversation:c","<script>",{}]"#);
    let counted = [
        (Asked::Join("user"), Some(Reason::Unauthorized)),
        (Asked::Join("other"), Some(Reason::UnmatchedTopic)),
        (Asked::Push(None), Some(Reason::UnknownEvent)),
    ];
    assert_eq!(client.gate.answered, counted);
}
