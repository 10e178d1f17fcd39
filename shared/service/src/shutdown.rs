//! How a process is told to stop.
//!
//! Every task that outlives the function that starts it is spawned on a [`TaskTracker`] and ends when the token of the
//! process is cancelled; who owns the tracker closes it and waits, within a bound ([`finished`]).

use std::{io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a shell reports of a process that Ctrl-C ended: 128 and the signal's number.
const EXIT_INTERRUPTED: i32 = 130;

/// A token that the first SIGTERM or SIGINT cancels. After that a SIGINT ends the process at once (a second Ctrl-C).
///
/// # Errors
/// Where the operating system gives no signals.
pub fn on_signals() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancel = token.clone();
    // The one task without a tracker: it must outlive all others to see the second Ctrl-C.
    tokio::spawn(async move {
        let signal = tokio::select! {
            biased;
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal, "stopping");
        cancel.cancel();
        interrupt.recv().await;
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(token)
}

/// What arrives at each SIGHUP, which then does not end the process any more.
///
/// # Errors
/// Where the operating system gives no signals.
pub fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Waits until every task of `tasks` has ended, `within` at most; whether they have.
pub async fn finished(tasks: &TaskTracker, within: Duration) -> bool {
    tasks.close();
    timeout(within, tasks.wait()).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_for_tasks_is_bounded() {
        let (tasks, token) = (TaskTracker::new(), CancellationToken::new());
        let until = token.clone();
        tasks.spawn(async move { until.cancelled().await });
        assert!(!finished(&tasks, Duration::from_secs(1)).await);
        token.cancel();
        assert!(finished(&tasks, Duration::from_secs(1)).await);
    }
}
