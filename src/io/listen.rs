//! Sockets that listen, and how they come to be: bound, passed on or taken over.
//!
//! Every core has a listening socket of its own on the same TCP address (`SO_REUSEPORT`), and the
//! kernel spreads connections over them. The first one is bound *without* that option and gets it
//! only afterwards: so an address that another process listens on is refused, even if that process
//! is another tidegate, and the cores' further sockets still find a group to join.
//!
//! A socket of ours takes in one family: an IPv6 one is IPv6 alone, so that `[::]` and `0.0.0.0` stand
//! beside each other. Those with which we were started may take in both.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::address::Address;
use super::sys;

/// Octets beyond its peer's window that the kernel takes for a client (TCP_NOTSENT_LOWAT in tcp(7)). A client that
/// does not read could else have 4 MiB there (tcp_wmem), and some hundred of them all memory that the system has
/// for TCP. What is on its way to a client that does read is not counted. Less would be cheaper for those who wait
/// and dearer for those who read: at 256 KiB an answer of 1 MiB costs 1.35 times as much.
const UNSENT: u32 = 1024 * 1024;

/// Connections the kernel completes before they are accepted.
pub const BACKLOG: i32 = 4096;

/// Bound and listening sockets for one address: one for each core.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port the kernel chose if 0 was asked for.
    pub address: Address,
    /// They listen at `[::]`, and take in IPv4 connections as well.
    pub dual: bool,
    /// At least one socket for each core.
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
    let first = tcp_socket(address, true)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![OwnedFd::from(first)];
    while sockets.len() < cores {
        sockets.push(join(address, true)?);
    }
    Ok(Bound { address: Address::Tcp(address), dual: false, sockets })
}

/// One more socket for the group that listens at `address`.
fn join(address: SocketAddr, only_v6: bool) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address, only_v6)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn tcp_socket(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    prepare(&socket)?;
    Ok(socket)
}

/// What accepted sockets inherit from their listener, so that it costs no system call for each of them: no delay,
/// urgent octets among the others, and a bound on what waits in the kernel to be sent.
fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)
}

fn bind_unix(path: &Path, cores: usize) -> io::Result<Bound> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        if !is_socket(path) {
            return Err(Errno::EXIST.into());
        }
        if !is_abandoned(&address) {
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
    Ok(Bound { address: Address::Unix(path.into()), dual: false, sockets })
}

/// A listening socket this process was started with.
#[derive(Debug)]
pub struct Passed {
    /// Where it listens.
    pub address: Address,
    /// It listens at `[::]`, and takes in IPv4 connections as well.
    pub dual: bool,
    /// Non-blocking, and closed on exec.
    pub socket: OwnedFd,
}

impl Passed {
    /// Takes over descriptor `number`.
    ///
    /// # Errors
    /// When it was not inherited, or is no listening stream socket with an address or a path.
    pub fn take(number: RawFd) -> io::Result<Passed> {
        let socket = Socket::from(sys::inherited(number)?);
        let odd = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(odd("not a listening stream socket"));
        }
        let name = socket.local_addr()?;
        let address = match (name.as_socket(), name.as_pathname()) {
            (Some(address), _) => {
                prepare(&socket)?;
                Address::Tcp(address)
            }
            (_, Some(path)) => Address::Unix(path.into()),
            _ => return Err(odd("a socket without address or path")),
        };
        socket.set_nonblocking(true)?;
        Ok(Passed { dual: is_dual(&socket, &address)?, address, socket: socket.into() })
    }
}

/// Takes over one end of a pair of connected sockets with which this process was started.
pub fn take_stream(number: RawFd) -> io::Result<UnixStream> {
    sys::inherited(number).map(UnixStream::from)
}

/// Takes over a file with which this process was started.
pub fn take_file(number: RawFd) -> io::Result<fs::File> {
    sys::inherited(number).map(fs::File::from)
}

/// Uses sockets that listen at `address` already; all of them, even if there are fewer cores, for the
/// kernel goes on spreading connections over them. Cores beyond them get further sockets.
pub fn adopt(address: Address, mut sockets: Vec<OwnedFd>, cores: usize) -> io::Result<Bound> {
    let first = Socket::from(sockets[0].try_clone()?);
    let dual = is_dual(&first, &address)?;
    while sockets.len() < cores {
        match address {
            Address::Tcp(address) if first.reuse_port()? => sockets.push(join(address, !dual)?),
            _ => sockets.push(first.try_clone()?.into()),
        }
    }
    Ok(Bound { address, dual, sockets })
}

/// Does the socket that listens at `address` take in connections of both families?
fn is_dual(socket: &Socket, address: &Address) -> io::Result<bool> {
    match address {
        Address::Tcp(SocketAddr::V6(v6)) if v6.ip().is_unspecified() => {
            socket.only_v6().map(|only_v6| !only_v6)
        }
        _ => Ok(false),
    }
}

/// Can IPv6 sockets be had here? Not where the kernel has none of it, or a container was given none.
pub fn has_ipv6() -> bool {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let bound = tcp_socket(any, true).and_then(|socket| socket.bind(&any.into()));
    !bound.is_err_and(|error| is_no_ipv6(&error))
}

/// The error says that there is no such family, or no address of it.
fn is_no_ipv6(error: &io::Error) -> bool {
    let none = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    none.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Bound {
    /// A descriptor for each queue of connections that wait, to be passed on: for each core's with
    /// `SO_REUSEPORT`, a single one where the cores share a socket.
    pub fn queues(&self) -> io::Result<Vec<OwnedFd>> {
        let shared = match self.address {
            Address::Tcp(_) => !rustix::net::sockopt::socket_reuseport(&self.sockets[0])?,
            Address::Unix(_) => true,
        };
        let queues = if shared { &self.sockets[..1] } else { &self.sockets[..] };
        queues.iter().map(OwnedFd::try_clone).collect()
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// A socket file whose owner is gone refuses connections.
fn is_abandoned(address: &SockAddr) -> bool {
    Socket::new(Domain::UNIX, Type::STREAM, None)
        .and_then(|probe| probe.connect(address))
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Removes a Unix socket's file when dropped, if it is the same file still.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode; `None`: not ours to remove.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// The file at `path`.
    pub fn new(path: PathBuf) -> SocketFile {
        let identity = identity(&path);
        SocketFile { path, identity }
    }

    /// Leaves the file where it is: it belongs to another process now.
    pub fn leave(mut self) {
        self.identity = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it, or put something else in its place.
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

    #[test]
    fn no_socket_is_left_behind_when_there_are_fewer_cores() {
        let bound = bind(&Address::Tcp(LOCAL.into()), 3).unwrap();
        for (cores, sockets) in [(1, 3), (3, 3), (5, 5)] {
            let passed = bound.queues().unwrap();
            assert_eq!(passed.len(), 3);
            let adopted = adopt(bound.address.clone(), passed, cores).unwrap();
            assert_eq!(adopted.sockets.len(), sockets);
            assert_eq!(adopted.queues().unwrap().len(), sockets, "a queue each");
        }
    }

    #[test]
    fn a_socket_that_cannot_be_joined_is_shared() {
        let socket = tcp_socket(LOCAL.into(), true).unwrap();
        socket.bind(&SocketAddr::from(LOCAL).into()).unwrap();
        socket.listen(8).unwrap();
        let address = Address::Tcp(socket.local_addr().unwrap().as_socket().unwrap());
        let adopted = adopt(address, vec![socket.into()], 3).unwrap();
        assert_eq!(adopted.sockets.len(), 3);
        assert_eq!(adopted.queues().unwrap().len(), 1, "one queue for all");
    }

    #[test]
    fn a_socket_of_both_families_is_joined_by_such_sockets() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        for only_v6 in [false, true] {
            let socket = tcp_socket(any, only_v6).unwrap();
            socket.bind(&any.into()).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.listen(8).unwrap();
            let address = Address::Tcp(socket.local_addr().unwrap().as_socket().unwrap());
            let adopted = adopt(address, vec![socket.into()], 2).unwrap();
            assert_eq!(adopted.dual, !only_v6);
            for socket in adopted.sockets {
                assert_eq!(Socket::from(socket).only_v6().unwrap(), only_v6);
            }
        }
    }

    #[test]
    fn what_was_put_in_the_place_of_a_socket_stays() {
        let path = std::env::temp_dir().join(format!("tidegate-file-{}", std::process::id()));
        fs::write(&path, "ours").unwrap();
        drop(SocketFile::new(path.clone()));
        assert!(!path.exists());
        fs::write(&path, "ours").unwrap();
        let file = SocketFile::new(path.clone());
        let other = path.with_extension("other");
        fs::write(&other, "theirs").unwrap();
        fs::rename(&other, &path).unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        SocketFile::new(path.clone()).leave();
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn only_a_want_of_ipv6_counts_as_one() {
        for (errno, is_none) in [
            (Errno::AFNOSUPPORT, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::ADDRINUSE, false),
            (Errno::MFILE, false),
            (Errno::ACCESS, false),
        ] {
            assert_eq!(is_no_ipv6(&errno.into()), is_none, "{errno}");
        }
    }
}
