//! The sending side of a connection: small things go through a buffer, large bodies from where they lie.

use std::io::IoSlice;

use rustix::io::Errno;

use super::pattern::PatternRange;
use crate::http::body::Encoder;
use crate::http::write::{Full, Writer};
use crate::io::Result;
use crate::io::buffer::Buf;
use crate::io::reactor::Direction;
use crate::io::stream::Stream;
use crate::io::turn::Slice;

/// The sending side of a connection. A client may be as slow as it likes: so are those that proxies are tried with.
pub(super) struct ResponseWriter<'s> {
    stream: &'s Stream,
    /// What is made and not yet sent.
    buf: Buf,
    slice: Slice,
}

impl<'s> ResponseWriter<'s> {
    pub fn new(stream: &'s Stream, buf: Buf) -> ResponseWriter<'s> {
        ResponseWriter { stream, buf, slice: Slice::default() }
    }

    /// Appends `octets`; waits where they do not fit the buffer.
    pub async fn put(&mut self, mut octets: &[u8]) -> Result<()> {
        loop {
            let spare = self.buf.spare();
            let (now, later) = octets.split_at(octets.len().min(spare.len()));
            spare[..now.len()].copy_from_slice(now);
            self.buf.fill(now.len());
            if later.is_empty() {
                return Ok(());
            }
            octets = later;
            self.flush().await?;
        }
    }

    /// Appends `payload` in its framing.
    pub async fn put_framed(&mut self, encoder: Encoder, payload: &[u8]) -> Result<()> {
        let mut line = [0; Encoder::BEFORE];
        let [before, behind] = encoder.frame(payload.len(), &mut line);
        self.put(before).await?;
        self.put(payload).await?;
        self.put(behind).await
    }

    /// Appends what `write` writes, in one piece. Fails where that is larger than a buffer.
    pub async fn write(
        &mut self,
        write: impl Fn(&mut Writer) -> std::result::Result<(), Full>,
    ) -> Result<()> {
        loop {
            let mut writer = Writer::new(self.buf.spare());
            if write(&mut writer).is_ok() {
                let written = writer.len();
                self.buf.fill(written);
                return Ok(());
            }
            if self.buf.is_empty() {
                return Err(Errno::NOBUFS.into());
            }
            self.flush().await?;
        }
    }

    /// Sends all that was made.
    pub async fn flush(&mut self) -> Result<()> {
        while !self.buf.is_empty() {
            self.stream.ready(Direction::Write).await?;
            let sent = self.stream.write(self.buf.filled())?.unwrap_or(0);
            self.buf.consume(sent);
            self.spend(sent).await;
        }
        Ok(())
    }

    /// Sends what was made, `part` behind it, and `last`, of some KiB at most, behind that.
    pub async fn send(&mut self, mut part: PatternRange, last: &[u8]) -> Result<()> {
        if self.buf.spare().len() < last.len() {
            self.flush().await?;
        }
        let mut front = self.buf.len();
        self.put(last).await?;
        while part.left() > 0 {
            self.stream.ready(Direction::Write).await?;
            let (before, behind) = self.buf.filled().split_at(front);
            let piece = part.piece();
            let behind = if piece.len() as u64 == part.left() { behind } else { &[] };
            let parts = [before, piece, behind].map(IoSlice::new);
            let sent = self.stream.write_parts(&parts)?.unwrap_or(0);
            let of_before = sent.min(front);
            let of_piece = (sent - of_before).min(piece.len());
            front -= of_before;
            part.advance(of_piece);
            self.buf.consume(sent - of_piece);
            self.spend(sent).await;
        }
        self.flush().await
    }

    /// Lets others have their turn when this one had its own.
    async fn spend(&mut self, octets: usize) {
        if self.slice.spend(octets as u64) {
            self.stream.reactor().next_turn().await;
        }
    }
}
