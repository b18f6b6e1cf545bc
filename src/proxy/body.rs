//! A message body on its way from one stream to another. Written once, for both directions.
//!
//! Octets that came together with the head are read by [`Body::absorb`] and leave together with the head by
//! [`Body::send_absorbed`]; [`Body::run`] moves the rest.
//!
//! Law: whatever reads octets of a body moves the cursor behind them in the same step, before anything is
//! sent. A send can fail; then the body would count as read, and its octets be read as the next request.

use std::cell::Cell;

use super::transfer::Upload;
use super::worker::Worker;
use crate::config::Timeouts;
use crate::http::body::{Decoder, Encoder};
use crate::http::{Framing, Reason};
use crate::io::Error;
use crate::io::buffer::{Buf, Quota};
use crate::io::reactor::Direction;
use crate::io::relay::{Means, Relay, RelayError};
use crate::io::splice::Copied;
use crate::io::stream::Stream;
use crate::io::turn::Slice;

/// Why a body did not get across.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyError {
    /// The sender closed too early, failed, or was silent for too long.
    From(Error),
    /// The receiver failed, or took nothing for too long.
    To(Error),
    /// It is malformed, or larger than allowed.
    Bad(Reason),
}

/// What [`Body::absorb`] read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absorbed {
    /// Octets that belong to the body; what follows belongs to the next message.
    pub taken: usize,
    /// Octets of payload, which lie at the front now.
    pub payload: usize,
}

/// A body and the two streams it goes between.
pub(super) struct Body<'a> {
    worker: &'a Worker,
    timeouts: &'a Timeouts,
    quota: &'a Quota,
    from: &'a Stream,
    to: &'a Stream,
    decoder: Decoder,
    encoder: Encoder,
    /// Octets of payload that may still come; `None`: there were more, so it was not read to its end.
    allowed: Option<u64>,
    /// Octets read by [`Body::run`], framing included.
    read: &'a Cell<u64>,
    /// Octets sent, with the head that goes before.
    sent: &'a Cell<u64>,
    /// Names that stay behind in the trailers.
    pub withheld: &'a [String],
    /// How the request fares whose answer this is.
    pub upload: Option<&'a Cell<Upload>>,
    /// What the sender sent after the end of a chunked body.
    pub surplus: Vec<u8>,
}

impl<'a> Body<'a> {
    /// A body framed as `came` says by the sender, and to be framed as `leaves` says.
    pub fn new(
        worker: &'a Worker,
        timeouts: &'a Timeouts,
        quota: &'a Quota,
        (from, came, read): (&'a Stream, Framing, &'a Cell<u64>),
        (to, leaves, sent): (&'a Stream, Framing, &'a Cell<u64>),
        most: Option<u64>,
    ) -> Body<'a> {
        Body {
            worker,
            timeouts,
            quota,
            from,
            to,
            decoder: Decoder::new(came),
            encoder: Encoder::new(leaves),
            allowed: Some(most.unwrap_or(u64::MAX)),
            read,
            sent,
            withheld: &[],
            upload: None,
            surplus: Vec::new(),
        }
    }

    /// The body is all there: nothing is left to be read.
    pub fn is_done(&self) -> bool {
        self.allowed.is_some() && self.decoder.is_done()
    }

    /// Reads what belongs to the body from the front of `octets`, changing them, and says how much that is.
    /// The caller moves its cursor by it at once: between the two nothing is waited for, and nothing can fail.
    pub fn absorb(&mut self, octets: &mut [u8]) -> Result<Absorbed, BodyError> {
        let decoded = self.decoder.decode(octets).map_err(BodyError::Bad)?;
        self.allowed = self.allowed.and_then(|allowed| allowed.checked_sub(decoded.payload as u64));
        self.allowed.ok_or(BodyError::Bad(Reason::BodyTooLarge))?;
        Ok(Absorbed { taken: decoded.consumed, payload: decoded.payload })
    }

    /// Appends `payload` to `out`, framed as it should leave, and the end of the body if this was all of it; then
    /// sends all that. Sends whenever `out` is full, too.
    pub async fn send_absorbed(&mut self, payload: &[u8], mut out: Buf) -> Result<(), BodyError> {
        let mut line = [0; Encoder::BEFORE];
        let [before, behind] = self.encoder.frame(payload.len(), &mut line);
        for mut part in [before, payload, behind, &self.end()] {
            while !part.is_empty() {
                let n = part.len().min(out.spare().len());
                // It fits: `n` is no more than there is room for.
                let _fits = out.append(&part[..n]);
                part = &part[n..];
                if !part.is_empty() {
                    let sent;
                    (sent, out) = self.send(out).await;
                    sent?;
                }
            }
        }
        self.send(out).await.0
    }

    /// Moves what is left, as it comes, to the end of the body.
    pub async fn run(&mut self) -> Result<(), BodyError> {
        let transforms =
            self.encoder == Encoder::Chunked || matches!(self.decoder, Decoder::Chunked(_));
        if transforms && !self.is_done() {
            self.worker.stats.copied[Copied::Transformed as usize].add(1);
        }
        let mut slice = Slice::default();
        loop {
            let plain = self.decoder.plain();
            if self.is_done() {
                return Ok(());
            } else if plain > 0 && self.encoder == Encoder::Plain {
                match self.relay(plain).await {
                    Err(BodyError::From(Error::Closed)) if self.ends_here() => {}
                    moved => moved?,
                }
                self.decoder.skip(plain);
            } else {
                let before = self.read.get();
                self.step().await?;
                if slice.spend(self.read.get() - before) {
                    self.from.reactor().next_turn().await;
                }
            }
        }
    }

    /// The sender has closed. `true`: that is the end of the body, and not one that a reset left: see
    /// [`Upload::Reset`].
    fn ends_here(&mut self) -> bool {
        let was_reset = self.upload.is_some_and(|upload| upload.get() == Upload::Reset);
        !was_reset && self.decoder.close()
    }

    /// Exactly `limit` octets, as they are.
    async fn relay(&mut self, limit: u64) -> Result<(), BodyError> {
        let timeouts = self.timeouts;
        let relay = Relay {
            from: self.from,
            to: self.to,
            limit,
            patient: true,
            read_wait: timeouts.read,
            write_wait: timeouts.write,
        };
        let before = self.sent.get();
        let (means, result) = relay.run(self.quota, &self.worker.core.pipes, self.sent).await;
        let moved = self.sent.get() - before;
        self.read.set(self.read.get() + moved);
        let stats = &self.worker.stats;
        match means {
            Means::Spliced => {
                stats.spliced.add(1);
                stats.spliced_bytes.add(moved);
            }
            Means::Copied(why) => stats.copied[why as usize].add(1),
        }
        result.map_err(|ended| match ended {
            RelayError::From(error) => BodyError::From(error),
            RelayError::To(error) => BodyError::To(error),
        })
    }

    /// One read, and what it brought framed anew and sent.
    async fn step(&mut self) -> Result<(), BodyError> {
        self.from.deadline_in(Direction::Read, self.timeouts.read);
        self.from.ready(Direction::Read).await.map_err(BodyError::From)?;
        let permit = self.quota.permit().await;
        let mut buf = permit.take();
        buf.clear(Encoder::BEFORE);
        let max = buf.spare().len() - Encoder::BEHIND;
        match self.from.try_recv(&mut buf, max) {
            Ok(None) => return Ok(()),
            Ok(Some(0)) if self.ends_here() => {}
            Ok(Some(0)) => return Err(BodyError::From(Error::Closed)),
            Ok(Some(n)) => self.read.set(self.read.get() + n as u64),
            Err(error) => return Err(BodyError::From(error)),
        }
        let Absorbed { taken, payload } = self.absorb(buf.filled_mut())?;
        self.surplus.extend_from_slice(&buf.filled()[taken..]);
        buf.truncate(payload);
        let mut line = [0; Encoder::BEFORE];
        let [before, behind] = self.encoder.frame(payload, &mut line);
        buf.prepend(before);
        let _fits = buf.append(behind);
        let end = self.end();
        if !buf.append(&end) {
            let sent;
            (sent, buf) = self.send(buf).await;
            sent?;
            // A trailer section is far smaller than a buffer.
            let _fits = buf.append(&end);
        }
        self.send(buf).await.0
    }

    async fn send(&mut self, buf: Buf) -> (Result<(), BodyError>, Buf) {
        let wait = self.timeouts.write;
        let (result, buf) = self.to.send(buf, wait, self.sent).await;
        (result.map_err(BodyError::To), buf)
    }

    /// What ends the body, once it is all there.
    fn end(&self) -> Vec<u8> {
        if !self.is_done() || self.encoder == Encoder::Plain {
            return Vec::new();
        }
        self.encoder.end(&self.decoder.trailers_without(self.withheld))
    }
}
