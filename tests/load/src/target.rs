//! What is driven: where it listens, how its topics are named, who its users are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use simurgh_env::Env;
use simurgh_localstack::token::Signer;
use simurgh_protocol::UserId;
use simurgh_service::Secret;

/// How long tokens hold, longer than any run.
const TOKEN_LIFE: std::time::Duration = std::time::Duration::from_hours(6);

/// A server of the protocol, seen from its clients.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    /// What conversations are made with and tokens are signed with; a server without one takes any topic.
    pub secret: Option<String>,
    /// Whether messages carry a `seq` that is one order for all; else each sender's own count is looked at.
    pub has_seq: bool,
    /// Further query of the socket's URL, where there is no secret; `{}` is the user.
    pub params: String,
    /// Topic names; `{}` is the conversation or the user.
    pub conversation_topic: String,
    pub user_topic: String,
    /// Addresses that clients come from: 127.0.1.1 and on, in turn.
    pub sources: u8,
    /// Keeps this run's users and conversations apart from every other's.
    pub run: String,
}

impl Target {
    /// The name of a user of this run.
    pub fn user(&self, index: usize) -> String {
        format!("u{}-{index}", self.run)
    }

    /// The name of a conversation of this run.
    pub fn conversation(&self, index: usize) -> String {
        format!("c{}-{index}", self.run)
    }

    pub fn user_topic(&self, index: usize) -> String {
        self.user_topic.replace("{}", &self.user(index))
    }

    pub fn conversation_topic(&self, index: usize) -> String {
        self.conversation_topic.replace("{}", &self.conversation(index))
    }

    /// The address that a client connects from.
    pub fn source(&self, index: usize) -> Option<IpAddr> {
        let last = u8::try_from(index % usize::from(self.sources.max(1))).unwrap_or(0);
        let loopback = self.address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
        (loopback && self.sources > 0).then(|| IpAddr::V4(Ipv4Addr::new(127, 0, 1, last.saturating_add(1))))
    }

    /// A token, of a service where asked for.
    pub fn token(&self, user: &str, service: bool, env: &Env) -> anyhow::Result<String> {
        let signer = Signer {
            secret: Secret::new(self.secret.clone().context("no secret")?),
            user_claim: "sub".to_owned(),
            service_scope: "service".to_owned(),
            issuer: None,
            audience: None,
        };
        signer.token(&UserId::new(user)?, service, TOKEN_LIFE, env.now())
    }

    /// The path and query of a user's socket.
    pub fn path(&self, index: usize, env: &Env) -> anyhow::Result<String> {
        let user = self.user(index);
        let query = match self.secret {
            Some(_) => format!("token={}", self.token(&user, false, env)?),
            None => self.params.replace("{}", &user),
        };
        Ok(format!("/socket/websocket?vsn=2.0.0&{query}"))
    }
}
