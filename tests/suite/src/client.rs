//! A client of the protocol that keeps every frame it gets: what a test needs to say exactly what was seen and when.

use std::{collections::VecDeque, time::Duration};

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use simurgh_env::Env;
use simurgh_protocol::Timestamp;
use simurgh_service::connections::MemoryConnector;
use tokio::{io::DuplexStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::system::SECRET;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A token of a user, or with `service` of a service.
///
/// # Panics
/// Where it cannot be signed.
#[must_use]
pub fn token(subject: &str, service: bool, env: &Env) -> String {
    let mut claims = json!({"sub": subject, "exp": env.now().as_secs() + 3_600});
    if service {
        claims["scope"] = "service".into();
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("a token")
}

/// One HTTP call: the status and the body, null where there is none. `None` where the connection breaks.
pub async fn call(
    gateway: &MemoryConnector,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Option<(u16, Value)> {
    let io = TokioIo::new(gateway.connect().await.ok()?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    tokio::spawn(connection);
    let bytes = body.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "test")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::new(Bytes::from(bytes)))
        .ok()?;
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// A frame and when it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The wall clock.
    pub at: Timestamp,
    /// The frame; for the end of the socket `{"close": code}`.
    pub frame: Value,
}

/// A socket.
pub struct Client {
    ws: WebSocketStream<DuplexStream>,
    env: Env,
    refs: u64,
    /// Every frame so far.
    pub seen: Vec<Seen>,
    /// Frames that no wait has asked for yet.
    unread: VecDeque<Value>,
}

impl Client {
    /// Connects a user with `vsn` 2.0.0.
    ///
    /// # Panics
    /// Where the upgrade is refused.
    pub async fn connect(gateway: &MemoryConnector, user: &str, env: &Env) -> Self {
        let token = token(user, false, env);
        let url = format!("ws://test/socket/websocket?vsn=2.0.0&token={token}");
        let io = gateway.connect().await.expect("a connection");
        let (ws, _) = client_async(url, io).await.expect("an upgrade");
        Self { ws, env: env.clone(), refs: 0, seen: Vec::new(), unread: VecDeque::new() }
    }

    /// Joins a topic and answers the reply's payload.
    pub async fn join(&mut self, topic: &str, params: Value) -> Value {
        self.refs += 1;
        let name = self.refs.to_string();
        self.send(json!([name, name, topic, "phx_join", params])).await;
        self.reply(&name).await
    }

    /// Pushes and answers the reply's payload.
    pub async fn push(&mut self, topic: &str, event: &str, payload: Value) -> Value {
        let name = self.start(topic, event, payload).await;
        self.reply(&name).await
    }

    /// Pushes without waiting; answers the ref.
    pub async fn start(&mut self, topic: &str, event: &str, payload: Value) -> String {
        self.refs += 1;
        let name = self.refs.to_string();
        self.send(json!([null, name, topic, event, payload])).await;
        name
    }

    /// The payload of the reply with this ref.
    pub async fn reply(&mut self, name: &str) -> Value {
        self.until(|frame| frame[3] == "phx_reply" && frame[1] == name).await[4].clone()
    }

    /// The payload of the next broadcast of this event on this topic that no wait has had yet.
    pub async fn broadcast(&mut self, topic: &str, event: &str) -> Value {
        self.until(|frame| frame[2] == topic && frame[3] == event).await[4].clone()
    }

    /// Takes in whatever comes for so long.
    pub async fn rest(&mut self, time: Duration) {
        let end = self.env.instant() + time;
        while let Ok(Some(frame)) = tokio::time::timeout_at(end, self.receive()).await {
            self.unread.push_back(frame);
        }
    }

    /// Sends a frame as it is.
    ///
    /// # Panics
    /// Where the socket is closed.
    pub async fn send(&mut self, frame: Value) {
        self.ws.send(Message::text(frame.to_string())).await.expect("an open socket");
    }

    /// The first frame of which `wanted` holds, and which no wait has had yet.
    ///
    /// # Panics
    /// Where none comes in time.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.unread.iter().position(&wanted) {
            return self.unread.remove(at).unwrap_or_default();
        }
        let wait = async {
            loop {
                let frame = self.receive().await.expect("the socket ended first");
                if wanted(&frame) {
                    return frame;
                }
                self.unread.push_back(frame);
            }
        };
        timeout(PATIENCE, wait).await.expect("a frame in time")
    }

    async fn receive(&mut self) -> Option<Value> {
        let frame = match self.ws.next().await? {
            Ok(Message::Text(text)) => serde_json::from_str(&text).unwrap_or_default(),
            Ok(Message::Close(frame)) => json!({"close": frame.map(|frame| u16::from(frame.code))}),
            Ok(_) => Value::Null,
            Err(_) => return None,
        };
        self.seen.push(Seen { at: self.env.now(), frame: frame.clone() });
        Some(frame)
    }
}
