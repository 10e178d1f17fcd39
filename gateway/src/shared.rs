//! What every part of a gateway works with.

use std::sync::Arc;

use simurgh_backplane::{SharedBus, subject::Subjects};
use simurgh_env::Env;
use simurgh_protocol::{Refusal, envelope::Principal, event::RateClass};
use simurgh_service::readiness::Readiness;
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{Admission, Pacer},
    auth::Auth,
    blocks::Blocks,
    config::Settings,
    heads::Heads,
    leases::Leases,
    longpoll::LongPolls,
    metrics::Metrics,
    missed::Missed,
    rates::{self, Rates},
    sockets::Sockets,
    topics::Topics,
    users::Users,
    visible::Visible,
    workers::Workers,
};

/// A gateway's parts.
pub struct Shared {
    /// The way to workers and other gateways.
    pub bus: SharedBus,
    /// Time, chance and ids.
    pub env: Env,
    /// The names on the bus.
    pub subjects: Subjects,
    /// What was configured.
    pub settings: Settings,
    /// Who a token stands for.
    pub auth: Auth,
    /// How commands reach workers.
    pub workers: Workers,
    /// This gateway's name, and which others live.
    pub leases: Leases,
    /// This gateway's name, for those who listen under it.
    pub renamed: watch::Sender<Arc<str>>,
    /// The conversations joined here.
    pub topics: Topics,
    /// How topics ask where their logs end.
    pub heads: Heads,
    /// Who blocks whom, as far as it was heard.
    pub blocks: Blocks,
    /// The users' presence.
    pub users: Users,
    /// Whom they see.
    pub visible: Visible,
    /// The users' sockets and channels.
    pub sockets: Arc<Sockets>,
    /// Messages that came for users who have no socket here.
    pub missed: Missed,
    /// The long-poll sessions that are held here.
    pub long_polls: LongPolls,
    /// How often users may do what.
    pub rates: Rates,
    /// How new sockets are let in.
    pub admission: Admission,
    /// How joins are let through.
    pub joins: Pacer,
    /// How many questions of what became of a message are answered at once.
    pub diagnoses: Arc<Semaphore>,
    /// What this gateway counts.
    pub metrics: Arc<Metrics>,
    /// Whether this gateway can serve.
    pub readiness: Readiness,
    /// Cancelled when open sockets are to be closed.
    pub draining: CancellationToken,
    /// Cancelled when all is done.
    pub stopped: CancellationToken,
    /// The tasks of sockets and connections; empty when everybody is gone.
    pub connections: TaskTracker,
    /// All other tasks.
    pub tasks: TaskTracker,
}

impl Shared {
    /// Counts something that is asked against the user's rates; services have none.
    ///
    /// # Errors
    /// `rate_limit_exceeded`, with when to try again.
    pub fn count(&self, principal: &Principal, class: RateClass) -> Result<(), Refusal> {
        let Principal::User(user) = principal else { return Ok(()) };
        let now = self.env.instant();
        self.rates.of(user, now).check(class, now).map_err(rates::exceeded)
    }
}
