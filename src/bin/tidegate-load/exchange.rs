//! One exchange: octets out, and what they are answered with in, both at once if need be.
//!
//! The ordinary one costs one send, one wake-up and one receive: the send takes all, and the answer comes
//! whole, with a read that came back short and so needs no second look.

use std::task::{Context, Poll};

use super::fault::Fault;
use super::worker::Worker;
use tidegate::io::reactor::Direction;
use tidegate::io::stream::Stream;

/// What is read until it is whole.
pub trait Heard {
    /// Takes what came; `true`: that was all of it.
    fn take(&mut self, bytes: &mut [u8]) -> Result<bool, Fault>;
    /// The server has closed: fine if that was what it waited for.
    fn end(&mut self) -> Result<(), Fault>;
    /// Octets to come that it need not see.
    fn unread(&self) -> u64;
    /// So many of those came; `true`: that was all.
    fn skipped(&mut self, octets: u64) -> bool;
}

/// How an exchange went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heeded {
    /// All octets were sent; otherwise the answer came early, and the connection is of no more use.
    pub sent_all: bool,
    /// The connection is at its end.
    pub ended: bool,
}

/// An exchange under way.
pub struct Exchange<'a, H> {
    /// Whose scratch space and counts are used.
    pub worker: &'a Worker,
    /// The connection.
    pub stream: &'a Stream,
    /// What is sent.
    pub octets: &'a [u8],
    /// How much of it has been.
    pub sent: usize,
    /// What is read.
    pub heard: &'a mut H,
    /// Something came.
    pub answered: bool,
}

impl<H> std::fmt::Debug for Exchange<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("sent", &self.sent).finish()
    }
}

impl<H: Heard> Exchange<'_, H> {
    /// Goes as far as it can without waiting.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heeded, Fault>> {
        if self.sent < self.octets.len() {
            self.send(cx)?;
        }
        loop {
            match self.stream.poll_ready(Direction::Read, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ready) => ready.map_err(Fault::exchanging)?,
            }
            match self.receive() {
                Ok(Some(heeded)) => return Poll::Ready(Ok(heeded)),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(fault)),
            }
        }
    }

    /// Sends until nothing goes. A server that does not want the rest may have answered all the same:
    /// what it said is read before the failure counts.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        while self.sent < self.octets.len() {
            match self.stream.poll_ready(Direction::Write, cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ready) => ready.map_err(Fault::exchanging)?,
            }
            match self.stream.write(&self.octets[self.sent..]) {
                Ok(taken) => {
                    let taken = taken.unwrap_or(0);
                    self.sent += taken;
                    self.worker.count_out(taken);
                }
                Err(error) if Fault::exchanging(error) == Fault::Reset => return Ok(()),
                Err(error) => return Err(Fault::exchanging(error)),
            }
        }
        Ok(())
    }

    /// One read; `None`: there is more to come.
    fn receive(&mut self) -> Result<Option<Heeded>, Fault> {
        let mut scratch = self.worker.scratch();
        let unread = self.heard.unread();
        let came = if unread > 0 {
            let most = usize::try_from(unread).unwrap_or(usize::MAX).min(scratch.len());
            self.stream.skip(&mut scratch[..most])
        } else {
            self.stream.read(&mut scratch)
        };
        let came = match came {
            Ok(Some(came)) => came,
            Ok(None) => return Ok(None),
            Err(error) => return Err(Fault::exchanging(error)),
        };
        let whole = if came == 0 {
            self.heard.end().map(|()| true)?
        } else if unread > 0 {
            self.heard.skipped(came as u64)
        } else {
            self.heard.take(&mut scratch[..came])?
        };
        self.answered |= came > 0;
        self.worker.count_in(came);
        let sent_all = self.sent == self.octets.len();
        Ok(whole.then_some(Heeded { sent_all, ended: came == 0 }))
    }

    /// The server closed the connection before it took notice of this exchange, as far as can be told.
    pub fn was_stale(&self, fault: Fault) -> bool {
        !self.answered && matches!(fault, Fault::Reset | Fault::ClosedEarly)
    }
}
