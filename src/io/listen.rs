//! Sockets that accept.
//!
//! Every core has a listening socket of its own on the same TCP address (`SO_REUSEPORT`), and the
//! kernel spreads connections over them. The first one is bound *without* that option and gets it
//! only afterwards: so an address that another process listens on is refused, even if that process
//! is another tidegate, and the cores' further sockets still find a group to join.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::reactor::{Reactor, Way};
use super::stream::{Address, Stream};

/// Connections the kernel completes before they are accepted.
pub const BACKLOG: i32 = 4096;

/// Bound and listening sockets for one address: one for each core.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port the kernel chose if 0 was asked for.
    pub address: Address,
    /// One socket for each core.
    pub sockets: Vec<OwnedFd>,
}

/// Binds `address` for `cores` cores.
pub fn bind(address: &Address, cores: usize) -> io::Result<Bound> {
    match address {
        Address::Tcp(address) => bind_tcp(*address, cores),
        Address::Unix(path) => bind_unix(path, cores),
    }
}

fn bind_tcp(address: SocketAddr, cores: usize) -> io::Result<Bound> {
    let first = tcp_socket(address)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![OwnedFd::from(first)];
    while sockets.len() < cores {
        let socket = tcp_socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok(Bound { address: Address::Tcp(address), sockets })
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit this from their listener: no system call for each of them.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn bind_unix(path: &Path, cores: usize) -> io::Result<Bound> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_abandoned(path, &address) {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    let mut sockets = Vec::with_capacity(cores);
    while sockets.len() + 1 < cores {
        sockets.push(socket.try_clone()?.into());
    }
    sockets.push(socket.into());
    Ok(Bound { address: Address::Unix(path.into()), sockets })
}

/// A socket file whose owner is gone refuses connections.
fn is_abandoned(path: &Path, address: &SockAddr) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = Socket::new(Domain::UNIX, Type::STREAM, None)
        .and_then(|probe| probe.connect(address))
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    is_socket && refused
}

/// Removes a Unix socket's file when dropped.
#[derive(Debug)]
pub struct SocketFile(pub PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it: nothing is lost then.
        let _ = fs::remove_file(&self.0);
    }
}

/// A listening socket registered with a core's reactor.
#[derive(Debug)]
pub struct Listener(Stream);

impl Drop for Listener {
    fn drop(&mut self) {
        // Other descriptors may hold the same socket, in another core or another process. While they
        // do, closing this one would not take it off the kernel's list, and every connection would
        // wake us for nothing.
        self.0.reactor().leave(self.0.as_fd());
    }
}

impl Listener {
    /// Takes over a listening, non-blocking socket.
    pub fn new(socket: OwnedFd, reactor: &Rc<Reactor>) -> io::Result<Listener> {
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
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::acceptfrom_with(self.0.as_fd(), flags) {
                Ok((fd, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    return Ok(Some((Stream::new(fd, self.0.reactor())?, peer)));
                }
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
