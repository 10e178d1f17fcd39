//! Reads that wait for the processor together leave as one request.
//!
//! A request to DynamoDB costs this process far more than a key in it. Whoever reads first lets all run that are ready to,
//! then asks for its own key and those that came meanwhile. So an idle worker waits for nothing, and a busy one makes few
//! requests. Nobody depends on the one that asks: where it gives up, or its answer leaves a key out (DynamoDB throttles each
//! partition for itself), who waits for that key reads it alone.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::{sync::oneshot, task::yield_now};

use super::super::{Item, Key, StoreError};

/// Keys in one request, at most: `BatchGetItem` takes no more.
pub(super) const KEYS: usize = 100;

/// What a request of several keys came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The items that are there.
    pub(super) items: Vec<Item>,
    /// Keys that were not looked up.
    pub(super) left: Vec<Key>,
}

/// What came of a key.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// It was read, with others.
    Read(Result<Option<Item>, StoreError>),
    /// It is to be read alone.
    Alone,
}

type Waiting = (Key, oneshot::Sender<Outcome>);

/// Keys that wait for whoever was first.
#[derive(Debug, Default)]
pub(super) struct Gather(Mutex<Vec<Waiting>>);

/// Whoever is first, until it has taken what waits: where it gives up before, nobody waits any longer.
struct First<'a>(Option<&'a Gather>);

impl First<'_> {
    fn take(mut self) -> Vec<Waiting> {
        self.0.take().map(Gather::take).unwrap_or_default()
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.0.map(Gather::take);
    }
}

impl Gather {
    /// What came of `key`. `fetch` looks several distinct ones up.
    pub(super) async fn read<F>(&self, key: &Key, fetch: impl FnOnce(Vec<Key>) -> F) -> Outcome
    where
        F: Future<Output = Result<Found, StoreError>>,
    {
        let Some((place, outcome)) = self.wait(key) else { return Outcome::Alone };
        if place == 0 {
            let first = First(Some(self));
            yield_now().await;
            let waiting = first.take();
            // Alone, a read costs this process less by `GetItem`.
            if waiting.len() > 1 {
                answer(waiting, fetch).await;
            }
        }
        outcome.await.unwrap_or(Outcome::Alone)
    }

    /// A place among those that wait, and where what came of the key arrives; none where there is no place.
    fn wait(&self, key: &Key) -> Option<(usize, oneshot::Receiver<Outcome>)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = waiting.len();
        if place == KEYS {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        waiting.push((key.clone(), sender));
        Some((place, receiver))
    }

    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks up what is waited for, each key once, and says what came of it.
async fn answer<F>(waiting: Vec<Waiting>, fetch: impl FnOnce(Vec<Key>) -> F)
where
    F: Future<Output = Result<Found, StoreError>>,
{
    let mut asked: BTreeMap<Key, Vec<oneshot::Sender<Outcome>>> = BTreeMap::new();
    for (key, sender) in waiting {
        asked.entry(key).or_default().push(sender);
    }
    let found = fetch(asked.keys().cloned().collect()).await;
    let found = found.map(|Found { items, left }| {
        for key in left {
            asked.remove(&key);
        }
        items.into_iter().map(|item| (item.key.clone(), item)).collect::<BTreeMap<_, _>>()
    });
    for (key, senders) in asked {
        let item = found.as_ref().map(|items| items.get(&key).cloned()).map_err(StoreError::clone);
        for sender in senders {
            // Whoever waited may be gone.
            let _ = sender.send(Outcome::Read(item.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures_util::{future::join_all, poll};
    use simurgh_protocol::Raw;

    use super::*;

    fn key(name: &str) -> Key {
        Key { pk: name.to_owned(), sk: "s".to_owned() }
    }

    fn item(name: &str) -> Item {
        Item { key: key(name), version: 1, body: Raw::empty(), expires_at: None }
    }

    /// `a` is there, `b` is not, and `c` is not looked up.
    async fn abc(keys: Vec<Key>) -> Result<Found, StoreError> {
        assert_eq!(keys, [key("a"), key("b"), key("c")], "each once");
        Ok(Found { items: vec![item("a")], left: vec![key("c")] })
    }

    #[tokio::test]
    async fn what_waits_together_is_one_request() {
        let gather = Gather::default();
        let outcomes = join_all(["c", "a", "b", "a"].map(|name| {
            let gather = &gather;
            async move { gather.read(&key(name), abc).await }
        }))
        .await;
        let read = |item| Outcome::Read(Ok(item));
        assert_eq!(outcomes, [Outcome::Alone, read(Some(item("a"))), read(None), read(Some(item("a")))]);
    }

    #[tokio::test]
    async fn one_is_read_alone() {
        let never = |_| pending::<Result<Found, StoreError>>();
        assert_eq!(Gather::default().read(&key("a"), never).await, Outcome::Alone);
    }

    #[tokio::test]
    async fn an_error_is_everybodys() {
        let (gather, a, b) = (Gather::default(), key("a"), key("b"));
        let failed = || StoreError::Unavailable("gone".to_owned());
        let fetch = |_| async move { Err(failed()) };
        let (one, other) = tokio::join!(gather.read(&a, fetch), gather.read(&b, fetch));
        assert_eq!((one, other), (Outcome::Read(Err(failed())), Outcome::Read(Err(failed()))));
    }

    #[tokio::test]
    async fn nobody_waits_for_one_that_gave_up() {
        let (gather, a, b) = (Gather::default(), key("a"), key("b"));
        let never = |_| pending::<Result<Found, StoreError>>();
        let mut before = Box::pin(gather.read(&a, never));
        let mut waiting = Box::pin(gather.read(&b, never));
        assert!(poll!(&mut before).is_pending() && poll!(&mut waiting).is_pending());
        drop(before);
        assert_eq!(waiting.await, Outcome::Alone, "it had not asked yet");

        let mut asking = Box::pin(gather.read(&a, never));
        let mut waiting = Box::pin(gather.read(&b, never));
        assert!(poll!(&mut asking).is_pending() && poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
        assert!(poll!(&mut asking).is_pending() && poll!(&mut waiting).is_pending());
        drop(asking);
        assert_eq!(waiting.await, Outcome::Alone, "it was asking");
    }

    #[tokio::test]
    async fn no_more_wait_than_a_request_takes() {
        let (gather, requests) = (Gather::default(), AtomicUsize::new(0));
        let names: Vec<String> = (0..=KEYS).map(|number| number.to_string()).collect();
        let outcomes = join_all(names.iter().map(|name| async {
            let fetch = |keys: Vec<Key>| {
                requests.fetch_add(1, Ordering::Relaxed);
                assert_eq!(keys.len(), KEYS);
                async { Ok(Found::default()) }
            };
            let key = key(name);
            gather.read(&key, fetch).await
        }))
        .await;
        assert_eq!(requests.into_inner(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Alone).count(), 1);
    }
}
