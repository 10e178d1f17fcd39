use super::*;
use crate::testing;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn rates(args: &[&str]) -> Rates {
    Rates::new(testing::settings(args).rates)
}

#[tokio::test(start_paused = true)]
async fn a_burst_passes_and_then_the_rate_holds() {
    let start = testing::now();
    let rates = UserRates::new(&testing::settings(&["--rate-messages=20:60"]).rates, start);
    for _ in 0..60 {
        assert_eq!(rates.check(RateClass::Messages, start), Ok(()));
    }
    assert_eq!(rates.check(RateClass::Messages, start), Err(Duration::from_millis(50)));
    let later = start + Duration::from_millis(30);
    assert_eq!(rates.check(RateClass::Messages, later), Err(Duration::from_millis(20)));
    assert_eq!(rates.check(RateClass::Messages, start + Duration::from_millis(50)), Ok(()));
    assert_eq!(rates.check(RateClass::Typing, start), Ok(()), "each class has its own bucket");
    for _ in 0..60 {
        assert_eq!(rates.check(RateClass::Messages, start + Duration::from_secs(4)), Ok(()), "full again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_zero_never_refuses() {
    let start = testing::now();
    let rates = UserRates::new(&testing::settings(&["--rate-joins=0"]).rates, start);
    for _ in 0..10_000 {
        assert_eq!(rates.check(RateClass::Joins, start), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_users_sockets_and_calls_share_buckets_and_other_users_have_theirs() {
    let start = testing::now();
    let rates = rates(&["--rate-typing=1:1"]);
    let socket = rates.of(&user("a"), start);
    assert_eq!(socket.check(RateClass::Typing, start), Ok(()));
    assert!(rates.of(&user("a"), start).check(RateClass::Typing, start).is_err());
    assert!(rates.of(&user("b"), start).check(RateClass::Typing, start).is_ok());
    drop(socket);
    assert!(
        rates.of(&user("a"), start).check(RateClass::Typing, start).is_err(),
        "a reconnect fills nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn full_buckets_that_nobody_holds_are_forgotten() {
    let start = testing::now();
    let rates = rates(&[]);
    let kept = rates.of(&user("socket"), start);
    let count = || lock(&rates.users).len();
    for number in 0..LOOKED_AT * 2 {
        let buckets = rates.of(&user(&format!("u{number}")), start);
        buckets.check(RateClass::Joins, start).unwrap();
    }
    rates.forget(start).await;
    assert_eq!(count(), LOOKED_AT * 2 + 1, "none is full yet");
    let later = start + Duration::from_secs(60);
    for user in ["a", "u1", "v"].map(user) {
        rates.of(&user, later).check(RateClass::Joins, later).unwrap();
    }
    rates.forget(later).await;
    assert_eq!(count(), 4, "of who did nothing lately only the socket's");
    assert!(Arc::ptr_eq(&kept, &rates.of(&user("socket"), later)));
}

#[test]
fn a_wait_is_told_in_whole_seconds() {
    for (ms, seconds) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (90_500, 91)] {
        assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds, "{ms} ms");
    }
    let refusal = exceeded(Duration::from_millis(1500));
    assert_eq!(
        serde_json::to_value(refusal).unwrap(),
        serde_json::json!({"reason": "rate_limit_exceeded", "message": "too often", "retry_after": 2})
    );
}

#[test]
fn a_users_buckets_are_small() {
    assert!(size_of::<UserRates>() <= 256, "{}", size_of::<UserRates>());
}
