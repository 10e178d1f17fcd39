//! What users do.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::sleep;

use super::{Broken, Live, What};
use crate::{
    client::token,
    sim::{
        agent::{Outgoing, Toggle},
        ledger::Position,
        scene::{ROOMS, ask},
        screen::Channel,
    },
};

impl Live<'_> {
    /// One of the things that users do.
    pub(super) async fn do_something(&mut self) -> Result<(), Broken> {
        let room = ROOMS[usize::from(self.agent.chance(3))];
        let topic = format!("conversation:{room}");
        match self.agent.env.random_u64() % 40 {
            0 => {
                self.agent.write_message(ROOMS[2], 10);
                self.repeat().await
            }
            1..=15 => {
                let bytes = if self.agent.chance(12) { 6_000 } else { 10 };
                self.agent.write_message(room, bytes);
                self.repeat().await
            }
            16 | 17 => {
                self.send_twice(room);
                self.repeat().await
            }
            18 | 19 => self.send_again(room).await,
            20..=25 if self.agent.device == 0 => {
                self.start_toggle(room);
                self.repeat().await
            }
            26 if self.is_in(room) => self.mark(room, Position::Read).await,
            27 if self.is_in(room) => self.mark(room, Position::Delivered).await,
            28 if self.is_in(room) => self.ask(&topic, "typing_start", json!({}), What::Other).await,
            29 if self.is_in(room) => {
                if let Some(screen) = self.agent.screens.get_mut(room) {
                    screen.channel = Channel::Leaving;
                }
                self.ask(&topic, "phx_leave", json!({}), What::Leave(room)).await
            }
            30 | 31 => Err(Broken),
            32 if self.agent.device == 0 && self.agent.choosing.is_none() => {
                let lot = usize::try_from(self.agent.env.random_u64() % 4).unwrap_or(0);
                self.agent.choosing = Some((["online", "away", "busy", "offline"][lot].to_owned(), false));
                Ok(())
            }
            lot @ 34..=37 if self.agent.device == 0 => {
                self.start_change(room, lot - 34);
                self.repeat().await
            }
            33 => {
                // Reads nothing for a while.
                sleep(self.agent.env.jitter(Duration::from_secs(5))).await;
                self.excused_until = self.agent.now();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The same message by HTTP at the same time, through whichever gateway.
    fn send_twice(&mut self, room: &'static str) {
        let Outgoing { name, content, .. } = self.agent.write_message(room, 10);
        let (stage, env, user) =
            (Arc::clone(&self.agent.stage), self.agent.env.fork(), self.agent.user.clone());
        let body = json!({"message_type": "text", "content": content, "client_random": name.2});
        tokio::spawn(async move {
            let (path, began) = (format!("/api/v1/conversations/{room}/messages"), env.instant());
            let token = token(&user, false, &env);
            let answer = ask(&stage.system, &env, &token, "POST", &path, Some(body)).await;
            let Some((status, answer)) = answer else { return };
            let member = (room.to_owned(), user);
            let reason = answer["error"]["reason"].as_str();
            stage.ledger.judge(&member, "a message by HTTP", began, reason);
            if let (200 | 201, Some(seq), Some(id)) =
                (status, answer["seq"].as_u64(), answer["message_id"].as_str())
            {
                stage.ledger.acknowledged(&name, seq, id, answer["duplicate"] == true, env.instant());
            }
        });
    }

    /// An acknowledged message once more, as it was or with other content.
    async fn send_again(&mut self, room: &'static str) -> Result<(), Broken> {
        let found = {
            let known = self.agent.stage.ledger.known();
            let own = known.sends.iter().filter(|((of, sender, _), sent)| {
                of == room && *sender == self.agent.user && sent.acknowledged.is_some()
            });
            let own: Vec<_> = own.map(|(name, sent)| (name.clone(), sent.content.clone())).collect();
            let lot = usize::try_from(self.agent.env.random_u64() >> 1).unwrap_or(0);
            own.get(lot % own.len().max(1)).cloned()
        };
        let Some((name, content)) = found.filter(|_| self.is_in(room)) else { return Ok(()) };
        if self.agent.chance(3) {
            let payload =
                json!({"message_type": "text", "content": format!("{content}!"), "client_random": name.2});
            let topic = format!("conversation:{room}");
            return self.ask(&topic, "send_message", payload, What::Conflict(name)).await;
        }
        self.push(&Outgoing { name, content, reply_to: None, in_flight: true }).await
    }

    fn start_toggle(&mut self, room: &'static str) {
        let lot = usize::try_from(self.agent.env.random_u64() >> 1).unwrap_or(0);
        let Some(screen) = self.agent.screens.get(room).filter(|_| self.agent.toggle.is_none()) else {
            return;
        };
        // The latest few, so that some change often.
        let Some((_, (message, _))) = screen.shown.iter().rev().nth(lot % 3) else { return };
        let emoji = ["👍", "🎉"][lot / 3 % 2];
        let reaction = (room.to_owned(), message.clone(), self.agent.user.clone(), emoji.to_owned());
        let mut known = self.agent.stage.ledger.known();
        let held = known.reactions.entry(reaction.clone()).or_insert(Some(false));
        self.agent.toggle =
            held.map(|held| Toggle { reaction, add: !held, in_flight: false, not_before: None });
    }

    /// What is shown last was read, or has come, whatever became of it.
    async fn mark(&mut self, room: &'static str, position: Position) -> Result<(), Broken> {
        let Some(screen) = self.agent.screens.get(room) else { return Ok(()) };
        let Some((seq, (message, _))) = screen.shown.last_key_value() else { return Ok(()) };
        let (seq, payload) = (*seq, json!({"message_id": message}));
        let topic = format!("conversation:{room}");
        let event = match position {
            Position::Read => "mark_as_read",
            Position::Delivered => "mark_as_delivered",
        };
        self.ask(&topic, event, payload, What::Mark { room, position, seq }).await
    }
}
