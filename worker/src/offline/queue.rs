//! What waits to be written, and the task of the process that writes it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Job, TRIES};
use crate::Worker;

/// Entries that wait at most, beside those of the first that waits: what a server takes in some ten seconds.
const WAITING: usize = 250_000;
/// Batches that wait at most.
const JOBS: usize = 16_384;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    entries: usize,
    /// Whether the task runs.
    running: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job: whether the task must be started, or the job again where too many wait.
    fn push(&self, job: Job) -> Result<bool, Job> {
        let (mut waiting, entries) = (self.lock(), job.entries());
        let full = waiting.entries + entries > WAITING && !waiting.jobs.is_empty();
        if full || waiting.jobs.len() >= JOBS {
            return Err(job);
        }
        waiting.entries += entries;
        waiting.jobs.push_back(job);
        Ok(!std::mem::replace(&mut waiting.running, true))
    }

    /// The next job; none, and the task is over, where nothing waits.
    fn take(&self) -> Option<Job> {
        let mut waiting = self.lock();
        let job = waiting.jobs.pop_front();
        match &job {
            Some(job) => waiting.entries = waiting.entries.saturating_sub(job.entries()),
            None => waiting.running = false,
        }
        job
    }
}

/// The task's hold on the queue: given up also where the task ends before its time.
struct Running<'a>(&'a Queue);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running = false;
    }
}

impl Worker {
    /// Has a job written by and by; where too much waits it is dropped, and counted.
    pub(super) fn note_missed(&self, job: Job) {
        match self.memory.offline.push(job) {
            Ok(true) => {
                let worker = self.clone();
                self.spawn(async move { worker.write_all_missed().await });
            }
            Ok(false) => {}
            Err(job) => self.metrics.offline("dropped", job.entries()),
        }
    }

    async fn write_all_missed(&self) {
        let _running = Running(&self.memory.offline);
        while let Some(job) = self.memory.offline.take() {
            self.write_missed(&job, TRIES).await;
        }
    }
}
