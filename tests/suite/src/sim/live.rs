//! One connection of a user's: what is asked, and what comes.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{
    agent::{Agent, Change, Outgoing, Toggle},
    ledger::{Name, Position},
    scene::{Phase, ROOMS},
    screen::Channel,
};
use crate::{system::Node, world::link::Life};

/// Every push and join is answered within 8 s (DESIGN's invariant); and what a simulated network adds.
const ANSWERED: Duration = Duration::from_millis(8_500);
/// Between two things that a user does, at most.
const PACE: Duration = Duration::from_millis(600);
/// A socket that takes nothing for so long is given up by its client.
const STUCK: Duration = Duration::from_secs(3);

mod changing;
mod doings;
mod frames;
mod replies;

/// What was asked.
#[derive(Debug)]
enum What {
    JoinOwn,
    Join {
        room: &'static str,
        asked: bool,
    },
    Leave(&'static str),
    Send(Name),
    /// Another message under a name that is taken.
    Conflict(Name),
    Toggle(Toggle),
    /// A change, and whether its message was known to be deleted.
    Change(Change, bool),
    Choose(String),
    Mark {
        room: &'static str,
        position: Position,
        seq: u64,
    },
    Other,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    what: What,
}

/// The connection.
pub(super) struct Live<'a> {
    agent: &'a mut Agent,
    ws: WebSocketStream<DuplexStream>,
    gateway: Node,
    pending: BTreeMap<String, Asked>,
    /// What the gateway or the user did not do before that moment is nobody's fault.
    excused_until: Instant,
    said_at: Instant,
}

/// The connection is of no use any more.
struct Broken;

impl<'a> Live<'a> {
    pub(super) fn new(agent: &'a mut Agent, ws: WebSocketStream<DuplexStream>, gateway: Node) -> Self {
        let now = agent.now();
        Self { agent, ws, gateway, pending: BTreeMap::new(), excused_until: now, said_at: now }
    }

    /// Goes on until the connection breaks or the scene is over.
    pub(super) async fn chat(mut self) {
        let stage = std::sync::Arc::clone(&self.agent.stage);
        let mut next = self.agent.now();
        loop {
            let went_on = tokio::select! {
                biased;
                () = stage.reaches(Phase::Over) => return,
                frame = self.ws.next() => match frame {
                    Some(Ok(Message::Text(text))) => self.frame(&text).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => Ok(()),
                },
                () = sleep_until(next) => {
                    next = self.agent.now() + self.agent.env.jitter(PACE);
                    self.act().await
                }
            };
            if went_on.is_err() {
                return;
            }
        }
    }

    async fn ask(&mut self, topic: &str, event: &str, payload: Value, what: What) -> Result<(), Broken> {
        self.agent.refs += 1;
        let name = self.agent.refs.to_string();
        let join_ref = match &what {
            What::Join { .. } | What::JoinOwn => name.as_str().into(),
            What::Leave(room) => self.agent.screens[room].join_ref.as_str().into(),
            _ => Value::Null,
        };
        if let What::Join { room, .. } = &what
            && let Some(screen) = self.agent.screens.get_mut(room)
        {
            screen.join_ref.clone_from(&name);
        }
        let frame = json!([join_ref, name, topic, event, payload]).to_string();
        self.said_at = self.agent.now();
        self.pending.insert(name, Asked { at: self.said_at, what });
        let sent = timeout(STUCK, self.ws.send(Message::text(frame))).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Broken) }
    }

    async fn act(&mut self) -> Result<(), Broken> {
        self.look_for_silence()?;
        if self.agent.own == Channel::Out {
            self.agent.own = Channel::Joining;
            self.agent.contacts.joining();
            let topic = format!("user:{}", self.agent.user);
            self.ask(&topic, "phx_join", json!({}), What::JoinOwn).await?;
        }
        for room in ROOMS {
            self.join(room).await?;
        }
        self.repeat().await?;
        if self.agent.now() > self.said_at + Duration::from_secs(20) {
            self.ask("phoenix", "heartbeat", json!({}), What::Other).await?;
        }
        if self.agent.stage.phase() == Phase::Storm {
            return self.do_something().await;
        }
        if self.agent.device == 0 && !self.agent.chose_last && self.agent.choosing.is_none() {
            self.agent.chose_last = true;
            let last = self.agent.status.clone().unwrap_or_else(|| "online".to_owned());
            self.agent.choosing = Some((last, false));
        }
        Ok(())
    }

    /// Everything is answered in time, unless the gateway was stopped.
    fn look_for_silence(&mut self) -> Result<(), Broken> {
        let now = self.agent.now();
        if self.gateway.link.life() != Life::Runs {
            self.excused_until = now;
        }
        let late = |asked: &&Asked| now > asked.at.max(self.excused_until) + ANSWERED;
        if let Some(asked) = self.pending.values().find(late) {
            self.agent.wrong(&format!("not answered within 8 s: {:?}", asked.what));
            return Err(Broken);
        }
        Ok(())
    }

    async fn join(&mut self, room: &'static str) -> Result<(), Broken> {
        let from = self.agent.from_the_start.then_some(0);
        let patient = !self.agent.chance(3);
        let Some(screen) = self.agent.screens.get_mut(room).filter(|_| patient) else { return Ok(()) };
        if screen.channel != Channel::Out {
            return Ok(());
        }
        screen.channel = Channel::Joining;
        let params = screen.params(from);
        let asked = params.get("last_seq").is_some();
        self.ask(&format!("conversation:{room}"), "phx_join", params, What::Join { room, asked }).await
    }

    /// What is not acknowledged is pushed (again).
    async fn repeat(&mut self) -> Result<(), Broken> {
        let joined: Vec<&str> = ROOMS.into_iter().filter(|room| self.is_in(room)).collect();
        let waiting: Vec<String> = self
            .agent
            .outbox
            .iter()
            .filter(|(_, outgoing)| !outgoing.in_flight && joined.contains(&outgoing.name.0.as_str()))
            .map(|(random, _)| random.clone())
            .collect();
        for random in waiting {
            let Some(outgoing) = self.agent.outbox.get_mut(&random) else { continue };
            outgoing.in_flight = true;
            let outgoing = outgoing.clone();
            self.push(&outgoing).await?;
        }
        let now = self.agent.now();
        let may = |toggle: &&mut Toggle| !toggle.in_flight && toggle.not_before.is_none_or(|at| at <= now);
        if let Some(toggle) = self.agent.toggle.as_mut().filter(may)
            && joined.contains(&toggle.reaction.0.as_str())
        {
            toggle.in_flight = true;
            let toggle = toggle.clone();
            let (room, message, _, emoji) = toggle.reaction.clone();
            let event = if toggle.add { "add_reaction" } else { "remove_reaction" };
            let payload = json!({"message_id": message, "reaction": emoji});
            self.ask(&format!("conversation:{room}"), event, payload, What::Toggle(toggle)).await?;
        }
        self.push_change(&joined).await?;
        if self.agent.own == Channel::In
            && let Some((status, in_flight)) =
                self.agent.choosing.as_mut().filter(|(_, in_flight)| !in_flight)
        {
            *in_flight = true;
            let status = status.clone();
            let topic = format!("user:{}", self.agent.user);
            let payload = json!({"status": status});
            self.ask(&topic, "update_presence", payload, What::Choose(status)).await?;
        }
        Ok(())
    }

    fn is_in(&self, room: &str) -> bool {
        self.agent.screens.get(room).is_some_and(|screen| screen.channel == Channel::In)
    }

    async fn push(&mut self, outgoing: &Outgoing) -> Result<(), Broken> {
        let (room, _, random) = &outgoing.name;
        let payload = json!({"message_type": "text", "content": outgoing.content, "client_random": random,
            "reply_to_id": outgoing.reply_to});
        let what = What::Send(outgoing.name.clone());
        self.ask(&format!("conversation:{room}"), "send_message", payload, what).await
    }
}
