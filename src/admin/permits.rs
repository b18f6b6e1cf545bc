//! Which clients the admin serves at a time, and which of them leaves when there are too many.
//!
//! A client is silent while we owe it nothing: we wait for a whole request of it, or for its end. When
//! all permits are taken and somebody comes, the longest silent one is told to leave, so those who
//! connect and say nothing keep nobody waiting. One whose request is being answered stays.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use smol::channel::{Receiver, Sender, bounded};

/// Clients at once; one more may wait to be served, the others wait in the kernel.
pub(super) const PERMITS: usize = 64;

// The state of a permit is the turn in which its client fell silent, or one of these.
const LEFT: u64 = 0;
const ANSWERED: u64 = u64::MAX;

/// All permits, as whoever lets clients in sees them.
#[derive(Debug)]
pub(super) struct Permits {
    taken: Vec<Taken>,
    /// The turn of the last client that fell silent.
    turn: Arc<AtomicU64>,
    bell: Sender<()>,
    changed: Receiver<()>,
}

#[derive(Debug)]
struct Taken {
    state: Arc<AtomicU64>,
    /// Closed to tell its client to leave.
    leave: Sender<()>,
}

/// A permit, as its client's connection sees it; free again when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    state: Arc<AtomicU64>,
    turn: Arc<AtomicU64>,
    bell: Sender<()>,
    told: Receiver<()>,
}

impl Permits {
    /// All are free.
    pub fn new() -> Permits {
        let (bell, changed) = bounded(1);
        Permits { taken: Vec::new(), turn: Arc::new(AtomicU64::new(LEFT)), bell, changed }
    }

    /// Waits for a free permit, and has the longest silent client leave if there is none. One that is told
    /// so, and whose request came at last, is answered first: then it is the next one's turn.
    pub async fn take(&mut self) -> ConnectionPermit {
        loop {
            self.taken.retain(|taken| taken.state.load(Relaxed) != LEFT);
            if self.taken.len() < PERMITS {
                return self.permit();
            }
            let states: Vec<u64> =
                self.taken.iter().map(|taken| taken.state.load(Relaxed)).collect();
            if let Some(at) = longest_silent(&states) {
                self.taken[at].leave.close();
            }
            // We hold a sender ourselves, so this is no end.
            let _ = self.changed.recv().await;
        }
    }

    fn permit(&mut self) -> ConnectionPermit {
        let (leave, told) = bounded(1);
        let state = Arc::default();
        self.taken.push(Taken { state: Arc::clone(&state), leave });
        let permit =
            ConnectionPermit { state, turn: Arc::clone(&self.turn), bell: self.bell.clone(), told };
        permit.end_answer();
        permit
    }
}

impl ConnectionPermit {
    /// From now on its client is owed nothing.
    pub fn end_answer(&self) {
        self.change(self.turn.fetch_add(1, Relaxed) + 1);
    }

    /// From now on its client is owed an answer.
    pub fn begin_answer(&self) {
        self.change(ANSWERED);
    }

    /// Is its client to leave, once it is owed nothing?
    pub fn must_leave(&self) -> bool {
        self.told.is_closed()
    }

    /// Waits until its client is to leave; an error, as for any other end of a connection.
    pub async fn wanted<T>(&self) -> io::Result<T> {
        // Nothing is ever sent: it is closed.
        let _ = self.told.recv().await;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn change(&self, state: u64) {
        self.state.store(state, Relaxed);
        // Where it has been rung and not yet heard, once is enough.
        let _ = self.bell.try_send(());
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.change(LEFT);
    }
}

/// Which of the clients in these states has been silent longest; `None`: all are being answered.
fn longest_silent(states: &[u64]) -> Option<usize> {
    let silent = states.iter().enumerate().filter(|(_, state)| **state != ANSWERED);
    silent.min_by_key(|(_, state)| **state).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn the_longest_silent_is_told_and_nobody_who_is_answered() {
        for (states, chosen) in [
            (&[3, 1, 2][..], Some(1)),
            (&[ANSWERED, 7, 5], Some(2)),
            (&[ANSWERED, 9, ANSWERED], Some(1)),
            (&[ANSWERED, ANSWERED], None),
            (&[], None),
        ] {
            assert_eq!(longest_silent(states), chosen, "{states:?}");
        }
    }

    #[test]
    fn there_are_only_so_many_permits_and_those_who_are_answered_keep_theirs() {
        block_on(async {
            let mut permits = Permits::new();
            let mut all = Vec::new();
            for _ in 0..PERMITS {
                all.push(poll_once(permits.take()).await.expect("a free permit"));
            }
            all.iter().for_each(ConnectionPermit::begin_answer);
            let mut next = pin!(permits.take());
            assert!(poll_once(&mut next).await.is_none(), "all are being answered");
            assert!(!all.iter().any(ConnectionPermit::must_leave));
            // The first to fall silent leaves, even if others do so after it.
            [5, 3].iter().for_each(|at: &usize| all[*at].end_answer());
            assert!(poll_once(&mut next).await.is_none(), "it has not left yet");
            let wanted = |all: &[ConnectionPermit]| -> Vec<usize> {
                (0..all.len()).filter(|at| all[*at].must_leave()).collect()
            };
            assert_eq!(wanted(&all), [5]);
            // Its request came at last, so it is the other's turn.
            all[5].begin_answer();
            assert!(poll_once(&mut next).await.is_none());
            assert_eq!(wanted(&all), [3, 5]);
            assert!(all[3].wanted::<()>().await.is_err());
            drop(all.remove(3));
            assert!(poll_once(&mut next).await.is_some(), "a permit is free");
        });
    }
}
