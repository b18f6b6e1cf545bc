//! Idle connections to one upstream, the one used last first out.

use std::cell::RefCell;
use std::task::{Context, Poll};
use std::time::Duration;

use super::lease::Connection;
use crate::io::reactor::Direction;
use crate::io::stream::Stream;

/// A stack of silent connections.
#[derive(Debug, Default)]
pub struct IdleConnections {
    connections: RefCell<Vec<Connection>>,
}

impl IdleConnections {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Keeps `connection` for up to `wait`, and has `reaper` woken when it turns readable or that has
    /// passed. Not kept: one that has something to say already, and one too many.
    pub fn put(
        &self,
        connection: Connection,
        wait: Duration,
        most: usize,
        reaper: &mut Context<'_>,
    ) {
        let stream = &connection.stream;
        stream.deadline_in(Direction::Read, wait);
        // A read that stopped at the end of its body says nothing about what follows.
        if stream.is_readable() && !stream.is_quiet() {
            return;
        }
        if self.len() < most && stream.poll_ready(Direction::Read, reaper).is_pending() {
            self.connections.borrow_mut().push(connection);
        }
    }

    /// The connection used last that is still silent.
    pub fn take(&self) -> Option<Connection> {
        let mut connections = self.connections.borrow_mut();
        while let Some(connection) = connections.pop() {
            let stream = &connection.stream;
            if !stream.is_readable() || (stream.is_secure() && stream.is_quiet()) {
                return Some(connection);
            }
        }
        None
    }

    /// Closes those that turned readable or were idle too long.
    pub fn sweep(&self, reaper: &mut Context<'_>) {
        self.connections.borrow_mut().retain_mut(|one| stays(&one.stream, reaper));
    }

    /// Closes those that were used longest ago, half of all, and says how many.
    pub fn close_oldest(&self) -> usize {
        let mut connections = self.connections.borrow_mut();
        let half = connections.len().div_ceil(2);
        connections.drain(..half).count()
    }

    /// Closes all.
    pub fn clear(&self) {
        self.connections.borrow_mut().clear();
    }
}

/// Is it silent still, with the reaper to be woken when it is not? What TLS says for itself (tickets, keys) is no octet
/// of anybody's.
fn stays(stream: &Stream, reaper: &mut Context<'_>) -> bool {
    match stream.poll_ready(Direction::Read, reaper) {
        Poll::Pending => true,
        Poll::Ready(Ok(())) if stream.is_secure() && stream.is_quiet() => {
            stream.poll_ready(Direction::Read, reaper).is_pending()
        }
        Poll::Ready(_) => false,
    }
}
