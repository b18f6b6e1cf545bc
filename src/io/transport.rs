//! What a stream's octets go through on their way to the socket. So far all sockets are plain; TLS will be the second
//! kind, and [`Stream`](super::stream::Stream) is not to notice.
//!
//! What each kind owes:
//! - [`recv`](Transport::recv) that brings less than there was room for has emptied the socket, so that the next octets
//!   raise an edge;
//! - [`peek`](Transport::peek) sees what a reader would see. Records of a protocol's own are nothing to it: a session
//!   ticket must not cost a good idle connection.

use std::io::IoSlice;

use rustix::io::Errno;

use super::kernel::{self, Fd};

/// A connected socket and how octets travel on it. Nothing waits here: `EAGAIN` where it would.
#[derive(Debug)]
pub(super) enum Transport {
    /// As they are.
    Plain(Fd),
}

impl Transport {
    /// The descriptor that the reactor watches.
    pub fn fd(&self) -> &Fd {
        let Transport::Plain(fd) = self;
        fd
    }

    /// Reads into `octets`; 0: the end.
    pub fn recv(&self, octets: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Transport::Plain(fd) => kernel::recv(fd, octets),
        }
    }

    /// As [`Transport::recv`] for what nobody looks at: what `scratch` holds afterwards means nothing.
    pub fn skip(&self, scratch: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Transport::Plain(fd) => kernel::recv_trunc(fd, scratch),
        }
    }

    /// How many octets a read of one would bring. They stay where they are.
    pub fn peek(&self) -> Result<usize, Errno> {
        match self {
            Transport::Plain(fd) => kernel::peek(fd),
        }
    }

    /// Takes a part of `octets`, or all.
    pub fn send(&self, octets: &[u8]) -> Result<usize, Errno> {
        match self {
            Transport::Plain(fd) => kernel::send(fd, octets),
        }
    }

    /// As [`Transport::send`], of several parts, one behind the other.
    pub fn send_parts(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        match self {
            Transport::Plain(fd) => kernel::send_parts(fd, parts),
        }
    }

    /// Nothing more will be sent.
    pub fn finish(&self) -> Result<(), Errno> {
        match self {
            Transport::Plain(fd) => kernel::shutdown(fd),
        }
    }
}
