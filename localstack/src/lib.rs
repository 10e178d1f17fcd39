//! The local stack: the whole system in one process, for developers and newcomers. The store is the one of production
//! against an embedded DynamoDB engine; the backplane is memory, or NATS when told.

mod banner;
pub mod config;
pub mod engine;
pub mod stack;
pub mod token;

use anyhow::{Context, bail};
use simurgh_env::Env;
use simurgh_service::{shutdown, telemetry, tell};

pub use config::Config;
pub use stack::Stack;

/// What the binary does.
///
/// # Errors
/// Where it cannot start, or make the token that was asked for.
pub fn run() -> anyhow::Result<()> {
    let mut config: Config = simurgh_service::config::parse();
    if let Some(config::Command::Token { user, service, ttl }) = &config.command {
        let Some(signer) = config.signer() else { bail!("tokens are signed with SIMURGH_JWT_SECRET") };
        let token = signer.token(user, *service, *ttl, Env::system().now())?;
        tell(&format!("{token}\n"));
        return Ok(());
    }
    // The engine warns of every condition that does not hold, and those are daily bread. A filter may say otherwise.
    config.log.log.insert_str(0, "dynoxide=error,");
    let _telemetry = telemetry::init(&config.log, "simurgh");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(Box::pin(serve(config)))
}

/// Starts everything, tells the newcomer, and stops when told.
async fn serve(config: Config) -> anyhow::Result<()> {
    let env = Env::system();
    let began = env.instant();
    let stop = shutdown::on_signals()?;
    let stack = Box::pin(Stack::start(&config, env.clone())).await?;
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = stack.ready() => {
            tell(&banner::text(&config, &stack, began.elapsed(), env.now())?);
            stop.cancelled().await;
        }
    }
    stack.stop().await;
    Ok(())
}
