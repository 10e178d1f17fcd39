//! The floor: the least that a server of the protocol does. It answers joins and writes each broadcast to all sockets
//! of the topic; it has no rules, no users and no store, so what it takes is what the machine takes.

use std::{
    collections::{BTreeMap, VecDeque},
    io::IoSlice,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::ValueEnum;
use sha1::{Digest as _, Sha1};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Notify,
};

use crate::frame::{self, Elements};

/// What RFC 6455 appends to a client's key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Frames that leave in one write.
const BATCH: usize = 64;
/// Waiting connections.
const BACKLOG: u32 = 4_096;
/// Bytes of one read.
const READ: usize = 4_096;

/// How a broadcast reaches a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One write for each delivery, by whoever broadcasts.
    Direct,
    /// A queue a socket; what waits in it leaves in one vectored write.
    Queued,
}

struct Floor {
    mode: Mode,
    topics: Mutex<BTreeMap<Vec<u8>, Arc<Mutex<Topic>>>>,
}

#[derive(Default)]
struct Topic {
    seq: u64,
    sockets: Vec<Arc<Socket>>,
}

struct Socket {
    stream: TcpStream,
    queue: Mutex<VecDeque<Bytes>>,
    filled: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until the process is ended.
pub async fn serve(address: SocketAddr, mode: Mode) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let floor = Arc::new(Floor { mode, topics: Mutex::default() });
    loop {
        let (stream, _) = listener.accept().await.context("no connection could be accepted")?;
        let floor = Arc::clone(&floor);
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            let _ = floor.connection(stream).await;
        });
    }
}

impl Floor {
    async fn connection(&self, stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let mut unread = upgrade(&stream).await?;
        let socket = Arc::new(Socket { stream, queue: Mutex::default(), filled: Notify::new() });
        let mut joined = Vec::new();
        let outcome = self.run(&socket, &mut unread, &mut joined).await;
        for topic in joined {
            let mut topic = lock(&topic);
            topic.sockets.retain(|other| !Arc::ptr_eq(other, &socket));
        }
        outcome
    }

    async fn run(
        &self,
        socket: &Arc<Socket>,
        unread: &mut Vec<u8>,
        joined: &mut Vec<Arc<Mutex<Topic>>>,
    ) -> anyhow::Result<()> {
        loop {
            while let Some((opcode, payload, taken)) = frame::next_of_client(unread) {
                unread.drain(..taken);
                match opcode {
                    1 => self.message(socket, &payload, joined),
                    8 => return Ok(()),
                    _ => {}
                }
            }
            if unread.is_empty() {
                *unread = Vec::new();
            }
            let waits = !lock(&socket.queue).is_empty();
            tokio::select! {
                biased;
                ready = socket.stream.readable() => {
                    ready?;
                    if !read(&socket.stream, unread)? {
                        return Ok(());
                    }
                }
                ready = socket.stream.writable(), if waits => {
                    ready?;
                    socket.write_queue()?;
                }
                () = socket.filled.notified(), if !waits => {}
            }
        }
    }

    fn message(&self, socket: &Arc<Socket>, text: &[u8], joined: &mut Vec<Arc<Mutex<Topic>>>) {
        let Some(Elements { join_ref, reference, topic, event, payload }) = frame::elements(text) else {
            return;
        };
        let seq = match event {
            b"phx_join" => {
                let shared = Arc::clone(lock(&self.topics).entry(topic.to_vec()).or_default());
                lock(&shared).sockets.push(Arc::clone(socket));
                let seq = lock(&shared).seq;
                joined.push(shared);
                seq
            }
            b"heartbeat" => 0,
            _ => self.broadcast(topic, payload),
        };
        let mut reply = Vec::with_capacity(128);
        reply.push(b'[');
        quoted(&mut reply, join_ref);
        reply.push(b',');
        quoted(&mut reply, reference);
        reply.push(b',');
        quoted(&mut reply, topic);
        let response = format!(r#","phx_reply",{{"response":{{"last_seq":{seq}}},"status":"ok"}}]"#);
        reply.extend_from_slice(response.as_bytes());
        socket.send(self.mode, &framed(&reply));
    }

    /// Sends a payload to everyone on the topic under the next number, which it returns.
    fn broadcast(&self, topic: &[u8], payload: &[u8]) -> u64 {
        let Some(shared) = lock(&self.topics).get(topic).cloned() else { return 0 };
        let mut shared = lock(&shared);
        shared.seq += 1;
        let mut text = Vec::with_capacity(payload.len() + 128);
        text.extend_from_slice(b"[null,null,");
        quoted(&mut text, topic);
        text.extend_from_slice(format!(r#","new_message",{{"seq":{},"#, shared.seq).as_bytes());
        text.extend_from_slice(payload.strip_prefix(b"{").unwrap_or(payload));
        let frame = framed(&text);
        for socket in &shared.sockets {
            socket.send(self.mode, &frame);
        }
        shared.seq
    }
}

impl Socket {
    fn send(&self, mode: Mode, frame: &Bytes) {
        let mut queue = lock(&self.queue);
        if mode == Mode::Direct && queue.is_empty() {
            match self.stream.try_write(frame) {
                Ok(written) if written == frame.len() => return,
                Ok(written) => queue.push_back(frame.slice(written..)),
                Err(_) => queue.push_back(frame.clone()),
            }
        } else {
            queue.push_back(frame.clone());
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Writes what waits, as much as the kernel takes at once.
    fn write_queue(&self) -> anyhow::Result<()> {
        let mut queue = lock(&self.queue);
        let slices: Vec<_> = queue.iter().take(BATCH).map(|frame| IoSlice::new(frame)).collect();
        let mut written = match self.stream.try_write_vectored(&slices) {
            Ok(written) => written,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(mut first) = queue.pop_front() {
            if written < first.len() {
                let rest = first.split_off(written);
                queue.push_front(rest);
                break;
            }
            written -= first.len();
        }
        if queue.is_empty() {
            *queue = VecDeque::new();
        }
        Ok(())
    }
}

fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    }
}

fn framed(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 10);
    frame::write(&mut out, 1, false, text);
    out.into()
}

/// Reads what there is; whether the connection goes on.
fn read(stream: &TcpStream, unread: &mut Vec<u8>) -> anyhow::Result<bool> {
    // On the stack of the moment, and so no socket's.
    let mut buffer = [0; READ];
    match stream.try_read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(read) => {
            unread.extend_from_slice(buffer.get(..read).unwrap_or_default());
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Answers the upgrade; what the client sent behind it.
async fn upgrade(stream: &TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::new();
    let end = loop {
        stream.readable().await?;
        anyhow::ensure!(read(stream, &mut head)? && head.len() < READ * 4, "no request");
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            break end + 4;
        }
    };
    let rest = head.split_off(end);
    let text = String::from_utf8_lossy(&head).into_owned();
    let key = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .context("no key")?
        .1;
    let accept = STANDARD.encode(Sha1::new().chain_update(key.trim()).chain_update(GUID).finalize());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    anyhow::ensure!(stream.try_write(answer.as_bytes())? == answer.len(), "the answer was not taken");
    Ok(rest)
}
