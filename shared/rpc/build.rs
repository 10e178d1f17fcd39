//! Compiles the `.proto`, without a `protoc` of the system.

use std::{env, error::Error, fs, path::PathBuf};

const PROTO: &str = "proto/simurgh/v1/messaging.proto";

/// What workers say as the JSON of the HTTP API and of sockets: its fields have the same names.
const READ_FROM_JSON: [&str; 31] = [
    "Conversation",
    "ConversationSettings",
    "ConversationUpdated",
    "Delivery",
    "DeliveryReceipt",
    "EditMessageResponse",
    "GatewayAsked",
    "ListContactsResponse",
    "ListConversationsResponse",
    "ListMessagesResponse",
    "ListReceiptsResponse",
    "ListedConversation",
    "MemberThenAndNow",
    "Message",
    "MessageDeleted",
    "MessageEdited",
    "Notification",
    "NotifyResponse",
    "Presence",
    "Quoted",
    "Reaction",
    "ReadReceipt",
    "Receipt",
    "RevokeSessionsResponse",
    "SendMessageResponse",
    "Settings",
    "SocketDelivery",
    "StoredAt",
    "SyncComplete",
    "Unread",
    "Users",
];

/// Fields of protobuf's own types, and what reads them.
const WELL_KNOWN: [(&str, &str); 24] = [
    ("Conversation.created_at", "time"),
    ("Conversation.metadata", "object"),
    ("Conversation.updated_at", "time"),
    ("ConversationSettings.muted_until", "time"),
    ("ConversationUpdated.metadata", "object"),
    ("ConversationUpdated.updated_at", "time"),
    ("DeliveryReceipt.at", "time"),
    ("Message.client_random", "value"),
    ("Message.deleted_at", "time"),
    ("Message.edited_at", "time"),
    ("Message.metadata", "object"),
    ("Message.sent_at", "time"),
    ("MessageDeleted.at", "time"),
    ("Notification.at", "time"),
    ("Notification.data", "object"),
    ("Presence.last_seen", "time"),
    ("Reaction.timestamp", "time"),
    ("ReadReceipt.read_at", "time"),
    ("Receipt.delivered_at", "time"),
    ("Receipt.read_at", "time"),
    ("RevokeSessionsResponse.revoked_at", "time"),
    ("Settings.muted_until", "time"),
    ("StoredAt.at", "time"),
    ("SyncComplete.at", "time"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_file(PROTO)?;
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let mut builder = tonic_prost_build::configure()
        .field_attribute("ListedConversation.conversation", "#[serde(flatten)]");
    for (field, with) in WELL_KNOWN {
        let attribute = format!(r#"#[serde(deserialize_with = "crate::json::{with}")]"#);
        builder = builder.field_attribute(field, attribute);
    }
    for message in READ_FROM_JSON {
        builder = builder.message_attribute(message, "#[derive(serde::Deserialize)] #[serde(default)]");
    }
    builder = builder.message_attribute("Users", r#"#[serde(from = "Vec<String>")]"#);
    builder.skip_protoc_run().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
