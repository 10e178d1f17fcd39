//! What must be true when all is over: of what is stored, and of every screen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    admin::Admin,
    agent::Agent,
    ledger::Position,
    presence::Shown,
    scene::{AWAY, ROOMS, Stage, USERS, surely},
    screen::{Channel, Reactions, reactions},
};

/// Messages of which push services were told that somebody missed them.
pub const TOLD: &str = "missed, as was told";
/// Those of which they were not.
pub const UNTOLD: &str = "missed, and nobody told";

/// A stored message.
struct Stored {
    seq: u64,
    id: String,
    sender: String,
    random: String,
    content: String,
    deleted: bool,
    answers: Value,
    reactions: Reactions,
}

/// Everything that is wrong.
pub(super) async fn all(stage: &Stage, agents: &[Agent], admin: &Admin) -> Vec<String> {
    let mut wrong = Wrong(stage.ledger.violations());
    for room in ROOMS {
        let stored = history(stage, room, &mut wrong).await;
        log(stage, room, &stored, &mut wrong);
        contents(stage, room, &stored, &mut wrong);
        gone(stage, room, &stored, &mut wrong);
        missed(stage, room, &stored, &mut wrong);
        for agent in agents {
            screen(agent, room, &stored, &mut wrong);
        }
        kept_reactions(stage, room, &stored, &mut wrong);
        positions(stage, room, &stored, &mut wrong).await;
        presence(agents, room, &mut wrong);
    }
    contacts(agents, admin, &mut wrong);
    number(stage, admin, &mut wrong).await;
    for agent in agents {
        wrong.unless(agent.outbox.is_empty(), || format!("{} still sends {:?}", agent.user, agent.outbox));
    }
    wrong.0
}

struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.0.push(what());
        }
    }
}

async fn history(stage: &Stage, room: &str, wrong: &mut Wrong) -> Vec<Stored> {
    let mut stored = Vec::new();
    loop {
        let after = stored.last().map_or(0, |last: &Stored| last.seq);
        let path = format!("/api/v1/conversations/{room}/messages?after_seq={after}&limit=200");
        let (status, page) = surely(&stage.system, "GET", &path, None).await;
        wrong.unless(status == 200, || format!("history of {room}: {status} {page}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let before = stored.len();
        stored.extend(page["messages"].as_array().into_iter().flatten().map(|message| Stored {
            seq: message["seq"].as_u64().unwrap_or_default(),
            id: text(&message["id"]),
            sender: text(&message["sender_id"]),
            random: text(&message["client_random"]),
            content: text(&message["content"]),
            deleted: message["deleted_at"].is_string(),
            answers: message["reply_to"].clone(),
            reactions: reactions(message),
        }));
        if page["has_more"] != true || stored.len() == before {
            return stored;
        }
    }
}

/// Guarantees 1, 2 and 5: acknowledged is stored, one order without a gap, each message once.
fn log(stage: &Stage, room: &str, stored: &[Stored], wrong: &mut Wrong) {
    for (message, seq) in stored.iter().zip(1..) {
        wrong.unless(message.seq == seq, || {
            format!("{room}: {} is stored where {seq} should be", message.seq)
        });
    }
    let known = stage.ledger.known();
    let mut names = BTreeSet::new();
    for message in stored {
        let name = (room.to_owned(), message.sender.clone(), message.random.clone());
        wrong.unless(names.insert(name.clone()), || format!("{name:?} is stored twice"));
        wrong.unless(known.sends.contains_key(&name), || format!("{name:?} was never sent"));
    }
    for (name, sent) in known.sends.iter().filter(|(name, _)| name.0 == room) {
        if let Some((seq, id)) = &sent.acknowledged {
            let found = usize::try_from(*seq).ok().and_then(|seq| stored.get(seq.checked_sub(1)?));
            let right = found.is_some_and(|found| found.id == *id && found.random == name.2);
            wrong.unless(right, || format!("{name:?} was acknowledged as {seq} and is not stored there"));
        }
    }
}

/// What is stored says what was sent, or what it was edited to last; or it was deleted. An answer quotes that.
fn contents(stage: &Stage, room: &str, stored: &[Stored], wrong: &mut Wrong) {
    let known = stage.ledger.known();
    for message in stored {
        let key = (room.to_owned(), message.id.clone());
        let who = || format!("{room}: {} ({})", message.seq, message.id);
        if message.deleted {
            wrong.unless(known.deletions.contains_key(&key), || format!("{} was deleted by nobody", who()));
            let empty =
                message.content.is_empty() && message.reactions.is_empty() && message.answers.is_null();
            wrong.unless(empty, || format!("{} is deleted, and something is left", who()));
        } else {
            wrong.unless(known.deletions.get(&key) != Some(&true), || format!("{} is not deleted", who()));
            let name = (room.to_owned(), message.sender.clone(), message.random.clone());
            let sent = known.sends.get(&name).map(|sent| &sent.content);
            let right = match known.edits.get(&key) {
                Some(edits) if edits.certain => edits.last.as_ref().or(sent) == Some(&message.content),
                Some(edits) => edits.tried.contains(&message.content) || sent == Some(&message.content),
                None => sent == Some(&message.content),
            };
            wrong.unless(right, || format!("{} says {:?}", who(), message.content));
        }
        if let Some(seq) = message.answers["seq"].as_u64() {
            let answered = usize::try_from(seq).ok().and_then(|seq| stored.get(seq.checked_sub(1)?));
            let begins =
                |answered: &Stored| Value::from(answered.content.chars().take(100).collect::<String>());
            let wanted =
                answered.map(|answered| if answered.deleted { Value::Null } else { begins(answered) });
            wrong.unless(wanted.as_ref() == Some(&message.answers["preview"]), || {
                format!("{} quotes {}, and that is {wanted:?}", who(), message.answers)
            });
        }
    }
}

/// Of what is deleted nothing is left in the store. What a message says begins with its room and its name.
fn gone(stage: &Stage, room: &str, stored: &[Stored], wrong: &mut Wrong) {
    let said: Vec<String> = stored
        .iter()
        .filter(|message| message.deleted)
        .map(|message| format!("{room} {} ", message.random))
        .collect();
    for item in stage.system.store.dump() {
        let left = said.iter().find(|said| item.body.get().contains(said.as_str()));
        wrong.unless(left.is_none(), || format!("{left:?} is deleted, and in the store at {:?}", item.key));
    }
}

/// Who was never there missed all of it, as push services are told, unless a process died over it; and nobody missed what is
/// not stored, or its own.
fn missed(stage: &Stage, room: &str, stored: &[Stored], wrong: &mut Wrong) {
    for message in stored {
        let name = format!("{}:{AWAY}", message.id);
        let told = stage.system.bus.was_kept(&name);
        stage.system.weather.count(if told { TOLD } else { UNTOLD });
        wrong.unless(told || !stage.calm, || {
            format!("{room}: nobody is told that {AWAY} missed {}", message.seq)
        });
    }
    let by_id: BTreeMap<&str, &Stored> =
        stored.iter().map(|message| (message.id.as_str(), message)).collect();
    for (_, name, entry) in stage.system.bus.kept() {
        let entry: Value = serde_json::from_slice(&entry).unwrap_or_default();
        if entry["conversation_id"] != room {
            continue;
        }
        let message = by_id.get(entry["message_id"].as_str().unwrap_or_default());
        let right = message.is_some_and(|message| {
            entry["seq"] == message.seq
                && entry["sender_id"] == message.sender
                && entry["user_id"] != message.sender
        });
        wrong.unless(right, || format!("{room}: {name} was missed, and that is not so: {entry}"));
    }
}

/// Guarantees 3 and 4: every screen is the log from where it began, and its reactions are the stored ones.
/// What the user deleted for itself is blank there.
fn screen(agent: &Agent, room: &str, stored: &[Stored], wrong: &mut Wrong) {
    let who = format!("{}/{} in {room}", agent.user, agent.device);
    let Some(screen) = agent.screens.get(room) else { return };
    wrong.unless(screen.channel == Channel::In, || format!("{who}: the channel is {:?}", screen.channel));
    let Some(start) = screen.start else {
        wrong.0.push(format!("{who}: never joined"));
        return;
    };
    let tail = stored.last().map_or(0, |last| last.seq);
    wrong.unless(screen.at == tail, || format!("{who}: shows up to {} of {tail}", screen.at));
    let nothing = Reactions::new();
    for message in stored.iter().filter(|message| message.seq > start) {
        let shown = screen.shown.get(&message.seq);
        let hidden = (room.to_owned(), message.id.clone(), agent.user.clone());
        let hidden = agent.stage.ledger.known().hidden.get(&hidden).copied();
        let right = shown.is_some_and(|(id, content)| {
            let blank = content.is_empty() && hidden.is_some();
            *id == message.id && (blank || (*content == message.content && hidden != Some(true)))
        });
        wrong.unless(right, || format!("{who}: shows {shown:?} where {} is {}", message.seq, message.id));
        if hidden.is_some() {
            continue;
        }
        let held = screen.reactions.get(&message.id).unwrap_or(&nothing);
        wrong.unless(*held == message.reactions, || {
            format!("{who}: {} has {held:?}, stored is {:?}", message.seq, message.reactions)
        });
    }
}

/// A late run never undoes what came after it: the reaction is as it was acknowledged last.
fn kept_reactions(stage: &Stage, room: &str, stored: &[Stored], wrong: &mut Wrong) {
    let by_id: BTreeMap<&str, &Stored> =
        stored.iter().map(|message| (message.id.as_str(), message)).collect();
    let known = stage.ledger.known();
    for ((of, message, user, emoji), held) in known.reactions.iter().filter(|((of, ..), _)| of == room) {
        let Some(message) = by_id.get(message.as_str()).filter(|message| !message.deleted) else { continue };
        let is = message.reactions.get(emoji).is_some_and(|users| users.contains(user));
        wrong.unless(held.is_none_or(|held| held == is), || {
            format!("{of}: {emoji} of {user} on {} was answered {held:?} last and is {is}", message.seq)
        });
    }
}

/// Positions never fall: what was marked is read, or delivered, by the receipts, also of what is hidden or deleted.
async fn positions(stage: &Stage, room: &str, stored: &[Stored], wrong: &mut Wrong) {
    let marked: Vec<_> = stage.ledger.known().positions.iter().map(|(of, seq)| (of.clone(), *seq)).collect();
    for (((of, user), position), seq) in marked.into_iter().filter(|(((of, _), _), _)| of == room) {
        // Receipts are of others' messages.
        let mut before = stored.iter().rev().skip_while(|message| message.seq > seq);
        let Some(message) = before.find(|message| message.sender != user) else { continue };
        let path = format!("/api/v1/conversations/{room}/messages/{}/receipts", message.id);
        let (status, answer) = surely(&stage.system, "GET", &path, None).await;
        let row = answer["receipts"].as_array().into_iter().flatten().find(|row| row["user_id"] == user);
        let field = match position {
            Position::Read => "read",
            Position::Delivered => "delivered",
        };
        wrong.unless(row.is_some_and(|row| row[field] == true), || {
            format!("{of}: {user} has {field} {seq}, and of {} it says {status} {answer}", message.seq)
        });
    }
}

/// Who chose to be seen, or nothing.
fn is_visible(agents: &[Agent], user: &str) -> bool {
    let status = agents.iter().find(|agent| agent.user == user && agent.device == 0);
    status.and_then(|agent| agent.status.as_deref()) != Some("offline")
}

fn devices(agents: &[Agent], user: &str) -> usize {
    agents.iter().filter(|agent| agent.user == user).count()
}

/// How many connections of whom a list shows.
fn counted(shown: &Shown) -> BTreeMap<&str, usize> {
    shown.iter().map(|(user, refs)| (user.as_str(), refs.len())).collect()
}

/// Guarantee 7: every list shows exactly who is there, by the same refs.
fn presence(agents: &[Agent], room: &str, wrong: &mut Wrong) {
    let there = USERS.into_iter().filter(|user| is_visible(agents, user));
    let wanted: BTreeMap<&str, usize> = there.map(|user| (user, devices(agents, user))).collect();
    let lists: Vec<_> =
        agents.iter().filter_map(|agent| Some((agent, agent.screens.get(room)?.presence.shown()))).collect();
    for (agent, shown) in &lists {
        let who = || format!("{}/{} in {room}", agent.user, agent.device);
        wrong.unless(counted(shown) == wanted, || {
            format!("{}: presence is {shown:?}, wanted {wanted:?}", who())
        });
        wrong.unless(lists.first().is_none_or(|(_, first)| first == shown), || {
            format!("{}: presence has other refs than the first one's", who())
        });
    }
}

/// The user topics show exactly those who show themselves and are there.
fn contacts(agents: &[Agent], admin: &Admin, wrong: &mut Wrong) {
    for agent in agents {
        let shows = |user: &&str| {
            let pair = ((*user).to_owned(), agent.user.clone());
            *user != agent.user
                && is_visible(agents, user)
                && admin.contacts.get(&pair).copied().unwrap_or(true)
        };
        let wanted: BTreeMap<&str, usize> =
            USERS.into_iter().filter(shows).map(|user| (user, devices(agents, user))).collect();
        let shown = agent.contacts.shown();
        wrong.unless(counted(shown) == wanted, || {
            format!("{}/{}: contacts are {shown:?}, wanted {wanted:?}", agent.user, agent.device)
        });
    }
}

async fn number(stage: &Stage, admin: &Admin, wrong: &mut Wrong) {
    let (_, room) = surely(&stage.system, "GET", &format!("/api/v1/conversations/{}", ROOMS[0]), None).await;
    let number = room["metadata"]["number"].as_u64().unwrap_or_default();
    wrong.unless(number == admin.number, || format!("the room's number is {number}, not {}", admin.number));
}
