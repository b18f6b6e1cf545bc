//! Octets from one stream to another, unchanged: what is to be moved, and moving it through buffers. Through a pipe:
//! see [`super::splice`].

use std::cell::Cell;
use std::time::Duration;

use super::buffer::{Quota, SIZE};
use super::error::Error;
use super::reactor::Direction;
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

impl Relay<'_> {
    /// Nothing is there, and nobody wants to wait.
    pub(super) fn must_stop(&self) -> bool {
        !self.patient && !self.from.is_readable()
    }

    /// Moves octets through buffers, and adds to `moved` as they leave: it is right also when the future is dropped.
    /// Takes one buffer from `quota` at a time, and only while there are octets in it.
    pub async fn copy(&self, quota: &Quota, moved: &Cell<u64>) -> Result<(), RelayError> {
        let mut left = self.limit;
        let mut slice = Slice::default();
        while left > 0 && !self.must_stop() {
            self.from.deadline_in(Direction::Read, self.read_wait);
            self.from.ready(Direction::Read).await.map_err(RelayError::From)?;
            let permit = quota.permit().await;
            let mut buf = if left > SIZE as u64 { permit.take_large() } else { permit.take() };
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
