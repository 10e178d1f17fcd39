//! Whether what users do costs the same however much there is: long logs, long lists, many who come back at once.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    client::{Client, Joins, Run},
    crowd::{Crowd, Pace, Shape},
    http::{Http, make_conversations},
    options::Besides,
    process::CpuSince,
    report::{Figures, ms},
    scenarios::Drive,
    stats::histogram,
    target::Target,
    traffic::{self, Phase},
};

/// Messages that are under way at one time while a log is filled.
const FILLING: u64 = 512;
/// Bytes of a message's content.
const BYTES: usize = 128;
/// Members of each conversation whose members come back, and of each whose sockets are idle.
const BLOCK: usize = 100;
const IDLE_MEMBERS: usize = 10;
/// How often one of those many conversations may be refused for the moment before it is made.
const AGAIN: u32 = 10;
/// How long the counts of a worker are let settle.
const SETTLE: Duration = Duration::from_secs(3);
/// Those who chat while others come back.
const CHATTING: Shape = Shape { conversations: 10, members: 20, user_topics: true };

/// Times of one thing that was done again and again.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> anyhow::Result<Self> {
        histogram().map(Self)
    }

    async fn of<T>(&mut self, run: &Run, done: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let began = run.now_us();
        let result = done.await?;
        self.0.saturating_record((run.now_us() - began).max(1));
        Ok(result)
    }

    fn note(&self, name: &str, figures: &mut Figures) {
        figures.add(format!("{name} p50"), ms(self.0.value_at_quantile(0.5)), "ms");
        figures.add(format!("{name} p99"), ms(self.0.value_at_quantile(0.99)), "ms");
    }
}

/// Users and conversations of their own on the same server, counted by themselves.
fn beside(target: &Target, run: &Run) -> anyhow::Result<Rc<Run>> {
    Run::new(Target { run: run.env.short_id(), ..target.clone() })
}

async fn page(http: &mut Http, path: &str, token: &str) -> anyhow::Result<Value> {
    let (status, body) = http.call("GET", path, Some(token), "").await?;
    ensure!(status == 200, "{path} answered {status}");
    Ok(serde_json::from_slice(&body)?)
}

/// Read units that the worker has counted.
async fn read_units(worker: SocketAddr) -> anyhow::Result<f64> {
    let (_, body) = Http::connect(worker).await?.call("GET", "/metrics", None, "").await?;
    let text = String::from_utf8(body)?;
    let counted =
        |line: &&str| line.starts_with("simurgh_worker_counted_units_total{") && line.contains(r#""read""#);
    let line = text.lines().find(counted).context("the worker counts no units")?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

/// What is there besides the messages of a chat, for as long as it is held.
pub async fn besides(drive: &mut Drive, besides: Besides) -> anyhow::Result<Option<(Rc<Run>, Crowd)>> {
    if besides.known > 0 && drive.run.target.secret.is_some() {
        let known = beside(&drive.run.target, &drive.run)?;
        make_conversations(&known.target, besides.known, |index| index * 2..index * 2 + 2, 0, &known.env)
            .await?;
    }
    if besides.idle == 0 {
        return Ok(None);
    }
    let idle = beside(&drive.run.target, &drive.run)?;
    let shape = Shape {
        conversations: besides.idle.div_ceil(IDLE_MEMBERS),
        members: IDLE_MEMBERS,
        user_topics: true,
    };
    if idle.target.secret.is_some() {
        let members = |index| index * IDLE_MEMBERS..(index + 1) * IDLE_MEMBERS;
        make_conversations(&idle.target, shape.conversations, members, 0, &idle.env).await?;
    }
    let (crowd, _) = Crowd::connect(&idle, shape, drive.pace).await?;
    // What their coming makes is over before anything is measured.
    sleep(SETTLE).await;
    Ok(Some((idle, crowd)))
}

/// One conversation, at each of these lengths.
pub async fn log(drive: &mut Drive, lengths: &[u64], tries: usize) -> anyhow::Result<()> {
    let run = Rc::clone(&drive.run);
    let crowd = drive.connect(Shape { conversations: 1, members: 2, user_topics: false }).await?;
    let writer = crowd.member(0, 0).context("a writer")?;
    let token = run.target.token(&run.target.user(0), false, &run.env)?;
    let messages = format!("/api/v1/conversations/{}/messages?limit=50", run.target.conversation(0));
    let mut sent = 0;
    for length in lengths {
        fill(&run, writer, &mut sent, *length).await;
        ensure!(run.stats.refused.get() == 0, "{} messages were refused", run.stats.refused.get());
        let cpu = CpuSince::now(&drive.processes);
        let (mut sends, mut joins) = (Times::new()?, Times::new()?);
        let (mut newest, mut oldest) = (Times::new()?, Times::new()?);
        let mut http = Http::connect(run.target.address).await?;
        for _ in 0..tries {
            sent += 1;
            let sending = async {
                writer.push(&run, run.now_us(), BYTES);
                acked(&run, sent).await;
                anyhow::Ok(())
            };
            sends.of(&run, sending).await?;
            joins.of(&run, join(&run)).await?.drop_connection();
            newest.of(&run, page(&mut http, &messages, &token)).await?;
            let before = format!("{messages}&before_seq={}", (sent / 2).max(1));
            oldest.of(&run, page(&mut http, &before, &token)).await?;
        }
        let mut add =
            |name: &str, times: &Times| times.note(&format!("{length}: {name}"), &mut drive.figures);
        add("message acknowledged", &sends);
        add("connect and join", &joins);
        add("newest page", &newest);
        add("page from the middle", &oldest);
        for (name, seconds) in cpu.read() {
            drive.figures.add(
                format!("{length}: CPU {name} of all four"),
                seconds * 1e3 / tries as f64,
                "ms",
            );
        }
    }
    drive.lost_sockets()?;
    crowd.drop_all();
    Ok(())
}

/// The other member comes on a socket of its own.
async fn join(run: &Rc<Run>) -> anyhow::Result<Rc<Client>> {
    let joins = Joins { user: None, conversation: Some(run.target.conversation_topic(0)) };
    let client = Client::connect(run, 1, 1, joins, false).await?;
    client.joined(&Default::default()).await?;
    Ok(client)
}

async fn acked(run: &Run, sent: u64) {
    run.stats.watched.set(true);
    while run.stats.acked.get() + run.stats.refused.get() < sent {
        run.stats.progress.notified().await;
    }
}

/// Messages until there are so many.
async fn fill(run: &Run, writer: &Client, sent: &mut u64, length: u64) {
    while *sent < length {
        writer.push(run, run.now_us(), BYTES);
        *sent += 1;
        acked(run, sent.saturating_sub(FILLING)).await;
    }
    acked(run, *sent).await;
}

/// Users who are in many conversations: the first time that each joins its topic and reads its list, and the next times.
pub async fn list(
    drive: &mut Drive,
    conversations: usize,
    users: usize,
    worker: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let run = Rc::clone(&drive.run);
    make_conversations(&run.target, conversations, |_| 0..users, 0, &run.env).await?;
    let worker = worker.context("a server that is started here")?;
    // Caches of those who made them are no part of it.
    sleep(SETTLE).await;
    for round in ["first", "again"] {
        let (mut joins, mut pages) = (Times::new()?, Times::new()?);
        let (mut join_units, mut page_units) = (0.0, 0.0);
        let mut http = Http::connect(run.target.address).await?;
        for user in 0..users {
            let token = run.target.token(&run.target.user(user), false, &run.env)?;
            let before = read_units(worker).await?;
            let joins_of = Joins { user: Some(run.target.user_topic(user)), conversation: None };
            let joining = async {
                let client = Client::connect(&run, user, 0, joins_of, false).await?;
                client.joined(&Default::default()).await?;
                anyhow::Ok(client)
            };
            joins.of(&run, joining).await?.drop_connection();
            let between = read_units(worker).await?;
            pages.of(&run, page(&mut http, "/api/v1/conversations?limit=50", &token)).await?;
            join_units += between - before;
            page_units += read_units(worker).await? - between;
        }
        joins.note(&format!("{round}: connect and join of the user topic"), &mut drive.figures);
        pages.note(&format!("{round}: page of the list"), &mut drive.figures);
        drive.figures.add(format!("{round}: read units of a join"), join_units / users as f64, "");
        drive.figures.add(format!("{round}: read units of a page"), page_units / users as f64, "");
    }
    drive.lost_sockets()
}

/// Users who come back within a while, and what others feel of it.
pub async fn come_back(
    drive: &mut Drive,
    users: usize,
    each: usize,
    within: f64,
    phase: Phase,
) -> anyhow::Result<()> {
    let blocks = users / BLOCK;
    ensure!(blocks > 0, "at least {BLOCK} users");
    let back = beside(&drive.run.target, &drive.run)?;
    // All of a block are in the same conversations; the first ones are those that they join.
    let members = |index: usize| index % blocks * BLOCK..(index % blocks + 1) * BLOCK;
    make_conversations(&back.target, blocks * each, members, AGAIN, &back.env).await?;
    let shape = Shape { conversations: blocks, members: BLOCK, user_topics: true };
    let (crowd, _) = Crowd::connect(&back, shape, drive.pace).await?;
    let chat = drive.connect(CHATTING).await?;
    let run = Rc::clone(&drive.run);
    let alone = traffic::run(&run, &chat, phase, &drive.processes).await;
    alone.note("alone: ", &mut drive.figures);
    crowd.drop_all();
    let pace = Pace { rate: Some(users as f64 / within), ..drive.pace };
    let (among, returned) =
        tokio::join!(traffic::run(&run, &chat, phase, &drive.processes), Crowd::connect(&back, shape, pace));
    let (crowd, connected) = returned?;
    among.note("while they come back: ", &mut drive.figures);
    let figures = &mut drive.figures;
    figures.add("users who came back", users as f64, "");
    figures.add("all were back after", connected.elapsed.as_secs_f64(), "s");
    figures.add("each was back after p99", ms(connected.times.value_at_quantile(0.99)), "ms");
    figures.add("failed tries", connected.failures.values().sum::<u64>() as f64, "");
    figures.add("ack p99, to that alone", among.ack_p99_ms / alone.ack_p99_ms.max(0.001), "");
    drive.lost_sockets()?;
    crowd.drop_all();
    chat.drop_all();
    Ok(())
}
