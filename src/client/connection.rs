//! How whoever is asked is reached: a socket, what the connection begins with, and what octets travel through.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};

use async_io::Async;
use async_net::TcpStream;
use async_net::unix::UnixStream;
use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::ClientSecurity;
use crate::io::address::Address;

/// How a connection is made.
#[derive(Clone, Copy, Debug)]
pub struct Dial<'a> {
    /// The address that it comes from, where the other side is of its family.
    pub bind: Option<IpAddr>,
    /// What it begins with, before TLS.
    pub preface: &'a [u8],
    /// What all behind that travels through.
    pub security: &'a ClientSecurity,
}

/// Octets to and from whoever is asked.
pub trait Octets: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Octets for S {}

/// A connection on which a question can be sent.
pub type Connection = Box<dyn Octets>;

impl Dial<'_> {
    /// A connection to `to`; `reached` is set once somebody listens there.
    pub(super) async fn connect(
        self,
        to: &Address,
        reached: &Cell<bool>,
    ) -> io::Result<Connection> {
        let mut stream: Connection = match to {
            Address::Tcp(to) => Box::new(connect(*to, self.bind).await?),
            Address::Unix(to) => Box::new(UnixStream::connect(to).await?),
        };
        reached.set(true);
        stream.write_all(self.preface).await?;
        self.security.secure(stream).await
    }
}

/// A connection to `to`, from the address `bind` if that is of the same family.
async fn connect(to: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(ip) = bind.filter(|ip| ip.is_ipv4() == to.is_ipv4()) else {
        return TcpStream::connect(to).await;
    };
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(ip, 0).into()).map_err(|error| {
        // Of this machine it is not, so no request gets through either: that is to be told.
        match error.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error()) {
            true => io::Error::other(format!("no connection can come from {ip}: {error}")),
            false => error,
        }
    })?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
            return Err(error);
        }
        _ => {}
    }
    let stream = Async::new_nonblocking(std::net::TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(stream.into()),
    }
}
