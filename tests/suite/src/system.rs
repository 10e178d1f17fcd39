//! Gateways and workers in one process, on a memory bus, a memory store and connections without a network. Under a
//! paused runtime with one thread everything follows from the seed.

use std::sync::{Arc, Mutex, MutexGuard};

use clap::Parser;
use simurgh_backplane::{
    Bus as _,
    memory::{MemoryBus, Outage},
    subject::Subjects,
};
use simurgh_env::Env;
use simurgh_gateway::{
    Gateway, Parts,
    config::{Config, Settings},
    metrics::Metrics as GatewayMetrics,
    serve::Capacity,
};
use simurgh_service::{
    Readiness,
    connections::{MemoryConnections, MemoryConnector},
    readiness::follow_backplane,
};
use simurgh_worker::{
    Limits, Worker, metrics::Metrics as WorkerMetrics, serve::serve, store::memory::MemoryStore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::world::{
    bus::LinkedBus,
    io::LinkedConnections,
    link::{Life, Link, Odds, Weather},
    store::LinkedStore,
};

/// The secret that the system's tokens are signed with.
pub const SECRET: &str = "test-secret";

/// A running system.
pub struct System {
    /// Its clock and chance.
    pub env: Env,
    /// The backplane itself.
    pub bus: Arc<MemoryBus>,
    /// The store itself.
    pub store: Arc<MemoryStore>,
    /// What all workers count.
    pub worker_metrics: Arc<WorkerMetrics>,
    /// What happens to whom.
    pub weather: Arc<Weather>,
    settings: Settings,
    subjects: Subjects,
    nodes: Mutex<Nodes>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Nodes {
    gateways: Vec<(Node, MemoryConnector)>,
    /// The internal listeners of all gateways that ever were, in the order of their start.
    operators: Vec<MemoryConnector>,
    workers: Vec<Node>,
    started: usize,
}

/// A process.
#[derive(Clone)]
pub struct Node {
    /// What it can do to others.
    pub link: Arc<Link>,
    /// Its connection to the backplane.
    pub bus: Arc<LinkedBus>,
    shutdown: CancellationToken,
}

impl Node {
    /// As SIGKILL: nothing of it reaches anybody any more.
    pub fn kill(&self) {
        self.link.set_life(Life::Dead);
        self.bus.disconnect();
        // What is left of it is cleared away.
        self.shutdown.cancel();
    }

    /// As SIGTERM.
    pub fn terminate(&self) {
        self.shutdown.cancel();
    }
}

/// The gateway's default settings, and those that `flags` set.
///
/// # Panics
/// Where a flag is not one.
#[must_use]
pub fn settings(flags: &[&str]) -> Settings {
    let fixed = ["simurgh-gateway", "--jwt-secret", SECRET];
    Config::try_parse_from(fixed.iter().chain(flags)).expect("flags").settings
}

impl System {
    /// Starts so many gateways and workers from one seed.
    ///
    /// # Panics
    /// Where the settings cannot be used.
    #[must_use]
    pub fn start(seed: u64, gateways: usize, workers: usize, flags: &[&str]) -> Self {
        let env = Env::seeded(seed);
        let system = Self {
            bus: Arc::new(MemoryBus::new(env.fork())),
            store: Arc::new(MemoryStore::new()),
            worker_metrics: Arc::new(WorkerMetrics::new().expect("metrics")),
            weather: Weather::new(&env),
            settings: settings(flags),
            subjects: Subjects::new("test"),
            nodes: Mutex::default(),
            tasks: TaskTracker::new(),
            env,
        };
        (0..gateways).for_each(|_| system.start_gateway());
        (0..workers).for_each(|_| system.start_worker());
        system
    }

    fn node(&self) -> Node {
        let link = Link::new(self.env.fork(), Arc::clone(&self.weather));
        let bus = LinkedBus::new(Arc::clone(&self.bus), Arc::clone(&link));
        Node { link, bus, shutdown: CancellationToken::new() }
    }

    /// Starts one gateway more.
    pub fn start_gateway(&self) {
        let node = self.node();
        let gateway = Gateway::new(Parts {
            bus: Arc::clone(&node.bus) as _,
            env: self.env.fork(),
            subjects: self.subjects.clone(),
            settings: self.settings.clone(),
            capacity: Capacity::of_files(4_096),
            metrics: Arc::new(GatewayMetrics::new().expect("metrics")),
        })
        .expect("settings");
        let ((connector, public), (operators, internal)) =
            (MemoryConnections::new(), MemoryConnections::new());
        let public = LinkedConnections::new(public, Arc::clone(&node.link));
        self.tasks.spawn(gateway.run(public, internal, node.shutdown.clone()));
        let mut nodes = self.nodes();
        nodes.gateways.push((node, connector));
        nodes.operators.push(operators);
    }

    /// Starts one worker more.
    pub fn start_worker(&self) {
        let node = self.node();
        let store = LinkedStore::new(Arc::clone(&self.store), Arc::clone(&node.link));
        let (bus, subjects) = (Arc::clone(&node.bus), self.subjects.clone());
        let worker = Worker::new(
            bus,
            store,
            self.env.fork(),
            subjects,
            Limits::default(),
            Arc::clone(&self.worker_metrics),
        );
        self.tasks.spawn(follow_backplane(
            Readiness::new().part("backplane"),
            node.bus.connected(),
            self.worker_metrics.backplane_reconnects.clone(),
            node.shutdown.clone(),
        ));
        let mut nodes = self.nodes();
        nodes.started += 1;
        let name = format!("worker-{}", nodes.started);
        self.tasks.spawn(serve(worker, name, node.shutdown.clone()));
        nodes.workers.push(node);
    }

    /// The way to connect to a gateway.
    #[must_use]
    pub fn gateway(&self, which: usize) -> MemoryConnector {
        let nodes = self.nodes();
        nodes.gateways[which % nodes.gateways.len()].1.clone()
    }

    /// The internal listeners of all gateways that ever were.
    #[must_use]
    pub fn operators(&self) -> Vec<MemoryConnector> {
        self.nodes().operators.clone()
    }

    /// The gateways that were not taken out.
    #[must_use]
    pub fn gateways(&self) -> Vec<Node> {
        self.nodes().gateways.iter().map(|(node, _)| node.clone()).collect()
    }

    /// The workers that were not taken out.
    #[must_use]
    pub fn workers(&self) -> Vec<Node> {
        self.nodes().workers.clone()
    }

    /// Every process.
    #[must_use]
    pub fn all(&self) -> Vec<Node> {
        self.gateways().into_iter().chain(self.workers()).collect()
    }

    /// Takes a gateway out: nobody connects to it any more.
    #[must_use]
    pub fn take_gateway(&self, which: usize) -> Node {
        let mut nodes = self.nodes();
        let which = which % nodes.gateways.len();
        nodes.gateways.remove(which).0
    }

    /// Takes a worker out.
    #[must_use]
    pub fn take_worker(&self, which: usize) -> Node {
        let mut nodes = self.nodes();
        let which = which % nodes.workers.len();
        nodes.workers.remove(which)
    }

    /// Broadcasts are lost to so many of 100 subscribers from now on.
    pub fn lose(&self, percent: u64) {
        self.weather.set(Odds { lost: percent * 10, ..self.weather.odds() });
    }

    /// How often broadcasts were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.weather.counts().get("broadcast lost").copied().unwrap_or_default()
    }

    /// The backplane's server is gone, and with it, perhaps, its keys.
    pub fn backplane_down(&self) {
        self.bus.disconnect();
        self.all().iter().for_each(|node| node.bus.disconnect());
    }

    /// It is back; each process connects again by itself.
    pub fn backplane_up(&self, outage: Outage) {
        self.bus.reconnect(outage);
    }

    /// Drains and stops everything.
    pub async fn stop(self) {
        self.weather.set(Odds::default());
        self.all().iter().for_each(Node::terminate);
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap()
    }
}
