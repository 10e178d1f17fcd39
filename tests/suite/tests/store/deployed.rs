//! A table that somebody else has made: the one that `infra/cloudformation/data.yaml` makes, on an emulator.

use std::{sync::Arc, time::Duration};

use simurgh_env::Env;
use simurgh_worker::store::{
    Store, contract,
    dynamo::{DynamoConfig, DynamoStore},
};

/// What the contract says of moto: it refuses items from 405,000 bytes on, DynamoDB from 409,600 bytes on.
const OF_MOTO: &str =
    r#"promises that the store does not keep: ["an_item_of_400_kb_fits_and_a_larger_one_is_refused"]"#;

/// `tests/templates` deploys the template and runs this against it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs SIMURGH_TEST_DEPLOYED, the address of a DynamoDB with the table: tests/run --only templates"]
async fn the_table_of_the_template_keeps_the_contract_of_a_store_but_for_the_largest_items() {
    let endpoint = std::env::var("SIMURGH_TEST_DEPLOYED").expect("SIMURGH_TEST_DEPLOYED is an address");
    let config = DynamoConfig { table: "simurgh".to_owned(), endpoint: Some(endpoint), create_table: false };
    let store =
        DynamoStore::connect_within(config, Env::system(), crate::metrics(), Duration::from_secs(30)).await;
    store.ready().await.unwrap();
    let ended = tokio::spawn(contract::run(Arc::new(store))).await.unwrap_err();
    let said = ended.into_panic().downcast::<String>().unwrap();
    assert_eq!(*said, OF_MOTO);
}
