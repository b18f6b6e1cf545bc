//! What octets to whoever is asked travel through: nothing, or TLS. In a build without it there is none.

use std::fmt;
use std::io;

use super::connection::Connection;
use crate::io::{Error, TlsFault};

/// How a connection is secured. It is the same as another where one could take the other's sessions up.
#[derive(Clone)]
pub enum ClientSecurity {
    /// Not at all.
    Plain,
    /// By TLS, as somebody has linked it, with whoever proves this name.
    #[cfg(feature = "tls")]
    Tls(std::sync::Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>),
    /// By TLS that nobody has linked: no connection is made, rather than a plain one.
    Unlinked,
}

impl PartialEq for ClientSecurity {
    fn eq(&self, other: &ClientSecurity) -> bool {
        match (self, other) {
            (ClientSecurity::Plain, ClientSecurity::Plain)
            | (ClientSecurity::Unlinked, ClientSecurity::Unlinked) => true,
            #[cfg(feature = "tls")]
            (ClientSecurity::Tls(config, name), ClientSecurity::Tls(other, another)) => {
                std::sync::Arc::ptr_eq(config, other) && name == another
            }
            _ => false,
        }
    }
}

impl Eq for ClientSecurity {}

impl fmt::Debug for ClientSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClientSecurity::Plain => "Plain",
            #[cfg(feature = "tls")]
            ClientSecurity::Tls(..) => "Tls",
            ClientSecurity::Unlinked => "Unlinked",
        })
    }
}

impl ClientSecurity {
    /// Brings a connection as far that a question can be sent.
    pub(super) async fn secure(&self, stream: Connection) -> io::Result<Connection> {
        match self {
            ClientSecurity::Plain => Ok(stream),
            #[cfg(feature = "tls")]
            ClientSecurity::Tls(config, name) => super::tls::handshake(config, name, stream).await,
            ClientSecurity::Unlinked => Err(Error::Tls(TlsFault::InternalError).into()),
        }
    }
}

/// The fault of TLS that an error of a connection is, if it is one.
pub fn tls_fault(error: &io::Error) -> Option<TlsFault> {
    match error.get_ref()?.downcast_ref()? {
        Error::Tls(fault) => Some(*fault),
        _ => None,
    }
}
