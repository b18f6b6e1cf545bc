//! TLS on the connections to one upstream, as one core sees it. In a build without it there is none.

use std::fmt;
use std::time::Duration;

use super::pool::PoolContext;
use crate::config::{UpstreamSpec, UpstreamTlsSpec};
use crate::io::stream::Stream;
use crate::io::{Error, TlsFault};

/// TLS towards the upstreams of a pool, as the control plane has linked it.
#[cfg(feature = "tls")]
pub type PoolTls = std::sync::Arc<crate::tls::ClientTls>;
/// A build without it has none.
#[cfg(not(feature = "tls"))]
pub type PoolTls = std::convert::Infallible;

/// What octets to an upstream travel through.
pub enum Security {
    /// Nothing.
    Plain,
    /// TLS.
    #[cfg(feature = "tls")]
    Tls(Box<Secured>),
    /// TLS that nobody has linked: no connection is made, rather than a plain one.
    Unlinked,
}

/// How connections are secured.
#[cfg(feature = "tls")]
pub struct Secured {
    tls: PoolTls,
    name: rustls::pki_types::ServerName<'static>,
    buffers: std::rc::Rc<crate::io::tls::TlsBuffers>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_plain() { "Plain" } else { "Tls" })
    }
}

impl Security {
    /// That of the upstream `one`, in a pool with this TLS.
    pub fn of(
        one: &UpstreamSpec,
        spec: &UpstreamTlsSpec,
        tls: Option<&PoolTls>,
        context: &PoolContext,
    ) -> Security {
        match tls {
            _ if !one.secure => Security::Plain,
            #[cfg(feature = "tls")]
            Some(tls) => match crate::tls::server_name(spec, one.host()) {
                Ok(name) => {
                    let (tls, buffers) = (tls.clone(), context.tls_buffers.clone());
                    Security::Tls(Box::new(Secured { tls, name, buffers }))
                }
                Err(_) => Security::Unlinked,
            },
            #[cfg(not(feature = "tls"))]
            Some(never) => match (*never, spec, context) {},
            None => Security::Unlinked,
        }
    }

    /// Octets travel as they are.
    pub fn is_plain(&self) -> bool {
        matches!(self, Security::Plain)
    }

    /// Brings a new connection as far that a request can be sent, within `wait`. `preface` stands before all of TLS.
    ///
    /// # Errors
    /// When the upstream does not take the preface, or the handshake fails.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "there is none"))]
    pub async fn secure(
        &self,
        stream: &mut Stream,
        preface: &[u8],
        wait: Duration,
    ) -> Result<(), Error> {
        match self {
            Security::Plain => Ok(()),
            Security::Unlinked => Err(Error::Tls(TlsFault::InternalError)),
            #[cfg(feature = "tls")]
            Security::Tls(secured) => {
                // A new socket has room for the few octets that these are.
                if !preface.is_empty() && stream.write(preface)? != Some(preface.len()) {
                    return Err(Error::Closed);
                }
                let Secured { tls, name, buffers } = &**secured;
                let config = tls.config.clone();
                let tls = crate::io::tls::Tls::client(config, name.clone(), buffers);
                let tls = tls.map_err(|_| Error::Tls(TlsFault::InternalError))?;
                stream.secure(tls, wait, None).await
            }
        }
    }
}
