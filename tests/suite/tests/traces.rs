//! A system on a real nats-server, with its logs at their most talkative and its traces going to a collector: one trace
//! leads from a client's push to the store and to every gateway that hands the message on, and no line and no span
//! holds a token or what people say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    net::TcpListener as StdListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Parser as _;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use serde_json::{Value, json};
use simurgh_env::Env;
use simurgh_localstack::{Config, Stack};
use simurgh_protocol::UserId;
use simurgh_service::telemetry;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use tonic::{Request, Response, Status};

/// What is said, and found nowhere.
const MARK: &str = "4marked0content2";
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let of_resources = request.into_inner().resource_spans.into_iter();
        let spans = of_resources.flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Where lines are written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A nats-server that ends with the test.
struct Nats {
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn nats(port: u16) -> Nats {
    let program = std::env::var_os("SIMURGH_TEST_NATS_SERVER").map(PathBuf::from);
    let program = program.expect("set SIMURGH_TEST_NATS_SERVER: tests/tools/fetch.py gets a nats-server");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"]).arg(folder.path().join("store"));
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let process = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    Nats { process, _folder: folder }
}

/// A client's socket.
struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(address: std::net::SocketAddr, token: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/socket/websocket?vsn=2.0.0&token={token}");
        Self(client_async(url, stream).await.unwrap().0)
    }

    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = async {
            loop {
                let message = self.0.next().await.expect("an open socket").unwrap();
                let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap_or_default();
                if wanted(&frame) {
                    return frame;
                }
            }
        };
        timeout(PATIENCE, found).await.expect("a frame in time")
    }

    async fn ask(&mut self, topic: &str, event: &str, payload: Value) -> Value {
        self.send(json!(["1", event, topic, event, payload])).await;
        self.until(|frame| frame[1] == event && frame[3] == "phx_reply").await[4].clone()
    }
}

/// One HTTP call by hand: the status line.
async fn post(address: std::net::SocketAddr, token: &str, path: &str, body: Value) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Two users on two gateways: joins, a message, a repeat, a reaction, typing, refusals, a renewed token.
async fn walk(stack: &Stack, tokens: &BTreeMap<&str, String>) {
    let [(first, _), (second, _)] = stack.gateways[..] else { panic!("two gateways") };
    let room =
        json!({"id": "room", "type": "group", "member_ids": ["alice", "bob"], "metadata": {"topic": MARK}});
    assert!(post(first, &tokens["service"], "/api/v1/conversations", room).await.contains(" 201 "));
    let mut alice = Client::connect(first, &tokens["alice"]).await;
    let mut bob = Client::connect(second, &tokens["bob"]).await;
    for (client, user) in [(&mut alice, "user:alice"), (&mut bob, "user:bob")] {
        assert_eq!(client.ask(user, "phx_join", json!({})).await["status"], "ok");
        assert_eq!(client.ask("conversation:room", "phx_join", json!({})).await["status"], "ok");
    }
    let message =
        json!({"message_type": "text", "content": MARK, "client_random": 1, "metadata": {"m": MARK}});
    let sent = alice.ask("conversation:room", "send_message", message.clone()).await;
    assert_eq!(sent["status"], "ok", "{sent}");
    bob.until(|frame| frame[3] == "new_message" && frame[2] == "conversation:room").await;
    assert_eq!(alice.ask("conversation:room", "send_message", message).await["response"]["duplicate"], true);
    let other = json!({"message_type": "text", "content": format!("{MARK}!"), "client_random": 1});
    let conflict = alice.ask("conversation:room", "send_message", other).await;
    assert_eq!(conflict["response"]["reason"], "conflict");
    let bad = json!({"message_type": MARK, "content": 5});
    assert_eq!(bob.ask("conversation:room", "send_message", bad).await["status"], "error");
    bob.ask("conversation:room", MARK, json!({})).await;
    bob.ask("conversation:room", "typing_start", json!({})).await;
    let renewed = json!({"access_token": tokens["bob"]});
    assert_eq!(bob.ask("user:bob", "access_token", renewed).await["status"], "ok");
    let refused = json!({"access_token": format!("{}x", tokens["bob"])});
    assert_eq!(bob.ask("user:bob", "access_token", refused).await["status"], "error");
    bob.send(json!(MARK)).await;
    let note = json!({"kind": "k", "title": MARK, "body": MARK});
    assert!(
        post(first, &tokens["service"], "/api/v1/users/alice/notifications", note).await.contains(" 202 ")
    );
    alice.until(|frame| frame[3] == "notification").await;
}

fn id(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trace of the first `send_message`: each span's name, and that of the span it is a part of.
fn trace(spans: &[Span]) -> BTreeSet<(String, String)> {
    let is_send =
        |span: &&Span| span.name == "push" && format!("{:?}", span.attributes).contains("send_message");
    let push = spans.iter().filter(is_send).min_by_key(|span| span.start_time_unix_nano).expect("a push");
    assert!(push.parent_span_id.is_empty(), "a push begins a trace");
    let ours: Vec<&Span> = spans.iter().filter(|span| span.trace_id == push.trace_id).collect();
    let names: BTreeMap<String, &str> =
        ours.iter().map(|span| (id(&span.span_id), span.name.as_str())).collect();
    let parent = |span: &Span| names.get(&id(&span.parent_span_id)).copied().unwrap_or("-").to_owned();
    ours.iter().map(|span| (span.name.clone(), parent(span))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_a_push_to_the_store_and_to_the_others_and_nothing_secret_is_told() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = TowerToHyperService::new(TraceServiceServer::new(collector.clone()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service.clone()));
        }
    });
    let port = free_port();
    let nats = nats(port);
    let url = format!("nats://127.0.0.1:{port}");
    let config = Config::parse_from([
        "simurgh",
        "--ephemeral",
        "--jwt-secret=a-secret-of-this-test",
        "--backplane=nats",
        &format!("--nats-url={url}"),
        "--gateways=2",
        "--workers=2",
        "--listen=127.0.0.1:0",
        "--internal-listen=127.0.0.1:0",
        "--worker-listen=127.0.0.1:0",
        "--log=trace",
        &format!("--otlp-endpoint={endpoint}"),
    ]);
    let lines = Lines::default();
    let written = lines.clone();
    let telemetry = telemetry::init_with(&config.log, "simurgh", move || written.clone(), false);

    let env = Env::system();
    let signer = config.signer().unwrap();
    let token = |user: &str, service| {
        let user = UserId::new(user).unwrap();
        signer.token(&user, service, Duration::from_secs(600), env.now()).unwrap()
    };
    let tokens = BTreeMap::from([
        ("alice", token("alice", false)),
        ("bob", token("bob", false)),
        ("service", token("backend", true)),
    ]);
    let stack = Box::pin(Stack::start(&config, env.clone())).await.unwrap();
    timeout(PATIENCE, stack.ready()).await.expect("a system that serves");
    walk(&stack, &tokens).await;
    stack.stop().await;
    tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();
    drop(nats);

    let spans = collector.0.lock().unwrap().clone();
    let trace = trace(&spans);
    for (name, parent) in [
        ("command", "push"),
        ("batch", "command"),
        ("store", "batch"),
        ("broadcast", "batch"),
        ("fanout", "broadcast"),
    ] {
        assert!(trace.contains(&(name.to_owned(), parent.to_owned())), "{name} in {parent}: {trace:?}");
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.lines().count() > 10, "there are logs: {text}");
    assert!(text.contains(r#""level":"DEBUG""#), "the project's own details: {text}");
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "each line is JSON");
    let told = format!("{text}{spans:?}");
    assert!(!told.contains(MARK), "{}", told.lines().find(|line| line.contains(MARK)).unwrap());
    for (whose, token) in &tokens {
        // The signature is what makes it one.
        let signature = token.rsplit('.').next().unwrap();
        assert!(!told.contains(signature), "{whose}'s token");
    }
    assert!(!told.contains("a-secret-of-this-test"), "the secret");
}
