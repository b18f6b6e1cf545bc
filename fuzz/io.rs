//! TLS on a socket in memory, which the peer fills and empties as it likes.

#[expect(dead_code, reason = "what `Stream` needs besides")]
#[path = "../src/io/tls/mod.rs"]
pub mod tls;
#[path = "../src/io/tls_fault.rs"]
pub mod tls_fault;

mod kernel {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use rustix::io::Errno;

    /// A socket.
    #[derive(Default)]
    pub struct Fd {
        pub incoming: RefCell<VecDeque<u8>>,
        pub outgoing: RefCell<Vec<u8>>,
        /// So many octets are sent at once at most, and so many more are taken.
        pub at_once: Cell<usize>,
        pub room: Cell<usize>,
        /// Nothing more comes.
        pub ended: Cell<bool>,
    }

    pub fn recv(fd: &Fd, octets: &mut [u8]) -> Result<usize, Errno> {
        let mut incoming = fd.incoming.borrow_mut();
        let n = incoming.len().min(octets.len());
        if n == 0 {
            return if fd.ended.get() { Ok(0) } else { Err(Errno::AGAIN) };
        }
        octets.iter_mut().zip(incoming.drain(..n)).for_each(|(to, from)| *to = from);
        Ok(n)
    }

    pub fn send(fd: &Fd, octets: &[u8]) -> Result<usize, Errno> {
        let n = octets.len().min(fd.at_once.get()).min(fd.room.get());
        fd.outgoing.borrow_mut().extend(&octets[..n]);
        fd.room.set(fd.room.get() - n);
        if n == 0 { Err(Errno::AGAIN) } else { Ok(n) }
    }
}

use rustix::io::Errno;

use tls::Tls;
use tls_fault::TlsFault;

/// What an end may keep for what is under way: a chain of certificates that has not come whole, what was opened of
/// it, and four records.
const KEPT_MOST: usize = 256 * 1024;

/// Our end of a connection.
pub struct End {
    tls: Tls,
    socket: kernel::Fd,
}

impl End {
    pub fn new(tls: Tls) -> End {
        let socket = kernel::Fd::default();
        socket.at_once.set(usize::MAX);
        socket.room.set(usize::MAX);
        End { tls, socket }
    }

    /// The way takes so many octets at once, and so many more.
    pub fn narrow(&self, at_once: usize, room: usize) {
        self.socket.at_once.set(at_once);
        self.socket.room.set(room);
    }

    /// Octets come from the peer.
    pub fn come(&self, octets: &[u8]) {
        self.socket.incoming.borrow_mut().extend(octets);
    }

    /// Nothing more comes.
    pub fn ends(&self) {
        self.socket.ended.set(true);
    }

    /// What has left since this was last asked.
    pub fn left(&self) -> Vec<u8> {
        self.socket.outgoing.take()
    }

    pub fn handshake(&self) -> Result<(), Errno> {
        self.checked(self.tls.handshake(&self.socket))
    }

    pub fn recv(&self, octets: &mut [u8]) -> Result<usize, Errno> {
        let received = self.tls.recv(&self.socket, octets);
        // Less than there was room for: the next octets are told of, or there are none.
        if received.is_ok_and(|n| n < octets.len()) {
            assert!(self.tls.is_over() || self.socket.incoming.borrow().is_empty());
        }
        self.checked(received)
    }

    pub fn peek(&self) -> Result<usize, Errno> {
        self.checked(self.tls.peek(&self.socket))
    }

    pub fn send(&self, octets: &[u8]) -> Result<usize, Errno> {
        self.checked(self.tls.send(&self.socket, octets))
    }

    pub fn finish(&self) -> Result<(), Errno> {
        self.checked(self.tls.finish(&self.socket))
    }

    pub fn fault(&self) -> Option<TlsFault> {
        self.tls.fault()
    }

    fn checked<T>(&self, result: Result<T, Errno>) -> Result<T, Errno> {
        let kept = self.tls.kept();
        assert!(kept <= KEPT_MOST, "{kept} octets are kept");
        result
    }
}
