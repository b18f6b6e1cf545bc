//! Who has a seat at the admin, and who leaves when there are too few.
//!
//! A client is silent while we owe it nothing: we wait for a whole request of it, or for its end. When
//! all seats are taken and somebody comes, the longest silent one is told to leave, so those who
//! connect and say nothing keep nobody waiting. One whose request is being answered stays.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use smol::channel::{Receiver, Sender, bounded};

/// Clients at once; one more may wait to be seated, the others wait in the kernel.
pub(super) const SEATS: usize = 64;

// The state of a seat is the turn in which its client fell silent, or one of these.
const LEFT: u64 = 0;
const ANSWERED: u64 = u64::MAX;

/// All seats, as whoever lets clients in sees them.
#[derive(Debug)]
pub(super) struct Seats {
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

/// A seat, as its client's connection sees it; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    state: Arc<AtomicU64>,
    turn: Arc<AtomicU64>,
    bell: Sender<()>,
    told: Receiver<()>,
}

impl Seats {
    /// All are free.
    pub fn new() -> Seats {
        let (bell, changed) = bounded(1);
        Seats { taken: Vec::new(), turn: Arc::new(AtomicU64::new(LEFT)), bell, changed }
    }

    /// Waits for a free seat, and has the longest silent client leave if there is none. One that is told
    /// so, and whose request came at last, is answered first: then it is the next one's turn.
    pub async fn take(&mut self) -> Seat {
        loop {
            self.taken.retain(|taken| taken.state.load(Relaxed) != LEFT);
            if self.taken.len() < SEATS {
                return self.seat();
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

    fn seat(&mut self) -> Seat {
        let (leave, told) = bounded(1);
        let state = Arc::default();
        self.taken.push(Taken { state: Arc::clone(&state), leave });
        let seat = Seat { state, turn: Arc::clone(&self.turn), bell: self.bell.clone(), told };
        seat.end_answer();
        seat
    }
}

impl Seat {
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

impl Drop for Seat {
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
    fn there_are_only_so_many_seats_and_those_who_are_answered_keep_theirs() {
        block_on(async {
            let mut seats = Seats::new();
            let mut all = Vec::new();
            for _ in 0..SEATS {
                all.push(poll_once(seats.take()).await.expect("a free seat"));
            }
            all.iter().for_each(Seat::begin_answer);
            let mut next = pin!(seats.take());
            assert!(poll_once(&mut next).await.is_none(), "all are being answered");
            assert!(!all.iter().any(Seat::must_leave));
            // The first to fall silent leaves, even if others do so after it.
            [5, 3].iter().for_each(|at: &usize| all[*at].end_answer());
            assert!(poll_once(&mut next).await.is_none(), "it has not left yet");
            let wanted = |all: &[Seat]| -> Vec<usize> {
                (0..all.len()).filter(|at| all[*at].must_leave()).collect()
            };
            assert_eq!(wanted(&all), [5]);
            // Its request came at last, so it is the other's turn.
            all[5].begin_answer();
            assert!(poll_once(&mut next).await.is_none());
            assert_eq!(wanted(&all), [3, 5]);
            assert!(all[3].wanted::<()>().await.is_err());
            drop(all.remove(3));
            assert!(poll_once(&mut next).await.is_some(), "a seat is free");
        });
    }
}
