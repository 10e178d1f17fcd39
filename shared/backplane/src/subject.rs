//! Subjects and keys: the one place where they are built.
//!
//! An id becomes one token: letters, digits, `_` and `-` stay, any other byte becomes `=` and two hex digits. Such a
//! token holds no separator and no wildcard of NATS, and reads back ([`Key::parts`]).

use std::{fmt, fmt::Write as _, sync::Arc};

use simurgh_protocol::{ConversationId, UserId};

use crate::Bucket;

/// A subject without wildcards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

/// A key of a bucket: tokens joined by `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A pattern of keys, in which a token may be `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Arc<str>);

impl Subject {
    /// A subject that the bus itself made (reply addresses).
    pub(crate) fn raw(text: &str) -> Self {
        Self(text.into())
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Key {
    pub(crate) fn raw(text: &str) -> Self {
        Self(text.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's tokens, decoded.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        self.0.split('.').map(decode).collect()
    }
}

impl Filter {
    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key has this form.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        let (mut pattern, mut tokens) = (self.0.split('.'), key.0.split('.'));
        loop {
            match (pattern.next(), tokens.next()) {
                (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(wanted), Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
    }
}

/// One token for an id.
fn encode(id: &str) -> String {
    let mut token = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "={byte:02x}");
        }
    }
    token
}

fn decode(token: &str) -> String {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
            let text = std::str::from_utf8(&digits).unwrap_or("3f");
            bytes.push(u8::from_str_radix(text, 16).unwrap_or(b'?'));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The subjects of one namespace (`SIMURGH_NAMESPACE`): several systems may share a NATS.
#[derive(Clone, Debug)]
pub struct Subjects {
    namespace: Arc<str>,
}

impl Subjects {
    /// `namespace` becomes the first token.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: encode(namespace).into() }
    }

    /// Commands for whichever worker is free (queue group [`WORKERS`]).
    #[must_use]
    pub fn any_worker(&self) -> Subject {
        Subject(format!("{}.work.any", self.namespace).into())
    }

    /// Commands for one worker.
    #[must_use]
    pub fn worker(&self, id: &str) -> Subject {
        Subject(format!("{}.work.id.{}", self.namespace, encode(id)).into())
    }

    /// Where workers say that they live.
    #[must_use]
    pub fn worker_heartbeats(&self) -> Subject {
        Subject(format!("{}.work.alive", self.namespace).into())
    }

    /// Where gateways say that a user came to them who was not there.
    #[must_use]
    pub fn arrivals(&self) -> Subject {
        Subject(format!("{}.came", self.namespace).into())
    }

    /// What concerns everybody in a conversation.
    #[must_use]
    pub fn conversation(&self, id: &ConversationId) -> Subject {
        Subject(format!("{}.conv.{}", self.namespace, encode(id.as_str())).into())
    }

    /// What a user missed, in the stream of that.
    #[must_use]
    pub fn offline(&self, user: &UserId) -> Subject {
        Subject(format!("{}.offline.{}", self.namespace, encode(user.as_str())).into())
    }

    /// What concerns users who are connected to one gateway.
    #[must_use]
    pub fn gateway(&self, id: &str) -> Subject {
        Subject(format!("{}.gate.{}", self.namespace, encode(id)).into())
    }

    /// What is asked of the process that holds a long-poll session.
    #[must_use]
    pub fn long_polls(&self, process: &str) -> Subject {
        Subject(format!("{}.poll.{}", self.namespace, encode(process)).into())
    }

    /// What concerns all gateways.
    #[must_use]
    pub fn all_gateways(&self) -> Subject {
        Subject(format!("{}.gates", self.namespace).into())
    }
}

/// A subject of a namespace on which nobody ever listens: what is sent there comes back at once as "no responders".
pub(crate) fn nobody(namespace: &str) -> Subject {
    Subject(format!("{}.nobody", encode(namespace)).into())
}

/// The stream of what users missed: its name, and its subjects.
pub(crate) fn offline_stream(namespace: &str) -> (String, String) {
    let namespace = encode(namespace);
    (format!("{namespace}_offline"), format!("{namespace}.offline.*"))
}

/// The subjects of a bucket on NATS, and of JetStream's interface to it.
#[derive(Clone, Debug)]
pub(crate) struct BucketSubjects {
    stream: String,
    prefix: String,
}

impl BucketSubjects {
    pub(crate) fn new(namespace: &str, bucket: Bucket) -> Self {
        let name = match bucket {
            Bucket::Presence => "presence",
            Bucket::Leases => "leases",
        };
        let name = format!("{}_{name}", encode(namespace));
        Self { stream: format!("KV_{name}"), prefix: format!("$KV.{name}.") }
    }

    /// The stream's name.
    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// All subjects of the stream.
    pub(crate) fn all(&self) -> String {
        format!("{}>", self.prefix)
    }

    /// The subject of a key or the pattern of a filter.
    pub(crate) fn of(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of a subject of this bucket.
    pub(crate) fn key(&self, subject: &str) -> Option<Key> {
        subject.strip_prefix(&self.prefix).map(Key::raw)
    }

    /// Where the last message of a key is asked for.
    pub(crate) fn get(&self, key: &Key) -> String {
        format!("$JS.API.DIRECT.GET.{}.{}{key}", self.stream, self.prefix)
    }

    /// Where many messages are asked for.
    pub(crate) fn get_batch(&self) -> String {
        format!("$JS.API.DIRECT.GET.{}", self.stream)
    }
}

/// The queue group that workers share.
pub const WORKERS: &str = "workers";

/// The presence entry of a user on a gateway.
#[must_use]
pub fn user_key(user: &UserId, gateway: &str) -> Key {
    Key(format!("u.{}.{}", encode(user.as_str()), encode(gateway)).into())
}

/// The presence entry of a conversation on a gateway.
#[must_use]
pub fn conversation_key(conversation: &ConversationId, gateway: &str) -> Key {
    Key(format!("c.{}.{}", encode(conversation.as_str()), encode(gateway)).into())
}

/// The lease of a gateway.
#[must_use]
pub fn lease_key(gateway: &str) -> Key {
    Key(encode(gateway).into())
}

/// A user's entries on all gateways.
#[must_use]
pub fn user_filter(user: &UserId) -> Filter {
    Filter(format!("u.{}.*", encode(user.as_str())).into())
}

/// A conversation's entries on all gateways.
#[must_use]
pub fn conversation_filter(conversation: &ConversationId) -> Filter {
    Filter(format!("c.{}.*", encode(conversation.as_str())).into())
}

/// All entries of users on one gateway, then all of conversations.
#[must_use]
pub fn gateway_filters(gateway: &str) -> [Filter; 2] {
    ["u", "c"].map(|kind| Filter(format!("{kind}.*.{}", encode(gateway)).into()))
}

/// All leases.
#[must_use]
pub fn all_leases() -> Filter {
    Filter("*".into())
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_token_without_wildcards_and_reads_back() {
        let user = UserId::new("a.b:c@d|e+F_g-1").unwrap();
        let key = user_key(&user, "g1");
        assert_eq!(key.as_str(), "u.a=2eb=3ac=40d=7ce=2bF_g-1.g1");
        assert_eq!(key.parts(), ["u", "a.b:c@d|e+F_g-1", "g1"]);
        assert!(user_filter(&user).matches(&key));
        assert!(gateway_filters("g1")[0].matches(&key));
        assert!(!gateway_filters("g2")[0].matches(&key));
    }

    #[test]
    fn a_star_stands_for_one_token_only() {
        let user = UserId::new("a").unwrap();
        assert!(!user_filter(&user).matches(&Key::raw("u.a.b.c")));
        assert!(!user_filter(&user).matches(&Key::raw("u.a")));
        assert!(!user_filter(&user).matches(&Key::raw("u.ab.g")));
    }
}
