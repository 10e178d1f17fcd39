use std::{sync::Arc, time::Duration};

use simurgh_env::Env;

use super::{MemoryBus, Outage};
use crate::{Bus as _, SharedBus, contract::World};

/// A bus, handed around as it is to several gateways and workers.
struct Memory(Arc<MemoryBus>);

impl Memory {
    async fn start() -> Self {
        let bus = MemoryBus::new(Env::seeded(1));
        bus.ensure_buckets().await.unwrap();
        Self(Arc::new(bus))
    }
}

impl World for Memory {
    async fn connect(&self) -> SharedBus {
        self.0.clone()
    }

    async fn outage(&mut self, loses_buckets: bool) {
        self.0.disconnect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.0.reconnect(if loses_buckets { Outage::LosesKeys } else { Outage::KeepsKeys });
    }

    async fn kept(&self) -> Vec<(String, String)> {
        let text = |payload: Vec<u8>| String::from_utf8(payload).unwrap();
        self.0.kept().into_iter().map(|(subject, _, payload)| (subject, text(payload.to_vec()))).collect()
    }
}

contract!(tokio::test(start_paused = true), super::Memory::start());
