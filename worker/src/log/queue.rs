//! Bounded queues by conversation, each emptied by a task of its own that runs while something waits.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use simurgh_protocol::ConversationId;

/// What waits, in order, by conversation. A conversation is here while its task runs.
#[derive(Debug)]
pub(crate) struct Queues<T>(Mutex<BTreeMap<ConversationId, VecDeque<T>>>);

/// What became of something that was to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed<T> {
    /// It waits, and the task must be started.
    First,
    /// It waits for the task that runs.
    Waits,
    /// Too many wait already: here it is again.
    Full(T),
}

impl<T> Default for Queues<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Queues<T> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConversationId, VecDeque<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what waits, of which there may be `most`.
    pub(crate) fn push(&self, id: &ConversationId, item: T, most: usize) -> Pushed<T> {
        let mut queues = self.lock();
        match queues.get_mut(id) {
            Some(queue) if queue.len() >= most => Pushed::Full(item),
            Some(queue) => {
                queue.push_back(item);
                Pushed::Waits
            }
            None => {
                queues.insert(id.clone(), VecDeque::from([item]));
                Pushed::First
            }
        }
    }

    /// Whether the task of this conversation runs.
    pub(crate) fn runs(&self, id: &ConversationId) -> bool {
        self.lock().contains_key(id)
    }

    /// For the task of this conversation.
    pub(crate) fn run<'a>(&'a self, id: &'a ConversationId) -> Running<'a, T> {
        Running { queues: self, id, ended: false }
    }
}

/// A queue in the hands of its task. It is taken off also when the task ends before its time, so that what comes next
/// starts another.
pub(crate) struct Running<'a, T> {
    queues: &'a Queues<T>,
    id: &'a ConversationId,
    ended: bool,
}

impl<T> Running<'_, T> {
    /// What `batch` takes of what waits; `None`, and the queue is gone, where nothing does.
    pub(crate) fn take(&mut self, batch: impl FnOnce(&mut VecDeque<T>) -> Vec<T>) -> Option<Vec<T>> {
        let mut queues = self.queues.lock();
        let taken = queues.get_mut(self.id).map(batch).filter(|taken| !taken.is_empty());
        if taken.is_none() {
            queues.remove(self.id);
            self.ended = true;
        }
        taken
    }
}

impl<T> Drop for Running<'_, T> {
    fn drop(&mut self) {
        if !self.ended {
            let abandoned = self.queues.lock().remove(self.id);
            drop(abandoned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut VecDeque<u8>) -> Vec<u8> {
        queue.drain(..).collect()
    }

    #[test]
    fn a_queue_is_bounded_and_one_task_empties_it() {
        let (queues, id) = (Queues::default(), ConversationId::new("c").unwrap());
        let push = |item| queues.push(&id, item, 2);
        assert_eq!((push(1), push(2), push(3)), (Pushed::First, Pushed::Waits, Pushed::Full(3)));
        let mut running = queues.run(&id);
        assert_eq!(running.take(all), Some(vec![1, 2]));
        assert_eq!(push(4), Pushed::Waits, "the task still runs");
        assert!(queues.runs(&id));
        assert_eq!((running.take(all), running.take(all)), (Some(vec![4]), None));
        assert!(!queues.runs(&id));
        assert_eq!(push(5), Pushed::First);
        drop(running);
        assert_eq!(push(6), Pushed::Waits, "a task that ended takes nothing from the next one");
        drop(queues.run(&id));
        assert_eq!(push(7), Pushed::First, "what a task that died left is gone");
    }
}
