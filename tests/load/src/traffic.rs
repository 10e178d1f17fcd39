//! Messages at a rate, whatever the server does with them: each is due at its time, and is measured from then.

use std::{rc::Rc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    client::Run,
    crowd::{Crowd, due},
    process::{CpuSince, Process},
    report::{Figures, ms},
    stats::record,
};

/// How long the last deliveries may take.
const SETTLE: Duration = Duration::from_secs(20);

/// Messages of one rate.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// Messages a second, all conversations together.
    pub rate: f64,
    pub seconds: f64,
    /// Bytes of a message's content.
    pub bytes: usize,
}

/// What came of a phase.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub messages: f64,
    pub deliveries: f64,
    pub missing: f64,
    pub duplicates: f64,
    pub reordered: f64,
    pub refused: f64,
    pub unanswered: f64,
    pub elapsed_s: f64,
    pub delivery_p99_ms: f64,
    pub delivery_p50_ms: f64,
    pub ack_p50_ms: f64,
    pub ack_p95_ms: f64,
    pub ack_p99_ms: f64,
    pub lag_p99_ms: f64,
    pub notices: f64,
    /// CPU seconds of each process; the generator is the last.
    pub cpu: Vec<(String, f64)>,
}

/// Sends at the phase's rate, the conversations and in them the members in turn, and waits for what is under way.
pub async fn run(run: &Rc<Run>, crowd: &Crowd, phase: Phase, processes: &[Process]) -> Outcome {
    let stats = &run.stats;
    stats.clear();
    let cpu = CpuSince::now(processes);
    let began = run.env.instant();
    send(run, crowd, phase, began).await;
    let members = crowd.shape.members as u64;
    let all = async {
        stats.watched.set(true);
        while stats.acked.get() + stats.refused.get() < stats.sent.get()
            || stats.delivered.get() < stats.acked.get() * members
        {
            stats.progress.notified().await;
        }
    };
    // What has not come by then is counted as missing.
    let _ = timeout(SETTLE, all).await;
    stats.watched.set(false);
    let elapsed_s = began.elapsed().as_secs_f64();
    outcome(run, members, elapsed_s, cpu.read())
}

async fn send(run: &Rc<Run>, crowd: &Crowd, phase: Phase, began: Instant) {
    let total = (phase.rate * phase.seconds) as u64;
    let (conversations, members) = (crowd.shape.conversations as u64, crowd.shape.members as u64);
    for index in 0..total {
        let at = due(began, index, phase.rate);
        if at > run.env.instant() {
            sleep_until(at).await;
        } else if index.is_multiple_of(64) {
            // Behind its time it still lets the readers read.
            tokio::task::yield_now().await;
        }
        record(&run.stats.lag, run.now_us().saturating_sub(run.us(at)));
        let conversation = usize::try_from(index % conversations).unwrap_or(0);
        let member = usize::try_from(index / conversations % members).unwrap_or(0);
        // Whoever stalls does not write either.
        let mut from = (0..crowd.shape.members).map(|step| (member + step) % crowd.shape.members);
        let writer =
            from.find_map(|at| crowd.member(conversation, at).filter(|client| !client.stalled.get()));
        if let Some(client) = writer {
            client.push(run, run.us(at), phase.bytes);
        }
    }
}

fn outcome(run: &Run, members: u64, elapsed_s: f64, cpu: Vec<(String, f64)>) -> Outcome {
    let stats = &run.stats;
    let quantile = |histogram: &std::cell::RefCell<hdrhistogram::Histogram<u64>>, at| {
        ms(histogram.borrow().value_at_quantile(at))
    };
    let faults = *stats.faults.borrow();
    let expected = stats.acked.get() * members;
    Outcome {
        messages: stats.acked.get() as f64,
        deliveries: stats.delivered.get() as f64,
        // A hole in a sequence shows at once, a tail that never came only in the count.
        missing: expected.saturating_sub(stats.delivered.get()).max(faults.missing) as f64,
        duplicates: faults.duplicates as f64,
        reordered: faults.reordered as f64,
        refused: stats.refused.get() as f64,
        unanswered: (stats.sent.get() - stats.acked.get() - stats.refused.get()) as f64,
        elapsed_s,
        delivery_p50_ms: quantile(&stats.delivery, 0.5),
        delivery_p99_ms: quantile(&stats.delivery, 0.99),
        ack_p50_ms: quantile(&stats.ack, 0.5),
        ack_p95_ms: quantile(&stats.ack, 0.95),
        ack_p99_ms: quantile(&stats.ack, 0.99),
        lag_p99_ms: quantile(&stats.lag, 0.99),
        notices: stats.notices.get() as f64,
        cpu,
    }
}

impl Outcome {
    /// Whether everything came, once and in order.
    pub fn is_whole(&self) -> bool {
        self.faults() + self.refused + self.unanswered == 0.0
    }

    /// Deliveries that were lost, repeated or out of order.
    pub fn faults(&self) -> f64 {
        self.missing + self.duplicates + self.reordered
    }

    /// CPU seconds of the processes whose name `which` takes.
    pub fn cpu_of(&self, which: impl Fn(&str) -> bool) -> f64 {
        self.cpu.iter().filter(|(name, _)| which(name)).map(|(_, seconds)| seconds).sum()
    }

    /// Adds what is worth a line, each name behind `prefix`.
    pub fn note(&self, prefix: &str, figures: &mut Figures) {
        let mut add = |name: &str, value: f64, unit| figures.add(format!("{prefix}{name}"), value, unit);
        add("messages", self.messages, "");
        add("deliveries", self.deliveries, "");
        add("deliveries a second", self.deliveries / self.elapsed_s, "/s");
        add("lost", self.missing, "");
        add("duplicates", self.duplicates, "");
        add("out of order", self.reordered, "");
        add("refused or unanswered", self.refused + self.unanswered, "");
        add("delivery p50", self.delivery_p50_ms, "ms");
        add("delivery p99", self.delivery_p99_ms, "ms");
        add("ack p50", self.ack_p50_ms, "ms");
        add("ack p95", self.ack_p95_ms, "ms");
        add("ack p99", self.ack_p99_ms, "ms");
        add("generator late p99", self.lag_p99_ms, "ms");
        if self.notices > 0.0 {
            add("notices on user topics", self.notices, "");
        }
        for (name, seconds) in &self.cpu {
            add(&format!("CPU {name} a message"), seconds * 1e3 / self.messages.max(1.0), "ms");
        }
        for (name, seconds) in &self.cpu {
            add(&format!("CPU {name} a delivery"), seconds * 1e6 / self.deliveries.max(1.0), "us");
            add(&format!("CPU {name}, cores"), seconds / self.elapsed_s, "");
        }
    }
}
