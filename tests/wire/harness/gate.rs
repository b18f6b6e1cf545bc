//! Waiting for each other: gates between a case and its scripts, and conditions only polling can see.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;

/// A door that, once open, stays open. Clones are the same door.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everyone through who waits or comes later.
    pub fn open(&self) {
        // One who waited in vain has poisoned the lock; opening is right all the same.
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for the door to open; panics after twice [`DEADLINE`], so that a case that polls fails before
    /// the script that waits for it.
    #[track_caller]
    pub fn wait(&self) {
        let open = self.0.0.lock().unwrap();
        let waited = self.0.1.wait_timeout_while(open, 2 * DEADLINE, |open| !*open).unwrap();
        assert!(!waited.1.timed_out(), "the gate did not open in time");
    }
}

/// Polls until `reached` holds; panics after [`DEADLINE`].
#[track_caller]
pub fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < DEADLINE, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
