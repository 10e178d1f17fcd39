//! Ids of users, conversations and messages, valid by construction.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{Timestamp, limits};

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to 64 characters of A-Z a-z 0-9 _ - . : @ | +, begin with a letter or digit, and not be a name on Object.prototype"
)]
pub struct InvalidId;

/// What an id may hold beside letters and digits, though not as its first character (contract section 2).
pub const PUNCTUATION: &str = "_-.:@|+";

/// The keys that every JavaScript object already has: such names break clients' maps.
pub const ON_OBJECT_PROTOTYPE: [&str; 12] = [
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

/// Whether `name` is one of [`ON_OBJECT_PROTOTYPE`].
#[must_use]
pub fn on_object_prototype(name: &str) -> bool {
    ON_OBJECT_PROTOTYPE.contains(&name)
}

fn check(text: &str) -> Result<(), InvalidId> {
    let begins_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || PUNCTUATION.as_bytes().contains(&byte);
    if begins_well
        && text.len() <= limits::ID_CHARS
        && text.bytes().all(allowed)
        && !on_object_prototype(text)
    {
        Ok(())
    } else {
        Err(InvalidId)
    }
}

macro_rules! id {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The id of a ", $what, ": 1 to 64 characters of `A-Z a-z 0-9 _ - . : @ | +` (contract section 2).")]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// # Errors
            /// [`InvalidId`] where the text breaks the rule above.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

id!(UserId, "user");
id!(ConversationId, "conversation");

impl ConversationId {
    /// Whether the id is a UUID, the only form that a user (rather than a service) may choose.
    #[must_use]
    pub fn is_uuid(&self) -> bool {
        self.0.len() == 36 && Uuid::try_parse(&self.0).is_ok()
    }
}

/// A message's id: a UUID of version 8 that holds 48 bits of milliseconds, 40 bits of the message's `seq` and 34 random
/// bits, so that an id finds its message without an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// The largest `seq` that an id can hold.
    pub const MAX_SEQ: u64 = (1 << 40) - 1;

    /// The id of the message at `seq`, sent at `at`; `random` supplies the bits that tell two such apart.
    #[must_use]
    pub fn new(at: Timestamp, seq: u64, random: u64) -> Self {
        let ms = u128::from(at.as_millis() & ((1 << 48) - 1));
        let seq = u128::from(seq & Self::MAX_SEQ);
        // 48 ms | 4 version | 12 seq (high) | 2 variant | 28 seq (low) | 34 random
        let bits = (ms << 80)
            | (0x8 << 76)
            | ((seq >> 28) << 64)
            | (0b10 << 62)
            | ((seq & ((1 << 28) - 1)) << 34)
            | u128::from(random & ((1 << 34) - 1));
        Self(Uuid::from_u128(bits))
    }

    /// The id that `text` writes, hyphenated, in either case (some clients write upper case); `None` where it is not one
    /// that [`Self::new`] made.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        let ours = uuid.get_version_num() == 8 && uuid.get_variant() == uuid::Variant::RFC4122;
        (ours && text.len() == 36).then_some(Self(uuid))
    }

    /// The `seq` inside.
    #[must_use]
    pub fn seq(self) -> u64 {
        let bits = self.0.as_u128();
        let high = (bits >> 64) & 0xfff;
        let low = (bits >> 34) & ((1 << 28) - 1);
        u64::try_from((high << 28) | low).unwrap_or(0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_outside_the_alphabet_are_refused() {
        let long = "x".repeat(65);
        for text in ["", "_a", "-a", ".a", "a b", "a/b", "a*", "a>", "é", "a#b", "toString", "valueOf", &long]
        {
            assert_eq!(UserId::new(text), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn ids_of_the_alphabet_are_taken() {
        for text in ["a", "0", "A-b_c.d:e@f|g+h", &"x".repeat(64)] {
            assert_eq!(UserId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn only_uuids_count_as_uuids() {
        assert!(ConversationId::new("6f9619ff-8b86-d011-b42d-00c04fc964ff").unwrap().is_uuid());
        assert!(!ConversationId::new("6f9619ff8b86d011b42d00c04fc964ff").unwrap().is_uuid());
        assert!(!ConversationId::new("room-1").unwrap().is_uuid());
    }

    proptest! {
        #[test]
        fn a_message_id_holds_its_seq(ms in 0..(1u64 << 47), seq in 0..=MessageId::MAX_SEQ, random: u64) {
            let id = MessageId::new(Timestamp::from_millis(ms), seq, random);
            prop_assert_eq!(id.seq(), seq);
            prop_assert_eq!(MessageId::parse(&id.to_string()), Some(id));
            prop_assert_eq!(MessageId::parse(&id.to_string().to_uppercase()), Some(id));
        }

        #[test]
        fn any_text_is_an_id_or_refused(text in ".{0,80}") {
            let _ = UserId::new(&text);
            let _ = MessageId::parse(&text);
        }
    }
}
