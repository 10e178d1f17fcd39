//! The gRPC API `simurgh.v1.Messaging`: messages and the service as they are made from the `.proto`, its descriptors
//! for reflection, and JSON as protobuf's well-known types say it.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;

pub mod json;

/// What `proto/simurgh/v1/messaging.proto` says, in Rust.
#[expect(missing_docs, clippy::too_many_lines, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/simurgh.v1.rs"));
}

/// The encoded `FileDescriptorSet` of the service and of all that it imports.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The names of the service's methods; none where the descriptors cannot be read.
#[must_use]
pub fn methods() -> BTreeSet<String> {
    let descriptors = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let services = descriptors.file.into_iter().flat_map(|file| file.service);
    let ours = services.filter(|service| v1::messaging_server::SERVICE_NAME.ends_with(service.name()));
    ours.flat_map(|service| service.method).map(|method| method.name().to_owned()).collect()
}

impl From<Vec<String>> for v1::Users {
    fn from(user_ids: Vec<String>) -> Self {
        Self { user_ids }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_services_methods_are_known_by_name() {
        let methods = super::methods();
        for name in ["SendMessage", "GetDelivery", "Subscribe"] {
            assert!(methods.contains(name), "{methods:?}");
        }
    }
}
