//! Whether the process can serve: what `/readyz` tells the balancer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::IntCounter;

/// How long a process may be cut off from the backplane before it counts as failed (contract section 6).
pub const BACKPLANE_GRACE: Duration = Duration::from_secs(10);

/// The named parts that must all work, and whether the process drains. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    parts: watch::Sender<Parts>,
    draining: AtomicBool,
}

type Parts = BTreeMap<&'static str, Part>;

#[derive(Debug)]
struct Part {
    /// Why it does not work; `None` while it does.
    fault: Option<String>,
    /// Whether it ever worked: a start that goes well is no news.
    worked: bool,
}

/// The body of `/readyz`: `{"status": "ready" | "unready" | "draining", "failing": {part: why}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In one word.
    pub status: Status,
    /// The parts that do not work, and why.
    pub failing: BTreeMap<&'static str, String>,
}

/// A [`Report`] in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It can serve.
    Ready,
    /// A part does not work.
    Unready,
    /// It was told to stop.
    Draining,
}

impl Readiness {
    /// Ready, with no parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part, which counts as failing until its handle says otherwise.
    #[must_use]
    pub fn part(&self, name: &'static str) -> PartHandle {
        self.0.parts.send_modify(|parts| {
            parts.insert(name, Part { fault: Some("starting".to_owned()), worked: false });
        });
        PartHandle { readiness: self.clone(), name }
    }

    /// From now on `/readyz` says 503, so that the balancer sends new sockets elsewhere. There is no way back.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether [`Readiness::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Whether every part works, draining or not.
    #[must_use]
    pub fn parts_work(&self) -> bool {
        all_work(&self.0.parts.borrow())
    }

    /// Returns once every part works.
    pub async fn wait(&self) {
        // The sender is ours, so it cannot be gone.
        let _ = self.0.parts.subscribe().wait_for(all_work).await;
    }

    /// What `/readyz` says.
    #[must_use]
    pub fn report(&self) -> Report {
        let failing: BTreeMap<_, _> = self
            .0
            .parts
            .borrow()
            .iter()
            .filter_map(|(name, part)| part.fault.clone().map(|fault| (*name, fault)))
            .collect();
        let status = match (self.is_draining(), failing.is_empty()) {
            (true, _) => Status::Draining,
            (false, true) => Status::Ready,
            (false, false) => Status::Unready,
        };
        Report { status, failing }
    }
}

fn all_work(parts: &Parts) -> bool {
    parts.values().all(|part| part.fault.is_none())
}

/// One part's side of a [`Readiness`].
#[derive(Clone, Debug)]
pub struct PartHandle {
    readiness: Readiness,
    name: &'static str,
}

impl PartHandle {
    /// The part works.
    pub fn works(&self) {
        self.set(None);
    }

    /// The part does not work; `why` goes into `/readyz`, so it must hold no secret.
    pub fn fails(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, fault: Option<String>) {
        self.readiness.0.parts.send_if_modified(|parts| {
            let Some(part) = parts.get_mut(self.name) else { return false };
            match (&part.fault, &fault) {
                (Some(_), None) if part.worked => tracing::info!(part = self.name, "works again"),
                (None, Some(fault)) => tracing::warn!(part = self.name, %fault, "does not work: not ready"),
                _ => {}
            }
            let changed = part.fault != fault;
            part.worked |= fault.is_none();
            part.fault = fault;
            changed
        });
    }
}

/// Keeps the part `backplane` in step with the connection until `shutdown`: it works from the first connection on, and
/// fails once it was cut off for [`BACKPLANE_GRACE`]. Each later connection counts in `reconnects`; of several within a
/// moment, one.
pub async fn follow_backplane(
    part: PartHandle,
    mut connected: watch::Receiver<bool>,
    reconnects: IntCounter,
    shutdown: CancellationToken,
) {
    let follow = async {
        while connected.wait_for(|up| *up).await.is_ok() {
            part.works();
            loop {
                if connected.wait_for(|up| !*up).await.is_err() {
                    return;
                }
                if timeout(BACKPLANE_GRACE, connected.wait_for(|up| *up)).await.is_err() {
                    part.fails(format!("cut off for {} s", BACKPLANE_GRACE.as_secs()));
                    if connected.wait_for(|up| *up).await.is_ok() {
                        reconnects.inc();
                    }
                    break;
                }
                reconnects.inc();
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = follow => part.fails("closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_part_works() {
        let readiness = Readiness::new();
        assert_eq!(readiness.report().status, Status::Ready);
        let (store, backplane) = (readiness.part("store"), readiness.part("backplane"));
        backplane.works();
        store.fails("no table");
        let json = serde_json::to_value(readiness.report()).unwrap();
        assert_eq!(json, serde_json::json!({"status": "unready", "failing": {"store": "no table"}}));
        store.works();
        assert_eq!(readiness.report().status, Status::Ready);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_the_last_part_works() {
        let readiness = Readiness::new();
        let (store, backplane) = (readiness.part("store"), readiness.part("backplane"));
        store.works();
        let early = tokio::time::timeout(Duration::from_secs(1), readiness.wait()).await;
        assert!(early.is_err());
        backplane.works();
        readiness.wait().await;
    }

    #[test]
    fn draining_is_not_ready_though_every_part_works() {
        let readiness = Readiness::new();
        readiness.drain();
        assert_eq!(readiness.report().status, Status::Draining);
        assert!(readiness.parts_work());
    }

    #[tokio::test(start_paused = true)]
    async fn the_backplane_fails_after_ten_seconds_and_works_again_at_once() {
        let readiness = Readiness::new();
        let (up, connected) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let reconnects = IntCounter::new("reconnects", "Reconnects.").unwrap();
        let part = readiness.part("backplane");
        let task = tokio::spawn(follow_backplane(part, connected, reconnects.clone(), shutdown.clone()));
        let settle = || tokio::time::sleep(Duration::from_millis(1));
        settle().await;
        assert!(!readiness.parts_work(), "not before the first connection");

        up.send_replace(true);
        settle().await;
        assert!(readiness.parts_work());

        for (cut_off_ms, works) in [(9_000, true), (11_000, false)] {
            up.send_replace(false);
            tokio::time::sleep(Duration::from_millis(cut_off_ms)).await;
            assert_eq!(readiness.parts_work(), works, "after {cut_off_ms} ms");
            up.send_replace(true);
            settle().await;
            assert!(readiness.parts_work(), "after {cut_off_ms} ms and back");
        }
        assert_eq!(reconnects.get(), 2, "the first connection is none");
        shutdown.cancel();
        task.await.unwrap();
        assert!(readiness.parts_work(), "a shutdown is no fault");
    }
}
