//! The system calls that neither rustix nor socket2 nor std offers, and with them all `unsafe` of tidegate.

#![expect(unsafe_code, reason = "this file is where it is allowed")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Octets of `struct tcp_info` up to and including `tcpi_bytes_retrans` (linux/tcp.h, since 4.19).
const TCP_INFO_OCTETS: usize = 216;

/// What the kernel counted on a TCP connection that we opened, in octets of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpCounts {
    /// Sent, not counting what was sent again.
    pub sent: u64,
    /// Acknowledged by the peer's kernel.
    pub acknowledged: u64,
}

/// Asks for `TCP_INFO` (tcp(7)). `None`: not a TCP socket, or the kernel is older than 4.19.
pub(super) fn tcp_counts(socket: impl AsFd) -> Option<TcpCounts> {
    let mut info = [0_u8; TCP_INFO_OCTETS];
    let mut length = TCP_INFO_OCTETS as libc::socklen_t;
    // SAFETY: the descriptor is open for the time of the call, for it is borrowed; the kernel writes
    // at most `length` octets to `info`, which has as many, and the octets it wrote to `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 || (length as usize) < TCP_INFO_OCTETS {
        return None;
    }
    let number = |at: usize| -> u64 {
        let octets = info[at..at + 8].try_into().unwrap_or_default();
        u64::from_ne_bytes(octets)
    };
    let (bytes_acked, bytes_sent, bytes_retrans) = (number(120), number(200), number(208));
    Some(TcpCounts {
        sent: bytes_sent.saturating_sub(bytes_retrans),
        // The SYN of the side that opened the connection counts for one.
        acknowledged: bytes_acked.saturating_sub(1),
    })
}

/// Has the kernel choose the port when the socket connects, not when it is bound (`IP_BIND_ADDRESS_NO_PORT`, ip(7)).
/// Without it, as before Linux 4.2, a port serves for one connection only; so a failure is none.
pub(super) fn bind_address_no_port(socket: impl AsFd) {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the time of the call, for it is borrowed; the kernel reads as many octets of
    // `on` as it has.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// User and system time of the calling thread (getrusage(2)).
pub(super) fn thread_times() -> [Duration; 2] {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes one `rusage` to where there is room for one. If it refuses, which it never
    // does for the calling thread, what is there are zeros, and those are a valid `rusage`.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    [usage.ru_utime, usage.ru_stime].map(|time| {
        let micros = time.tv_sec * 1_000_000 + time.tv_usec;
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    })
}

/// Takes over descriptor `number`, with which this process was started.
///
/// # Errors
/// When it is not open, is one of the three standard ones, or was opened by this process.
pub(super) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_GETFD only looks; a number that is not open is an error.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags == -1 {
        return Err(io::Error::last_os_error());
    }
    if number <= libc::STDERR_FILENO || flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an inherited descriptor"));
    }
    // SAFETY: the descriptor is open, and nobody in this process owns it: whatever we open is closed
    // on exec from its birth, and this one was not until now. For the same reason it is not taken
    // twice.
    unsafe {
        if libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn only_what_was_inherited_is_taken_and_only_once() {
        let (ours, _) = UnixStream::pair().unwrap();
        assert!(inherited(ours.as_raw_fd()).is_err(), "opened here, and owned");
        assert!(inherited(2).is_err() && inherited(-1).is_err() && inherited(1 << 20).is_err());
        // What a parent leaves open for us differs from our own only in this flag.
        let passed = std::mem::ManuallyDrop::new(rustix::io::dup(&ours).unwrap());
        let taken = inherited(passed.as_raw_fd()).unwrap();
        assert_eq!(taken.as_raw_fd(), passed.as_raw_fd());
        assert!(inherited(passed.as_raw_fd()).is_err());
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "sockets of the standard library to test against"
    )]
    fn the_kernel_counts_what_was_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        ours.write_all(b"hello").unwrap();
        theirs.read_exact(&mut [0; 5]).unwrap();
        theirs.write_all(b"!").unwrap();
        ours.read_exact(&mut [0; 1]).unwrap();
        assert_eq!(tcp_counts(&ours), Some(TcpCounts { sent: 5, acknowledged: 5 }));
        // Closed with nothing unread: what we send now is answered with a reset, not acknowledged.
        drop(theirs);
        ours.write_all(b"anybody there?").unwrap();
        // The reset shows once the end that came before it was read; both came over loopback, at once.
        while ours.read(&mut [0; 1]).is_ok_and(|n| n > 0) {}
        assert_eq!(tcp_counts(&ours), Some(TcpCounts { sent: 19, acknowledged: 5 }));
        let (unix, _) = UnixStream::pair().unwrap();
        assert_eq!(tcp_counts(&unix), None);
    }
}
