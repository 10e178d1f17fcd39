//! What messages cost on DynamoDB, in units by AWS's rules (`store::units`): the table of `docs/performance.md`. The bursts
//! that follow (head and read positions) are counted with them.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use simurgh_protocol::{ConversationId, UserId, envelope::Call};

use crate::{fixture::create, rig::Rig};

/// Longer than a burst waits, shorter than a tail is remembered.
const AFTER_THE_BURST: Duration = Duration::from_secs(2);
/// Bytes of content.
const SIZES: [usize; 3] = [128, 1_024, 4_096];

/// Units of reads and of writes.
type Units = (f64, f64);

/// A room in which alice and bob have just written, by each of so many workers.
async fn warm(workers: usize, seed: u64) -> Rig {
    let rig = Rig::new(workers, Duration::from_millis(5), seed).await;
    for who in ["alice", "bob"] {
        rig.send(0, who, who).await.unwrap();
    }
    for worker in 1..workers {
        rig.send(worker, "alice", &format!("warm{worker}")).await.unwrap();
    }
    tokio::time::sleep(AFTER_THE_BURST).await;
    rig
}

/// What it cost, with the burst behind it.
async fn cost(rig: &Rig, sends: impl Future<Output = ()>) -> Units {
    let units = || {
        let all = rig.workers.iter().map(|worker| worker.metrics.counted_units());
        all.fold((0.0, 0.0), |sum, units| (sum.0 + units.0, sum.1 + units.1))
    };
    let before = units();
    sends.await;
    tokio::time::sleep(AFTER_THE_BURST).await;
    let after = units();
    (after.0 - before.0, after.1 - before.1)
}

async fn alone(bytes: usize) -> Units {
    let rig = warm(1, 1).await;
    cost(&rig, async {
        rig.call(0, "alice", rig.text("n", &"x".repeat(bytes))).await.unwrap();
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_message_alone_costs_a_claim_a_slot_and_its_burst_and_one_read() {
    // A claim and a slot; then the head and the sender's position.
    for (bytes, slot) in SIZES.into_iter().zip([1.0, 2.0, 5.0]) {
        assert_eq!(alone(bytes).await, (1.0, 1.0 + slot + 2.0), "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_after_a_pause_costs_a_read_more() {
    let rig = warm(1, 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let units = cost(&rig, async {
        rig.send(0, "alice", "n").await.unwrap();
    });
    assert_eq!(units.await, (2.0, 4.0));
}

#[tokio::test(start_paused = true)]
async fn a_direct_message_costs_the_same_also_to_who_blocks_its_sender() {
    let mut rig = warm(1, 1).await;
    let direct = create(json!({"type": "direct", "member_ids": ["bob"]}));
    let (_, conversation) = rig.call(0, "alice", direct).await.unwrap();
    rig.enter(ConversationId::new(conversation["id"].as_str().unwrap()).unwrap()).await;
    for present in [false, true] {
        let other = UserId::new("bob").unwrap();
        rig.call(0, "alice", Call::SetBlock { user: None, other, present }).await.unwrap();
        rig.send(0, "bob", &format!("warm {present}")).await.unwrap();
        tokio::time::sleep(AFTER_THE_BURST).await;
        let units = cost(&rig, async {
            rig.send(0, "bob", &format!("n {present}")).await.unwrap();
        });
        assert_eq!(units.await, (1.0, 4.0), "{present}");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_together_share_a_slot_and_a_burst() {
    // The first goes alone; the other 16 wait for it. One read of the members for each slot.
    for (bytes, slots) in SIZES.into_iter().zip([1.0 + 5.0, 2.0 + 19.0, 5.0 + 67.0]) {
        let rig = warm(1, 1).await;
        let units = cost(&rig, async {
            let sends = (0..17).map(|n| rig.call(0, "alice", rig.text(&format!("n{n}"), &"x".repeat(bytes))));
            join_all(sends).await.into_iter().for_each(|sent| drop(sent.unwrap()));
        });
        assert_eq!(units.await, (2.0, 17.0 + slots + 2.0), "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_loses_a_slot_pays_for_it() {
    for (bytes, slot) in SIZES.into_iter().zip([1.0, 2.0, 5.0]) {
        let rig = warm(2, 3).await;
        let units = cost(&rig, async {
            let send = |worker, who| rig.call(worker, who, rig.text("n", &"x".repeat(bytes)));
            let (one, other) = tokio::join!(send(0, "alice"), send(1, "bob"));
            one.and(other).unwrap();
        });
        let (reads, writes) = units.await;
        // Two claims, two slots and one that was lost; the head and the positions, which two workers write.
        let least = 2.0 + 3.0 * slot + 3.0;
        assert!((least..=least + 4.0).contains(&writes), "{bytes}: {writes}");
        assert!((3.0..=12.0).contains(&reads), "{bytes}: {reads}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_costs_the_failed_claim_and_a_look() {
    for bytes in SIZES {
        let rig = warm(1, 1).await;
        let send = async || {
            rig.call(0, "alice", rig.text("n", &"x".repeat(bytes))).await.unwrap();
        };
        send().await;
        tokio::time::sleep(AFTER_THE_BURST).await;
        let page = if bytes < 4_000 { 1.0 } else { 2.0 };
        // The claim that is there already; the claim again, which notes where the message is. Read are the members, the
        // message, and for the head both logs' ends, as nobody knows who stored the last.
        let reads = 2.0 + 2.0 * page;
        assert_eq!(cost(&rig, send()).await, (reads, 2.0), "{bytes}");
        assert_eq!(cost(&rig, send()).await, (reads, 1.0), "{bytes}, once more");
    }
}
