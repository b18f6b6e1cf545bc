//! What octets to whoever is asked travel through: nothing, or TLS. In a build without it there is none.

use std::fmt;
use std::io;

use super::connection::Connection;
use crate::io::{Error, TlsFault};

/// How a connection is secured. It is the same as another where one could take the other's sessions up.
#[derive(Clone)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By TLS, as somebody has linked it, with whoever proves this name.
    #[cfg(feature = "tls")]
    Tls(std::sync::Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>),
    /// By TLS that nobody has linked: no connection is made, rather than a plain one.
    Unlinked,
}

impl PartialEq for Security {
    fn eq(&self, other: &Security) -> bool {
        match (self, other) {
            (Security::Plain, Security::Plain) | (Security::Unlinked, Security::Unlinked) => true,
            #[cfg(feature = "tls")]
            (Security::Tls(config, name), Security::Tls(other, another)) => {
                std::sync::Arc::ptr_eq(config, other) && name == another
            }
            _ => false,
        }
    }
}

impl Eq for Security {}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Security::Plain => "Plain",
            #[cfg(feature = "tls")]
            Security::Tls(..) => "Tls",
            Security::Unlinked => "Unlinked",
        })
    }
}

impl Security {
    /// Brings a connection as far that a question can be sent.
    pub(super) async fn secure(&self, stream: Connection) -> io::Result<Connection> {
        match self {
            Security::Plain => Ok(stream),
            #[cfg(feature = "tls")]
            Security::Tls(config, name) => super::tls::handshake(config, name, stream).await,
            Security::Unlinked => Err(Error::Tls(TlsFault::InternalError).into()),
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
