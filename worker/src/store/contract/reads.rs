use futures_util::future::join_all;

use super::{
    super::{Consistency, Expect, Key},
    Subject, all, fill, key, nth, read, write,
};

super::cases![
    what_was_never_written_is_not_there,
    many_items_come_in_the_order_asked_without_the_missing,
    a_key_asked_for_twice_is_answered_twice,
    no_keys_give_no_items,
    reads_at_once_are_each_answered_for_themselves,
    reads_at_once_see_what_was_written_before,
    two_hundred_and_fifty_keys_are_read_in_pages,
    more_bytes_than_one_answer_holds_all_come,
    eventual_reads_answer,
    a_store_that_is_ready_stays_ready,
];

async fn what_was_never_written_is_not_there(store: Subject) {
    assert_eq!(read(&store, &key("never", "a")).await, None);
    assert_eq!(store.get_many(&[key("never", "a")], Consistency::Strong).await.unwrap(), []);
}

async fn many_items_come_in_the_order_asked_without_the_missing(store: Subject) {
    let items = fill(&store, "order", 4, "x").await;
    let keys = [3, 9, 0, 2, 8].map(|number| nth("order", number));
    let found = store.get_many(&keys, Consistency::Strong).await.unwrap();
    assert_eq!(found, [3, 0, 2].map(|number| items[number].clone()));
}

async fn a_key_asked_for_twice_is_answered_twice(store: Subject) {
    let items = fill(&store, "twice", 2, "x").await;
    let keys = [1, 0, 1, 9, 9].map(|number| nth("twice", number));
    let found = store.get_many(&keys, Consistency::Strong).await.unwrap();
    assert_eq!(found, [1, 0, 1].map(|number| items[number].clone()));
}

async fn no_keys_give_no_items(store: Subject) {
    assert_eq!(store.get_many(&[], Consistency::Strong).await.unwrap(), []);
}

async fn reads_at_once_are_each_answered_for_themselves(store: Subject) {
    let items = fill(&store, "at once", 70, "x").await;
    // Twice each, one that is missing between any two, and more than one request takes.
    let keys: Vec<Key> = (0..280).map(|number| nth("at once", number % 140)).collect();
    let found = join_all(keys.iter().map(|key| read(&store, key))).await;
    for (key, found) in keys.iter().zip(found) {
        assert_eq!(found.as_ref(), items.iter().find(|item| item.key == *key), "{key:?}");
    }
}

async fn reads_at_once_see_what_was_written_before(store: Subject) {
    let (store, counted) = (&store, 20);
    join_all((0..counted).map(|number| async move {
        for version in 1..=10 {
            let expect = if version == 1 { Expect::Absent } else { Expect::Version(version - 1) };
            let item = store.put(write(nth("seen", number), expect, &version.to_string())).await.unwrap();
            assert_eq!(read(store, &item.key).await, Some(item));
        }
    }))
    .await;
}

async fn two_hundred_and_fifty_keys_are_read_in_pages(store: Subject) {
    let items = fill(&store, "pages", 250, "x").await;
    let keys: Vec<Key> = items.iter().rev().map(|item| item.key.clone()).collect();
    let mut found = store.get_many(&keys, Consistency::Strong).await.unwrap();
    found.reverse();
    assert_eq!(found, items);
}

/// `BatchGetItem` answers with 16 MB at most and names the keys that it left out.
async fn more_bytes_than_one_answer_holds_all_come(store: Subject) {
    let items = fill(&store, "bytes of many", 44, &"x".repeat(390 * 1024)).await;
    let keys: Vec<Key> = items.iter().map(|item| item.key.clone()).collect();
    let found = store.get_many(&keys, Consistency::Strong).await.unwrap();
    assert!(found == items, "{} of {} came", found.len(), items.len());
}

async fn eventual_reads_answer(store: Subject) {
    let items = fill(&store, "eventual", 2, "x").await;
    let keys = [nth("eventual", 0), nth("eventual", 1)];
    // What they see may lag, so nothing more is promised than that they see nothing else.
    let one = store.get(&keys[0], Consistency::Eventual).await.unwrap();
    assert!(one.is_none_or(|item| item == items[0]));
    let many = store.get_many(&keys, Consistency::Eventual).await.unwrap();
    assert!(many.iter().all(|item| items.contains(item)));
    let mut query = all("eventual");
    query.consistency = Consistency::Eventual;
    assert!(store.query(query).await.unwrap().items.iter().all(|item| items.contains(item)));
}

async fn a_store_that_is_ready_stays_ready(store: Subject) {
    store.ready().await.unwrap();
    store.ready().await.unwrap();
}
