//! What is answered. Bodies come from workers as they are, so these are descriptions beside the code: that both agree
//! is found by calling every operation of a running system (`tests/openapi`).

use simurgh_protocol::limits;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema};

mod delivery;

use super::{Shape, flag, free, list, nullable_ref, record, refer, text, whole};

pub(super) fn schemas() -> impl Iterator<Item = (&'static str, Schema)> {
    [
        ("Conversation", record(conversation()).into()),
        ("ListedConversation", record(conversation().into_iter().chain(listed())).into()),
        ("ConversationPage", conversation_page().into()),
        ("Settings", record([muted()]).into()),
        ("ConversationSettings", record([("conversation_id", refer("ConversationId")), muted()]).into()),
        ("Message", said(record(message())).into()),
        ("HistoryMessage", said(record(message().into_iter().chain([("reactions", reactions())]))).into()),
        ("Quoted", quoted().into()),
        ("EditedMessage", edited().into()),
        ("Receipts", receipts().into()),
        ("Receipt", receipt().into()),
        ("HistoryPage", history_page().into()),
        ("SentMessage", sent().into()),
        ("Contacts", record([("contacts", list("UserId").description(Some("Sorted.")))]).into()),
        ("BlockPage", block_page().into()),
        ("Block", record([("user_id", refer("UserId")), ("created_at", refer("Timestamp"))]).into()),
        ("Presence", presence().into()),
        ("Notified", notified().into()),
        ("OpenApi", free().description(Some("An OpenAPI document.")).into()),
        ("Revoked", record([("user_id", refer("UserId")), ("revoked_at", refer("Timestamp"))]).into()),
    ]
    .into_iter()
    .chain(delivery::schemas())
}

fn conversation() -> [(&'static str, Shape); 8] {
    let created_by = nullable_ref("UserId");
    let members = list("UserId").description(Some("Sorted."));
    let last_seq = whole(0).description(Some("The `seq` of its last message; 0 while there is none."));
    [
        ("id", refer("ConversationId")),
        ("type", refer("ConversationType")),
        ("metadata", refer("Metadata")),
        ("created_by", created_by),
        ("member_ids", members.into()),
        ("last_seq", last_seq.into()),
        ("created_at", refer("Timestamp")),
        ("updated_at", refer("Timestamp")),
    ]
}

/// What the list has beside.
fn listed() -> [(&'static str, Shape); 4] {
    let unread = whole(0).description(Some("`last_seq` - `last_read_seq`."));
    [
        ("last_message", nullable_ref("Message")),
        ("last_read_seq", whole(0).into()),
        ("unread_count", unread.into()),
        ("settings", refer("Settings")),
    ]
}

/// Null where it is not muted.
fn muted() -> (&'static str, Shape) {
    ("muted_until", nullable_ref("Timestamp"))
}

fn conversation_page() -> ObjectBuilder {
    let next = nullable_text("Where the next page begins; null at the end.");
    record::<Shape>([("conversations", list("ListedConversation").into()), ("next_cursor", next.into())])
}

fn block_page() -> ObjectBuilder {
    let blocks = list("Block").description(Some("Sorted by `user_id`."));
    let next = nullable_text("Where the next page begins; null at the end.");
    record::<Shape>([("blocks", blocks.into()), ("next_cursor", next.into())])
}

fn nullable_text(description: &str) -> ObjectBuilder {
    super::nullable(text(), utoipa::openapi::Type::String).description(Some(description))
}

fn message() -> [(&'static str, Shape); 10] {
    [
        ("id", refer("MessageId")),
        ("conversation_id", refer("ConversationId")),
        ("seq", whole(1).description(Some("Its place in the conversation: 1, 2, 3, …")).into()),
        ("sender_id", refer("UserId")),
        ("message_type", refer("MessageType")),
        ("content", text().into()),
        ("metadata", refer("Metadata")),
        ("client_random", refer("ClientRandom")),
        ("reply_to_id", nullable_ref("MessageId")),
        ("sent_at", refer("Timestamp")),
    ]
}

/// What is there only where it says something (contract section 3.3).
fn said(message: ObjectBuilder) -> ObjectBuilder {
    let hidden = flag()
        .enum_values(Some([true]))
        .description(Some("Whom this is shown to has deleted it for itself."));
    message
        .property("reply_to", refer("Quoted"))
        .property("edited_at", refer("Timestamp"))
        .property("deleted_at", refer("Timestamp"))
        .property("hidden", hidden)
}

fn quoted() -> ObjectBuilder {
    let preview =
        nullable_text("How its content begins; null where it is deleted, or hidden from the caller.");
    record::<Shape>([
        ("id", refer("MessageId")),
        ("seq", whole(1).into()),
        ("sender_id", refer("UserId")),
        ("message_type", refer("MessageType")),
        ("preview", preview.max_length(Some(limits::PREVIEW_CHARS)).into()),
    ])
    .description(Some("What a message answers, as it is now."))
}

fn edited() -> ObjectBuilder {
    record::<Shape>([
        ("message_edited", flag().enum_values(Some([true])).into()),
        ("message", refer("Message")),
    ])
}

fn receipts() -> ObjectBuilder {
    record::<Shape>([
        ("conversation_id", refer("ConversationId")),
        ("message_id", refer("MessageId")),
        ("seq", whole(1).into()),
        ("receipts", list("Receipt").description(Some("Sorted by `user_id`.")).into()),
    ])
}

fn receipt() -> ObjectBuilder {
    record::<Shape>([
        ("user_id", refer("UserId")),
        ("delivered", flag().into()),
        ("delivered_at", nullable_ref("Timestamp")),
        ("read", flag().into()),
        ("read_at", nullable_ref("Timestamp")),
    ])
    .description(Some("Times are null where they are not known."))
}

fn reactions() -> Shape {
    let users = ArrayBuilder::new().items(refer("UserId")).min_items(Some(1));
    free().additional_properties(Some(users)).description(Some("Who reacted how.")).into()
}

fn history_page() -> ObjectBuilder {
    let messages = list("HistoryMessage").description(Some("Ascending by `seq`."));
    let more = flag().description(Some("Whether the log goes on, in the page's direction."));
    let changes = list("HistoryMessage")
        .description(Some("Messages that changed since `since`, in their latest form."));
    let cursor = text().description(Some("What `since` may be next."));
    let truncated = flag()
        .enum_values(Some([true]))
        .description(Some("There where `changes` are not all: go on from `change_cursor`."));
    record::<Shape>([
        ("messages", messages.into()),
        ("has_more", more.into()),
        ("changes", changes.into()),
        ("change_cursor", cursor.into()),
    ])
    .property("changes_truncated", truncated)
}

fn sent() -> ObjectBuilder {
    let duplicate = flag().description(Some("Whether an earlier request stored it."));
    record([
        ("message_id", refer("MessageId")),
        ("seq", whole(1).into()),
        ("sent_at", refer("Timestamp")),
        ("message", refer("Message")),
        ("duplicate", duplicate.into()),
    ])
}

fn presence() -> ObjectBuilder {
    record([
        ("user_id", refer("UserId")),
        ("status", refer("Status")),
        ("last_seen", nullable_ref("Timestamp")),
    ])
}

fn notified() -> ObjectBuilder {
    let id = text().format(Some(super::format("uuid")));
    let delivered = whole(0).description(Some("Live sessions that it was sent to."));
    record([("id", id), ("delivered_to", delivered)])
}
