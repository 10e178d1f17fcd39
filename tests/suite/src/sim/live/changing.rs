//! Edits and deletions: of one's own messages, one after the other, each until it is answered.

use serde_json::json;
use tokio::time::Instant;

use super::{Broken, Live, What};
use crate::sim::agent::{Change, ChangeKind};

impl Live<'_> {
    /// Begins to edit or delete one of the latest messages of one's own, also one that is deleted already; or to hide
    /// one of anybody's.
    pub(super) fn start_change(&mut self, room: &'static str, kind: u64) {
        if self.agent.change.is_some() {
            return;
        }
        let lot = usize::try_from(self.agent.env.random_u64() >> 1).unwrap_or(0);
        let user = self.agent.user.clone();
        let mut known = self.agent.stage.ledger.known();
        let acknowledged =
            known.sends.iter().filter(|((of, sender, _), _)| of == room && (kind > 2 || *sender == user));
        let mut found: Vec<_> = acknowledged
            .filter_map(|(name, sent)| Some((sent.acknowledged.clone()?, name.2.clone())))
            .collect();
        found.sort();
        let Some(((_, message), random)) = found.iter().rev().nth(lot % 4).cloned() else { return };
        let key = (room.to_owned(), message.clone());
        let kind = match kind {
            0 | 1 => {
                self.agent.made += 1;
                let content = format!("{room} {random} edit {}", self.agent.made);
                let edits = known.edits.entry(key).or_default();
                edits.tried.insert(content.clone());
                edits.certain = false;
                ChangeKind::Edit(content)
            }
            2 => {
                known.deletions.entry(key).or_default();
                ChangeKind::Delete
            }
            _ => {
                known.hidden.entry((key.0, key.1, user)).or_default();
                ChangeKind::Hide
            }
        };
        drop(known);
        let room = room.to_owned();
        self.agent.change = Some(Change { room, message, kind, in_flight: false, not_before: None });
    }

    /// Pushes the change that is not answered yet.
    pub(super) async fn push_change(&mut self, joined: &[&str]) -> Result<(), Broken> {
        let now = self.agent.now();
        let may = |change: &&mut Change| !change.in_flight && change.not_before.is_none_or(|at| at <= now);
        let Some(change) = self.agent.change.as_mut().filter(may) else { return Ok(()) };
        if !joined.contains(&change.room.as_str()) {
            return Ok(());
        }
        change.in_flight = true;
        let change = change.clone();
        let key = (change.room.clone(), change.message.clone());
        let gone = self.agent.stage.ledger.known().deletions.get(&key) == Some(&true);
        let (event, payload) = match &change.kind {
            ChangeKind::Edit(content) => {
                ("edit_message", json!({"message_id": change.message, "content": content}))
            }
            kind => {
                let for_everyone = *kind == ChangeKind::Delete;
                ("delete_message", json!({"message_id": change.message, "for_everyone": for_everyone}))
            }
        };
        let topic = format!("conversation:{}", change.room);
        self.ask(&topic, event, payload, What::Change(change, gone)).await
    }

    /// What the answer means; `gone` where the message was known to be deleted before this was asked.
    pub(super) fn changed(&mut self, change: Change, gone: bool, at: Instant, reason: Option<&str>) {
        let key = (change.room.clone(), change.message.clone());
        let member = (change.room.clone(), self.agent.user.clone());
        let is_edit = matches!(change.kind, ChangeKind::Edit(_));
        let deleting = self.agent.stage.ledger.known().deletions.contains_key(&key);
        if is_edit && reason == Some("not_found") && deleting {
            self.agent.change = None;
            return;
        }
        self.agent.stage.ledger.judge(&member, "a change", at, reason);
        if is_edit && gone && reason.is_none() {
            self.agent.wrong(&format!("{} was edited after it was deleted", change.message));
        }
        match reason {
            None => {
                let mut known = self.agent.stage.ledger.known();
                match change.kind {
                    ChangeKind::Edit(content) => {
                        let edits = known.edits.entry(key).or_default();
                        (edits.last, edits.certain) = (Some(content), true);
                    }
                    ChangeKind::Delete => {
                        known.deletions.insert(key, true);
                    }
                    ChangeKind::Hide => {
                        known.hidden.insert((key.0, key.1, self.agent.user.clone()), true);
                    }
                }
                drop(known);
                self.agent.change = None;
            }
            Some("unavailable" | "unmatched topic") => {
                if let Some(current) = &mut self.agent.change {
                    current.in_flight = false;
                }
            }
            // It was given up: an attempt of it may have been carried out.
            Some(_) => self.agent.change = None,
        }
    }
}
