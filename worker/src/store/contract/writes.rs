use simurgh_protocol::Raw;
use tokio::task::JoinSet;

use super::{
    super::{Expect, StoreError, Write, item},
    Subject, first, key, read, seconds, write,
};

super::cases![
    a_first_write_has_version_one_and_is_read_back,
    a_first_write_where_something_is_conflicts_and_shows_it,
    a_rewrite_of_the_version_read_has_the_next,
    a_rewrite_of_an_old_version_conflicts_and_shows_the_new_one,
    a_rewrite_of_nothing_conflicts_and_shows_nothing,
    twenty_first_writes_at_once_have_one_winner,
    twenty_rewrites_at_once_have_one_winner,
    a_body_comes_back_byte_for_byte,
    an_expiry_comes_back_and_a_rewrite_without_one_clears_it,
    an_expiry_is_rounded_up_to_the_second,
    an_expired_item_that_is_still_there_counts,
    an_item_of_400_kb_fits_and_a_larger_one_is_refused,
];

async fn a_first_write_has_version_one_and_is_read_back(store: Subject) {
    let key = key("first", "a");
    let written = store.put(first(key.clone(), "hello")).await.unwrap();
    assert_eq!((written.version, written.body.get()), (1, r#"{"text":"hello"}"#));
    assert_eq!(written.key, key);
    assert_eq!(read(&store, &key).await, Some(written));
}

async fn a_first_write_where_something_is_conflicts_and_shows_it(store: Subject) {
    let key = key("again", "a");
    let there = store.put(first(key.clone(), "first")).await.unwrap();
    let error = store.put(first(key.clone(), "second")).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict(Some(Box::new(there.clone()))));
    assert_eq!(read(&store, &key).await, Some(there));
}

async fn a_rewrite_of_the_version_read_has_the_next(store: Subject) {
    let key = key("rewrite", "a");
    store.put(first(key.clone(), "1")).await.unwrap();
    for version in 1..=3 {
        let text = format!("{}", version + 1);
        let written = store.put(write(key.clone(), Expect::Version(version), &text)).await.unwrap();
        assert_eq!(written.version, version + 1);
        assert_eq!(read(&store, &key).await, Some(written));
    }
}

async fn a_rewrite_of_an_old_version_conflicts_and_shows_the_new_one(store: Subject) {
    let key = key("stale", "a");
    store.put(first(key.clone(), "1")).await.unwrap();
    let new = store.put(write(key.clone(), Expect::Version(1), "2")).await.unwrap();
    let error = store.put(write(key.clone(), Expect::Version(1), "late")).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict(Some(Box::new(new.clone()))));
    assert_eq!(read(&store, &key).await, Some(new));
}

async fn a_rewrite_of_nothing_conflicts_and_shows_nothing(store: Subject) {
    let key = key("nothing", "a");
    let error = store.put(write(key.clone(), Expect::Version(1), "2")).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict(None));
    assert_eq!(read(&store, &key).await, None);
}

async fn twenty_first_writes_at_once_have_one_winner(store: Subject) {
    let key = key("race", "first");
    one_winner(&store, |text| first(key.clone(), text)).await;
}

async fn twenty_rewrites_at_once_have_one_winner(store: Subject) {
    let key = key("race", "rewrite");
    store.put(first(key.clone(), "before")).await.unwrap();
    one_winner(&store, |text| write(key.clone(), Expect::Version(1), text)).await;
}

/// Twenty tasks write at once: one succeeds, and every other one is shown what that one wrote.
async fn one_winner(store: &Subject, write: impl Fn(&str) -> Write) {
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let (store, write) = (Subject::clone(store), write(&format!("task {number}")));
        tasks.spawn(async move { store.put(write).await });
    }
    let (mut winners, mut shown) = (Vec::new(), Vec::new());
    for result in tasks.join_all().await {
        match result {
            Ok(item) => winners.push(item),
            Err(StoreError::Conflict(Some(item))) => shown.push(*item),
            Err(error) => panic!("neither written nor in conflict: {error}"),
        }
    }
    assert_eq!((winners.len(), shown.len()), (1, 19));
    assert!(shown.iter().all(|item| *item == winners[0]), "{shown:?}");
    assert_eq!(read(store, &winners[0].key).await, winners.pop());
}

async fn a_body_comes_back_byte_for_byte(store: Subject) {
    let bodies = [
        r#"{"text":"سیمرغ 🐦 é e\u0301 \ud83d\udc26 \u0000 \\ \" \/"}"#,
        "{ \"b\" : 1.0, \"a\":\t1e2,\n \"a\": 12345678901234567890123456789012345678901234567890 }",
        "{}",
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let body = Raw::from_string(body.to_owned()).unwrap();
        let write = Write { body: body.clone(), ..first(super::nth("bytes", number), "") };
        let written = store.put(write).await.unwrap();
        assert_eq!(written.body.get(), body.get());
        assert_eq!(read(&store, &written.key).await.unwrap().body.get(), body.get());
    }
}

async fn an_expiry_comes_back_and_a_rewrite_without_one_clears_it(store: Subject) {
    let key = key("expiry", "a");
    // The year 2100: the store must not forget it meanwhile.
    let expires_at = Some(seconds(4_102_444_800));
    store.put(Write { expires_at, ..first(key.clone(), "1") }).await.unwrap();
    assert_eq!(read(&store, &key).await.unwrap().expires_at, expires_at);
    store.put(write(key.clone(), Expect::Version(1), "2")).await.unwrap();
    assert_eq!(read(&store, &key).await.unwrap().expires_at, None);
}

async fn an_expiry_is_rounded_up_to_the_second(store: Subject) {
    let key = key("expiry", "rounded");
    let expires_at = Some(simurgh_protocol::Timestamp::from_millis(4_102_444_800_001));
    let written = store.put(Write { expires_at, ..first(key.clone(), "1") }).await.unwrap();
    assert_eq!(written.expires_at, Some(seconds(4_102_444_801)));
    assert_eq!(read(&store, &key).await, Some(written));
}

async fn an_expired_item_that_is_still_there_counts(store: Subject) {
    let key = key("expiry", "past");
    // Over five years ago: DynamoDB never deletes what expired that long ago, a sweep cannot come in between.
    let expires_at = Some(seconds(1_000_000_000));
    let there = store.put(Write { expires_at, ..first(key.clone(), "1") }).await.unwrap();
    assert_eq!(read(&store, &key).await.as_ref(), Some(&there));
    let error = store.put(first(key, "2")).await.unwrap_err();
    assert_eq!(error, StoreError::Conflict(Some(Box::new(there))));
}

async fn an_item_of_400_kb_fits_and_a_larger_one_is_refused(store: Subject) {
    let of_size = |name: &str, bytes: usize| {
        let empty = item::written(first(key("large", name), ""));
        first(empty.key.clone(), &"x".repeat(bytes - item::bytes(&empty)))
    };
    let largest = store.put(of_size("fits", item::ITEM_BYTES)).await.unwrap();
    assert_eq!(read(&store, &largest.key).await, Some(largest));
    let over = of_size("over", item::ITEM_BYTES + 1);
    assert_eq!(store.put(over.clone()).await, Err(StoreError::TooLarge));
    assert_eq!(store.transact(vec![over.clone()]).await, Err(StoreError::TooLarge));
    assert_eq!(read(&store, &over.key).await, None);
}
