//! The table's definition. Its one place is `worker/table.json`, in the shape of CloudFormation's
//! `AWS::DynamoDB::Table` properties, so that infrastructure templates can take it as it is.

use serde::Deserialize;

/// The definition as text.
pub const TABLE_JSON: &str = include_str!("../../../table.json");

/// The definition. Names and values are DynamoDB's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Definition {
    /// The types of the key's attributes.
    pub attribute_definitions: Vec<AttributeDefinition>,
    /// Which attributes are the key.
    pub key_schema: Vec<KeyElement>,
    /// How capacity is paid for.
    pub billing_mode: String,
    /// When items expire.
    pub time_to_live_specification: TimeToLive,
}

/// An attribute's type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttributeDefinition {
    /// Its name.
    pub attribute_name: String,
    /// `S`: text.
    pub attribute_type: String,
}

/// A part of the key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct KeyElement {
    /// Its name.
    pub attribute_name: String,
    /// `HASH` or `RANGE`.
    pub key_type: String,
}

/// The attribute that says when an item expires, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TimeToLive {
    /// Its name.
    pub attribute_name: String,
    /// Whether items expire at all.
    pub enabled: bool,
}

impl Definition {
    /// # Errors
    /// Where `worker/table.json` is not such a definition, which a test rules out.
    pub fn read() -> Result<Self, serde_json::Error> {
        serde_json::from_str(TABLE_JSON)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::item::attribute, *};

    #[test]
    fn the_table_has_the_attributes_that_items_have() {
        let table = Definition::read().unwrap();
        let key: Vec<_> = table.key_schema.iter().map(|part| part.attribute_name.as_str()).collect();
        assert_eq!(key, [attribute::PK, attribute::SK]);
        assert!(table.attribute_definitions.iter().all(|definition| definition.attribute_type == "S"));
        assert_eq!(table.time_to_live_specification.attribute_name, attribute::EXPIRY);
    }
}
