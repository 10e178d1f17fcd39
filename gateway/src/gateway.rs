//! A whole gateway: its parts put together, run, and drained.

use std::{sync::Arc, time::Duration};

use simurgh_backplane::{SharedBus, subject::Subjects};
use simurgh_env::Env;
use simurgh_service::{
    Connections,
    config::BadSetting,
    readiness::{PartHandle, Readiness, follow_backplane},
    shutdown::finished,
};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Shared,
    admission::{Admission, MAX_HOLD, Pacer},
    auth::Auth,
    blocks::Blocks,
    config::Settings,
    diagnosis,
    heads::{self, Heads, Questions},
    leases::{self, Leases},
    longpoll::{LongPolls, elsewhere},
    metrics::Metrics,
    missed::{self, Missed},
    page,
    rates::{self, Rates},
    revocations,
    serve::{self, Capacity},
    sockets::{self, Sockets},
    topic::actor::GRACE,
    topics::Topics,
    users::{self, Users},
    visible::{self, Visible},
    workers::{self, Workers},
};

/// What a gateway is made of.
pub struct Parts {
    /// The backplane.
    pub bus: SharedBus,
    /// Time, chance and ids.
    pub env: Env,
    /// The names on the bus.
    pub subjects: Subjects,
    /// What was configured.
    pub settings: Settings,
    /// What the process can hold.
    pub capacity: Capacity,
    /// What the gateway counts with.
    pub metrics: Arc<Metrics>,
}

/// A gateway that does not run yet.
pub struct Gateway {
    shared: Arc<Shared>,
    capacity: Capacity,
    inboxes: Inboxes,
    signing: Option<page::Signing>,
}

/// What the gateway's own tasks read.
struct Inboxes {
    messages: mpsc::Receiver<users::Message>,
    presences: mpsc::Receiver<visible::Message>,
    questions: Questions,
    came: mpsc::Receiver<missed::Came>,
}

impl Gateway {
    /// Puts the parts together.
    ///
    /// # Errors
    /// Where a setting cannot be used.
    pub fn new(parts: Parts) -> Result<Self, BadSetting> {
        let Parts { bus, env, subjects, settings, capacity, metrics } = parts;
        let leases = Leases::new(Arc::clone(&bus), env.clone());
        let (renamed, _) = watch::channel(leases.id());
        let (users, messages) = Users::channel();
        let (visible, presences) = Visible::channel();
        let (heads, questions) = Heads::channel();
        let (missed, came) = Missed::channel();
        let shared = Shared {
            auth: Auth::new(&settings)?,
            workers: Workers::new(Arc::clone(&bus), env.fork(), subjects.clone(), Arc::clone(&metrics)),
            leases,
            renamed,
            topics: Topics::default(),
            heads,
            users,
            visible,
            sockets: Sockets::new(settings.bounds.max_sockets_per_user, Arc::clone(&metrics)),
            missed,
            long_polls: LongPolls::new(&env, capacity.long_polls()),
            rates: Rates::new(settings.rates.clone()),
            admission: Admission::new(&settings, capacity),
            blocks: Blocks::default(),
            diagnoses: diagnosis::at_once(),
            joins: Pacer::new(settings.rates.rate_gateway_joins, MAX_HOLD),
            readiness: Readiness::new(),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
            metrics,
            connections: TaskTracker::new(),
            tasks: TaskTracker::new(),
            bus,
            env,
            subjects,
            settings,
        };
        let inboxes = Inboxes { messages, presences, questions, came };
        Ok(Self { shared: Arc::new(shared), capacity, inboxes, signing: None })
    }

    /// Lets the chat page sign tokens for whoever opens it. Only for a system on one machine whose secret is public
    /// anyway; without this the page asks for a token.
    #[must_use]
    pub fn with_page_signing(self, signing: Option<page::Signing>) -> Self {
        Self { signing, ..self }
    }

    /// What its parts share.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Whether this gateway can serve.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness.clone()
    }

    /// Serves until `shutdown`, then drains (contract section 6): new sockets are taken for the drain delay, open ones
    /// are closed over the drain window once what they asked is answered.
    pub async fn run(
        self,
        public: impl Connections,
        internal: impl Connections,
        shutdown: CancellationToken,
    ) {
        let Self { shared, capacity, inboxes, signing } = self;
        start(&shared, inboxes);
        let (public_until, internal_until) = (CancellationToken::new(), CancellationToken::new());
        let routes = serve::public_routes(Arc::clone(&shared), signing);
        let serving = tokio::spawn(serve::public(public, routes, capacity, public_until.clone()));
        let observing =
            tokio::spawn(serve::internal(internal, Arc::clone(&shared), capacity, internal_until.clone()));

        shutdown.cancelled().await;
        shared.readiness.drain();
        shared.metrics.drains.inc();
        tokio::time::sleep(shared.settings.drain.drain_delay).await;
        let open = shared.sockets.count();
        tracing::info!(sockets = open, "draining");
        shared.draining.cancel();
        shared.sockets.leave();
        public_until.cancel();
        let window = shared.settings.drain.drain_window + workers::BUDGET + Duration::from_secs(3);
        // Upgrades that were answered meanwhile are sockets by then.
        let _ = serving.await;
        if !finished(&shared.connections, window).await {
            tracing::warn!(
                sockets = shared.sockets.count(),
                "sockets were still open at the end of the drain and are cut: a longer SIMURGH_DRAIN_WINDOW spares them"
            );
        }
        if open > 0 {
            // Users who come back elsewhere within the grace were never gone.
            tokio::time::sleep(GRACE + Duration::from_millis(500)).await;
        }
        shared.leases.give_up().await;
        internal_until.cancel();
        shared.stopped.cancel();
        let _ = finished(&shared.tasks, Duration::from_secs(2)).await;
        let _ = observing.await;
    }
}

/// Starts what a gateway does beside serving.
fn start(shared: &Arc<Shared>, Inboxes { messages, presences, questions, came }: Inboxes) {
    let (backplane, presence) = (shared.readiness.part("backplane"), shared.readiness.part("presence"));
    backplane.fails("not connected yet");
    presence.fails("not there yet");
    let tasks = &shared.tasks;
    tasks.spawn(follow_backplane(
        backplane,
        shared.bus.connected(),
        shared.metrics.backplane_reconnects.clone(),
        shared.stopped.clone(),
    ));
    if let Some(keys) = shared.auth.published() {
        tasks.spawn(keys.follow(shared.readiness.part("keys"), shared.env.fork(), shared.stopped.clone()));
    }
    tasks.spawn(rates::run(Arc::clone(shared)));
    tasks.spawn(users::run(Arc::clone(shared), messages));
    tasks.spawn(visible::run(Arc::clone(shared), presences));
    tasks.spawn(heads::run(Arc::clone(shared), questions));
    tasks.spawn(missed::run(Arc::clone(shared), came));
    let inbox = shared.readiness.part("inbox");
    inbox.fails("not listening yet");
    tasks.spawn(sockets::listen(Arc::clone(shared), inbox));
    let polls = shared.readiness.part("long polls");
    polls.fails("not listening yet");
    tasks.spawn(elsewhere::listen(Arc::clone(shared), polls));
    let told = shared.readiness.part("revocations");
    told.fails("not listening yet");
    tasks.spawn(revocations::run(Arc::clone(shared), told));
    let this = Arc::clone(shared);
    tasks.spawn(async move { this.workers.listen(this.stopped.clone()).await });
    tasks.spawn(appear(Arc::clone(shared), presence));
}

/// Takes the lease, without which nothing said of presence counts, then keeps it.
async fn appear(shared: Arc<Shared>, part: PartHandle) {
    let appeared = async {
        let mut told = false;
        loop {
            let taken = match shared.bus.ensure_buckets().await {
                Ok(()) => shared.leases.take().await,
                Err(error) => Err(error),
            };
            match taken {
                Ok(()) => return,
                Err(error) if !told => {
                    tracing::warn!(%error, "the backplane is not there yet; trying until it is: check NATS and SIMURGH_NATS_URL");
                    told = true;
                }
                Err(_) => {}
            }
            let pause = Duration::from_millis(250);
            tokio::time::sleep(pause + shared.env.jitter(pause)).await;
        }
    };
    tokio::select! {
        biased;
        () = shared.stopped.cancelled() => return,
        () = appeared => part.works(),
    }
    shared.tasks.spawn(leases::ensure_offline(Arc::clone(&shared)));
    leases::keep(shared, part).await;
}
