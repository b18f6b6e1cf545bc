//! TLS: a certificate of each kind for all proxies, and the one who asks them.

use std::io::{self, Read, Write};
use std::path::Path;

/// Whose certificate a proxy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA of 2048 bits.
    Rsa,
}

/// How clients speak TLS 1.3. All offer AES-128-GCM and nothing else: each server prefers another suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The server's certificate.
    pub key: Key,
    /// Sessions are resumed, where there is more than one connection for each client.
    pub resumed: bool,
    /// Key exchanges that are offered. Not all servers know those that withstand quantum computers.
    pub groups: &'static str,
}

/// The one suite that is offered.
pub const SUITE: &str = "TLS13_AES_128_GCM_SHA256";

/// A connection that octets go through both ways.
pub trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// The certificate of a kind in `folder`: `leaf.pem`, `leaf.key`, and both in `both.pem`.
#[cfg(feature = "tls")]
pub fn write_certificate(key: Key, folder: &Path) -> io::Result<()> {
    use std::fs;

    let (certificate, key) = known(key).map_err(io::Error::other)?;
    let texts = [certificate.to_owned(), key.to_owned(), format!("{certificate}{key}")];
    for (name, text) in ["leaf.pem", "leaf.key", "both.pem"].iter().zip(texts) {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// Certificate and key in PEM, made once: all proxies have the same.
#[cfg(feature = "tls")]
fn known(key: Key) -> Result<(&'static str, &'static str), String> {
    use std::sync::OnceLock;

    use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

    static KNOWN: [OnceLock<Result<(String, String), String>>; 2] = [const { OnceLock::new() }; 2];
    let make = || {
        let pair = match key {
            Key::Ecdsa => KeyPair::generate(),
            Key::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        };
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let params = rcgen::CertificateParams::new(names);
        let made = pair.and_then(|pair| {
            let certificate = pem("CERTIFICATE", params?.self_signed(&pair)?.der());
            Ok((certificate, pem("PRIVATE KEY", pair.serialized_der())))
        });
        made.map_err(|error| error.to_string())
    };
    let made = KNOWN[key as usize].get_or_init(make).as_ref();
    made.map(|(certificate, key)| (&**certificate, &**key)).map_err(Clone::clone)
}

#[cfg(feature = "tls")]
fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The same connection through TLS, by somebody who trusts the certificates of this program alone.
#[cfg(feature = "tls")]
pub fn seal(stream: std::net::TcpStream) -> io::Result<Box<dyn Wire>> {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    let mut roots = RootCertStore::empty();
    for key in [Key::Ecdsa, Key::Rsa] {
        let (certificate, _) = known(key).map_err(io::Error::other)?;
        let der =
            CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(io::Error::other)?;
        roots.add(der).map_err(io::Error::other)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(tls, stream)))
}

#[cfg(not(feature = "tls"))]
pub fn write_certificate(_: Key, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(feature = "tls"))]
pub fn seal(_: std::net::TcpStream) -> io::Result<Box<dyn Wire>> {
    Err(io::ErrorKind::Unsupported.into())
}
