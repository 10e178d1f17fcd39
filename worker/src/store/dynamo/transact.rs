//! Several items or none, by `TransactWriteItems`.

use aws_sdk_dynamodb::{
    error::BuildError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{Put, ReturnConsumedCapacity, TransactWriteItem},
};

use super::{
    super::{Expect, Item, StoreError, Write, item},
    DynamoStore, codec, consumed,
    error::{self, Cancelled},
    retry::{Tries, Try},
};

impl DynamoStore {
    pub(super) async fn write_all(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let expected: Vec<Expect> = writes.iter().map(|write| write.expect).collect();
        let items: Vec<Item> = writes.into_iter().map(item::written).collect();
        item::check_transaction(&items)?;
        let puts = items.iter().zip(expected).map(|(item, expect)| self.transact_put(item, expect));
        let puts: Vec<_> = puts
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::Unavailable(format!("TransactWriteItems: {error}")))?;
        // One token for all tries: a try whose answer was lost counts as this one's success.
        let token = self.env.uuid().to_string();
        let mut tries = Tries::new(&self.env);
        loop {
            match self.try_transact(&puts, &token).await {
                Try::Done(result) => return result,
                Try::Again(error) => tries.after(error).await?,
            }
        }
    }

    fn transact_put(&self, item: &Item, expect: Expect) -> Result<TransactWriteItem, BuildError> {
        let condition = codec::condition(expect);
        let put = Put::builder()
            .table_name(&self.config.table)
            .set_item(Some(codec::attributes(item)))
            .condition_expression(condition.expression)
            .set_expression_attribute_values(condition.values)
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    async fn try_transact(&self, puts: &[TransactWriteItem], token: &str) -> Try<()> {
        let answer = self
            .client
            .transact_write_items()
            .set_transact_items(Some(puts.to_vec()))
            .client_request_token(token)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let error = match answer {
            Ok(answer) => {
                let told = answer.consumed_capacity().iter();
                told.for_each(|of| self.metrics.consumed_writes(consumed(Some(of))));
                return Try::Done(Ok(()));
            }
            Err(error) => error,
        };
        let unavailable = || error::of("TransactWriteItems", &error);
        let Some(TransactWriteItemsError::TransactionCanceledException(cancel)) = error.as_service_error()
        else {
            return Try::Done(Err(unavailable()));
        };
        match error::cancelled(cancel.cancellation_reasons()) {
            Cancelled::Conflict => Try::Done(Err(StoreError::Conflict(None))),
            Cancelled::InTheWay => Try::Again(unavailable()),
            Cancelled::TooLarge => Try::Done(Err(StoreError::TooLarge)),
            Cancelled::Other => Try::Done(Err(unavailable())),
        }
    }
}
