//! A message body on its way from one stream to another. Written once, for both directions.
//!
//! Octets that came together with the head are read by [`Body::absorb`] and leave together with the head by
//! [`Body::send_absorbed`]; [`Body::run`] moves the rest.
//!
//! Law: whatever reads octets of a body moves the cursor behind them in the same step, before anything is
//! sent. A send can fail; then the body would count as read, and its octets be read as the next request.

use std::cell::Cell;
use std::io;

use super::progress::Upload;
use super::worker::Worker;
use crate::config::Timeouts;
use crate::http::chunked::{self, Decoder};
use crate::http::{Framing, Reason};
use crate::io::buffer::{Buf, Quota};
use crate::io::reactor::Direction;
use crate::io::relay::{Ended, Means, Relay};
use crate::io::splice::Copied;
use crate::io::stream::Stream;
use crate::io::turn::Slice;

/// Octets left free before a payload for its chunk-size line, and behind it for the end of the chunk
/// and of the body.
const CHUNK_ROOM: usize = 18;
const CHUNK_END: &[u8] = b"\r\n";

/// Why a body did not get across.
#[derive(Debug)]
pub(super) enum Cut {
    /// The sender closed too early, failed, or was silent for too long.
    From(Option<io::Error>),
    /// The receiver failed, or took nothing for too long.
    To(io::Error),
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

/// How the sender marks the end, and how far we are.
enum Source {
    /// So many octets are left.
    Length(u64),
    Chunked(Box<Decoder>),
    UntilClose,
    /// Nothing is left.
    Done,
}

/// A body and the two streams it goes between.
pub(super) struct Body<'a> {
    worker: &'a Worker,
    timeouts: &'a Timeouts,
    share: &'a Quota,
    from: &'a Stream,
    to: &'a Stream,
    source: Source,
    /// It leaves in chunks.
    chunked: bool,
    /// Octets of payload that may still come.
    allowed: u64,
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
    /// Trailer lines of a chunked body, filtered and ready to be sent.
    trailers: Vec<u8>,
}

impl<'a> Body<'a> {
    /// A body framed as `came` says by the sender, and to be framed as `leaves` says.
    pub fn new(
        worker: &'a Worker,
        timeouts: &'a Timeouts,
        share: &'a Quota,
        (from, came, read): (&'a Stream, Framing, &'a Cell<u64>),
        (to, leaves, sent): (&'a Stream, Framing, &'a Cell<u64>),
        most: Option<u64>,
    ) -> Body<'a> {
        let source = match came {
            Framing::None => Source::Done,
            Framing::Length(length) => Source::Length(length),
            Framing::Chunked => Source::Chunked(Box::default()),
            Framing::UntilClose => Source::UntilClose,
        };
        Body {
            worker,
            timeouts,
            share,
            from,
            to,
            source,
            chunked: leaves == Framing::Chunked,
            allowed: most.unwrap_or(u64::MAX),
            read,
            sent,
            withheld: &[],
            upload: None,
            surplus: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// The body is all there: nothing is left to be read.
    pub fn is_done(&self) -> bool {
        matches!(self.source, Source::Done)
    }

    /// Reads what belongs to the body from the front of `octets`, changing them, and says how much that is.
    /// The caller moves its cursor by it at once: between the two nothing is waited for, and nothing can fail.
    pub fn absorb(&mut self, octets: &mut [u8]) -> Result<Absorbed, Cut> {
        let (taken, payload) = self.advance(octets)?;
        Ok(Absorbed { taken, payload })
    }

    /// Appends `payload` to `out`, framed as it should leave, and the end of the body if this was all of it; then
    /// sends all that. Sends whenever `out` is full, too.
    pub async fn send_absorbed(&mut self, payload: &[u8], mut out: Buf) -> Result<(), Cut> {
        let mut line = [0; CHUNK_ROOM];
        let framed = self.chunked && !payload.is_empty();
        let mut parts = [&[][..]; 4];
        parts[0] = if framed { chunked::size_line(payload.len() as u64, &mut line) } else { &[] };
        parts[1] = payload;
        parts[2] = if framed { CHUNK_END } else { &[] };
        let end = if self.chunked && self.is_done() { self.end() } else { Vec::new() };
        parts[3] = &end;
        for mut part in parts {
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
    pub async fn run(&mut self) -> Result<(), Cut> {
        if !self.is_done() && (self.chunked || matches!(self.source, Source::Chunked(_))) {
            self.worker.stats.copied[Copied::Transformed as usize].add(1);
        }
        let mut slice = Slice::default();
        loop {
            match &self.source {
                Source::Done => return Ok(()),
                Source::Length(left) => {
                    let left = *left;
                    self.relay(left).await?;
                    self.source = Source::Done;
                }
                Source::UntilClose if !self.chunked => match self.relay(u64::MAX).await {
                    Ok(()) => self.source = Source::Done,
                    Err(Cut::From(None)) if !self.was_reset() => self.source = Source::Done,
                    Err(cut) => return Err(cut),
                },
                _ => {
                    let before = self.read.get();
                    self.step().await?;
                    if slice.spend(self.read.get() - before) {
                        self.from.reactor().next_turn().await;
                    }
                }
            }
        }
    }

    /// The end that can be read is none: see [`Upload::Reset`].
    fn was_reset(&self) -> bool {
        self.upload.is_some_and(|upload| upload.get() == Upload::Reset)
    }

    /// Exactly `limit` octets, as they are.
    async fn relay(&mut self, limit: u64) -> Result<(), Cut> {
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
        let (means, result) = relay.run(self.share, &self.worker.core.pipes, self.sent).await;
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
            Ended::Early => Cut::From(None),
            Ended::From(error) => Cut::From(Some(error)),
            Ended::To(error) => Cut::To(error),
        })
    }

    /// One read, and what it brought framed anew and sent.
    async fn step(&mut self) -> Result<(), Cut> {
        self.from.deadline_in(Direction::Read, self.timeouts.read);
        self.from.ready(Direction::Read).await.map_err(|error| Cut::From(Some(error)))?;
        let hold = self.share.hold().await;
        let mut buf = hold.take();
        buf.clear(CHUNK_ROOM);
        let max = buf.spare().len() - CHUNK_END.len() - chunked::LAST.len() - CHUNK_END.len();
        match self.from.try_recv(&mut buf, max) {
            Ok(None) => return Ok(()),
            Ok(Some(0)) if matches!(self.source, Source::UntilClose) && !self.was_reset() => {
                self.source = Source::Done;
            }
            Ok(Some(0)) => return Err(Cut::From(None)),
            Ok(Some(n)) => self.read.set(self.read.get() + n as u64),
            Err(error) => return Err(Cut::From(Some(error))),
        }
        let (taken, payload) = self.advance(buf.filled_mut())?;
        self.surplus.extend_from_slice(&buf.filled()[taken..]);
        buf.truncate(payload);
        if self.chunked {
            if payload > 0 {
                buf.prepend(chunked::size_line(payload as u64, &mut [0; CHUNK_ROOM]));
                let _fits = buf.append(CHUNK_END);
            }
            if self.is_done() {
                let end = self.end();
                if !buf.append(&end) {
                    let sent;
                    (sent, buf) = self.send(buf).await;
                    sent?;
                    // A trailer section is far smaller than a buffer.
                    let _fits = buf.append(&end);
                }
            }
        }
        self.send(buf).await.0
    }

    async fn send(&mut self, buf: Buf) -> (Result<(), Cut>, Buf) {
        let wait = self.timeouts.write;
        let (result, buf) = self.to.send(buf, wait, self.sent).await;
        (result.map_err(Cut::To), buf)
    }

    /// Reads `octets` as body: how many belong to it, and how many octets of payload now lie at the front.
    fn advance(&mut self, octets: &mut [u8]) -> Result<(usize, usize), Cut> {
        let (taken, payload, ends) = match &mut self.source {
            Source::Done => (0, 0, true),
            Source::UntilClose => (octets.len(), octets.len(), false),
            Source::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                *left -= n as u64;
                (n, n, *left == 0)
            }
            Source::Chunked(decoder) => {
                let decoded = decoder.decode(octets).map_err(Cut::Bad)?;
                if decoded.done {
                    self.trailers = decoder.trailers_without(self.withheld);
                }
                (decoded.consumed, decoded.payload, decoded.done)
            }
        };
        self.allowed =
            self.allowed.checked_sub(payload as u64).ok_or(Cut::Bad(Reason::BodyTooLarge))?;
        // Not before: what is refused was not read to its end, and nothing may follow it.
        if ends {
            self.source = Source::Done;
        }
        Ok((taken, payload))
    }

    /// The end of a chunked body: the last chunk, the trailers, an empty line.
    fn end(&self) -> Vec<u8> {
        [chunked::LAST, &self.trailers, CHUNK_END].concat()
    }
}
