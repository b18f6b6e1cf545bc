//! A message body on its way: out of a source, through stages, into a sink. Written once, for both directions.
//!
//! Octets that came together with the head are read by [`Body::absorb`] and leave together with the head by
//! [`Body::send_absorbed`]; [`Body::run`] moves the rest.
//!
//! Law: whatever reads octets of a body moves the cursor behind them in the same step, before anything is
//! sent. A send can fail; then the body would count as read, and its octets be read as the next request.

use std::cell::Cell;

use super::super::core::Worker;
use super::super::decide::BodyError;
use super::super::session::Exchange;
use super::transfer::Upload;
use crate::config::{ExchangeSpec, Timeouts};
use crate::http::body::{Decoder, Encoder};
use crate::http::{Framing, Reason};
use crate::io::Error;
use crate::io::buffer::{Buf, Quota};
use crate::io::reactor::Direction;
use crate::io::relay::{Relay, RelayError};
use crate::io::splice::{self, Copied, PipeGuard};
use crate::io::stream::Stream;
use crate::io::turn::Slice;

/// Where a body comes from.
pub(super) struct Source<'a> {
    stream: &'a Stream,
    decoder: Decoder,
    /// Octets read by [`Body::run`], framing included.
    read: &'a Cell<u64>,
    /// How the request fares whose answer this is.
    pub upload: Option<&'a Cell<Upload>>,
    /// What was read behind the end of a chunked body.
    surplus: Vec<u8>,
}

/// What looks at payload on its way, or changes it. Plain bodies have none.
pub(super) enum Stage {
    /// Counts down, and refuses what is too much.
    Limit { left: u64 },
}

/// Where it goes.
pub(super) struct Sink<'a> {
    stream: &'a Stream,
    encoder: Encoder,
    /// Octets sent, with the head that goes before.
    sent: &'a Cell<u64>,
    /// Names that stay behind in the trailers.
    pub withheld: &'a [&'a [String]],
}

/// Counts octets that leave as they came: so many were read as were sent, also where the body is given up meanwhile.
struct ReadAsSent<'a> {
    read: &'a Cell<u64>,
    sent: &'a Cell<u64>,
    /// What was sent before.
    before: u64,
}

impl Drop for ReadAsSent<'_> {
    fn drop(&mut self) {
        self.read.set(self.read.get() + self.sent.get() - self.before);
    }
}

/// What [`Body::absorb`] read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absorbed {
    /// Octets that belong to the body; what follows belongs to the next message.
    pub taken: usize,
    /// Octets of payload, which lie at the front now.
    pub payload: usize,
}

/// A body under way.
pub(super) struct Body<'a> {
    worker: &'a Worker,
    timeouts: &'a Timeouts,
    quota: &'a Quota,
    source: Source<'a>,
    stages: Vec<Stage>,
    sink: Sink<'a>,
    /// A stage has refused it, so it was not read to its end, whatever the decoder says.
    refused: bool,
}

impl<'a> Source<'a> {
    /// A body framed as `framing` says; `read` counts its octets.
    #[inline]
    pub fn new(stream: &'a Stream, framing: Framing, read: &'a Cell<u64>) -> Source<'a> {
        let decoder = Decoder::new(framing);
        Source { stream, decoder, read, upload: None, surplus: Vec::new() }
    }

    /// The sender has closed. `true`: that is the end of the body, and not one that a reset left: see
    /// [`Upload::Reset`].
    fn ends_here(&mut self) -> bool {
        let was_reset = self.upload.is_some_and(|upload| upload.get() == Upload::Reset);
        !was_reset && self.decoder.close()
    }
}

impl Stage {
    /// So many octets of payload come through.
    fn pass(&mut self, octets: usize) -> Result<(), Reason> {
        match self {
            Stage::Limit { left } => {
                *left = left.checked_sub(octets as u64).ok_or(Reason::BodyTooLarge)?;
                Ok(())
            }
        }
    }
}

impl<'a> Sink<'a> {
    /// Framed as `framing` says; `sent` counts octets.
    #[inline]
    pub fn new(stream: &'a Stream, framing: Framing, sent: &'a Cell<u64>) -> Sink<'a> {
        Sink { stream, encoder: Encoder::new(framing), sent, withheld: &[] }
    }
}

impl<'a> Body<'a> {
    /// A body of `exchange`.
    #[inline]
    pub fn new(
        exchange: &'a Exchange,
        spec: &'a ExchangeSpec,
        source: Source<'a>,
        stages: Vec<Stage>,
        sink: Sink<'a>,
    ) -> Body<'a> {
        let Exchange { worker, quota, .. } = exchange;
        let timeouts = &spec.timeouts;
        Body { worker, timeouts, quota, source, stages, sink, refused: false }
    }

    /// The body is all there: nothing is left to be read.
    pub fn is_done(&self) -> bool {
        !self.refused && self.source.decoder.is_done()
    }

    /// What was read and is not the body's.
    pub fn surplus(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.source.surplus)
    }

    /// Reads what belongs to the body from the front of `octets`, changing them, and says how much that is.
    /// The caller moves its cursor by it at once: between the two nothing is waited for, and nothing can fail.
    pub fn absorb(&mut self, octets: &mut [u8]) -> Result<Absorbed, BodyError> {
        let decoded = self.source.decoder.decode(octets).map_err(BodyError::Bad)?;
        let passed = self.stages.iter_mut().try_for_each(|stage| stage.pass(decoded.payload));
        self.refused = passed.is_err();
        passed.map_err(BodyError::Bad)?;
        Ok(Absorbed { taken: decoded.consumed, payload: decoded.payload })
    }

    /// Sends `out` and, behind it, `payload`, framed as it should leave, and the end of the body if this was all of it.
    pub async fn send_absorbed(&mut self, payload: &[u8], out: Buf) -> Result<(), BodyError> {
        let mut line = [0; Encoder::BEFORE];
        let [before, behind] = self.sink.encoder.frame(payload.len(), &mut line);
        let end = self.end();
        let parts = [before, payload, behind, &end];
        let Sink { stream, sent, .. } = self.sink;
        stream.send_with(out, parts, self.timeouts.write, sent).await.0.map_err(BodyError::To)
    }

    /// Moves what is left, as it comes, to the end of the body.
    pub async fn run(&mut self) -> Result<(), BodyError> {
        if self.transforms() && !self.is_done() {
            self.worker.stats.copied[Copied::Transformed as usize].add(1);
        }
        let mut slice = Slice::default();
        while !self.is_done() {
            if self.transforms() {
                let before = self.source.read.get();
                self.step().await?;
                if slice.spend(self.source.read.get() - before) {
                    self.source.stream.reactor().next_turn().await;
                }
            } else {
                self.relay().await?;
            }
        }
        Ok(())
    }

    /// Octets are looked at, or leave in another way than they came.
    fn transforms(&self) -> bool {
        let Body { source, stages, sink, .. } = self;
        source.decoder.plain() == 0 || sink.encoder == Encoder::Chunked || !stages.is_empty()
    }

    /// A pipe for octets that leave as they came, or the reason why they are copied.
    fn pipe(&self, octets: u64) -> Result<PipeGuard<'a>, Copied> {
        let core = &self.worker.core;
        let is_sealed = self.source.stream.is_secure() || self.sink.stream.is_secure();
        match octets {
            _ if self.transforms() => Err(Copied::Transformed),
            _ if is_sealed => Err(Copied::Tls),
            0..splice::WORTHWHILE => Err(Copied::Short),
            ..splice::WORTHWHILE_ALWAYS if core.pool.has_large() => Err(Copied::Large),
            _ => core.pipes.take().ok_or(Copied::NoPipe),
        }
    }

    /// All octets that leave as they came.
    async fn relay(&mut self) -> Result<(), BodyError> {
        let octets = self.source.decoder.plain();
        let relay = Relay {
            from: self.source.stream,
            to: self.sink.stream,
            limit: octets,
            patient: true,
            read_wait: self.timeouts.read,
            write_wait: self.timeouts.write,
        };
        let sent = self.sink.sent;
        let before = sent.get();
        let _counted = ReadAsSent { read: self.source.read, sent, before };
        let stats = &self.worker.stats;
        let result = match self.pipe(octets) {
            Ok(pipe) => {
                let result = splice::run(&relay, pipe, sent).await;
                stats.spliced.add(1);
                stats.spliced_bytes.add(sent.get() - before);
                match (result, octets - (sent.get() - before)) {
                    // Urgent data does not go through a pipe. Boxed: that is rare, and nobody else carries the room.
                    (Ok(()), left) if left > 0 => {
                        Box::pin(Relay { limit: left, ..relay }.copy(self.quota, sent)).await
                    }
                    (result, _) => result,
                }
            }
            Err(why) => {
                stats.copied[why as usize].add(1);
                relay.copy(self.quota, sent).await
            }
        };
        match result {
            Err(RelayError::From(Error::Closed)) if self.source.ends_here() => {}
            Err(RelayError::From(error)) => return Err(BodyError::From(error)),
            Err(RelayError::To(error)) => return Err(BodyError::To(error)),
            Ok(()) => {}
        }
        self.source.decoder.skip(octets);
        Ok(())
    }

    /// One read, and what it brought framed anew and sent.
    async fn step(&mut self) -> Result<(), BodyError> {
        let from = self.source.stream;
        from.deadline_in(Direction::Read, self.timeouts.read);
        from.ready(Direction::Read).await.map_err(BodyError::From)?;
        let permit = self.quota.permit().await;
        // What is behind the body of a request has to fit the buffer with the next request's head.
        let is_answer = self.source.upload.is_some();
        let mut buf = if is_answer { permit.take_large() } else { permit.take() };
        buf.clear(Encoder::BEFORE);
        let max = buf.spare().len() - Encoder::BEHIND;
        match from.try_recv(&mut buf, max) {
            Ok(None) => return Ok(()),
            Ok(Some(0)) if self.source.ends_here() => {}
            Ok(Some(0)) => return Err(BodyError::From(Error::Closed)),
            Ok(Some(n)) => self.source.read.set(self.source.read.get() + n as u64),
            Err(error) => return Err(BodyError::From(error)),
        }
        let Absorbed { taken, payload } = self.absorb(buf.filled_mut())?;
        self.source.surplus.extend_from_slice(&buf.filled()[taken..]);
        buf.truncate(payload);
        let mut line = [0; Encoder::BEFORE];
        let [before, behind] = self.sink.encoder.frame(payload, &mut line);
        buf.prepend(before);
        let end = self.end();
        let Sink { stream, sent, .. } = self.sink;
        let parts = [behind, &end, &[], &[]];
        stream.send_with(buf, parts, self.timeouts.write, sent).await.0.map_err(BodyError::To)
    }

    /// What ends the body, once it is all there.
    fn end(&self) -> Vec<u8> {
        if !self.is_done() || self.sink.encoder == Encoder::Plain {
            return Vec::new();
        }
        self.sink.encoder.end(&self.source.decoder.trailers_without(self.sink.withheld))
    }
}
