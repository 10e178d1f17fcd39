use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{sync::Semaphore, time::sleep};
use tokio_util::task::TaskTracker;

use super::*;

/// How long gateways wait.
const DEADLINE: Duration = Duration::from_millis(2_500);

fn places() -> Arc<Concurrency> {
    let gauge = IntGauge::new("places", "of a test").unwrap();
    Concurrency::new(Env::seeded(1), gauge)
}

fn limit(places: &Concurrency) -> f64 {
    places.lock().limit
}

/// A CPU that runs one command at a time for two milliseconds each, in turn; two of those make a command.
async fn command(cpu: &Semaphore) {
    for _ in 0..2 {
        let _running = cpu.acquire().await.unwrap();
        sleep(Duration::from_millis(2)).await;
    }
}

/// How many of the commands that come every `every` for 60 s are done in time.
async fn done_in_time(places: Option<Arc<Concurrency>>, every: Duration) -> usize {
    let (cpu, done, tasks) = (Arc::new(Semaphore::new(1)), Arc::new(AtomicUsize::new(0)), TaskTracker::new());
    let room = Arc::new(Semaphore::new(1_024));
    let env = Env::seeded(1);
    let until = env.instant() + Duration::from_secs(60);
    while env.instant() < until {
        if let Ok(held) = Arc::clone(&room).try_acquire_owned() {
            let (places, cpu, done) = (places.clone(), Arc::clone(&cpu), Arc::clone(&done));
            tasks.spawn(timeout(DEADLINE, async move {
                let _held = held;
                let place = match &places {
                    Some(places) => Some(places.place(Lane::Coming, DEADLINE).await?),
                    None => None,
                };
                command(&cpu).await;
                drop(place);
                done.fetch_add(1, Ordering::Relaxed);
                Some(())
            }));
        }
        sleep(every).await;
    }
    tasks.close();
    tasks.wait().await;
    done.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_can_do_is_done_however_much_there_is() {
    // 250 a second are possible, and a thousand come.
    let every = Duration::from_millis(1);
    let all_at_once = done_in_time(None, every).await;
    assert!(all_at_once < 5_000, "too much at once is what there is a limit for: {all_at_once}");
    let limited = done_in_time(Some(places()), every).await;
    assert!(limited > 14_000, "{limited} of 15,000");
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_no_overload() {
    let (places, tasks) = (places(), TaskTracker::new());
    for _ in 0..500 {
        let places = Arc::clone(&places);
        tasks.spawn(async move {
            let place = places.place(Lane::Doing, DEADLINE).await;
            sleep(Duration::from_millis(300)).await;
            drop(place);
        });
    }
    tasks.close();
    tasks.wait().await;
    assert!(limit(&places) > 250.0, "{}", limit(&places));
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_leaves_the_fewest_places_and_comes_back() {
    let places = places();
    for _ in 0..20 {
        let place = places.place(Lane::Doing, DEADLINE).await;
        sleep(SLOW + Duration::from_millis(1)).await;
        drop(place);
    }
    assert!((limit(&places) - LEAST).abs() < f64::EPSILON, "{}", limit(&places));
    for _ in 0..200 {
        let held = futures_util::future::join_all((0..16).map(|_| places.place(Lane::Doing, DEADLINE))).await;
        sleep(Duration::from_millis(10)).await;
        drop(held);
    }
    assert!(limit(&places) > 2.0 * LEAST, "{}", limit(&places));
}

#[tokio::test(start_paused = true)]
async fn who_is_there_goes_before_who_comes() {
    let places = places();
    let began = Env::seeded(1).instant();
    let mut coming =
        futures_util::future::join_all((0..32).map(|_| places.place(Lane::Coming, DEADLINE))).await;
    let doing = futures_util::future::join_all((0..32).map(|_| places.place(Lane::Doing, DEADLINE))).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "half of the places are for who comes, all for who is there");
    assert_eq!(coming.iter().chain(&doing).flatten().count(), 64);

    let order = std::sync::Mutex::new(Vec::new());
    let next = |lane, name: &'static str| {
        let (places, order) = (&places, &order);
        async move {
            let place = places.place(lane, DEADLINE).await;
            order.lock().unwrap().push(name);
            drop(place);
        }
    };
    let ending = async {
        sleep(Duration::from_millis(10)).await;
        coming.pop();
        sleep(Duration::from_millis(10)).await;
    };
    // One place is free then, and one more for that it was.
    tokio::join!(next(Lane::Coming, "comes"), next(Lane::Doing, "does"), next(Lane::Doing, "does"), ending);
    let order = order.into_inner().unwrap();
    assert_eq!((order[0], order.len()), ("does", 3));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_not_given_to_who_has_gone() {
    let places = places();
    let held = futures_util::future::join_all((0..64).map(|_| places.place(Lane::Doing, DEADLINE))).await;
    let began = Env::seeded(1).instant();
    assert!(places.place(Lane::Doing, DEADLINE).await.is_none());
    assert_eq!(began.elapsed(), DEADLINE - ENOUGH);
    assert!(places.place(Lane::Doing, DEADLINE).await.is_none());
    assert_eq!(places.lock().waiting.doing.0.len(), 1, "who has gone is forgotten once another comes");
    drop(held);
    let state = places.lock();
    assert_eq!((state.doing, state.waiting.doing.0.len()), (0, 0));
}
