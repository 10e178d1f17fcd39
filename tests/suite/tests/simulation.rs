//! Users chat while everything goes wrong, in virtual time and from a seed; afterwards the guarantees of the contract
//! (section 3.4) must hold of what is stored and of every screen.
//!
//! `SIMURGH_TEST_SEED=N` plays one seed, `SIMURGH_TEST_SEEDS=N` as many, `SIMURGH_TEST_FAULTS=KIND,KIND` only these kinds of fault (`odds`
//! are those of single calls, `none` is none), `SIMURGH_TEST_SHOW=N` shows so many seeds that failed.

use std::{collections::BTreeMap, thread, time::Duration};

use simurgh_tests::sim::{
    checks::{TOLD, UNTOLD},
    scene::{Outcome, play},
};

/// Seeds that are played where nothing else is said.
const SEEDS: u64 = 2_000;

/// The same of scenes without faults.
const CALM_SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn one(seed: u64, calm: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(Box::pin(play(seed, calm)))
}

/// Plays seeds on all cores; the outcomes by seed.
fn all(from: u64, to: u64, calm: bool) -> BTreeMap<u64, Outcome> {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let share = |thread: u64| (from..to).filter(move |seed| seed % threads == thread);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|n| scope.spawn(move || share(n).map(|seed| (seed, one(seed, calm))).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a thread")).collect()
    })
}

fn summary(outcomes: &BTreeMap<u64, Outcome>) -> String {
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut sent, mut acknowledged, mut duplicates, mut changed) = (0, 0, 0, [0; 3]);
    let mut latencies: Vec<Duration> = Vec::new();
    for outcome in outcomes.values() {
        outcome.faults.iter().for_each(|(kind, count)| *faults.entry(kind).or_default() += count);
        sent += outcome.sent.0;
        acknowledged += outcome.sent.1;
        duplicates += outcome.duplicates;
        changed.iter_mut().zip(outcome.changed).for_each(|(sum, more)| *sum += more);
        latencies.extend(&outcome.latencies);
    }
    latencies.sort();
    let [edited, deleted, hidden] = changed;
    let at = |share: usize| latencies.get(latencies.len() * share / 1_000).copied().unwrap_or_default();
    format!(
        "{} seeds: {sent} messages, {acknowledged} acknowledged (p50 {:?}, p99 {:?}, longest {:?}), \
         {duplicates} acknowledged as duplicates, {edited} edited, {deleted} deleted, {hidden} hidden\nfaults: {faults:?}",
        outcomes.len(),
        at(500),
        at(990),
        latencies.last().copied().unwrap_or_default(),
    )
}

/// Plays these seeds, and says which failed.
fn judge(most: u64, calm: bool) {
    let (from, to) = match (number("SIMURGH_TEST_SEED"), number("SIMURGH_TEST_SEEDS")) {
        (Some(seed), _) => (seed, seed + 1),
        (None, seeds) => (0, seeds.unwrap_or(most)),
    };
    let outcomes = all(from, to, calm);
    println!("{}", summary(&outcomes));
    let failed: Vec<_> = outcomes.iter().filter(|(_, outcome)| !outcome.violations.is_empty()).collect();
    let shown = usize::try_from(number("SIMURGH_TEST_SHOW").unwrap_or(5)).unwrap_or(5);
    for (seed, outcome) in failed.iter().take(shown) {
        println!(
            "\nseed {seed} (SIMURGH_TEST_SEED={seed} cargo test --profile ci --workspace --test simulation -- --nocapture):"
        );
        outcome.violations.iter().take(8).for_each(|violation| println!("  {violation}"));
    }
    let changed = |kind: usize| outcomes.values().any(|outcome| outcome.changed[kind] > 0);
    assert!(outcomes.len() < 20 || (0..3).all(changed), "nobody edits, deletes or hides anything");
    // Push services are told as well as that can be done without waiting (contract section 6.1).
    let count = |kind: &str| outcomes.values().filter_map(|outcome| outcome.faults.get(kind)).sum::<u64>();
    assert!(outcomes.len() < 20 || 50 * count(UNTOLD) < count(TOLD), "too much was missed without a word");
    assert!(failed.is_empty(), "{} of {} seeds failed", failed.len(), outcomes.len());
}

#[test]
fn whatever_goes_wrong_the_guarantees_hold() {
    judge(SEEDS, false);
}

#[test]
fn where_nothing_goes_wrong_every_message_comes_at_once() {
    judge(CALM_SEEDS, true);
}
