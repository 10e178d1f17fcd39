use proptest::prelude::*;

use super::*;

fn body(text: &str) -> PostBody {
    PostBody { bytes: Bytes::copy_from_slice(text.as_bytes()), lines: true }
}

fn shown(body: &PostBody, vsn: Vsn) -> Vec<String> {
    body.frames(vsn, 0)
        .map(|(line, excess)| match line {
            Line::Text(text) => format!("text {text}{}", if excess { " !" } else { "" }),
            Line::Binary(bytes) => format!("binary {bytes:?}"),
            Line::Invalid => "invalid".to_owned(),
        })
        .collect()
}

#[test]
fn a_line_is_text_or_base64_of_a_binary_frame() {
    // The last two: padding is not asked for, and neither is a line end of this or that kind.
    let all = body("[1]\n\r\nAAECDwY1\r\nAAE=\nAAE");
    assert_eq!(
        shown(&all, Vsn::V2),
        ["text [1]", "binary [0, 1, 2, 15, 6, 53]", "binary [0, 1]", "binary [0, 1]"]
    );
    assert_eq!(shown(&body("{\"a\":1}\nAAE"), Vsn::V1), ["text {\"a\":1}", "text AAE"]);
    assert_eq!(shown(&body("???"), Vsn::V2), ["invalid"]);
    assert!(shown(&body(""), Vsn::V2).is_empty());
}

#[test]
fn a_body_that_is_not_lines_is_one_frame() {
    let one = |text: &'static [u8]| PostBody { bytes: Bytes::from_static(text), lines: false };
    assert_eq!(shown(&one(b"[1]\n[2]"), Vsn::V2), ["text [1]\n[2]"]);
    assert_eq!(shown(&one(b""), Vsn::V2), ["text "]);
    assert_eq!(shown(&one(b"\xff"), Vsn::V2), ["invalid"]);
}

#[test]
fn the_hundredth_frame_is_taken_and_those_after_it_are_refused() {
    let many = body(&"[1]\n".repeat(102));
    let excess = |before| many.frames(Vsn::V2, before).map(|(_, excess)| excess).collect::<Vec<_>>();
    assert_eq!(excess(0).iter().position(|excess| *excess), Some(100));
    assert_eq!(excess(0)[100..], [true, true]);
    assert_eq!(excess(99)[..2], [false, true]);
    assert!(!many.is_too_large(3));
    assert!(body(&"[1]\n".repeat(1_001)).is_too_large(3));
}

#[test]
fn a_frame_may_be_as_large_in_base64_as_in_a_binary_frame() {
    assert!(!body("[123456]").is_too_large(8));
    assert!(body("[1234567]").is_too_large(8));
    assert!(!body("AAAAAAAAAAA=").is_too_large(8));
    assert!(body("AAAAAAAAAAAAA").is_too_large(8));
    assert!(PostBody { bytes: Bytes::from_static(b"AAAAAAAAA"), lines: false }.is_too_large(8));
}

proptest! {
    #[test]
    fn parts_hold_the_same_frames_and_are_no_larger_than_asked(
        lines in prop::collection::vec("\\[[0-9]{0,9}\\]|[A-Z]{0,8}", 0..130), max in 12_usize..200,
    ) {
        let whole = body(&lines.join("\n"));
        let parts = whole.parts(max).unwrap();
        prop_assert!(parts.iter().all(|(part, _)| part.bytes.len() <= max));
        let together: Vec<_> = parts.iter().flat_map(|(part, before)| part.frames(Vsn::V2, *before)).collect();
        prop_assert_eq!(together, whole.frames(Vsn::V2, 0).collect::<Vec<_>>());
    }

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), lines: bool, max in 0_usize..64) {
        let body = PostBody { bytes: bytes.into(), lines };
        let _ = body.frames(Vsn::V1, 0).count();
        let _ = body.frames(Vsn::V2, 0).count();
        let _ = body.is_too_large(max);
        if let Some(parts) = body.parts(max) {
            let together: Vec<u8> = parts.iter().flat_map(|(part, _)| part.bytes.to_vec()).collect();
            prop_assert_eq!(together, body.bytes.to_vec());
        }
    }
}
