//! The gRPC API `simurgh.v1.Messaging`: messages and the service as they are made from the `.proto`, its descriptors
//! for reflection, and JSON as protobuf's well-known types say it.

pub mod json;

/// What `proto/simurgh/v1/messaging.proto` says, in Rust.
#[expect(missing_docs, clippy::too_many_lines, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/simurgh.v1.rs"));
}

/// The encoded `FileDescriptorSet` of the service and of all that it imports.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

impl From<Vec<String>> for v1::Users {
    fn from(user_ids: Vec<String>) -> Self {
        Self { user_ids }
    }
}
