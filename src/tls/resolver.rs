//! Which certificate a client is shown: by the name that it asks for (SNI, RFC 6066 section 3), and by the signatures
//! that it knows.

use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::certificate::LoadedCertificate;
use super::facts::dns_names;

/// Certificates for one name, one for each kind of key, the best first.
type Choice = Vec<Arc<CertifiedKey>>;

/// The certificates of a listener.
#[derive(Debug, Default)]
pub struct Resolver {
    exact: FxHashMap<String, Choice>,
    /// By what comes after `*.`, which stands for one label.
    wildcard: FxHashMap<String, Choice>,
    /// Where no other fits, or no name is asked for.
    first: Choice,
}

impl Resolver {
    /// The first certificate for a name and a kind of key is shown. What the others are not shown for is told.
    pub fn new(certificates: &[LoadedCertificate]) -> (Resolver, Vec<String>) {
        let mut resolver = Resolver::default();
        let mut warnings = Vec::new();
        for (at, certificate) in certificates.iter().enumerate() {
            for name in dns_names(&certificate.facts) {
                let choice = match name.strip_prefix("*.") {
                    Some(rest) => resolver.wildcard.entry(rest.to_owned()),
                    None => resolver.exact.entry(name.to_owned()),
                };
                if !add(choice.or_default(), &certificate.key) {
                    let path = certificate.path.display();
                    let first = shown_for(name, certificate, &certificates[..at]).display();
                    warnings.push(format!(
                        "{path}: {name} is in {first} already, which is served instead"
                    ));
                }
            }
        }
        if let Some(first) = certificates.first() {
            let of_name =
                dns_names(&first.facts).next().map(|name| match name.strip_prefix("*.") {
                    Some(rest) => resolver.wildcard[rest].clone(),
                    None => resolver.exact[name].clone(),
                });
            resolver.first = of_name.unwrap_or_else(|| vec![Arc::clone(&first.key)]);
        }
        (resolver, warnings)
    }

    /// The certificate for a name in lower case, and a peer that knows these signatures.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let by_name = name.and_then(|name| {
            let wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(wildcard)
        });
        let choice = by_name.unwrap_or(&self.first);
        let fits = |own: &&Arc<CertifiedKey>| own.key.choose_scheme(schemes).is_some();
        // Where none fits, the handshake tells that better than we do.
        choice.iter().find(fits).or(choice.first()).cloned()
    }
}

/// Where the certificate lies that is shown for a name in place of a later one.
fn shown_for<'c>(
    name: &str,
    later: &'c LoadedCertificate,
    before: &'c [LoadedCertificate],
) -> &'c Path {
    let kind = later.key.key.algorithm();
    let is_shown = |one: &&LoadedCertificate| {
        one.key.key.algorithm() == kind && dns_names(&one.facts).any(|other| other == name)
    };
    &before.iter().find(is_shown).unwrap_or(later).path
}

/// `false`: there is one of its kind.
fn add(choice: &mut Choice, key: &Arc<CertifiedKey>) -> bool {
    let kind = key.key.algorithm();
    if choice.iter().any(|other| other.key.algorithm() == kind) {
        return choice.iter().any(|other| Arc::ptr_eq(other, key));
    }
    choice.push(Arc::clone(key));
    choice.sort_by_key(|key| rank(key.key.algorithm()));
    true
}

/// The cheaper to sign with, the better.
fn rank(kind: SignatureAlgorithm) -> u8 {
    match kind {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::PROVIDER;
    use crate::tls::testing::{Authority, Made, certificate};

    const BOTH: &[SignatureScheme] =
        &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
    const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

    fn own(made: &Made, path: &str) -> LoadedCertificate {
        LoadedCertificate::link(&certificate(made, path), &PROVIDER).unwrap()
    }

    #[test]
    fn a_name_has_its_certificate() {
        let authority = Authority::new("CA");
        let certificates = [
            own(&authority.server(&["a.test", "192.0.2.1"]), "first"),
            own(&authority.server(&["b.test", "*.b.test"]), "b"),
            own(&authority.server(&["x.b.test", "*.c.b.test"]), "x"),
            own(&authority.rsa(&["b.test"]), "rsa"),
        ];
        let (resolver, warnings) = Resolver::new(&certificates);
        assert_eq!(warnings, [""; 0]);
        for (name, schemes, expected) in [
            (Some("a.test"), BOTH, "first"),
            (Some("b.test"), BOTH, "b"),
            (Some("b.test"), RSA, "rsa"),
            (Some("y.b.test"), BOTH, "b"),
            (Some("y.b.test"), RSA, "b"), // there is no other
            (Some("x.b.test"), BOTH, "x"),
            (Some("c.b.test"), BOTH, "b"),
            (Some("z.c.b.test"), BOTH, "x"),
            (Some("z.z.b.test"), BOTH, "first"), // one label
            (Some("192.0.2.1"), BOTH, "first"),
            (Some("unknown.test"), BOTH, "first"),
            (Some("test"), BOTH, "first"),
            (Some(".b.test"), BOTH, "b"),
            (Some(""), BOTH, "first"),
            (None, BOTH, "first"),
        ] {
            let found = resolver.choose(name, schemes).unwrap();
            let own = certificates.iter().find(|own| Arc::ptr_eq(&own.key, &found)).unwrap();
            assert_eq!(own.path.to_str(), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn the_first_of_a_name_is_shown() {
        let authority = Authority::new("CA");
        let certificates = [
            own(&authority.rsa(&["a.test"]), "rsa"),
            own(&authority.server(&["a.test", "a.test"]), "one"),
            own(&authority.server(&["a.test", "b.test"]), "two"),
        ];
        let (resolver, warnings) = Resolver::new(&certificates);
        assert_eq!(warnings, ["two: a.test is in one already, which is served instead"]);
        for (name, schemes, expected) in
            [("a.test", BOTH, 1), ("a.test", RSA, 0), ("b.test", BOTH, 2), ("other", BOTH, 1)]
        {
            let found = resolver.choose(Some(name), schemes).unwrap();
            assert!(Arc::ptr_eq(&found, &certificates[expected].key), "{name}");
        }
        assert!(Resolver::new(&[]).0.choose(Some("a.test"), BOTH).is_none());
    }
}
