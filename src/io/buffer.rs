//! The pool: all octets of requests and answers lie in its buffers, and there are never more of them.
//!
//! Nobody takes a buffer from the pool itself. Work is admitted with a [`Share`], the right to hold
//! [`SHARE`] buffers at once; there are as many shares as the pool can satisfy together, so a holder
//! never waits for a buffer and the pool cannot deadlock. A full pool means that new work waits for
//! a share, unread in the kernel: back-pressure, never growth.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Octets in a buffer: a head must fit in one.
pub const SIZE: usize = 16 * 1024;

/// Buffers one exchange may hold at once:
pub const SHARE: usize = 1 // the client's head, kept for the log and for what follows it
    + 1 // octets on their way to the upstream
    + 1 // octets that came from the upstream
    + 1; // octets on their way to the client

/// The buffers of one core.
pub struct Pool {
    shares_left: Cell<usize>,
    shares_total: usize,
    /// Who waits for a share, first come first served: so by ascending ticket.
    queue: RefCell<VecDeque<(u64, Waker)>>,
    tickets: Cell<u64>,
    stock: RefCell<Stock>,
}

/// What lies in the pool. `made - free.len()` buffers are lent out; `made <= limit`.
struct Stock {
    /// A stack, so that the buffer used last, still in the processor's cache, goes out first.
    free: Vec<Box<[u8]>>,
    made: usize,
    limit: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("lent", &self.lent()).finish()
    }
}

impl Pool {
    /// A pool of at most `buffers` buffers, rounded down to whole shares but at least one. Memory is
    /// taken from the system as buffers are first needed.
    pub fn new(buffers: usize) -> Rc<Pool> {
        let shares_total = (buffers / SHARE).max(1);
        Rc::new(Pool {
            shares_left: Cell::new(shares_total),
            shares_total,
            queue: RefCell::default(),
            tickets: Cell::new(0),
            stock: RefCell::new(Stock { free: Vec::new(), made: 0, limit: shares_total * SHARE }),
        })
    }

    /// Buffers lent out now.
    pub fn lent(&self) -> usize {
        let stock = self.stock.borrow();
        stock.made - stock.free.len()
    }

    /// How many shares there are in all.
    pub fn shares(&self) -> usize {
        self.shares_total
    }

    /// A share, if one is left and nobody waits for it.
    pub fn try_share(self: &Rc<Self>) -> Option<Share> {
        if self.queue.borrow().is_empty() { self.grant() } else { None }
    }

    /// A share, when one is left; who asked first gets it first.
    pub fn share(self: &Rc<Self>) -> Waiting {
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        Waiting { pool: Rc::clone(self), ticket }
    }

    fn grant(self: &Rc<Self>) -> Option<Share> {
        let left = self.shares_left.get().checked_sub(1)?;
        self.shares_left.set(left);
        Some(Share { pool: Rc::clone(self) })
    }

    /// Has whoever is first in the queue look whether a share is left.
    fn wake_first(&self) {
        if self.shares_left.get() > 0
            && let Some((_, waker)) = self.queue.borrow().front()
        {
            waker.wake_by_ref();
        }
    }

    fn take(self: &Rc<Self>) -> Buf {
        let mut stock = self.stock.borrow_mut();
        let bytes = stock.free.pop().unwrap_or_else(|| {
            assert!(stock.made < stock.limit, "a share was overdrawn: {} buffers", stock.made);
            stock.made += 1;
            vec![0; SIZE].into_boxed_slice()
        });
        Buf { bytes, start: 0, end: 0, pool: Rc::clone(self) }
    }
}

/// The right to hold [`SHARE`] buffers at once.
pub struct Share {
    pool: Rc<Pool>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.shares_left.set(self.pool.shares_left.get() + 1);
        self.pool.wake_first();
    }
}

/// A wait for a share. Given up, it leaves the queue.
#[derive(Debug)]
pub struct Waiting {
    pool: Rc<Pool>,
    ticket: u64,
}

impl Future for Waiting {
    type Output = Share;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Share> {
        let mut queue = self.pool.queue.borrow_mut();
        let place = queue.binary_search_by_key(&self.ticket, |(ticket, _)| *ticket);
        if (place == Ok(0) || queue.is_empty())
            && let Some(share) = self.pool.grant()
        {
            queue.pop_front();
            drop(queue);
            self.pool.wake_first(); // there may be more than one left
            return Poll::Ready(share);
        }
        match place {
            Ok(place) => queue[place].1.clone_from(cx.waker()),
            Err(place) => queue.insert(place, (self.ticket, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut queue = self.pool.queue.borrow_mut();
        if let Ok(place) = queue.binary_search_by_key(&self.ticket, |(ticket, _)| *ticket) {
            queue.remove(place);
            drop(queue);
            self.pool.wake_first();
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share")
    }
}

impl Share {
    /// An empty buffer. The holder keeps to [`SHARE`] at once; overdrawing is a defect and panics.
    pub fn take(&self) -> Buf {
        self.pool.take()
    }
}

/// A buffer on loan: `[0, start)` is consumed or head room, `[start, end)` filled, `[end, SIZE)` spare.
/// Goes home when dropped.
pub struct Buf {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    pool: Rc<Pool>,
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({}..{})", self.start, self.end)
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        self.pool.stock.borrow_mut().free.push(std::mem::take(&mut self.bytes));
    }
}

impl Buf {
    /// What lies in it.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// What lies in it, to be changed.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// How many octets lie in it.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Nothing lies in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind what lies in it.
    pub fn spare(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// The first `n` octets of the spare room are filled now.
    pub fn fill(&mut self, n: usize) {
        assert!(n <= SIZE - self.end);
        self.end += n;
    }

    /// The first `n` octets are done with.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len());
        self.start += n;
        if self.start == self.end {
            self.clear(0);
        }
    }

    /// Only the first `n` octets stay.
    pub fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start + n);
    }

    /// Empties it and leaves `room` octets in front for [`Buf::prepend`].
    pub fn clear(&mut self, room: usize) {
        self.start = room;
        self.end = room;
    }

    /// Moves what lies in it to the very front.
    pub fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Appends `octets` and says whether they fitted; appends nothing if not.
    #[must_use]
    pub fn append(&mut self, octets: &[u8]) -> bool {
        let fits = octets.len() <= SIZE - self.end;
        if fits {
            self.bytes[self.end..self.end + octets.len()].copy_from_slice(octets);
            self.end += octets.len();
        }
        fits
    }

    /// Puts `octets` in front of what lies in it; the caller left room with [`Buf::clear`].
    pub fn prepend(&mut self, octets: &[u8]) {
        assert!(octets.len() <= self.start);
        self.start -= octets.len();
        self.bytes[self.start..self.start + octets.len()].copy_from_slice(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_gives_whole_shares_and_gets_all_buffers_back() {
        let pool = Pool::new(2 * SHARE + 1);
        let first = pool.try_share().unwrap();
        let second = pool.try_share().unwrap();
        assert!(pool.try_share().is_none());
        let buffers: Vec<_> = (0..SHARE).flat_map(|_| [first.take(), second.take()]).collect();
        assert_eq!(pool.lent(), 2 * SHARE);
        drop(buffers);
        drop(first);
        assert_eq!(pool.lent(), 0);
        assert!(pool.try_share().is_some());
    }

    #[test]
    fn who_waits_first_is_served_first_and_may_give_up() {
        let pool = Pool::new(2 * SHARE);
        let mut cx = Context::from_waker(Waker::noop());
        let held = [pool.try_share().unwrap(), pool.try_share().unwrap()];
        let mut waiting = [pool.share(), pool.share(), pool.share()];
        for wait in &mut waiting {
            assert!(Pin::new(wait).poll(&mut cx).is_pending());
        }
        let [mut first, second, mut third] = waiting;
        drop(held);
        assert!(pool.try_share().is_none(), "nobody passes those that wait");
        assert!(Pin::new(&mut third).poll(&mut cx).is_pending(), "two are before it");
        assert!(Pin::new(&mut first).poll(&mut cx).is_ready());
        drop(second);
        assert!(Pin::new(&mut third).poll(&mut cx).is_ready());
        assert_eq!(pool.shares_left.get(), 2);
        assert!(pool.queue.borrow().is_empty());
    }

    #[test]
    #[should_panic(expected = "overdrawn")]
    fn an_overdrawn_share_is_a_defect() {
        let pool = Pool::new(SHARE);
        let share = pool.try_share().unwrap();
        let _buffers: Vec<_> = (0..=SHARE).map(|_| share.take()).collect();
    }

    #[test]
    fn octets_go_in_behind_and_in_front_and_out_in_order() {
        let pool = Pool::new(SHARE);
        let mut buf = pool.try_share().unwrap().take();
        buf.clear(4);
        assert!(buf.append(b"cdef"));
        buf.prepend(b"ab");
        assert_eq!(buf.filled(), b"abcdef");
        buf.consume(1);
        buf.truncate(3);
        assert_eq!(buf.filled(), b"bcd");
        buf.compact();
        assert_eq!(buf.filled(), b"bcd");
        assert_eq!(buf.spare().len(), SIZE - 3);
        assert!(!buf.append(&[0; SIZE]));
        buf.consume(3);
        assert_eq!(buf.spare().len(), SIZE);
    }
}
