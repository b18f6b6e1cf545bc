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
use crate::io::tls::fault;
use crate::io::{Error, TlsFault};

/// Makes the handshake with whoever proves to be `name`.
pub(super) async fn handshake(
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    stream: Connection,
) -> io::Result<Connection> {
    let stream = Begun { stream, first: None };
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream);
    match connecting.into_fallible().await {
        Ok(stream) => Ok(Box::new(Secured(stream))),
        // No record begins with a letter.
        Err((_, begun)) if begun.first.is_some_and(|octet| octet.is_ascii_uppercase()) => {
            Err(Error::Tls(TlsFault::PlainHttp).into())
        }
        Err((error, _)) => Err(told(error)),
    }
}

/// An error of rustls' as one of ours.
fn told(error: io::Error) -> io::Error {
    let of_rustls = error.get_ref().and_then(|error| error.downcast_ref());
    match of_rustls.map(fault) {
        Some(fault) => Error::Tls(fault).into(),
        // Where the peer announced its end, there is no error.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Tls(TlsFault::Truncated).into()
        }
        None => error,
    }
}

/// A connection after the handshake.
struct Secured(TlsStream<Begun>);

/// Who closes without a word would look cut off.
impl Drop for Secured {
    fn drop(&mut self) {
        // As far as the kernel takes it now.
        let _ = Pin::new(&mut self.0).poll_close(&mut Context::from_waker(Waker::noop()));
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, octets).map_err(told)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets).map_err(told)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(told)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context).map_err(told)
    }
}

/// A connection that remembers its first octet: whoever speaks plain HTTP is to be told from whoever speaks no TLS.
struct Begun {
    stream: Connection,
    first: Option<u8>,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, octets))?;
        self.first = self.first.or(octets[..read].first().copied());
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
