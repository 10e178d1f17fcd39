//! What is done to a server, and which figures come of it.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use crate::{
    client::Run,
    crowd::{Connected, Crowd, Pace, Shape},
    http,
    process::{CpuSince, Process},
    report::{Figures, ms},
    traffic::{self, Outcome, Phase},
};

/// For how long memory is looked at after everyone has gone.
const AFTER: Duration = Duration::from_secs(30);
/// How often.
const LOOK: Duration = Duration::from_secs(1);

/// A started run: clients' settings and the server's processes.
pub struct Drive {
    pub run: Rc<Run>,
    pub processes: Vec<Process>,
    /// nats-server's, where it was started here.
    pub monitor: Option<SocketAddr>,
    pub pace: Pace,
    pub figures: Figures,
}

impl Drive {
    /// Makes the conversations, where the server has such, and connects everyone.
    ///
    /// # Errors
    /// Where either does not work.
    pub async fn connect(&mut self, shape: Shape) -> anyhow::Result<Crowd> {
        if self.run.target.secret.is_some() {
            let members = |index| index * shape.members..(index + 1) * shape.members;
            http::make_conversations(&self.run.target, shape.conversations, members, 0, &self.run.env)
                .await?;
        }
        self.crowd(shape, "").await
    }

    async fn crowd(&mut self, shape: Shape, prefix: &str) -> anyhow::Result<Crowd> {
        let cpu = CpuSince::now(&self.processes);
        let (crowd, connected) = Crowd::connect(&self.run, shape, self.pace).await?;
        let Connected { elapsed, times, failures } = connected;
        let sockets = shape.sockets() as f64;
        let mut add = |name: &str, value, unit| self.figures.add(format!("{prefix}{name}"), value, unit);
        add("sockets", sockets, "");
        add("connects and joins a second", sockets / elapsed.as_secs_f64(), "/s");
        add("joined after p50", ms(times.value_at_quantile(0.5)), "ms");
        add("joined after p99", ms(times.value_at_quantile(0.99)), "ms");
        add("failed tries", failures.values().sum::<u64>() as f64, "");
        for (name, seconds) in cpu.read() {
            add(&format!("CPU {name} a connect"), seconds * 1e3 / sockets, "ms");
        }
        for (failure, count) in failures {
            eprintln!("{count} tries failed: {failure}");
        }
        Ok(crowd)
    }

    fn memory(&self) -> Vec<(String, f64)> {
        self.processes.iter().map(|one| (one.name.clone(), one.memory())).collect()
    }

    /// Sockets that do nothing.
    pub async fn idle(&mut self, shape: Shape, hold: Duration) -> anyhow::Result<()> {
        let before = self.memory();
        let crowd = self.connect(shape).await?;
        let cpu = CpuSince::now(&self.processes);
        // A measure of time, not a wait for something.
        sleep(hold).await;
        for (name, seconds) in cpu.read() {
            self.figures.add(format!("CPU {name}, cores, idle"), seconds / hold.as_secs_f64(), "");
        }
        let stats = &self.run.stats;
        for (name, count) in
            [("states and diffs of presence", &stats.presence), ("user_joined and user_left", &stats.comings)]
        {
            self.figures.add(
                format!("{name}, frames a socket"),
                count.get() as f64 / shape.sockets() as f64,
                "",
            );
        }
        for ((name, before), (_, now)) in before.into_iter().zip(self.memory()) {
            self.figures.add(format!("memory {name} before"), before / 1e6, "MB");
            self.figures.add(format!("memory {name} a socket"), (now - before) / shape.sockets() as f64, "B");
        }
        self.lost_sockets()?;
        self.leave(crowd).await;
        Ok(())
    }

    /// Phases of messages, one rate after the other; with `until` each a quarter more than the last, as long as p99 of
    /// deliveries stays below so many milliseconds.
    ///
    /// # Errors
    /// Where nobody gets in, or sockets are lost.
    pub async fn messages(
        &mut self,
        shape: Shape,
        rates: &[f64],
        phase: Phase,
        until: Option<f64>,
    ) -> anyhow::Result<Vec<Outcome>> {
        let crowd = self.connect(shape).await?;
        let mut outcomes = Vec::new();
        for rate in rates {
            let before = self.published().await?;
            let outcome =
                traffic::run(&self.run, &crowd, Phase { rate: *rate, ..phase }, &self.processes).await;
            outcome.note(&format!("{rate}/s "), &mut self.figures);
            if let (Some(before), Some(after)) = (before, self.published().await?) {
                let each = (after - before) / outcome.messages.max(1.0);
                self.figures.add(format!("{rate}/s messages to nats-server a message"), each, "");
            }
            outcomes.push(outcome);
        }
        if let (Some(limit_ms), Some(last)) = (until, rates.last()) {
            let best = self.highest(&crowd, Phase { rate: *last, ..phase }, limit_ms).await;
            if let Some((rate, outcome)) = best {
                self.figures.add("highest rate", rate, "/s");
                outcome.note("highest: ", &mut self.figures);
            }
        }
        for (name, bytes) in self.memory() {
            self.figures.add(format!("memory {name} at the end"), bytes / 1e6, "MB");
        }
        self.lost_sockets()?;
        crowd.drop_all();
        Ok(outcomes)
    }

    /// Messages that nats-server has taken from its clients.
    async fn published(&self) -> anyhow::Result<Option<f64>> {
        let Some(monitor) = self.monitor else { return Ok(None) };
        let told: serde_json::Value = serde_json::from_slice(&http::get_once(monitor, "/varz").await?)?;
        told.get("in_msgs").and_then(serde_json::Value::as_f64).context("no count of messages").map(Some)
    }

    async fn highest(&mut self, crowd: &Crowd, first: Phase, limit_ms: f64) -> Option<(f64, Outcome)> {
        let mut best = None;
        let mut phase = first;
        loop {
            let outcome = traffic::run(&self.run, crowd, phase, &self.processes).await;
            eprintln!(
                "{:.0}/s: p99 {:.1} ms, {} faults",
                phase.rate,
                outcome.delivery_p99_ms,
                outcome.faults()
            );
            if !outcome.is_whole() || outcome.delivery_p99_ms > limit_ms {
                return best;
            }
            best = Some((phase.rate, outcome));
            phase.rate *= 1.25;
        }
    }

    /// Everyone connects, all drop at once, and come back.
    pub async fn storm(&mut self, shape: Shape) -> anyhow::Result<()> {
        let empty = self.memory();
        let crowd = self.connect(shape).await?;
        let full = self.memory();
        crowd.drop_all();
        let crowd = self.crowd(shape, "back: ").await?;
        for (((name, empty), (_, full)), (_, back)) in empty.into_iter().zip(full).zip(self.memory()) {
            self.figures.add(format!("memory {name} before"), empty / 1e6, "MB");
            self.figures.add(format!("memory {name} full"), full / 1e6, "MB");
            self.figures.add(format!("memory {name} back"), back / 1e6, "MB");
        }
        self.lost_sockets()?;
        self.leave(crowd).await;
        Ok(())
    }

    /// Messages while one in so many readers takes nothing; then those read on.
    pub async fn slow(&mut self, shape: Shape, phase: Phase, every: usize) -> anyhow::Result<()> {
        self.pace.small_every = Some(every);
        let crowd = self.connect(shape).await?;
        let stalled: Vec<_> = crowd.clients.iter().step_by(every.max(1)).cloned().collect();
        stalled.iter().for_each(|client| client.stalled.set(true));
        let run = Rc::clone(&self.run);
        // Whoever stalls reads on when everything has been sent.
        let (outcome, resumed) = tokio::join!(traffic::run(&run, &crowd, phase, &self.processes), async {
            sleep(Duration::from_secs_f64(phase.seconds)).await;
            let memory = self.memory();
            let healthy = ms(run.stats.delivery.borrow().value_at_quantile(0.99));
            stalled.iter().for_each(|client| client.resume());
            (memory, healthy)
        });
        let (memory, healthy) = resumed;
        self.figures.add("readers that stalled", stalled.len() as f64, "");
        self.figures.add("delivery p99 of the others", healthy, "ms");
        self.figures.add("all caught up after", outcome.elapsed_s - phase.seconds, "s");
        for (name, bytes) in memory {
            self.figures.add(format!("memory {name} in the stall"), bytes / 1e6, "MB");
        }
        outcome.note("", &mut self.figures);
        self.lost_sockets()?;
        crowd.drop_all();
        Ok(())
    }

    /// Everyone goes, and memory is looked at afterwards.
    async fn leave(&mut self, crowd: Crowd) {
        crowd.drop_all();
        let end = self.run.env.instant() + AFTER;
        let mut least = self.memory();
        while self.run.env.instant() < end {
            sleep(LOOK).await;
            for ((_, least), (_, now)) in least.iter_mut().zip(self.memory()) {
                *least = least.min(now);
            }
        }
        for (name, bytes) in least {
            self.figures.add(format!("memory {name} within 30 s after"), bytes / 1e6, "MB");
        }
    }

    pub(crate) fn lost_sockets(&self) -> anyhow::Result<()> {
        let lost = self.run.stats.lost_sockets.get();
        ensure!(lost == 0, "{lost} sockets or channels ended by themselves");
        Ok(())
    }
}
