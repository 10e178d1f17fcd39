//! What this crate's tests share: settings, tokens, raw HTTP, and a worker that answers what it is told to.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use simurgh_backplane::{
    SharedBus,
    memory::MemoryBus,
    subject::{Subjects, WORKERS},
};
use simurgh_env::Env;
use simurgh_protocol::{
    Raw, Refusal,
    envelope::{self, Answer, Call, Command, Success},
};
use simurgh_service::{MemoryConnections, MemoryConnector, Readiness, config::parse_from};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::Instant,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

mod watched;

pub use watched::Watched;

use crate::{
    Gateway, Parts,
    config::{Config, Settings},
    metrics::Metrics,
    page,
    serve::Capacity,
};

/// What [`settings`] verifies tokens with.
pub const SECRET: &str = "a-secret-for-tests";

/// Settings as they are when these arguments are given; without another kind of key, tokens are signed with [`SECRET`].
pub fn settings(args: &[&str]) -> Settings {
    let keyed = args.iter().any(|arg| arg.starts_with("--jwks-url") || arg.starts_with("--jwt-public-key"));
    let secret: &[&str] = if keyed { &[] } else { &["--jwt-secret", SECRET] };
    let given = std::iter::once("simurgh-gateway").chain(secret.iter().copied()).chain(args.iter().copied());
    parse_from::<Config>(given).unwrap().settings
}

/// Metrics that nobody reads.
pub fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

/// The present, on tokio's clock.
pub fn now() -> Instant {
    Env::seeded(0).instant()
}

/// A token of a user that lasts for an hour of `env`'s.
pub fn user_token(env: &Env, user: &str) -> String {
    token(&json!({"sub": user, "exp": env.now().as_secs() + 3_600}))
}

/// A token of a service that lasts for an hour of `env`'s.
pub fn service_token(env: &Env) -> String {
    token(&json!({"scope": "service", "exp": env.now().as_secs() + 3_600}))
}

/// A token with these claims, signed with [`SECRET`].
pub fn token(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// A gateway that runs in this process.
pub struct Served {
    pub env: Env,
    pub bus: SharedBus,
    pub subjects: Subjects,
    pub readiness: Readiness,
    pub public: MemoryConnector,
    pub internal: MemoryConnector,
    pub shutdown: CancellationToken,
    answers: Answers,
}

/// One that does not run.
pub fn gateway(bus: &SharedBus, env: &Env, subjects: &Subjects, args: &[&str]) -> Gateway {
    Gateway::new(Parts {
        bus: Arc::clone(bus),
        env: env.clone(),
        subjects: subjects.clone(),
        settings: settings(args),
        capacity: Capacity::of_files(4_096),
        metrics: metrics(),
    })
    .unwrap()
}

impl Served {
    /// Runs one with these settings, and returns when it is ready.
    pub async fn new(args: &[&str]) -> Self {
        Self::with_signing(args, None).await
    }

    /// The same, by a program that hands the chat page something to sign with.
    pub async fn with_signing(args: &[&str], signing: Option<page::Signing>) -> Self {
        let env = Env::seeded(7);
        let bus: SharedBus = Arc::new(MemoryBus::new(env.clone()));
        let answers = Answers::default();
        tokio::spawn(work(Arc::clone(&bus), answers.clone()));
        Self::on(bus, env, args, signing, answers).await
    }

    /// Runs another one on the same backplane.
    pub async fn beside(&self, args: &[&str]) -> Self {
        Self::on(Arc::clone(&self.bus), self.env.fork(), args, None, self.answers.clone()).await
    }

    /// Runs one on a backplane that counts what is asked of it.
    pub async fn watched(args: &[&str]) -> (Self, Arc<AtomicUsize>, Arc<AtomicBool>) {
        let env = Env::seeded(7);
        let (bus, answers) = (Arc::new(MemoryBus::new(env.clone())), Answers::default());
        tokio::spawn(work(bus.clone(), answers.clone()));
        let watched = Watched::new(bus);
        let (calls, silent) = (Arc::clone(&watched.calls), Arc::clone(&watched.silent));
        (Self::on(Arc::new(watched), env, args, None, answers).await, calls, silent)
    }

    async fn on(
        bus: SharedBus,
        env: Env,
        args: &[&str],
        signing: Option<page::Signing>,
        answers: Answers,
    ) -> Self {
        let subjects = Subjects::new("test");
        let gateway = gateway(&bus, &env, &subjects, args).with_page_signing(signing);
        let readiness = gateway.readiness();
        let (public, publicly) = MemoryConnections::new();
        let (internal, internally) = MemoryConnections::new();
        let shutdown = CancellationToken::new();
        tokio::spawn(gateway.run(publicly, internally, shutdown.clone()));
        settle().await;
        while !readiness.parts_work() {
            settle().await;
        }
        Self { env, bus, subjects, readiness, public, internal, shutdown, answers }
    }

    /// A client on the public listener.
    pub async fn connect(&self) -> DuplexStream {
        self.public.connect().await.unwrap()
    }

    /// A client on the public listener, from this address.
    pub async fn connect_from(&self, peer: &str) -> DuplexStream {
        self.public.connect_from(SocketAddr::new(peer.parse().unwrap(), 1)).await.unwrap()
    }
}

/// An answer's head and body.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Heard {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Writes a request as it is given and reads one answer. Line ends are `\n` in `request`, `\r\n` on the wire.
pub async fn exchange(stream: &mut DuplexStream, request: &str) -> Heard {
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    heard(stream).await
}

/// Reads one answer.
pub async fn heard(stream: &mut (impl AsyncRead + Unpin)) -> Heard {
    let mut bytes = Vec::new();
    let end_of_head = |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n");
    while end_of_head(&bytes).is_none() {
        let read = stream.read_buf(&mut bytes).await.unwrap();
        assert!(read > 0, "the connection ended: {:?}", String::from_utf8_lossy(&bytes));
    }
    let body_at = end_of_head(&bytes).unwrap() + 4;
    let head = String::from_utf8(bytes[..body_at].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut heard = Heard { status, head, body: String::new() };
    let length = heard.header("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < body_at + length {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the body is cut off");
    }
    heard.body = String::from_utf8(bytes[body_at..].to_vec()).unwrap();
    heard
}

/// What a client speaks over an in-memory connection.
pub type Client = WebSocketStream<DuplexStream>;

/// A socket of the user's (V2).
pub async fn socket(served: &Served, user: &str) -> Client {
    let token = user_token(&served.env, user);
    let address = format!("ws://simurgh/socket/websocket?vsn=2.0.0&token={token}");
    client_async(address, served.connect().await).await.unwrap().0
}

/// Sends a frame, and answers its reply.
pub async fn told(client: &mut Client, frame: &Value) -> Value {
    client.send(Message::text(frame.to_string())).await.unwrap();
    loop {
        let heard = client.next().await.unwrap().unwrap();
        let heard: Value = serde_json::from_str(heard.to_text().unwrap()).unwrap();
        if heard[1] == frame[1] {
            return heard;
        }
    }
}

/// Commands that reached the worker of [`worker`].
pub type Asked = Arc<Mutex<Vec<Command>>>;

/// What a worker answers.
type Answering = Box<dyn Fn(&Command) -> Result<(u16, Value), Refusal> + Send>;

/// What the worker beside the gateways answers, and what it was asked.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Option<(Answering, Asked)>>>);

/// Every token counts; other commands are answered by whoever was set to, if somebody was.
async fn work(bus: SharedBus, answers: Answers) {
    let any_worker = Subjects::new("test").any_worker();
    let mut commands = bus.subscribe(&any_worker, Some(WORKERS)).await.unwrap();
    while let Some(delivery) = commands.next().await {
        let command: Command = envelope::decode(&delivery.payload).unwrap();
        let answered = match (&command.call, &*answers.0.lock().unwrap()) {
            (Call::Admit, _) => Some(Ok((204, json!({})))),
            (Call::Revocations { .. }, _) => Some(Ok((200, json!({"revocations": [], "more": false})))),
            (_, Some((answering, asked))) => {
                let answered = answering(&command);
                asked.lock().unwrap().push(command);
                Some(answered)
            }
            (_, None) => None,
        };
        let answer = match answered {
            Some(Ok((status, body))) => Answer::Ok(Success { status, body: Raw::of(&body) }),
            Some(Err(refusal)) => Answer::Refused(refusal),
            None => continue,
        };
        bus.publish(&delivery.reply_to.unwrap(), envelope::encode(&answer)).await.unwrap();
    }
}

/// A worker that answers every command so.
pub async fn worker(
    served: &Served,
    answer: impl Fn(&Command) -> Result<(u16, Value), Refusal> + Send + 'static,
) -> Asked {
    let asked = Asked::default();
    *served.answers.0.lock().unwrap() = Some((Box::new(answer), Arc::clone(&asked)));
    asked
}

/// Lets everything that is ready run.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
