//! DynamoDB: the store of production, and of the local stack by way of an engine that speaks its protocol.
//!
//! # Retries and time
//!
//! The SDK retries throttles, 5xx answers and broken connections; [`retry`] retries what only this store can judge.
//! Both have a bound and jitter, and every call ends within [`CALL_TIMEOUT`], so that a command's deadline of 2.5 s
//! holds. A try whose answer was lost may have written: the next one then conflicts with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    operation::put_item::PutItemError,
    types::{ConsumedCapacity, ReturnConsumedCapacity::Total, ReturnValuesOnConditionCheckFailure::AllOld},
};
use futures_util::future::try_join_all;
use simurgh_env::Env;

use self::{
    gather::{Gather, Outcome},
    retry::{Tries, Try},
    throttles::Throttles,
};
use super::{Consistency, Expect, Item, Key, Page, Query, Store, StoreError, Write, item, keys};
use crate::metrics::Metrics;

mod batch;
mod client;
mod codec;
mod error;
mod gather;
mod retry;
pub mod schema;
mod table;
mod throttles;
mod transact;

/// How long a call may take, retries included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Keys that are read at once as if each were read for itself.
const FEW: usize = 20;

/// Where the table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoConfig {
    /// The table's name.
    pub table: String,
    /// The address of a DynamoDB that is not AWS's, as `http://127.0.0.1:8000`.
    ///
    /// A plain `http` address gets credentials and region from the environment, or else made-up ones, and looks
    /// nowhere else. Anything else goes by the default chain of AWS's SDKs.
    pub endpoint: Option<String>,
    /// Whether `ready` creates the table where it is missing.
    pub create_table: bool,
}

/// A store in a table of DynamoDB.
pub struct DynamoStore {
    client: Client,
    config: DynamoConfig,
    env: Env,
    metrics: Arc<Metrics>,
    call_timeout: Duration,
    /// Whether the table was found as it should be, once.
    found: AtomicBool,
    /// Consistent reads that wait, and eventual ones.
    strong: Gather,
    eventual: Gather,
}

impl DynamoStore {
    /// A store that is not connected yet: [`Store::ready`] tells whether it can serve.
    pub async fn connect(config: DynamoConfig, env: Env, metrics: Arc<Metrics>) -> Self {
        Self::connect_within(config, env, metrics, CALL_TIMEOUT).await
    }

    /// As [`connect`](Self::connect), for calls that may take `call_timeout`: for tests on machines that are busy.
    pub async fn connect_within(
        config: DynamoConfig,
        env: Env,
        metrics: Arc<Metrics>,
        call_timeout: Duration,
    ) -> Self {
        let throttles = Throttles(Arc::clone(&metrics));
        let client = Box::pin(client::connect(config.endpoint.as_deref(), call_timeout, throttles)).await;
        Self {
            client,
            config,
            env,
            metrics,
            call_timeout,
            found: AtomicBool::new(false),
            strong: Gather::default(),
            eventual: Gather::default(),
        }
    }

    /// `call`, or `Unavailable` once it has taken its time.
    async fn bounded<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let timed_out = |_| Err(StoreError::Unavailable(format!("no answer within {:?}", self.call_timeout)));
        tokio::time::timeout(self.call_timeout, call).await.unwrap_or_else(timed_out)
    }

    /// Reads one item, with others or alone.
    async fn read(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        let gather = match consistency {
            Consistency::Strong => &self.strong,
            Consistency::Eventual => &self.eventual,
        };
        match gather.read(key, |keys| self.read_together(keys, consistency)).await {
            Outcome::Read(read) => read,
            Outcome::Alone => self.read_alone(key, consistency).await,
        }
    }

    async fn read_alone(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.config.table)
            .set_key(Some(codec::key_attributes(key)))
            .return_consumed_capacity(Total)
            .consistent_read(consistency == Consistency::Strong)
            .send()
            .await
            .map_err(|error| error::of("GetItem", &error))?;
        self.metrics.consumed_reads(consumed(answer.consumed_capacity()));
        answer.item.map(codec::item).transpose()
    }

    async fn try_put(&self, expect: Expect, item: &Item) -> Try<()> {
        let condition = codec::condition(expect);
        let answer = self
            .client
            .put_item()
            .table_name(&self.config.table)
            .set_item(Some(codec::attributes(item)))
            .condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .return_values_on_condition_check_failure(AllOld)
            .return_consumed_capacity(Total)
            .send()
            .await;
        let error = match answer {
            Ok(answer) => {
                self.metrics.consumed_writes(consumed(answer.consumed_capacity()));
                return Try::Done(Ok(()));
            }
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                let there = failed.item().map(|there| codec::item(there.clone())).transpose();
                Try::Done(there.and_then(|there| Err(StoreError::Conflict(there.map(Box::new)))))
            }
            // A transaction on the same item is under way. The SDK does not retry it.
            Some(PutItemError::TransactionConflictException(_)) => Try::Again(error::of("PutItem", &error)),
            _ => Try::Done(Err(error::of("PutItem", &error))),
        }
    }

    /// Asks for an item that is never there: a store that answers can serve.
    async fn probe(&self) -> Result<(), StoreError> {
        self.get(&keys::nowhere(), Consistency::Eventual).await.map(|_| ())
    }
}

/// The units that an answer tells of.
fn consumed(capacity: Option<&ConsumedCapacity>) -> Option<f64> {
    capacity.and_then(ConsumedCapacity::capacity_units)
}

#[async_trait]
impl Store for DynamoStore {
    async fn get(&self, key: &Key, consistency: Consistency) -> Result<Option<Item>, StoreError> {
        self.bounded(self.read(key, consistency)).await
    }

    async fn get_many(&self, keys: &[Key], consistency: Consistency) -> Result<Vec<Item>, StoreError> {
        if keys.len() > FEW {
            return self.bounded(self.read_batches(keys, consistency)).await;
        }
        let reads = try_join_all(keys.iter().map(|key| self.read(key, consistency)));
        Ok(self.bounded(reads).await?.into_iter().flatten().collect())
    }

    async fn put(&self, write: Write) -> Result<Item, StoreError> {
        let expect = write.expect;
        let item = item::written(write);
        item::check_size(&item)?;
        let tries = async {
            let mut tries = Tries::new(&self.env);
            loop {
                match self.try_put(expect, &item).await {
                    Try::Done(result) => return result,
                    Try::Again(error) => tries.after(error).await?,
                }
            }
        };
        self.bounded(tries).await?;
        Ok(item)
    }

    async fn transact(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.bounded(self.write_all(writes)).await
    }

    async fn query(&self, query: Query) -> Result<Page, StoreError> {
        if query.is_empty() {
            return Ok(Page::default());
        }
        let request = self
            .client
            .query()
            .table_name(&self.config.table)
            .key_condition_expression(codec::RANGE)
            .set_expression_attribute_values(Some(codec::range(&query)))
            .return_consumed_capacity(Total)
            .scan_index_forward(!query.descending)
            // Beyond the type's bounds there is no limit but the page's.
            .set_limit(i32::try_from(query.limit).ok())
            .consistent_read(query.consistency == Consistency::Strong);
        let answer =
            self.bounded(async { request.send().await.map_err(|error| error::of("Query", &error)) }).await?;
        self.metrics.consumed_reads(consumed(answer.consumed_capacity()));
        let items = answer.items.unwrap_or_default().into_iter().map(codec::item);
        Ok(Page { items: items.collect::<Result<_, _>>()?, more: answer.last_evaluated_key.is_some() })
    }

    async fn ready(&self) -> Result<(), StoreError> {
        if self.found.load(Ordering::Relaxed) {
            let answer = self.probe().await;
            // It may have been deleted: the next call looks again.
            self.found.store(answer.is_ok(), Ordering::Relaxed);
            return answer;
        }
        Box::pin(table::ensure(&self.client, &self.config, &self.env)).await?;
        self.found.store(true, Ordering::Relaxed);
        Ok(())
    }
}
