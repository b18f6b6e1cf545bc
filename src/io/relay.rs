//! Octets from one stream to another, unchanged. Written once; bodies in both directions and
//! tunnels use it.

use std::cell::Cell;
use std::time::Duration;

use super::buffer::Quota;
use super::error::Error;
use super::reactor::Direction;
use super::splice::{self, Copied, PipeGuard, Pipes};
use super::stream::Stream;
use super::turn::Slice;

/// What is to be moved.
#[derive(Debug)]
pub struct Relay<'a> {
    /// Where octets come from.
    pub from: &'a Stream,
    /// Where they go.
    pub to: &'a Stream,
    /// How many; `u64::MAX`: until the end.
    pub limit: u64,
    /// Waits for octets that are not there yet; else stops, with `Ok`, when there are none.
    pub patient: bool,
    /// How long the source may be silent.
    pub read_wait: Duration,
    /// How long the sink may take nothing.
    pub write_wait: Duration,
}

/// Why a relay stopped before its limit.
#[derive(Debug)]
pub enum RelayError {
    /// Reading failed: [`Error::Closed`] if the source ended, [`Error::Deadline`] after a silence.
    From(Error),
    /// Writing failed: [`Error::Deadline`] if nothing was taken.
    To(Error),
}

/// How octets were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Inside the kernel.
    Spliced,
    /// Through buffers, because.
    Copied(Copied),
}

impl Relay<'_> {
    /// Moves octets, and adds to `moved` as they leave: it is right also when the future is dropped. Takes
    /// one buffer from `quota` at a time, and only while there are octets in it.
    pub async fn run(
        &self,
        quota: &Quota,
        pipes: &Pipes,
        moved: &Cell<u64>,
    ) -> (Means, Result<(), RelayError>) {
        match splice::choose(pipes, self.limit) {
            Ok(loan) => (Means::Spliced, self.splice_and_copy(loan, quota, moved).await),
            Err(why) => (Means::Copied(why), self.copy(self.limit, quota, moved).await),
        }
    }

    /// Urgent data does not go through a pipe: what is left then is copied.
    async fn splice_and_copy(
        &self,
        pipe: PipeGuard<'_>,
        quota: &Quota,
        moved: &Cell<u64>,
    ) -> Result<(), RelayError> {
        let before = moved.get();
        self.splice(pipe, moved).await?;
        match self.limit - (moved.get() - before) {
            0 => Ok(()),
            left => Box::pin(self.copy(left, quota, moved)).await, // rare, and nobody else carries the room
        }
    }

    /// Nothing is there, and nobody wants to wait.
    pub(super) fn must_stop(&self) -> bool {
        !self.patient && !self.from.is_readable()
    }

    /// Moves octets through a pipe, as far as there are no urgent ones; otherwise as [`Relay::run`].
    pub async fn splice(&self, pipe: PipeGuard<'_>, moved: &Cell<u64>) -> Result<(), RelayError> {
        pipe.run(self, moved).await
    }

    async fn copy(
        &self,
        mut left: u64,
        quota: &Quota,
        moved: &Cell<u64>,
    ) -> Result<(), RelayError> {
        let mut slice = Slice::default();
        while left > 0 && !self.must_stop() {
            self.from.deadline_in(Direction::Read, self.read_wait);
            self.from.ready(Direction::Read).await.map_err(RelayError::From)?;
            let permit = quota.permit().await;
            let mut buf = permit.take();
            let max = usize::try_from(left).unwrap_or(usize::MAX);
            match self.from.try_recv(&mut buf, max).map_err(RelayError::From)? {
                None => {}
                Some(0) => return Err(RelayError::From(Error::Closed)),
                Some(n) => {
                    left -= n as u64;
                    self.to.send(buf, self.write_wait, moved).await.0.map_err(RelayError::To)?;
                    drop(permit);
                    if slice.spend(n as u64) {
                        self.from.reactor().next_turn().await;
                    }
                }
            }
        }
        Ok(())
    }
}
