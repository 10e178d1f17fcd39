//! The parts of the local stack, put together.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use simurgh_backplane::{SharedBus, memory::MemoryBus, nats::NatsBus, subject::Subjects};
use simurgh_env::Env;
use simurgh_gateway::{Gateway, Parts, metrics::Metrics as GatewayMetrics, serve::Capacity};
use simurgh_service::{
    Readiness, TcpConnections, admin,
    bind::bind,
    http::{self, HttpLimits},
    metrics,
    readiness::follow_backplane,
    shutdown::finished,
};
use simurgh_worker::{
    Worker,
    metrics::Metrics,
    ready::follow_store,
    serve,
    store::{
        Store,
        dynamo::{DynamoConfig, DynamoStore},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config,
    config::Backplane,
    engine::{self, Engine},
};

/// The table in the embedded engine.
const TABLE: &str = "simurgh";

/// How long what answers operators may take to end, once everything else has.
const END: Duration = Duration::from_secs(2);

/// Everything, running.
#[derive(Debug)]
pub struct Stack {
    /// Each gateway's addresses, public and internal.
    pub gateways: Vec<(SocketAddr, SocketAddr)>,
    /// Where the workers answer operators.
    pub workers: SocketAddr,
    /// Of each gateway, then of the workers.
    readiness: Vec<Readiness>,
    /// In the order in which they stop: gateways ask workers, workers ask the engine.
    stages: [Stage; 3],
    engine: Engine,
}

/// Tasks that stop together.
#[derive(Debug, Default)]
struct Stage {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Stage {
    async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Stack {
    /// Takes the ports and starts everything. It may take longer until all of it can serve ([`Stack::ready`]).
    ///
    /// # Errors
    /// Where a port is taken, the data cannot be used, or a setting cannot.
    pub async fn start(config: &Config, env: Env) -> anyhow::Result<Self> {
        let listeners = (0..config.parts.gateways)
            .map(|index| {
                let (public, internal) = config.gateway_addresses(index);
                let public = TcpConnections::new(bind(public, "SIMURGH_LISTEN")?);
                Ok((public, TcpConnections::new(bind(internal, "SIMURGH_INTERNAL_LISTEN")?)))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let operators = TcpConnections::new(bind(config.addresses.worker_listen, "SIMURGH_WORKER_LISTEN")?);

        let engine_stop = CancellationToken::new();
        let data = (!config.parts.ephemeral).then(|| config.parts.data_dir.clone());
        let engine = engine::start(data, engine_stop.clone()).await?;
        let started = Self {
            gateways: Vec::new(),
            workers: operators.local_addr()?,
            readiness: Vec::new(),
            stages: [
                Stage::default(),
                Stage::default(),
                Stage { stop: engine_stop, tasks: TaskTracker::new() },
            ],
            engine,
        };
        started.with_parts(config, env, listeners, operators).await
    }

    async fn with_parts(
        mut self,
        config: &Config,
        env: Env,
        listeners: Vec<(TcpConnections, TcpConnections)>,
        operators: TcpConnections,
    ) -> anyhow::Result<Self> {
        let bus = connect(config, &env).await?;
        let subjects = Subjects::new(&config.nats.namespace);
        self.start_workers(config, &env, &bus, &subjects, operators).await?;
        let capacity = share(Capacity::of_process(), listeners.len());
        for (public, internal) in listeners {
            let gateway = Gateway::new(Parts {
                bus: Arc::clone(&bus),
                env: env.fork(),
                subjects: subjects.clone(),
                settings: config.gateway.clone(),
                capacity,
                metrics: Arc::new(GatewayMetrics::new()?),
            })?
            .with_page_signing(config.page_signing());
            self.gateways.push((public.local_addr()?, internal.local_addr()?));
            self.readiness.push(gateway.readiness());
            let [stage, ..] = &self.stages;
            stage.tasks.spawn(gateway.run(public, internal, stage.stop.clone()));
        }
        Ok(self)
    }

    async fn start_workers(
        &mut self,
        config: &Config,
        env: &Env,
        bus: &SharedBus,
        subjects: &Subjects,
        operators: TcpConnections,
    ) -> anyhow::Result<()> {
        let metrics = Arc::new(Metrics::new()?);
        let table = DynamoConfig {
            table: TABLE.to_owned(),
            endpoint: Some(self.engine.endpoint.clone()),
            create_table: true,
        };
        let store: Arc<dyn Store> =
            Arc::new(DynamoStore::connect(table, env.fork(), Arc::clone(&metrics)).await);
        let (readiness, serving) = (Readiness::new(), CancellationToken::new());
        let (backplane, part) = (readiness.part("backplane"), readiness.part("store"));
        let [_, workers, rest] = &self.stages;
        let reconnects = metrics.backplane_reconnects.clone();
        let follow = follow_backplane(backplane, bus.connected(), reconnects, workers.stop.clone());
        workers.tasks.spawn(follow);
        let follow = follow_store(Arc::clone(&store), part, env.fork(), serving.clone(), rest.stop.clone());
        rest.tasks.spawn(follow);
        let (counted, ready, connection) = (Arc::clone(&metrics), readiness.clone(), Arc::clone(bus));
        let router = admin::router(readiness.clone())
            .merge(metrics::router(move || counted.text(&ready, &connection)));
        rest.tasks.spawn(http::serve(operators, router, HttpLimits::default(), rest.stop.clone()));
        for _ in 0..config.parts.workers {
            let env = env.fork();
            let id = env.short_id();
            let (bus, store) = (Arc::clone(bus), Arc::clone(&store));
            let worker =
                Worker::new(bus, store, env, subjects.clone(), config.limits(), Arc::clone(&metrics));
            let (serving, stop) = (serving.clone(), workers.stop.clone());
            workers.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    // Commands that come before the store serves would be refused.
                    () = serving.cancelled() => serve::serve(worker, id, stop.clone()).await,
                }
            });
        }
        self.readiness.push(readiness);
        Ok(())
    }

    /// Returns once every gateway and the workers can serve.
    pub async fn ready(&self) {
        for readiness in &self.readiness {
            readiness.wait().await;
        }
    }

    /// Drains the gateways, then the workers, then ends the engine.
    pub async fn stop(self) {
        let [gateways, workers, rest] = &self.stages;
        gateways.stop().await;
        workers.stop().await;
        rest.stop.cancel();
        if !finished(&rest.tasks, END).await {
            tracing::debug!("some connections of operators were cut");
        }
        self.engine.stopped().await;
    }
}

async fn connect(config: &Config, env: &Env) -> anyhow::Result<SharedBus> {
    match config.parts.backplane {
        Backplane::Memory => Ok(Arc::new(MemoryBus::new(env.clone()))),
        Backplane::Nats => {
            let connection = config.nats.connection(&env.short_id());
            Ok(Arc::new(Box::pin(NatsBus::connect(connection, env.clone())).await?))
        }
    }
}

/// One gateway's part of what the process can hold.
fn share(whole: Capacity, gateways: usize) -> Capacity {
    let gateways = gateways.max(1);
    Capacity {
        sockets: whole.sockets / gateways,
        connections: whole.connections / gateways,
        internal: whole.internal / gateways,
    }
}
