//! TLS as it was asked for: what we show to clients, and what we demand of them and of upstreams.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::gate::AskedUrl;
use super::pool::Secret;

/// TLS towards clients: `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSpec {
    /// What a client is shown, by the name that it asks for (SNI); the first also where no other fits.
    pub certificates: Vec<CertificateSpec>,
    /// Names and addresses for which a certificate of our own is made, for development; none: none is.
    pub self_signed: Vec<String>,
    /// Certificates that are ordered from an ACME server; `None`: none are.
    pub acme: Option<Arc<AcmeSpec>>,
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

/// Certificates from an ACME server (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSpec {
    /// The names, in lower case; each has a certificate of its own.
    pub names: Vec<String>,
    /// The URL of the server's directory.
    pub directory: AskedUrl,
    /// An address of mail, for the server to write to.
    pub contact: Option<String>,
    /// How it is shown that a name is ours.
    pub challenge: AcmeChallenge,
    /// Who signs the server's own certificate, in PEM; `None`: whom the system believes.
    pub ca: Option<PemFile>,
    /// What our account is bound to, where the server wants that.
    pub binding: Option<AcmeBinding>,
}

/// An account that whoever runs the server keeps for us otherwise (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeBinding {
    /// The name of its key.
    pub id: String,
    /// The key, in base64url.
    pub key: Secret,
}

/// How an ACME server looks whether a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// A handshake at port 443 (RFC 8737).
    TlsAlpn01,
    /// A request in plain HTTP at port 80 (RFC 8555 section 8.3).
    Http01,
}

impl AcmeChallenge {
    /// Both, with the words for them in settings, which are those of the protocol.
    pub const ALL: [(&'static str, AcmeChallenge); 2] =
        [("tls-alpn-01", AcmeChallenge::TlsAlpn01), ("http-01", AcmeChallenge::Http01)];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            AcmeChallenge::TlsAlpn01 => "tls-alpn-01",
            AcmeChallenge::Http01 => "http-01",
        }
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
