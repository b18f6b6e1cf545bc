//! What a stream's octets go through on their way to the socket: nothing, or TLS. [`Stream`](super::stream::Stream)
//! does not notice.
//!
//! What each kind owes:
//! - [`recv`](Transport::recv) that brings less than there was room for has emptied the socket, so that the next octets
//!   raise an edge, or [has come to the end](Transport::is_over);
//! - [`peek`](Transport::peek) sees what a reader would see. Records of a protocol's own are nothing to it: a session
//!   ticket must not cost a good idle connection.

use std::io::IoSlice;

use rustix::io::Errno;

use super::error::Error;
use super::kernel::{self, Fd};
#[cfg(feature = "tls")]
use super::tls::Tls;

/// A connected socket and how octets travel on it. Nothing waits here: `EAGAIN` where it would.
pub(super) struct Transport {
    fd: Fd,
    /// `None`: they travel as they are.
    #[cfg(feature = "tls")]
    pub tls: Option<Box<Tls>>,
}

/// The TLS of a transport, if it has any: nothing in a build without.
macro_rules! through {
    ($transport:ident, $tls:ident => $secure:expr, $plain:expr) => {{
        #[cfg(feature = "tls")]
        if let Some($tls) = &$transport.tls {
            return $secure;
        }
        $plain
    }};
}

/// A close without close_notify looks like a truncation.
#[cfg(feature = "tls")]
impl Drop for Transport {
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            let _ = tls.finish(&self.fd); // as far as the kernel takes it now
        }
    }
}

impl Transport {
    /// Octets travel as they are.
    pub fn plain(fd: Fd) -> Transport {
        Transport {
            fd,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The close that follows is not to look like an end.
    pub fn cut(&self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.cut();
        }
    }

    /// Why `errno` came, where TLS knows more of it.
    #[cold]
    pub fn error(&self, errno: Errno) -> Error {
        #[cfg(feature = "tls")]
        if errno == Errno::PROTO
            && let Some(fault) = self.tls.as_ref().and_then(|tls| tls.fault())
        {
            return Error::Tls(fault);
        }
        errno.into()
    }

    /// Octets travel through TLS.
    pub fn is_secure(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// The descriptor that the reactor watches.
    pub fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Reads into `octets`; 0: the end.
    pub fn recv(&self, octets: &mut [u8]) -> Result<usize, Errno> {
        through!(self, tls => tls.recv(&self.fd, octets), kernel::recv(&self.fd, octets))
    }

    /// Nothing but the end, or an error, is left to be read, and no edge will tell.
    pub fn is_over(&self) -> bool {
        through!(self, tls => tls.is_over(), false)
    }

    /// As [`Transport::recv`] for what nobody looks at: what `scratch` holds afterwards means nothing.
    pub fn skip(&self, scratch: &mut [u8]) -> Result<usize, Errno> {
        through!(self, tls => tls.recv(&self.fd, scratch), kernel::recv_trunc(&self.fd, scratch))
    }

    /// How many octets a read of one would bring. They stay where they are.
    pub fn peek(&self) -> Result<usize, Errno> {
        through!(self, tls => tls.peek(&self.fd), kernel::peek(&self.fd))
    }

    /// Takes a part of `octets`, or all.
    pub fn send(&self, octets: &[u8]) -> Result<usize, Errno> {
        through!(self, tls => tls.send(&self.fd, octets), kernel::send(&self.fd, octets))
    }

    /// As [`Transport::send`], of several parts, one behind the other.
    pub fn send_parts(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        through!(self, tls => tls.send_parts(&self.fd, parts), kernel::send_parts(&self.fd, parts))
    }

    /// Nothing more will be sent. `EAGAIN` where that has to be announced and could not be yet.
    pub fn finish(&self) -> Result<(), Errno> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls
            && tls.finish(&self.fd) == Err(Errno::AGAIN)
        {
            return Err(Errno::AGAIN);
        }
        kernel::shutdown(&self.fd)
    }
}
