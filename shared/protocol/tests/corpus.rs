//! Replays the corpus of the fuzz targets (`fuzz/`): inputs that once led somewhere new.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, and what fuzz targets assert"
)]

use std::{fs, path::Path};

#[path = "../../../fuzz/src/properties.rs"]
mod properties;

fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut replayed = 0;
    for file in files {
        let path = file.unwrap().path();
        // Where it fails, this names the input.
        println!("{}", path.display());
        property(&fs::read(path).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "no corpus of {target}");
}

#[test]
fn text_frames_of_the_older_serializer() {
    replay("text_v1", properties::text_v1);
}

#[test]
fn text_frames_of_the_newer_serializer() {
    replay("text_v2", properties::text_v2);
}

#[test]
fn binary_frames() {
    replay("binary", properties::binary);
}

#[test]
fn bodies_of_posts() {
    replay("longpoll_body", properties::longpoll_body);
}

#[test]
fn subprotocols_with_tokens() {
    replay("subprotocols", properties::subprotocols);
}

#[test]
fn tokens_of_sessions() {
    replay("session_token", properties::session_token);
}
