//! By lot: three workers, two of which die, on a store that loses writes and answers, and clients that repeat until
//! they are answered.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::{join, join_all};
use serde_json::Value;

use crate::{
    faults::Odds,
    rig::{MEMBERS, Rig},
};

const SENDS: usize = 40;
const SEEDS: u64 = 150;

/// Sends until it is answered, each time through a worker by lot, some of them as attempts of one request.
async fn insist(rig: &Rig, who: &str, name: &str) -> Value {
    let mut id = rig.env.uuid();
    for _ in 0..200 {
        let lot = rig.env.random_u64();
        let worker = usize::try_from(lot % 3).unwrap();
        match rig.attempt(worker, who, id, rig.text(name, name)).await {
            Ok((_, reply)) => return reply,
            Err(refusal) => assert_eq!(refusal.reason.as_str(), "unavailable", "{refusal}"),
        }
        if lot & 0x100 == 0 {
            id = rig.env.uuid();
        }
        tokio::time::sleep(rig.env.jitter(Duration::from_millis(50))).await;
    }
    panic!("{name} was never answered");
}

async fn run(seed: u64) -> Vec<String> {
    let mut rig = Rig::new(3, Duration::from_millis(20), seed).await;
    rig.store.odds(Odds { lost: 60, answer_lost: 60, repeated: 60 });
    let names: Vec<String> = (0..SENDS).map(|n| format!("m{n}")).collect();
    let rig_ref = &rig;
    let clients = names.iter().enumerate().map(|(n, name)| async move {
        tokio::time::sleep(rig_ref.env.jitter(Duration::from_millis(300))).await;
        // Every other name is sent twice at once.
        let once = insist(rig_ref, MEMBERS[n % 3], name);
        let twice =
            async { if n % 2 == 0 { Some(insist(rig_ref, MEMBERS[n % 3], name).await) } else { None } };
        join(once, twice).await
    });
    let deaths = async {
        for worker in 0..2 {
            tokio::time::sleep(rig_ref.env.jitter(Duration::from_millis(300))).await;
            rig_ref.workers[worker].stop();
        }
    };
    let (replies, ()) = join(join_all(clients), deaths).await;
    let log = rig.log().await;
    assert_eq!(log.len(), SENDS, "seed {seed}: each is stored once");
    for (name, (one, other)) in names.iter().zip(replies) {
        for reply in std::iter::once(one).chain(other) {
            let stored = &log[usize::try_from(reply["seq"].as_u64().unwrap()).unwrap() - 1];
            assert_eq!(
                (&stored.content, stored.id.to_string().as_str()),
                (name, reply["message_id"].as_str().unwrap())
            );
        }
    }
    let mut heard: BTreeMap<u64, usize> = BTreeMap::new();
    for seq in rig.heard_messages() {
        *heard.entry(seq).or_default() += 1;
    }
    assert!(heard.values().all(|times| *times == 1), "seed {seed}: users are told at most once");
    log.into_iter().map(|message| message.content).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_is_lost_each_message_is_stored_once_and_in_one_order() {
    for seed in 0..SEEDS {
        run(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_log() {
    assert_eq!(run(11).await, run(11).await);
}
