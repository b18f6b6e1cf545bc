//! Certificates in files, checked: ours, with their keys, as `tls.certificate`, `tls.cert` and `upstream-tls.cert` name
//! them, and those of whom we trust.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

use super::facts::X509Certificate;
use super::{PROVIDER, pem};
use crate::base::{CertificateFacts, Date};
use crate::config::{CertificateSpec, PemFile};

/// Certificates from the leaf to the root.
const CHAIN_MOST: usize = 16;

/// A certificate that can be shown.
pub struct LoadedCertificate {
    /// Where its chain lies.
    pub path: PathBuf,
    pub key: Arc<CertifiedKey>,
    pub facts: CertificateFacts,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

impl LoadedCertificate {
    /// Reads chain and key, and looks whether they fit. Dates are not looked at: see [`out_of_date`].
    pub fn link(spec: &CertificateSpec, provider: &CryptoProvider) -> Result<Self, String> {
        let path = spec.chain.path.display();
        let chain = pem::certificates(&spec.chain)?;
        if chain.len() > CHAIN_MOST {
            return Err(format!("{path} has more than {CHAIN_MOST} certificates"));
        }
        let read = |der: &CertificateDer<'_>| X509Certificate::read(der);
        let certificates: Option<Vec<X509Certificate>> = chain.iter().map(read).collect();
        let Some(certificates) = certificates else {
            return Err(format!("{path} has a certificate that cannot be read"));
        };
        let facts = certificates[0].facts(&chain[0]);
        let key = pem::key(&spec.key, &spec.key.to_string())?;
        let mut key =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
                Error::InconsistentKeys(_) => {
                    format!("the key {} does not fit the first certificate in {path}", spec.key)
                }
                Error::InvalidCertificate(_) => {
                    format!(
                        "{path}: its first certificate has a version or a key that is not supported"
                    )
                }
                // What is said of the key itself may have octets of it.
                _ => {
                    format!("the key {} is of no kind that is known: RSA, ECDSA, Ed25519", spec.key)
                }
            })?;
        key.ocsp = spec.ocsp.as_ref().map(|answer| answer.to_vec());
        let mut warnings = Vec::new();
        let is_chain = |pair: &[X509Certificate]| pair[0].issuer() == pair[1].subject();
        if !certificates.windows(2).all(is_chain) {
            warnings.push(format!(
                "{path}: the chain is out of order: an issuer is not the next subject"
            ));
        }
        Ok(LoadedCertificate { path: spec.chain.path.clone(), key: Arc::new(key), facts, warnings })
    }
}

/// What a certificate says, whose key fits, and which has this name and no other: it would be shown for others, too.
///
/// # Errors
/// Why it can never be served.
pub fn facts_of(spec: &CertificateSpec, name: &str) -> Result<CertificateFacts, String> {
    let LoadedCertificate { facts, path, .. } = LoadedCertificate::link(spec, &PROVIDER)?;
    match facts.names == [name] {
        true => Ok(facts),
        false => Err(format!("the certificate in {} is not for {name} alone", path.display())),
    }
}

/// What to say of a certificate that does not hold at `now`, in seconds after the epoch.
pub fn out_of_date(what: &str, not_before: u64, not_after: u64, now: u64) -> Option<String> {
    let day = |second: u64| {
        let mut text = String::new();
        Date::of_second(second).rfc3339(&mut text);
        text.truncate("2026-11-21".len());
        text
    };
    if now > not_after {
        return Some(format!("{what} has expired, on {}", day(not_after)));
    }
    (now < not_before).then(|| format!("{what} is not valid before {}", day(not_before)))
}

/// A certificate of somebody whom we trust.
pub struct TrustedCertificate {
    pub der: CertificateDer<'static>,
    pub read: X509Certificate,
}

/// The certificates of a file, which are one and more.
pub fn trusted(file: &PemFile) -> Result<Vec<TrustedCertificate>, String> {
    let read = |(number, der): (usize, CertificateDer<'static>)| {
        let read = X509Certificate::read(&der);
        let read = read.ok_or_else(|| {
            format!("{}: certificate {} cannot be read", file.path.display(), number + 1)
        })?;
        Ok(TrustedCertificate { der, read })
    };
    pem::certificates(file)?.into_iter().enumerate().map(read).collect()
}

/// Those of them that are of authorities (CA:TRUE, RFC 5280 section 4.2.1.9): they may sign the certificates of peers.
pub fn authorities(file: &PemFile, all: &[TrustedCertificate]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, one) in all.iter().enumerate().filter(|(_, one)| one.read.is_ca()) {
        roots.add(one.der.clone()).map_err(|_| {
            format!("{}: certificate {} cannot be trusted", file.path.display(), number + 1)
        })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::tls::testing::{Authority, Made, file};

    fn told(chain: &str, key: &str) -> Result<Vec<String>, String> {
        let spec = CertificateSpec {
            chain: file("x.pem", chain),
            key: Secret::new(key, "k.pem"),
            ocsp: None,
        };
        LoadedCertificate::link(&spec, &PROVIDER).map(|linked| linked.warnings)
    }

    #[test]
    fn what_is_wrong_is_told() {
        let authority = Authority::new("CA");
        let Made { chain_pem, key_pem, .. } = &authority.server(&["a.test"]);
        let other = authority.server(&["b.test"]);
        let (ca, mixed) = (authority.pem(), format!("{chain_pem}{}", other.chain_pem));
        let broken = pem::write("CERTIFICATE", b"none");
        let no_key = pem::write("PRIVATE KEY", b"none");
        let many = chain_pem.repeat(CHAIN_MOST + 1);
        for (chain, key, expected) in [
            (chain_pem, key_pem, ""),
            (&format!("{chain_pem}{ca}"), key_pem, ""),
            (chain_pem, &other.key_pem, "the key k.pem does not fit the first certificate"),
            (&ca, key_pem, "the key k.pem does not fit the first certificate in x.pem"),
            (&broken, key_pem, "x.pem has a certificate that cannot be read"),
            (chain_pem, &no_key, "the key k.pem is of no kind that is known"),
            (&many, key_pem, "x.pem has more than 16 certificates"),
        ] {
            let told = told(chain, key);
            let said = told.as_ref().err().map_or("", String::as_str);
            assert!(said.starts_with(expected), "{said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
            assert!(told.is_err() || told == Ok(Vec::new()));
        }
        let odd =
            ["x.pem: the chain is out of order: an issuer is not the next subject".to_owned()];
        assert_eq!(told(&mixed, key_pem), Ok(odd.to_vec()));
    }

    #[test]
    fn dates_are_told_by_the_day() {
        const DAY: u64 = 86_400;
        for (now, expected) in [
            (0, Some("it is not valid before 1970-01-11")),
            (10 * DAY - 1, Some("it is not valid before 1970-01-11")),
            (10 * DAY, None),
            (20 * DAY, None),
            (20 * DAY + 1, Some("it has expired, on 1970-01-21")),
        ] {
            assert_eq!(out_of_date("it", 10 * DAY, 20 * DAY, now).as_deref(), expected);
        }
    }

    #[test]
    fn only_authorities_may_sign() {
        let (authority, leaf) = (Authority::new("CA"), Authority::new("CA").server(&["a.test"]));
        let (ca, leaf) = (authority.pem(), leaf.chain_pem);
        for (text, expected) in [
            (ca.clone(), Ok((1, 1))),
            (format!("{ca}{leaf}{}", Authority::new("Two").pem()), Ok((3, 2))),
            (leaf, Ok((1, 0))),
            (
                format!("{ca}{}", pem::write("CERTIFICATE", b"x")),
                Err("ca.pem: certificate 2 cannot be read"),
            ),
            (String::new(), Err("ca.pem has no certificate in PEM")),
        ] {
            let file = file("ca.pem", &text);
            let found = trusted(&file).and_then(|all| {
                let roots = authorities(&file, &all)?;
                Ok((all.len(), roots.len()))
            });
            assert_eq!(found, expected.map_err(str::to_owned));
        }
    }
}
