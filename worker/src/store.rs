//! The store: versioned documents with conditional writes.
//!
//! One port, [`Store`], and two implementations that pass one suite (`contract`): [`dynamo`] and [`memory`].
//! [`keys`] is the only place where keys are built.
//!
//! # What the store promises
//!
//! - A write that answers `Ok` is durable. A write that answers [`StoreError::Unavailable`] may have happened.
//! - Every call ends within 2 s ([`dynamo::CALL_TIMEOUT`]), retries included, but for `ready` until it has found the
//!   table.
//! - A write succeeds only on its [`Expect`]ation, judged in the same step as the write. On failure it answers with
//!   the item that is there. That may be the very item to be written: an earlier try of the call, whose answer was
//!   lost, has put it there.
//! - `transact` does all of its writes or none.
//! - Reads are consistent: they see every write that answered before they began, unless asked to be eventual.

use async_trait::async_trait;
use simurgh_protocol::{Raw, Timestamp};

#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod dynamo;
mod item;
pub mod keys;
pub mod measured;
pub mod memory;
pub mod units;

pub(crate) use item::ITEM_BYTES;

/// Bytes of items in a [`Page`]: DynamoDB's bound for one `Query`.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// Where an item is: partition and sort key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The partition: items of one partition can be queried in order.
    pub pk: String,
    /// The place in the partition.
    pub sk: String,
}

/// A document and its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Where.
    pub key: Key,
    /// 1 when first written; each rewrite by [`Expect::Version`] has one more.
    pub version: u64,
    /// The document: a JSON object.
    pub body: Raw,
    /// When the store may forget it (whole seconds, rounded up; it may stay for days longer, and counts while it
    /// does).
    pub expires_at: Option<Timestamp>,
}

/// What must be there for a write to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// An item of this version.
    Version(u64),
}

/// A write: the item becomes what it says, its version one more than expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Where.
    pub key: Key,
    /// The document.
    pub body: Raw,
    /// When the store may forget it.
    pub expires_at: Option<Timestamp>,
    /// On what condition.
    pub expect: Expect,
}

/// Whether a read may lag behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that answered before.
    Strong,
    /// May lag (about a second), at half the cost. Never for a decision.
    Eventual,
}

/// A range of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The partition.
    pub pk: String,
    /// The first sort key, itself included. Not empty, as no sort key is.
    pub from: String,
    /// The last sort key, itself included.
    pub to: String,
    /// From the last to the first.
    pub descending: bool,
    /// At most so many items.
    pub limit: usize,
    /// Whether it may lag.
    pub consistency: Consistency,
}

impl Query {
    /// Whether nothing can be in the range. DynamoDB refuses such a query; the answer is an empty page.
    fn is_empty(&self) -> bool {
        self.limit == 0 || self.from > self.to
    }
}

/// A part of a range: at most 1 MiB of items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The items in order.
    pub items: Vec<Item>,
    /// Whether the range may go on behind the last of them. `false` is certain. `true` is a guess where the page
    /// holds as many items as its limit, or 1 MiB: the store did not look further. Whoever must know asks for one
    /// item more.
    pub more: bool,
}

/// Why a call on the store failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The expectation did not hold. For `put`, what is there instead (none: the item expected is gone).
    #[error("something else is stored there")]
    Conflict(Option<Box<Item>>),
    /// Out of reach, throttled beyond the retries, or timed out. A write may have happened.
    #[error("the store is out of reach: {0}")]
    Unavailable(String),
    /// The item is larger than the store takes (400 KB), or the transaction is (100 items, 4 MB).
    #[error("the item is too large")]
    TooLarge,
}

/// The port. See the module's documentation for what each call promises.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads one item.
    async fn get(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError>;

    /// Reads many items, in the order of the keys asked for, those that are not there left out; a key asked for twice
    /// is answered twice. Any number of keys; the implementation pages. Not one point in time: each item is as it
    /// was at some moment of the call.
    async fn get_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError>;

    /// Writes one item on its condition.
    async fn put(&self, write: Write) -> Result<Item, StoreError>;

    /// Writes up to 100 items (4 MB) on their conditions, all or none. A conflict names no item; two writes of one
    /// key conflict.
    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError>;

    /// Reads a range.
    async fn query(&self, query: Query) -> Result<Page, StoreError>;

    /// Makes the table where it is missing and was to be created; tells whether the store can serve.
    async fn ready(&self) -> Result<(), StoreError>;
}
