//! A broadcast, encoded once for each serializer.

use simurgh_protocol::{Raw, Vsn, frame};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::sockets::text;

/// A payload and its frames, encoded when first needed, once for each serializer.
pub(super) struct Encoded<'a> {
    topic: &'a str,
    event: &'a str,
    payload: &'a Raw,
    frames: [Option<Utf8Bytes>; 2],
}

impl<'a> Encoded<'a> {
    pub(super) const fn new(topic: &'a str, event: &'a str, payload: &'a Raw) -> Self {
        Self { topic, event, payload, frames: [None, None] }
    }

    /// The frame in that serializer.
    pub(super) fn frame(&mut self, vsn: Vsn) -> Utf8Bytes {
        let [v1, v2] = &mut self.frames;
        let slot = match vsn {
            Vsn::V1 => v1,
            Vsn::V2 => v2,
        };
        slot.get_or_insert_with(|| text(frame::broadcast(vsn, self.topic, self.event, self.payload))).clone()
    }
}
