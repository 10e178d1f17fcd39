//! Every metric that there is counts something, and the documents, the dashboard and the alerts name those that exist.

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
    path::Path,
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simurgh_backplane::{
    Bus, SharedBus,
    memory::{MemoryBus, Outage},
    subject::Subjects,
};
use simurgh_env::Env;
use simurgh_gateway::{
    Gateway, Parts,
    metrics::{Metric as GatewayMetric, Metrics as GatewayMetrics},
    serve::Capacity,
};
use simurgh_localstack::engine;
use simurgh_protocol::Raw;
use simurgh_service::{
    MemoryConnections, MemoryConnector, Readiness,
    metrics::{Description, Kind},
};
use simurgh_tests::{
    client::{Client, call, token},
    system::{System, settings},
    world::link::Odds,
};
use simurgh_worker::{
    metrics::{Metric as WorkerMetric, Metrics as WorkerMetrics},
    store::{
        Consistency, Expect, Key, Query, Store, Write,
        dynamo::{DynamoConfig, DynamoStore},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Builder,
};
use tokio_util::sync::CancellationToken;

const ROOM: &str = "conversation:room";
/// What waits for a slow socket at most.
const UNSENT: &str = "--max-unsent-bytes=65536";

fn described() -> Vec<Description> {
    let gateway = GatewayMetric::ALL.iter().map(|metric| metric.description());
    gateway.chain(WorkerMetric::ALL.iter().map(|metric| metric.description())).collect()
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a listener answers to `GET /metrics`.
async fn scrape(listener: &MemoryConnector) -> (u16, String) {
    let io = TokioIo::new(listener.connect().await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/metrics").header("host", "test").body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The metrics that were not zero at any look.
#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    fn look(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            // A histogram's own count stands for it.
            let name = name.strip_suffix("_count").unwrap_or(name);
            if value.parse::<f64>().unwrap() != 0.0 {
                self.0.insert(name.to_owned());
            }
        }
    }

    async fn look_at(&mut self, system: &System) {
        for operators in system.operators() {
            self.look(&scrape(&operators).await.1);
        }
        let bus: SharedBus = Arc::clone(&system.bus) as _;
        self.look(&system.worker_metrics.text(&Readiness::new(), &bus));
    }
}

async fn room(system: &System) -> Vec<Client> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let service = token("backend", true, &system.env);
    let body = json!({"id": "room", "type": "group", "member_ids": ["alice", "bob", "carol"]});
    let made = call(&system.gateway(0), &service, "POST", "/api/v1/conversations", Some(body)).await;
    assert_eq!(made.unwrap().0, 201);
    let mut clients = Vec::new();
    for (n, user) in ["alice", "bob"].into_iter().enumerate() {
        let mut client = Client::connect(&system.gateway(n), user, &system.env).await;
        assert_eq!(client.join(&format!("user:{user}"), json!({})).await["status"], "ok");
        assert_eq!(client.join(ROOM, json!({})).await["status"], "ok");
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    clients
}

fn message(n: u64, content: &str) -> Value {
    json!({"message_type": "text", "content": content, "client_random": n})
}

/// Messages, repeats, refusals, losses, a slow reader, an outage and a drain.
async fn in_the_world() -> Seen {
    let (mut seen, system) = (Seen::default(), System::start(7, 2, 2, &[UNSENT]));
    let mut clients = room(&system).await;
    let [alice, bob] = clients.as_mut_slice() else { panic!("two clients") };

    // Carol's socket closes just before a message.
    let mut carol = Client::connect(&system.gateway(1), "carol", &system.env).await;
    assert_eq!(carol.join("user:carol", json!({})).await["status"], "ok");
    drop(carol);
    assert_eq!(alice.push(ROOM, "send_message", message(0, "x")).await["status"], "ok");

    system.weather.set(Odds { duplicated: 1_000, ..Odds::default() });
    assert_eq!(alice.push(ROOM, "send_message", message(1, "x")).await["status"], "ok");
    let repeat = alice.push(ROOM, "send_message", message(1, "x")).await;
    assert_eq!(repeat["response"]["duplicate"], true);
    assert_eq!(alice.push(ROOM, "send_message", message(1, "y")).await["response"]["reason"], "conflict");
    assert_eq!(alice.push(ROOM, "dance", json!({})).await["response"]["reason"], "unknown_event");
    assert_eq!(alice.join("user:bob", json!({})).await["response"]["reason"], "unauthorized");
    assert_eq!(call(&system.gateway(0), "bad", "GET", "/socket/websocket", None).await.unwrap().0, 403);
    assert_eq!(scrape(&system.gateway(0)).await.0, 404, "metrics are the operators' business");
    bob.rest(Duration::from_secs(2)).await;
    seen.look_at(&system).await;

    // While a command is under way.
    let under_way = alice.start(ROOM, "send_message", message(2, "x")).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let bus: SharedBus = Arc::clone(&system.bus) as _;
        seen.look(&system.worker_metrics.text(&Readiness::new(), &bus));
    }
    assert_eq!(alice.reply(&under_way).await["status"], "ok");

    // Some are lost on the way.
    system.weather.set(Odds::default());
    system.lose(50);
    for n in 10..40 {
        assert_eq!(alice.push(ROOM, "send_message", message(n, "x")).await["status"], "ok");
    }
    bob.rest(Duration::from_secs(31)).await;
    system.weather.set(Odds::default());

    // bob reads nothing.
    for n in 100..140 {
        assert_eq!(alice.push(ROOM, "send_message", message(n, &"x".repeat(16_384))).await["status"], "ok");
    }
    seen.look_at(&system).await;
    bob.rest(Duration::from_secs(5)).await;
    seen.look_at(&system).await;

    // The backplane is away for longer than a lease.
    system.backplane_down();
    tokio::time::sleep(Duration::from_secs(20)).await;
    system.backplane_up(Outage::LosesKeys);
    system.all().iter().for_each(|node| node.bus.reconnect());
    alice.rest(Duration::from_secs(10)).await;
    seen.look_at(&system).await;

    let [drained, drained_worker] = [&system.gateways()[0], &system.workers()[0]];
    drained.terminate();
    drained_worker.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    seen.look_at(&system).await;
    system.stop().await;
    seen
}

/// More is read at once than a worker has places for, from a store that answers nothing.
async fn crowded() -> Seen {
    let (mut seen, system) = (Seen::default(), System::start(8, 1, 1, &[]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (gateway, service) = (system.gateway(0), token("backend", true, &system.env));
    system.weather.freeze_store(system.env.instant() + Duration::from_secs(5));
    let reads = (0..100).map(|n| {
        let (gateway, service) = (gateway.clone(), service.clone());
        async move {
            let path = format!("/api/v1/conversations?user_id=u{n}");
            call(&gateway, &service, "GET", &path, None).await.unwrap().0
        }
    });
    let statuses = futures_util::future::join_all(reads).await;
    assert!(statuses.contains(&503), "{statuses:?}");
    seen.look_at(&system).await;
    system.stop().await;
    seen
}

/// A gateway whose subscription overflows.
async fn overflowed() -> Seen {
    let env = Env::seeded(3);
    let (bus, subjects) = (Arc::new(MemoryBus::new(env.clone())), Subjects::new("test"));
    let gateway = Gateway::new(Parts {
        bus: Arc::clone(&bus) as _,
        env,
        subjects: subjects.clone(),
        settings: settings(&[]),
        capacity: Capacity::of_files(4_096),
        metrics: Arc::new(GatewayMetrics::new().unwrap()),
    })
    .unwrap();
    let ((_public, public), (operators, internal)) = (MemoryConnections::new(), MemoryConnections::new());
    let (readiness, shutdown) = (gateway.readiness(), CancellationToken::new());
    let running = tokio::spawn(gateway.run(public, internal, shutdown.clone()));
    readiness.wait().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..2_000 {
        bus.publish(&subjects.worker_heartbeats(), Bytes::new()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut seen = Seen::default();
    seen.look(&scrape(&operators).await.1);
    shutdown.cancel();
    running.await.unwrap();
    seen
}

/// A server that throttles whatever is asked of it.
async fn throttling() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let body =
                    r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"x"}"#;
                let answer = format!(
                    "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.read(&mut [0; 8_192]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    endpoint
}

/// What only a DynamoDB tells: units consumed, and throttles, each try of them.
async fn on_an_engine() -> Seen {
    let (metrics, key) =
        (Arc::new(WorkerMetrics::new().unwrap()), Key { pk: "p".to_owned(), sk: "s".to_owned() });
    let connect = async |endpoint: String| {
        let config =
            DynamoConfig { table: "simurgh".to_owned(), endpoint: Some(endpoint), create_table: true };
        let (env, metrics) = (Env::system(), Arc::clone(&metrics));
        DynamoStore::connect_within(config, env, metrics, Duration::from_secs(30)).await
    };
    let engine = engine::start(None, CancellationToken::new()).await.unwrap();
    let store = connect(engine.endpoint.clone()).await;
    store.ready().await.unwrap();
    let write = Write { key: key.clone(), body: Raw::empty(), expires_at: None, expect: Expect::Absent };
    let other = Write { key: Key { sk: "t".to_owned(), ..key.clone() }, ..write.clone() };
    store.put(write).await.unwrap();
    store.transact(vec![other]).await.unwrap();
    store.get(&key, Consistency::Strong).await.unwrap();
    store.get_many(std::slice::from_ref(&key), Consistency::Strong).await.unwrap();
    let range = Query {
        pk: "p".to_owned(),
        from: "a".to_owned(),
        to: "z".to_owned(),
        descending: false,
        limit: 10,
        consistency: Consistency::Eventual,
    };
    store.query(range).await.unwrap();

    let slow = connect(throttling().await).await;
    assert!(slow.get(&key, Consistency::Strong).await.is_err());
    let bus: SharedBus = Arc::new(MemoryBus::new(Env::system()));
    let text = metrics.text(&Readiness::new(), &bus);
    let throttled = r#"simurgh_worker_store_throttles_total{operation="GetItem"} 4"#;
    assert!(text.contains(throttled), "the tries that the SDK makes by itself: {text}");
    let mut seen = Seen::default();
    seen.look(&text);
    seen
}

#[test]
fn every_metric_counts_something() {
    let paused = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut seen = paused().block_on(Box::pin(in_the_world())).0;
    seen.extend(paused().block_on(Box::pin(crowded())).0);
    seen.extend(paused().block_on(Box::pin(overflowed())).0);
    let real = Builder::new_multi_thread().enable_all().build().unwrap();
    seen.extend(real.block_on(Box::pin(on_an_engine())).0);
    let silent: Vec<_> =
        described().into_iter().map(|metric| metric.name).filter(|name| !seen.contains(*name)).collect();
    assert!(silent.is_empty(), "never other than zero: {silent:?}");
}

fn row(Description { name, kind, labels, help }: Description) -> String {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
}

#[test]
fn the_document_lists_exactly_the_metrics_that_exist() {
    let document = read("docs/metrics.md");
    let listed: Vec<&str> = document.lines().filter(|line| line.starts_with("| `simurgh_")).collect();
    let rows: Vec<String> = described().into_iter().map(row).collect();
    assert_eq!(listed, rows, "docs/metrics.md should say:\n{}", rows.join("\n"));
}

/// The metrics that a text names, a histogram's series by the histogram's own name.
fn named(text: &str) -> BTreeSet<String> {
    let histograms: BTreeMap<&str, ()> = described()
        .into_iter()
        .filter(|metric| matches!(metric.kind, Kind::Histogram(_)))
        .map(|metric| (metric.name, ()))
        .collect();
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("simurgh_gateway_") || word.starts_with("simurgh_worker_"))
        .map(|word| {
            let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            series.filter(|name| histograms.contains_key(name)).unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard = read("infra/grafana/simurgh.json");
    let board: Value = serde_json::from_str(&dashboard).unwrap();
    let mut shown = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            shown.extend(named(target["expr"].as_str().unwrap()));
        }
    }
    let exist: BTreeSet<String> = described().into_iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(shown, exist);
}

#[test]
fn alerts_ask_for_metrics_that_exist_and_name_a_runbook_that_does() {
    let (alerts, operations) = (read("infra/prometheus/alerts.yaml"), read("docs/operations.md"));
    let exist: BTreeSet<String> = described().into_iter().map(|metric| metric.name.to_owned()).collect();
    let unknown: Vec<_> = named(&alerts).difference(&exist).cloned().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in &names {
        let anchor = name.to_lowercase();
        assert!(alerts.contains(&format!("docs/operations.md#{anchor}")), "{name} has no runbook");
        assert!(operations.lines().any(|line| line == format!("### {name}")), "docs/operations.md: {name}");
    }
    let tests = read("infra/prometheus/alerts.test.yaml") + &read("infra/prometheus/missed.test.yaml");
    for name in names {
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has no test of its rule");
    }
}
