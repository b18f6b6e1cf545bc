//! Boxed futures used again: a connection owns its large future only while it has work, and a new
//! piece of work finds a box that an earlier one left behind, so it allocates nothing.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

type Slot<F> = Pin<Box<Option<F>>>;

/// Boxes for futures of one type.
pub struct Slots<F> {
    free: RefCell<Vec<Slot<F>>>,
    /// Boxes kept at most.
    limit: usize,
}

impl<F> fmt::Debug for Slots<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("free", &self.free.borrow().len()).finish()
    }
}

impl<F: Future> Slots<F> {
    /// Keeps at most `limit` boxes that nobody uses.
    pub fn new(limit: usize) -> Slots<F> {
        Slots { free: RefCell::default(), limit }
    }

    /// Puts `future` in a box at once, so that whoever awaits the result stays small.
    pub fn run(&self, future: F) -> Running<'_, F> {
        let mut slot = self.free.borrow_mut().pop().unwrap_or_else(|| Box::pin(None));
        slot.set(Some(future));
        Running { slots: self, slot: Some(slot) }
    }
}

/// A future at work in a box.
#[derive(Debug)]
pub struct Running<'a, F> {
    slots: &'a Slots<F>,
    /// `None` when it is done.
    slot: Option<Slot<F>>,
}

impl<F: Future> Future for Running<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.slot.as_mut().and_then(|slot| slot.as_mut().as_pin_mut());
        let Poll::Ready(output) = future.expect("polled after its end").poll(cx) else {
            return Poll::Pending;
        };
        // A future that panics or is dropped half-way takes its box with it.
        if let Some(mut slot) = self.slot.take() {
            slot.set(None);
            let mut free = self.slots.free.borrow_mut();
            if free.len() < self.slots.limit {
                free.push(slot);
            }
        }
        Poll::Ready(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, yield_now};

    #[test]
    fn a_box_is_used_again() {
        let slots = Slots::new(1);
        for n in 0..3 {
            let work = async move {
                yield_now().await;
                n * 2
            };
            assert_eq!(block_on(slots.run(work)), n * 2);
            assert_eq!(slots.free.borrow().len(), 1);
        }
    }
}
