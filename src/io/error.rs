//! Why a wait, a read or a write on a stream came to nothing.

use std::fmt;

use rustix::io::Errno;

use super::tls_fault::TlsFault;

/// A failure. Small, copied, and never an allocation: it is made on paths that attackers choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The deadline of the wait has passed; the kernel's own, `ETIMEDOUT` of tcp(7), is one, too.
    Deadline,
    /// The core has been told to end everything.
    Aborted,
    /// The peer ended in order, before all was there.
    Closed,
    /// The kernel said so.
    Os(Errno),
    /// TLS says so, of a connection that travels through it.
    Tls(TlsFault),
}

/// A result of this room.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The process or the system has run out of descriptors, of memory for sockets, or of watches (socket(2),
    /// accept(2), epoll_ctl(2)): that says nothing of the peer.
    pub fn is_out_of_resources(self) -> bool {
        use Errno as E;
        matches!(self, Error::Os(E::MFILE | E::NFILE | E::NOBUFS | E::NOMEM | E::NOSPC))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Deadline => f.write_str("timed out"),
            Error::Aborted => f.write_str("aborted"),
            Error::Closed => f.write_str("closed too early"),
            Error::Os(errno) => std::io::Error::from(*errno).fmt(f),
            Error::Tls(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        if errno == Errno::TIMEDOUT { Error::Deadline } else { Error::Os(errno) }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Errno::from_io_error(&error).unwrap_or(Errno::INVAL).into()
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        match error {
            Error::Os(errno) => errno.into(),
            other => std::io::Error::other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_has_deadlines_of_its_own() {
        assert_eq!(Error::from(Errno::TIMEDOUT), Error::Deadline);
        assert_eq!(Error::from(std::io::Error::from(Errno::PIPE)), Error::Os(Errno::PIPE));
        // Of a connection that a client gave up in the queue, and no order to end.
        assert_eq!(Error::from(Errno::CONNABORTED), Error::Os(Errno::CONNABORTED));
    }

    #[test]
    fn a_lack_of_ours_says_nothing_of_the_peer() {
        for (error, ours) in [
            (Error::Os(Errno::MFILE), true),
            (Error::Os(Errno::NFILE), true),
            (Error::Os(Errno::CONNREFUSED), false),
            (Error::Deadline, false),
        ] {
            assert_eq!(error.is_out_of_resources(), ours, "{error}");
        }
    }
}
