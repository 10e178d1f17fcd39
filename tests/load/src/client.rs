//! One socket of a user, on its user topic and one conversation: reads, checks every delivery, answers pings.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    time::Duration,
};

use anyhow::{Context as _, bail};
use simurgh_env::Env;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::Notify,
    time::{Instant, sleep, timeout},
};

mod join;

use crate::{
    frame::{self, Elements, Finder, Next},
    stats::{Stats, count, record},
    target::Target,
    window::{Faults, Window},
};

/// Bytes that one read takes at most; the buffer is shared by all sockets.
const READ: usize = 256 * 1024;
/// Longest head of the answer to the upgrade.
const MAX_HEAD: usize = 8 * 1024;
/// How long each client may be silent; servers give up after 60 s.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// How long a connect and its joins may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What all clients of a run share.
pub struct Run {
    pub target: Target,
    pub env: Env,
    /// From when `due_us` counts.
    pub epoch: Instant,
    pub stats: Stats,
    finder: Finder,
    buffer: RefCell<Vec<u8>>,
}

impl Run {
    pub fn new(target: Target) -> anyhow::Result<Rc<Self>> {
        let env = Env::system();
        let epoch = env.instant();
        let (stats, finder) = (Stats::new()?, Finder::new());
        Ok(Rc::new(Self { target, env, epoch, stats, finder, buffer: RefCell::new(vec![0; READ]) }))
    }

    /// Microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.us(self.env.instant())
    }

    pub fn us(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }
}

/// Which topics a client joins.
#[derive(Clone, Debug)]
pub struct Joins {
    pub user: Option<String>,
    pub conversation: Option<String>,
}

/// A socket that has joined, or is joining.
pub struct Client {
    stream: TcpStream,
    joins: Joins,
    /// Place among the members of its conversation.
    pub member: u32,
    unwritten: RefCell<Vec<u8>>,
    state: RefCell<State>,
    joined: Cell<usize>,
    /// Joins that were refused, by their names, and wait to be tried again.
    refused: RefCell<Vec<u64>>,
    changed: Notify,
    ended: Cell<bool>,
    /// Reads nothing while set.
    pub stalled: Cell<bool>,
    pub go_on: Notify,
}

struct State {
    /// By `seq`, where messages have one.
    log: Window,
    /// By sender otherwise.
    senders: Vec<Window>,
    /// When each push that was not answered yet was due, by ref, oldest first.
    pushes: VecDeque<(u64, u64)>,
    last_push: u64,
}

impl Client {
    /// Connects, upgrades and asks for its joins. `small` keeps the kernel from buffering much for it.
    ///
    /// # Errors
    /// Where it cannot connect, or the upgrade is refused, which the text then says with its status.
    pub async fn connect(
        run: &Rc<Run>,
        index: usize,
        member: u32,
        joins: Joins,
        small: bool,
    ) -> anyhow::Result<Rc<Self>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = run.target.source(index) {
            socket.bind((source, 0).into())?;
        }
        if small {
            socket.set_recv_buffer_size(4_096)?;
        }
        let stream = socket.connect(run.target.address).await?;
        stream.set_nodelay(true)?;
        let path = run.target.path(index, &run.env)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            run.target.address
        );
        let rest = upgrade(&stream, &request).await?;
        let state =
            State { log: Window::default(), senders: Vec::new(), pushes: VecDeque::new(), last_push: 10 };
        let client = Rc::new(Self {
            stream,
            joins,
            member,
            unwritten: RefCell::default(),
            state: RefCell::new(state),
            joined: Cell::new(0),
            refused: RefCell::default(),
            changed: Notify::new(),
            ended: Cell::new(false),
            stalled: Cell::new(false),
            go_on: Notify::new(),
        });
        client.join_all();
        tokio::task::spawn_local(Rc::clone(&client).read(Rc::clone(run), rest));
        tokio::task::spawn_local(heartbeats(Rc::downgrade(&client), index));
        Ok(client)
    }

    /// Pushes a message that was due then.
    pub fn push(&self, run: &Run, due_us: u64, bytes: usize) {
        let Some(topic) = &self.joins.conversation else { return };
        let reference = {
            let mut state = self.state.borrow_mut();
            state.last_push += 1;
            let reference = state.last_push;
            state.pushes.push_back((reference, due_us));
            reference
        };
        // Counted from 1 behind the refs of joins and heartbeats.
        let mark = frame::Mark { sender: self.member, count: reference - 10, due_us };
        let content = frame::content(mark, bytes);
        count(&run.stats.sent);
        self.send(&format!(
            r#"["2","{reference}","{topic}","send_message",{{"message_type":"text","content":"{content}","metadata":{{}},"client_random":{reference}}}]"#
        ));
    }

    fn heartbeat(&self) {
        self.send(r#"[null,"0","phoenix","heartbeat",{}]"#);
    }

    /// Reads on after a stall.
    pub fn resume(&self) {
        self.stalled.set(false);
        self.go_on.notify_one();
    }

    /// Ends the connection without a word, as a network does that goes away.
    pub fn drop_connection(&self) {
        self.ended.set(true);
        self.go_on.notify_one();
        self.changed.notify_waiters();
    }

    fn send(&self, text: &str) {
        let mut out = self.unwritten.borrow_mut();
        frame::write(&mut out, 1, true, text.as_bytes());
        self.flush(&mut out);
    }

    /// Writes what the kernel takes; the reading task sees to the rest.
    fn flush(&self, out: &mut Vec<u8>) {
        while !out.is_empty() {
            match self.stream.try_write(out) {
                Ok(written) => drop(out.drain(..written)),
                Err(_) => break,
            }
        }
        if out.is_empty() && out.capacity() > 1_024 {
            *out = Vec::new();
        }
    }

    async fn read(self: Rc<Self>, run: Rc<Run>, mut rest: Vec<u8>) {
        if !rest.is_empty() {
            let taken = self.take(&run, &rest).unwrap_or(rest.len());
            rest.drain(..taken);
        }
        while !self.ended.get() {
            if self.stalled.get() {
                self.go_on.notified().await;
                continue;
            }
            let unwritten = !self.unwritten.borrow().is_empty();
            tokio::select! {
                biased;
                ready = self.stream.readable() => if ready.is_err() { break },
                ready = self.stream.writable(), if unwritten => {
                    if ready.is_err() { break }
                    self.flush(&mut self.unwritten.borrow_mut());
                    continue;
                }
                () = self.go_on.notified() => continue,
            }
            if !self.read_once(&run, &mut rest) {
                break;
            }
        }
        if !self.ended.replace(true) {
            count(&run.stats.lost_sockets);
        }
        self.changed.notify_waiters();
        run.stats.progressed();
    }

    /// Takes what there is; whether the socket goes on.
    fn read_once(&self, run: &Run, rest: &mut Vec<u8>) -> bool {
        let mut buffer = run.buffer.borrow_mut();
        let bytes = match self.stream.try_read(&mut buffer) {
            Ok(0) => return false,
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        };
        let taken = if rest.is_empty() {
            let taken = self.take(run, bytes);
            rest.extend_from_slice(bytes.get(taken.unwrap_or(0)..).unwrap_or_default());
            taken
        } else {
            rest.extend_from_slice(bytes);
            let taken = self.take(run, rest);
            rest.drain(..taken.unwrap_or(0));
            taken
        };
        if rest.is_empty() && rest.capacity() > 0 {
            *rest = Vec::new();
        }
        run.stats.progressed();
        taken.is_some()
    }

    /// Takes whole frames; how many bytes they were. `None` where the socket is at its end.
    fn take(&self, run: &Run, bytes: &[u8]) -> Option<usize> {
        let now_us = run.now_us();
        let mut at = 0;
        loop {
            match frame::next(bytes.get(at..)?) {
                Next::Text(text, taken) => {
                    self.message(run, text, now_us);
                    at += taken;
                }
                Next::Ping(payload, taken) => {
                    let mut out = self.unwritten.borrow_mut();
                    frame::write(&mut out, 0xA, true, payload);
                    self.flush(&mut out);
                    at += taken;
                }
                Next::Other(taken) => at += taken,
                Next::Partial => return Some(at),
                Next::Close(_) | Next::Bad => return None,
            }
        }
    }

    fn message(&self, run: &Run, text: &[u8], now_us: u64) {
        let Some(Elements { reference, topic, event, payload, .. }) = frame::elements(text) else { return };
        let is = |wanted: &Option<String>| wanted.as_ref().is_some_and(|name| name.as_bytes() == topic);
        match event {
            b"new_message" if is(&self.joins.conversation) => self.delivery(run, payload, now_us),
            b"new_message" => count(&run.stats.notices),
            b"phx_reply" => self.reply(run, reference, payload, now_us),
            b"presence_state" | b"presence_diff" => count(&run.stats.presence),
            b"user_joined" | b"user_left" => count(&run.stats.comings),
            b"phx_close" | b"phx_error" => count(&run.stats.lost_sockets),
            _ => {}
        }
    }

    fn delivery(&self, run: &Run, payload: &[u8], now_us: u64) {
        // What is not this run's (a demo's own message, for one) is not counted.
        let Some(mark) = run.finder.mark(payload) else { return };
        let mut state = self.state.borrow_mut();
        let mut faults = Faults::default();
        let (window, number) = if run.target.has_seq {
            let Some(seq) = run.finder.seq(payload) else { return };
            (&mut state.log, seq)
        } else {
            let Ok(sender) = usize::try_from(mark.sender) else { return };
            if state.senders.len() <= sender {
                state.senders.resize(sender + 1, Window::after(0));
            }
            let Some(window) = state.senders.get_mut(sender) else { return };
            (window, mark.count)
        };
        if window.take(number, &mut faults) {
            count(&run.stats.delivered);
            record(&run.stats.delivery, now_us.saturating_sub(mark.due_us));
        }
        if faults != Faults::default() {
            run.stats.faults.borrow_mut().add(faults);
        }
    }

    fn reply(&self, run: &Run, reference: &[u8], payload: &[u8], now_us: u64) {
        let ok = run.finder.is_ok(payload);
        let Some((number, _)) = frame::number(reference) else { return };
        match number {
            0 => {}
            1 | 2 => {
                if number == 2 {
                    self.state.borrow_mut().log = Window::after(last_seq(payload));
                }
                self.joined.set(self.joined.get() + usize::from(ok));
                if !ok {
                    self.refused.borrow_mut().push(number);
                }
                self.changed.notify_waiters();
            }
            _ => {
                let mut state = self.state.borrow_mut();
                let Some(at) = state.pushes.iter().position(|(asked, _)| *asked == number) else { return };
                let Some((_, due_us)) = state.pushes.remove(at) else { return };
                count(if ok { &run.stats.acked } else { &run.stats.refused });
                record(&run.stats.ack, now_us.saturating_sub(due_us));
            }
        }
    }
}

/// Once in [`HEARTBEAT`] as long as the client is there; those who come together are spread over it.
async fn heartbeats(client: Weak<Client>, index: usize) {
    sleep(HEARTBEAT.mul_f64((index as f64 * 0.618).fract())).await;
    while let Some(client) = client.upgrade().filter(|client| !client.ended.get()) {
        client.heartbeat();
        drop(client);
        sleep(HEARTBEAT).await;
    }
}

/// Where the log stands by a join's reply; 0 where it does not say.
fn last_seq(payload: &[u8]) -> u64 {
    let payload: Option<serde_json::Value> =
        payload.strip_suffix(b"]").and_then(|payload| serde_json::from_slice(payload).ok());
    payload.and_then(|payload| payload.get("response")?.get("last_seq")?.as_u64()).unwrap_or(0)
}

/// Sends the request and reads the head of the answer; what came behind it.
async fn upgrade(stream: &TcpStream, request: &str) -> anyhow::Result<Vec<u8>> {
    let answered = async {
        stream.writable().await?;
        // A fresh connection takes a request of this size at once.
        anyhow::ensure!(stream.try_write(request.as_bytes())? == request.len(), "the request was not taken");
        let mut head = Vec::new();
        loop {
            stream.readable().await?;
            match stream.try_read_buf(&mut head) {
                Ok(0) => bail!("the connection ended before the upgrade"),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
                let rest = head.split_off(end + 4);
                if !head.starts_with(b"HTTP/1.1 101") {
                    bail!("refused with {}", String::from_utf8_lossy(head.get(9..12).unwrap_or_default()));
                }
                return Ok(rest);
            }
            anyhow::ensure!(head.len() < MAX_HEAD, "a head without an end");
        }
    };
    timeout(PATIENCE, answered).await.context("the upgrade was not answered")?
}
