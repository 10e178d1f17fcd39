use axum::routing::get;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Notify,
    task::JoinHandle,
};

use super::*;
use crate::{MemoryConnections, MemoryConnector, Readiness, admin};

fn started(router: Router, limits: HttpLimits) -> (MemoryConnector, CancellationToken, JoinHandle<()>) {
    let (connector, connections) = MemoryConnections::new();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(connections, router, limits, shutdown.clone()));
    (connector, shutdown, server)
}

async fn ask(stream: &mut DuplexStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

async fn rest(mut stream: DuplexStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn head(stream: &mut DuplexStream) -> String {
    let mut bytes = vec![0; 4096];
    let length = stream.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn readiness_names_the_part_that_fails() {
    let readiness = Readiness::new();
    let store = readiness.part("store");
    let (connector, _shutdown, _server) = started(admin::router(readiness.clone()), HttpLimits::default());
    let mut stream = connector.connect().await.unwrap();

    ask(&mut stream, "/readyz").await;
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with(r#"{"status":"unready","failing":{"store":"starting"}}"#), "{answer}");

    store.works();
    ask(&mut stream, "/readyz").await;
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with(r#"{"status":"ready","failing":{}}"#), "{answer}");

    readiness.drain();
    ask(&mut stream, "/readyz").await;
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 503"));
    ask(&mut stream, "/healthz").await;
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_ends_the_connection() {
    let (connector, _shutdown, _server) = started(admin::router(Readiness::new()), HttpLimits::default());
    let silent = connector.connect().await.unwrap();
    let mut slow = connector.connect().await.unwrap();
    slow.write_all(b"GET / HT").await.unwrap();
    let mut idle = connector.connect().await.unwrap();
    ask(&mut idle, "/healthz").await;
    assert!(head(&mut idle).await.starts_with("HTTP/1.1 200"));
    for (name, stream) in [("silent", silent), ("slow", slow), ("idle", idle)] {
        let ended = tokio::time::timeout(Duration::from_secs(20), rest(stream)).await;
        assert_eq!(ended.as_deref(), Ok(""), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_http_2_is_taken_a_request_has_to_come_as_well() {
    let limits = HttpLimits { http2: true, ..HttpLimits::default() };
    let (connector, _shutdown, _server) = started(admin::router(Readiness::new()), limits);
    let silent = connector.connect().await.unwrap();
    let (mut half, mut mute) = (connector.connect().await.unwrap(), connector.connect().await.unwrap());
    half.write_all(b"PRI * HT").await.unwrap();
    mute.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut old = connector.connect().await.unwrap();
    ask(&mut old, "/healthz").await;
    assert!(head(&mut old).await.starts_with("HTTP/1.1 200"));
    for (name, mut stream) in [("silent", silent), ("half", half), ("mute", mute), ("old", old)] {
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
        assert!(ended.is_ok(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_the_request_at_hand_and_closes_idle_connections() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let router = Router::new().route("/slow", get(|| async move { wait.notified().await }));
    let (connector, shutdown, server) = started(router, HttpLimits::default());
    let idle = connector.connect().await.unwrap();
    let mut busy = connector.connect().await.unwrap();
    ask(&mut busy, "/slow").await;
    tokio::time::sleep(Duration::from_millis(10)).await;

    shutdown.cancel();
    assert_eq!(rest(idle).await, "");
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(connector.connect().await.is_err(), "nobody accepts any more");
    go.notify_one();
    assert!(rest(busy).await.starts_with("HTTP/1.1 200"));
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_cuts_what_takes_longer_than_the_grace() {
    let router = Router::new().route("/never", get(std::future::pending::<()>));
    let (connector, shutdown, server) = started(router, HttpLimits::default());
    let mut busy = connector.connect().await.unwrap();
    ask(&mut busy, "/never").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    shutdown.cancel();
    server.await.unwrap();
    assert_eq!(rest(busy).await, "");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_connections_wait_their_turn() {
    let limits = HttpLimits { connections: 1, ..HttpLimits::default() };
    let router =
        Router::new().route("/", get(|info: ConnectInfo<SocketAddr>| async move { info.0.to_string() }));
    let (connector, _shutdown, _server) = started(router, limits);
    let first = connector.connect().await.unwrap();
    let mut second = connector.connect_from("10.1.2.3:4".parse().unwrap()).await.unwrap();
    ask(&mut second, "/").await;
    let waits = tokio::time::timeout(Duration::from_secs(1), head(&mut second)).await;
    assert!(waits.is_err());
    drop(first);
    assert!(head(&mut second).await.ends_with("10.1.2.3:4"));
}
