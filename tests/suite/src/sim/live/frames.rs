//! What comes from the server.

use std::time::Duration;

use serde_json::Value;

use super::{Broken, Live, What};
use crate::sim::{admin::ENDED, agent::Outgoing, scene::ROOMS, screen::Channel};

impl Live<'_> {
    pub(super) async fn frame(&mut self, text: &str) -> Result<(), Broken> {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let (topic, event) = (frame[2].as_str().unwrap_or_default(), frame[3].as_str().unwrap_or_default());
        if event == "phx_reply" {
            let asked = frame[1].as_str().and_then(|name| self.pending.remove(name));
            if let Some(asked) = asked {
                return self.reply(asked, &frame[4]).await;
            }
            return Ok(());
        }
        let room = ROOMS.into_iter().find(|room| topic.strip_prefix("conversation:") == Some(room));
        match room {
            Some(room) => self.in_room(room, event, &frame[4]),
            None => match event {
                "presence_state" => self.agent.contacts.state(&frame[4]),
                "presence_diff" => self.agent.contacts.diff(&frame[4]),
                "phx_close" | "phx_error" => self.agent.own = Channel::Out,
                _ => {}
            },
        }
        Ok(())
    }

    fn in_room(&mut self, room: &'static str, event: &str, payload: &Value) {
        let member = self.agent.member(room);
        let Some(screen) = self.agent.screens.get_mut(room) else { return };
        let told = match event {
            "new_message" if screen.channel == Channel::In => {
                let listening = self.excused_until.max(screen.joined_at.unwrap_or(self.excused_until));
                let shown = screen.message(payload);
                let shown = shown.and_then(|()| self.agent.stage.prompt(payload, listening));
                shown.and_then(|()| self.agent.stage.not_after_removal(&member, payload))
            }
            "new_message" if screen.channel == Channel::Joining => {
                Err("a message before the join's reply".to_owned())
            }
            "reaction_added" | "reaction_removed" if screen.channel == Channel::In => {
                screen.reaction(payload, event == "reaction_added")
            }
            "message_edited" if screen.channel == Channel::In => screen.edited(&payload["message"]),
            "message_deleted" if screen.channel == Channel::In => screen.gone(payload, true),
            "message_hidden" if screen.channel == Channel::In => {
                let own = payload["user_id"] == member.1.as_str();
                if own {
                    screen.gone(payload, false)
                } else {
                    Err(format!("told what another hides: {payload}"))
                }
            }
            "presence_state" => {
                screen.presence.state(payload);
                Ok(())
            }
            "presence_diff" => {
                screen.presence.diff(payload);
                Ok(())
            }
            "phx_close" | "phx_error" if screen.channel == Channel::In => {
                screen.channel = Channel::Out;
                self.forget_pushes(room);
                // A removal may be told late, after the member was added again; then it just joins again.
                if event == "phx_error" { Err("phx_error".to_owned()) } else { Ok(()) }
            }
            _ => Ok(()),
        };
        if let Err(wrong) = told {
            self.agent.wrong(&format!("in {room}: {wrong}"));
        }
    }

    /// A channel was closed: what was pushed there may stay without an answer.
    pub(super) fn forget_pushes(&mut self, room: &str) {
        for asked in self.pending.values_mut() {
            let of_room = match &asked.what {
                What::Send((of, ..)) | What::Conflict((of, ..)) => of == room,
                What::Change(change, _) => change.room == room,
                What::Toggle(toggle) => toggle.reaction.0 == room,
                What::Mark { room: of, .. } | What::Leave(of) => *of == room,
                _ => false,
            };
            if of_room {
                asked.at = self.agent.env.instant() + Duration::from_secs(3_600);
            }
        }
        let of_room = |outgoing: &&mut Outgoing| outgoing.name.0 == room;
        self.agent.outbox.values_mut().filter(of_room).for_each(|outgoing| outgoing.in_flight = false);
        if let Some(change) = self.agent.change.as_mut().filter(|change| change.room == room) {
            let ended = self.agent.env.instant() + ENDED;
            (change.in_flight, change.not_before) = (false, Some(ended));
        }
        if let Some(toggle) = self.agent.toggle.as_mut().filter(|toggle| toggle.reaction.0 == room) {
            let ended = self.agent.env.instant() + ENDED;
            (toggle.in_flight, toggle.not_before) = (false, Some(ended));
        }
    }
}
