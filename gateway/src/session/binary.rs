//! Binary frames: like text where the payload is JSON, refused like text where it is not an object.

use serde_json::json;
use simurgh_protocol::{Vsn, frame::binary::ClientPush};

use super::{tests::*, *};

const PUSH: ClientPush<'_> = ClientPush {
    join_ref: "1",
    reference: "2",
    topic: "conversation:b2",
    event: "send_message",
    payload: br#"{"content":"x"}"#,
};

fn sent(client: &mut Client, push: ClientPush<'_>) -> Vec<Effect> {
    client.session.binary(&push.encode().unwrap(), &mut client.gate)
}

fn joined() -> (Client, ChannelId) {
    let mut client = Client::new(Vsn::V2);
    let channel = client.joined("1", "b2");
    (client, channel)
}

#[test]
fn a_push_of_json_is_carried_out_and_answered_in_text() {
    let (mut client, channel) = joined();
    let effects = sent(&mut client, PUSH);
    assert!(
        matches!(&effects[..], [Effect::Do { push: Push::SendMessage, payload, .. }] if payload.get() == r#"{"content":"x"}"#),
        "{effects:?}"
    );
    let effects = client.session.done(channel, Ok(Raw::empty()), &mut client.gate);
    assert_eq!(
        frames(&effects),
        [json!(["1", "2", "conversation:b2", "phx_reply", {"status": "ok", "response": {}}])]
    );
}

#[test]
fn a_payload_that_is_no_object_is_refused() {
    let (mut client, _) = joined();
    for payload in [&[1, 2, 255][..], b"", b"[1]", b"5", b"{", b"{\"a\":\"\xff\"}"] {
        let reply = frames(&sent(&mut client, ClientPush { payload, ..PUSH })).remove(0);
        assert_eq!(reply[4]["response"]["reason"], "validation_failed", "{payload:?}");
        assert_eq!(reply[1], "2");
    }
    let join = ClientPush { event: "phx_join", topic: "conversation:c", payload: &[1], ..PUSH };
    let reply = frames(&sent(&mut client, join)).remove(0);
    assert_eq!((&reply[0], &reply[4]["response"]["reason"]), (&json!("1"), &json!("validation_failed")));
}

#[test]
fn joins_leaves_and_heartbeats_may_be_binary() {
    let (mut client, _) = joined();
    let heartbeat =
        ClientPush { join_ref: "", reference: "6", topic: "phoenix", event: "heartbeat", payload: b"" };
    let ok = json!({"status": "ok", "response": {}});
    assert_eq!(frames(&sent(&mut client, heartbeat)), [json!([null, "6", "phoenix", "phx_reply", ok])]);

    // An empty join_ref is not null, and not the join's.
    let leave = ClientPush { event: "phx_leave", payload: b"", ..PUSH };
    assert_eq!(sent(&mut client, ClientPush { join_ref: "", ..leave }), []);
    let left = frames(&sent(&mut client, leave));
    assert_eq!(
        left,
        [
            json!(["1", "2", "conversation:b2", "phx_reply", ok]),
            json!(["1", "1", "conversation:b2", "phx_close", {}])
        ]
    );

    let join = ClientPush { join_ref: "", reference: "", event: "phx_join", payload: b"{}", ..PUSH };
    let effects = sent(&mut client, join);
    let Some(Effect::Join { channel, .. }) = effects.first() else { panic!("{effects:?}") };
    let effects = client.session.joined(*channel, Ok(Raw::empty()), &mut client.gate);
    assert_eq!(frames(&effects[..1]), [json!(["", "", "conversation:b2", "phx_reply", ok])]);
}

#[test]
fn what_is_no_push_closes_the_socket_and_so_does_any_in_the_first_version() {
    let invalid = [Effect::Close(CloseCode::InvalidFrame)];
    for junk in [&b""[..], &[0, 1, 2], &[1, 0, 0, 0, 0], br#"[null,"1","phoenix","heartbeat",{}]"#] {
        let mut client = Client::new(Vsn::V2);
        assert_eq!(client.session.binary(junk, &mut client.gate), invalid, "{junk:?}");
    }
    let mut client = Client::new(Vsn::V1);
    assert_eq!(sent(&mut client, PUSH), invalid);
}
