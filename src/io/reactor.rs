//! Edge-triggered readiness: a socket is registered once, for both directions, and costs no further
//! system call until something happens to it.
//!
//! Built on rustix' epoll rather than on the `polling` crate for two reasons. `polling` asks for
//! neither `EPOLLRDHUP` nor reports it, so a peer's FIN that comes together with its last octets
//! could not be told from silence; and each of its waits spends three more system calls (timerfd,
//! and twice `epoll_ctl`).
//!
//! The edge rule (epoll(7), Q&A 9): a read that returns less than was asked for has emptied the
//! socket, and what comes later raises a new edge. So a socket counts as readable from an edge
//! until a short read, unless the peer has hung up: then it stays readable to the end. Nor does a short read mean
//! anything once the peer has sent urgent data (tcp(7)): a read stops in front of the mark, whatever lies behind it.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::Timespec;
use slab::Slab;

use super::clock::{Clock, Moment};
use super::error::{Error, Result};
use super::kernel::{Event, EventFlags, Eventfd, Fd, Poller};
use super::timer::{Wheel, moment_before, tick_after};
use super::turn::Lines;

/// Events taken from the kernel in one turn, at most.
const BATCH: usize = 256;
/// The event data of the notifier. Keys are below 2^32 - 1.
const NOTIFIER: u64 = u64::MAX;

/// A direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards us.
    Read,
    /// Towards the peer.
    Write,
}

/// How a stream is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Nothing has come on it yet.
    New,
    /// It is kept for more.
    Kept,
    /// A request has begun on it, and is long in coming.
    Begun,
}

/// A stream that waits with nothing under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleStream {
    /// The reactor's name for it.
    pub key: usize,
    /// How it is idle.
    pub idle: Idle,
    /// When its wait ends, up to a tick early.
    pub until: Moment,
}

/// One direction of one registration.
#[derive(Default)]
struct Side {
    /// The tick after which a wait fails; 0: never.
    deadline: u32,
    ready: bool,
    /// The registration's task waits for this direction.
    armed: bool,
}

#[derive(Default)]
struct Registration {
    /// Of the task that owns the registration, or did when it waited last.
    waker: Option<Waker>,
    sides: [Side; 2],
    /// Tells this registration's events from those of an earlier holder of the same slot.
    generation: u32,
    /// The peer will send no more, or the connection is broken.
    hung_up: bool,
    /// The peer has sent urgent data.
    urgent: bool,
    /// Nothing is under way on it.
    idle: Option<Idle>,
    /// The connection is broken, or both sides have said that they will send no more.
    broken: bool,
}

/// One core's reactor.
pub struct Reactor {
    poller: Poller,
    notifier: Arc<Eventfd>,
    clock: Clock,
    registrations: RefCell<Slab<Registration>>,
    wheel: RefCell<Wheel>,
    generation: Cell<u32>,
    events: RefCell<Vec<Event>>,
    lines: RefCell<Lines>,
    turns: Cell<u64>,
    aborted: Cell<bool>,
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor")
            .field("registrations", &self.registrations.borrow().len())
            .finish()
    }
}

/// Ends the present or next wait of a reactor, from any thread.
#[derive(Clone, Debug)]
pub struct Notifier(Arc<Eventfd>);

impl Notifier {
    /// Wakes the reactor.
    pub fn notify(&self) {
        // The only failure is a counter at its maximum: then the reactor wakes anyway.
        let _ = self.0.write();
    }
}

/// What a turn brought besides readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// [`Notifier::notify`] was called.
    pub notified: bool,
    /// How many events the kernel had.
    pub events: usize,
}

impl Reactor {
    /// A reactor without registrations. Fails if the kernel gives no descriptors.
    pub fn new() -> io::Result<Reactor> {
        let poller = Poller::create()?;
        let notifier = Eventfd::new()?;
        poller.add_eventfd(&notifier, NOTIFIER)?;
        Ok(Reactor {
            poller,
            notifier: Arc::new(notifier),
            clock: Clock::default(),
            registrations: RefCell::default(),
            wheel: RefCell::default(),
            generation: Cell::new(0),
            events: RefCell::new(Vec::with_capacity(BATCH)),
            lines: RefCell::default(),
            turns: Cell::new(1),
            aborted: Cell::new(false),
        })
    }

    /// The core's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A handle that ends a wait.
    pub fn notifier(&self) -> Notifier {
        Notifier(Arc::clone(&self.notifier))
    }

    /// From now on every wait fails with `ConnectionAborted`: the way to end all tasks at once, each
    /// through its own exit.
    pub fn abort(&self) {
        self.aborted.set(true);
        self.wake_all();
    }

    /// Has every waiting task look again at what it waits for.
    pub fn wake_all(&self) {
        for (_, registration) in self.registrations.borrow_mut().iter_mut() {
            registration.wake(Direction::Read);
            registration.wake(Direction::Write);
        }
    }

    /// Was [`Reactor::abort`] called?
    pub fn is_aborted(&self) -> bool {
        self.aborted.get()
    }

    /// Watches `fd` in both directions until the key is given to [`Reactor::forget`]; the descriptor
    /// must be closed right after that. A new registration counts as writable and not readable.
    pub fn watch(&self, fd: &Fd) -> io::Result<usize> {
        let key = self.slot();
        let generation = self.registrations.borrow()[key].generation;
        let data = u64::from(generation) << 32 | key as u64;
        if let Err(error) = self.poller.add(fd, data) {
            self.forget(key);
            return Err(error);
        }
        Ok(key)
    }

    /// Gives up a slot. Closing the descriptor removes it from the kernel's list.
    pub fn forget(&self, key: usize) {
        self.wheel.borrow_mut().remove(key);
        let registration = self.registrations.borrow_mut().remove(key);
        drop(registration); // its wakers may drop tasks: not under the borrow
    }

    /// Takes `fd` off the kernel's list: needed where its closing is not the last of its file.
    pub fn leave(&self, fd: &Fd) {
        // It fails only if it is not on the list, and then there is nothing to do.
        let _ = self.poller.delete(fd);
    }

    /// Waits until `way` is ready: an edge was seen and [`Reactor::clear`] was not called since.
    /// Fails with [`Error::Deadline`] when that has passed, with [`Error::Aborted`] after an abort.
    pub fn poll_ready(&self, key: usize, way: Direction, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut registrations = self.registrations.borrow_mut();
        let registration = &mut registrations[key];
        let side = &registration.sides[way as usize];
        if let Some(result) = self.outcome(side.ready, side.deadline) {
            return Poll::Ready(result);
        }
        let old = registration.arm(way, cx.waker());
        drop(registrations);
        drop(old);
        Poll::Pending
    }

    /// Waits until the connection is broken or, with `or_finished`, the peer has sent its FIN, whatever
    /// lies unread. No deadline of the reading side counts for it. Fails only after an abort.
    pub fn poll_closed(
        &self,
        key: usize,
        or_finished: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let mut registrations = self.registrations.borrow_mut();
        let registration = &mut registrations[key];
        let gone = registration.broken || or_finished && registration.hung_up;
        if let Some(result) = self.outcome(gone, 0) {
            return Poll::Ready(result);
        }
        let old = registration.arm(Direction::Read, cx.waker());
        drop(registrations);
        drop(old);
        Poll::Pending
    }

    fn outcome(&self, ready: bool, deadline: u32) -> Option<Result<()>> {
        if self.aborted.get() {
            return Some(Err(Error::Aborted));
        }
        if ready {
            return Some(Ok(()));
        }
        let expired = deadline != 0 && deadline < tick_after(self.clock.now());
        expired.then_some(Err(Error::Deadline))
    }

    /// Is `way` ready now?
    pub fn is_ready(&self, key: usize, way: Direction) -> bool {
        self.registrations.borrow()[key].sides[way as usize].ready
    }

    /// Notes urgent data that no event has told of yet.
    pub fn set_urgent(&self, key: usize) {
        self.registrations.borrow_mut()[key].urgent = true;
    }

    /// Has the peer sent urgent data?
    pub fn is_urgent(&self, key: usize) -> bool {
        self.registrations.borrow()[key].urgent
    }

    /// The kernel said "would block" (or a read came back short): wait for the next edge. After a
    /// hang-up, or urgent data, a short read does not clear, for no edge would follow; `drained` says that the kernel
    /// said so itself.
    pub fn clear(&self, key: usize, way: Direction, drained: bool) {
        let registration = &mut self.registrations.borrow_mut()[key];
        if drained || way == Direction::Write || !registration.hung_up && !registration.urgent {
            registration.sides[way as usize].ready = false;
        }
    }

    /// The moment after which waits for `way` fail; `None`: never. A deadline may be up to one tick late.
    pub fn set_deadline(&self, key: usize, way: Direction, moment: Option<Moment>) {
        self.set(key, way, moment, None);
    }

    /// Nothing is under way: reads wait until `moment`, or less, see
    /// [`Reactor::expire_idle`]. Holds until a deadline of it is changed.
    pub fn set_idle(&self, key: usize, moment: Moment, idle: Idle) {
        self.set(key, Direction::Read, Some(moment), Some(idle));
    }

    fn set(&self, key: usize, way: Direction, moment: Option<Moment>, idle: Option<Idle>) {
        let tick = moment.map_or(0, tick_after);
        let registration = &mut self.registrations.borrow_mut()[key];
        registration.sides[way as usize].deadline = tick;
        registration.idle = idle;
        if tick != 0 {
            self.wheel.borrow_mut().set(key, tick);
        }
    }

    /// Streams whose tasks wait with nothing under way.
    pub fn idle_streams(&self) -> Vec<IdleStream> {
        let of = |(key, registration): (usize, &Registration)| {
            let Side { deadline, armed, .. } = registration.sides[Direction::Read as usize];
            let idle = registration.idle.filter(|_| armed)?;
            Some(IdleStream { key, idle, until: moment_before(deadline) })
        };
        self.registrations.borrow().iter().filter_map(of).collect()
    }

    /// Has `idle` time out now instead of later.
    pub fn expire_idle(&self, idle: &[IdleStream]) {
        let now = tick_after(self.clock.now()) - 1; // the tick that is over
        let mut wheel = self.wheel.borrow_mut();
        let mut registrations = self.registrations.borrow_mut();
        for IdleStream { key, .. } in idle {
            let registration = &mut registrations[*key];
            registration.idle = None;
            registration.sides[Direction::Read as usize].deadline = now;
            wheel.set(*key, now);
            registration.wake(Direction::Read);
        }
    }

    /// Is there a deadline for `way`?
    pub fn has_deadline(&self, key: usize, way: Direction) -> bool {
        self.registrations.borrow()[key].sides[way as usize].deadline != 0
    }

    /// Waits for `duration`, coarse to one tick. Fails only after an abort.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        let nap = Nap { reactor: self, key: self.slot() };
        self.set_deadline(nap.key, Direction::Read, Some(self.clock.now() + duration));
        match std::future::poll_fn(|cx| self.poll_ready(nap.key, Direction::Read, cx)).await {
            Err(Error::Deadline) => Ok(()),
            other => other,
        }
    }

    /// Waits until the others had their turn: for who has used up a [`Slice`](super::turn::Slice).
    pub fn next_turn(&self) -> impl Future<Output = ()> + '_ {
        let mut ticket = None;
        std::future::poll_fn(move |cx| self.lines.borrow_mut().slices.poll(&mut ticket, cx))
    }

    /// The number of this turn.
    pub fn turns(&self) -> u64 {
        self.turns.get()
    }

    /// Waits until a client's handshake may take a step: a few do in each turn.
    #[cfg(feature = "tls")]
    pub(super) fn handshake_step(&self) -> impl Future<Output = ()> + '_ {
        let mut ticket = None;
        std::future::poll_fn(move |cx| self.lines.borrow_mut().handshakes.poll(&mut ticket, cx))
    }

    /// Those that wait for a turn.
    pub(super) fn lines(&self) -> RefMut<'_, Lines> {
        self.lines.borrow_mut()
    }

    fn slot(&self) -> usize {
        let generation = self.generation.get();
        self.generation.set(generation.wrapping_add(1) % (u32::MAX - 1));
        let mut registration = Registration { generation, ..Registration::default() };
        registration.sides[Direction::Write as usize].ready = true;
        self.registrations.borrow_mut().insert(registration)
    }

    /// Waits for events (not at all if `busy`, at most until the next timer otherwise), marks what is
    /// ready and wakes who waits for it; then the same for deadlines.
    pub fn turn(&self, busy: bool) -> io::Result<Turn> {
        let wait =
            if busy { Some(Duration::ZERO) } else { self.wheel.borrow().wait(self.clock.now()) };
        // The kernel counts in milliseconds: round up, or the last one would be spent spinning.
        let millis =
            wait.map(|wait| i64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i64::MAX));
        let timeout = millis.map(|millis| Timespec {
            tv_sec: millis.min(60_000) / 1000,
            tv_nsec: millis.min(60_000) % 1000 * 1_000_000,
        });
        self.turns.set(self.turns.get() + 1);
        let mut events = self.events.borrow_mut();
        events.clear();
        match self.poller.wait(&mut events, timeout.as_ref()) {
            Ok(()) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.clock.tick();
        let mut turn = Turn { notified: false, events: events.len() };
        for event in events.iter() {
            let data = event.data.u64();
            if data == NOTIFIER {
                let _ = self.notifier.read();
                turn.notified = true;
            } else {
                self.mark(data, event.flags);
            }
        }
        self.expire();
        Ok(turn)
    }

    fn mark(&self, data: u64, flags: EventFlags) {
        let mut registrations = self.registrations.borrow_mut();
        let Some(registration) = registrations.get_mut((data & 0xffff_ffff) as usize) else {
            return;
        };
        if u64::from(registration.generation) != data >> 32 {
            return;
        }
        let broken = EventFlags::HUP | EventFlags::ERR;
        registration.broken |= flags.intersects(broken);
        registration.hung_up |= flags.intersects(broken | EventFlags::RDHUP);
        registration.urgent |= flags.intersects(EventFlags::PRI);
        if flags.intersects(EventFlags::IN | EventFlags::PRI | EventFlags::RDHUP | broken) {
            registration.sides[Direction::Read as usize].ready = true;
            registration.wake(Direction::Read);
        }
        if flags.intersects(EventFlags::OUT | broken) {
            registration.sides[Direction::Write as usize].ready = true;
            registration.wake(Direction::Write);
        }
    }

    /// Wakes who waits past a deadline. A deadline that was moved away meanwhile is linked again.
    fn expire(&self) {
        let now = tick_after(self.clock.now()) - 1;
        let mut wheel = self.wheel.borrow_mut();
        let mut registrations = self.registrations.borrow_mut();
        while let Some(key) = wheel.take(now) {
            let Some(registration) = registrations.get_mut(key) else { continue };
            let mut next = u32::MAX;
            for way in [Direction::Read, Direction::Write] {
                match registration.sides[way as usize].deadline {
                    0 => {}
                    due if due <= now => registration.wake(way),
                    later => next = next.min(later),
                }
            }
            if next != u32::MAX {
                wheel.set(key, next);
            }
        }
    }
}

impl Registration {
    /// Remembers who waits; hands back the waker that was there, to be dropped outside the borrow. The two
    /// directions share one waker, so a stream belongs to one task at a time.
    fn arm(&mut self, way: Direction, waker: &Waker) -> Option<Waker> {
        self.sides[way as usize].armed = true;
        match &self.waker {
            Some(old) if old.will_wake(waker) => None,
            _ => self.waker.replace(waker.clone()),
        }
    }

    /// Wakes who waits, if anybody does. The waker stays for the next wait of the same task.
    fn wake(&mut self, way: Direction) {
        if std::mem::take(&mut self.sides[way as usize].armed)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// A slot without a descriptor, for the time of a sleep.
struct Nap<'a> {
    reactor: &'a Reactor,
    key: usize,
}

impl Drop for Nap<'_> {
    fn drop(&mut self) {
        self.reactor.forget(self.key);
    }
}
