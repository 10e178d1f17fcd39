//! What happens, as a subscription is told it.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use simurgh_protocol::{
    Raw, UserId,
    cursor::cursor,
    envelope::{Logged, LoggedChange, Range},
    event::sent,
};
use simurgh_rpc::{
    json,
    v1::{Event, event::Payload},
};

use crate::{form::Told, topic::logs};

/// The first event of a stream.
pub(super) const SUBSCRIBED: &str = "subscribed";

/// The event that says it.
pub(super) fn event(topic: &str, told: &Told) -> Event {
    Event {
        topic: topic.to_owned(),
        name: told.event.clone(),
        change_cursor: told.change_seq.map(cursor),
        payload: payload(&told.event, &told.payload).or_else(|| other(&told.payload)),
    }
}

/// What a part of the logs says to this user, or to a service: as a topic says it to channels.
pub(super) fn in_range(topic: &str, range: &Range, user: Option<&UserId>) -> Vec<Event> {
    let hidden = logs::hidden_in(&range.changes);
    let theirs = |logged: &&Logged| logged.except.is_none() || logged.except.as_ref() != user;
    let messages = range.told().filter(theirs).map(|Logged { seq, payload, .. }| {
        let hides = user.is_some_and(|user| hidden.get(seq).is_some_and(|users| users.contains(user)));
        let payload = if hides { logs::blank(payload) } else { payload.clone() };
        event(topic, &Told { event: sent::NEW_MESSAGE.to_owned(), change_seq: None, payload })
    });
    let theirs = range.changes.iter().filter(|change| change.is_for(user)).map(|change| {
        let LoggedChange { change_seq, event: name, payload, .. } = change.clone();
        event(topic, &Told { event: name, change_seq: Some(change_seq), payload })
    });
    messages.chain(theirs).collect()
}

/// The payload in the form that the `.proto` has for it; none where it has none, or that cannot be read.
fn payload(event: &str, payload: &Raw) -> Option<Payload> {
    Some(match event {
        sent::NEW_MESSAGE => Payload::NewMessage(read(payload)?),
        sent::REACTION_ADDED | sent::REACTION_REMOVED => Payload::Reaction(read(payload)?),
        sent::MESSAGE_EDITED => Payload::MessageEdited(read(payload)?),
        sent::MESSAGE_DELETED | sent::MESSAGE_HIDDEN => Payload::MessageDeleted(read(payload)?),
        sent::DELIVERY_RECEIPT => Payload::DeliveryReceipt(read(payload)?),
        sent::READ_RECEIPT => Payload::ReadReceipt(read(payload)?),
        sent::CONVERSATION_UPDATED => Payload::ConversationUpdated(read(payload)?),
        sent::USER_PRESENCE_CHANGED => Payload::UserPresenceChanged(read(payload)?),
        sent::NOTIFICATION => Payload::Notification(read(payload)?),
        sent::SYNC_COMPLETE => Payload::SyncComplete(read(payload)?),
        _ => return None,
    })
}

fn other(payload: &Raw) -> Option<Payload> {
    read::<Map<String, Value>>(payload).map(|fields| Payload::Other(json::to_object(fields)))
}

fn read<T: DeserializeOwned>(payload: &Raw) -> Option<T> {
    payload.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(name: &str, payload: Value) -> Event {
        event(
            "conversation:c",
            &Told { event: name.to_owned(), change_seq: None, payload: Raw::of(&payload) },
        )
    }

    #[test]
    fn known_events_have_a_form_of_their_own() {
        let payload = json!({"conversation_id": "c", "message_id": "m", "user_id": "bob", "reaction": "+1", "timestamp": "2026-01-02T03:04:05.678Z"});
        let told =
            Told { event: sent::REACTION_ADDED.to_owned(), change_seq: Some(7), payload: Raw::of(&payload) };
        let event = event("conversation:c", &told);
        assert_eq!((event.name.as_str(), event.change_cursor.as_deref()), ("reaction_added", Some("c7")));
        let Some(Payload::Reaction(reaction)) = event.payload else { panic!("{event:?}") };
        assert_eq!((reaction.user_id.as_str(), reaction.timestamp.unwrap().nanos), ("bob", 678_000_000));
    }

    #[test]
    fn other_events_come_as_they_are() {
        for payload in [json!({"user_id": "bob", "action": "start"}), json!({})] {
            let event = of(sent::TYPING_INDICATOR, payload);
            assert!(matches!(event.payload, Some(Payload::Other(_))), "{event:?}");
        }
        // Of a later build.
        let event = of(sent::READ_RECEIPT, json!({"read_at": 5}));
        assert!(matches!(event.payload, Some(Payload::Other(_))), "{event:?}");
    }
}
