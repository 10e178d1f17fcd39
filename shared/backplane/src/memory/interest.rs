//! Who listens to what, in memory.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tokio::sync::{mpsc, mpsc::error::TrySendError, oneshot};

use crate::{Delivery, Subject};

/// All subscriptions and all requests that wait for their answer.
#[derive(Debug, Default)]
pub(super) struct Interest {
    subjects: BTreeMap<Subject, Listeners>,
    /// By the subject that the answer goes to.
    requests: BTreeMap<Subject, oneshot::Sender<Bytes>>,
    /// The last number given to a subscription or to a request.
    last_id: u64,
}

/// Those who listen on one subject, in the order in which they subscribed.
#[derive(Debug, Default)]
struct Listeners {
    singles: BTreeMap<u64, mpsc::Sender<Delivery>>,
    /// Queue groups by name; the first of a group gets the next message and goes to its end.
    groups: BTreeMap<String, VecDeque<(u64, mpsc::Sender<Delivery>)>>,
}

/// What became of a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Somebody listens, whether or not there was room.
    pub(super) heard: bool,
    /// At least one subscription was full and did not get it.
    pub(super) dropped: bool,
}

impl Interest {
    /// Adds a subscription; the number takes it back ([`Self::remove`]).
    pub(super) fn add(
        &mut self,
        subject: &Subject,
        queue: Option<&str>,
        sender: mpsc::Sender<Delivery>,
    ) -> u64 {
        let id = self.next_id();
        let listeners = self.subjects.entry(subject.clone()).or_default();
        match queue {
            None => {
                listeners.singles.insert(id, sender);
            }
            Some(queue) => listeners.groups.entry(queue.to_owned()).or_default().push_back((id, sender)),
        }
        id
    }

    pub(super) fn remove(&mut self, subject: &Subject, id: u64) {
        if let Some(listeners) = self.subjects.get_mut(subject) {
            listeners.singles.remove(&id);
            listeners.groups.values_mut().for_each(|group| group.retain(|(member, _)| *member != id));
            listeners.groups.retain(|_, group| !group.is_empty());
            if listeners.singles.is_empty() && listeners.groups.is_empty() {
                self.subjects.remove(subject);
            }
        }
    }

    /// A subject of its own for one answer, and where the answer arrives.
    pub(super) fn expect_answer(&mut self) -> (Subject, oneshot::Receiver<Bytes>) {
        let (sender, receiver) = oneshot::channel();
        let subject = Subject::raw(&format!("_INBOX.{}", self.next_id()));
        self.requests.insert(subject.clone(), sender);
        (subject, receiver)
    }

    pub(super) fn forget_answer(&mut self, subject: &Subject) {
        self.requests.remove(subject);
    }

    /// Puts a message in the queue of everybody who listens, in the order of their subscriptions, singles first.
    pub(super) fn deliver(&mut self, delivery: &Delivery) -> Outcome {
        if let Some(request) = self.requests.remove(&delivery.subject) {
            // The requester may have gone: then nobody misses the answer.
            let _ = request.send(delivery.payload.clone());
            return Outcome { heard: true, dropped: false };
        }
        let mut outcome = Outcome::default();
        if let Some(listeners) = self.subjects.get_mut(&delivery.subject) {
            let Listeners { singles, groups } = listeners;
            for sender in singles.values() {
                outcome.send(sender, delivery);
            }
            for group in groups.values_mut() {
                group.rotate_left(1);
                if let Some((_, sender)) = group.back() {
                    outcome.send(sender, delivery);
                }
            }
        }
        outcome
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Outcome {
    fn send(&mut self, sender: &mpsc::Sender<Delivery>, delivery: &Delivery) {
        self.heard = true;
        if let Err(TrySendError::Full(_)) = sender.try_send(delivery.clone()) {
            self.dropped = true;
        }
    }
}
