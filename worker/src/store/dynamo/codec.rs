//! Items as attributes and back.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue::{self, N, S};
use simurgh_protocol::{Raw, Timestamp};

use super::super::{Expect, Item, Key, Query, StoreError, item::attribute};

/// An item or a key, as the SDK takes it.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The key condition of a query; [`range`] has its values.
pub(super) const RANGE: &str = "pk = :pk AND sk BETWEEN :from AND :to";

/// When a write may happen.
pub(super) struct Condition {
    pub(super) expression: &'static str,
    pub(super) values: Option<Attributes>,
}

pub(super) fn condition(expect: Expect) -> Condition {
    match expect {
        Expect::Absent => Condition { expression: "attribute_not_exists(pk)", values: None },
        Expect::Version(version) => {
            let values = Attributes::from([(":v".to_owned(), N(version.to_string()))]);
            Condition { expression: "v = :v", values: Some(values) }
        }
    }
}

pub(super) fn key_attributes(key: &Key) -> Attributes {
    Attributes::from([
        (attribute::PK.to_owned(), S(key.pk.clone())),
        (attribute::SK.to_owned(), S(key.sk.clone())),
    ])
}

/// The key of such attributes.
pub(super) fn key(mut attributes: Attributes) -> Option<Key> {
    let mut take = |name| attributes.remove(name).and_then(text);
    Some(Key { pk: take(attribute::PK)?, sk: take(attribute::SK)? })
}

pub(super) fn range(query: &Query) -> Attributes {
    Attributes::from([
        (":pk".to_owned(), S(query.pk.clone())),
        (":from".to_owned(), S(query.from.clone())),
        (":to".to_owned(), S(query.to.clone())),
    ])
}

pub(super) fn attributes(item: &Item) -> Attributes {
    let mut attributes = key_attributes(&item.key);
    attributes.insert(attribute::VERSION.to_owned(), N(item.version.to_string()));
    attributes.insert(attribute::BODY.to_owned(), S(item.body.get().to_owned()));
    if let Some(time) = item.expires_at {
        attributes.insert(attribute::EXPIRY.to_owned(), N(time.as_secs().to_string()));
    }
    attributes
}

/// # Errors
/// `Unavailable` for an item that this store did not write.
pub(super) fn item(mut attributes: Attributes) -> Result<Item, StoreError> {
    let mut take = |name| attributes.remove(name);
    let (pk, sk) = (take(attribute::PK).and_then(text), take(attribute::SK).and_then(text));
    let version = take(attribute::VERSION).and_then(number);
    let body = take(attribute::BODY).and_then(text).and_then(|body| Raw::from_string(body).ok());
    let expiry = take(attribute::EXPIRY);
    let expires_at =
        expiry.and_then(number).map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)));
    match (pk, sk, version, body) {
        (Some(pk), Some(sk), Some(version), Some(body)) => {
            Ok(Item { key: Key { pk, sk }, version, body, expires_at })
        }
        (pk, sk, ..) => Err(StoreError::Unavailable(format!(
            "the item {:?} {:?} of the table was written by something else",
            pk.unwrap_or_default(),
            sk.unwrap_or_default()
        ))),
    }
}

fn text(value: AttributeValue) -> Option<String> {
    if let S(text) = value { Some(text) } else { None }
}

fn number(value: AttributeValue) -> Option<u64> {
    if let N(number) = value { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_something_else_wrote_is_an_error_and_names_its_place() {
        let key = Key { pk: "p".to_owned(), sk: "s".to_owned() };
        let good = Item { key, version: 3, body: Raw::empty(), expires_at: None };
        assert_eq!(item(attributes(&good)).unwrap(), good);
        for (name, bad) in [
            (attribute::VERSION, S("3".to_owned())),
            (attribute::VERSION, N("1.5".to_owned())),
            (attribute::BODY, S("{".to_owned())),
            (attribute::BODY, AttributeValue::Bool(true)),
        ] {
            let mut attributes = attributes(&good);
            attributes.insert(name.to_owned(), bad);
            let error = item(attributes).unwrap_err().to_string();
            assert!(error.contains(r#""p" "s""#), "{error}");
        }
    }
}
