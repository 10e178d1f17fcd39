//! JSON and protobuf's well-known types.

use prost_types::{ListValue, Struct, Timestamp, Value, value::Kind};
use serde::{Deserialize as _, Deserializer, de::Error as _};
use serde_json::{Map, Number, Value as Json};

/// Levels of objects and arrays that are told as such.
const LEVELS: usize = 24;

/// The largest whole number up to which doubles tell all whole numbers apart.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// The object as JSON; whole numbers without a fraction. None where it holds what JSON cannot: a number that is none,
/// or a value without a kind.
#[must_use]
pub fn of_object(value: &Struct) -> Option<Map<String, Json>> {
    value.fields.iter().map(|(name, value)| Some((name.clone(), json(value)?))).collect()
}

fn json(value: &Value) -> Option<Json> {
    Some(match value.kind.as_ref()? {
        Kind::NullValue(_) => Json::Null,
        Kind::NumberValue(number) => number_as_json(*number)?,
        Kind::StringValue(text) => text.as_str().into(),
        Kind::BoolValue(truth) => (*truth).into(),
        Kind::StructValue(fields) => of_object(fields)?.into(),
        Kind::ListValue(list) => list.values.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "a whole number in range")]
fn number_as_json(number: f64) -> Option<Json> {
    if number.fract() == 0.0 && number.abs() <= WHOLE {
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Json::Number)
}

/// The object as protobuf says it. What is nested deeper than [`LEVELS`] is a text of JSON there: decoders give up at a
/// hundred messages within each other, of which an object is three.
#[must_use]
pub fn to_object(fields: Map<String, Json>) -> Struct {
    object_at(1, fields)
}

fn object_at(level: usize, fields: Map<String, Json>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, value_at(level + 1, value))).collect() }
}

fn value_at(level: usize, json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(truth),
        // Numbers are doubles from here on.
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        deep if level > LEVELS => Kind::StringValue(deep.to_string()),
        Json::Array(values) => {
            let values = values.into_iter().map(|value| value_at(level + 1, value)).collect();
            Kind::ListValue(ListValue { values })
        }
        Json::Object(fields) => Kind::StructValue(object_at(level, fields)),
    };
    Value { kind: Some(kind) }
}

/// Reads an object, or null.
pub(crate) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Struct>, D::Error> {
    Ok(Option::<Map<String, Json>>::deserialize(deserializer)?.map(to_object))
}

/// Reads anything.
pub(crate) fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Ok(Some(value_at(1, Json::deserialize(deserializer)?)))
}

/// Reads a time as RFC 3339 says it, or null.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;
    use crate::v1;

    fn back(value: Json) -> Option<Json> {
        let Json::Object(fields) = value else { panic!("{value} is no object") };
        of_object(&to_object(fields)).map(Json::Object)
    }

    #[test]
    fn an_object_goes_there_and_back() {
        let value = json!({"a": 1, "b": -1.5, "c": null, "d": [true, "x", {}, []], "e": {"f": 9_007_199_254_740_992_u64}});
        assert_eq!(back(value.clone()), Some(value));
    }

    #[test]
    fn what_json_cannot_say_is_none() {
        let number = |number: f64| Value { kind: Some(Kind::NumberValue(number)) };
        for value in [number(f64::NAN), number(f64::INFINITY), Value { kind: None }] {
            let list = ListValue { values: vec![value.clone()] };
            for value in [value, Value { kind: Some(Kind::ListValue(list)) }] {
                assert_eq!(of_object(&Struct { fields: [("a".to_owned(), value)].into() }), None);
            }
        }
    }

    #[test]
    fn what_is_nested_too_deep_for_decoders_is_a_text() {
        let mut deep = json!({"a": 1});
        for _ in 0..100 {
            deep = json!({"a": deep});
        }
        let Json::Object(fields) = deep else { panic!("it is an object") };
        let message = v1::Message { metadata: Some(to_object(fields)), ..v1::Message::default() };
        let event =
            v1::Event { payload: Some(v1::event::Payload::NewMessage(message)), ..v1::Event::default() };
        let back = v1::Event::decode(event.encode_to_vec().as_slice()).unwrap();
        assert_eq!(back, event);
        assert!(format!("{back:?}").contains(r#"StringValue("{\"a\":{\"a\":"#));
    }

    #[test]
    fn the_http_apis_json_is_read_as_it_is() {
        let message = json!({
            "id": "m", "conversation_id": "c", "seq": 7, "sender_id": "alice", "message_type": "text", "content": "é",
            "metadata": {"n": 1_767_323_045_678_u64}, "client_random": 5, "reply_to_id": null, "sent_at": "2026-01-02T03:04:05.678Z",
            "reactions": {"+1": ["bob", "carol"]}, "of_a_later_build": [],
        });
        let message: v1::Message = serde_json::from_value(message).unwrap();
        assert_eq!((message.seq, message.reply_to_id.as_deref()), (7, None));
        assert_eq!(message.reactions["+1"].user_ids, ["bob", "carol"]);
        assert_eq!(message.sent_at.unwrap().nanos, 678_000_000);
        assert_eq!(message.client_random.unwrap().kind, Some(Kind::NumberValue(5.0)));
        let listed =
            json!({"id": "c", "type": "group", "last_seq": 3, "last_message": null, "unread_count": 2});
        let listed: v1::ListedConversation = serde_json::from_value(listed).unwrap();
        let conversation = listed.conversation.unwrap();
        assert_eq!(
            (conversation.id.as_str(), conversation.r#type.as_str(), conversation.last_seq),
            ("c", "group", 3)
        );
        assert_eq!((listed.last_message, listed.unread_count), (None, 2));
    }
}
