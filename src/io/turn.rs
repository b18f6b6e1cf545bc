//! Fair turns: what one task may do before the others have theirs.
//!
//! A task that moves a large body could go on for ever without waiting: its sender is always ready. So it counts what
//! it did in a [`Slice`], and joins a line when that is used up. Those in line go on one after another, behind
//! the tasks that the kernel's last events woke, while the turn lasts; one of them in every turn.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Octets that make a slice. Copying so many takes some 150 us, splicing 30.
const OCTETS: u32 = 256 * 1024;
/// Rounds that make a slice, however little they moved.
const ROUNDS: u32 = 16;

/// How much of its slice a task has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    rounds: u32,
    octets: u32,
}

impl Slice {
    /// One round more, which moved `octets`. `true`: the slice is used up, and a new one begins; the next thing to do
    /// is to wait for the [next turn](super::reactor::Reactor::next_turn).
    pub fn spend(&mut self, octets: u64) -> bool {
        self.rounds += 1;
        self.octets = self.octets.saturating_add(u32::try_from(octets).unwrap_or(u32::MAX));
        let over = self.rounds >= ROUNDS || self.octets >= OCTETS;
        if over {
            *self = Slice::default();
        }
        over
    }
}

/// Tasks that had their slice, first come first served. There are never more in it than tasks, but for those that
/// gave up waiting since the line last moved.
#[derive(Debug, Default)]
pub(super) struct TurnQueue {
    waiting: VecDeque<Waker>,
    /// How many have been called so far: the ticket of the first in line.
    called: u64,
}

impl TurnQueue {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Calls the first.
    pub fn call(&mut self) {
        if let Some(waker) = self.waiting.pop_front() {
            self.called += 1;
            waker.wake();
        }
    }

    /// Joins the line, or waits in it with the ticket it got. Its task stays the same, so the first waker is kept.
    pub fn poll(&mut self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<()> {
        let Some(ticket) = *ticket else {
            *ticket = Some(self.called + self.waiting.len() as u64);
            self.waiting.push_back(cx.waker().clone());
            return Poll::Pending;
        };
        // Something else may have woken the task: that is no reason to go before others.
        if ticket < self.called { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Those that wait for a turn.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Tasks that have used up their slice.
    pub slices: TurnQueue,
    /// Tasks that are about to go on with a client's handshake.
    pub handshakes: HandshakeQueue,
}

impl Lines {
    /// A turn begins: one of those with a slice goes on, and a few handshakes.
    pub fn begin_turn(&mut self) {
        self.slices.call();
        self.handshakes.refill();
    }
}

/// Steps of handshakes in a turn: each may take hundreds of microseconds, and requests wait meanwhile.
const STEPS: u32 = 4;

/// Tasks that are about to take a step of a client's handshake, first come first served: a few go on in each turn.
#[derive(Debug, Default)]
pub(super) struct HandshakeQueue {
    queue: TurnQueue,
    /// Steps that this turn has left.
    left: u32,
}

impl HandshakeQueue {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// A turn begins.
    pub fn refill(&mut self) {
        self.left = STEPS;
        while self.left > 0 && !self.queue.is_empty() {
            self.queue.call();
            self.left -= 1;
        }
    }

    /// Takes a step of this turn, or waits for one with the ticket it got.
    #[cfg(any(test, feature = "tls"))]
    pub fn poll(&mut self, ticket: &mut Option<u64>, cx: &Context<'_>) -> Poll<()> {
        if ticket.is_none() && self.queue.is_empty() && self.left > 0 {
            self.left -= 1;
            return Poll::Ready(());
        }
        self.queue.poll(ticket, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_over_after_many_octets_or_many_rounds() {
        let mut slice = Slice::default();
        assert!(!slice.spend(u64::from(OCTETS) - 1));
        assert!(slice.spend(1));
        let rounds = (1..=2 * ROUNDS).filter(|_| slice.spend(1));
        assert_eq!(rounds.collect::<Vec<_>>(), [ROUNDS, 2 * ROUNDS]);
        assert!(slice.spend(u64::MAX));
    }

    #[test]
    fn some_handshakes_go_on_in_each_turn_and_nobody_overtakes() {
        let mut handshakes = HandshakeQueue::default();
        let cx = Context::from_waker(Waker::noop());
        let mut tickets = [None; 2 * STEPS as usize];
        let mut went = |handshakes: &mut HandshakeQueue| {
            tickets
                .iter_mut()
                .filter_map(|one| handshakes.poll(one, &cx).is_ready().then_some(()))
                .count()
        };
        assert_eq!(went(&mut handshakes), 0, "no turn has begun");
        handshakes.refill();
        let mut late = None;
        assert!(handshakes.poll(&mut late, &cx).is_pending(), "there are others in front of it");
        assert_eq!(went(&mut handshakes), STEPS as usize);
        handshakes.refill();
        assert_eq!(went(&mut handshakes), 2 * STEPS as usize);
        assert!(handshakes.poll(&mut late, &cx).is_pending());
        handshakes.refill();
        assert!(handshakes.poll(&mut late, &cx).is_ready());
        assert!(handshakes.is_empty());
        let fresh = [(); STEPS as usize].map(|()| handshakes.poll(&mut None, &cx).is_ready());
        assert_eq!(fresh, [true, true, true, false], "a step of this turn is gone");
    }

    #[test]
    fn who_is_in_line_goes_when_called_and_not_when_woken_otherwise() {
        let mut line = TurnQueue::default();
        let cx = Context::from_waker(Waker::noop());
        let mut tickets = [None, None];
        for ticket in &mut tickets {
            assert!(line.poll(ticket, &cx).is_pending());
        }
        assert!(line.poll(&mut tickets[0], &cx).is_pending(), "it was not called");
        line.call();
        assert!(line.poll(&mut tickets[1], &cx).is_pending(), "another one was called");
        assert!(line.poll(&mut tickets[0], &cx).is_ready());
        line.call();
        assert!(line.is_empty());
        line.call();
        let mut late = None;
        assert!(line.poll(&mut late, &cx).is_pending(), "a call to nobody counts for nobody");
    }
}
