//! Large futures that are made once and do one job after another.
//!
//! A connection has a large future only while it has work. To make one for each piece of work would
//! mean to allocate it, or at least to copy it into a box that an earlier one left behind: so a
//! hand stays in its box, and jobs and results pass over its [`Desk`].

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Where a hand finds its jobs, and leaves what came of them.
pub struct Desk<J, R> {
    job: Cell<Option<J>>,
    result: Cell<Option<R>>,
}

impl<J, R> fmt::Debug for Desk<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

impl<J, R> Desk<J, R> {
    /// The next job. Waits without a waker: whoever brings one polls the hand.
    pub async fn job(&self) -> J {
        poll_fn(|_| self.job.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The job is done. Ask for the next one then, and for nothing else.
    pub fn done(&self, result: R) {
        self.result.set(Some(result));
    }
}

type Endless = Pin<Box<dyn Future<Output = Infallible>>>;
type Make<J, R> = dyn Fn(Rc<Desk<J, R>>) -> Endless;

/// A future that takes jobs from its desk for ever.
struct Hand<J, R> {
    desk: Rc<Desk<J, R>>,
    future: Endless,
}

/// Hands of one kind.
pub struct Hands<J, R> {
    make: Box<Make<J, R>>,
    idle: RefCell<Vec<Hand<J, R>>>,
    /// Idle ones kept at most.
    limit: usize,
}

impl<J, R> fmt::Debug for Hands<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").field("idle", &self.idle.borrow().len()).finish()
    }
}

impl<J, R> Hands<J, R> {
    /// `make` makes a future that takes jobs from the desk, one after another; at most `limit` are
    /// kept when they have nothing to do.
    pub fn new<F>(limit: usize, make: impl Fn(Rc<Desk<J, R>>) -> F + 'static) -> Hands<J, R>
    where
        F: Future<Output = Infallible> + 'static,
    {
        let make = Box::new(move |desk| -> Endless { Box::pin(make(desk)) });
        Hands { make, idle: RefCell::default(), limit }
    }

    /// Gives `job` to an idle hand, or to a new one.
    pub fn run(&self, job: J) -> Running<'_, J, R> {
        let hand = self.idle.borrow_mut().pop().unwrap_or_else(|| {
            let desk = Rc::new(Desk { job: Cell::new(None), result: Cell::new(None) });
            Hand { future: (self.make)(Rc::clone(&desk)), desk }
        });
        hand.desk.job.set(Some(job));
        Running { hands: self, hand: Some(hand) }
    }
}

/// A job in a hand; gives its result. Dropped half-way, or when the job panics, it takes the hand with it.
pub struct Running<'a, J, R> {
    hands: &'a Hands<J, R>,
    /// `None` when the job is done.
    hand: Option<Hand<J, R>>,
}

impl<J, R> fmt::Debug for Running<'_, J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("done", &self.hand.is_none()).finish()
    }
}

impl<J, R> Future for Running<'_, J, R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let hand = self.hand.as_mut().expect("polled after its end");
        let Poll::Pending = hand.future.as_mut().poll(cx);
        let Some(result) = hand.desk.result.take() else { return Poll::Pending };
        let mut idle = self.hands.idle.borrow_mut();
        if idle.len() < self.hands.limit {
            idle.extend(self.hand.take());
        }
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, yield_now};

    #[test]
    fn a_hand_does_one_job_after_another() {
        let made = Rc::new(Cell::new(0));
        let count = Rc::clone(&made);
        let hands = Hands::new(1, move |desk: Rc<Desk<u32, u32>>| {
            count.set(count.get() + 1);
            async move {
                loop {
                    let job = desk.job().await;
                    yield_now().await;
                    desk.done(job * 2);
                }
            }
        });
        for n in 0..3 {
            assert_eq!(block_on(hands.run(n)), n * 2);
        }
        assert_eq!((made.get(), hands.idle.borrow().len()), (1, 1));
        drop(hands.run(3));
        assert_eq!(hands.idle.borrow().len(), 0, "one that was stopped half-way is not used again");
        assert_eq!(block_on(hands.run(4)), 8);
        assert_eq!(made.get(), 2);
    }
}
