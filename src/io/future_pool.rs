//! Large futures that are made once and do one job after another.
//!
//! A connection needs a large future only while it has work. To make one for each piece of work would
//! allocate it, or at least copy it into a box that an earlier one left: so a pooled future stays in its
//! box, and jobs and results pass through its [`Slot`].

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Where a future finds its jobs, and leaves what came of them.
pub struct Slot<J, R> {
    job: Cell<Option<J>>,
    result: Cell<Option<R>>,
}

impl<J, R> fmt::Debug for Slot<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl<J, R> Slot<J, R> {
    /// The next job. Waits without a waker: whoever brings one polls the future.
    pub async fn job(&self) -> J {
        poll_fn(|_| self.job.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The job is done. Ask for the next one then, and for nothing else.
    pub fn done(&self, result: R) {
        self.result.set(Some(result));
    }
}

type Endless = Pin<Box<dyn Future<Output = Infallible>>>;
type Make<J, R> = dyn Fn(Rc<Slot<J, R>>) -> Endless;

/// A future that takes jobs from its slot for ever.
struct PooledFuture<J, R> {
    slot: Rc<Slot<J, R>>,
    future: Endless,
}

/// Pooled futures of one kind.
pub struct FuturePool<J, R> {
    make: Box<Make<J, R>>,
    idle: RefCell<Vec<PooledFuture<J, R>>>,
    /// Idle ones kept at most.
    limit: usize,
}

impl<J, R> fmt::Debug for FuturePool<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FuturePool").field("idle", &self.idle.borrow().len()).finish()
    }
}

impl<J, R> FuturePool<J, R> {
    /// `make` makes a future that takes jobs from its slot, one after another; at most `limit` are
    /// kept when they have nothing to do.
    pub fn new<F>(limit: usize, make: impl Fn(Rc<Slot<J, R>>) -> F + 'static) -> FuturePool<J, R>
    where
        F: Future<Output = Infallible> + 'static,
    {
        let make = Box::new(move |slot| -> Endless { Box::pin(make(slot)) });
        FuturePool { make, idle: RefCell::default(), limit }
    }

    /// Gives `job` to an idle future, or to a new one.
    pub fn run(&self, job: J) -> Running<'_, J, R> {
        let future = self.idle.borrow_mut().pop().unwrap_or_else(|| {
            let slot = Rc::new(Slot { job: Cell::new(None), result: Cell::new(None) });
            PooledFuture { future: (self.make)(Rc::clone(&slot)), slot }
        });
        future.slot.job.set(Some(job));
        Running { pool: self, future: Some(future) }
    }
}

/// A job in a future; gives its result. Dropped half-way, or when the job panics, it takes the future with it.
pub struct Running<'a, J, R> {
    pool: &'a FuturePool<J, R>,
    /// `None` when the job is done.
    future: Option<PooledFuture<J, R>>,
}

impl<J, R> fmt::Debug for Running<'_, J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("done", &self.future.is_none()).finish()
    }
}

impl<J, R> Future for Running<'_, J, R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let future = self.future.as_mut().expect("polled after its end");
        let Poll::Pending = future.future.as_mut().poll(cx);
        let Some(result) = future.slot.result.take() else { return Poll::Pending };
        let mut idle = self.pool.idle.borrow_mut();
        if idle.len() < self.pool.limit {
            idle.extend(self.future.take());
        }
        Poll::Ready(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, yield_now};

    #[test]
    fn a_future_does_one_job_after_another() {
        let made = Rc::new(Cell::new(0));
        let count = Rc::clone(&made);
        let pool = FuturePool::new(1, move |slot: Rc<Slot<u32, u32>>| {
            count.set(count.get() + 1);
            async move {
                loop {
                    let job = slot.job().await;
                    yield_now().await;
                    slot.done(job * 2);
                }
            }
        });
        for n in 0..3 {
            assert_eq!(block_on(pool.run(n)), n * 2);
        }
        assert_eq!((made.get(), pool.idle.borrow().len()), (1, 1));
        drop(pool.run(3));
        assert_eq!(pool.idle.borrow().len(), 0, "one that was stopped half-way is not used again");
        assert_eq!(block_on(pool.run(4)), 8);
        assert_eq!(made.get(), 2);
    }
}
