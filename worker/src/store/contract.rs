//! The suite that every store passes. A case's name says the promise that it keeps; each uses a partition of its own,
//! so that all of them share one store, which must be empty at first.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "this module is tests")]

use std::{pin::Pin, sync::Arc};

use simurgh_protocol::{Raw, Timestamp};

use super::{Consistency, Expect, Item, Key, Query, Store, Write};

mod queries;
mod reads;
mod transactions;
mod writes;

/// A store under test.
type Subject = Arc<dyn Store>;
/// A case: its name, and what it does.
type Case = (&'static str, fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>);

/// The cases of a module, with their names.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(super) const CASES: &[super::Case] = &[$((stringify!($case), |store| Box::pin($case(store)))),*];
    };
}
use cases;

/// Runs every case on `store`.
///
/// # Panics
/// Where some cases fail, with their names; each has said why before.
pub async fn run(store: Arc<dyn Store>) {
    let mut broken = Vec::new();
    for (name, case) in [writes::CASES, transactions::CASES, reads::CASES, queries::CASES].concat() {
        if tokio::spawn(case(Arc::clone(&store))).await.is_err() {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "promises that the store does not keep: {broken:?}");
}

fn key(pk: &str, sk: &str) -> Key {
    Key { pk: format!("contract#{pk}"), sk: sk.to_owned() }
}

/// The `number`th key of a partition: they sort as their numbers.
fn nth(pk: &str, number: usize) -> Key {
    key(pk, &format!("{number:04}"))
}

fn write(key: Key, expect: Expect, text: &str) -> Write {
    Write { key, body: Raw::of(&serde_json::json!({ "text": text })), expires_at: None, expect }
}

fn first(key: Key, text: &str) -> Write {
    write(key, Expect::Absent, text)
}

/// The items `0..count` of a partition, each with `text`.
async fn fill(store: &Subject, pk: &str, count: usize, text: &str) -> Vec<Item> {
    let mut items = Vec::with_capacity(count);
    for number in 0..count {
        items.push(store.put(first(nth(pk, number), text)).await.unwrap());
    }
    items
}

async fn read(store: &Subject, key: &Key) -> Option<Item> {
    store.get(key, Consistency::Strong).await.unwrap()
}

/// All of a partition's items, ascending.
fn all(pk: &str) -> Query {
    let (from, to) = (nth(pk, 0), nth(pk, 9999));
    Query {
        pk: from.pk,
        from: from.sk,
        to: to.sk,
        descending: false,
        limit: usize::MAX,
        consistency: Consistency::Strong,
    }
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}
