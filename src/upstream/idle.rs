//! Idle connections to one upstream, the one used last first out.

use std::cell::RefCell;
use std::task::Context;
use std::time::Duration;

use crate::io::reactor::Direction;
use crate::io::stream::Stream;

/// A stack of silent connections.
#[derive(Debug, Default)]
pub struct IdleConnections {
    streams: RefCell<Vec<Stream>>,
}

impl IdleConnections {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.streams.borrow().len()
    }

    /// Keeps `stream` for up to `wait`, and has `reaper` woken when it turns readable or that has
    /// passed. Not kept: one that has something to say already, and one too many.
    pub fn put(&self, stream: Stream, wait: Duration, most: usize, reaper: &mut Context<'_>) {
        stream.deadline_in(Direction::Read, wait);
        // A read that stopped at the end of its body says nothing about what follows.
        if stream.is_readable() && !stream.is_quiet() {
            return;
        }
        if self.len() < most && stream.poll_ready(Direction::Read, reaper).is_pending() {
            self.streams.borrow_mut().push(stream);
        }
    }

    /// The connection used last that is still silent.
    pub fn take(&self) -> Option<Stream> {
        let mut streams = self.streams.borrow_mut();
        while let Some(stream) = streams.pop() {
            if !stream.is_readable() {
                return Some(stream);
            }
        }
        None
    }

    /// Closes those that turned readable or were idle too long.
    pub fn sweep(&self, reaper: &mut Context<'_>) {
        let stays = |stream: &mut Stream| stream.poll_ready(Direction::Read, reaper).is_pending();
        self.streams.borrow_mut().retain_mut(stays);
    }

    /// Closes those that were used longest ago, half of all, and says how many.
    pub fn close_oldest(&self) -> usize {
        let mut streams = self.streams.borrow_mut();
        let half = streams.len().div_ceil(2);
        streams.drain(..half).count()
    }

    /// Closes all.
    pub fn clear(&self) {
        self.streams.borrow_mut().clear();
    }
}
