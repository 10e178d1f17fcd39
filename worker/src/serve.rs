//! A worker's life: it takes commands from the bus, says that it lives, and drains.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use simurgh_backplane::{BusError, Delivery, Notice, Subject, Subscription, subject, trace};
use simurgh_protocol::{
    Refusal,
    envelope::{self, Answer, Arrived, Command, InvalidEnvelope, WorkerAlive},
};
use tokio::{
    sync::{
        OwnedSemaphorePermit, Semaphore,
        broadcast::{self, error::RecvError},
    },
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field::Empty, info_span};

use crate::{Worker, concurrency::Lane};

/// Commands that are under way or wait for it; beyond it they are `unavailable` at once.
const MOST: usize = 1_024;
/// How often a worker says that it lives.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long after it said that it leaves a worker still takes commands: those that were sent before it was heard.
const LINGER: Duration = Duration::from_millis(250);
/// How long a worker may take to finish what it has: longer than any command's deadline.
const DRAIN: Duration = Duration::from_secs(12);
/// How long the last answers may take to leave.
const FLUSH: Duration = Duration::from_secs(2);
/// The latest deadline that is believed, lest a gateway's clock hold commands here for ever.
const LATEST: Duration = Duration::from_secs(10);
/// Between attempts to subscribe.
const RETRY: Duration = Duration::from_millis(500);

/// What a worker listens on: its own subject, the one that it shares with all others, and what it is told of users.
struct Inbox {
    own: Subscription,
    shared: Subscription,
    arrivals: Subscription,
    notices: broadcast::Receiver<Notice>,
}

/// What comes to a worker.
enum Heard {
    /// A command.
    Command(Delivery),
    /// A user came to a gateway.
    Arrived(Delivery),
    /// Something may have been missed.
    Missed,
}

impl Inbox {
    /// The next of all; `None` once the bus is closed. Arrivals go before: what a command tells users is told where they
    /// are by then.
    async fn next(&mut self) -> Option<Heard> {
        tokio::select! {
            biased;
            () = missed(&mut self.notices) => Some(Heard::Missed),
            arrival = self.arrivals.next() => arrival.map(Heard::Arrived),
            delivery = self.own.next() => delivery.map(Heard::Command),
            delivery = self.shared.next() => delivery.map(Heard::Command),
        }
    }
}

/// Resolves when the connection was away, or dropped something.
async fn missed(notices: &mut broadcast::Receiver<Notice>) {
    match notices.recv().await {
        Ok(Notice::Reconnected | Notice::Dropped) | Err(RecvError::Lagged(_)) => {}
        // The bus is closed: its subscriptions say so.
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

/// Serves commands as the worker `id` until `shutdown`; then says that it leaves, finishes what it has, and returns.
pub async fn serve(worker: Worker, id: String, shutdown: CancellationToken) {
    let room = Arc::new(Semaphore::new(MOST));
    let mut alive = interval(HEARTBEAT);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(mut inbox) = subscribed(&worker, &id, &shutdown).await {
        worker.memory.places.listen(true);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    leave(&worker, &id, &room, inbox).await;
                    break;
                }
                _ = alive.tick() => say_alive(&worker, &id, false).await,
                heard = inbox.next() => match heard {
                    Some(heard) => take(&worker, &room, heard),
                    None => break,
                },
            }
        }
        worker.memory.places.listen(false);
        if shutdown.is_cancelled() {
            break;
        }
        // The bus closed under us: not in a loop without a pause.
        sleep(RETRY).await;
    }
    if timeout(DRAIN, worker.drain()).await.is_err() {
        tracing::warn!("some commands did not end in time, and are cut off: check the store's latency");
    }
    // The last answers may still wait on this side of the connection.
    if !matches!(timeout(FLUSH, worker.bus.flush()).await, Ok(Ok(()))) {
        tracing::debug!("the last answers may not have been sent");
    }
    worker.stop();
}

/// Listens, as soon as the bus allows; `None` where the worker is to stop before.
async fn subscribed(worker: &Worker, id: &str, shutdown: &CancellationToken) -> Option<Inbox> {
    loop {
        let subscribe = async {
            let own = worker.bus.subscribe(&worker.subjects.worker(id), None).await?;
            let notices = worker.bus.notices();
            let arrivals = worker.bus.subscribe(&worker.subjects.arrivals(), None).await?;
            let shared = worker.bus.subscribe(&worker.subjects.any_worker(), Some(subject::WORKERS)).await?;
            Ok::<Inbox, BusError>(Inbox { own, shared, arrivals, notices })
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            subscribed = subscribe => match subscribed {
                Ok(inbox) => return Some(inbox),
                Err(error) => tracing::debug!(%error, "not listening for commands yet"),
            },
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            () = sleep(RETRY + worker.env.jitter(RETRY)) => {}
        }
    }
}

/// Says that the worker leaves, takes what was sent before that was heard, and listens no more.
async fn leave(worker: &Worker, id: &str, room: &Arc<Semaphore>, mut inbox: Inbox) {
    worker.metrics.drains.inc();
    say_alive(worker, id, true).await;
    let rest = async {
        while let Some(heard) = inbox.next().await {
            take(worker, room, heard);
        }
    };
    drop(timeout(LINGER, rest).await);
}

async fn say_alive(worker: &Worker, id: &str, leaving: bool) {
    let alive = envelope::encode(&WorkerAlive { id: id.to_owned(), leaving });
    let subject = worker.subjects.worker_heartbeats();
    // Where the bus has no room, commands go before.
    let sent = timeout(HEARTBEAT, worker.bus.publish(&subject, alive)).await;
    if let Err(error) = sent.unwrap_or(Err(BusError::TimedOut)) {
        tracing::debug!(%error, "a heartbeat was not sent");
    }
}

/// Takes what came.
fn take(worker: &Worker, room: &Arc<Semaphore>, heard: Heard) {
    match heard {
        Heard::Command(delivery) => accept(worker, room, delivery),
        Heard::Arrived(delivery) => match envelope::decode::<Arrived>(&delivery.payload) {
            Ok(Arrived { user }) => worker.memory.places.arrived(user),
            Err(_) => worker.memory.places.missed(),
        },
        Heard::Missed => worker.memory.places.missed(),
    }
}

/// Starts a command, or refuses it at once where too many are under way.
fn accept(worker: &Worker, room: &Arc<Semaphore>, delivery: Delivery) {
    let place = Arc::clone(room).try_acquire_owned();
    let task = worker.clone();
    worker.spawn(async move {
        let Some(reply_to) = delivery.reply_to else { return };
        let span = trace::continued(
            delivery.trace.as_ref(),
            || info_span!(target: trace::TARGET, "command", call = Empty),
        );
        let answer = match place {
            Ok(place) => carry_out(&task, &delivery.payload, place).instrument(span).await,
            Err(_) => shed(&task),
        };
        reply(&task, &reply_to, &answer).await;
    });
}

/// Refuses a command for which there is no time.
fn shed(worker: &Worker) -> Answer {
    worker.metrics.commands_shed.inc();
    Answer::Refused(Refusal::unavailable("this worker has too much to do"))
}

/// Does a command. Whatever happens in it ends with it.
async fn carry_out(worker: &Worker, payload: &[u8], place: OwnedSemaphorePermit) -> Answer {
    let answer = match envelope::decode::<Command>(payload) {
        Ok(mut command) => {
            command.deadline = command.deadline.min(worker.env.now().plus(LATEST));
            let (id, name, began) = (command.id, command.call.name(), worker.env.instant());
            Span::current().record("call", name);
            let left = command.deadline.since(worker.env.now());
            let Some(turn) = worker.memory.concurrency.place(Lane::of(&command.call), left).await else {
                return shed(worker);
            };
            let under_way = worker.metrics.command();
            let answering = AssertUnwindSafe(Box::pin(worker.answer(command))).catch_unwind();
            let answer = answering.await.unwrap_or_else(|_| {
                tracing::error!(command = %id, "a command panicked: a fault of this build, report it with the lines before");
                Answer::Refused(Refusal::unavailable("the worker failed"))
            });
            drop((under_way, turn));
            let refused = match &answer {
                Answer::Ok(_) => None,
                Answer::Refused(refusal) => Some(refusal.reason),
            };
            worker.metrics.answered(name, refused, worker.env.instant().saturating_duration_since(began));
            answer
        }
        Err(InvalidEnvelope::Version(version)) => {
            tracing::warn!(version, "a gateway is newer than this worker: upgrade workers first");
            Answer::Refused(Refusal::unavailable("this worker is too old for the gateway"))
        }
        Err(error) => {
            tracing::error!(%error, "a command cannot be read: gateways and workers are of different builds");
            Answer::Refused(Refusal::unavailable("the command cannot be read"))
        }
    };
    drop(place);
    answer
}

async fn reply(worker: &Worker, to: &Subject, answer: &Answer) {
    let sent = match worker.bus.publish(to, envelope::encode(answer)).await {
        Err(BusError::TooLarge(bytes)) => {
            tracing::error!(bytes, "an answer is too large: a fault of this build, report it");
            let refused = Answer::Refused(Refusal::unavailable("the answer is too large"));
            worker.bus.publish(to, envelope::encode(&refused)).await
        }
        sent => sent,
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer was not sent");
    }
}

#[cfg(test)]
mod tests;
