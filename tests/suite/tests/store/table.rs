//! Finding and making the table.

use dynoxide::{Database, server};
use serde_json::{Value, json};
use simurgh_env::Env;
use simurgh_localstack::engine::{self, Engine};
use simurgh_worker::store::{Store, StoreError, dynamo::DynamoConfig, dynamo::DynamoStore, dynamo::schema};
use tokio_util::sync::CancellationToken;

use super::{config, connect, first, metrics, ready};

async fn engine() -> Engine {
    engine::start(None, CancellationToken::new()).await.unwrap()
}

/// A database that the test can look into, and its endpoint.
async fn open_engine() -> (Database, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let database = Database::memory().unwrap();
    tokio::spawn(server::serve_with_shutdown(listener, database.clone(), std::future::pending()));
    (database, endpoint)
}

fn cause(result: Result<(), StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(cause)) => cause,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn a_missing_table_that_is_not_to_be_created_is_named() {
    let engine = engine().await;
    let config = DynamoConfig { create_table: false, ..config(&engine.endpoint) };
    let store = DynamoStore::connect(config, Env::system(), metrics()).await;
    assert_eq!(cause(store.ready().await), "table simurgh: does not exist, and is not to be created");
    assert!(cause(store.put(first("a")).await.map(|_| ())).contains("ResourceNotFoundException"));
    // It is made by somebody else.
    ready(&engine.endpoint).await;
    store.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_make_the_table_at_once_are_all_ready() {
    let engine = engine().await;
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let endpoint = engine.endpoint.clone();
        workers.spawn(async move { connect(&endpoint).await.ready().await });
    }
    assert!(workers.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_new_table_is_as_defined_and_expires_items() {
    let (database, endpoint) = open_engine().await;
    ready(&endpoint).await;
    let table = json!({ "TableName": "simurgh" });
    let definition: Value = serde_json::from_str(schema::TABLE_JSON).unwrap();

    let found = database.describe_table(serde_json::from_value(table.clone()).unwrap()).unwrap();
    let found = &serde_json::to_value(found).unwrap()["Table"];
    assert_eq!(found["KeySchema"], definition["KeySchema"]);
    assert_eq!(found["AttributeDefinitions"], definition["AttributeDefinitions"]);
    assert_eq!(found["BillingModeSummary"]["BillingMode"], definition["BillingMode"]);

    let found = database.describe_time_to_live(serde_json::from_value(table).unwrap()).unwrap();
    let found = &serde_json::to_value(found).unwrap()["TimeToLiveDescription"];
    assert_eq!(found["TimeToLiveStatus"], "ENABLED");
    assert_eq!(found["AttributeName"], definition["TimeToLiveSpecification"]["AttributeName"]);
}

#[tokio::test]
async fn another_programs_table_is_refused() {
    let (database, endpoint) = open_engine().await;
    let table = json!({
        "TableName": "simurgh",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "BillingMode": "PAY_PER_REQUEST",
    });
    database.create_table(serde_json::from_value(table).unwrap()).unwrap();
    let cause = cause(connect(&endpoint).await.ready().await);
    assert_eq!(cause, "table simurgh: has another key than worker/table.json says");
}

#[tokio::test]
async fn a_table_that_was_deleted_is_noticed_and_made_anew() {
    let (database, endpoint) = open_engine().await;
    let store = ready(&endpoint).await;
    let table = json!({ "TableName": "simurgh" });
    database.delete_table(serde_json::from_value(table).unwrap()).unwrap();
    assert!(cause(store.ready().await).contains("ResourceNotFoundException"));
    store.ready().await.unwrap();
    store.put(first("a")).await.unwrap();
}
