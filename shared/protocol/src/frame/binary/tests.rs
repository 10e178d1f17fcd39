//! Literal bytes, as captured between phoenix.js and a Phoenix server, and what must hold for any.

use proptest::prelude::*;

use super::*;
use crate::{Frame, Raw, Ref, Vsn};

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn a_captured_push_is_read_and_written() {
    let captured =
        bytes("00 01 01 0f 06 31 32 63 6f 6e 76 65 72 73 61 74 69 6f 6e 3a 62 32 78 5f 65 63 68 6f 01 02 ff");
    let push = ClientPush {
        join_ref: "1",
        reference: "2",
        topic: "conversation:b2",
        event: "x_echo",
        payload: &[1, 2, 255],
    };
    assert_eq!(ClientPush::decode(&captured), Some(push));
    assert_eq!(push.encode().unwrap(), captured);
    let frame = Frame::decode_binary(Vsn::V2, &captured).unwrap();
    assert_eq!((frame.join_ref, frame.reference), (Ref::text("1"), Ref::text("2")));
    assert_eq!(frame.payload.get(), "null", "what is not JSON is no object");
}

#[test]
fn captured_frames_of_the_server_are_read_and_written() {
    let topic = "conversation:b2";
    for (hex, frame) in [
        (
            "01 01 01 0f 02 31 32 63 6f 6e 76 65 72 73 61 74 69 6f 6e 3a 62 32 6f 6b 01 02 ff",
            ServerFrame::Reply { join_ref: "1", reference: "2", topic, status: "ok", response: &[1, 2, 255] },
        ),
        (
            "00 01 0f 06 31 63 6f 6e 76 65 72 73 61 74 69 6f 6e 3a 62 32 78 5f 70 75 73 68 09 08",
            ServerFrame::Push { join_ref: "1", topic, event: "x_push", payload: &[9, 8] },
        ),
        (
            "02 0f 0b 63 6f 6e 76 65 72 73 61 74 69 6f 6e 3a 62 32 78 5f 62 72 6f 61 64 63 61 73 74 07",
            ServerFrame::Broadcast { topic, event: "x_broadcast", payload: &[7] },
        ),
        (
            "01 01 00 0f 02 31 63 6f 6e 76 65 72 73 61 74 69 6f 6e 3a 62 32 6f 6b 7a",
            ServerFrame::Reply { join_ref: "1", reference: "", topic, status: "ok", response: b"z" },
        ),
    ] {
        assert_eq!(ServerFrame::decode(&bytes(hex)), Some(frame), "{hex}");
        assert_eq!(frame.encode().unwrap(), bytes(hex), "{hex}");
    }
}

#[test]
fn empty_refs_are_text_and_not_null() {
    let captured = bytes("00 00 00 0f 06 63 6f 6e 76 65 72 73 61 74 69 6f 6e 3a 62 32 78 5f 65 63 68 6f 7a");
    let frame = Frame::decode_binary(Vsn::V2, &captured).unwrap();
    assert_eq!((frame.join_ref.json(), frame.reference.json()), ("\"\"", "\"\""));
}

#[test]
fn a_payload_of_json_is_the_payload() {
    let push = ClientPush {
        join_ref: "1",
        reference: "2",
        topic: "t",
        event: "e",
        payload: " {\"a\": \"é\"} ".as_bytes(),
    };
    let frame = Frame::decode_binary(Vsn::V2, &push.encode().unwrap()).unwrap();
    assert_eq!(frame.payload, Raw::from_string("{\"a\": \"é\"}".to_owned()).unwrap());
    assert!(frame.payload.is_object());
    for junk in [&b"{"[..], b"{}{}", b"\xff", b"{\"a\":\"\xff\"}", b""] {
        let bytes = ClientPush { payload: junk, ..push }.encode().unwrap();
        assert_eq!(Frame::decode_binary(Vsn::V2, &bytes).unwrap().payload.get(), "null", "{junk:?}");
    }
}

#[test]
fn what_is_not_a_clients_push_is_refused() {
    for hex in [
        "",
        "01 01 01 01 01 31 41 00",
        "02 01 01 61 62",
        "03",
        "00 01 02",
        "00 01 01 ff 01 31 31 61 62",
        // JSON text in a binary frame.
        "5b 6e 75 6c 6c 2c 22 31 22 2c 22 70 68 6f 65 6e 69 78 22 5d",
        // A topic that is not UTF-8.
        "00 01 01 01 01 31 32 ff 65",
    ] {
        assert!(Frame::decode_binary(Vsn::V2, &bytes(hex)).is_err(), "{hex}");
    }
    let heartbeat = bytes("00 00 01 07 09 36 70 68 6f 65 6e 69 78 68 65 61 72 74 62 65 61 74");
    assert!(Frame::decode_binary(Vsn::V2, &heartbeat).is_ok());
    assert!(Frame::decode_binary(Vsn::V1, &heartbeat).is_err(), "the older serializer has none");
}

#[test]
fn a_part_of_more_than_255_bytes_cannot_be_written() {
    let (fits, long) = ("x".repeat(255), "x".repeat(256));
    let push = ClientPush { join_ref: "", reference: "", topic: &fits, event: "", payload: b"" };
    assert!(push.encode().is_some());
    assert!(ClientPush { topic: &long, ..push }.encode().is_none());
}

proptest! {
    #[test]
    fn decoding_never_panics(kind in 0_u8..4, bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Frame::decode_binary(Vsn::V2, &bytes);
        let framed: Vec<u8> = std::iter::once(kind).chain(bytes).collect();
        let _ = Frame::decode_binary(Vsn::V2, &framed);
        let _ = ServerFrame::decode(&framed);
    }

    #[test]
    fn what_is_written_reads_back_and_no_shorter(
        parts in prop::array::uniform4(".{0,40}"), payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let [join_ref, reference, topic, event] = &parts;
        let push = ClientPush { join_ref, reference, topic, event, payload: &payload };
        let written = push.encode().unwrap();
        prop_assert_eq!(ClientPush::decode(&written), Some(push));
        let header = written.len() - payload.len();
        for end in 0..header {
            prop_assert_eq!(ClientPush::decode(&written[..end]), None);
        }
        for frame in [
            ServerFrame::Push { join_ref, topic, event, payload: &payload },
            ServerFrame::Reply { join_ref, reference, topic, status: event, response: &payload },
            ServerFrame::Broadcast { topic, event, payload: &payload },
        ] {
            let written = frame.encode().unwrap();
            prop_assert_eq!(ServerFrame::decode(&written), Some(frame));
        }
    }
}
