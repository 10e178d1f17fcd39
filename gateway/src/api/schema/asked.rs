//! The bodies of requests. Unknown fields are ignored, and null is as good as absent where a field may be left out.

use serde_json::json;
use simurgh_protocol::limits;
use utoipa::openapi::{
    Type,
    schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema},
};

use super::{Shape, bounded, free, nullable, nullable_ref, record, refer, text, words};

pub(super) fn schemas() -> [(&'static str, Schema); 6] {
    [
        ("NewConversation", new_conversation().into()),
        ("ConversationPatch", record([("metadata", refer("Metadata"))]).into()),
        ("SettingsPatch", settings().into()),
        ("NewMessage", new_message().into()),
        ("MessageEdit", edit().into()),
        ("NewNotification", new_notification().into()),
    ]
}

fn new_conversation() -> OneOfBuilder {
    let group = ArrayBuilder::new().items(refer("UserId")).max_items(Some(limits::MEMBERS)).description(Some(
        "Its members, beside the user who creates it; at most 1,024 in all (SIMURGH_MAX_MEMBERS), and one at least.",
    ));
    let pair = ArrayBuilder::new().items(refer("UserId")).min_items(Some(1)).description(Some(
        "Two different users; one of them is the user who creates it and may be left out.",
    ));
    OneOfBuilder::new()
        .item(creation("group", group).examples([
            json!({"type": "group", "member_ids": ["bob", "carol"], "metadata": {"title": "Lunch"}}),
        ]))
        .item(creation("direct", pair))
}

fn creation(kind: &str, members: ArrayBuilder) -> ObjectBuilder {
    record::<Shape>([("type", words(&[kind]).into()), ("member_ids", members.into())])
        .property("id", nullable_ref("ConversationId"))
        .property("metadata", nullable_ref("Metadata"))
}

fn settings() -> ObjectBuilder {
    // Null says something here.
    record([("muted_until", nullable_ref("Timestamp"))])
        .description(Some("Until when it is muted; null, or in the past: it is not."))
        .examples([json!({"muted_until": "2030-01-01T00:00:00.000Z"})])
}

fn new_message() -> ObjectBuilder {
    let reply_to = nullable(text().format(Some(super::format("uuid"))), Type::String)
        .description(Some("A message of this conversation."));
    let sender = OneOfBuilder::new()
        .description(Some("A service must say who sends: a member, or anybody where the type is `system`. Of a user it is ignored."))
        .item(refer("UserId"))
        .item(ObjectBuilder::new().schema_type(Type::Null));
    record::<Shape>([
        ("message_type", refer("MessageType")),
        ("content", content().into()),
        ("client_random", refer("ClientRandom")),
    ])
    .property("metadata", nullable_ref("Metadata"))
    .property("reply_to_id", reply_to)
    .property("sender_id", sender)
    .examples([json!({
        "message_type": "text",
        "content": "Hello World!",
        "client_random": "0b64dea6-9c3e-4c8c-8d9c-0f5a2f9e7f57",
    })])
}

fn content() -> ObjectBuilder {
    bounded(0, limits::CONTENT_BYTES)
        .description(Some("Opaque text of at most 32 KiB as UTF-8 (SIMURGH_MAX_CONTENT_BYTES)."))
}

fn edit() -> ObjectBuilder {
    let author = OneOfBuilder::new()
        .description(Some("A service must say who the author is. Of a user it is ignored."))
        .item(refer("UserId"))
        .item(ObjectBuilder::new().schema_type(Type::Null));
    record::<Shape>([("content", content().into())])
        .property("metadata", nullable_ref("Metadata"))
        .property("sender_id", author)
        .examples([json!({"content": "Hello, World!"})])
}

fn new_notification() -> ObjectBuilder {
    let data = nullable(free(), Type::Object)
        .description(Some("An object of the service's, as large as metadata may be."));
    record([
        ("kind", bounded(1, limits::NOTIFICATION_KIND_CHARS)),
        ("title", bounded(0, limits::NOTIFICATION_TITLE_CHARS)),
        ("body", bounded(0, limits::NOTIFICATION_BODY_CHARS)),
    ])
    .property("data", data)
    .examples([json!({"kind": "order", "title": "Shipped", "body": "It is on its way"})])
}
