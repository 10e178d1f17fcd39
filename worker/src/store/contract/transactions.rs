use tokio::task::JoinSet;

use super::{
    super::{Expect, StoreError},
    Subject, fill, first, nth, read, write,
};

super::cases![
    a_transaction_writes_all,
    a_transaction_of_nothing_succeeds,
    a_transaction_with_one_conflict_writes_nothing,
    a_transaction_takes_a_hundred_items_and_no_more,
    a_transaction_takes_4_mb_and_no_more,
    two_writes_of_one_key_in_a_transaction_conflict,
    of_transactions_at_once_on_the_same_items_one_wins,
];

async fn a_transaction_writes_all(store: Subject) {
    let there = fill(&store, "all", 1, "1").await.remove(0);
    let writes = vec![write(there.key.clone(), Expect::Version(1), "2"), first(nth("all", 1), "1")];
    store.transact(writes).await.unwrap();
    let items = [read(&store, &there.key).await.unwrap(), read(&store, &nth("all", 1)).await.unwrap()];
    assert_eq!(items.each_ref().map(|item| item.version), [2, 1]);
    assert_eq!(items.each_ref().map(|item| item.body.get()), [r#"{"text":"2"}"#, r#"{"text":"1"}"#]);
}

async fn a_transaction_of_nothing_succeeds(store: Subject) {
    store.transact(Vec::new()).await.unwrap();
}

async fn a_transaction_with_one_conflict_writes_nothing(store: Subject) {
    let there = fill(&store, "none", 2, "1").await;
    // The item is there; the version is another; nothing is there.
    let conflicts = [
        first(there[1].key.clone(), "2"),
        write(there[1].key.clone(), Expect::Version(2), "2"),
        write(nth("none", 7), Expect::Version(1), "2"),
    ];
    for conflict in conflicts {
        let writes =
            vec![first(nth("none", 9), "2"), write(there[0].key.clone(), Expect::Version(1), "2"), conflict];
        assert_eq!(store.transact(writes).await, Err(StoreError::Conflict(None)));
    }
    assert_eq!(read(&store, &nth("none", 9)).await, None);
    assert_eq!(read(&store, &there[0].key).await.as_ref(), there.first());
    assert_eq!(read(&store, &there[1].key).await.as_ref(), there.last());
}

async fn a_transaction_takes_a_hundred_items_and_no_more(store: Subject) {
    let writes = |from: usize, count: usize| {
        (from..from + count).map(|number| first(nth("hundred", number), "x")).collect::<Vec<_>>()
    };
    store.transact(writes(0, 100)).await.unwrap();
    assert!(read(&store, &nth("hundred", 99)).await.is_some());
    assert_eq!(store.transact(writes(200, 101)).await, Err(StoreError::TooLarge));
    assert_eq!(read(&store, &nth("hundred", 200)).await, None);
}

async fn a_transaction_takes_4_mb_and_no_more(store: Subject) {
    let text = "x".repeat(380 * 1024);
    let writes =
        |count: usize| (0..count).map(|number| first(nth("4 mb", number), &text)).collect::<Vec<_>>();
    assert_eq!(store.transact(writes(11)).await, Err(StoreError::TooLarge));
    assert_eq!(read(&store, &nth("4 mb", 0)).await, None);
    store.transact(writes(10)).await.unwrap();
    assert!(read(&store, &nth("4 mb", 9)).await.is_some());
}

async fn two_writes_of_one_key_in_a_transaction_conflict(store: Subject) {
    let key = nth("twice", 0);
    let writes = vec![first(key.clone(), "1"), write(key.clone(), Expect::Version(1), "2")];
    assert_eq!(store.transact(writes).await, Err(StoreError::Conflict(None)));
    assert_eq!(read(&store, &key).await, None);
}

async fn of_transactions_at_once_on_the_same_items_one_wins(store: Subject) {
    let there = fill(&store, "race of transactions", 2, "before").await;
    let mut tasks = JoinSet::new();
    for number in 0..10 {
        let (store, text) = (Subject::clone(&store), format!("task {number}"));
        let writes =
            there.iter().map(|item| write(item.key.clone(), Expect::Version(1), &text)).collect::<Vec<_>>();
        tasks.spawn(async move { store.transact(writes).await });
    }
    let results = tasks.join_all().await;
    let won = results.iter().filter(|result| result.is_ok()).count();
    // A store may say that it is overtaxed by the race; it may not let two win.
    let lost = results
        .iter()
        .filter(|result| matches!(result, Err(StoreError::Conflict(None) | StoreError::Unavailable(_))))
        .count();
    assert_eq!((won, lost), (1, 9), "{results:?}");
    let (one, other) =
        (read(&store, &there[0].key).await.unwrap(), read(&store, &there[1].key).await.unwrap());
    assert_eq!((one.version, other.version), (2, 2));
    assert_eq!(one.body, other.body);
}
