//! Who asks next: connections take the requests that they make from here.
//!
//! In the closed loop there is always one more. In the open loop there is one when the schedule says so; a
//! connection that finds none waits, and the pacer, which waits for the clock, wakes it. When nobody
//! waits, the schedule itself is the queue: it is counted, not stored.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::schedule::Schedule;
use tidegate::io::clock::Moment;

/// Where a connection waits for a request.
#[derive(Debug, Default)]
pub struct RequestSlot {
    waker: RefCell<Option<Waker>>,
    /// When the request was due that the pacer has brought.
    brought: Cell<Option<Moment>>,
    queued: Cell<bool>,
}

/// The dispatcher of one thread.
#[derive(Debug, Default)]
pub struct Dispatcher {
    /// Requests are given out.
    open: Cell<bool>,
    /// No more requests will be given out.
    closed: Cell<bool>,
    /// Requests left to give out, if that is limited.
    left: Cell<Option<u64>>,
    /// Without one, the loop is closed.
    schedule: RefCell<Option<Schedule>>,
    /// The connections that wait; at most one place for each.
    waiting: RefCell<VecDeque<Rc<RequestSlot>>>,
    pacer: RefCell<Option<Waker>>,
}

impl Dispatcher {
    /// A dispatcher that will give out at most `most` requests, if that is said.
    pub fn new(most: Option<u64>) -> Dispatcher {
        Dispatcher { left: Cell::new(most), ..Dispatcher::default() }
    }

    /// From now on requests are given out: as `schedule` says, or always.
    pub fn open(&self, schedule: Option<Schedule>) {
        *self.schedule.borrow_mut() = schedule;
        self.open.set(true);
        self.call_all();
    }

    /// No more requests: every connection that waits may go.
    pub fn close(&self) {
        self.closed.set(true);
        self.call_all();
        if let Some(pacer) = self.pacer.borrow().as_ref() {
            pacer.wake_by_ref();
        }
    }

    /// The next request for the connection at `slot`: the moment it was due; `None`: there are no more.
    pub fn poll_next(
        &self,
        slot: &Rc<RequestSlot>,
        now: Moment,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Moment>> {
        if let Some(due) = slot.brought.take() {
            return Poll::Ready(Some(due));
        }
        if self.closed.get() {
            return Poll::Ready(None);
        }
        if self.open.get() {
            let mut schedule = self.schedule.borrow_mut();
            let due = schedule.as_mut().map_or(Some(now), |schedule| schedule.take(now));
            drop(schedule);
            if due.is_some() {
                self.count();
                return Poll::Ready(due);
            }
        }
        self.sit(slot, cx);
        Poll::Pending
    }

    /// When the pacer has to look again: at once if a connection waits and a request is due. Waits while none
    /// does; `None`: never again.
    pub fn poll_pace(&self, cx: &mut Context<'_>) -> Poll<Option<Moment>> {
        if self.closed.get() {
            return Poll::Ready(None);
        }
        match self.schedule.borrow().as_ref() {
            Some(schedule) if !self.waiting.borrow().is_empty() => Poll::Ready(schedule.next()),
            _ => {
                *self.pacer.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Brings what is due to those who sit, first come first served.
    pub fn bring(&self, now: Moment) {
        while !self.closed.get() && !self.waiting.borrow().is_empty() {
            let due = self.schedule.borrow_mut().as_mut().and_then(|schedule| schedule.take(now));
            let Some(due) = due else { return };
            let Some(slot) = self.waiting.borrow_mut().pop_front() else { return };
            slot.brought.set(Some(due));
            slot.call();
            self.count();
        }
    }

    /// Requests that are due and were not given out, in the open loop.
    pub fn owed(&self, now: Moment) -> u64 {
        let owed = self.schedule.borrow().map_or(0, |schedule| schedule.owed(now));
        self.left.get().map_or(owed, |left| owed.min(left))
    }

    fn count(&self) {
        let Some(left) = self.left.get() else { return };
        self.left.set(Some(left.saturating_sub(1)));
        if left <= 1 {
            self.close();
        }
    }

    fn sit(&self, slot: &Rc<RequestSlot>, cx: &mut Context<'_>) {
        let mut waker = slot.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        if !slot.queued.replace(true) {
            self.waiting.borrow_mut().push_back(Rc::clone(slot));
        }
        if let Some(pacer) = self.pacer.borrow_mut().take() {
            pacer.wake();
        }
    }

    fn call_all(&self) {
        for slot in self.waiting.borrow_mut().drain(..) {
            slot.call();
        }
    }
}

impl RequestSlot {
    fn call(&self) {
        self.queued.set(false);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Rate;
    use super::*;

    /// Whether somebody called since the last question.
    struct CallFlag(std::sync::Arc<std::sync::atomic::AtomicBool>);

    impl std::task::Wake for CallFlag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    struct Caller {
        slot: Rc<RequestSlot>,
        called: std::sync::Arc<std::sync::atomic::AtomicBool>,
        waker: Waker,
    }

    impl Caller {
        fn new() -> Caller {
            let called = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
            let waker = Waker::from(std::sync::Arc::new(CallFlag(called.clone())));
            Caller { slot: Rc::default(), called, waker }
        }

        fn asks(&self, dispatcher: &Dispatcher, now: u64) -> Poll<Option<u64>> {
            let mut cx = Context::from_waker(&self.waker);
            dispatcher.poll_next(&self.slot, Moment(now), &mut cx).map(|due| due.map(|due| due.0))
        }

        fn was_called(&self) -> bool {
            self.called.swap(false, std::sync::atomic::Ordering::Relaxed)
        }
    }

    /// A dispatcher with a request due each 10 ms from 0.
    fn paced(most: Option<u64>) -> Dispatcher {
        let dispatcher = Dispatcher::new(most);
        let rate = Rate::per_thousand_seconds(100_000).unwrap();
        dispatcher.open(Some(Schedule::new(rate, Moment(0), None, 0, 1)));
        dispatcher
    }

    #[test]
    fn in_the_closed_loop_there_is_always_one_more_until_there_is_none() {
        let (dispatcher, one, two) = (Dispatcher::new(Some(2)), Caller::new(), Caller::new());
        assert_eq!(one.asks(&dispatcher, 0), Poll::Pending, "not open");
        dispatcher.open(None);
        assert!(one.was_called());
        assert_eq!(one.asks(&dispatcher, 7), Poll::Ready(Some(7)));
        assert_eq!(two.asks(&dispatcher, 8), Poll::Ready(Some(8)));
        assert_eq!(one.asks(&dispatcher, 9), Poll::Ready(None));
    }

    #[test]
    fn what_was_due_while_all_were_busy_is_counted_from_then() {
        let (dispatcher, one) = (paced(None), Caller::new());
        assert_eq!(one.asks(&dispatcher, 300_000), Poll::Ready(Some(0)));
        assert_eq!(one.asks(&dispatcher, 300_000), Poll::Ready(Some(10_000)));
        assert_eq!(dispatcher.owed(Moment(300_000)), 29);
    }

    #[test]
    fn the_pacer_calls_who_sat_down_first() {
        let (dispatcher, one, two, pacer) =
            (paced(None), Caller::new(), Caller::new(), Caller::new());
        let mut cx = Context::from_waker(&pacer.waker);
        assert_eq!(dispatcher.poll_pace(&mut cx), Poll::Pending, "none waits");
        assert_eq!(one.asks(&dispatcher, 0), Poll::Ready(Some(0)));
        assert_eq!(one.asks(&dispatcher, 1), Poll::Pending);
        assert!(pacer.was_called());
        assert_eq!(dispatcher.poll_pace(&mut cx), Poll::Ready(Some(Moment(10_000))));
        assert_eq!(
            (two.asks(&dispatcher, 2), one.asks(&dispatcher, 2)),
            (Poll::Pending, Poll::Pending)
        );
        dispatcher.bring(Moment(10_000));
        assert_eq!((one.was_called(), two.was_called()), (true, false));
        dispatcher.bring(Moment(20_000));
        assert!(two.was_called() && !one.was_called());
        assert_eq!(two.asks(&dispatcher, 20_010), Poll::Ready(Some(20_000)));
        assert_eq!(one.asks(&dispatcher, 20_010), Poll::Ready(Some(10_000)));
    }

    #[test]
    fn the_pacer_goes_home_when_nothing_will_be_due() {
        let (dispatcher, one) = (Dispatcher::new(None), Caller::new());
        let rate = Rate::per_thousand_seconds(100_000).unwrap();
        dispatcher.open(Some(Schedule::new(rate, Moment(0), Some(Moment(10_000)), 0, 1)));
        assert_eq!(one.asks(&dispatcher, 0), Poll::Ready(Some(0)));
        assert_eq!(one.asks(&dispatcher, 20_000), Poll::Pending, "until the run ends");
        let mut cx = Context::from_waker(&one.waker);
        assert_eq!(dispatcher.poll_pace(&mut cx), Poll::Ready(None));
        dispatcher.close();
        assert_eq!(one.asks(&dispatcher, 20_000), Poll::Ready(None));
    }

    #[test]
    fn the_last_request_sends_all_home() {
        let (dispatcher, one, two) = (paced(Some(2)), Caller::new(), Caller::new());
        assert_eq!(one.asks(&dispatcher, 0), Poll::Ready(Some(0)));
        assert_eq!(
            (one.asks(&dispatcher, 1), two.asks(&dispatcher, 1)),
            (Poll::Pending, Poll::Pending)
        );
        dispatcher.bring(Moment(50_000));
        assert!(one.was_called() && two.was_called());
        assert_eq!(
            one.asks(&dispatcher, 50_000),
            Poll::Ready(Some(10_000)),
            "brought before the end"
        );
        assert_eq!(
            (one.asks(&dispatcher, 0), two.asks(&dispatcher, 0)),
            (Poll::Ready(None), Poll::Ready(None))
        );
        assert_eq!(dispatcher.owed(Moment(50_000)), 0);
    }
}
