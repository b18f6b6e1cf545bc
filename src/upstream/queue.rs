//! Where requests wait while every upstream of a pool has as many as it may have: first come, first served, over all
//! cores.
//!
//! Whoever waits is called, and looks for itself whether there is room: nothing is handed over, so nothing is lost with
//! a request that leaves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicUsize, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::io::reactor::Notifier;

/// So many let others by: each of them looks whenever there may be room.
const LET_BY_MOST: usize = 8;

/// The queue of a pool.
#[derive(Debug, Default)]
pub struct Queue {
    line: Mutex<Line>,
    /// How many wait.
    length: AtomicUsize,
}

/// Those that wait, by their numbers.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// How many of them let others by.
    let_by: usize,
}

/// One that waits.
#[derive(Debug, Default)]
struct Waiting {
    /// How it is called; `None`: it is, or has not said how.
    bell: Option<Bell>,
    /// Room at some upstreams is of no use to it: those behind may have that.
    lets_by: bool,
}

struct Bell {
    waker: Waker,
    /// Its core may be asleep.
    core: Notifier,
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

/// A place in the queue, until it is dropped.
#[derive(Debug)]
pub struct Ticket<'q> {
    queue: &'q Queue,
    number: u64,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.length.load(Relaxed)
    }

    /// A place behind all others; `None`: there are `most` already. The first is called, for room may have been made
    /// without anybody ending.
    pub fn join(&self, most: usize) -> Option<Ticket<'_>> {
        let mut line = self.lock();
        if line.waiting.len() >= most {
            return None;
        }
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number, Waiting::default());
        self.length.store(line.waiting.len(), Relaxed);
        drop(line);
        // Its fence stands between the length, which was written, and the room that is looked for next.
        self.call();
        Some(Ticket { queue: self, number })
    }

    /// There may be room: has the first look, and where that lets others by, the next.
    pub fn call(&self) {
        // Whoever makes room writes that and then reads the length; whoever joins writes the length, comes through here
        // and then reads whether there is room. With a fence between the two on either side, one of them sees what the
        // other wrote. Without, both may read what was before, and nobody is called.
        fence(SeqCst);
        if self.len() == 0 {
            return;
        }
        for waiting in self.lock().waiting.values_mut() {
            if let Some(Bell { waker, core }) = waiting.bell.take() {
                waker.wake();
                core.notify();
            }
            if !waiting.lets_by {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Has `waker` called when it may look whether there is room. `true`: it may now, for all before it let it by.
    pub fn wait(&self, waker: &Waker, core: &Notifier) -> bool {
        let mut line = self.queue.lock();
        if let Some(own) = line.waiting.get_mut(&self.number) {
            own.bell = Some(Bell { waker: waker.clone(), core: core.clone() });
        }
        line.waiting.range(..self.number).all(|(_, before)| before.lets_by)
    }

    /// There may be room that is of no use to it. It is called all the same from now on, and so is the next, unless
    /// there are too many of its kind.
    pub fn let_by(&self) {
        let mut line = self.queue.lock();
        let Line { waiting, let_by, .. } = &mut *line;
        if let Some(own) = waiting.get_mut(&self.number)
            && !own.lets_by
            && *let_by < LET_BY_MOST
        {
            (own.lets_by, *let_by) = (true, *let_by + 1);
            drop(line);
            self.queue.call();
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        let own = line.waiting.remove(&self.number);
        line.let_by -= usize::from(own.is_some_and(|own| own.lets_by));
        self.queue.length.store(line.waiting.len(), Relaxed);
        drop(line);
        // Room for more than one may have been made, or it was called and leaves.
        self.queue.call();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;
    use crate::io::reactor::Reactor;

    #[derive(Default)]
    struct Called(AtomicU32);

    impl Wake for Called {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_first_is_called_and_the_next_when_it_leaves() {
        let reactor = Reactor::new().unwrap();
        let notifier = reactor.notifier();
        let queue = Queue::default();
        let (one, two) = (Arc::new(Called::default()), Arc::new(Called::default()));
        let first = queue.join(2).unwrap();
        let second = queue.join(2).unwrap();
        assert!(queue.join(2).is_none(), "there is no more room");
        assert!(first.wait(&one.clone().into(), &notifier));
        assert!(!second.wait(&two.clone().into(), &notifier));
        queue.call();
        queue.call();
        assert_eq!((one.0.load(Relaxed), two.0.load(Relaxed)), (1, 0));
        drop(first);
        assert_eq!(two.0.load(Relaxed), 1, "it may be its turn");
        assert!(second.wait(&two.clone().into(), &notifier));
        let third = queue.join(2).unwrap();
        assert_eq!(two.0.load(Relaxed), 2, "who comes has the first look");
        drop((second, third));
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_has_no_use_for_the_room_lets_the_next_by() {
        let reactor = Reactor::new().unwrap();
        let notifier = reactor.notifier();
        let queue = Queue::default();
        let called: [Arc<Called>; 3] = Default::default();
        let places = [0; 3].map(|_| queue.join(3).unwrap());
        let wait = |place: usize| places[place].wait(&called[place].clone().into(), &notifier);
        let times = || called.each_ref().map(|one| one.0.load(Relaxed));
        assert_eq!([wait(0), wait(1), wait(2)], [true, false, false]);
        places[0].let_by();
        assert_eq!(times(), [1, 1, 0]);
        assert_eq!([wait(0), wait(1), wait(2)], [true, true, false]);
        places[0].let_by();
        assert_eq!(times(), [1, 1, 0], "it is said once");
        queue.call();
        assert_eq!(times(), [2, 2, 0]);
        drop(places);
        // A few may, and the place of one that leaves is free.
        let many = [0; LET_BY_MOST + 2].map(|_| queue.join(LET_BY_MOST + 2).unwrap());
        many.iter().for_each(|one| _ = one.wait(&called[0].clone().into(), &notifier));
        many.iter().for_each(Ticket::let_by);
        let may_look = || {
            let waits = |one: &&Ticket<'_>| one.wait(&called[0].clone().into(), &notifier);
            many.iter().filter(waits).count()
        };
        assert_eq!((may_look(), queue.lock().let_by), (LET_BY_MOST + 1, LET_BY_MOST));
        drop(many);
        assert_eq!((queue.len(), queue.lock().let_by), (0, 0));
    }
}
