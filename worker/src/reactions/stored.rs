//! The reactions on a message as values: what may be added, and the form in which they are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use simurgh_protocol::{Refusal, UserId, limits};

use super::React;
use crate::changes::deleted;

/// Bytes of the reactions on one message as clients see them, at most, so that a page of history always takes a
/// message.
const SHOWN_BYTES: usize = 192 * 1024;

/// Who reacted how: users by reaction, in the order in which they reacted.
///
/// Stored as `{"users": […], "r": {reaction: [index…]}}`: an id that reacted ten times is written once. Those on a message
/// that was deleted are closed (`"closed": true`): whoever comes late meets that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Document", into = "Document")]
pub(crate) struct Reactions {
    by_reaction: BTreeMap<String, Vec<UserId>>,
    closed: bool,
}

#[derive(Serialize, Deserialize)]
struct Document {
    users: Vec<UserId>,
    r: BTreeMap<String, Vec<usize>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    closed: bool,
}

impl From<Document> for Reactions {
    fn from(document: Document) -> Self {
        let users = |indices: Vec<usize>| {
            indices.into_iter().filter_map(|index| document.users.get(index).cloned()).collect()
        };
        let by_reaction =
            document.r.into_iter().map(|(reaction, indices)| (reaction, users(indices))).collect();
        Self { by_reaction, closed: document.closed }
    }
}

impl From<Reactions> for Document {
    fn from(reactions: Reactions) -> Self {
        let mut users = Vec::new();
        let mut indices: BTreeMap<UserId, usize> = BTreeMap::new();
        let mut index = |user: UserId| {
            *indices.entry(user).or_insert_with_key(|user| {
                users.push(user.clone());
                users.len() - 1
            })
        };
        let closed = reactions.closed;
        let r = reactions
            .by_reaction
            .into_iter()
            .map(|(reaction, users)| (reaction, users.into_iter().map(&mut index).collect()))
            .collect();
        Self { users, r, closed }
    }
}

impl Reactions {
    /// As clients see them.
    pub(crate) fn shown(self) -> BTreeMap<String, Vec<UserId>> {
        self.by_reaction
    }

    /// Of a message that was deleted: none, and none to come.
    pub(crate) fn closed() -> Self {
        Self { by_reaction: BTreeMap::new(), closed: true }
    }

    /// The reactions after this user added or took back this one; the same ones where that is so already.
    ///
    /// # Errors
    /// `validation_failed` where the message or the user has as many as may be (contract section 5), `not_found` where the
    /// message was deleted.
    pub(crate) fn decide(
        &self,
        user: &UserId,
        reaction: &str,
        react: React,
        distinct: usize,
    ) -> Result<Self, Refusal> {
        if self.closed {
            return Err(deleted());
        }
        let has = self.by_reaction.get(reaction).is_some_and(|users| users.contains(user));
        match react {
            React::Add if !has => {
                self.room(user, reaction, distinct)?;
                let mut after = self.clone();
                after.by_reaction.entry(reaction.to_owned()).or_default().push(user.clone());
                Ok(after)
            }
            React::Remove if has => {
                let mut after = self.clone();
                if let Some(users) = after.by_reaction.get_mut(reaction) {
                    users.retain(|other| other != user);
                }
                after.by_reaction.retain(|_, users| !users.is_empty());
                Ok(after)
            }
            React::Add | React::Remove => Ok(self.clone()),
        }
    }

    fn room(&self, user: &UserId, reaction: &str, distinct: usize) -> Result<(), Refusal> {
        let own = self.by_reaction.values().filter(|users| users.contains(user)).count();
        if own >= limits::REACTIONS_OF_ONE_USER {
            let most = limits::REACTIONS_OF_ONE_USER;
            return Err(Refusal::invalid("reaction", format!("must be one of your {most} on a message")));
        }
        if !self.by_reaction.contains_key(reaction) && self.by_reaction.len() >= distinct {
            return Err(Refusal::invalid(
                "reaction",
                format!("must be one of the {distinct} on this message"),
            ));
        }
        // Quotes, colon, brackets and commas.
        let bytes = |(reaction, users): (&String, &Vec<UserId>)| {
            6 * reaction.len() + 6 + users.iter().map(|user| user.as_str().len() + 3).sum::<usize>()
        };
        if self.by_reaction.iter().map(bytes).sum::<usize>() >= SHOWN_BYTES {
            return Err(Refusal::invalid("reaction", "must not be one too many: this message holds no more"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use simurgh_protocol::Reason;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn add(reactions: &Reactions, name: &str, reaction: &str) -> Result<Reactions, Refusal> {
        reactions.decide(&user(name), reaction, React::Add, limits::REACTIONS)
    }

    #[test]
    fn adding_and_taking_back_are_idempotent() {
        let none = Reactions::default();
        let one = add(&none, "alice", "👍").unwrap();
        assert_eq!(add(&one, "alice", "👍").unwrap(), one);
        let two = add(&one, "bob", "👍").unwrap();
        assert_eq!(
            two.clone().shown(),
            BTreeMap::from([("👍".to_owned(), vec![user("alice"), user("bob")])])
        );
        let left = two.decide(&user("alice"), "👍", React::Remove, 64).unwrap();
        assert_eq!(left.decide(&user("alice"), "👍", React::Remove, 64).unwrap(), left);
        assert_eq!(left.decide(&user("bob"), "👍", React::Remove, 64).unwrap(), none);
    }

    #[test]
    fn one_user_has_ten_and_a_message_sixty_four() {
        let mut reactions = Reactions::default();
        for n in 0..10 {
            reactions = add(&reactions, "alice", &format!("r{n}")).unwrap();
        }
        assert_eq!(add(&reactions, "alice", "r10").unwrap_err().reason, Reason::ValidationFailed);
        assert_eq!(add(&reactions, "alice", "r9").unwrap(), reactions);
        for n in 10..64 {
            reactions = add(&reactions, &format!("u{n}"), &format!("r{n}")).unwrap();
        }
        assert_eq!(add(&reactions, "bob", "r64").unwrap_err().reason, Reason::ValidationFailed);
        assert!(add(&reactions, "bob", "r63").is_ok());
    }

    #[test]
    fn a_full_group_of_long_names_fits_into_an_item() {
        let mut reactions = Reactions::default();
        let mut refused = 0;
        for n in 0..1_024 * 10 {
            let name = format!("{:x<60}{:04}", "u", n / 10);
            match add(&reactions, &name, &format!("{}", n % 10)) {
                Ok(more) => reactions = more,
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0, "the bound is met");
        let json = serde_json::to_string(&reactions).unwrap();
        assert!(json.len() < 300 * 1024, "{}", json.len());
        assert_eq!(serde_json::from_str::<Reactions>(&json).unwrap(), reactions);
        assert!(serde_json::to_string(&reactions.shown()).unwrap().len() < SHOWN_BYTES + 1024);
    }
}
