use super::{
    super::{Consistency, Key},
    Subject, all, fill, key, nth, read,
};

super::cases![
    what_was_never_written_is_not_there,
    many_items_come_in_the_order_asked_without_the_missing,
    a_key_asked_for_twice_is_answered_twice,
    no_keys_give_no_items,
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
