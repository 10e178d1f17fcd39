//! What must hold for any bytes that a client may send. Used by the fuzz targets, and by the test that replays their
//! corpus.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use simurgh_protocol::{
    Frame, Vsn,
    frame::binary::{ClientPush, ServerFrame},
    limits::TOKEN_BYTES,
    longpoll::{PostBody, SessionToken},
    subprotocol::{Subprotocols, TOKEN_PREFIX},
};

/// A text of the older serializer: what is read reads back as it was written.
pub fn text_v1(bytes: &[u8]) {
    text(Vsn::V1, bytes);
}

/// The same of the newer one.
pub fn text_v2(bytes: &[u8]) {
    text(Vsn::V2, bytes);
}

fn text(vsn: Vsn, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(frame) = Frame::decode(vsn, text) {
        reads_back(vsn, &frame);
    }
}

fn reads_back(vsn: Vsn, frame: &Frame) {
    let written = frame.encode(vsn);
    let written = std::str::from_utf8(&written).expect("frames are text");
    assert_eq!(&Frame::decode(vsn, written).expect("a frame that was written"), frame);
}

/// A binary frame: whatever is read is written with the same bytes, and stands for a frame.
pub fn binary(bytes: &[u8]) {
    assert!(Frame::decode_binary(Vsn::V1, bytes).is_err());
    let push = ClientPush::decode(bytes);
    let frame = Frame::decode_binary(Vsn::V2, bytes);
    assert_eq!(push.is_some(), frame.is_ok());
    if let (Some(push), Ok(frame)) = (push, frame) {
        assert_eq!(push.encode().expect("its parts are short"), bytes);
        reads_back(Vsn::V2, &frame);
    }
    if let Some(frame) = ServerFrame::decode(bytes) {
        assert_eq!(frame.encode().expect("its parts are short"), bytes);
    }
}

/// A post's body, after a byte that says how it is read and how large its parts may be: the parts hold the same frames.
pub fn longpoll_body(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let vsn = if how & 1 == 0 { Vsn::V2 } else { Vsn::V1 };
    let body = PostBody { bytes: bytes.to_vec().into(), lines: how & 2 == 0 };
    let frames: Vec<_> = body.frames(vsn, 0).collect();
    let _ = body.is_too_large(usize::from(how >> 2));
    if let Some(parts) = body.parts(usize::from(how >> 2)) {
        let together: Vec<_> = parts.iter().flat_map(|(part, before)| part.frames(vsn, *before)).collect();
        assert_eq!(together, frames);
    }
}

/// A session's token: only what is written is read.
pub fn session_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(token) = SessionToken::parse(text) {
        assert!(SessionToken::is_meant(text));
        assert_eq!(SessionToken::parse(&token.reveal()), Some(token));
    }
}

/// The values of `Sec-WebSocket-Protocol`, one a line: a token that is read is no longer than it may be, and reads the same
/// from the one encoding that phoenix.js writes.
pub fn subprotocols(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(token) = Subprotocols::read(text.lines()).token {
        assert!(token.len() <= TOKEN_BYTES + 3);
        let value = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(&token));
        assert_eq!(Subprotocols::read(std::iter::once(value.as_str())).token, Some(token));
    }
}
