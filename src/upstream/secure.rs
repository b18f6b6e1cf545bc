//! TLS on the connections to one upstream, as one core sees it. In a build without it there is none.

use std::fmt;

use super::pool::PoolContext;
use crate::config::{UpstreamSpec, UpstreamTlsSpec};
use crate::io::clock::Moment;
use crate::io::stream::Stream;
use crate::io::{Error, TlsFault};

/// TLS towards the upstreams of a pool, as the control plane has linked it.
#[cfg(feature = "tls")]
pub type PoolTls = std::sync::Arc<crate::tls::ClientTls>;
/// A build without it has none.
#[cfg(not(feature = "tls"))]
pub type PoolTls = std::convert::Infallible;

/// What octets to an upstream travel through.
pub enum UpstreamSecurity {
    /// Nothing.
    Plain,
    /// TLS.
    #[cfg(feature = "tls")]
    Tls(Box<UpstreamTls>),
    /// TLS that nobody has linked: no connection is made, rather than a plain one.
    Unlinked,
}

/// How connections are secured, and who has to be at their other end.
#[cfg(feature = "tls")]
pub struct UpstreamTls {
    config: std::sync::Arc<rustls::ClientConfig>,
    name: rustls::pki_types::ServerName<'static>,
    buffers: std::rc::Rc<crate::io::tls::TlsBuffers>,
}

impl fmt::Debug for UpstreamSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_plain() { "Plain" } else { "Tls" })
    }
}

impl UpstreamSecurity {
    /// That of the upstream `one`, in a pool with this TLS.
    pub fn of(
        one: &UpstreamSpec,
        spec: &UpstreamTlsSpec,
        tls: Option<&PoolTls>,
        context: &PoolContext,
    ) -> UpstreamSecurity {
        match tls {
            _ if !one.secure => UpstreamSecurity::Plain,
            #[cfg(feature = "tls")]
            Some(tls) => match tls.towards(spec.server_name.as_deref(), one.host()) {
                Ok((config, name)) => {
                    let buffers = context.tls_buffers.clone();
                    UpstreamSecurity::Tls(Box::new(UpstreamTls { config, name, buffers }))
                }
                Err(_) => UpstreamSecurity::Unlinked,
            },
            #[cfg(not(feature = "tls"))]
            Some(never) => match (*never, spec, context) {},
            None => UpstreamSecurity::Unlinked,
        }
    }

    /// Octets travel as they are.
    pub fn is_plain(&self) -> bool {
        matches!(self, UpstreamSecurity::Plain)
    }

    /// Brings a new connection as far that a request can be sent, up to `until`. `preface` stands before all of TLS.
    ///
    /// # Errors
    /// When the upstream does not take the preface, or the handshake fails.
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "there is none"))]
    pub async fn secure(
        &self,
        stream: &mut Stream,
        preface: &[u8],
        until: Moment,
    ) -> Result<(), Error> {
        match self {
            UpstreamSecurity::Plain => Ok(()),
            UpstreamSecurity::Unlinked => Err(Error::Tls(TlsFault::InternalError)),
            #[cfg(feature = "tls")]
            UpstreamSecurity::Tls(secured) => {
                // A new socket has room for the few octets that these are.
                if !preface.is_empty() && stream.write(preface)? != Some(preface.len()) {
                    return Err(Error::Closed);
                }
                let UpstreamTls { config, name, buffers } = &**secured;
                let tls = crate::io::tls::Tls::client(config.clone(), name.clone(), buffers);
                let tls = tls.map_err(|_| Error::Tls(TlsFault::InternalError))?;
                stream.secure(tls, until, None).await
            }
        }
    }
}
