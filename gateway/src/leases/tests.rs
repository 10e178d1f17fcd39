use simurgh_backplane::{
    Bus,
    memory::{MemoryBus, Outage},
};

use super::*;

/// Three gateways with leases, of which the first has read them all.
async fn three() -> (Arc<MemoryBus>, [Leases; 3]) {
    let env = Env::seeded(1);
    let bus = Arc::new(MemoryBus::new(env.clone()));
    bus.ensure_buckets().await.unwrap();
    let gateways: [Leases; 3] =
        std::array::from_fn(|_| Leases::new(Arc::clone(&bus) as SharedBus, env.fork()));
    for gateway in &gateways {
        gateway.take().await.unwrap();
    }
    assert!(gateways[0].look().await.unwrap().is_empty());
    (bus, gateways)
}

async fn outage(bus: &MemoryBus, lasts: Duration) {
    bus.disconnect();
    tokio::time::sleep(lasts).await;
    bus.reconnect(Outage::LosesKeys);
    bus.ensure_buckets().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_stood_before_an_outage_is_awaited_and_not_declared_dead_at_once() {
    let (bus, [here, back, dead]) = three().await;
    outage(&bus, Duration::from_secs(3)).await;
    here.take().await.unwrap();
    assert!(here.look().await.unwrap().is_empty(), "the others have not had time to come back");
    for other in [&back, &dead] {
        assert!(here.is_standing(&other.id()) && here.is_awaited(&other.id()));
        assert!(here.stands(&other.id()).await);
    }

    back.take().await.unwrap();
    assert!(here.look().await.unwrap().is_empty());
    // It takes its lease before it writes what was lost.
    assert!(here.is_standing(&back.id()) && here.is_awaited(&back.id()));

    tokio::time::sleep(COMING_BACK).await;
    assert_eq!(here.look().await.unwrap(), BTreeSet::from([dead.id()]));
    assert!(!here.is_awaited(&back.id()) && here.is_standing(&back.id()));
    assert!(!here.is_awaited(&dead.id()) && !here.is_standing(&dead.id()));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_awaited_under_a_name_that_no_lease_outlives() {
    let (bus, [here, back, dead]) = three().await;
    outage(&bus, LEASE).await;
    here.rename().await.unwrap();
    let gone = here.look().await.unwrap();
    assert_eq!(gone, BTreeSet::from([back.id(), dead.id()]));
}

#[tokio::test(start_paused = true)]
async fn without_an_outage_a_lease_that_is_missing_is_a_death() {
    let (_bus, [here, back, dead]) = three().await;
    dead.give_up().await;
    assert_eq!(here.look().await.unwrap(), BTreeSet::from([dead.id()]));
    assert!(here.is_standing(&back.id()));
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_began_and_ended_between_two_readings_counts() {
    let (bus, [here, back, _dead]) = three().await;
    for _ in 0..100 {
        outage(&bus, Duration::from_millis(1)).await;
    }
    assert!(here.look().await.unwrap().is_empty());
    assert!(here.is_awaited(&back.id()));
}
