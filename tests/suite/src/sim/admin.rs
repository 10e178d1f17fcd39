//! A back-end service that makes one change after the other, each until it is answered: what comes later must hold.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::sleep;

use super::scene::{Phase, ROOMS, Stage, USERS, once};

/// By then a command has ended whose gateway is gone: its deadline, and what clocks may be apart.
pub(super) const ENDED: Duration = Duration::from_secs(4);

/// By then the storm is over and everything has healed: what is not done now never will be.
const NEVER: Duration = Duration::from_secs(300);

/// Who is removed and added again.
const GUEST: &str = USERS[3];

/// The service.
pub struct Admin {
    stage: Arc<Stage>,
    /// The room's number, as it was set last.
    pub number: u64,
    /// Whom users show themselves to, as it was set last; all at first.
    pub contacts: BTreeMap<(String, String), bool>,
}

impl Admin {
    /// A service that has done nothing yet.
    #[must_use]
    pub const fn new(stage: Arc<Stage>) -> Self {
        Self { stage, number: 0, contacts: BTreeMap::new() }
    }

    /// Works until the storm is over, and leaves the guest a member.
    pub async fn run(mut self) -> Self {
        let env = self.stage.system.env.fork();
        while self.stage.phase() == Phase::Storm {
            sleep(env.jitter(Duration::from_millis(2_500))).await;
            match env.random_u64() % 4 {
                0 => self.send_away_and_back().await,
                1 => self.renumber().await,
                2 => self.delete_something(env.random_u64()).await,
                _ => self.change_contact(env.random_u64()).await,
            }
        }
        self
    }

    /// Until it is answered `wanted`; whether it was.
    async fn until(&self, wanted: u16, method: &str, path: &str, body: Option<serde_json::Value>) -> bool {
        let system = &self.stage.system;
        let asked_at = system.env.instant();
        loop {
            if asked_at.elapsed() > NEVER {
                self.stage.ledger.violation(format!("{method} {path} is still not done"));
                return false;
            }
            match once(system, &system.env, method, path, body.clone()).await {
                Some((status, _)) if status == wanted => return true,
                Some((503, _)) => {}
                // Whoever was to answer is gone, and nobody waits until what it asked for has ended.
                None => sleep(ENDED).await,
                Some((status, answer)) => {
                    self.stage.ledger.violation(format!("{method} {path} was answered {status} {answer}"));
                    return false;
                }
            }
            sleep(system.env.jitter(Duration::from_millis(400))).await;
        }
    }

    async fn send_away_and_back(&self) {
        let (env, ledger) = (&self.stage.system.env, &self.stage.ledger);
        let member = (ROOMS[1].to_owned(), GUEST.to_owned());
        let path = format!("/api/v1/conversations/{}/members/{GUEST}", ROOMS[1]);
        ledger.removing(&member, env.instant());
        self.until(204, "DELETE", &path, None).await;
        ledger.removed(&member, env.instant());
        sleep(env.jitter(Duration::from_secs(2))).await;
        ledger.adding(&member);
        self.until(204, "PUT", &path, None).await;
        ledger.added(&member, env.instant());
    }

    /// Deletes one of the latest messages, whosoever it is.
    async fn delete_something(&self, lot: u64) {
        let lot = usize::try_from(lot >> 1).unwrap_or(0);
        let room = ROOMS[lot % 2];
        let found = {
            let mut known = self.stage.ledger.known();
            let sent = known.sends.iter().filter(|((of, ..), _)| of == room);
            let mut sent: Vec<_> = sent.filter_map(|(_, sent)| sent.acknowledged.clone()).collect();
            sent.sort();
            let found = sent.iter().rev().nth(lot / 2 % 3).map(|(_, id)| (room.to_owned(), id.clone()));
            if let Some(found) = &found {
                known.deletions.entry(found.clone()).or_default();
            }
            found
        };
        let Some(found) = found else { return };
        let path = format!("/api/v1/conversations/{room}/messages/{}", found.1);
        if self.until(204, "DELETE", &path, None).await {
            self.stage.ledger.known().deletions.insert(found, true);
        }
    }

    async fn renumber(&mut self) {
        self.number += 1;
        let body = json!({"metadata": {"number": self.number}});
        self.until(200, "PATCH", &format!("/api/v1/conversations/{}", ROOMS[0]), Some(body)).await;
    }

    async fn change_contact(&mut self, lot: u64) {
        let lot = usize::try_from(lot >> 1).unwrap_or(0);
        let (user, other) = (USERS[lot % USERS.len()], USERS[(lot / 4) % USERS.len()]);
        if user == other {
            return;
        }
        let held = self.contacts.entry((user.to_owned(), other.to_owned())).or_insert(true);
        *held = !*held;
        let method = if *held { "PUT" } else { "DELETE" };
        self.until(204, method, &format!("/api/v1/contacts/{other}?user_id={user}"), None).await;
    }
}
