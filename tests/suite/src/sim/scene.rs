//! A scene: a system, users and a service, a storm, and what was true afterwards.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use simurgh_env::Env;
use simurgh_protocol::Timestamp;
use tokio::time::{Instant, sleep};

use super::{
    admin::Admin,
    agent::Agent,
    checks,
    ledger::{Ledger, Member},
    storm::Storm,
};
use crate::{
    client::{call, token},
    system::System,
    world::watched::Watched,
};

/// How long things go wrong.
const STORM: Duration = Duration::from_secs(16);
/// How long it may take until everybody has everything (contract section 3.4): 30 s, and a head's way.
const HEALING: Duration = Duration::from_secs(36);

/// How long it may take where nothing went wrong: what users and the service still finish, and the grace.
const SETTLING: Duration = Duration::from_secs(10);
/// How soon a message is on every screen where nothing goes wrong.
const PROMPT: Duration = Duration::from_millis(300);

/// The users.
pub const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// A member of all groups who never comes.
pub const AWAY: &str = "erin";
/// Three groups of all of them. The members of the second come and go; in the third hardly anything is ever said, so that
/// no later message betrays one that was lost.
pub const ROOMS: [&str; 3] = ["room", "lounge", "attic"];

/// What users do at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Anything.
    Storm,
    /// They finish what they began.
    Healing,
    /// Nothing.
    Over,
}

/// What everybody on the scene shares.
pub struct Stage {
    /// The system.
    pub system: Arc<System>,
    /// What is known.
    pub ledger: Ledger,
    /// Nothing goes wrong in this scene.
    pub calm: bool,
    phase: Watched<Phase>,
}

impl Stage {
    /// The phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Where nothing goes wrong, a message comes at once to who listens since `listening`.
    ///
    /// # Errors
    /// Where it came late.
    pub fn prompt(&self, message: &Value, listening: Instant) -> Result<(), String> {
        let env = &self.system.env;
        let stored = serde_json::from_value::<Timestamp>(message["sent_at"].clone())
            .map_err(|error| error.to_string())?;
        let late = env.now().since(stored).min(env.instant() - listening);
        if self.calm && late > PROMPT { Err(format!("a message came {late:?} late")) } else { Ok(()) }
    }

    /// What was sent after a removal is not told to who was removed.
    ///
    /// # Errors
    /// Where it was.
    pub fn not_after_removal(&self, member: &Member, message: &Value) -> Result<(), String> {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let name = (member.0.clone(), text("sender_id"), text("client_random"));
        let pushed = self.ledger.known().sends.get(&name).map(|sent| sent.at);
        match pushed {
            Some(pushed) if self.ledger.is_gone(member, pushed) => {
                Err(format!("{name:?} was sent after the removal of {member:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Resolves once the scene has reached this phase.
    pub async fn reaches(&self, phase: Phase) {
        self.phase.wait_for(|now| *now >= phase).await;
    }
}

/// What a scene came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is wrong; nothing, one hopes.
    pub violations: Vec<String>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages that somebody wanted to send, and those that were acknowledged.
    pub sent: (usize, usize),
    /// Acknowledgements of duplicates.
    pub duplicates: u64,
    /// Messages that were edited, deleted for everyone, and hidden by somebody, as was acknowledged.
    pub changed: [usize; 3],
    /// How long acknowledgements took.
    pub latencies: Vec<Duration>,
}

/// Settings under which users may do as much as they like.
const FLAGS: [&str; 14] = [
    "--rate-messages=0",
    "--rate-typing=0",
    "--rate-joins=0",
    "--rate-gateway-joins=0",
    "--rate-pushes=0",
    "--rate-connects=0",
    "--rate-connects-per-address=0",
    "--max-sockets-per-user=1000",
    "--max-unsent-bytes=16384",
    "--drain-window=1s",
    "--drain-delay=0s",
    "--max-channels=100",
    "--max-frame-bytes=131072",
    "--create-conversations=users",
];

/// Plays the scene of a seed; a `calm` one without faults.
///
/// # Panics
/// Where the system does not even start.
pub async fn play(seed: u64, calm: bool) -> Outcome {
    let system = Arc::new(System::start(seed, 2, 2, &FLAGS));
    sleep(Duration::from_secs(1)).await;
    let stage = Arc::new(Stage {
        system: Arc::clone(&system),
        ledger: Ledger::default(),
        calm,
        phase: Watched::new(Phase::Storm),
    });
    prepare(&system).await;
    let agents: Vec<_> = USERS
        .into_iter()
        .map(|user| {
            // Some have two devices.
            let devices = 1 + usize::from(system.env.random_u64().is_multiple_of(4));
            (0..devices).map(|device| Agent::new(user, device, Arc::clone(&stage))).collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
        .into_iter()
        .flatten()
        .map(|agent| tokio::spawn(Box::pin(agent.run())))
        .collect();
    let admin = tokio::spawn(Admin::new(Arc::clone(&stage)).run());
    if calm {
        sleep(STORM).await;
    } else {
        Storm::new(Arc::clone(&system)).rage(STORM).await;
    }
    stage.phase.change(|phase| *phase = Phase::Healing);
    sleep(if calm { SETTLING } else { HEALING }).await;
    stage.phase.change(|phase| *phase = Phase::Over);
    let agents: Vec<Agent> =
        join_all(agents).await.into_iter().map(|agent| agent.expect("an agent")).collect();
    let admin = admin.await.expect("the service");
    let violations = checks::all(&stage, &agents, &admin).await;
    let outcome = outcome(&stage, violations);
    drop((agents, admin, stage));
    if let Ok(system) = Arc::try_unwrap(system) {
        system.stop().await;
    }
    outcome
}

fn outcome(stage: &Stage, violations: Vec<String>) -> Outcome {
    let known = stage.ledger.known();
    let acknowledged = known.sends.values().filter(|sent| sent.acknowledged.is_some()).count();
    Outcome {
        violations,
        faults: stage.system.weather.counts(),
        sent: (known.sends.len(), acknowledged),
        duplicates: known.duplicates,
        changed: [
            known.edits.values().filter(|edits| edits.last.is_some()).count(),
            known.deletions.values().filter(|deleted| **deleted).count(),
            known.hidden.values().filter(|hidden| **hidden).count(),
        ],
        latencies: known.latencies.clone(),
    }
}

/// A service's call, tried until it is answered otherwise than `unavailable`.
pub async fn surely(system: &System, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    loop {
        if let Some((status, answer)) = once(system, &system.env, method, path, body.clone()).await
            && status != 503
        {
            return (status, answer);
        }
        sleep(system.env.jitter(Duration::from_millis(700))).await;
    }
}

/// A service's call through any gateway; `None` where it was not answered.
pub async fn once(
    system: &System,
    env: &Env,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Option<(u16, Value)> {
    let service = token("backend", true, env);
    ask(system, env, &service, method, path, body).await
}

/// A call through any gateway; `None` where it was not answered.
pub async fn ask(
    system: &System,
    env: &Env,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Option<(u16, Value)> {
    let lot = usize::try_from(env.random_u64() >> 1).unwrap_or(0);
    let gateway = system.gateway(lot);
    let answer = Box::pin(call(&gateway, token, method, path, body));
    tokio::time::timeout(Duration::from_secs(10), answer).await.ok().flatten()
}

async fn prepare(system: &System) {
    for room in ROOMS {
        let members: Vec<&str> = USERS.into_iter().chain([AWAY]).collect();
        let body = json!({"id": room, "type": "group", "member_ids": members});
        let (status, answer) = surely(system, "POST", "/api/v1/conversations", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
    }
    for user in USERS {
        for other in USERS.iter().filter(|other| **other != user) {
            let path = format!("/api/v1/contacts/{other}?user_id={user}");
            let (status, answer) = surely(system, "PUT", &path, None).await;
            assert_eq!(status, 204, "{answer}");
        }
    }
}
