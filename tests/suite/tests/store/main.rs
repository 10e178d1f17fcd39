//! The DynamoDB store against real engines, and against answers that engines give too rarely.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests"
)]

mod deployed;
mod dynamodb_local;
mod engine;
mod faults;
mod table;

use std::{sync::Arc, time::Duration};

use simurgh_env::Env;
use simurgh_protocol::Raw;
use simurgh_worker::{
    metrics::Metrics,
    store::{
        Expect, Key, Store, Write,
        dynamo::{DynamoConfig, DynamoStore},
    },
};

fn config(endpoint: &str) -> DynamoConfig {
    DynamoConfig { table: "simurgh".to_owned(), endpoint: Some(endpoint.to_owned()), create_table: true }
}

/// A patient store: a busy machine must not change what a test sees.
async fn connect(endpoint: &str) -> DynamoStore {
    DynamoStore::connect_within(config(endpoint), Env::system(), metrics(), Duration::from_secs(30)).await
}

/// A store that can serve.
async fn ready(endpoint: &str) -> DynamoStore {
    let store = connect(endpoint).await;
    store.ready().await.unwrap();
    store
}

fn key(sk: &str) -> Key {
    Key { pk: "p".to_owned(), sk: sk.to_owned() }
}

fn first(sk: &str) -> Write {
    Write { key: key(sk), body: Raw::empty(), expires_at: None, expect: Expect::Absent }
}

/// Metrics that nobody reads.
fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}
