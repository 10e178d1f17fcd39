//! Keys of the table: the one place where they are built. `#` parts ids, which never hold it.
//!
//! | partition | sort key | document |
//! | --- | --- | --- |
//! | `c#{conversation}` | `meta` | what it is |
//! | | `members` | the members' version and count: the item read for each send |
//! | | `m#{user}` | a member: since when, read position; a tombstone when removed |
//! | | `head` | where the log stood, for lists |
//! | | `mutes` | who muted it, and until when |
//! | `l#{conversation}` | `{seq}` | a slot of the log: one or several messages |
//! | `r#{conversation}` | `{seq}` | the reactions on a message |
//! | `x#{conversation}` | `{change_seq}` | a change to a message |
//! | `h#{conversation}#{user}` | `{seq}` | that the user deleted a message for itself |
//! | `y#{conversation}#{seq}` | `h#{user}` | the same, seen from the message |
//! | `k#{conversation}#{sender}#{client_random}` | `claim` | a claim |
//! | `d#{user}#{user}` | `direct` | the direct conversation of a pair |
//! | | `blocks` | who of the two blocks the other |
//! | `u#{user}` | `c#{conversation}` | membership, seen from the user |
//! | | `k#{user}` | a contact |
//! | | `f#{user}` | somebody whose contact this user is |
//! | | `ba#{user}` | whom the user blocks |
//! | | `bb#{user}` | who blocks the user |
//! | | `status` | the status last told, and when last seen |
//! | | `revoked` | until when the tokens that count no more were issued |
//! | `v` | `{time}#{user}` | a revocation, for a day: gateways read those that they did not hear of |

use simurgh_protocol::{ConversationId, Timestamp, UserId, record::ClientRandom};

use super::{Consistency, Item, Key, Query};

/// Digits of a sequence number in a key: `MessageId::MAX_SEQ` has 13.
const SEQ_DIGITS: usize = 13;
/// The partition of all revocations of a day.
const REVOCATIONS: &str = "v";

fn key(pk: String, sk: impl Into<String>) -> Key {
    Key { pk, sk: sk.into() }
}

fn conversation_pk(id: &ConversationId) -> String {
    format!("c#{id}")
}

fn user_pk(id: &UserId) -> String {
    format!("u#{id}")
}

fn pair_pk(one: &UserId, other: &UserId) -> String {
    let (first, second) = if one <= other { (one, other) } else { (other, one) };
    format!("d#{first}#{second}")
}

/// A sequence number as a sort key.
pub(crate) fn seq_sk(seq: u64) -> String {
    format!("{seq:0SEQ_DIGITS$}")
}

/// What a conversation is.
#[must_use]
pub fn meta(id: &ConversationId) -> Key {
    key(conversation_pk(id), "meta")
}

/// The version and count of a conversation's members.
#[must_use]
pub fn members(id: &ConversationId) -> Key {
    key(conversation_pk(id), "members")
}

/// One member.
#[must_use]
pub fn member(id: &ConversationId, user: &UserId) -> Key {
    key(conversation_pk(id), format!("m#{user}"))
}

/// All members of a conversation, tombstones included.
#[must_use]
pub fn all_members(id: &ConversationId) -> Query {
    prefix(conversation_pk(id), "m#")
}

/// A conversation's head.
#[must_use]
pub fn head(id: &ConversationId) -> Key {
    key(conversation_pk(id), "head")
}

/// Who muted a conversation.
#[must_use]
pub fn mutes(id: &ConversationId) -> Key {
    key(conversation_pk(id), "mutes")
}

/// The slot whose first message has this `seq`.
#[must_use]
pub fn slot(id: &ConversationId, seq: u64) -> Key {
    key(format!("l#{id}"), seq_sk(seq))
}

/// Slots whose first message has a `seq` from `from` to `to`, both included.
#[must_use]
pub fn slots(id: &ConversationId, from: u64, to: u64) -> Query {
    between(format!("l#{id}"), from, to)
}

/// The reactions on a message.
#[must_use]
pub fn reactions(id: &ConversationId, seq: u64) -> Key {
    key(format!("r#{id}"), seq_sk(seq))
}

/// The reactions on messages from `from` to `to`, both included.
#[must_use]
pub fn reactions_between(id: &ConversationId, from: u64, to: u64) -> Query {
    between(format!("r#{id}"), from, to)
}

/// One change.
#[must_use]
pub fn change(id: &ConversationId, change_seq: u64) -> Key {
    key(format!("x#{id}"), seq_sk(change_seq))
}

/// Changes from `from` to `to`, both included.
#[must_use]
pub fn changes(id: &ConversationId, from: u64, to: u64) -> Query {
    between(format!("x#{id}"), from, to)
}

/// That a user deleted a message for itself.
#[must_use]
pub fn hidden(id: &ConversationId, user: &UserId, seq: u64) -> Key {
    key(format!("h#{id}#{user}"), seq_sk(seq))
}

/// The messages from `from` to `to`, both included, that a user deleted for itself.
#[must_use]
pub fn hidden_between(id: &ConversationId, user: &UserId, from: u64, to: u64) -> Query {
    between(format!("h#{id}#{user}"), from, to)
}

/// The same, seen from the message.
#[must_use]
pub fn hider(id: &ConversationId, seq: u64, user: &UserId) -> Key {
    key(format!("y#{id}#{}", seq_sk(seq)), format!("h#{user}"))
}

/// All who deleted a message for themselves.
#[must_use]
pub fn hiders(id: &ConversationId, seq: u64) -> Query {
    prefix(format!("y#{id}#{}", seq_sk(seq)), "h#")
}

/// The claim on a message.
#[must_use]
pub fn claim(id: &ConversationId, sender: &UserId, client_random: &ClientRandom) -> Key {
    let name = match client_random {
        ClientRandom::Number(number) => format!("n{number}"),
        ClientRandom::Text(text) => format!("t{text}"),
    };
    key(format!("k#{id}#{sender}#{name}"), "claim")
}

/// The direct conversation of a pair, in either order.
#[must_use]
pub fn direct(one: &UserId, other: &UserId) -> Key {
    key(pair_pk(one, other), "direct")
}

/// Who of a pair blocks the other, in either order.
#[must_use]
pub fn pair(one: &UserId, other: &UserId) -> Key {
    key(pair_pk(one, other), "blocks")
}

/// A membership, seen from the user.
#[must_use]
pub fn membership(user: &UserId, id: &ConversationId) -> Key {
    key(user_pk(user), format!("c#{id}"))
}

/// All memberships of a user, tombstones included.
#[must_use]
pub fn memberships(user: &UserId) -> Query {
    prefix(user_pk(user), "c#")
}

/// A contact of a user.
#[must_use]
pub fn contact(user: &UserId, contact: &UserId) -> Key {
    key(user_pk(user), format!("k#{contact}"))
}

/// All contacts of a user, tombstones included.
#[must_use]
pub fn contacts(user: &UserId) -> Query {
    prefix(user_pk(user), "k#")
}

/// Somebody (`follower`) whose contact `user` is.
#[must_use]
pub fn follower(user: &UserId, follower: &UserId) -> Key {
    key(user_pk(user), format!("f#{follower}"))
}

/// All whose contact a user is, tombstones included.
#[must_use]
pub fn followers(user: &UserId) -> Query {
    prefix(user_pk(user), "f#")
}

/// Somebody (`other`) whom `user` blocks.
#[must_use]
pub fn block(user: &UserId, other: &UserId) -> Key {
    key(user_pk(user), format!("ba#{other}"))
}

/// All whom a user blocks, tombstones included.
#[must_use]
pub fn blocks(user: &UserId) -> Query {
    prefix(user_pk(user), "ba#")
}

/// Somebody (`other`) who blocks `user`.
#[must_use]
pub fn blocker(user: &UserId, other: &UserId) -> Key {
    key(user_pk(user), format!("bb#{other}"))
}

/// All whom a user blocks, and all who block it, tombstones included.
#[must_use]
pub fn blocks_and_blockers(user: &UserId) -> Query {
    Query { to: "bb#~".to_owned(), ..blocks(user) }
}

/// What says whom a user sees: its blocks and blockers, its memberships and its followers, in this order.
#[must_use]
pub fn surroundings(user: &UserId) -> Query {
    Query { to: "f#~".to_owned(), ..blocks(user) }
}

/// What says who sees a user: its memberships, its followers, who do not, and its contacts, in this order.
#[must_use]
pub fn memberships_to_contacts(user: &UserId) -> Query {
    Query { to: "k#~".to_owned(), ..memberships(user) }
}

/// Items of a user's partition, by what they are.
#[derive(Debug)]
pub struct OfUser<'a> {
    /// Whom the user blocks, and who blocks it.
    pub blocks: &'a [Item],
    /// Its memberships.
    pub memberships: &'a [Item],
    /// Its followers.
    pub followers: &'a [Item],
    /// Its contacts.
    pub contacts: &'a [Item],
}

/// The items of [`surroundings`] or [`memberships_to_contacts`], which are in order, by what they are.
#[must_use]
pub fn of_user(items: &[Item]) -> OfUser<'_> {
    let split = |items: &[Item], at: &str| items.partition_point(|item| item.key.sk.as_str() < at);
    let (blocks, others) = items.split_at(split(items, "c#"));
    let (memberships, others) = others.split_at(split(others, "f#"));
    let (followers, contacts) = others.split_at(split(others, "k#"));
    OfUser { blocks, memberships, followers, contacts }
}

/// A user's status last told.
#[must_use]
pub fn status(user: &UserId) -> Key {
    key(user_pk(user), "status")
}

/// Until when a user's tokens were revoked.
#[must_use]
pub fn revoked(user: &UserId) -> Key {
    key(user_pk(user), "revoked")
}

/// One revocation among all users'.
#[must_use]
pub fn revocation(at: Timestamp, user: &UserId) -> Key {
    key(REVOCATIONS.to_owned(), format!("{}#{user}", seq_sk(at.as_millis())))
}

/// The revocations of `since` and later, at most `limit`.
#[must_use]
pub fn revocations(since: Timestamp, limit: usize) -> Query {
    Query {
        pk: REVOCATIONS.to_owned(),
        from: seq_sk(since.as_millis()),
        // After every digit.
        to: ":".to_owned(),
        descending: false,
        limit,
        consistency: Consistency::Strong,
    }
}

/// The id that a sort key names behind its kind: the user of [`member`], [`hider`], [`contact`],
/// [`follower`], [`block`] and [`blocker`], the conversation
/// of [`membership`].
#[must_use]
pub fn named(key: &Key) -> Option<&str> {
    key.sk.split_once('#').map(|(_, id)| id)
}

/// Where nothing ever is: to see whether the store answers.
#[must_use]
pub(super) fn nowhere() -> Key {
    key("ready".to_owned(), "ready")
}

fn prefix(pk: String, prefix: &str) -> Query {
    Query {
        pk,
        from: prefix.to_owned(),
        to: format!("{prefix}~"),
        descending: false,
        limit: usize::MAX,
        consistency: Consistency::Strong,
    }
}

fn between(pk: String, from: u64, to: u64) -> Query {
    Query {
        pk,
        from: seq_sk(from),
        to: seq_sk(to),
        descending: false,
        limit: usize::MAX,
        consistency: Consistency::Strong,
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::Raw;

    use super::*;

    #[test]
    fn sequence_numbers_sort_as_numbers() {
        let id = ConversationId::new("c").unwrap();
        assert!(slot(&id, 9).sk < slot(&id, 10).sk);
        assert!(slot(&id, 1 << 39).sk < slot(&id, simurgh_protocol::MessageId::MAX_SEQ).sk);
    }

    #[test]
    fn a_number_and_its_text_are_two_claims() {
        let (id, sender) = (ConversationId::new("c").unwrap(), UserId::new("a").unwrap());
        assert_ne!(
            claim(&id, &sender, &ClientRandom::Number(5)),
            claim(&id, &sender, &ClientRandom::Text("5".to_owned()))
        );
    }

    #[test]
    fn what_is_stored_of_a_user_is_told_apart() {
        let (id, user, other) =
            (ConversationId::new("c").unwrap(), UserId::new("u").unwrap(), UserId::new("z|||").unwrap());
        let keys = [
            block(&user, &other),
            blocker(&user, &other),
            membership(&user, &id),
            follower(&user, &other),
            contact(&user, &other),
        ];
        let item = |key: Key| Item { key, version: 1, body: Raw::empty(), expires_at: None };
        let items = keys.clone().map(item);
        let OfUser { blocks, memberships, followers, contacts } = of_user(&items);
        assert_eq!(
            [blocks, memberships, followers, contacts],
            [&items[..2], &items[2..3], &items[3..4], &items[4..]]
        );
        for (query, within) in [(surroundings(&user), 0..4), (memberships_to_contacts(&user), 2..5)] {
            for (place, key) in keys.iter().enumerate() {
                assert_eq!(query.from <= key.sk && key.sk <= query.to, within.contains(&place), "{}", key.sk);
            }
        }
    }

    #[test]
    fn every_id_sorts_within_its_prefix() {
        let (id, user) = (ConversationId::new("c").unwrap(), UserId::new("z|||").unwrap());
        let (range, key) = (all_members(&id), member(&id, &user));
        assert!(range.from <= key.sk && key.sk <= range.to);
    }
}
