//! A system on a real nats-server, with its logs at their most talkative and its traces going to a collector: one trace
//! leads from a client's push or call to the store and to every gateway that hands the message on, and no line and no
//! span holds a token or what people say.

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
use simurgh_rpc::v1::{SendMessageRequest, messaging_client::MessagingClient};
use simurgh_service::telemetry;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use tonic::{Request, Response, Status, transport::Endpoint};

/// What is said, and found nowhere.
const MARK: &str = "4marked0content2";
/// Traces of callers', and the span that each call is a part of.
const INTERNAL: u128 = 0xa1;
const PUBLIC: u128 = 0xa2;
const GRPC: u128 = 0xa3;
const REMOTE_SPAN: u64 = 0xb1;
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

/// One HTTP call by hand, which says that it is a part of this trace: the status line.
async fn post(
    address: std::net::SocketAddr,
    token: &str,
    traceparent: &str,
    path: &str,
    body: Value,
) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\
         traceparent: {traceparent}\r\ncontent-type: application/json\r\n\
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
    let junk = format!("00-{MARK}-{MARK}-01");
    assert!(post(first, &tokens["service"], &junk, "/api/v1/conversations", room).await.contains(" 201 "));
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
    let path = "/api/v1/users/alice/notifications";
    assert!(post(first, &tokens["service"], "", path, note).await.contains(" 202 "));
    alice.until(|frame| frame[3] == "notification").await;
    calls(stack, tokens).await;
}

/// A trace of a caller's, and its span.
fn traceparent(trace: u128) -> String {
    format!("00-{trace:032x}-{REMOTE_SPAN:016x}-01")
}

/// The same message thrice, each call within a trace of its caller's: by HTTP on both listeners, and by gRPC.
async fn calls(stack: &Stack, tokens: &BTreeMap<&str, String>) {
    let ((public, internal), service) = (stack.gateways[0], &tokens["service"]);
    let mut bob = Client::connect(stack.gateways[1].0, &tokens["bob"]).await;
    assert_eq!(bob.ask("conversation:room", "phx_join", json!({})).await["status"], "ok");
    let message = |client_random: &str| json!({"message_type": "text", "content": MARK, "client_random": client_random, "sender_id": "alice"});
    for (address, trace) in [(internal, INTERNAL), (public, PUBLIC)] {
        let path = "/api/v1/conversations/room/messages";
        let status = post(address, service, &traceparent(trace), path, message(&format!("{trace}"))).await;
        assert!(status.contains(" 201 "), "{status}");
    }
    let endpoint = Endpoint::from_shared(format!("http://{internal}")).unwrap();
    let mut client = MessagingClient::new(endpoint.connect().await.unwrap());
    let mut request = Request::new(SendMessageRequest {
        conversation_id: "room".to_owned(),
        sender_id: Some("alice".to_owned()),
        content: MARK.to_owned(),
        client_random: "by gRPC".to_owned(),
        ..SendMessageRequest::default()
    });
    let metadata = request.metadata_mut();
    metadata.insert("authorization", format!("Bearer {service}").parse().unwrap());
    metadata.insert("traceparent", traceparent(GRPC).parse().unwrap());
    let seq = client.send_message(request).await.unwrap().into_inner().message.unwrap().seq;
    bob.until(|frame| frame[3] == "new_message" && frame[4]["seq"] == seq).await;
}

fn id(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A trace: each span's name, and that of the span it is a part of, or that span's id where it is none of ours.
fn tree(spans: &[Span], trace: &[u8]) -> BTreeSet<(String, String)> {
    let ours: Vec<&Span> = spans.iter().filter(|span| span.trace_id == trace).collect();
    let names: BTreeMap<String, &str> =
        ours.iter().map(|span| (id(&span.span_id), span.name.as_str())).collect();
    let parent = |span: &Span| {
        let parent = id(&span.parent_span_id);
        names.get(&parent).map_or(parent, |name| (*name).to_owned())
    };
    ours.iter().map(|span| (span.name.clone(), parent(span))).collect()
}

/// The trace of the first `send_message` on a socket.
fn of_push(spans: &[Span]) -> &[u8] {
    let is_send =
        |span: &&Span| span.name == "push" && format!("{:?}", span.attributes).contains("send_message");
    let push = spans.iter().filter(is_send).min_by_key(|span| span.start_time_unix_nano).expect("a push");
    assert!(push.parent_span_id.is_empty(), "a push begins a trace");
    &push.trace_id
}

/// A message was stored and handed on in this trace, in which `began` is a part of `within`.
fn led_to_all(spans: &[Span], trace: &[u8], began: &str, within: &str) {
    let found = tree(spans, trace);
    for (name, parent) in [
        (began, within),
        ("command", began),
        ("batch", "command"),
        ("store", "batch"),
        ("broadcast", "batch"),
        ("fanout", "broadcast"),
    ] {
        assert!(found.contains(&(name.to_owned(), parent.to_owned())), "{name} in {parent}: {found:?}");
    }
}

/// Each call led to all: within its caller's trace where that is one of the deployment's own, else within one of its own
/// that is linked to the caller's.
fn calls_led_to_all(spans: &[Span]) {
    let (of_caller, remote) = (u128::to_be_bytes, format!("{REMOTE_SPAN:016x}"));
    led_to_all(spans, &of_caller(INTERNAL), "call", &remote);
    led_to_all(spans, &of_caller(GRPC), "call", &remote);
    let linked = |span: &&Span| span.links.iter().any(|link| link.trace_id == of_caller(PUBLIC));
    let public = spans.iter().find(linked).expect("a linked call");
    led_to_all(spans, &public.trace_id, "call", "");
    assert!(tree(spans, &of_caller(PUBLIC)).is_empty(), "outsiders name no trace of ours");
    let told = |trace: &[u8]| {
        let call = spans.iter().find(|span| span.name == "call" && span.trace_id == trace).unwrap();
        format!("{:?}", call.attributes)
    };
    for (trace, wanted) in [
        (
            &of_caller(INTERNAL)[..],
            ["http.route", "/conversations/{conversation_id}/messages", "IntValue(201)"],
        ),
        (&public.trace_id, ["http.request.method", "POST", "http.response.status_code"]),
        (&of_caller(GRPC), ["rpc.method", "SendMessage", "grpc"]),
    ] {
        for word in wanted {
            assert!(told(trace).contains(word), "{word}: {}", told(trace));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_a_push_or_call_to_the_store_and_to_the_others_and_nothing_secret_is_told() {
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
    led_to_all(&spans, of_push(&spans), "push", "");
    calls_led_to_all(&spans);
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
