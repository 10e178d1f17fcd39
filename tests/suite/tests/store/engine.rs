//! The local stack's engine.

use std::sync::Arc;

use simurgh_localstack::engine::{self, EngineError};
use simurgh_worker::store::{Consistency, Store, StoreError, contract};
use tokio_util::sync::CancellationToken;

use super::{first, key, ready};

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_in_memory_keeps_the_contract_of_a_store() {
    let engine = engine::start(None, CancellationToken::new()).await.unwrap();
    contract::run(Arc::new(ready(&engine.endpoint).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_on_a_file_keeps_the_contract_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine::start(Some(folder.path().to_owned()), CancellationToken::new()).await.unwrap();
    contract::run(Arc::new(ready(&engine.endpoint).await)).await;
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    // A folder that is not there yet.
    let data = Some(folder.path().join("data"));
    let shutdown = CancellationToken::new();
    let engine = engine::start(data.clone(), shutdown.clone()).await.unwrap();
    let written = ready(&engine.endpoint).await.put(first("a")).await.unwrap();
    shutdown.cancel();
    engine.stopped().await;

    let engine = engine::start(data, CancellationToken::new()).await.unwrap();
    let read = ready(&engine.endpoint).await.get(&key("a"), Consistency::Strong).await.unwrap();
    assert_eq!(read, Some(written));
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_free_again_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path().to_owned());
    let shutdown = CancellationToken::new();
    let engine = engine::start(data.clone(), shutdown.clone()).await.unwrap();
    let error = engine::start(data.clone(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, EngineError::InUse(_)), "{error}");
    assert!(error.to_string().contains("in use by another local stack"), "{error}");
    shutdown.cancel();
    engine.stopped().await;
    engine::start(data, CancellationToken::new()).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let data = file.join("data");
    let error = engine::start(Some(data.clone()), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, EngineError::Unusable(..)), "{error}");
    assert!(error.to_string().contains(data.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dynamodb.sqlite");
    let content = "this is not a database, and was not meant to be one. ".repeat(100);
    std::fs::write(&file, &content).unwrap();
    let data = Some(folder.path().to_owned());
    let error = engine::start(data, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, EngineError::Unreadable(..)), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
}

#[tokio::test]
async fn a_store_whose_engine_has_ended_is_unavailable() {
    let shutdown = CancellationToken::new();
    let engine = engine::start(None, shutdown.clone()).await.unwrap();
    let store = ready(&engine.endpoint).await;
    shutdown.cancel();
    engine.stopped().await;
    assert!(matches!(store.put(first("a")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.ready().await, Err(StoreError::Unavailable(_))));
}
