//! Literal frames, as captured from a Phoenix server, and what must hold for any.

use proptest::prelude::*;

use super::*;

fn frame(text: &str) -> Frame {
    Frame::decode(Vsn::V2, text).unwrap()
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_heartbeat_of_either_version_is_read() {
    let v2 = frame(r#"[null,"7","phoenix","heartbeat",{}]"#);
    let v1 = r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"7"}"#;
    assert_eq!(v2, Frame::decode(Vsn::V1, v1).unwrap());
    assert!(v2.join_ref.is_null());
    assert_eq!(v2.reference, Ref::text("7"));
}

#[test]
fn a_reply_is_written_as_phoenix_writes_it() {
    let asked = frame(r#"["3",9,"phoenix","heartbeat",{}]"#);
    let ok = reply(Vsn::V2, &Ref::null(), &asked.reference, &asked.topic, Ok(&Raw::empty()));
    assert_eq!(text(&ok), r#"[null,9,"phoenix","phx_reply",{"response":{},"status":"ok"}]"#);
    let ok = reply(Vsn::V1, &Ref::null(), &asked.reference, &asked.topic, Ok(&Raw::empty()));
    assert_eq!(
        text(&ok),
        r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":9,"topic":"phoenix"}"#
    );
}

#[test]
fn refs_keep_their_json_type() {
    let odd = frame(r#"[{"a": 1}, [2], "conversation:objs", "phx_join", {}]"#);
    let ok = reply(Vsn::V2, &odd.join_ref, &odd.reference, &odd.topic, Ok(&Raw::empty()));
    assert_eq!(text(&ok), r#"[{"a":1},[2],"conversation:objs","phx_reply",{"response":{},"status":"ok"}]"#);
}

#[test]
fn a_ref_keeps_every_digit_and_every_letter() {
    let odd = frame(r#"[[12345678901234567890123, 1.50], " a \" b \\", "t", "e", {}]"#);
    assert_eq!(odd.join_ref.json(), "[12345678901234567890123,1.50]");
    assert_eq!(odd.reference.json(), r#"" a \" b \\""#);
    let odd = frame(r#"[{"a \" b" : [ " \\" , "\u0020" ]}, null, "t", "e", {}]"#);
    assert_eq!(odd.join_ref.json(), r#"{"a \" b":[" \\","\u0020"]}"#);
}

#[test]
fn a_topic_that_is_not_text_is_echoed_with_its_type() {
    let odd = frame(r#"["1","1",5,"phx_join",{}]"#);
    assert_eq!(odd.topic.as_text(), None);
    let refusal = Refusal::new(crate::Reason::UnmatchedTopic, "no");
    let refused = reply(Vsn::V2, &Ref::null(), &odd.reference, &odd.topic, Err(&refusal));
    assert_eq!(
        text(&refused),
        r#"[null,"1",5,"phx_reply",{"response":{"reason":"unmatched topic","message":"no"},"status":"error"}]"#
    );
}

#[test]
fn a_close_names_the_join_in_v2_and_nothing_in_v1() {
    let join = Ref::text("4");
    assert_eq!(
        text(&closed(Vsn::V2, &join, "conversation:l", phx::CLOSE)),
        r#"["4","4","conversation:l","phx_close",{}]"#
    );
    assert_eq!(
        text(&closed(Vsn::V1, &join, "conversation:l", phx::CLOSE)),
        r#"{"event":"phx_close","payload":{},"ref":null,"topic":"conversation:l"}"#
    );
}

#[test]
fn a_push_carries_the_join_ref_and_a_broadcast_does_not() {
    let payload = Raw::of(&serde_json::json!({"p": 1}));
    assert_eq!(
        text(&push(Vsn::V2, &Ref::text("2"), "user:a", "presence_state", &payload)),
        r#"["2",null,"user:a","presence_state",{"p":1}]"#
    );
    assert_eq!(
        text(&broadcast(Vsn::V2, "user:a", "presence_diff", &payload)),
        r#"[null,null,"user:a","presence_diff",{"p":1}]"#
    );
}

#[test]
fn extra_elements_white_space_and_keys_are_ignored() {
    let plain = frame(r#"[null,"1","phoenix","heartbeat",{}]"#);
    assert_eq!(frame(r#" [null,"1","phoenix","heartbeat",{},"extra"] "#), plain);
    let extra = r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1","join_ref":"2","extra":1}"#;
    assert_eq!(Frame::decode(Vsn::V1, extra).unwrap(), plain);
}

#[test]
fn what_is_not_a_message_is_refused() {
    for text in [
        "",
        "{",
        "ping",
        "{}",
        "\"str\"",
        "null",
        "[]",
        r#"["1","1","phoenix","heartbeat"]"#,
        r#"[null,"1","phoenix","heartbeat",{}] trailing"#,
        r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}"#,
    ] {
        assert!(Frame::decode(Vsn::V2, text).is_err(), "{text}");
    }
    for text in [
        "",
        "[]",
        "{}",
        r#"{"topic":"phoenix","event":"heartbeat","payload":{}}"#,
        r#"{"topic":"phoenix","event":"heartbeat","ref":"1"}"#,
        r#"[null,"1","phoenix","heartbeat",{}]"#,
        r#"["phoenix","heartbeat",{},"1"]"#,
    ] {
        assert!(Frame::decode(Vsn::V1, text).is_err(), "{text}");
    }
}

#[test]
fn nesting_is_measured_without_recursion() {
    let raw = |text: &str| Raw::from_string(text.to_owned()).unwrap();
    for (text, levels) in [
        ("1", 0),
        (r#""[[{{""#, 0),
        (r#""\\""#, 0),
        (r#""\"[[""#, 0),
        ("{}", 1),
        (r#"{"a":[],"b":[{}],"c":"]"}"#, 3),
        (r#"[[],[],[[]]]"#, 3),
    ] {
        assert!(raw(text).is_within(levels), "{text}");
        assert!(levels == 0 || !raw(text).is_within(levels - 1), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    assert!(!raw(&deep).is_within(64) && raw(&deep).is_within(60_000));
    // Whatever is nested where in a frame, reading it does not use up the stack.
    for frame in [
        format!(r#"["1","1","topic","event",{deep}]"#),
        format!(r#"["1",{deep},"topic","event",{{}}]"#),
        format!(r#"["1","1",{deep},"event",{{}}]"#),
        format!(r#"["1","1","topic",{deep},{{}}]"#),
        format!(r#"["1","1","topic","event",{{}},{deep}]"#),
        deep.clone(),
        "[".repeat(120_000),
    ] {
        let _ = Frame::decode(Vsn::V2, &frame);
        let _ = Frame::decode(Vsn::V1, &frame);
    }
}

#[test]
fn versions_are_matched_as_phoenix_matches_them() {
    assert_eq!(Vsn::negotiate(None), Some(Vsn::V1));
    assert_eq!(Vsn::negotiate(Some("1.0.3")), Some(Vsn::V1));
    assert_eq!(Vsn::negotiate(Some("2.0.7")), Some(Vsn::V2));
    for vsn in ["2.1.0", "3.0.0", "2", "abc", "", "2.0.", "2.0.x", "2.0.0-rc"] {
        assert_eq!(Vsn::negotiate(Some(vsn)), None, "{vsn}");
    }
}

fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(depth, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        4 => ".{0,20}".prop_map(Name::Text),
        1 => any::<i32>().prop_map(|number| Name::Other(number.to_string())),
    ]
}

fn any_ref() -> impl Strategy<Value = Ref> {
    json(2).prop_map(|value| Ref(value.to_string().into()))
}

proptest! {
    #[test]
    fn decoding_never_panics(text in ".{0,200}") {
        let _ = Frame::decode(Vsn::V1, &text);
        let _ = Frame::decode(Vsn::V2, &text);
    }

    #[test]
    fn decoding_json_never_panics(value in json(4)) {
        let _ = Frame::decode(Vsn::V1, &value.to_string());
        let _ = Frame::decode(Vsn::V2, &value.to_string());
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same(
        join_ref in any_ref(), reference in any_ref(), topic in name(), event in name(), payload in json(3),
    ) {
        let frame = Frame { join_ref, reference, topic, event, payload: Raw::of(&payload) };
        prop_assert_eq!(&Frame::decode(Vsn::V2, text(&frame.encode(Vsn::V2))).unwrap(), &frame);
        let without_join_ref = Frame { join_ref: Ref::null(), ..frame };
        prop_assert_eq!(
            &Frame::decode(Vsn::V1, text(&without_join_ref.encode(Vsn::V1))).unwrap(),
            &without_join_ref
        );
    }
}
