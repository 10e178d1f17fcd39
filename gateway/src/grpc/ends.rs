//! When a subscription ends, and how.

use std::sync::Arc;

use simurgh_protocol::{Reason, Refusal};
use simurgh_rpc::v1::Event;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    caller::{Caller, late},
    status::status,
};
use crate::{Shared, auth::LEEWAY};

/// Events, or the status that ends them.
pub(super) type Out = mpsc::Sender<Result<Event, Status>>;

/// Why a subscription is over.
#[derive(Debug)]
pub(super) enum End {
    /// Whoever subscribed went away.
    Gone,
    /// It is told so.
    Told(Status),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Told(status(refusal))
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Told(status)
    }
}

/// Everything that ends a subscription from outside.
pub(super) struct Ends {
    shared: Arc<Shared>,
    out: Out,
    revoked: CancellationToken,
    /// When the token is refused.
    expires: Instant,
    deadline: Option<Instant>,
    /// When this one's turn to be ended by a drain comes.
    close_at: Option<Instant>,
}

impl Ends {
    pub(super) fn new(caller: &Caller, revoked: CancellationToken, out: Out) -> Self {
        let shared = Arc::clone(&caller.shared);
        let expires = shared.env.instant() + caller.claims.expires_at.plus(LEEWAY).since(shared.env.now());
        Self { shared, out, revoked, expires, deadline: caller.deadline, close_at: None }
    }

    /// Waits for one of them.
    pub(super) async fn wait(&mut self) -> End {
        loop {
            let Self { shared, out, revoked, expires, deadline, close_at } = &mut *self;
            let (closes, late_at) = (close_at.unwrap_or(*expires), deadline.unwrap_or(*expires));
            tokio::select! {
                biased;
                () = out.closed() => return End::Gone,
                () = revoked.cancelled() => return unauthorized("the token was revoked"),
                () = shared.stopped.cancelled() => return restart(),
                () = shared.draining.cancelled(), if close_at.is_none() => {
                    *close_at = Some(shared.env.instant() + shared.env.jitter(shared.settings.drain.drain_window));
                }
                () = sleep_until(closes), if close_at.is_some() => return restart(),
                () = sleep_until(late_at), if deadline.is_some() => return late().into(),
                () = sleep_until(*expires) => return unauthorized("the token has expired"),
            }
        }
    }
}

fn unauthorized(message: &str) -> End {
    Refusal::new(Reason::Unauthorized, message).into()
}

/// As sockets are told with 1012: on another gateway, or here again, it goes on.
fn restart() -> End {
    Refusal::unavailable("this gateway is stopping: subscribe again").into()
}
