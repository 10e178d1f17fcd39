//! What the local stack says when it is up.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use simurgh_protocol::{Timestamp, UserId};

use crate::{
    Config, Stack,
    config::{Backplane, Parts},
};

/// Users with ready-made tokens.
const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// How long those are good for: a day of trying things out.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn text(config: &Config, stack: &Stack, took: Duration, now: Timestamp) -> anyhow::Result<String> {
    let mut text = format!("\nSimurgh is up ({:.2} s). Ctrl-C stops it.\n\n", took.as_secs_f64());
    for (public, internal) in &stack.gateways {
        if config.gateway.demo.demo_page {
            writeln!(text, "  chat      http://{}/ (open it in two windows)", reachable(*public))?;
        }
        writeln!(text, "  sockets   ws://{}/socket", reachable(*public))?;
        writeln!(text, "  HTTP      http://{}/api/v1", reachable(*public))?;
        writeln!(text, "  services  http://{}", reachable(*internal))?;
    }
    writeln!(text, "  workers   http://{}", reachable(stack.workers))?;
    if config.parts.backplane == Backplane::Nats {
        writeln!(text, "  NATS      {}", config.nats.servers())?;
    }
    writeln!(text, "  data      {}\n", data(&config.parts))?;
    if let Some(signer) = config.signer() {
        writeln!(text, "Tokens, good for 24 h:\n")?;
        for name in USERS {
            let token = signer.token(&UserId::new(name)?, false, TTL, now)?;
            writeln!(text, "  {name:8}  {token}")?;
        }
        let program = std::env::args().next().unwrap_or_else(|| "simurgh".to_owned());
        writeln!(text, "\nOthers: {program} token USER [--service] [--ttl 1h]\n")?;
    }
    Ok(text)
}

/// An address that a client on this machine can use.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

fn data(parts: &Parts) -> String {
    if parts.ephemeral {
        "in memory, gone when it stops".to_owned()
    } else {
        format!("{} (delete it to start anew)", parts.data_dir.display())
    }
}
