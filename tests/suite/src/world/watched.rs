//! A value that many wait for. Unlike tokio's `watch`, which wakes them in an order that is drawn by lot, it wakes them in
//! the order in which they came.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

/// The value.
#[derive(Debug)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Copy> Watched<T> {
    /// At first it is this.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::new() }
    }

    /// What it is.
    pub fn get(&self) -> T {
        *self.lock()
    }

    /// Changes it, and wakes who waits.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }

    /// Waits until this holds; answers the value then.
    pub async fn wait_for(&self, mut holds: impl FnMut(&T) -> bool) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let value = self.get();
            if holds(&value) {
                return value;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap()
    }
}
