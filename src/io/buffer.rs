//! The pool: all octets of requests and answers lie in its buffers, and their number has a bound.
//!
//! There are two ways to a buffer. A request under way has one for its head ([`BufferPool::head`]): there are
//! never more of these than connections. Everything else is taken with a [`Permit`], the right to
//! have [`SHARE`] buffers at once; there are as many rights as the pool can satisfy together, so who has one
//! never waits for a buffer and the pool cannot deadlock.
//!
//! A right is held only while there are octets in hand: who waits for octets gives it back first. So
//! neither slow senders nor slow origins can use the pool up. Slow receivers can; a [`Buf`] knows when
//! others wait for a right ([`Buf::is_wanted`]), and a stream then has less patience with its receiver. A full pool
//! means that work waits: back-pressure, never growth.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Octets in a buffer. A head that does not fit gets [more room](Buf::grow), where the settings allow such heads.
pub const SIZE: usize = 16 * 1024;

/// Octets in a large buffer. What is copied through one of these costs half of what it costs in pieces of [`SIZE`].
pub const LARGE: usize = 128 * 1024;

/// Large buffers one core may own, and how many ordinary ones it has to be allowed for each of them.
const LARGE_MOST: usize = 64;
const LARGE_EACH: usize = 32;

/// Buffers one exchange may have at once, beside the one with the client's head:
pub const SHARE: usize = 1 // octets on their way to the upstream
    + 1 // octets that came from the upstream
    + 1; // octets on their way to the client

/// The buffers of one core.
pub struct BufferPool {
    rights_left: Cell<usize>,
    rights_total: usize,
    /// Those waiting for a right, first come first served: so by ascending ticket.
    queue: RefCell<VecDeque<(u64, Waker)>>,
    tickets: Cell<u64>,
    stock: RefCell<FreeList>,
}

/// The free buffers of the pool, and how many are lent.
struct FreeList {
    /// A stack, so that the buffer used last, still in the processor's cache, goes out first.
    free: Vec<Box<[u8]>>,
    /// Free buffers kept; those beyond go back to the system.
    keep: usize,
    /// The same of large ones, as many as there may be.
    large: Vec<Box<[u8]>>,
    /// Large ones that are not lent.
    large_left: usize,
    /// Lent with a right.
    used: usize,
    /// Lent for heads.
    heads: usize,
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool").field("lent", &self.lent()).finish()
    }
}

impl BufferPool {
    /// A pool that lends at most `buffers` buffers beside those for heads, rounded down to whole shares but at
    /// least one. Memory is taken from the system as buffers are first needed.
    pub fn new(buffers: usize) -> Rc<BufferPool> {
        let rights_total = (buffers / SHARE).max(1);
        let keep = rights_total * SHARE;
        Rc::new(BufferPool {
            rights_left: Cell::new(rights_total),
            rights_total,
            queue: RefCell::default(),
            tickets: Cell::new(0),
            stock: RefCell::new(FreeList {
                free: Vec::new(),
                keep,
                large: Vec::new(),
                large_left: (buffers / LARGE_EACH).min(LARGE_MOST),
                used: 0,
                heads: 0,
            }),
        })
    }

    /// Buffers lent out now, those for heads included.
    pub fn lent(&self) -> usize {
        let stock = self.stock.borrow();
        stock.used + stock.heads
    }

    /// Buffers lent out now, those for heads aside.
    pub fn used(&self) -> usize {
        self.stock.borrow().used
    }

    /// How many waits for a right there were.
    pub fn waits(&self) -> u64 {
        self.tickets.get()
    }

    /// Is there a large buffer to be had?
    pub fn has_large(&self) -> bool {
        self.stock.borrow().large_left > 0
    }

    /// How many rights there are in all.
    pub fn rights(&self) -> usize {
        self.rights_total
    }

    /// An empty buffer for the head of a request. The caller sees to a bound of its own: one for each connection.
    pub fn head(self: &Rc<Self>) -> Buf {
        self.stock.borrow_mut().heads += 1;
        self.take(Lent::Head)
    }

    /// What an exchange holds its right with. It has none yet.
    pub fn quota(self: &Rc<Self>) -> Quota {
        Quota { pool: Rc::clone(self), holds: Cell::new(0) }
    }

    fn grant(&self) -> bool {
        let left = self.rights_left.get().checked_sub(1);
        left.inspect(|left| self.rights_left.set(*left)).is_some()
    }

    /// Has the first in the queue look whether a right is left.
    fn wake_first(&self) {
        if self.rights_left.get() > 0
            && let Some((_, waker)) = self.queue.borrow().front()
        {
            waker.wake_by_ref();
        }
    }

    fn take(self: &Rc<Self>, lent: Lent) -> Buf {
        let mut stock = self.stock.borrow_mut();
        let (free, size) = match lent {
            Lent::Head | Lent::Ordinary => (&mut stock.free, SIZE),
            Lent::Large => (&mut stock.large, LARGE),
        };
        let bytes = free.pop().unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Buf { bytes, start: 0, end: 0, lent, pool: Rc::clone(self) }
    }
}

/// One exchange's part of the pool: a right while it has octets in hand, nothing while it waits.
pub struct Quota {
    pool: Rc<BufferPool>,
    /// Parts of the exchange that have octets in hand. They share one right.
    holds: Cell<usize>,
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("holds", &self.holds.get()).finish()
    }
}

impl Quota {
    /// The right to have buffers, when one is left; who asked first gets it first. At once, if another
    /// part of the exchange holds it already. Callers that have to wait must have no octets in hand.
    pub async fn permit(&self) -> Permit<'_> {
        match self.try_permit() {
            Some(permit) => permit,
            None => {
                let ticket = self.pool.tickets.get();
                self.pool.tickets.set(ticket + 1);
                Waiting { quota: self, ticket }.await
            }
        }
    }

    /// As [`Quota::permit`], if it takes no waiting.
    pub fn try_permit(&self) -> Option<Permit<'_>> {
        let granted =
            self.holds.get() > 0 || self.pool.queue.borrow().is_empty() && self.pool.grant();
        granted.then(|| self.another())
    }

    fn another(&self) -> Permit<'_> {
        self.holds.set(self.holds.get() + 1);
        Permit(self)
    }
}

/// The right to have [`SHARE`] buffers at once, together with other holds of the same exchange. Buffers go
/// home before it does.
#[derive(Debug)]
pub struct Permit<'a>(&'a Quota);

impl Permit<'_> {
    /// An empty buffer. The holders keep to [`SHARE`] at once; overdrawing is a defect and panics.
    pub fn take(&self) -> Buf {
        let pool = &self.0.pool;
        let mut stock = pool.stock.borrow_mut();
        let granted = pool.rights_total - pool.rights_left.get();
        // Counted only then: an overdraft must not leave others with less.
        assert!(stock.used < granted * SHARE, "a quota was overdrawn: {} buffers", stock.used);
        stock.used += 1;
        drop(stock);
        pool.take(Lent::Ordinary)
    }

    /// As [`Permit::take`], and large if there is one left.
    pub fn take_large(&self) -> Buf {
        let pool = &self.0.pool;
        if !pool.has_large() {
            return self.take();
        }
        let mut stock = pool.stock.borrow_mut();
        stock.used += 1;
        stock.large_left -= 1;
        drop(stock);
        pool.take(Lent::Large)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Permit(Quota { pool, holds }) = self;
        holds.set(holds.get() - 1);
        if holds.get() == 0 {
            pool.rights_left.set(pool.rights_left.get() + 1);
            pool.wake_first();
        }
    }
}

/// A wait for a right. Given up, it leaves the queue.
struct Waiting<'a> {
    quota: &'a Quota,
    ticket: u64,
}

impl<'a> Future for Waiting<'a> {
    type Output = Permit<'a>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit<'a>> {
        let quota = self.quota;
        let mut queue = quota.pool.queue.borrow_mut();
        let place = queue.binary_search_by_key(&self.ticket, |(ticket, _)| *ticket);
        // The other half of the same exchange may have got it meanwhile.
        let held = quota.holds.get() > 0;
        if held || (place == Ok(0) || queue.is_empty()) && quota.pool.grant() {
            if let Ok(place) = place {
                queue.remove(place);
            }
            drop(queue);
            quota.pool.wake_first(); // there may be more than one left
            return Poll::Ready(quota.another());
        }
        match place {
            Ok(place) => queue[place].1.clone_from(cx.waker()),
            Err(place) => queue.insert(place, (self.ticket, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let pool = &self.quota.pool;
        let mut queue = pool.queue.borrow_mut();
        if let Ok(place) = queue.binary_search_by_key(&self.ticket, |(ticket, _)| *ticket) {
            queue.remove(place);
            drop(queue);
            pool.wake_first();
        }
    }
}

/// A buffer on loan: `[0, start)` is consumed or head room, `[start, end)` filled, the rest spare.
/// Goes home when dropped.
pub struct Buf {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    lent: Lent,
    pool: Rc<BufferPool>,
}

/// What a buffer is lent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lent {
    /// For the head of a request.
    Head,
    /// With a right.
    Ordinary,
    /// The same, of [`LARGE`] octets.
    Large,
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({}..{})", self.start, self.end)
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let mut stock = self.pool.stock.borrow_mut();
        match self.lent {
            Lent::Head => stock.heads -= 1,
            Lent::Ordinary => stock.used -= 1,
            Lent::Large => {
                stock.used -= 1;
                stock.large_left += 1;
                stock.large.push(std::mem::take(&mut self.bytes));
                return;
            }
        }
        // One that has grown is not of the pool's size any more.
        if self.bytes.len() == SIZE && stock.free.len() < stock.keep {
            stock.free.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Buf {
    /// Others wait for the right with which it was taken, more of them than there are rights left.
    pub fn is_wanted(&self) -> bool {
        self.pool.queue.borrow().len() > self.pool.rights_left.get()
    }

    /// Its contents.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Its contents, to be changed.
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
        assert!(n <= self.bytes.len() - self.end);
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

    /// Makes room for `most` octets in all; a buffer of that size comes from the system, and goes back to it. For what
    /// has to lie in one piece and seldom is so large.
    pub fn grow(&mut self, most: usize) {
        if self.bytes.len() < most {
            let mut bytes = vec![0; most].into_boxed_slice();
            bytes[..self.end].copy_from_slice(&self.bytes[..self.end]);
            self.bytes = bytes;
        }
    }

    /// Makes room behind what lies in it, in one of two ways: moves that to the front, or grows to `most` octets.
    pub fn make_room(&mut self, most: usize) {
        if self.start > 0 {
            self.compact();
        } else {
            self.grow(most);
        }
    }

    /// Appends `octets` and says whether they fitted; appends nothing if not.
    #[must_use]
    pub fn append(&mut self, octets: &[u8]) -> bool {
        let fits = octets.len() <= self.bytes.len() - self.end;
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

    /// A permit, if there is one to be had at once.
    fn now<'a>(permit: Pin<&mut impl Future<Output = Permit<'a>>>) -> Option<Permit<'a>> {
        match permit.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_pool_gives_whole_shares_and_gets_all_buffers_back() {
        let pool = BufferPool::new(2 * SHARE + 1);
        let shares = [pool.quota(), pool.quota(), pool.quota()];
        let first = shares[0].try_permit().unwrap();
        let second = shares[1].try_permit().unwrap();
        assert!(shares[2].try_permit().is_none());
        let buffers: Vec<_> = (0..SHARE).flat_map(|_| [first.take(), second.take()]).collect();
        assert_eq!((pool.used(), pool.lent()), (2 * SHARE, 2 * SHARE));
        drop(buffers);
        drop(first);
        assert_eq!(pool.lent(), 0);
        assert!(shares[2].try_permit().is_some());
    }

    #[test]
    fn large_buffers_are_few_and_an_ordinary_one_takes_their_place() {
        let pool = BufferPool::new(2 * LARGE_EACH);
        let quota = pool.quota();
        let permit = quota.try_permit().unwrap();
        let mut three = [(); 3].map(|()| permit.take_large());
        let sizes = three.each_mut().map(|buf| buf.spare().len());
        assert_eq!((sizes, pool.has_large()), ([LARGE, LARGE, SIZE], false));
        assert_eq!(pool.used(), SHARE, "they count as any other");
        drop(three);
        assert_eq!((pool.used(), pool.has_large()), (0, true));
        assert_eq!(pool.stock.borrow().large.len(), 2, "and are kept");
        let small = BufferPool::new(LARGE_EACH - 1);
        assert!(!small.has_large());
    }

    #[test]
    fn heads_need_no_right_and_what_is_too_much_is_not_kept() {
        let pool = BufferPool::new(SHARE);
        let quota = pool.quota();
        let _hold = quota.try_permit().unwrap();
        let heads: Vec<_> = (0..2 * SHARE).map(|_| pool.head()).collect();
        assert_eq!((pool.used(), pool.lent()), (0, 2 * SHARE));
        drop(heads);
        assert_eq!((pool.lent(), pool.stock.borrow().free.len()), (0, SHARE));
    }

    #[test]
    fn who_waits_first_is_served_first_and_may_give_up() {
        let pool = BufferPool::new(2 * SHARE);
        let shares: Vec<_> = (0..6).map(|_| pool.quota()).collect();
        let held = [shares[0].try_permit().unwrap(), shares[1].try_permit().unwrap()];
        let buf = held[0].take();
        assert!(!buf.is_wanted());
        let [mut first, mut second, mut third] = [2, 3, 4].map(|n| Box::pin(shares[n].permit()));
        assert!(now(first.as_mut()).is_none() && now(second.as_mut()).is_none());
        assert!(now(third.as_mut()).is_none() && buf.is_wanted());
        drop(buf);
        drop(held);
        assert!(shares[5].try_permit().is_none(), "nobody passes those that wait");
        assert!(now(third.as_mut()).is_none(), "two are before it");
        assert!(now(first.as_mut()).is_some());
        drop(second);
        assert!(now(third.as_mut()).is_some());
        assert_eq!(pool.rights_left.get(), 2);
        assert_eq!((pool.queue.borrow().len(), pool.waits()), (0, 3));
    }

    #[test]
    fn the_parts_of_an_exchange_share_one_right() {
        let pool = BufferPool::new(SHARE);
        let (quota, other) = (pool.quota(), pool.quota());
        let taken = other.try_permit().unwrap();
        let (mut up, mut down) = (Box::pin(quota.permit()), Box::pin(quota.permit()));
        assert!(now(up.as_mut()).is_none() && now(down.as_mut()).is_none());
        drop(taken);
        let up = now(up.as_mut()).unwrap();
        let down = now(down.as_mut()).unwrap();
        drop(up);
        assert!(other.try_permit().is_none());
        drop(down);
        assert!(other.try_permit().is_some());
    }

    #[test]
    #[should_panic(expected = "overdrawn")]
    fn an_overdrawn_share_is_a_defect() {
        let pool = BufferPool::new(SHARE);
        let quota = pool.quota();
        let permit = quota.try_permit().unwrap();
        let _buffers: Vec<_> = (0..=SHARE).map(|_| permit.take()).collect();
    }

    #[test]
    fn what_has_grown_keeps_its_octets_and_does_not_go_home() {
        let pool = BufferPool::new(SHARE);
        let mut buf = pool.head();
        assert!(buf.append(&[b'a'; SIZE]));
        buf.consume(1);
        buf.make_room(2 * SIZE);
        assert_eq!((buf.len(), buf.spare().len()), (SIZE - 1, 1), "moved to the front first");
        buf.make_room(2 * SIZE);
        assert_eq!((buf.len(), buf.spare().len()), (SIZE - 1, SIZE + 1));
        assert!(buf.append(b"b") && buf.filled().ends_with(b"ab"));
        buf.grow(SIZE);
        assert_eq!(buf.spare().len(), SIZE, "it never shrinks");
        drop(buf);
        assert_eq!((pool.lent(), pool.stock.borrow().free.len()), (0, 0));
    }

    #[test]
    fn octets_go_in_behind_and_in_front_and_out_in_order() {
        let mut buf = BufferPool::new(SHARE).head();
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
