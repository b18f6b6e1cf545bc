//! The system calls of the data path, and nothing else: thin functions with the names of the manual pages.
//!
//! All that is decided is decided elsewhere in this room. So the simulation (`tests/sim`) runs the
//! data path unchanged on a kernel of its own, which is this file written a second time.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::address::Address;
use super::stream::Dialling;

pub(super) use super::sys::tcp_counts;
pub(super) use rustix::event::epoll::{Event, EventFlags};

/// An open file: a socket or an end of a pipe, closed when dropped.
pub type Fd = OwnedFd;

/// A peer's address; `None` over a Unix socket.
pub(super) type Peer = Option<std::net::SocketAddr>;

/// epoll(7).
pub(super) struct Poller(OwnedFd);

impl Poller {
    /// epoll_create1(2).
    pub fn create() -> io::Result<Poller> {
        Ok(Poller(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// epoll_ctl(2), EPOLL_CTL_ADD of a socket: edges of both directions.
    pub fn add(&self, fd: &Fd, data: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::PRI | EventFlags::OUT;
        let flags = flags | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(data), flags)?)
    }

    /// EPOLL_CTL_ADD of a notifier.
    pub fn add_eventfd(&self, eventfd: &Eventfd, data: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&self.0, &eventfd.0, epoll::EventData::new_u64(data), flags)?)
    }

    /// EPOLL_CTL_DEL.
    pub fn delete(&self, fd: &Fd) -> Result<(), Errno> {
        epoll::delete(&self.0, fd)
    }

    /// epoll_wait(2): appends events to `events`, as many as it has capacity for.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<&Timespec>) -> Result<(), Errno> {
        epoll::wait(&self.0, rustix::buffer::spare_capacity(events), timeout).map(drop)
    }
}

/// eventfd(2), non-blocking.
#[derive(Debug)]
pub(super) struct Eventfd(OwnedFd);

impl Eventfd {
    /// A counter at 0.
    pub fn new() -> io::Result<Eventfd> {
        Ok(Eventfd(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Adds one.
    pub fn write(&self) -> Result<(), Errno> {
        rustix::io::write(&self.0, &1_u64.to_ne_bytes()).map(drop)
    }

    /// Back to 0.
    pub fn read(&self) -> Result<(), Errno> {
        rustix::io::read(&self.0, &mut [0_u8; 8][..]).map(drop)
    }
}

/// recv(2).
pub(super) fn recv(fd: &Fd, octets: &mut [u8]) -> Result<usize, Errno> {
    rustix::net::recv(fd, octets, RecvFlags::empty()).map(|(n, _)| n)
}

/// recv(2) with MSG_TRUNC: TCP drops what it would have copied (tcp(7)).
pub(super) fn recv_trunc(fd: &Fd, octets: &mut [u8]) -> Result<usize, Errno> {
    rustix::net::recv(fd, octets, RecvFlags::TRUNC).map(|(n, _)| n)
}

/// recv(2) with MSG_PEEK, of one octet.
pub(super) fn peek(fd: &Fd) -> Result<usize, Errno> {
    rustix::net::recv(fd, &mut [0_u8; 1][..], RecvFlags::PEEK).map(|(n, _)| n)
}

/// send(2), without SIGPIPE.
pub(super) fn send(fd: &Fd, octets: &[u8]) -> Result<usize, Errno> {
    rustix::net::send(fd, octets, SendFlags::NOSIGNAL)
}

/// sendmsg(2) of several parts, one behind the other, without SIGPIPE.
pub(super) fn send_parts(fd: &Fd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    rustix::net::sendmsg(fd, parts, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
}

/// shutdown(2) of the sending side.
pub(super) fn shutdown(fd: &Fd) -> Result<(), Errno> {
    rustix::net::shutdown(fd, Shutdown::Write)
}

/// SO_LINGER of 0 seconds: closing will reset the connection (socket(7)).
pub(super) fn set_linger_0(fd: &Fd) -> Result<(), Errno> {
    sockopt::set_socket_linger(fd, Some(std::time::Duration::ZERO))
}

/// SO_ERROR: how connect(2) ended.
pub(super) fn socket_error(fd: &Fd) -> Result<(), Errno> {
    sockopt::socket_error(fd)?
}

/// accept4(2), non-blocking.
pub(super) fn accept(fd: &Fd) -> Result<(Fd, Peer), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, peer) = rustix::net::acceptfrom_with(fd, flags)?;
    Ok((fd, peer.and_then(|peer| peer.try_into().ok())))
}

/// getsockname(2); `None` where it is no TCP socket.
pub(super) fn local(fd: &Fd) -> Option<SocketAddr> {
    rustix::net::getsockname(fd).ok()?.try_into().ok()
}

/// The descriptor's number.
pub(super) fn number(fd: &Fd) -> usize {
    usize::try_from(fd.as_raw_fd()).unwrap_or(0)
}

/// fcntl(2), F_DUPFD_CLOEXEC: the same file under the lowest number that is free.
pub(super) fn duplicate(fd: &Fd) -> Result<Fd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0)
}

/// The number that the next descriptor will have.
pub(super) fn next_number(fd: &Fd) -> Result<usize, Errno> {
    Ok(number(&duplicate(fd)?))
}

/// socket(2) and connect(2), non-blocking, without Nagle's delay, urgent octets among the others. `true`:
/// connecting is under way (EINPROGRESS). EMFILE if its number is not one that `dialling` allows.
pub(super) fn connect(address: &Address, dialling: Dialling) -> io::Result<(Fd, bool)> {
    let Dialling { descriptors, bind, keep_alive } = dialling;
    let (domain, protocol, address) = match address {
        Address::Tcp(address) => {
            (Domain::for_address(*address), Some(Protocol::TCP), SockAddr::from(*address))
        }
        Address::Unix(path) => (Domain::UNIX, None, SockAddr::unix(path)?),
    };
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), protocol)?;
    if socket.as_raw_fd() as usize >= descriptors {
        return Err(Errno::MFILE.into());
    }
    if protocol.is_some() {
        socket.set_tcp_nodelay(true)?;
        socket.set_out_of_band_inline(true)?;
        if !keep_alive.is_zero() {
            // TCP_KEEPIDLE and TCP_KEEPINTVL (tcp(7)) are whole seconds.
            let every = keep_alive.max(Duration::from_secs(1));
            let probes = TcpKeepalive::new().with_time(every).with_interval(every);
            socket.set_tcp_keepalive(&probes)?;
        }
        if let Some(ip) = bind.filter(|ip| Domain::for_address((*ip, 0).into()) == domain) {
            // The port is chosen when it connects, so that one may serve for several upstreams (ip(7)).
            super::sys::bind_address_no_port(&socket);
            socket.bind(&SockAddr::from(SocketAddr::new(ip, 0)))?;
        }
    }
    let pending = match socket.connect(&address) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => true,
        Err(error) => return Err(error),
    };
    Ok((socket.into(), pending))
}

/// pipe2(2), non-blocking: its ends to read from and to write to, and what it holds when at least
/// `capacity` octets are asked for (F_SETPIPE_SZ); `None`: the kernel's default (pipe(7)). EMFILE if their numbers are
/// not below `most`.
pub(super) fn pipe(capacity: usize, most: usize) -> io::Result<(Fd, Fd, Option<usize>)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    if number(&read).max(number(&write)) >= most {
        return Err(Errno::MFILE.into());
    }
    let capacity = fcntl_setpipe_size(&write, capacity).ok();
    Ok((read, write, capacity))
}

/// splice(2), non-blocking, of at most `n` octets.
pub(super) fn splice(from: &Fd, to: &Fd, n: usize) -> Result<usize, Errno> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    rustix::pipe::splice(from, None, to, None, n, flags)
}

/// clock_gettime(2), CLOCK_MONOTONIC.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}

/// clock_gettime(2), CLOCK_REALTIME.
pub(super) fn realtime() -> SystemTime {
    SystemTime::now()
}
