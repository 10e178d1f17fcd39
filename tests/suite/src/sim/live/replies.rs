//! What the answers mean.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Asked, Broken, Live, What};
use crate::{
    client::token,
    sim::{
        agent::Toggle,
        ledger::{Name, Position},
        scene::ask,
        screen::Channel,
    },
};

impl Live<'_> {
    pub(super) async fn reply(&mut self, asked: Asked, payload: &Value) -> Result<(), Broken> {
        let response = &payload["response"];
        let reason = response["reason"].as_str().filter(|_| payload["status"] == "error");
        match asked.what {
            What::JoinOwn => self.agent.own = if reason.is_none() { Channel::In } else { Channel::Out },
            What::Join { room, asked: with } => {
                let member = self.agent.member(room);
                self.agent.stage.ledger.judge(&member, "a join", asked.at, reason);
                return self.joined(room, with, reason.is_none().then_some(response)).await;
            }
            What::Leave(room) => {
                if let Some(screen) =
                    self.agent.screens.get_mut(room).filter(|one| one.channel == Channel::Leaving)
                {
                    screen.channel = Channel::Out;
                }
                self.forget_pushes(room);
            }
            What::Send(name) => self.sent(&name, asked.at, response, reason),
            What::Conflict(name) => self.conflicted(&name, asked.at, response, reason),
            What::Change(change, gone) => self.changed(change, gone, asked.at, reason),
            What::Toggle(toggle) => self.toggled(toggle, asked.at, reason),
            What::Choose(status) => {
                if reason.is_none() {
                    self.agent.status = Some(status);
                    self.agent.choosing = None;
                } else if let Some((_, in_flight)) = &mut self.agent.choosing {
                    *in_flight = false;
                }
            }
            What::Mark { room, position, seq } => {
                let member = self.agent.member(room);
                self.agent.stage.ledger.judge(&member, "marking", asked.at, reason);
                let now = match position {
                    Position::Read => &response["last_read_seq"],
                    Position::Delivered => &response["last_delivered_seq"],
                };
                if reason.is_none() && now.as_u64() < Some(seq) {
                    self.agent.wrong(&format!("{position:?} {seq}, and the position is {response}"));
                }
                if reason.is_none() {
                    self.agent.stage.ledger.marked(member, position, seq);
                }
            }
            What::Other => {}
        }
        Ok(())
    }

    async fn joined(&mut self, room: &'static str, asked: bool, reply: Option<&Value>) -> Result<(), Broken> {
        let Some(screen) = self.agent.screens.get_mut(room) else { return Ok(()) };
        let Some(reply) = reply else {
            screen.channel = Channel::Out;
            return Ok(());
        };
        screen.joined_at = Some(self.agent.env.instant());
        match screen.joined(reply, asked) {
            Ok(false) => {}
            Ok(true) => return self.read_on(room, reply["last_seq"].as_u64().unwrap_or_default()).await,
            Err(wrong) => self.agent.wrong(&format!("join of {room}: {wrong}")),
        }
        Ok(())
    }

    /// The join's reply was truncated: the rest comes by HTTP, before any broadcast is looked at.
    async fn read_on(&mut self, room: &'static str, last_seq: u64) -> Result<(), Broken> {
        let token = token(&self.agent.user, false, &self.agent.env);
        loop {
            let Some(screen) = self.agent.screens.get_mut(room) else { return Ok(()) };
            if screen.at >= last_seq {
                self.excused_until = self.agent.now();
                return Ok(());
            }
            let path = format!("/api/v1/conversations/{room}/messages?after_seq={}&limit=200", screen.at);
            let answer = ask(&self.agent.stage.system, &self.agent.env, &token, "GET", &path, None).await;
            match answer {
                Some((200, page)) => {
                    let messages = page["messages"].as_array().cloned().unwrap_or_default();
                    let wanted = messages.iter().filter(|message| message["seq"].as_u64() <= Some(last_seq));
                    for message in wanted {
                        if let Err(wrong) = screen.message(message) {
                            self.agent.wrong(&format!("history of {room}: {wrong}"));
                            return Err(Broken);
                        }
                        let id = message["id"].as_str().unwrap_or_default().to_owned();
                        screen.reactions.insert(id, crate::sim::screen::reactions(message));
                    }
                }
                // Not a member any more: the channel is closed, too.
                Some((404, _)) => return Err(Broken),
                _ => tokio::time::sleep(self.agent.env.jitter(Duration::from_millis(500))).await,
            }
        }
    }

    fn sent(&mut self, name: &Name, at: Instant, response: &Value, reason: Option<&str>) {
        if reason == Some("validation_failed") && self.answers_what_goes(name) {
            return;
        }
        let member = (name.0.clone(), name.1.clone());
        self.agent.stage.ledger.judge(&member, "a message", at, reason);
        if reason.is_none() {
            let (seq, id) = (response["seq"].as_u64().unwrap_or_default(), response["message_id"].as_str());
            let duplicate = response["duplicate"] == true;
            let now = self.agent.now();
            self.agent.stage.ledger.acknowledged(name, seq, id.unwrap_or_default(), duplicate, now);
            self.agent.outbox.remove(&name.2);
        } else if let Some(outgoing) = self.agent.outbox.get_mut(&name.2) {
            outgoing.in_flight = false;
        }
    }

    /// Whether a message was to answer one that was deleted meanwhile: then it is sent without.
    fn answers_what_goes(&mut self, name: &Name) -> bool {
        let Some(outgoing) = self.agent.outbox.get_mut(&name.2) else { return false };
        let Some(answered) = outgoing.reply_to.take() else { return false };
        outgoing.in_flight = false;
        let known = self.agent.stage.ledger.known();
        let hidden = (name.0.clone(), answered.clone(), name.1.clone());
        known.deletions.contains_key(&(name.0.clone(), answered)) || known.hidden.contains_key(&hidden)
    }

    /// Another message under this name is refused, and the first one is named.
    fn conflicted(&mut self, name: &Name, at: Instant, response: &Value, reason: Option<&str>) {
        let member = (name.0.clone(), name.1.clone());
        let first = {
            let known = self.agent.stage.ledger.known();
            known.sends.get(name).and_then(|sent| sent.acknowledged.clone())
        };
        let (Some((_, id)), reason) = (first, reason.unwrap_or("ok")) else { return };
        let right = match reason {
            "conflict" => response["message_id"] == id.as_str(),
            // A removal that is told late closes the channel also of a member who is back.
            "unavailable" | "unmatched topic" => true,
            "not_a_member" => !self.agent.stage.ledger.is_member(&member, at),
            _ => false,
        };
        if !right {
            self.agent.wrong(&format!(
                "other content for {name:?}, which is {id}, was answered {reason} {response}"
            ));
        }
    }

    fn toggled(&mut self, toggle: Toggle, at: Instant, reason: Option<&str>) {
        let member = (toggle.reaction.0.clone(), self.agent.user.clone());
        let message = (toggle.reaction.0.clone(), toggle.reaction.1.clone());
        let gone = self.agent.stage.ledger.known().deletions.contains_key(&message);
        if reason != Some("not_found") || !gone {
            self.agent.stage.ledger.judge(&member, "a reaction", at, reason);
        }
        let mut known = self.agent.stage.ledger.known();
        match reason {
            None => {
                known.reactions.insert(toggle.reaction, Some(toggle.add));
                self.agent.toggle = None;
            }
            Some("unavailable" | "unmatched topic") => {
                if let Some(current) = &mut self.agent.toggle {
                    current.in_flight = false;
                }
            }
            Some(_) => {
                // It was given up: an attempt of it may have been carried out.
                known.reactions.insert(toggle.reaction, None);
                self.agent.toggle = None;
            }
        }
    }
}
