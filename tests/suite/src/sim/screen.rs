//! What one user sees of one conversation, as an app keeps it: messages by `seq`, reactions, who is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio::time::Instant;

use super::presence::PresenceList;

/// A message's reactions: emoji, and who.
pub type Reactions = BTreeMap<String, BTreeSet<String>>;

/// Where the channel stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// Not joined.
    #[default]
    Out,
    /// A join was sent.
    Joining,
    /// Joined.
    In,
    /// A leave was sent.
    Leaving,
}

/// The screen.
#[derive(Debug, Default)]
pub struct Screen {
    /// The channel.
    pub channel: Channel,
    /// When it was joined.
    pub joined_at: Option<Instant>,
    /// The join_ref of the last join.
    pub join_ref: String,
    /// Where the first join began; nothing before it is shown.
    pub start: Option<u64>,
    /// The last `seq` shown.
    pub at: u64,
    /// The position in the changes.
    pub since: Option<String>,
    /// Messages by `seq`: id and content.
    pub shown: BTreeMap<u64, (String, String)>,
    /// Reactions by message.
    pub reactions: BTreeMap<String, Reactions>,
    /// Who is there.
    pub presence: PresenceList,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The `reactions` of a message in history.
#[must_use]
pub fn reactions(message: &Value) -> Reactions {
    let emojis = message["reactions"].as_object().into_iter().flatten();
    let users = |users: &Value| users.as_array().into_iter().flatten().map(text).collect();
    emojis.map(|(emoji, who)| (emoji.clone(), users(who))).collect()
}

impl Screen {
    /// The params of the next join; `from` is where a first one begins.
    #[must_use]
    pub fn params(&self, from: Option<u64>) -> Value {
        let last_seq = self.start.map(|_| self.at).or(from);
        let mut params = serde_json::json!({});
        if let Some(last_seq) = last_seq {
            params["last_seq"] = last_seq.into();
        }
        if let Some(since) = &self.since {
            params["since"] = since.as_str().into();
        }
        params
    }

    /// The join's ok reply. Answers whether more must be read up to its `last_seq`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn joined(&mut self, reply: &Value, asked: bool) -> Result<bool, String> {
        let last_seq = reply["last_seq"].as_u64().ok_or("a join's reply has no last_seq")?;
        if self.start.is_none() {
            let start = if asked { 0 } else { last_seq };
            (self.start, self.at) = (Some(start), start);
        }
        for message in reply["messages"].as_array().into_iter().flatten() {
            self.message(message)?;
            self.reactions.insert(text(&message["id"]), reactions(message));
        }
        for message in reply["changes"].as_array().into_iter().flatten() {
            self.edited(message)?;
            self.reactions.insert(text(&message["id"]), reactions(message));
        }
        self.since = Some(text(&reply["change_cursor"]));
        self.presence.joining();
        self.channel = Channel::In;
        let truncated = reply["truncated"] == true;
        if truncated == (self.at == last_seq) {
            return Err(format!("truncated is {truncated}, shown {} of {last_seq}", self.at));
        }
        if reply["changes_truncated"] == true {
            return Err("more changes than a simulation makes".to_owned());
        }
        Ok(truncated)
    }

    /// The next message.
    ///
    /// # Errors
    /// Where it is not the next one.
    pub fn message(&mut self, message: &Value) -> Result<(), String> {
        let seq = message["seq"].as_u64().unwrap_or_default();
        if seq != self.at + 1 {
            return Err(format!("{seq} comes after {}", self.at));
        }
        self.at = seq;
        self.shown.insert(seq, (text(&message["id"]), text(&message["content"])));
        Ok(())
    }

    /// A message as it is now.
    ///
    /// # Errors
    /// Where it is to be shown and was not yet.
    pub fn edited(&mut self, message: &Value) -> Result<(), String> {
        let seq = message["seq"].as_u64().unwrap_or_default();
        if self.start.is_none_or(|start| seq <= start) {
            return Ok(());
        }
        let shown =
            self.shown.get_mut(&seq).ok_or_else(|| format!("a change to {seq}, which did not come yet"))?;
        shown.1 = text(&message["content"]);
        Ok(())
    }

    /// `message_deleted`, or `message_hidden`, which leaves the others' reactions to those who look.
    ///
    /// # Errors
    /// As for [`Self::edited`].
    pub fn gone(&mut self, payload: &Value, everyone: bool) -> Result<(), String> {
        if everyone {
            self.reactions.remove(&text(&payload["message_id"]));
        }
        self.edited(&serde_json::json!({"seq": payload["seq"], "content": ""}))
    }

    /// `reaction_added` or `reaction_removed`.
    ///
    /// # Errors
    /// Where its message is to be shown and was not yet.
    pub fn reaction(&mut self, payload: &Value, added: bool) -> Result<(), String> {
        let message = text(&payload["message_id"]);
        if self.start == Some(0) && !self.shown.values().any(|(id, _)| *id == message) {
            return Err(format!("a reaction to {message}, which did not come yet"));
        }
        let of = self.reactions.entry(text(&payload["message_id"])).or_default();
        let users = of.entry(text(&payload["reaction"])).or_default();
        if added {
            users.insert(text(&payload["user_id"]));
        } else {
            users.remove(&text(&payload["user_id"]));
        }
        of.retain(|_, users| !users.is_empty());
        Ok(())
    }
}
