//! What a certificate says of itself (RFC 5280), for logs, metrics and checks. Nothing is believed because of it: that
//! is decided in the handshake.

use std::net::IpAddr;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::name::Name;

use super::peer::{AltName, printable};
use crate::base::{self, CertificateFacts};

/// Alternative names of a certificate. Those of public authorities have a hundred.
const NAMES_MOST: usize = 1000;

/// The names of a certificate that clients may ask for.
pub fn dns_names(facts: &CertificateFacts) -> impl Iterator<Item = &str> {
    let names = facts.names.iter().map(String::as_str);
    names.filter(|name| IpAddr::from_str(name).is_err())
}

/// A certificate that was read. Serial numbers need not be as short as the standard wants them.
pub struct X509Certificate(CertificateInner<Raw>);

impl X509Certificate {
    /// `None`: it is no certificate, or has a great many names.
    pub fn read(der: &[u8]) -> Option<X509Certificate> {
        let certificate = X509Certificate(CertificateInner::from_der(der).ok()?);
        let names = certificate.0.tbs_certificate().get_extension::<SubjectAltName>().ok()?;
        names.is_none_or(|(_, names)| names.0.len() <= NAMES_MOST).then_some(certificate)
    }

    pub fn facts(&self, der: &[u8]) -> CertificateFacts {
        let names = self.alt_names().into_iter().filter_map(|name| match name {
            AltName::Dns(name) => Some(name.to_ascii_lowercase()),
            AltName::Ip(address) => Some(address.to_string()),
            AltName::Email(_) | AltName::Uri(_) => None,
        });
        CertificateFacts {
            names: names.collect(),
            not_before: self.not_before(),
            not_after: self.not_after(),
            issuer: printable(self.issuer()).unwrap_or_default(),
            fingerprint_sha256: HEXLOWER.encode(&base::digest(der)),
        }
    }

    pub fn not_before(&self) -> u64 {
        self.0.tbs_certificate().validity().not_before.to_unix_duration().as_secs()
    }

    pub fn not_after(&self) -> u64 {
        self.0.tbs_certificate().validity().not_after.to_unix_duration().as_secs()
    }

    pub fn subject(&self) -> &Name {
        self.0.tbs_certificate().subject()
    }

    pub fn issuer(&self) -> &Name {
        self.0.tbs_certificate().issuer()
    }

    /// It may sign others.
    pub fn is_ca(&self) -> bool {
        let constraints = self.0.tbs_certificate().get_extension::<BasicConstraints>();
        matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
    }

    /// Alternative names, as far as they are printable; other kinds than ours are left out.
    pub fn alt_names(&self) -> Vec<AltName> {
        let extension = self.0.tbs_certificate().get_extension::<SubjectAltName>();
        let Ok(Some((_, names))) = extension else { return Vec::new() };
        names.0.iter().filter_map(alt_name).collect()
    }
}

fn alt_name(name: &GeneralName) -> Option<AltName> {
    let text = |text: &str| {
        let is_printable = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        is_printable.then(|| text.to_owned())
    };
    match name {
        GeneralName::DnsName(name) => text(name.as_str()).map(AltName::Dns),
        GeneralName::Rfc822Name(name) => text(name.as_str()).map(AltName::Email),
        GeneralName::UniformResourceIdentifier(name) => text(name.as_str()).map(AltName::Uri),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok().map(AltName::Ip)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Authority, DAYS};

    #[test]
    fn facts_are_what_the_certificate_says() {
        let authority = Authority::new("Our CA");
        let made = authority.server_for(&["A.Test", "*.b.test", "192.0.2.1", "::1"], -1, 30);
        let certificate = X509Certificate::read(made.leaf()).unwrap();
        let facts = certificate.facts(made.leaf());
        assert_eq!(facts.names, ["a.test", "*.b.test", "192.0.2.1", "::1"]);
        assert_eq!(dns_names(&facts).collect::<Vec<_>>(), ["a.test", "*.b.test"]);
        assert_eq!(facts.not_after - facts.not_before, 31 * DAYS);
        assert_eq!(facts.issuer, "CN=Our CA");
        assert_eq!(facts.fingerprint_sha256.len(), 64);
        assert!(!certificate.is_ca());
        assert!(X509Certificate::read(authority.der()).unwrap().is_ca());
        assert!(X509Certificate::read(b"no certificate").is_none());
        assert!(X509Certificate::read(&made.leaf()[..100]).is_none());
    }
}
