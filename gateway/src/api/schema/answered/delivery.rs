//! What became of a message.

use utoipa::openapi::{
    Type,
    schema::{ObjectBuilder, Schema},
};

use super::super::{Shape, flag, format, list, nullable, nullable_ref, record, refer, text, whole, words};

const VERDICTS: [&str; 4] = ["delivered", "pending", "unknown", "behind"];
const REASONS: [&str; 14] = [
    "sent",
    "before_join",
    "read",
    "received",
    "queued",
    "gap",
    "unchecked",
    "unheard",
    "gateway_silent",
    "mailbox_full",
    "not_joined",
    "socket_gone",
    "no_socket",
    "not_a_member",
];

pub(super) fn schemas() -> [(&'static str, Schema); 6] {
    let gateway = [
        ("id", text().description(Some("Its name."))),
        ("state", words(&["answered", "silent", "unreachable", "gone"])),
    ];
    [
        ("Delivery", delivery().into()),
        ("SocketDelivery", socket().into()),
        ("Verdict", words(&VERDICTS).into()),
        ("DeliveryReason", words(&REASONS).description(Some("Why it is where it is.")).into()),
        ("GatewayAsked", record(gateway).into()),
        ("Transport", words(&["websocket", "longpoll", "grpc"]).into()),
    ]
}

fn delivery() -> ObjectBuilder {
    let then = nullable(flag(), Type::Boolean)
        .description(Some("When the message was stored; null where that is not known any more."));
    let member = record([("then", then), ("now", flag())]);
    let stored = record::<Shape>([("at", refer("Timestamp")), ("seq", whole(1).into())]);
    let read = nullable(whole(0), Type::Integer)
        .description(Some("The user's read position; null of one who is no member."));
    let received = nullable(whole(0), Type::Integer).description(Some(
        "Up to where the user's clients said that messages came; null of one who is no member.",
    ));
    let partial = flag().description(Some(
        "Whether a gateway did not answer, or there are more sockets or gateways than are listed.",
    ));
    record::<Shape>([
        ("conversation_id", refer("ConversationId")),
        ("message_id", refer("MessageId")),
        ("user_id", refer("UserId")),
        ("stored", stored.into()),
        ("deleted", flag().description(Some("For everyone, since.")).into()),
        ("hidden", flag().description(Some("The user has deleted it for itself.")).into()),
        ("member", member.into()),
        ("last_read_seq", read.into()),
        ("last_delivered_seq", received.into()),
        ("verdict", refer("Verdict")),
        ("reason", refer("DeliveryReason")),
        ("sockets", list("SocketDelivery").into()),
        ("gateways", list("GatewayAsked").into()),
        ("partial", partial.into()),
    ])
}

fn socket() -> ObjectBuilder {
    let session = nullable(text(), Type::String)
        .format(Some(format("uuid")))
        .description(Some("What the join of the user topic answered."));
    let last_seq = nullable(whole(0), Type::Integer)
        .description(Some("The last `seq` of the conversation that was written to it."));
    let unsent = nullable(whole(0), Type::Integer).description(Some("Bytes that wait to be written to it."));
    record::<Shape>([
        ("gateway", text().into()),
        ("session_id", session.into()),
        ("transport", nullable_ref("Transport")),
        ("last_seq", last_seq.into()),
        ("unsent_bytes", unsent.into()),
        ("verdict", refer("Verdict")),
        ("reason", refer("DeliveryReason")),
    ])
}
