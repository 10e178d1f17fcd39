//! What calls cost on DynamoDB, counted by AWS's published rules ("DynamoDB read and write operations", developer
//! guide): local engines report it wrongly, and AWS reports nothing for a write whose condition failed.
//!
//! - A read unit is 4 KB read consistently, or 8 KB eventually. Each item is rounded up by itself (`GetItem`,
//!   `BatchGetItem`; one that is not there costs the least), a `Query`'s items are summed up first.
//! - A write unit is 1 KB of the item as it is before or after, whichever is larger. A transaction's cost twice that.
//! - A write whose condition failed is charged all the same, by the larger of what is there and what was to be.
//!
//! The one thing that a caller of the port cannot know is how large an item was that a write replaced: it is taken to be
//! no larger than what replaces it. Tries that the SDK makes by itself are not seen here.

use super::{Consistency, Expect, Item, Page, StoreError, Write, item};

/// Bytes of a write unit.
const WRITE_BYTES: usize = 1024;
/// Bytes of a consistent read unit.
const READ_BYTES: usize = 4 * 1024;

/// Capacity units. Read units come in halves, so they are counted so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Halves of read units.
    pub half_reads: u64,
    /// Write units.
    pub writes: u64,
}

fn rounded_up(bytes: usize, unit: usize) -> u64 {
    u64::try_from(bytes.div_ceil(unit).max(1)).unwrap_or(u64::MAX)
}

fn read(bytes: usize, consistency: Consistency) -> u64 {
    let halves = match consistency {
        Consistency::Strong => 2,
        Consistency::Eventual => 1,
    };
    rounded_up(bytes, READ_BYTES) * halves
}

/// Of a `GetItem` that found this.
#[must_use]
pub fn of_get(found: Option<&Item>, consistency: Consistency) -> Units {
    Units { half_reads: read(found.map_or(0, item::bytes), consistency), writes: 0 }
}

/// Of reading so many distinct keys by `BatchGetItem`, of which these were there.
#[must_use]
pub fn of_get_many(keys: usize, found: &[&Item], consistency: Consistency) -> Units {
    let there: u64 = found.iter().map(|found| read(item::bytes(found), consistency)).sum();
    let missing = u64::try_from(keys.saturating_sub(found.len())).unwrap_or(u64::MAX);
    Units { half_reads: there + missing * read(0, consistency), writes: 0 }
}

/// Of a `Query` that read this page.
#[must_use]
pub fn of_query(page: &Page, consistency: Consistency) -> Units {
    Units { half_reads: read(page.items.iter().map(item::bytes).sum(), consistency), writes: 0 }
}

/// Of a `PutItem` of `bytes`, and what came of it. A write that nobody knows of is taken to have been done.
#[must_use]
pub fn of_put(bytes: usize, outcome: &Result<Item, StoreError>) -> Units {
    let charged = match outcome {
        Err(StoreError::Conflict(Some(there))) => bytes.max(item::bytes(there)),
        // Refused before it was sent.
        Err(StoreError::TooLarge) => return Units::default(),
        Ok(_) | Err(StoreError::Conflict(None) | StoreError::Unavailable(_)) => bytes,
    };
    Units { half_reads: 0, writes: rounded_up(charged, WRITE_BYTES) }
}

/// Of a `TransactWriteItems` of items of these bytes, done or cancelled.
#[must_use]
pub fn of_transact(bytes: &[usize], outcome: &Result<(), StoreError>) -> Units {
    if *outcome == Err(StoreError::TooLarge) {
        return Units::default();
    }
    Units { half_reads: 0, writes: bytes.iter().map(|bytes| 2 * rounded_up(*bytes, WRITE_BYTES)).sum() }
}

/// The bytes of the item that a write leaves behind.
#[must_use]
pub fn bytes(write: &Write) -> usize {
    let version = match write.expect {
        Expect::Absent => 1,
        Expect::Version(version) => version.saturating_add(1),
    };
    item::sized(&write.key, version, &write.body, write.expires_at)
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::Raw;

    use super::{super::Key, *};

    /// An item of exactly so many bytes.
    fn sized(bytes: usize) -> Item {
        let key = Key { pk: "p".to_owned(), sk: "s".to_owned() };
        let body = |text: usize| Raw::from_string(format!("\"{}\"", "x".repeat(text))).unwrap();
        let empty = Item { key: key.clone(), version: 1, body: body(0), expires_at: None };
        let found = Item { body: body(bytes - item::bytes(&empty)), ..empty };
        assert_eq!(item::bytes(&found), bytes);
        found
    }

    fn reads(halves: u64) -> Units {
        Units { half_reads: halves, writes: 0 }
    }

    fn writes(writes: u64) -> Units {
        Units { half_reads: 0, writes }
    }

    #[test]
    fn a_read_is_rounded_up_to_4_kb_and_half_as_much_when_it_may_lag() {
        for (bytes, units) in [(100, 1), (4_096, 1), (4_097, 2), (10 * 1024, 3)] {
            assert_eq!(of_get(Some(&sized(bytes)), Consistency::Strong), reads(2 * units), "{bytes}");
            assert_eq!(of_get(Some(&sized(bytes)), Consistency::Eventual), reads(units), "{bytes}");
        }
        assert_eq!(of_get(None, Consistency::Strong), reads(2), "what is not there costs the least");
    }

    #[test]
    fn a_batch_rounds_each_item_up_and_a_query_their_sum() {
        // The developer guide's own example: 1.5 KB and 6.5 KB are 12 KB in a batch.
        let (small, large) = (sized(1_536), sized(6_656));
        assert_eq!(of_get_many(2, &[&small, &large], Consistency::Strong), reads(2 * 3));
        assert_eq!(of_get_many(4, &[&small, &large], Consistency::Strong), reads(2 * 5), "two are not there");
        let page = Page { items: vec![small, large], more: false };
        assert_eq!(of_query(&page, Consistency::Strong), reads(2 * 2), "8 KB");
        assert_eq!(of_query(&Page::default(), Consistency::Eventual), reads(1));
    }

    #[test]
    fn a_write_is_rounded_up_to_1_kb_and_charged_when_its_condition_fails() {
        for (bytes, units) in [(100, 1), (1_024, 1), (1_025, 2), (3_073, 4)] {
            assert_eq!(of_put(bytes, &Ok(sized(bytes))), writes(units), "{bytes}");
        }
        let conflict = |there: usize| Err(StoreError::Conflict(Some(Box::new(sized(there)))));
        assert_eq!(of_put(100, &conflict(3_000)), writes(3), "by what is there");
        assert_eq!(of_put(3_000, &conflict(100)), writes(3), "by what was to be");
        assert_eq!(of_put(100, &Err(StoreError::Conflict(None))), writes(1));
        assert_eq!(of_put(100, &Err(StoreError::Unavailable(String::new()))), writes(1));
        assert_eq!(of_put(500_000, &Err(StoreError::TooLarge)), Units::default(), "it was not sent");
    }

    #[test]
    fn a_transaction_costs_twice_whatever_becomes_of_it() {
        assert_eq!(of_transact(&[100, 1_025], &Ok(())), writes(2 + 4));
        assert_eq!(of_transact(&[100, 1_025], &Err(StoreError::Conflict(None))), writes(2 + 4));
        assert_eq!(of_transact(&[500_000], &Err(StoreError::TooLarge)), Units::default());
    }

    #[test]
    fn a_write_is_as_large_as_what_it_leaves_behind() {
        let there = sized(2_000);
        for expect in [Expect::Absent, Expect::Version(12_345)] {
            let write = Write {
                key: there.key.clone(),
                body: there.body.clone(),
                expires_at: Some(simurgh_protocol::Timestamp::from_millis(1_795_333_147_001)),
                expect,
            };
            assert_eq!(bytes(&write), item::bytes(&item::written(write)));
        }
    }
}
