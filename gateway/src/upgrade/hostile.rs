//! Peers that have no token: what they can hold, and for how long. And what of tokens can be read afterwards: nothing.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::testing::{self, Served, exchange};

/// Where a client begins.
const DOORS: [&str; 3] = ["/socket/websocket", "/socket/longpoll", "/api/v1/conversations"];

/// Writes `drip` once a second for as long as the other side takes it; how long that was.
async fn drips(stream: &mut DuplexStream, drip: &[u8]) -> Duration {
    let begun = testing::now();
    let mut rest = Vec::new();
    loop {
        tokio::select! {
            biased;
            read = stream.read_buf(&mut rest) => if read.unwrap_or(0) == 0 {
                return begun.elapsed();
            },
            () = sleep(Duration::from_secs(1)) => {
                // Where it is closed, the next read says so.
                let _ = stream.write_all(drip).await;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still open");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_given_ten_seconds() {
    let served = Served::new(&[]).await;
    for door in DOORS {
        let mut stream = served.connect().await;
        stream.write_all(format!("GET {door} HTTP/1.1\r\nhost: x\r\nx: ").as_bytes()).await.unwrap();
        let open = drips(&mut stream, b"x").await;
        assert!((9..=11).contains(&open.as_secs()), "{door}: {open:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_ten_seconds() {
    let served = Served::new(&[]).await;
    let token = testing::user_token(&served.env, "alice");
    let open = format!("GET /socket/longpoll?vsn=2.0.0&token={token} HTTP/1.1\nhost: x\n\n");
    let session = exchange(&mut served.connect().await, &open).await;
    let session = session.json()["token"].as_str().unwrap().to_owned();
    let call = format!("POST /api/v1/conversations HTTP/1.1\r\nauthorization: Bearer {token}\r\n");
    let post = format!("POST /socket/longpoll?vsn=2.0.0&token={session} HTTP/1.1\r\n");
    for head in [call, post] {
        let mut stream = served.connect().await;
        stream.write_all(format!("{head}host: x\r\ncontent-length: 1000\r\n\r\n").as_bytes()).await.unwrap();
        let open = drips(&mut stream, b" ").await;
        // The answer goes out then; what would follow on the connection has its own ten seconds.
        assert!((9..=21).contains(&open.as_secs()), "{head}: {open:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_refused_at_32_kib() {
    let served = Served::new(&[]).await;
    for door in DOORS {
        let mut stream = served.connect().await;
        stream.write_all(format!("GET {door} HTTP/1.1\r\nhost: x\r\nx: ").as_bytes()).await.unwrap();
        let mut written = 0;
        // The connection itself holds 64 KiB on its way.
        while written <= 256 * 1024 {
            match timeout(Duration::from_secs(1), stream.write_all(&[b'x'; 1024])).await {
                Ok(Ok(())) => written += 1024,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        assert!(written <= 128 * 1024, "{door}: {written} bytes were taken");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 431"), "{door}: {answer}");
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_is_in_a_log_or_an_answer() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let served = Served::new(&[]).await;
    tracing::info!("the log is listened to");
    let exp = served.env.now().as_secs();
    let claims = |sub: &str, exp: u64| testing::token(&serde_json::json!({"sub": sub, "exp": exp}));
    let good = claims("alice", exp + 60);
    let forged = format!("{}A", claims("alice", exp + 60));
    let (over, nobodys) = (claims("alice", exp - 60), claims("a b", exp + 60));
    let mut answers = String::new();
    for token in [good.as_str(), &forged, &over, &nobodys, "junk.junk.junkjunk"] {
        for (target, header) in [
            (format!("/socket/websocket?token={token}"), String::new()),
            (format!("/socket/longpoll?token={token}"), String::new()),
            (format!("/socket/longpoll?token=lp~{token}"), String::new()),
            (
                "/socket/websocket".to_owned(),
                format!("sec-websocket-protocol: phoenix, base64url.bearer.phx.{token}\n"),
            ),
            ("/api/v1/conversations".to_owned(), format!("authorization: Bearer {token}\n")),
            (format!("/api/v1/conversations/{token}?token={token}"), format!("authorization: {token}\n")),
        ] {
            let request = format!("GET {target} HTTP/1.1\nhost: x\n{header}\n");
            let heard = exchange(&mut served.connect().await, &request).await;
            answers.push_str(&heard.head);
            answers.push_str(&heard.body);
        }
    }
    served.shutdown.cancel();
    testing::settle().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the log is listened to") && log.contains("a socket is refused"), "{log}");
    for token in [good.as_str(), &forged, "junk.junk.junkjunk"] {
        for part in token.split('.').filter(|part| part.len() > 6) {
            assert!(!log.contains(part), "{log}");
            assert!(!answers.contains(part), "{answers}");
        }
    }
}
