//! What frames are made of: JSON that is passed on as it came, refs, and the names of topics and events.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A piece of JSON that is passed on as it came.
#[derive(Clone, Debug)]
pub struct Raw(Box<RawValue>);

impl Raw {
    /// The JSON of a value. What cannot be written as JSON (there is nothing such in this workspace) becomes `{}`.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        serde_json::value::to_raw_value(value).map_or_else(|_| Self::empty(), Self)
    }

    /// `{}`.
    #[must_use]
    pub fn empty() -> Self {
        Self(RawValue::from_string("{}".to_owned()).unwrap_or_default())
    }

    /// # Errors
    /// Where `json` is not one JSON value.
    pub fn from_string(json: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(json).map(Self)
    }

    /// JSON `null`.
    #[must_use]
    pub(super) fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    pub(super) fn copied(raw: &RawValue) -> Self {
        Self(raw.to_owned())
    }

    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.get().starts_with('{')
    }

    /// Whether its arrays and objects are at most `levels` deep in each other. Looks at each byte once, without
    /// recursion.
    #[must_use]
    pub fn is_within(&self, levels: usize) -> bool {
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        for byte in self.get().bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_text,
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > levels {
                return false;
            }
        }
        true
    }

    /// Reads it as a value of some type.
    ///
    /// # Errors
    /// Where it has another shape.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

/// A `ref` or `join_ref`: any JSON value, echoed with its type; `null` when absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ref(pub(super) Box<str>);

impl Ref {
    /// The absent ref.
    #[must_use]
    pub fn null() -> Self {
        Self("null".into())
    }

    /// A textual ref, as clients make them.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Raw::of(text).get().into())
    }

    /// Whether it is absent.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// Its JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    pub(super) fn from_raw(raw: &RawValue) -> Self {
        Self(compact(raw).into())
    }
}

/// A topic or an event as it came: usually text; anything else only matches nothing and is echoed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Text.
    Text(String),
    /// The JSON of something that is not text.
    Other(String),
}

impl Name {
    /// The name where it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(_) => None,
        }
    }

    pub(super) fn from_raw(raw: &RawValue) -> Result<Self, serde_json::Error> {
        if raw.get().starts_with('"') {
            serde_json::from_str(raw.get()).map(Self::Text)
        } else {
            Ok(Self::Other(compact(raw)))
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        match self {
            // As nearly every name is: without an allocation.
            Self::Text(text) if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
            Self::Text(text) => out.push_str(Raw::of(text).get()),
            Self::Other(json) => out.push_str(json),
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The same JSON without white space between its parts. Nothing else changes: a number keeps all its digits.
fn compact(raw: &RawValue) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let kept = raw.get().chars().filter(|letter| {
        if !in_text {
            in_text = *letter == '"';
            return !letter.is_ascii_whitespace();
        }
        in_text = escaped || *letter != '"';
        escaped = !escaped && *letter == '\\';
        true
    });
    kept.collect()
}
