//! Many items by `BatchGetItem`: 100 keys a request at most, and 16 MB an answer.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};

use super::{
    super::{Consistency, Item, Key, StoreError},
    DynamoStore, codec, consumed, error,
    gather::{Found, KEYS},
    retry::{Tries, Try},
};

/// What is asked for still, and what has come.
#[derive(Default)]
struct Batch {
    keys: Vec<codec::Attributes>,
    found: BTreeMap<Key, Item>,
    /// What is wrong with an item that has come.
    unreadable: Option<StoreError>,
}

impl DynamoStore {
    /// Several distinct keys by one request.
    pub(super) async fn read_together(
        &self,
        keys: Vec<Key>,
        consistency: Consistency,
    ) -> Result<Found, StoreError> {
        let mut batch = Batch { keys: keys.iter().map(codec::key_attributes).collect(), ..Batch::default() };
        if let Try::Done(result) = self.try_batch(&mut batch, consistency).await {
            result?;
        }
        if batch.unreadable.is_some() {
            // Only who asked for it is to meet that.
            return Ok(Found { items: Vec::new(), left: keys });
        }
        let left = batch.keys.into_iter().filter_map(codec::key).collect();
        Ok(Found { items: batch.found.into_values().collect(), left })
    }

    pub(super) async fn read_batches(
        &self,
        keys: &[Key],
        consistency: Consistency,
    ) -> Result<Vec<Item>, StoreError> {
        // A request may not name a key twice.
        let distinct: Vec<&Key> = keys.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let mut batch = Batch::default();
        for part in distinct.chunks(KEYS) {
            batch.keys = part.iter().map(|key| codec::key_attributes(key)).collect();
            let mut tries = Tries::new(&self.env);
            loop {
                match self.try_batch(&mut batch, consistency).await {
                    Try::Done(result) => break result?,
                    Try::Again(error) => tries.after(error).await?,
                }
            }
        }
        match batch.unreadable {
            Some(error) => Err(error),
            None => Ok(keys.iter().filter_map(|key| batch.found.get(key)).cloned().collect()),
        }
    }

    /// Reads as much of the batch as one answer holds. What is left out, for its size or for a throttle, stays in the
    /// batch.
    async fn try_batch(&self, batch: &mut Batch, consistency: Consistency) -> Try<()> {
        let request = KeysAndAttributes::builder()
            .set_keys(Some(batch.keys.clone()))
            .consistent_read(consistency == Consistency::Strong)
            .build();
        let request = match request {
            Ok(request) => request,
            Err(error) => return Try::Done(Err(StoreError::Unavailable(error.to_string()))),
        };
        let answer = self
            .client
            .batch_get_item()
            .request_items(&self.config.table, request)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Try::Done(Err(error::of("BatchGetItem", &error))),
        };
        answer.consumed_capacity().iter().for_each(|of| self.metrics.consumed_reads(consumed(Some(of))));
        for attributes in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
            match codec::item(attributes) {
                Ok(item) => drop(batch.found.insert(item.key.clone(), item)),
                Err(error) => batch.unreadable = Some(error),
            }
        }
        let left = answer.unprocessed_keys.into_iter().flatten();
        batch.keys = left.flat_map(|(_, keys)| keys.keys).collect();
        if batch.keys.is_empty() {
            Try::Done(Ok(()))
        } else {
            self.metrics.throttled("BatchGetItem");
            Try::Again(StoreError::Unavailable("BatchGetItem: some keys stay unprocessed".to_owned()))
        }
    }
}
