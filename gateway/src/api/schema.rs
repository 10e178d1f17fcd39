//! What the document's schemas are made of, and those of ids. Bounds are the constants that the code holds to; where
//! there is a setting, they are its default.

use simurgh_protocol::{
    id::{ON_OBJECT_PROTOTYPE, PUNCTUATION},
    limits,
};
use utoipa::{
    Number,
    openapi::{
        Ref, RefOr, Type,
        schema::{
            AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Schema,
            SchemaFormat, SchemaType,
        },
    },
};

mod answered;
mod asked;

/// A schema, or the name of one.
pub(super) type Shape = RefOr<Schema>;

/// All that calls name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Schema)> {
    parts().into_iter().chain(answered::schemas()).chain(asked::schemas())
}

/// The schema of this name.
pub(super) fn refer(name: &str) -> Shape {
    Ref::from_schema_name(name).into()
}

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text of so many characters.
pub(super) fn bounded(least: usize, most: usize) -> ObjectBuilder {
    text().min_length((least > 0).then_some(least)).max_length(Some(most))
}

/// A whole number from `least` on.
pub(super) fn whole(least: u64) -> ObjectBuilder {
    let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
    ObjectBuilder::new().schema_type(Type::Integer).format(Some(format)).minimum(Some(Number::from(least)))
}

pub(super) fn format(name: &str) -> SchemaFormat {
    SchemaFormat::Custom(name.to_owned())
}

/// The same, or null.
pub(super) fn nullable(schema: ObjectBuilder, otherwise: Type) -> ObjectBuilder {
    schema.schema_type(SchemaType::from_iter([otherwise, Type::Null]))
}

/// What has this name, or null.
fn nullable_ref(name: &str) -> Shape {
    let null = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(refer(name)).item(null).into()
}

fn list(of: &str) -> ArrayBuilder {
    ArrayBuilder::new().items(refer(of))
}

pub(super) fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

/// Any object.
fn free() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

/// An object that has each of these fields.
fn record<S: Into<Shape>>(fields: impl IntoIterator<Item = (&'static str, S)>) -> ObjectBuilder {
    fields
        .into_iter()
        .fold(ObjectBuilder::new(), |object, (name, shape)| object.property(name, shape).required(name))
}

/// One of these words.
fn words(of: &[&str]) -> ObjectBuilder {
    text().enum_values(Some(of.iter().copied()))
}

/// The parameter `limit` of a page.
pub(super) fn page_limit((most, default): (usize, usize)) -> ObjectBuilder {
    whole(1).maximum(Some(most)).default(Some(default.into()))
}

/// A `seq` in a query.
pub(super) fn position() -> ObjectBuilder {
    whole(0).maximum(Some(limits::SEQ_MAX))
}

/// A cursor in a query.
pub(super) fn cursor() -> ObjectBuilder {
    bounded(0, limits::CURSOR_BYTES)
}

/// What ids have in common (contract section 2).
fn id() -> ObjectBuilder {
    // A hyphen stands for itself at the end of a class, and only there needs no escape in any dialect.
    let marks: String = PUNCTUATION.chars().filter(|mark| *mark != '-').collect();
    // The others begin with no letter.
    let names: Vec<&str> =
        ON_OBJECT_PROTOTYPE.iter().copied().filter(|name| name.starts_with(char::is_alphanumeric)).collect();
    let rest = limits::ID_CHARS - 1;
    let pattern = format!("^(?!(?:{})$)[A-Za-z0-9][A-Za-z0-9{marks}-]{{0,{rest}}}$", names.join("|"));
    bounded(1, limits::ID_CHARS).pattern(Some(pattern))
}

/// A UUID as `MessageId::new` makes them.
fn message_id() -> ObjectBuilder {
    let hex = "[0-9a-fA-F]";
    let pattern = format!("^{hex}{{8}}-{hex}{{4}}-8{hex}{{3}}-[89abAB]{hex}{{3}}-{hex}{{12}}$");
    text().format(Some(format("uuid"))).pattern(Some(pattern)).description(Some("A message's id."))
}

/// What other schemas are made of.
fn parts() -> [(&'static str, Schema); 9] {
    let instant = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let random = OneOfBuilder::new()
        .description(Some("The sender's name for the message. `5` and `\"5\"` differ."))
        .item(whole(0).maximum(Some(limits::CLIENT_RANDOM_MAX)))
        .item(bounded(1, limits::CLIENT_RANDOM_CHARS));
    let message_type = text()
        .description(Some("`text`, `media`, `system` (of services only), or another word."))
        .pattern(Some(format!("^[a-z0-9_]{{1,{}}}$", limits::MESSAGE_TYPE_CHARS)));
    let metadata = free().description(Some(
        "An object of the client's, kept without the white space between its parts; at most 8 KiB \
         (SIMURGH_MAX_METADATA_BYTES).",
    ));
    [
        ("UserId", id().description(Some("A user's id.")).into()),
        (
            "ConversationId",
            id().description(Some("A conversation's id; a UUID where a user chose it.")).into(),
        ),
        ("MessageId", message_id().into()),
        ("Timestamp", instant.description(Some("UTC, in milliseconds.")).into()),
        ("ClientRandom", random.into()),
        ("MessageType", message_type.into()),
        ("Metadata", metadata.into()),
        ("ConversationType", words(&["direct", "group"]).into()),
        ("Status", words(&["online", "away", "busy", "offline"]).into()),
    ]
}
