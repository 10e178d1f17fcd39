//! Gateways and workers in one process, on a memory bus, a memory store and connections without a network. Under a
//! paused runtime with one thread everything follows from the seed.

use std::sync::Arc;

use clap::Parser;
use simurgh_backplane::{memory::MemoryBus, subject::Subjects};
use simurgh_env::Env;
use simurgh_gateway::{
    Gateway, Parts,
    config::{Config, Settings},
    serve::Capacity,
};
use simurgh_service::connections::{MemoryConnections, MemoryConnector};
use simurgh_worker::{Limits, Worker, serve::serve, store::memory::MemoryStore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::lossy::LossyBus;

/// The secret that the system's tokens are signed with.
pub const SECRET: &str = "test-secret";

/// A running system.
pub struct System {
    /// Its clock and chance.
    pub env: Env,
    /// Its backplane.
    pub bus: Arc<MemoryBus>,
    /// What gateways and workers see of it.
    pub lossy: Arc<LossyBus>,
    /// The ways to connect to each gateway.
    pub gateways: Vec<MemoryConnector>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
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
        let bus = Arc::new(MemoryBus::new(env.fork()));
        let lossy = LossyBus::new(Arc::clone(&bus) as _, env.fork());
        let store = Arc::new(MemoryStore::new());
        let subjects = Subjects::new("test");
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for n in 0..workers {
            let worker = Worker::new(
                Arc::clone(&lossy) as _,
                Arc::clone(&store) as _,
                env.fork(),
                subjects.clone(),
                Limits::default(),
            );
            tasks.spawn(serve(worker, format!("worker-{n}"), shutdown.clone()));
        }
        let connectors = (0..gateways)
            .map(|_| {
                let gateway = Gateway::new(Parts {
                    bus: Arc::clone(&lossy) as _,
                    env: env.fork(),
                    subjects: subjects.clone(),
                    settings: settings(flags),
                    capacity: Capacity::of_files(4_096),
                })
                .expect("settings");
                let ((public, connections), (_, internal)) =
                    (MemoryConnections::new(), MemoryConnections::new());
                tasks.spawn(gateway.run(connections, internal, shutdown.clone()));
                public
            })
            .collect();
        Self { env, bus, lossy, gateways: connectors, shutdown, tasks }
    }

    /// Drains and stops everything.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
