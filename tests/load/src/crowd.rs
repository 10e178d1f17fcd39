//! Many clients: who joins what, connecting them, keeping them alive.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use anyhow::ensure;
use hdrhistogram::Histogram;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    client::{Client, Joins, Run},
    stats::{histogram, record},
};

/// How long a stock client waits before each try to connect again, in milliseconds; the last holds for all further ones.
const BACK_OFF_MS: [u64; 9] = [10, 50, 100, 150, 200, 250, 500, 1_000, 2_000];
/// Tries of one client.
const TRIES: usize = 60;

/// Who joins what: conversations of so many members each, one socket a member.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub conversations: usize,
    pub members: usize,
    /// Whether each joins its user topic as well.
    pub user_topics: bool,
}

impl Shape {
    pub const fn sockets(self) -> usize {
        self.conversations * self.members
    }

    fn joins(self, run: &Run, index: usize) -> Joins {
        Joins {
            user: self.user_topics.then(|| run.target.user_topic(index)),
            conversation: Some(run.target.conversation_topic(index / self.members.max(1))),
        }
    }
}

/// How clients connect.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// New clients a second; without, as fast as `at_once` allow.
    pub rate: Option<f64>,
    /// Clients that connect or join at one time.
    pub at_once: usize,
    /// Every so many-th reads through a small window, so that it can stall.
    pub small_every: Option<usize>,
}

/// What connecting took.
pub struct Connected {
    pub elapsed: Duration,
    /// From when a client was due until its joins were answered.
    pub times: Histogram<u64>,
    /// Tries that failed, by what was said.
    pub failures: BTreeMap<String, u64>,
}

/// Clients that are connected.
pub struct Crowd {
    pub shape: Shape,
    pub clients: Vec<Rc<Client>>,
}

impl Crowd {
    /// Connects everyone and waits until they have joined. Tries again as a stock client does.
    ///
    /// # Errors
    /// Where one did not get in.
    pub async fn connect(run: &Rc<Run>, shape: Shape, pace: Pace) -> anyhow::Result<(Self, Connected)> {
        let (places, began) = (Rc::new(Semaphore::new(pace.at_once)), run.env.instant());
        let times = Rc::new(RefCell::new(histogram()?));
        let failures = Rc::new(RefCell::new(BTreeMap::new()));
        let mut tasks = JoinSet::new();
        for index in 0..shape.sockets() {
            let (run, places, times) = (Rc::clone(run), Rc::clone(&places), Rc::clone(&times));
            let failures = Rc::clone(&failures);
            tasks.spawn_local(async move {
                if let Some(rate) = pace.rate {
                    sleep_until(began + Duration::from_secs_f64(index as f64 / rate)).await;
                }
                let due = if pace.rate.is_some() { run.env.instant() } else { began };
                let _place = places.acquire().await?;
                let client = one(&run, shape, index, pace, &failures).await?;
                let took = run.env.instant().saturating_duration_since(due);
                record(&times, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                anyhow::Ok((index, client))
            });
        }
        let mut all = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            let (index, client) = done??;
            all.insert(index, client);
        }
        let elapsed = began.elapsed();
        ensure!(all.len() == shape.sockets(), "{} of {} clients got in", all.len(), shape.sockets());
        let clients: Vec<_> = all.into_values().collect();
        let connected = Connected { elapsed, times: times.take_histogram()?, failures: failures.take() };
        Ok((Self { shape, clients }, connected))
    }

    /// The member of a conversation.
    pub fn member(&self, conversation: usize, member: usize) -> Option<&Rc<Client>> {
        self.clients.get(conversation * self.shape.members + member)
    }

    /// All connections go away at once.
    pub fn drop_all(self) {
        for client in self.clients {
            client.drop_connection();
        }
    }
}

trait TakeHistogram {
    fn take_histogram(&self) -> anyhow::Result<Histogram<u64>>;
}

impl TakeHistogram for RefCell<Histogram<u64>> {
    fn take_histogram(&self) -> anyhow::Result<Histogram<u64>> {
        Ok(self.replace(histogram()?))
    }
}

async fn one(
    run: &Rc<Run>,
    shape: Shape,
    index: usize,
    pace: Pace,
    failures: &RefCell<BTreeMap<String, u64>>,
) -> anyhow::Result<Rc<Client>> {
    let member = u32::try_from(index % shape.members.max(1))?;
    let small = pace.small_every.is_some_and(|every| index.is_multiple_of(every));
    for tried in 0..TRIES {
        let failed = match Client::connect(run, index, member, shape.joins(run, index), small).await {
            Ok(client) => match client.joined(failures).await {
                Ok(()) => return Ok(client),
                Err(error) => {
                    client.drop_connection();
                    error
                }
            },
            Err(error) => error,
        };
        *failures.borrow_mut().entry(failed.to_string()).or_default() += 1;
        let pause = BACK_OFF_MS.get(tried).or(BACK_OFF_MS.last()).copied().unwrap_or_default();
        sleep(Duration::from_millis(pause)).await;
    }
    anyhow::bail!("a client did not get in after {TRIES} tries: {:?}", failures.borrow());
}

/// When something that happens `rate` times a second happens for the `index`-th time.
pub fn due(began: Instant, index: u64, rate: f64) -> Instant {
    began + Duration::from_secs_f64(index as f64 / rate)
}
