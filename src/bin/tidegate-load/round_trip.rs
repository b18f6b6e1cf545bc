//! One round trip: octets out, and what they are answered with in, both at once if need be.
//!
//! The ordinary one costs one send, one wake-up and one receive: the send takes all, and the answer comes
//! whole, with a read that came back short and so needs no second look.

use std::task::{Context, Poll};

use super::load_fault::LoadFault;
use super::load_thread::LoadThread;
use tidegate::io::reactor::Direction;
use tidegate::io::stream::Stream;

/// What is read until it is whole.
pub trait MessageReader {
    /// Takes what came; `true`: that was all of it.
    fn take(&mut self, bytes: &mut [u8]) -> Result<bool, LoadFault>;
    /// The server has closed: fine if that was what it waited for.
    fn end(&mut self) -> Result<(), LoadFault>;
    /// Octets to come that it need not see.
    fn unread(&self) -> u64;
    /// So many of those came; `true`: that was all.
    fn skipped(&mut self, octets: u64) -> bool;
}

/// How a round trip went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTripEnd {
    /// All octets were sent; otherwise the answer came early, and the connection is of no more use.
    pub sent_all: bool,
    /// The connection is at its end.
    pub ended: bool,
}

/// A round trip under way.
pub struct RoundTrip<'a, H> {
    /// Whose scratch space and counts are used.
    pub thread: &'a LoadThread,
    /// The connection.
    pub stream: &'a Stream,
    /// What is sent.
    pub octets: &'a [u8],
    /// How much of it has been.
    pub sent: usize,
    /// What is read.
    pub reader: &'a mut H,
    /// Something came.
    pub answered: bool,
}

impl<H> std::fmt::Debug for RoundTrip<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoundTrip").field("sent", &self.sent).finish()
    }
}

impl<H: MessageReader> RoundTrip<'_, H> {
    /// Goes as far as it can without waiting.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<RoundTripEnd, LoadFault>> {
        if self.sent < self.octets.len() {
            self.send(cx)?;
        }
        loop {
            match self.stream.poll_ready(Direction::Read, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ready) => ready.map_err(LoadFault::exchanging)?,
            }
            match self.receive() {
                Ok(Some(end)) => return Poll::Ready(Ok(end)),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
    }

    /// Sends until nothing goes. A server that does not want the rest may have answered all the same:
    /// what it said is read before the failure counts.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), LoadFault> {
        while self.sent < self.octets.len() {
            match self.stream.poll_ready(Direction::Write, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready.map_err(LoadFault::exchanging)?,
            }
            match self.stream.write(&self.octets[self.sent..]) {
                Ok(taken) => {
                    let taken = taken.unwrap_or(0);
                    self.sent += taken;
                    self.thread.count_out(taken);
                }
                Err(error) if LoadFault::exchanging(error) == LoadFault::Reset => return Ok(()),
                Err(error) => return Err(LoadFault::exchanging(error)),
            }
        }
        Ok(())
    }

    /// One read; `None`: there is more to come.
    fn receive(&mut self) -> Result<Option<RoundTripEnd>, LoadFault> {
        let mut scratch = self.thread.scratch();
        let unread = self.reader.unread();
        let came = if unread > 0 {
            let most = usize::try_from(unread).unwrap_or(usize::MAX).min(scratch.len());
            self.stream.skip(&mut scratch[..most])
        } else {
            self.stream.read(&mut scratch)
        };
        let came = match came {
            Ok(Some(came)) => came,
            Ok(None) => return Ok(None),
            Err(error) => return Err(LoadFault::exchanging(error)),
        };
        let whole = if came == 0 {
            self.reader.end().map(|()| true)?
        } else if unread > 0 {
            self.reader.skipped(came as u64)
        } else {
            self.reader.take(&mut scratch[..came])?
        };
        self.answered |= came > 0;
        self.thread.count_in(came);
        let sent_all = self.sent == self.octets.len();
        Ok(whole.then_some(RoundTripEnd { sent_all, ended: came == 0 }))
    }

    /// The server closed the connection before it took notice of this request, as far as can be told.
    pub fn was_stale(&self, fault: LoadFault) -> bool {
        !self.answered && matches!(fault, LoadFault::Reset | LoadFault::ClosedEarly)
    }
}
