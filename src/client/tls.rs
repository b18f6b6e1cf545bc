//! TLS on a connection of the client's: the handshake, and what goes wrong as a fault of our table.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::connection::Connection;
use crate::io::tls::{fault, is_http};
use crate::io::{Error, TlsFault};

/// Makes the handshake with whoever proves to be `name`.
pub(super) async fn handshake(
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    stream: Connection,
) -> io::Result<Connection> {
    let stream = Begun { stream, first: Vec::new() };
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream);
    match connecting.into_fallible().await {
        Ok(stream) => Ok(Box::new(TlsConnection(stream))),
        Err((_, begun)) if is_http(&begun.first) => Err(Error::Tls(TlsFault::PlainHttp).into()),
        Err((error, _)) => Err(told(error, TlsFault::HandshakeCut)),
    }
}

/// An error of rustls' as one of ours; `cut`: what an end is that came without close_notify.
fn told(error: io::Error, cut: TlsFault) -> io::Error {
    let of_rustls = error.get_ref().and_then(|error| error.downcast_ref());
    match of_rustls.map(fault) {
        Some(fault) => Error::Tls(fault).into(),
        // Where the peer announced its end, there is no error.
        None if error.kind() == io::ErrorKind::UnexpectedEof => Error::Tls(cut).into(),
        None => error,
    }
}

/// The same, after the handshake.
fn told_later(error: io::Error) -> io::Error {
    told(error, TlsFault::Truncated)
}

/// A connection after the handshake.
struct TlsConnection(TlsStream<Begun>);

/// A close without close_notify looks like a truncation.
impl Drop for TlsConnection {
    fn drop(&mut self) {
        // As far as the kernel takes it now.
        let _ = Pin::new(&mut self.0).poll_close(&mut Context::from_waker(Waker::noop()));
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, octets).map_err(told_later)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets).map_err(told_later)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(told_later)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context).map_err(told_later)
    }
}

/// Octets that tell plain HTTP.
const FIRST: usize = 8;

/// A connection that remembers its first octets: whoever speaks plain HTTP is to be told from whoever speaks no TLS.
struct Begun {
    stream: Connection,
    first: Vec<u8>,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, octets))?;
        let wanted = read.min(FIRST - self.first.len());
        self.first.extend_from_slice(&octets[..wanted]);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}
