//! `simurgh-worker`: settings → logs → port → parts → serve → drain.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use simurgh_backplane::{SharedBus, nats::NatsBus, subject::Subjects};
use simurgh_env::Env;
use simurgh_service::{
    Readiness, TcpConnections, admin, bind, config, exit_code, http, metrics, readiness, shutdown, telemetry,
};
use simurgh_worker::{
    Limits, Worker,
    config::Config,
    metrics::Metrics,
    ready::follow_store,
    serve::serve,
    store::{Store, dynamo::DynamoStore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long what answers operators may take to end, once the work is done.
const END: Duration = Duration::from_secs(2);

/// It gives back to the system what a wave of sockets has left, and takes less time than the system's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config: Config = config::parse();
    let _telemetry = telemetry::init(&config.log, "simurgh-worker");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.context("no runtime").and_then(|runtime| runtime.block_on(Box::pin(run(config))));
    exit_code(ran)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let stop = shutdown::on_signals()?;
    let listener = bind::bind(config.worker_listen, "SIMURGH_WORKER_LISTEN")?;
    let env = Env::system();
    let id = env.short_id();
    let bus: SharedBus =
        Arc::new(Box::pin(NatsBus::connect(config.nats.connection(&id), env.clone())).await?);
    let metrics = Arc::new(Metrics::new()?);
    let store: Arc<dyn Store> =
        Arc::new(DynamoStore::connect(config.table.store(), env.clone(), Arc::clone(&metrics)).await);

    let (readiness, tasks, ended, serving) =
        (Readiness::new(), TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
    let (backplane, table) = (readiness.part("backplane"), readiness.part("store"));
    tasks.spawn(readiness::follow_backplane(
        backplane,
        bus.connected(),
        metrics.backplane_reconnects.clone(),
        ended.clone(),
    ));
    tasks.spawn(follow_store(Arc::clone(&store), table, env.clone(), serving.clone(), ended.clone()));
    let (operators, limits) = (TcpConnections::new(listener), http::HttpLimits::default());
    let (counted, ready, connection) = (Arc::clone(&metrics), readiness.clone(), Arc::clone(&bus));
    let routes =
        admin::router(readiness.clone()).merge(metrics::router(move || counted.text(&ready, &connection)));
    tasks.spawn(http::serve(operators, routes, limits, ended.clone()));
    let (drained, stopping) = (readiness.clone(), stop.clone());
    tasks.spawn(async move {
        stopping.cancelled().await;
        drained.drain();
    });

    tracing::info!(worker = id, listen = %config.worker_listen, nats = config.nats.servers(), "starting");
    let subjects = Subjects::new(&config.nats.namespace);
    let limits = Limits { offline: config.nats.offline.offline_stream, ..config.limits.limits() };
    let worker = Worker::new(bus, store, env, subjects, limits, metrics);
    // Commands that come before the store serves would be refused; other workers may do them.
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = serving.cancelled() => {}
    }
    serve(worker, id, stop).await;
    ended.cancel();
    if !shutdown::finished(&tasks, END).await {
        tracing::debug!("some connections of operators were cut");
    }
    tracing::info!("stopped");
    Ok(())
}
