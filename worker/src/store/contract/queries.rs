use super::{
    super::{Item, PAGE_BYTES, Query, item},
    Subject, all, fill, first, key, nth,
};

super::cases![
    a_range_holds_both_of_its_ends_in_order,
    a_descending_range_comes_from_its_end,
    a_range_stays_within_its_partition,
    an_empty_range_is_an_empty_page,
    sort_keys_are_in_the_order_of_their_bytes,
    a_limit_cuts_the_page_and_says_that_there_is_more,
    the_last_page_says_that_there_is_no_more,
    a_limit_of_nothing_reads_nothing,
    a_range_of_over_a_mebibyte_comes_in_pages,
];

fn numbers(items: &[Item]) -> Vec<usize> {
    items.iter().map(|item| item.key.sk.parse().unwrap()).collect()
}

fn between(pk: &str, from: usize, to: usize) -> Query {
    Query { from: nth(pk, from).sk, to: nth(pk, to).sk, ..all(pk) }
}

async fn a_range_holds_both_of_its_ends_in_order(store: Subject) {
    let items = fill(&store, "range", 10, "x").await;
    let page = store.query(between("range", 3, 6)).await.unwrap();
    assert_eq!((page.items.as_slice(), page.more), (&items[3..=6], false));
}

async fn a_descending_range_comes_from_its_end(store: Subject) {
    fill(&store, "descending", 10, "x").await;
    let query = Query { descending: true, ..between("descending", 3, 6) };
    let page = store.query(query.clone()).await.unwrap();
    assert_eq!((numbers(&page.items), page.more), (vec![6, 5, 4, 3], false));
    let page = store.query(Query { limit: 2, ..query }).await.unwrap();
    assert_eq!((numbers(&page.items), page.more), (vec![6, 5], true));
}

async fn a_range_stays_within_its_partition(store: Subject) {
    for pk in ["partition", "partition#", "partitio"] {
        fill(&store, pk, 1, "x").await;
    }
    let page = store.query(all("partition")).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].key, nth("partition", 0));
}

async fn an_empty_range_is_an_empty_page(store: Subject) {
    fill(&store, "empty", 3, "x").await;
    for query in [between("empty", 5, 9), between("empty", 2, 1), all("no such partition")] {
        let page = store.query(query).await.unwrap();
        assert_eq!((page.items.len(), page.more), (0, false));
    }
}

async fn sort_keys_are_in_the_order_of_their_bytes(store: Subject) {
    let sorted = ["!", "-", "0", "10", "9", "A", "Z", "_", "a", "a!", "a#", "ab", "z", "~"];
    for sk in sorted.iter().rev() {
        store.put(first(key("sorted", sk), "x")).await.unwrap();
    }
    let query = Query { from: "!".to_owned(), to: "~".to_owned(), ..all("sorted") };
    let page = store.query(query).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.key.sk.as_str()).collect::<Vec<_>>(), sorted);
}

async fn a_limit_cuts_the_page_and_says_that_there_is_more(store: Subject) {
    fill(&store, "limit", 10, "x").await;
    let page = store.query(Query { limit: 4, ..all("limit") }).await.unwrap();
    assert_eq!((numbers(&page.items), page.more), (vec![0, 1, 2, 3], true));
}

async fn the_last_page_says_that_there_is_no_more(store: Subject) {
    fill(&store, "last", 10, "x").await;
    let page = store.query(Query { limit: 4, ..between("last", 8, 9999) }).await.unwrap();
    assert_eq!((numbers(&page.items), page.more), (vec![8, 9], false));
}

async fn a_limit_of_nothing_reads_nothing(store: Subject) {
    fill(&store, "no limit", 1, "x").await;
    let page = store.query(Query { limit: 0, ..all("no limit") }).await.unwrap();
    assert_eq!((page.items.len(), page.more), (0, false));
}

async fn a_range_of_over_a_mebibyte_comes_in_pages(store: Subject) {
    let items = fill(&store, "mebibyte", 30, &"x".repeat(100_000)).await;
    for descending in [false, true] {
        let mut expected: Vec<usize> = (0..items.len()).collect();
        if descending {
            expected.reverse();
        }
        let (mut query, mut seen) = (Query { descending, ..all("mebibyte") }, Vec::new());
        loop {
            let page = store.query(query.clone()).await.unwrap();
            // Engines differ in whether the item that crosses the bound is in.
            assert!(page.items.iter().map(item::bytes).sum::<usize>() <= PAGE_BYTES + item::ITEM_BYTES);
            seen.extend(numbers(&page.items));
            if !page.more {
                break;
            }
            assert!(!page.items.is_empty(), "a page that leads nowhere");
            let last = seen[seen.len() - 1];
            match last.checked_sub(1) {
                Some(before) if descending => query.to = nth("mebibyte", before).sk,
                None if descending => break,
                _ => query.from = nth("mebibyte", last + 1).sk,
            }
        }
        assert_eq!(seen, expected);
    }
}
