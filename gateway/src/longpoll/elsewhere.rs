//! Sessions that another process holds: asking it, and answering those who ask.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use simurgh_backplane::{BusError, Delivery, Subject};
use simurgh_protocol::{
    envelope::{LongPollAnswer, LongPollCall, decode_with, encode_with},
    limits,
    longpoll::{PostBody, Secret, SessionToken},
};
use simurgh_service::readiness::PartHandle;
use tokio_util::sync::CancellationToken;

use super::{Posted, SLACK};
use crate::{
    Shared,
    socket::longpoll::{Polled, WINDOW},
};

/// Bytes of a post's part, or of a part of messages, in one envelope.
const PART_BYTES: usize = limits::ENVELOPE_BYTES - 64 * 1024;
/// Between attempts to listen.
const RETRY: Duration = Duration::from_millis(250);

/// A poll of another process' session. Dropped before it is answered, it tells that process that nobody waits.
struct Asking<'a> {
    shared: &'a Arc<Shared>,
    token: &'a SessionToken,
    poll: u64,
    answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let call = LongPollCall::Leave { session: self.token.secret.reveal(), poll: self.poll };
        let (this, subject) = (Arc::clone(self.shared), self.shared.subjects.long_polls(&self.token.process));
        self.shared.tasks.spawn(async move {
            // Where it is lost, the poll ends with its window.
            let _ = this.bus.publish(&subject, encode_with(&call, b"")).await;
        });
    }
}

/// Polls a session, wherever it is.
pub(super) async fn poll(shared: &Arc<Shared>, token: &SessionToken) -> Polled {
    if token.process == shared.long_polls.process {
        return shared.long_polls.poll(token.secret, token.seen).await;
    }
    let Ok(_permit) = shared.long_polls.limits.forwarded.try_acquire() else { return Polled::Restart };
    let mut asking = Asking { shared, token, poll: shared.env.random_u64(), answered: false };
    let polled = in_parts(shared, token, asking.poll).await;
    asking.answered = true;
    polled
}

/// Polls until all parts of the messages are there.
async fn in_parts(shared: &Shared, token: &SessionToken, poll: u64) -> Polled {
    let session = token.secret.reveal();
    let (mut seen, mut received, mut held) = (token.seen, Vec::new(), None);
    loop {
        let call = LongPollCall::Poll { session: session.clone(), seen, from: received.len(), poll };
        let (answer, bytes) = match ask(shared, token, &call, b"").await {
            Ok(answer) => answer,
            Err(unasked) => return unasked,
        };
        let LongPollAnswer::Messages { number, total } = answer else {
            return if held.is_none() { other(answer) } else { Polled::Gone };
        };
        // Further parts are of the same messages, or there is a hole that only a new session mends.
        if held.is_some_and(|held| held != number) || bytes.is_empty() {
            return Polled::Gone;
        }
        received.extend_from_slice(&bytes);
        if received.len() >= total {
            return Polled::Messages { number, messages: received.into() };
        }
        (seen, held) = (Some(number.saturating_sub(1)), Some(number));
    }
}

/// Hands frames to a session, wherever it is.
pub(super) async fn post(shared: &Shared, token: &SessionToken, body: &PostBody) -> Posted {
    if token.process == shared.long_polls.process {
        return shared.long_polls.post(token.secret, body, 0).await;
    }
    let Some(parts) = body.parts(PART_BYTES) else { return Posted::Late };
    for (part, before) in parts {
        let call = LongPollCall::Post { session: token.secret.reveal(), lines: part.lines, before };
        match ask(shared, token, &call, &part.bytes).await {
            Ok((LongPollAnswer::Taken, _)) => {}
            Ok((LongPollAnswer::Gone, _)) | Err(Polled::Gone) => return Posted::Gone,
            _ => return Posted::Late,
        }
    }
    Posted::Taken
}

/// Asks the process that holds the session. Where it is gone, or says nothing, so is the session.
async fn ask(
    shared: &Shared,
    token: &SessionToken,
    call: &LongPollCall,
    rest: &[u8],
) -> Result<(LongPollAnswer, Bytes), Polled> {
    let subject = shared.subjects.long_polls(&token.process);
    let answer = match shared.bus.request(&subject, encode_with(call, rest), WINDOW + SLACK).await {
        Ok(answer) => answer,
        Err(error @ (BusError::Disconnected(_) | BusError::TooLarge(_) | BusError::Conflict)) => {
            tracing::debug!(%error, "a long-poll session is out of reach");
            return Err(Polled::Restart);
        }
        Err(BusError::NoResponders | BusError::TimedOut) => return Err(Polled::Gone),
    };
    match decode_with(&answer) {
        Ok((envelope, at)) => Ok((envelope, answer.slice(at..))),
        Err(error) => {
            tracing::warn!(%error, "another gateway's answer could not be read: upgrade this gateway");
            Err(Polled::Restart)
        }
    }
}

/// An answer without messages.
fn other(answer: LongPollAnswer) -> Polled {
    match answer {
        LongPollAnswer::Nothing => Polled::Nothing,
        LongPollAnswer::Displaced => Polled::Displaced,
        LongPollAnswer::Restart => Polled::Restart,
        LongPollAnswer::Forbidden => Polled::Forbidden,
        LongPollAnswer::Gone
        | LongPollAnswer::Messages { .. }
        | LongPollAnswer::Taken
        | LongPollAnswer::Late => Polled::Gone,
    }
}

/// Answers other gateways for the sessions of this process, until it stops.
pub async fn listen(shared: Arc<Shared>, part: PartHandle) {
    let subject = shared.subjects.long_polls(&shared.long_polls.process);
    loop {
        let Ok(mut asked) = shared.bus.subscribe(&subject, None).await else {
            tokio::select! {
                biased;
                () = shared.stopped.cancelled() => return,
                () = tokio::time::sleep(RETRY) => continue,
            }
        };
        part.works();
        loop {
            let delivery = tokio::select! {
                biased;
                () = shared.stopped.cancelled() => return,
                delivery = asked.next() => delivery,
            };
            match delivery {
                Some(Delivery { payload, reply_to: Some(reply_to), .. }) => {
                    take(&shared, payload, reply_to).await;
                }
                Some(Delivery { payload, .. }) => left(&shared, &payload),
                None => return,
            }
        }
    }
}

/// Nobody waits for a poll any more.
fn left(shared: &Shared, payload: &[u8]) {
    if let Ok((LongPollCall::Leave { session, poll }, _)) = decode_with(payload)
        && let Some(secret) = Secret::parse(&session)
        && let Some(called_off) = shared.long_polls.asked_for().remove(&(secret, poll))
    {
        called_off.cancel();
    }
}

/// Serves one that asks, in a task of its own, since a poll waits. What calls a poll off may be the very next delivery,
/// so it can be called off from here on.
async fn take(shared: &Arc<Shared>, payload: Bytes, reply_to: Subject) {
    let Ok(permit) = Arc::clone(&shared.long_polls.limits.served).try_acquire_owned() else {
        reply(shared, &reply_to, LongPollAnswer::Restart, b"").await;
        return;
    };
    let (call, rest) = match decode_with::<LongPollCall>(&payload) {
        Ok((call, at)) => (call, payload.slice(at..)),
        Err(error) => {
            tracing::warn!(%error, "another gateway's question could not be read: upgrade this gateway");
            reply(shared, &reply_to, LongPollAnswer::Restart, b"").await;
            return;
        }
    };
    let called_off = Listening::to(shared, &call);
    let this = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let serving = async {
            let (answer, rest) = serve(&this, call, rest, &called_off.token).await;
            reply(&this, &reply_to, answer, &rest).await;
        };
        tokio::select! {
            biased;
            () = this.stopped.cancelled() => {}
            () = serving => {}
        }
        drop((permit, called_off));
    });
}

/// Listens for the end of a poll, if a call is one.
struct Listening {
    shared: Arc<Shared>,
    poll: Option<(Secret, u64)>,
    token: CancellationToken,
}

impl Listening {
    fn to(shared: &Arc<Shared>, call: &LongPollCall) -> Self {
        let token = CancellationToken::new();
        let poll = match call {
            LongPollCall::Poll { session, poll, .. } => Secret::parse(session).map(|secret| (secret, *poll)),
            _ => None,
        };
        if let Some(poll) = poll {
            shared.long_polls.asked_for().insert(poll, token.clone());
        }
        Self { shared: Arc::clone(shared), poll, token }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(poll) = &self.poll {
            self.shared.long_polls.asked_for().remove(poll);
        }
    }
}

async fn reply(shared: &Shared, reply_to: &Subject, answer: LongPollAnswer, rest: &[u8]) {
    if let Err(error) = shared.bus.publish(reply_to, encode_with(&answer, rest)).await {
        tracing::debug!(%error, "an answer for a long-poll session could not be sent");
    }
}

async fn serve(
    shared: &Shared,
    call: LongPollCall,
    rest: Bytes,
    called_off: &CancellationToken,
) -> (LongPollAnswer, Bytes) {
    let nothing = |answer| (answer, Bytes::new());
    match call {
        LongPollCall::Leave { .. } => nothing(LongPollAnswer::Gone),
        LongPollCall::Poll { session, seen, from, .. } => {
            let Some(secret) = Secret::parse(&session) else { return nothing(LongPollAnswer::Gone) };
            let polled = tokio::select! {
                biased;
                () = called_off.cancelled() => Polled::Gone,
                polled = shared.long_polls.poll(secret, seen) => polled,
            };
            match polled {
                Polled::Messages { number, messages } => {
                    let (total, from) = (messages.len(), from.min(messages.len()));
                    let part = messages.slice(from..total.min(from + PART_BYTES));
                    (LongPollAnswer::Messages { number, total }, part)
                }
                Polled::Nothing => nothing(LongPollAnswer::Nothing),
                Polled::Displaced => nothing(LongPollAnswer::Displaced),
                Polled::Gone => nothing(LongPollAnswer::Gone),
                Polled::Restart => nothing(LongPollAnswer::Restart),
                Polled::Forbidden => nothing(LongPollAnswer::Forbidden),
            }
        }
        LongPollCall::Post { session, lines, before } => {
            let Some(secret) = Secret::parse(&session) else { return nothing(LongPollAnswer::Gone) };
            let body = PostBody { bytes: rest, lines };
            nothing(match shared.long_polls.post(secret, &body, before).await {
                Posted::Taken => LongPollAnswer::Taken,
                Posted::Gone => LongPollAnswer::Gone,
                Posted::Late => LongPollAnswer::Late,
            })
        }
    }
}
