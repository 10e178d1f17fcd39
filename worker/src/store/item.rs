//! What both implementations hold items to: versions, whole seconds, and DynamoDB's sizes.

use std::{collections::BTreeSet, time::Duration};

use simurgh_protocol::{Raw, Timestamp};

use super::{Expect, Item, Key, StoreError, Write};

/// The attributes of an item in the table: partition key, sort key, version, body, expiry.
pub(super) mod attribute {
    pub(crate) const PK: &str = "pk";
    pub(crate) const SK: &str = "sk";
    pub(crate) const VERSION: &str = "v";
    pub(crate) const BODY: &str = "b";
    pub(crate) const EXPIRY: &str = "ttl";
}

/// 400 KB, names included: "Service, account, and table quotas in Amazon DynamoDB", item size.
pub(crate) const ITEM_BYTES: usize = 400 * 1024;
/// The same page, `TransactWriteItems`.
pub(super) const TRANSACT_ITEMS: usize = 100;
/// The same page, `TransactWriteItems`.
pub(super) const TRANSACT_BYTES: usize = 4 * 1024 * 1024;

/// The item that `write` leaves behind.
pub(super) fn written(write: Write) -> Item {
    let version = match write.expect {
        Expect::Absent => 1,
        Expect::Version(version) => version.saturating_add(1),
    };
    Item { key: write.key, version, body: write.body, expires_at: write.expires_at.map(whole_seconds) }
}

/// The next whole second: rounded down, an item could be forgotten too early.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let up = time.plus(Duration::from_millis(999));
    Timestamp::from_millis(up.as_secs() * 1000)
}

/// What DynamoDB counts for an item: the UTF-8 bytes of names and texts; of a number a byte for two digits and one
/// more ("DynamoDB item sizes and formats").
pub(super) fn bytes(item: &Item) -> usize {
    sized(&item.key, item.version, &item.body, item.expires_at)
}

/// The same of an item of these parts.
pub(super) fn sized(key: &Key, version: u64, body: &Raw, expires_at: Option<Timestamp>) -> usize {
    let text = |name: &str, value: &str| name.len() + value.len();
    let number = |name: &str, value: u64| name.len() + value.to_string().len().div_ceil(2) + 1;
    text(attribute::PK, &key.pk)
        + text(attribute::SK, &key.sk)
        + number(attribute::VERSION, version)
        + text(attribute::BODY, body.get())
        + expires_at.map_or(0, |time| number(attribute::EXPIRY, time.as_secs()))
}

/// # Errors
/// `TooLarge` for what the table would not take.
pub(super) fn check_size(item: &Item) -> Result<(), StoreError> {
    if bytes(item) > ITEM_BYTES { Err(StoreError::TooLarge) } else { Ok(()) }
}

/// # Errors
/// As [`super::Store::transact`] says: `TooLarge` beyond the bounds, `Conflict` where two writes name one key.
pub(super) fn check_transaction(items: &[Item]) -> Result<(), StoreError> {
    items.iter().try_for_each(check_size)?;
    if items.len() > TRANSACT_ITEMS || items.iter().map(bytes).sum::<usize>() > TRANSACT_BYTES {
        return Err(StoreError::TooLarge);
    }
    let keys: BTreeSet<&Key> = items.iter().map(|item| &item.key).collect();
    if keys.len() < items.len() { Err(StoreError::Conflict(None)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_as_large_as_its_names_and_values() {
        let key = Key { pk: "c#é".to_owned(), sk: "meta".to_owned() };
        let write = Write { key, body: Raw::empty(), expires_at: None, expect: Expect::Absent };
        let without = written(write.clone());
        assert_eq!(bytes(&without), (2 + 4) + (2 + 4) + (1 + 2) + (1 + 2));
        let with = written(Write { expires_at: Some(Timestamp::from_millis(1_795_333_147_000)), ..write });
        assert_eq!(bytes(&with), bytes(&without) + 3 + 5 + 1);
    }

    #[test]
    fn nothing_expires_before_its_time() {
        let rounded = |ms| whole_seconds(Timestamp::from_millis(ms)).as_millis();
        assert_eq!((rounded(1000), rounded(1001), rounded(1999)), (1000, 2000, 2000));
    }
}
