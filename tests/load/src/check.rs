//! The run in CI: short, and judged by what a noisy machine disturbs little. Nothing here is an absolute time.
//!
//! It fails where a delivery was lost, repeated or out of order; where a message or a delivery costs so much CPU that
//! its ratio to the floor's in the same run is twice the recorded one; or where a socket takes more memory than the
//! recorded limit, which goes down with what was reached until it is the target (docs/performance.md).

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use simurgh_env::Env;

use crate::{
    crowd::{Pace, Shape},
    driving,
    process::Process,
    report::{Figures, table},
    scenarios::Drive,
    start::{Kind, Programs, SECRET, Started},
    target::Target,
    traffic::{Outcome, Phase},
};

/// Members of the conversation of the fan-out.
const MEMBERS: usize = 300;
/// Its messages a second.
const FANOUT_RATE: f64 = 100.0;
/// Conversations of the chat, of twenty each.
const CONVERSATIONS: usize = 20;
/// Its messages a second.
const CHAT_RATE: f64 = 150.0;
/// Seconds of each.
const SECONDS: f64 = 5.0;
/// Sockets that idle, in conversations of ten.
const IDLE: usize = 1_000;
/// How long they do before the memory is read.
const HOLD: Duration = Duration::from_secs(3);

/// What was measured once, on a machine at rest: `tests/load/recorded.json`.
#[derive(Debug, Deserialize)]
struct Recorded {
    /// The gateway's CPU a delivery in the fan-out, to the floor's.
    fanout_cpu_ratio: f64,
    /// The CPU of gateway and worker a message of the chat, to the floor's.
    chat_cpu_ratio: f64,
    /// Most bytes of the gateway's memory a socket.
    memory_a_socket_limit_bytes: f64,
}

/// Figures of one server.
struct Measured {
    fanout: Outcome,
    chat: Outcome,
    idle: Figures,
}

pub async fn run(programs: &Programs, recorded: &Path) -> anyhow::Result<()> {
    let file = File::open(recorded).with_context(|| format!("{} cannot be read", recorded.display()))?;
    let recorded: Recorded = serde_json::from_reader(file)?;
    let floor = measure(Kind::Floor, programs).await.context("the floor")?;
    let ours = measure(Kind::Cluster, programs).await.context("the cluster")?;

    let of_floor = |name: &str| name == "floor";
    let fanout = per_delivery(&ours.fanout, |name| name == "gateway") / per_delivery(&floor.fanout, of_floor);
    let chat = per_message(&ours.chat, |name| name == "gateway" || name == "worker")
        / per_message(&floor.chat, of_floor);
    let memory = ours.idle.get("memory gateway a socket").context("no memory was read")?;
    let mut figures = Figures::default();
    figures.add("fan-out: CPU a delivery, to the floor's", fanout, "");
    figures.add("chat: CPU a message, to the floor's", chat, "");
    figures.add("memory of the gateway a socket", memory, "B");
    println!("{}", table(&[("measured".to_owned(), figures)]));

    let mut wrong = Vec::new();
    for (server, outcome) in [
        ("floor, fan-out", &floor.fanout),
        ("floor, chat", &floor.chat),
        ("fan-out", &ours.fanout),
        ("chat", &ours.chat),
    ] {
        if !outcome.is_whole() {
            wrong.push(format!(
                "{server}: {} lost, {} repeated, {} out of order, {} refused, {} unanswered",
                outcome.missing, outcome.duplicates, outcome.reordered, outcome.refused, outcome.unanswered
            ));
        }
    }
    for (what, ratio, recorded) in
        [("fan-out", fanout, recorded.fanout_cpu_ratio), ("chat", chat, recorded.chat_cpu_ratio)]
    {
        if ratio.is_nan() || ratio > recorded * 2.0 {
            wrong.push(format!("{what}: {ratio:.2} times the floor's CPU; recorded are {recorded}"));
        }
    }
    let most = recorded.memory_a_socket_limit_bytes;
    if memory.is_nan() || memory > most {
        wrong.push(format!("memory: {memory:.0} bytes a socket, and {most} are the limit"));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

fn per_delivery(outcome: &Outcome, which: impl Fn(&str) -> bool) -> f64 {
    outcome.cpu_of(which) / outcome.deliveries
}

fn per_message(outcome: &Outcome, which: impl Fn(&str) -> bool) -> f64 {
    outcome.cpu_of(which) / outcome.messages
}

async fn measure(kind: Kind, programs: &Programs) -> anyhow::Result<Measured> {
    let env = Env::system();
    let started = Started::start(kind, programs, &env).await?;
    let shape = |conversations, members| Shape { conversations, members, user_topics: true };
    let phase = |rate| Phase { rate, seconds: SECONDS, bytes: 128 };
    // Memory first: what a process has used once it keeps.
    let mut drive = fresh(kind, &started, &env)?;
    let before: Vec<_> = memory(&drive.processes);
    let crowd = drive.connect(shape(IDLE / 10, 10)).await?;
    tokio::time::sleep(HOLD).await;
    let mut idle = Figures::default();
    for ((name, before), (_, now)) in before.into_iter().zip(memory(&drive.processes)) {
        idle.add(format!("memory {name} a socket"), (now - before) / IDLE as f64, "B");
    }
    crowd.drop_all();
    let mut drive = fresh(kind, &started, &env)?;
    let fanout = drive.messages(shape(1, MEMBERS), &[FANOUT_RATE], phase(0.0), None).await?;
    let mut drive = fresh(kind, &started, &env)?;
    let chat = drive.messages(shape(CONVERSATIONS, 20), &[CHAT_RATE], phase(0.0), None).await?;
    let first = |mut all: Vec<Outcome>| all.pop().context("no outcome");
    Ok(Measured { fanout: first(fanout)?, chat: first(chat)?, idle })
}

fn memory(processes: &[Process]) -> Vec<(String, f64)> {
    processes.iter().map(|one| (one.name.clone(), one.memory())).collect()
}

/// Users and conversations of their own.
fn fresh(kind: Kind, started: &Started, env: &Env) -> anyhow::Result<Drive> {
    let target = Target {
        address: started.address,
        secret: (!kind.is_floor()).then(|| SECRET.to_owned()),
        has_seq: true,
        params: "token={}".to_owned(),
        conversation_topic: "conversation:{}".to_owned(),
        user_topic: "user:{}".to_owned(),
        sources: 8,
        run: env.short_id(),
    };
    driving(target, started.processes.clone(), Pace { rate: None, at_once: 64, small_every: None })
}
