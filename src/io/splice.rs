//! Octets from socket to socket inside the kernel, by way of a pipe: splice(2).
//!
//! A pipe is taken for one body and goes back empty, or not at all.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;

use rustix::io::Errno;

use super::error::Error;
use super::kernel::{self, Fd};
use super::reactor::Direction;
use super::relay::{Relay, RelayError};
use super::stream::Stream;
use super::turn::Slice;

/// Shorter bodies are copied: below it, moving pages costs more than it saves. Measured for answers over loopback, CPU
/// of splicing against copying through one buffer of 16 KiB: 0.92 at 32 KiB, 0.63 at 64 KiB, less beyond.
pub const WORTHWHILE: u64 = 32 * 1024;
/// So are these, as long as there are large buffers. Against one of those the figures are 1.1 at 64 and 256 KiB, about
/// 1 at 1 MiB, 0.8 at 4 MiB, 0.6 at 10 MiB.
pub const WORTHWHILE_ALWAYS: u64 = 512 * 1024;

/// Capacity asked for: the most that an unprivileged process may have by default (pipe(7)).
const CAPACITY: usize = 1024 * 1024;
/// With so much in it a pipe is emptied before it is asked for more.
const FILLED: usize = 128 * 1024;
/// What a pipe holds when more is refused (pipe(7)).
const CAPACITY_DEFAULT: usize = 64 * 1024;

/// A pipe that is empty.
struct Pipe {
    read: Fd,
    write: Fd,
    /// Octets it holds at most.
    capacity: usize,
}

/// The pipes of one core, used last in first out.
pub struct Pipes {
    free: RefCell<Vec<Pipe>>,
    made: Cell<usize>,
    limit: usize,
    /// Their descriptors have numbers below this.
    most: Cell<usize>,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipes").field("made", &self.made.get()).finish()
    }
}

/// A pipe on loan. Dropped, it is closed, unless it was handed back empty.
pub struct PipeGuard<'a> {
    pipes: &'a Pipes,
    pipe: Option<Pipe>,
}

impl fmt::Debug for PipeGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PipeGuard")
    }
}

impl Drop for PipeGuard<'_> {
    fn drop(&mut self) {
        if self.pipe.is_some() {
            self.pipes.made.set(self.pipes.made.get() - 1);
        }
    }
}

impl Pipes {
    /// At most `limit` pipes; each is made when it is first needed.
    pub fn new(limit: usize) -> Pipes {
        Pipes { free: RefCell::default(), made: Cell::new(0), limit, most: Cell::new(usize::MAX) }
    }

    /// Pipes lent out now.
    pub fn lent(&self) -> usize {
        self.made.get() - self.free.borrow().len()
    }

    /// From now on pipes are made only of descriptors below `most`.
    pub fn keep_below(&self, most: usize) {
        self.most.set(most);
    }

    /// Closes those that nobody uses now, and says how many.
    pub fn close_free(&self) -> usize {
        let closed = std::mem::take(&mut *self.free.borrow_mut()).len();
        self.made.set(self.made.get() - closed);
        closed
    }

    /// A pipe, if one is left or can be made.
    pub fn take(&self) -> Option<PipeGuard<'_>> {
        let pipe = match self.free.borrow_mut().pop() {
            Some(pipe) => pipe,
            None if self.made.get() < self.limit => {
                let pipe = Pipe::new(self.most.get()).ok()?;
                self.made.set(self.made.get() + 1);
                pipe
            }
            None => return None,
        };
        Some(PipeGuard { pipes: self, pipe: Some(pipe) })
    }
}

impl Pipe {
    fn new(most: usize) -> io::Result<Pipe> {
        let (read, write, capacity) = kernel::pipe(CAPACITY, most)?;
        Ok(Pipe { read, write, capacity: capacity.unwrap_or(CAPACITY_DEFAULT) })
    }
}

/// Moves octets as `relay` says, as far as there are no urgent ones; what is left then is to be copied. Adds to `moved`
/// as they leave: it is right also when the future is dropped. The pipe goes home if it is empty in the end.
pub async fn run(
    relay: &Relay<'_>,
    mut guard: PipeGuard<'_>,
    moved: &Cell<u64>,
) -> Result<(), RelayError> {
    let Some(pipe) = &guard.pipe else { return Ok(()) };
    let result = pump(pipe, relay, moved).await;
    if result.is_ok()
        && let Some(pipe) = guard.pipe.take()
    {
        guard.pipes.free.borrow_mut().push(pipe);
    }
    result
}

/// Fills the pipe from one side and empties it into the other, until the limit or the end.
async fn pump(pipe: &Pipe, relay: &Relay<'_>, moved: &Cell<u64>) -> Result<(), RelayError> {
    let mut left = relay.limit;
    let mut slice = Slice::default();
    while left > 0 && !relay.must_stop() {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(pipe.capacity);
        relay.readable().await?;
        // Only now: in front of urgent data splice says that there is nothing, and no edge would follow.
        if relay.from.is_urgent() {
            break;
        }
        let (mut held, mut end) = (0, false);
        while held < want.min(FILLED) && !end {
            match kernel::splice(relay.from.fd(), &pipe.write, want - held) {
                Ok(0) => {
                    end = relay.from.has_ended().map_err(RelayError::From)?;
                    break;
                }
                Ok(n) => held += n,
                // An empty pipe takes something: it is the socket that has nothing.
                Err(Errno::AGAIN) if held == 0 => {
                    relay.from.clear(Direction::Read);
                    break;
                }
                // Or else the pipe is full, of small pieces: empty it, and see.
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(RelayError::From(error.into())),
            }
        }
        let round = held as u64;
        while held > 0 {
            match kernel::splice(&pipe.read, relay.to.fd(), held) {
                Ok(n) => {
                    held -= n;
                    left -= n as u64;
                    moved.set(moved.get() + n as u64);
                }
                Err(Errno::AGAIN) => relay.writable().await?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(RelayError::To(error.into())),
            }
        }
        if end {
            return Err(RelayError::From(Error::Closed));
        }
        if slice.spend(round) {
            relay.from.reactor().next_turn().await;
        }
    }
    Ok(())
}

/// Why a body was not spliced: the preconditions, as a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Shorter than [`WORTHWHILE`].
    Short,
    /// Shorter than [`WORTHWHILE_ALWAYS`], and there was a large buffer.
    Large,
    /// Its octets are looked at or changed on the way.
    Transformed,
    /// No pipe left.
    NoPipe,
    /// One side or the other speaks TLS.
    Tls,
}

impl Copied {
    /// Labels, in the order of the variants.
    pub const LABELS: [&'static str; 5] =
        ["short", "large_buffer", "transformed", "no_pipe", "tls"];
}

impl Relay<'_> {
    /// The next octets can be read.
    async fn readable(&self) -> Result<(), RelayError> {
        self.from.deadline_in(Direction::Read, self.read_wait);
        self.from.ready(Direction::Read).await.map_err(RelayError::From)
    }

    /// The kernel took nothing: wait until it does.
    async fn writable(&self) -> Result<(), RelayError> {
        let to: &Stream = self.to;
        to.clear(Direction::Write);
        to.deadline_in(Direction::Write, self.write_wait);
        to.ready(Direction::Write).await.map_err(RelayError::To)
    }
}
