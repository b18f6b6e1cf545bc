//! What is told to upstreams, and to whoever decides, of a certificate that a client has shown: pure functions of its
//! octets, which the handshake has verified before.

use std::fmt::{self, Display, Write};
use std::net::IpAddr;

use data_encoding::BASE64;
use x509_cert::name::Name;

use super::facts::X509Certificate;

/// Octets of a subject's text.
const SUBJECT_MOST: usize = 1024;
/// Octets of a certificate that goes on in a field.
const FIELD_MOST: usize = 8 * 1024;

/// A name besides the subject (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A DNS name, perhaps with `*` as its first label.
    Dns(String),
    /// An address of mail.
    Email(String),
    /// A URI, such as that of a SPIFFE identity.
    Uri(String),
    /// An IP address.
    Ip(IpAddr),
}

/// As OpenSSL writes them: `DNS:example.org`.
impl Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AltName::Dns(name) => write!(f, "DNS:{name}"),
            AltName::Email(name) => write!(f, "email:{name}"),
            AltName::Uri(name) => write!(f, "URI:{name}"),
            AltName::Ip(address) => write!(f, "IP:{address}"),
        }
    }
}

/// A client's certificate, as far as it tells who the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject, as RFC 4514 writes names, in printable ASCII. `None`: it has none, or one that is too long; a part
    /// of a name would be somebody else's.
    pub subject: Option<String>,
    /// Its alternative names.
    pub names: Vec<AltName>,
    /// Until when it holds, in seconds after the epoch. The handshake has looked at that, but a resumed session is
    /// younger than the look, and a connection may outlive it.
    pub not_after: u64,
}

/// Reads the certificate that a client has shown, in DER; `None`: it cannot be read.
pub fn client_certificate(der: &[u8]) -> Option<ClientCertificate> {
    let certificate = X509Certificate::read(der)?;
    Some(ClientCertificate {
        subject: printable(certificate.subject()).filter(|subject| !subject.is_empty()),
        names: certificate.alt_names(),
        not_after: certificate.not_after(),
    })
}

/// The value of `Client-Cert` (RFC 9440 section 2.2) for a certificate in DER; `None`: it is too long for a field.
pub fn client_cert_field(der: &[u8]) -> Option<String> {
    (der.len() <= FIELD_MOST).then(|| format!(":{}:", BASE64.encode(der)))
}

/// A distinguished name as text (RFC 4514). Octets that are not printable ASCII are written as `\XX`, which the
/// standard allows for all.
pub fn printable(name: &Name) -> Option<String> {
    let (mut whole, mut text) = (String::new(), String::new());
    // `to_string` would panic where a value of the peer's cannot be written.
    write!(whole, "{name}").ok()?;
    for octet in whole.bytes() {
        match octet {
            b' '..=b'~' => text.push(char::from(octet)),
            _ => text.push_str(&format!("\\{octet:02X}")),
        }
        if text.len() > SUBJECT_MOST {
            return None;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, SanType};

    use super::*;
    use crate::tls::testing::Authority;

    fn with_subject(parts: &[(DnType, &str)]) -> ClientCertificate {
        let made = Authority::new("CA").sign(|params: &mut CertificateParams| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, text) in parts {
                params.distinguished_name.push(kind.clone(), *text);
            }
        });
        client_certificate(made.leaf()).unwrap()
    }

    #[test]
    fn subjects_are_printable_text_from_the_end() {
        use DnType::{CommonName, CountryName, OrganizationName};
        let long = "x".repeat(SUBJECT_MOST);
        for (parts, expected) in [
            (
                &[(CountryName, "DE"), (OrganizationName, "Our, Inc."), (CommonName, "a b")][..],
                Some(r"CN=a b,O=Our\, Inc.,C=DE"),
            ),
            (&[(CommonName, "Lučić")], Some(r"CN=Lu\C4\8Di\C4\87")),
            (&[(CommonName, "a\r\nX: y")], Some(r"CN=a\0d\0aX: y")),
            (&[(CommonName, "a\",CN=admin")], Some(r#"CN=a\"\,CN=admin"#)),
            (&[(CommonName, &long)], None),
            (&[], None),
        ] {
            assert_eq!(with_subject(parts).subject.as_deref(), expected);
        }
    }

    #[test]
    fn alternative_names_keep_their_kind() {
        let made = Authority::new("CA").sign(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("a.test".try_into().unwrap()),
                SanType::Rfc822Name("me@a.test".try_into().unwrap()),
                SanType::URI("spiffe://a.test/api".try_into().unwrap()),
                SanType::IpAddress([192, 0, 2, 7].into()),
                SanType::URI("a\nb".try_into().unwrap()),
            ];
        });
        let names = client_certificate(made.leaf()).unwrap().names;
        let texts: Vec<String> = names.iter().map(AltName::to_string).collect();
        assert_eq!(
            texts,
            ["DNS:a.test", "email:me@a.test", "URI:spiffe://a.test/api", "IP:192.0.2.7"]
        );
    }

    #[test]
    fn the_field_is_a_byte_sequence() {
        for (der, expected) in [
            (&b"\x30\x82\x01"[..], Some(":MIIB:")),
            (b"", Some("::")),
            (b"abcd", Some(":YWJjZA==:")),
            (&[0; FIELD_MOST + 1], None),
        ] {
            assert_eq!(client_cert_field(der).as_deref(), expected);
        }
    }

    #[test]
    fn what_is_no_certificate_is_nobody() {
        assert_eq!(client_certificate(b""), None);
        assert_eq!(client_certificate(&[0x30; 64]), None);
    }
}
