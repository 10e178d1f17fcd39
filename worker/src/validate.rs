//! Reading what clients pushed or posted: the right shape, or a refusal that names the field.

use std::{borrow::Cow, cell::RefCell, collections::BTreeMap};

use serde::de::{
    DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, value::MapAccessDeserializer,
};
use serde_json::value::RawValue;
use simurgh_protocol::{Raw, Refusal};

/// Characters of a problem's text, lest a refusal echo what was sent.
const PROBLEM_CHARS: usize = 160;
/// Levels of arrays and objects in metadata; serde_json's own limit, and what every client's parser takes.
const METADATA_DEPTH: usize = 127;

/// Reads a payload. Unknown fields are ignored, `null` is as good as absent, and of a field given twice the last one
/// counts.
///
/// # Errors
/// `validation_failed` naming the field: where the payload is no object, a field is missing, or has the wrong type.
pub(crate) fn parse<T: DeserializeOwned>(payload: &Raw) -> Result<T, Refusal> {
    let Ok(fields) = payload.parse::<BTreeMap<Cow<'_, str>, &RawValue>>() else {
        return Err(Refusal::invalid("payload", "must be an object"));
    };
    let current = RefCell::new(None);
    let given = fields.into_iter().filter(|(_, value)| value.get() != "null");
    let fields = Fields { rest: given, value: None, current: &current };
    T::deserialize(MapAccessDeserializer::new(fields)).map_err(|error| {
        let text = error.to_string();
        match text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            Some(field) => Refusal::invalid(field, "is required"),
            None => Refusal::invalid(current.borrow().as_deref().unwrap_or("payload"), problem(&text)),
        }
    })
}

/// Metadata as it is stored and shown: as [`object`] says.
///
/// # Errors
/// As [`object`], for the field `metadata`.
pub(crate) fn metadata(given: Option<&Raw>, max_bytes: usize) -> Result<Raw, Refusal> {
    object("metadata", given, max_bytes)
}

/// A field that holds an object of the client's, as it is stored and shown: without the white space between its parts;
/// `{}` where there is none.
///
/// # Errors
/// `validation_failed` where it is no object, nested too deep, or holds what is not text or a number to every client;
/// `message_too_large` beyond `max_bytes`.
pub(crate) fn object(field: &str, given: Option<&Raw>, max_bytes: usize) -> Result<Raw, Refusal> {
    let Some(given) = given else { return Ok(Raw::empty()) };
    if !given.is_object() {
        return Err(Refusal::invalid(field, "must be an object"));
    }
    let compact = compact(given.get());
    if compact.len() > max_bytes {
        return Err(Refusal::too_large(field, max_bytes));
    }
    // What was passed on raw so far was never looked into: half a surrogate pair or 1e999 would break readers.
    let readable = serde_json::from_str::<serde_json::Value>(&compact).is_ok();
    let deep = || Refusal::invalid(field, format!("must be plain JSON of at most {METADATA_DEPTH} levels"));
    if readable { Raw::from_string(compact).map_err(|_| deep()) } else { Err(deep()) }
}

/// JSON without the white space outside of its texts.
fn compact(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let keep = |character: &char| {
        if in_text {
            in_text = escaped || *character != '"';
            escaped = !escaped && *character == '\\';
            return true;
        }
        in_text = *character == '"';
        !matches!(character, ' ' | '\t' | '\n' | '\r')
    };
    json.chars().filter(keep).collect()
}

/// What serde found, in words for clients: `must be …` where it says what was expected.
fn problem(text: &str) -> String {
    // serde_json appends where in the value it was.
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let text = text
        .rsplit_once(", expected ")
        .map_or_else(|| text.to_owned(), |(_, what)| format!("must be {what}"));
    text.chars().take(PROBLEM_CHARS).collect()
}

/// An object's fields one by one, noting which one is being read.
struct Fields<'a, 'n, I> {
    rest: I,
    value: Option<&'a RawValue>,
    current: &'n RefCell<Option<String>>,
}

impl<'a, I> MapAccess<'a> for Fields<'a, '_, I>
where
    I: Iterator<Item = (Cow<'a, str>, &'a RawValue)>,
{
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let key = seed.deserialize(name.as_ref().into_deserializer())?;
        *self.current.borrow_mut() = Some(name.into_owned());
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        let json = self.value.take().map_or("null", RawValue::get);
        seed.deserialize(&mut serde_json::Deserializer::from_str(json))
    }
}

/// The UTF-8 bytes of `text` beyond `max_bytes` are too many.
///
/// # Errors
/// `message_too_large`.
pub(crate) fn within(what: &str, text: &str, max_bytes: usize) -> Result<(), Refusal> {
    if text.len() > max_bytes { Err(Refusal::too_large(what, max_bytes)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use simurgh_protocol::{Reason, UserId, record::ClientRandom};

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        name: String,
        count: Option<u64>,
        user: Option<UserId>,
        client_random: Option<ClientRandom>,
        #[serde(default)]
        metadata: Option<Raw>,
    }

    fn raw(json: &str) -> Raw {
        Raw::from_string(json.to_owned()).unwrap()
    }

    fn errors(json: &str) -> String {
        let refusal = parse::<Body>(&raw(json)).unwrap_err();
        assert_eq!(refusal.reason, Reason::ValidationFailed);
        refusal.details["errors"].to_string()
    }

    #[test]
    fn reads_what_is_well_formed_and_ignores_the_rest() {
        let body: Body =
            parse(&raw(r#"{"x": [1], "name": "n\n", "count": null, "metadata": {"a": 1.50}}"#)).unwrap();
        assert_eq!((body.name.as_str(), body.count), ("n\n", None));
        assert_eq!(body.metadata.unwrap().get(), r#"{"a": 1.50}"#);
        let body: Body = parse(&raw(r#"{"name":"a","name":"b","client_random":5}"#)).unwrap();
        assert_eq!((body.name.as_str(), body.client_random), ("b", Some(ClientRandom::Number(5))));
        assert_eq!(body.user, None);
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        assert_eq!(errors("{}"), r#"{"name":["is required"]}"#);
        assert_eq!(errors(r#"{"name":null}"#), r#"{"name":["is required"]}"#);
        assert_eq!(errors(r#"{"name":5}"#), r#"{"name":["must be a string"]}"#);
        assert_eq!(errors(r#"{"name":"","count":"x, expected y"}"#), r#"{"count":["must be u64"]}"#);
        assert!(errors(r#"{"name":"","user":"a b"}"#).starts_with(r#"{"user":["must be 1 to 64 characters"#));
        assert!(
            errors(r#"{"name":"","client_random":-1}"#)
                .starts_with(r#"{"client_random":["must be an integer"#)
        );
        assert_eq!(errors("[]"), r#"{"payload":["must be an object"]}"#);
        assert!(errors(r#"{"name":"\ud800"}"#).starts_with(r#"{"name":["#));
    }

    #[test]
    fn metadata_is_a_compact_object_of_bounded_size_and_depth() {
        let nested = |levels: usize| raw(&format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels)));
        assert_eq!(metadata(None, 10).unwrap().get(), "{}");
        let kept = metadata(Some(&raw("{ \"a b\\\"\" :\n[ 1.50 ,\"\\\\\" , 2 ] }")), 100).unwrap();
        assert_eq!(kept.get(), r#"{"a b\"":[1.50,"\\",2]}"#);
        assert_eq!(metadata(Some(&raw(r#"{ "a": 1 }"#)), 7).unwrap().get().len(), 7);
        let refused = metadata(Some(&raw(r#"{ "a": 10 }"#)), 7).unwrap_err();
        assert_eq!((refused.reason, &refused.details["max_bytes"]), (Reason::MessageTooLarge, &7.into()));
        assert!(metadata(Some(&nested(METADATA_DEPTH)), 9_000).is_ok());
        for bad in [nested(METADATA_DEPTH + 1), raw("[]"), raw(r#"{"a":"\ud800"}"#), raw(r#"{"a":1e999}"#)] {
            assert_eq!(
                metadata(Some(&bad), 9_000).unwrap_err().reason,
                Reason::ValidationFailed,
                "{}",
                bad.get()
            );
        }
    }
}
