//! The DynamoDB store against real engines, and against answers that engines give too rarely.

mod dynamodb_local;
mod engine;
mod faults;
mod table;

use simurgh_env::Env;
use simurgh_protocol::Raw;
use simurgh_worker::store::{
    Expect, Key, Store, Write,
    dynamo::{DynamoConfig, DynamoStore},
};

fn config(endpoint: &str) -> DynamoConfig {
    DynamoConfig { table: "simurgh".to_owned(), endpoint: Some(endpoint.to_owned()), create_table: true }
}

async fn connect(endpoint: &str) -> DynamoStore {
    DynamoStore::connect(config(endpoint), Env::system()).await
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
