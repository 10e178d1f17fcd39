//! The few HTTP calls that a run needs, on one connection.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    ops::Range,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use simurgh_env::Env;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::TcpStream,
    time::sleep,
};

use crate::target::Target;

/// Most bytes of an answer that are taken.
const MAX_BODY: usize = 1024 * 1024;

/// Conversations that are made at one time.
const MAKERS: usize = 16;
/// How long after the answer that one cannot be made now it is asked for again.
const PAUSE: Duration = Duration::from_millis(500);

/// A connection to an HTTP/1.1 server.
pub struct Http {
    io: BufStream<TcpStream>,
    host: SocketAddr,
}

impl Http {
    pub async fn connect(host: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { io: BufStream::new(TcpStream::connect(host).await?), host })
    }

    /// One call: the status and the body.
    pub async fn call(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        if let Some(token) = token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len()));
        self.io.write_all(head.as_bytes()).await?;
        self.io.write_all(body.as_bytes()).await?;
        self.io.flush().await?;
        let mut line = String::new();
        self.io.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).context("no status")?.parse()?;
        let mut length = 0;
        loop {
            line.clear();
            ensure!(self.io.read_line(&mut line).await? > 0, "the answer ended in its head");
            let lower = line.trim().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        ensure!(length <= MAX_BODY, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.io.read_exact(&mut body).await?;
        Ok((status, body))
    }
}

/// What a server says to a GET as it was spoken before chunks: until it closes.
pub async fn get_once(host: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_BODY as u64).read_to_end(&mut answer).await?;
    let head = memchr::memmem::find(&answer, b"\r\n\r\n").context("no head")?;
    Ok(answer.split_off(head + 4))
}

/// Whether the server says that it can serve.
pub async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut http) = Http::connect(address).await else { return false };
    matches!(http.call("GET", "/readyz", None, "").await, Ok((200, _)))
}

/// Makes conversations `0..count`, each of the users that `members` says, some at a time. One that is refused for the moment
/// (503) is asked for again, `again` times at most; how many were is told.
///
/// # Errors
/// Where one is refused.
pub async fn make_conversations(
    target: &Target,
    count: usize,
    members: impl Fn(usize) -> Range<usize>,
    again: u32,
    env: &Env,
) -> anyhow::Result<()> {
    let token = target.token(&format!("s{}", target.run), true, env)?;
    let bodies = (0..count).map(|index| {
        let names: Vec<_> = members(index).map(|user| target.user(user)).collect();
        json!({"id": target.conversation(index), "type": "group", "member_ids": names}).to_string()
    });
    let bodies = RefCell::new(bodies);
    let refused = Cell::new(0_u64);
    let maker = async || {
        let mut http = Http::connect(target.address).await?;
        let mut tried = 0;
        let mut next = bodies.borrow_mut().next();
        while let Some(body) = &next {
            let (status, answer) = http.call("POST", "/api/v1/conversations", Some(&token), body).await?;
            if status == 503 && tried < again {
                // The same call again makes it once.
                tried += 1;
                refused.set(refused.get() + 1);
                sleep(PAUSE).await;
            } else if status == 201 || status == 200 {
                tried = 0;
                next = bodies.borrow_mut().next();
            } else {
                let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
                let reason = answer.pointer("/error/reason").and_then(Value::as_str).unwrap_or_default();
                bail!("a conversation was not made: {status} {reason}");
            }
        }
        anyhow::Ok(())
    };
    try_join_all((0..MAKERS).map(|_| maker())).await?;
    if refused.get() > 0 {
        eprintln!("{} times a conversation could not be made at once: 503", refused.get());
    }
    Ok(())
}
