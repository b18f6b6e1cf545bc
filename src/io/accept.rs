//! Connections that arrive.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::Errno;

use super::error::Result;
use super::kernel::{self, Fd};
use super::reactor::{Direction, Reactor};
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
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.poll_ready(Direction::Read, cx)
    }

    /// The next of the connections that wait, and its peer (`None` over a Unix socket). `None`: none
    /// waits, says the kernel. A peer that came over IPv4 has its IPv4 address, whatever it came to.
    ///
    /// # Errors
    /// Those of accept4(2), but for the ones that only concern a connection which is gone already.
    pub fn try_accept(&self) -> Result<Option<(Stream, Option<SocketAddr>)>> {
        loop {
            match kernel::accept(self.0.fd()) {
                Ok((fd, peer)) => {
                    let stream = Stream::new(fd, self.0.reactor())?;
                    return Ok(Some((stream, peer.map(canonical))));
                }
                Err(Errno::AGAIN) => {
                    self.0.clear(Direction::Read);
                    return Ok(None);
                }
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// An IPv4 peer of an IPv6 socket (`::ffff:192.0.2.1`) as the IPv4 peer it is: whoever logs it, forwards
/// it or looks it up in networks after this knows one form.
fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), peer.port()),
        IpAddr::V6(_) => peer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Address;
    use super::super::listen::bind;
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

    #[test]
    fn only_a_mapped_peer_changes() {
        let peer = |text: &str| <SocketAddr as std::str::FromStr>::from_str(text).unwrap();
        for (came, is) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
            ("[::ffff:0.0.0.0]:1", "0.0.0.0:1"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("[fe80::1%2]:80", "[fe80::1%2]:80"),
            ("[::1]:80", "[::1]:80"),
            // Compatible, and not mapped: deprecated, and no IPv4 connection comes so (RFC 4291 2.5.5.1).
            ("[::192.0.2.1]:80", "[::192.0.2.1]:80"),
        ] {
            assert_eq!(canonical(peer(came)), peer(is), "{came}");
        }
    }
}
