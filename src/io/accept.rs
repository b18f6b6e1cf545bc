//! Connections that arrive.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::Errno;

use super::kernel::{self, Fd};
use super::reactor::{Reactor, Way};
use super::stream::Stream;

/// A listening socket registered with a core's reactor.
#[derive(Debug)]
pub struct Listener(Stream);

impl Drop for Listener {
    fn drop(&mut self) {
        // Other descriptors may hold the same socket, in another core or another process. While they
        // do, closing this one would not take it off the kernel's list, and every connection would
        // wake us for nothing.
        self.0.reactor().leave(self.0.fd());
    }
}

impl Listener {
    /// Takes over a listening, non-blocking socket.
    pub fn new(socket: Fd, reactor: &Rc<Reactor>) -> io::Result<Listener> {
        Ok(Listener(Stream::new(socket, reactor)?))
    }

    /// Waits until a connection may be waiting.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(Way::Read, cx)
    }

    /// The next of the connections that wait, and its peer (`None` over a Unix socket). `None`: none
    /// waits, says the kernel.
    ///
    /// # Errors
    /// Those of accept4(2), but for the ones that only concern a connection which is gone already.
    pub fn try_accept(&self) -> io::Result<Option<(Stream, Option<SocketAddr>)>> {
        loop {
            match kernel::accept(self.0.fd()) {
                Ok((fd, peer)) => return Ok(Some((Stream::new(fd, self.0.reactor())?, peer))),
                Err(Errno::AGAIN) => {
                    self.0.clear(Way::Read);
                    return Ok(None);
                }
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::listen::bind;
    use super::super::stream::Address;
    use super::*;
    use socket2::{Domain, Socket, Type};

    #[test]
    fn a_listener_that_is_dropped_is_not_woken_by_others_of_its_socket() {
        let bound = bind(&Address::Tcp(([127, 0, 0, 1], 0).into()), 1).unwrap();
        let Address::Tcp(address) = bound.address else { unreachable!("bound to TCP") };
        let reactor = Rc::new(Reactor::new().unwrap());
        let wakes = || {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.connect(&address.into()).unwrap();
            reactor.turn(true).unwrap().events > 0
        };
        let copy = bound.sockets[0].try_clone().unwrap();
        let listener = Listener::new(copy, &reactor).unwrap();
        assert!(wakes());
        drop(listener);
        assert!(!wakes());
    }
}
