//! One thread: epoll, its connections and their moments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;

use super::Shared;
use super::connection::{Buffers, Connection, Context, Next};

/// Events taken at once.
const EVENTS: usize = 256;

/// How long a thread rests when it cannot accept.
const REST: Duration = Duration::from_millis(5);

/// What epoll calls the listener and the stop event; connections have their slots.
const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

pub(super) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    epoll: OwnedFd,
    connections: Slab<Slot>,
    /// Moments at which a slot is to be driven; a stale one only costs a look.
    moments: BinaryHeap<Reverse<(Instant, usize)>>,
    spare: Buffers,
}

struct Slot {
    connection: Connection,
    /// The earliest of its moments.
    moment: Option<Instant>,
}

impl Worker {
    /// Readies epoll; an error is the kernel's.
    pub fn new(shared: Arc<Shared>, index: usize) -> io::Result<Worker> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &shared.stop, EventData::new_u64(STOP), EventFlags::IN)?;
        // Exclusive: one connection wakes one thread.
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        epoll::add(&epoll, &shared.listener, EventData::new_u64(LISTENER), flags)?;
        Ok(Worker {
            shared,
            index,
            epoll,
            connections: Slab::new(),
            moments: BinaryHeap::new(),
            spare: Buffers::default(),
        })
    }

    /// Serves until told to stop; an error is epoll's.
    pub fn run(mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut now = read_clock();
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.timeout(now).as_ref())
            {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            now = read_clock();
            for event in &events {
                // The kernel packs its events: fields are copied out, not borrowed.
                let (data, flags) = (event.data.u64(), event.flags);
                match data {
                    STOP => return Ok(()),
                    LISTENER => self.accept(now),
                    slot => self.ready(slot as usize, flags, now),
                }
            }
            self.pass(now);
        }
    }

    fn timeout(&self, now: Instant) -> Option<Timespec> {
        let Reverse((moment, _)) = self.moments.peek()?;
        Timespec::try_from(moment.saturating_duration_since(now)).ok()
    }

    /// Accepts one connection; the level-triggered listener tells of the next, perhaps to another thread.
    fn accept(&mut self, now: Instant) {
        let stream = match self.shared.listener.accept() {
            Ok((stream, _)) => stream,
            // Another thread was faster.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // A client that has left, or a want of descriptors, which must not make this loop spin.
            Err(_) => return thread::sleep(REST),
        };
        if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
            return;
        }
        if let Ok(slot) = self.register(stream, now) {
            self.drive(slot, now);
        }
    }

    fn register(&mut self, stream: TcpStream, now: Instant) -> io::Result<usize> {
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &stream, EventData::new_u64(slot as u64), flags)?;
        entry.insert(Slot { connection: Connection::new(stream, now), moment: None });
        Ok(slot)
    }

    fn ready(&mut self, slot: usize, flags: EventFlags, now: Instant) {
        let Some(found) = self.connections.get_mut(slot) else {
            return;
        };
        if found.connection.notice(flags) {
            self.drive(slot, now);
        } else {
            self.forget(slot);
        }
    }

    /// Drives every slot whose moment has come.
    fn pass(&mut self, now: Instant) {
        while let Some(Reverse((moment, slot))) = self.moments.peek().copied() {
            if moment > now {
                return;
            }
            self.moments.pop();
            if let Some(found) = self.connections.get_mut(slot) {
                found.moment = found.moment.filter(|kept| *kept != moment);
                self.drive(slot, now);
            }
        }
    }

    fn drive(&mut self, slot: usize, now: Instant) {
        let found = &mut self.connections[slot];
        let mut context = Context {
            shared: &self.shared,
            served: &self.shared.served[self.index],
            now,
            spare: &mut self.spare,
        };
        match found.connection.drive(&mut context) {
            Next::Gone => self.forget(slot),
            Next::Wait(None) => {}
            Next::Wait(Some(moment)) => {
                // One moment a connection: an idle limit that moves on is looked at when it was due.
                if found.moment.is_none_or(|kept| kept > moment) {
                    found.moment = Some(moment);
                    self.moments.push(Reverse((moment, slot)));
                }
            }
        }
    }

    fn forget(&mut self, slot: usize) {
        let slot = self.connections.remove(slot);
        // Closing takes the socket out of epoll.
        drop(slot);
    }
}

/// The clock of this tool, whose threads are not cores; read once a turn.
#[expect(clippy::disallowed_methods, reason = "a tool apart, with its own clock")]
pub(super) fn read_clock() -> Instant {
    Instant::now()
}
