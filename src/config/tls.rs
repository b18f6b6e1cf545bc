//! TLS as it was asked for: what we show to clients, and what we demand of them and of upstreams.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::pool::Secret;

/// TLS towards clients: `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSpec {
    /// What a client is shown, by the name that it asks for (SNI); the first also where no other fits.
    pub certificates: Vec<CertificateSpec>,
    /// Names and addresses for which a certificate of our own is made, for development; none: none is.
    pub self_signed: Vec<String>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Who signs certificates of clients; `None`: none is asked for.
    pub client_ca: Option<PemFile>,
    /// Certificates of clients that are not valid any more (RFC 5280 section 5).
    pub crl: Option<PemFile>,
}

/// A certificate, with the chain behind it, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSpec {
    /// Leaf first.
    pub chain: PemFile,
    /// The private key: PKCS#8, PKCS#1 or SEC1, in PEM; shown is the name of its file.
    pub key: Secret,
    /// An OCSP response of its issuer's (RFC 6960), which is stapled; `None`: none is.
    pub ocsp: Option<DerFile>,
}

/// A file in DER, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it.
    pub octets: Arc<[u8]>,
}

impl Deref for DerFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets
    }
}

/// A file in PEM, as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it.
    pub text: Arc<str>,
}

/// Without the text, in which a key may stand beside certificates.
impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// Both, with the words for them in settings.
    pub const ALL: [(&'static str, TlsVersion); 2] =
        [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

    /// The word for it in settings.
    pub fn name(self) -> &'static str {
        match self {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        }
    }
}

/// TLS towards the upstreams of a pool whose URLs begin with `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTlsSpec {
    /// Who signs their certificates, in PEM; `None`: whom the system believes.
    pub ca: Option<PemFile>,
    /// The name that their certificates have to have, and that they are asked for; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// What is shown to those who ask.
    pub certificate: Option<CertificateSpec>,
    /// Whether certificates are looked at.
    pub verify: Verify,
}

/// How certificates of upstreams are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Chain, dates and name.
    #[default]
    Full,
    /// Not at all: anybody on the way may be the upstream.
    Off,
}

impl Verify {
    /// Both, with the words for them in settings.
    pub const ALL: [(&'static str, Verify); 2] = [("full", Verify::Full), ("off", Verify::Off)];

    /// The word for it in settings.
    pub fn name(self) -> &'static str {
        match self {
            Verify::Full => "full",
            Verify::Off => "off",
        }
    }
}
