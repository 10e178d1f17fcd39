//! `simurgh-load`: loads servers of Phoenix Channels and measures them beside the least that one can do (the floor).
//!
//! It is open loop: messages are due at their times whatever the server does, and latency counts from then. Every
//! delivery is checked for loss, repeats and order. The server's CPU and memory are read by process id, and the
//! generator's own CPU is shown, so that a reader sees who was the limit.

mod check;
mod client;
mod crowd;
mod floor;
mod frame;
mod growth;
mod http;
mod options;
mod process;
mod report;
mod scenarios;
mod start;
mod stats;
mod target;
mod traffic;
mod window;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use options::{Command, Options, Traffic};
use process::Process;
use report::Figures;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use simurgh_env::Env;
use start::{Kind, Programs, Started};
use target::Target;
use tokio::{runtime, task::LocalSet};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Run,
    crowd::{Pace, Shape},
    scenarios::Drive,
    traffic::Phase,
};

/// It gives back to the system what a wave of sockets has left, and takes less time than the system's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match start(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simurgh-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command) -> anyhow::Result<()> {
    raise_files()?;
    // Servers take the cores that there are; the generator one, so that it counts without locks.
    let serves = matches!(command, Command::Floor { .. } | Command::Engine);
    let mut builder =
        if serves { runtime::Builder::new_multi_thread() } else { runtime::Builder::new_current_thread() };
    let runtime = builder.enable_all().build()?;
    match command {
        Command::Floor { listen, mode } => runtime.block_on(floor::serve(listen, mode)),
        Command::Engine => runtime.block_on(engine()),
        Command::Serve { programs } => runtime.block_on(serve(&programs)),
        Command::Check { programs, recorded } => {
            LocalSet::new().block_on(&runtime, check::run(&programs, &recorded))
        }
        scenario => LocalSet::new().block_on(&runtime, drive(scenario)),
    }
}

/// As many open files as this process may have.
fn raise_files() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("the limit on open files")
}

async fn engine() -> anyhow::Result<()> {
    let never = CancellationToken::new();
    let engine = simurgh_localstack::engine::start(None, never).await?;
    println!("{}", engine.endpoint);
    engine.stopped().await;
    Ok(())
}

/// A cluster, until Ctrl-C; what is printed are the options that drive it.
async fn serve(programs: &Programs) -> anyhow::Result<()> {
    let started = Started::start(Kind::Cluster, programs, &Env::system()).await?;
    for address in [started.address].into_iter().chain(started.further.clone()) {
        print!("--server {address} --secret {}", start::SECRET);
        for Process { name, pid } in &started.processes {
            print!(" --pid {name}={pid}");
        }
        println!();
    }
    Ok(tokio::signal::ctrl_c().await?)
}

/// Runs a scenario on each server in turn and prints what came of it.
async fn drive(scenario: Command) -> anyhow::Result<()> {
    let (name, options) = match &scenario {
        Command::Idle { drive, .. } => ("idle", drive),
        Command::Fanout { drive, .. } => ("fanout", drive),
        Command::Chat { drive, .. } => ("chat", drive),
        Command::Log { drive, .. } => ("log", drive),
        Command::List { drive, .. } => ("list", drive),
        Command::Return { drive, .. } => ("return", drive),
        Command::Start { drive, .. } => ("start", drive),
        Command::Storm { drive, .. } => ("storm", drive),
        Command::Slow { drive, .. } => ("slow", drive),
        Command::Floor { .. } | Command::Serve { .. } | Command::Engine | Command::Check { .. } => {
            return Ok(());
        }
    };
    let mut columns = Vec::new();
    for server in &options.servers {
        eprintln!("{name}: {server}");
        let figures = one(&scenario, options, server).await.with_context(|| server.clone())?;
        columns.push((server.clone(), figures));
    }
    println!("{}", report::table(&columns));
    println!("{}", report::json_line(name, &columns));
    Ok(())
}

async fn one(scenario: &Command, options: &options::Drive, server: &str) -> anyhow::Result<Figures> {
    let env = Env::system();
    if let Command::Start { times, .. } = scenario {
        let kind = Kind::named(server).context("must be started here")?;
        return starts(kind, &options.programs, *times, &env).await;
    }
    let started = match Kind::named(server) {
        Some(kind) => Some((kind, Started::start(kind, &options.programs, &env).await?)),
        None => None,
    };
    let (address, processes, secret, has_seq) = match &started {
        Some((kind, started)) => {
            let secret = (!kind.is_floor()).then(|| start::SECRET.to_owned());
            (started.address, started.processes.clone(), secret, true)
        }
        None => {
            let address: SocketAddr = server.parse().context("must be a name or HOST:PORT")?;
            (address, options.pids.clone(), options.secret.clone(), options.secret.is_some())
        }
    };
    let target = Target {
        address,
        secret,
        has_seq,
        params: options.params.clone(),
        conversation_topic: options.conversation_topic.clone(),
        user_topic: options.user_topic.clone(),
        sources: options.sources,
        run: env.short_id(),
    };
    let pace = Pace { rate: options.connect_rate, at_once: options.at_once, small_every: None };
    let mut drive = driving(target, processes, pace)?;
    drive.monitor = started.as_ref().and_then(|(_, started)| started.monitor);
    let worker = started.as_ref().map(|(_, started)| started.worker);
    play(scenario, &mut drive, !options.no_user_topics, worker).await?;
    Ok(drive.figures)
}

/// How long a server takes until it serves, and what its processes take a while later.
async fn starts(kind: Kind, programs: &Programs, times: usize, env: &Env) -> anyhow::Result<Figures> {
    const IDLE: Duration = Duration::from_secs(3);
    let (mut figures, mut took) = (Figures::default(), Vec::new());
    for time in 1..=times {
        let started = Started::start(kind, programs, env).await?;
        took.push(started.last_took.as_secs_f64() * 1e3);
        if time == times {
            tokio::time::sleep(IDLE).await;
            for process in &started.processes {
                figures.add(format!("memory {} idle", process.name), process.memory() / 1e6, "MB");
            }
        }
    }
    took.sort_by(f64::total_cmp);
    figures.add("serves after, median", took.get(took.len() / 2).copied().unwrap_or_default(), "ms");
    figures.add("serves after, longest", took.last().copied().unwrap_or_default(), "ms");
    Ok(figures)
}

/// A run on a server, with nothing measured yet.
fn driving(target: Target, processes: Vec<Process>, pace: Pace) -> anyhow::Result<Drive> {
    Ok(Drive { run: Run::new(target)?, processes, monitor: None, pace, figures: Figures::default() })
}

async fn play(
    scenario: &Command,
    drive: &mut Drive,
    user_topics: bool,
    worker: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let shape = |conversations, members| Shape { conversations, members, user_topics };
    let phase = |traffic: &Traffic| Phase { rate: 0.0, seconds: traffic.seconds, bytes: traffic.bytes };
    match scenario {
        Command::Idle { sockets, members, hold, .. } => {
            drive.idle(shape(sockets / members, *members), Duration::from_secs_f64(*hold)).await
        }
        Command::Fanout { traffic, members, .. } => {
            drive.messages(shape(1, *members), &traffic.rates, phase(traffic), traffic.until_p99).await?;
            Ok(())
        }
        Command::Chat { traffic, conversations, members, besides, .. } => {
            let shape = shape(*conversations, *members);
            let beside = growth::besides(drive, *besides).await?;
            drive.messages(shape, &traffic.rates, phase(traffic), traffic.until_p99).await?;
            if let Some((idle, crowd)) = beside {
                ensure!(idle.stats.lost_sockets.get() == 0, "idle sockets ended by themselves");
                crowd.drop_all();
            }
            Ok(())
        }
        Command::Log { lengths, tries, .. } => growth::log(drive, lengths, *tries).await,
        Command::List { conversations, users, .. } => {
            growth::list(drive, *conversations, *users, worker).await
        }
        Command::Return { traffic, users, each, within, .. } => {
            let rate = traffic.rates.first().copied().context("a rate")?;
            growth::come_back(drive, *users, *each, *within, Phase { rate, ..phase(traffic) }).await
        }
        Command::Storm { sockets, members, .. } => drive.storm(shape(sockets / members, *members)).await,
        Command::Slow { traffic, members, every, .. } => {
            let rate = traffic.rates.first().copied().context("a rate")?;
            drive.slow(shape(1, *members), Phase { rate, ..phase(traffic) }, *every).await
        }
        Command::Start { .. }
        | Command::Floor { .. }
        | Command::Serve { .. }
        | Command::Engine
        | Command::Check { .. } => Ok(()),
    }
}
