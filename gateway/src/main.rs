//! `simurgh-gateway`: holds clients' sockets and serves the HTTP API.

use std::{process::ExitCode, sync::Arc};

use simurgh_backplane::{
    nats::{ConnectError, NatsBus, NatsConfig},
    subject::Subjects,
};
use simurgh_env::Env;
use simurgh_gateway::{Gateway, Parts, config::Config, metrics::Metrics, serve::Capacity};
use simurgh_service::{
    BadSetting, EXIT_BAD_SETTING, TcpConnections, bind::bind, config, exit_code, shutdown, telemetry,
    tls::MaybeTlsConnections,
};
use tokio_util::task::TaskTracker;

/// It gives back to the system what a wave of sockets has left, and takes less time than the system's own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config: Config = config::parse();
    let _telemetry = telemetry::init(&config.log, "simurgh-gateway");
    match start(config) {
        // Some settings are files, which only their use shows to be bad.
        Err(error) if error.is::<BadSetting>() => {
            eprintln!("simurgh-gateway: {error}");
            ExitCode::from(EXIT_BAD_SETTING)
        }
        outcome => exit_code(outcome),
    }
}

#[tokio::main]
async fn start(config: Config) -> anyhow::Result<()> {
    let Config { listen, internal_listen, tls, settings, nats, log: _ } = config;
    let keys = tls.load()?;
    let public = TcpConnections::new(bind(listen, "SIMURGH_LISTEN")?);
    let public = MaybeTlsConnections::new(public, keys.clone());
    let internal = TcpConnections::new(bind(internal_listen, "SIMURGH_INTERNAL_LISTEN")?);
    let shutdown = shutdown::on_signals()?;
    let (env, tasks) = (Env::system(), TaskTracker::new());
    if let Some(keys) = keys {
        tasks.spawn(keys.follow(shutdown::hangups()?, shutdown.clone()));
    }
    tracing::info!(%listen, %internal_listen, nats = nats.servers(), "starting");
    let bus = NatsBus::connect(
        NatsConfig { name: format!("simurgh-gateway-{}", env.short_id()), ..nats.connection("") },
        env.clone(),
    )
    .await
    .map_err(unusable)?;
    let gateway = Gateway::new(Parts {
        bus: Arc::new(bus),
        env,
        subjects: Subjects::new(&nats.namespace),
        settings,
        capacity: Capacity::of_process(),
        metrics: Arc::new(Metrics::new()?),
    })?;
    gateway.run(public, internal, shutdown).await;
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// A server that is out of reach is tried again for ever; what fails at once is a setting.
fn unusable(error: ConnectError) -> anyhow::Error {
    let setting = match error {
        ConnectError::Url(_) => "SIMURGH_NATS_URL",
        ConnectError::Credentials(_) => "SIMURGH_NATS_CREDS",
        ConnectError::Certificates(_) => "SIMURGH_NATS_CA",
        ConnectError::Client(_) | ConnectError::Bus(_) => return anyhow::Error::new(error),
    };
    BadSetting::new(setting, error.to_string()).into()
}
