//! Starts the servers that a run drives, each on free ports, each ended by its own process id.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use simurgh_env::Env;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{http, process::Process};

/// How long a program may take until it serves.
const START: Duration = Duration::from_secs(30);
/// How often it is asked.
const ASK: Duration = Duration::from_millis(5);
/// The secret of servers that are started here.
pub const SECRET: &str = "load-secret";

/// Where programs are found.
#[derive(Clone, Debug, clap::Args)]
pub struct Programs {
    /// Folder with simurgh, simurgh-gateway and simurgh-worker
    #[arg(long, env = "SIMURGH_TEST_BIN", default_value = "target/release")]
    pub bin: PathBuf,

    /// The nats-server program
    #[arg(long, env = "SIMURGH_TEST_NATS_SERVER", default_value = "nats-server")]
    pub nats_server: PathBuf,

    /// Gateways of a cluster
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub gateways: u8,

    /// Threads of each program that is started; as many as cores where absent
    #[arg(long, value_name = "COUNT")]
    pub worker_threads: Option<usize>,

    /// Further environment of the programs, as NAME=VALUE
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The floor, a queue a socket.
    Floor,
    /// The floor, a write a delivery.
    FloorDirect,
    /// nats-server, engine, worker and gateway as processes of their own.
    Cluster,
    /// `simurgh`: all of it in one process.
    Single,
}

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "floor" => Self::Floor,
            "floor-direct" => Self::FloorDirect,
            "cluster" => Self::Cluster,
            "single" => Self::Single,
            _ => return None,
        })
    }

    pub const fn is_floor(self) -> bool {
        matches!(self, Self::Floor | Self::FloorDirect)
    }
}

/// Servers that run until this is dropped.
pub struct Started {
    /// Of the first gateway.
    pub address: SocketAddr,
    /// Of the others.
    pub further: Vec<SocketAddr>,
    /// Where nats-server tells what it has done.
    pub monitor: Option<SocketAddr>,
    /// Where the worker listens, for its metrics.
    pub worker: SocketAddr,
    pub processes: Vec<Process>,
    /// From the start of the last program (`simurgh`, the gateway, the floor) until it served.
    pub last_took: Duration,
    last_began: Instant,
    children: Vec<Child>,
    folder: TempDir,
}

impl Drop for Started {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // One that has ended needs no ending.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port of the loopback interface that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Started {
    /// Starts what `kind` says and waits until it serves.
    ///
    /// # Errors
    /// Where a program is missing, ends, or does not serve in time: with its last words.
    pub async fn start(kind: Kind, programs: &Programs, env: &Env) -> anyhow::Result<Self> {
        let address = loopback(free_port()?);
        let worker = loopback(free_port()?);
        let folder = tempfile::tempdir()?;
        let (last_took, last_began) = (Duration::ZERO, env.instant());
        let (processes, children) = (Vec::new(), Vec::new());
        let (further, monitor) = (Vec::new(), None);
        let mut started =
            Self { address, further, monitor, worker, processes, last_took, last_began, children, folder };
        match kind {
            Kind::Floor => started.floor("queued", programs)?,
            Kind::FloorDirect => started.floor("direct", programs)?,
            Kind::Single => {
                let command = started.gateway_settings(
                    Command::new(programs.bin.join("simurgh")),
                    address,
                    programs,
                )?;
                started.spawn("simurgh", command)?;
            }
            Kind::Cluster => started.cluster(programs, env).await?,
        }
        if kind.is_floor() {
            started.until(env, async || tokio::net::TcpStream::connect(address).await.is_ok()).await?;
        } else {
            for address in [address].into_iter().chain(started.further.clone()) {
                started.until(env, async || http::is_ready(address).await).await?;
            }
        }
        started.last_took = started.last_began.elapsed();
        Ok(started)
    }

    fn floor(&mut self, mode: &str, programs: &Programs) -> anyhow::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor", "--listen", &self.address.to_string(), "--mode", mode]);
        threads(&mut command, programs);
        self.spawn("floor", command)
    }

    async fn cluster(&mut self, programs: &Programs, env: &Env) -> anyhow::Result<()> {
        let (nats, monitor) = (free_port()?, free_port()?);
        let config = self.folder.path().join("nats.conf");
        let store = self.folder.path().join("nats");
        let text = format!(
            "listen: \"127.0.0.1:{nats}\"\nhttp: \"127.0.0.1:{monitor}\"\nping_interval: \"10s\"\njetstream {{ store_dir: \"{}\" }}\n",
            store.display()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(&programs.nats_server);
        command.arg("-c").arg(&config);
        self.spawn("nats-server", command)?;
        self.until(env, async || tokio::net::TcpStream::connect(loopback(nats)).await.is_ok()).await?;

        self.monitor = Some(loopback(monitor));

        let engine = self.engine()?;
        let nats = format!("nats://127.0.0.1:{nats}");
        let mut worker = Command::new(programs.bin.join("simurgh-worker"));
        worker
            .env("SIMURGH_WORKER_LISTEN", self.worker.to_string())
            .env("SIMURGH_DYNAMODB_ENDPOINT", engine)
            .envs([("SIMURGH_NATS_URL", nats.as_str()), ("SIMURGH_CREATE_TABLE", "true")])
            .envs([
                ("AWS_ACCESS_KEY_ID", "load"),
                ("AWS_SECRET_ACCESS_KEY", "load"),
                ("AWS_REGION", "eu-west-1"),
            ]);
        settings(&mut worker, programs)?;
        self.spawn("worker", worker)?;
        self.further = (1..programs.gateways).map(|_| free_port().map(loopback)).collect::<Result<_, _>>()?;
        self.last_began = env.instant();
        for (number, address) in [self.address].into_iter().chain(self.further.clone()).enumerate() {
            let mut gateway = Command::new(programs.bin.join("simurgh-gateway"));
            gateway.env("SIMURGH_NATS_URL", &nats);
            let gateway = self.gateway_settings(gateway, address, programs)?;
            let name = if number == 0 { "gateway".to_owned() } else { format!("gateway-{}", number + 1) };
            self.spawn(&name, gateway)?;
        }
        Ok(())
    }

    /// The store: an engine in memory, in a process of its own, so that its CPU is told apart.
    fn engine(&mut self) -> anyhow::Result<String> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("engine").stdout(Stdio::piped());
        self.spawn("engine", command)?;
        let out = self.children.last_mut().and_then(|child| child.stdout.take()).context("no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// No rates: what is measured is the server, not what it lets one user do.
    fn gateway_settings(
        &self,
        mut command: Command,
        address: SocketAddr,
        programs: &Programs,
    ) -> anyhow::Result<Command> {
        for rate in ["MESSAGES", "JOINS", "GATEWAY_JOINS", "PUSHES", "CONNECTS", "CONNECTS_PER_ADDRESS"] {
            command.env(format!("SIMURGH_RATE_{rate}"), "0");
        }
        command
            .env("SIMURGH_LISTEN", address.to_string())
            .env("SIMURGH_INTERNAL_LISTEN", loopback(free_port()?).to_string())
            .env("SIMURGH_JWT_SECRET", SECRET);
        if command.get_program().to_string_lossy().ends_with("simurgh") {
            command
                .env("SIMURGH_WORKER_LISTEN", self.worker.to_string())
                .envs([("SIMURGH_EPHEMERAL", "true"), ("SIMURGH_DEMO_PAGE", "false")]);
        }
        settings(&mut command, programs)?;
        Ok(command)
    }

    fn spawn(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let log = File::create(self.log(name))?;
        // An engine's first line is its address.
        if name != "engine" {
            command.stdout(log.try_clone()?);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stderr(log);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("{program} cannot be started"))?;
        self.processes.push(Process { name: name.to_owned(), pid: child.id() });
        self.children.push(child);
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    async fn until(&mut self, env: &Env, holds: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let end = env.instant() + START;
        while !holds().await {
            for (child, process) in self.children.iter_mut().zip(&self.processes) {
                if let Some(status) = child.try_wait()? {
                    let log = self.folder.path().join(format!("{}.log", process.name));
                    bail!("{} ended with {status}: {}", process.name, last_words(&log));
                }
            }
            if env.instant() > end {
                bail!(
                    "it does not serve: {}",
                    self.processes.iter().map(|one| last_words(&self.log(&one.name))).collect::<String>()
                );
            }
            sleep(ASK).await;
        }
        Ok(())
    }
}

fn threads(command: &mut Command, programs: &Programs) {
    if let Some(threads) = programs.worker_threads {
        command.env("TOKIO_WORKER_THREADS", threads.to_string());
    }
}

/// What every program of ours is started with: little to say, and nothing of the developer's own settings.
fn settings(command: &mut Command, programs: &Programs) -> anyhow::Result<()> {
    threads(command, programs);
    command.env("SIMURGH_LOG", "warn");
    for pair in &programs.set {
        let (name, value) = pair.split_once('=').context("--set takes NAME=VALUE")?;
        command.env(name, value);
    }
    Ok(())
}

fn last_words(log: &Path) -> String {
    let mut text = String::new();
    let _ = File::open(log).and_then(|mut file| file.read_to_string(&mut text));
    text.lines()
        .rev()
        .take(5)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .fold(String::new(), |all, line| all + line + "\n")
}
