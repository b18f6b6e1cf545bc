//! Which of the certificates that a client has sent are looked at: one path from its own towards an authority. With all
//! of them a client could have a hundred signatures verified in one step, without a single good one.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::facts::X509Certificate;

/// Certificates that are read, of those that a client has sent beside its own.
const READ_MOST: usize = 16;

/// Verifies certificates as another verifier does, by one path.
#[derive(Debug)]
pub struct OnePath(pub Arc<dyn ClientCertVerifier>);

/// The certificates behind `leaf`, each the issuer of the one before. Of several for one name the first counts, and no
/// name comes twice: so there is one path to verify. Those that issue themselves are left out, as only an authority
/// that we know may end a path.
fn path<'c>(leaf: &CertificateDer<'_>, others: &[CertificateDer<'c>]) -> Vec<CertificateDer<'c>> {
    let mut path = Vec::new();
    let Some(leaf) = X509Certificate::read(leaf) else { return path };
    let others = others.iter().take(READ_MOST);
    let mut others: Vec<_> =
        others.filter_map(|der| Some((der, X509Certificate::read(der)?))).collect();
    others.retain(|(_, one)| one.subject() != one.issuer());
    let mut issuer = leaf.issuer().clone();
    while let Some(at) = others.iter().position(|(_, one)| *one.subject() == issuer) {
        let (der, found) = others.remove(at);
        path.push(der.clone());
        others.retain(|(_, one)| one.subject() != found.subject());
        issuer = found.issuer().clone();
    }
    path
}

impl ClientCertVerifier for OnePath {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(leaf, &path(leaf, others), now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::issued;

    #[test]
    fn there_is_one_path_and_no_name_twice_on_it() {
        // Each as `issuer/subject`; the first is the client's own.
        for (certificates, expected) in [
            ("ca/me", &[][..]),
            ("b/me b/x a/b ca/a", &[2, 3]),
            ("b/me ca/a a/b", &[2, 1]),
            ("ca/me ca/ca", &[]),
            ("b/me ca/b ca/b ca/b", &[1]),
            ("a/me b/a a/b b/a", &[1, 2]),
            ("b/me c/b d/c e/d f/e", &[1, 2, 3, 4]),
        ] {
            let made = |text: &str| {
                let (issuer, subject) = text.split_once('/').unwrap();
                issued(issuer, subject)
            };
            let all: Vec<CertificateDer<'static>> = certificates.split(' ').map(made).collect();
            let found = path(&all[0], &all[1..]);
            let expected: Vec<_> = expected.iter().map(|at| all[*at].clone()).collect();
            assert_eq!(found, expected, "{certificates}");
        }
        let many = vec![issued("ca", "other"); READ_MOST];
        let last = [&many[..], &[issued("ca", "b")]].concat();
        assert!(path(&issued("b", "me"), &last).is_empty(), "it stands behind those that are read");
        assert!(path(&CertificateDer::from(vec![1, 2]), &last).is_empty());
    }
}
