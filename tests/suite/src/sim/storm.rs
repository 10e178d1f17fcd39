//! What goes wrong: a plan drawn from the seed, with some kinds of fault and not others, so that rare combinations come up.

use std::{sync::Arc, time::Duration};

use simurgh_backplane::memory::Outage;
use simurgh_env::Env;
use tokio::time::sleep;

use crate::{
    system::{Node, System},
    world::link::{Life, Odds},
};

/// Kinds of fault.
const KINDS: [&str; 12] = [
    "worker killed",
    "gateway killed",
    "worker terminated",
    "gateway terminated",
    "worker stopped",
    "gateway stopped",
    "gateway cut off",
    "worker cut off",
    "one-way cut",
    "gateway deaf",
    "backplane restarted",
    "store frozen",
];

/// Between two faults, at most.
const PAUSE: Duration = Duration::from_millis(1_600);

/// A storm.
pub struct Storm {
    system: Arc<System>,
    env: Env,
    kinds: Vec<&'static str>,
    odds: Odds,
}

impl Storm {
    /// The storm of this seed's.
    #[must_use]
    pub fn new(system: Arc<System>) -> Self {
        let env = system.env.fork();
        let kinds = KINDS.into_iter().filter(|_| chance(&env, 2)).collect();
        let draw = |most: u64| if chance(&env, 2) { env.random_u64() % most } else { 0 };
        let odds = Odds {
            lost: draw(120),
            duplicated: draw(60),
            request_lost: draw(40),
            keys_fail: draw(60),
            slow: draw(30),
            write_lost: draw(40),
            answer_lost: draw(40),
            repeated: draw(40),
            late: draw(30),
            unreadable: draw(30),
        };
        let (kinds, odds) = match std::env::var("SIMURGH_TEST_FAULTS") {
            Ok(only) => (kinds_of(&only), if only.contains("odds") { odds } else { Odds::default() }),
            Err(_) => (kinds, odds),
        };
        Self { system, env, kinds, odds }
    }

    /// Rages for so long, then all is well again: at least two gateways and two workers, none of them stopped or cut off.
    pub async fn rage(&self, time: Duration) {
        self.system.weather.set(self.odds);
        let end = self.env.instant() + time;
        while self.env.instant() < end {
            sleep(self.env.jitter(PAUSE)).await;
            if !self.kinds.is_empty() {
                let which = usize::try_from(self.env.random_u64()).unwrap_or(0) % self.kinds.len();
                self.strike(self.kinds[which]);
            }
        }
        self.calm();
    }

    fn calm(&self) {
        self.system.weather.set(Odds::default());
        self.system.weather.thaw_store(&self.env);
        for node in self.system.all() {
            node.link.set_life(Life::Runs);
            node.link.deafen(false);
            node.bus.reconnect();
        }
        while self.system.gateways().len() < 2 {
            self.system.start_gateway();
        }
        while self.system.workers().len() < 2 {
            self.system.start_worker();
        }
    }

    fn strike(&self, kind: &'static str) {
        let (system, env) = (&self.system, &self.env);
        system.weather.count(kind);
        let lot = usize::try_from(env.random_u64() >> 1).unwrap_or(0);
        let node = |nodes: Vec<Node>| nodes.get(lot % nodes.len().max(1)).cloned();
        match kind {
            "worker killed" if system.workers().len() > 1 => {
                system.take_worker(lot).kill();
                self.later(|system| system.start_worker());
            }
            "worker terminated" if system.workers().len() > 1 => {
                system.take_worker(lot).terminate();
                self.later(|system| system.start_worker());
            }
            "gateway killed" if system.gateways().len() > 1 => {
                system.take_gateway(lot).kill();
                self.later(|system| system.start_gateway());
            }
            "gateway terminated" if system.gateways().len() > 1 => {
                system.take_gateway(lot).terminate();
                self.later(|system| system.start_gateway());
            }
            "worker stopped" => self.stop(node(system.workers()), Duration::from_secs(8)),
            // Sometimes beyond its lease.
            "gateway stopped" if chance(env, 4) => {
                self.stop(node(system.gateways()), Duration::from_secs(24))
            }
            "gateway stopped" => self.stop(node(system.gateways()), Duration::from_secs(5)),
            "gateway cut off" if chance(env, 4) => self.cut(node(system.gateways()), Duration::from_secs(24)),
            "gateway cut off" => self.cut(node(system.gateways()), Duration::from_secs(5)),
            "worker cut off" => self.cut(node(system.workers()), Duration::from_secs(5)),
            "one-way cut" => self.cut_one_way(node(system.all()), Duration::from_secs(6)),
            "gateway deaf" => self.deafen(node(system.gateways()), Duration::from_secs(4)),
            "backplane restarted" => self.restart_backplane(),
            "store frozen" => system.weather.freeze_store(env.instant() + env.jitter(Duration::from_secs(5))),
            _ => {}
        }
    }

    /// Does something to the system a moment later.
    fn later(&self, act: impl FnOnce(&System) + Send + 'static) {
        let (system, after) = (Arc::clone(&self.system), self.env.jitter(Duration::from_secs(3)));
        tokio::spawn(async move {
            sleep(after).await;
            act(&system);
        });
    }

    fn stop(&self, node: Option<Node>, longest: Duration) {
        let (Some(node), after) = (node, self.env.jitter(longest)) else { return };
        node.link.set_life(Life::Frozen);
        tokio::spawn(async move {
            sleep(after).await;
            node.link.set_life(Life::Runs);
        });
    }

    fn cut(&self, node: Option<Node>, longest: Duration) {
        let (Some(node), after) = (node, self.env.jitter(longest)) else { return };
        node.bus.disconnect();
        tokio::spawn(async move {
            sleep(after).await;
            node.bus.reconnect();
        });
    }

    /// One direction fails, until somebody notices and connects anew.
    fn cut_one_way(&self, node: Option<Node>, longest: Duration) {
        let (Some(node), after) = (node, self.env.jitter(longest)) else { return };
        let out = chance(&self.env, 2);
        node.link.cut(out, !out);
        tokio::spawn(async move {
            sleep(after).await;
            node.bus.disconnect();
            sleep(after / 8).await;
            node.bus.reconnect();
        });
    }

    fn deafen(&self, node: Option<Node>, longest: Duration) {
        let (Some(node), after) = (node, self.env.jitter(longest)) else { return };
        node.link.deafen(true);
        tokio::spawn(async move {
            sleep(after).await;
            node.link.deafen(false);
        });
    }

    /// The server is away for a moment; then each process connects at a time of its own.
    fn restart_backplane(&self) {
        let (system, env) = (Arc::clone(&self.system), self.env.fork());
        system.backplane_down();
        tokio::spawn(async move {
            sleep(env.jitter(Duration::from_secs(3))).await;
            system.backplane_up(if chance(&env, 2) { Outage::LosesKeys } else { Outage::KeepsKeys });
            for node in system.all() {
                let after = env.jitter(Duration::from_secs(2));
                tokio::spawn(async move {
                    sleep(after).await;
                    node.bus.reconnect();
                });
            }
        });
    }
}

/// The kinds that are named, separated by commas.
fn kinds_of(only: &str) -> Vec<&'static str> {
    KINDS.into_iter().filter(|kind| only.split(',').any(|one| one == *kind)).collect()
}

/// One time in `of`.
fn chance(env: &Env, of: u64) -> bool {
    env.random_u64().is_multiple_of(of)
}
