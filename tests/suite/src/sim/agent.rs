//! A user with an app: it connects to whichever gateway it finds, joins, shows, sends until it is acknowledged, and comes
//! back whenever the connection is lost.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use simurgh_env::Env;
use tokio::{
    io::DuplexStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{
    admin::ENDED,
    ledger::{Member, Name, Reaction},
    live::Live,
    presence::PresenceList,
    scene::{Phase, ROOMS, Stage},
    screen::{Channel, Screen},
};
use crate::{client::token, system::Node};

/// A message that is not acknowledged yet.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Which.
    pub name: Name,
    /// What it says.
    pub content: String,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// Whether a push of it waits for its answer on this connection.
    pub in_flight: bool,
}

/// What a user is doing to a reaction: add it, take it back.
#[derive(Clone, Debug)]
pub struct Toggle {
    /// Which.
    pub reaction: Reaction,
    /// Whether it is to be there.
    pub add: bool,
    /// Whether a push of it waits for its answer on this connection.
    pub in_flight: bool,
    /// A push whose connection broke may still be carried out until then.
    pub not_before: Option<Instant>,
}

/// What a user is doing to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Giving it this content.
    Edit(String),
    /// Deleting it for everyone.
    Delete,
    /// Deleting it for itself.
    Hide,
}

/// The same, until it is answered.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where.
    pub room: String,
    /// Which message.
    pub message: String,
    /// What.
    pub kind: ChangeKind,
    /// Whether a push of it waits for its answer on this connection.
    pub in_flight: bool,
    /// A push whose connection broke may still be carried out until then.
    pub not_before: Option<Instant>,
}

/// The user.
pub struct Agent {
    /// Who.
    pub user: String,
    /// Which of the user's devices; the first one chooses statuses and reacts.
    pub device: usize,
    /// What it sees of each room.
    pub screens: BTreeMap<&'static str, Screen>,
    /// Who its user topic shows.
    pub contacts: PresenceList,
    /// The status chosen last, once that was acknowledged.
    pub status: Option<String>,
    pub(super) stage: Arc<Stage>,
    pub(super) env: Env,
    pub(super) own: Channel,
    pub(super) refs: u64,
    pub(super) made: u64,
    pub(super) outbox: BTreeMap<String, Outgoing>,
    pub(super) toggle: Option<Toggle>,
    pub(super) change: Option<Change>,
    /// A status that is to be chosen.
    pub(super) choosing: Option<(String, bool)>,
    pub(super) from_the_start: bool,
    /// Whether the last status was chosen, which is to hold: earlier ones are forgotten once all connections are gone.
    pub(super) chose_last: bool,
}

impl Agent {
    /// A user who is not connected yet.
    #[must_use]
    pub fn new(user: &str, device: usize, stage: Arc<Stage>) -> Self {
        let env = stage.system.env.fork();
        Self {
            user: user.to_owned(),
            device,
            screens: ROOMS.into_iter().map(|room| (room, Screen::default())).collect(),
            contacts: PresenceList::default(),
            status: None,
            from_the_start: env.random_u64().is_multiple_of(2),
            stage,
            env,
            own: Channel::Out,
            refs: 0,
            made: 0,
            outbox: BTreeMap::new(),
            toggle: None,
            change: None,
            choosing: None,
            chose_last: false,
        }
    }

    /// Chats until the scene is over.
    pub async fn run(mut self) -> Self {
        while self.stage.phase() != Phase::Over {
            if let Some((ws, gateway)) = self.connect().await {
                Live::new(&mut self, ws, gateway).chat().await;
                if self.stage.phase() == Phase::Over {
                    break;
                }
                self.offline();
            }
            let pause = if self.stage.phase() == Phase::Storm { 2_500 } else { 300 };
            sleep(self.env.jitter(Duration::from_millis(pause))).await;
        }
        self
    }

    /// A socket on some gateway, as behind a balancer.
    async fn connect(&self) -> Option<(WebSocketStream<DuplexStream>, Node)> {
        let gateways = self.stage.system.gateways();
        let which = usize::try_from(self.env.random_u64() >> 1).unwrap_or(0) % gateways.len();
        let gateway = gateways.get(which)?.clone();
        let connector = self.stage.system.gateway(which);
        let token = token(&self.user, false, &self.env);
        let url = format!("ws://test/socket/websocket?vsn=2.0.0&token={token}");
        let upgrade = Box::pin(async {
            let io = connector.connect().await.ok()?;
            client_async(url, io).await.ok()
        });
        let (ws, _) = timeout(Duration::from_secs(4), upgrade).await.ok().flatten()?;
        Some((ws, gateway))
    }

    fn offline(&mut self) {
        self.own = Channel::Out;
        self.screens.values_mut().for_each(|screen| screen.channel = Channel::Out);
        self.outbox.values_mut().for_each(|outgoing| outgoing.in_flight = false);
        let ended = self.now() + ENDED;
        for toggle in self.toggle.iter_mut().filter(|toggle| toggle.in_flight) {
            (toggle.in_flight, toggle.not_before) = (false, Some(ended));
        }
        for change in self.change.iter_mut().filter(|change| change.in_flight) {
            (change.in_flight, change.not_before) = (false, Some(ended));
        }
        self.choosing.iter_mut().for_each(|(_, in_flight)| *in_flight = false);
    }

    pub(super) fn member(&self, room: &str) -> Member {
        (room.to_owned(), self.user.clone())
    }

    pub(super) fn now(&self) -> Instant {
        self.env.instant()
    }

    /// One time in `of`.
    pub(super) fn chance(&self, of: u64) -> bool {
        self.env.random_u64().is_multiple_of(of)
    }

    pub(super) fn wrong(&self, what: &str) {
        let who = format!("{}/{}", self.user, self.device);
        self.stage.ledger.violation(format!("{who}: {what}"));
    }

    /// One of the latest messages in this room, or none.
    fn answered(&self, room: &str) -> Option<String> {
        let screen = self.screens.get(room).filter(|_| self.chance(5))?;
        let lot = usize::try_from(self.env.random_u64() % 3).unwrap_or(0);
        screen.shown.values().rev().nth(lot).map(|(id, _)| id.clone())
    }

    /// A new message for this room, to be sent until it is acknowledged.
    pub(super) fn write_message(&mut self, room: &str, bytes: usize) -> Outgoing {
        self.made += 1;
        let random = format!("{}-{}-{}", self.user, self.device, self.made);
        let content = format!("{room} {random} {}", "x".repeat(bytes));
        let name = (room.to_owned(), self.user.clone(), random.clone());
        self.stage.ledger.sends(name.clone(), content.clone(), self.now());
        let outgoing = Outgoing { name, content, reply_to: self.answered(room), in_flight: false };
        self.outbox.insert(random, outgoing.clone());
        outgoing
    }
}
