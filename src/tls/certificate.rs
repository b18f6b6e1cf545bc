//! A certificate of ours, with its key: what `[[tls.certificates]]` or an upstream's `certificate` asks for, checked.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

use super::facts::{Certificate, CertificateFacts};
use super::pem;
use crate::base::Date;
use crate::config::{CertificateSpec, PemFile};

/// Certificates from the leaf to the root.
const CHAIN_MOST: usize = 16;
/// What every answer about a certificate begins with in DER: a sequence.
const SEQUENCE: u8 = 0x30;

/// A certificate that can be shown.
pub struct OwnCertificate {
    /// Where its chain lies.
    pub path: PathBuf,
    pub key: Arc<CertifiedKey>,
    pub facts: CertificateFacts,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

impl OwnCertificate {
    /// Reads chain and key, and looks whether they fit. Dates are not looked at: see [`out_of_date`].
    pub fn link(spec: &CertificateSpec, provider: &CryptoProvider) -> Result<Self, String> {
        let path = spec.chain.path.display();
        let chain = pem::certificates(&spec.chain)?;
        if chain.len() > CHAIN_MOST {
            return Err(format!("{path} has more than {CHAIN_MOST} certificates"));
        }
        let read = |der: &CertificateDer<'_>| Certificate::read(der);
        let certificates: Option<Vec<Certificate>> = chain.iter().map(read).collect();
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
                    format!("{path} begins with a certificate that no server may have")
                }
                // What is said of the key itself may have octets of it.
                _ => {
                    format!("the key {} is of no kind that is known: RSA, ECDSA, Ed25519", spec.key)
                }
            })?;
        key.ocsp = spec.ocsp.as_ref().map(|answer| answer.to_vec());
        if key.ocsp.as_ref().is_some_and(|answer| answer.first() != Some(&SEQUENCE)) {
            return Err(format!("the OCSP answer for {path} is not in DER"));
        }
        let mut warnings = Vec::new();
        let is_chain = |pair: &[Certificate]| pair[0].issuer() == pair[1].subject();
        if !certificates.windows(2).all(is_chain) {
            warnings.push(format!("{path}: not every certificate is signed by the next one"));
        }
        Ok(OwnCertificate { path: spec.chain.path.clone(), key: Arc::new(key), facts, warnings })
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
    (now < not_before).then(|| format!("{what} is not valid yet, but from {}", day(not_before)))
}

/// Those who sign the certificates of peers. `is_strict`: only such as say that they may.
pub fn authorities(file: &PemFile, is_strict: bool) -> Result<RootCertStore, String> {
    let path = file.path.display();
    let mut roots = RootCertStore::empty();
    for (number, der) in pem::certificates(file)?.into_iter().enumerate() {
        let number = number + 1;
        let Some(certificate) = Certificate::read(&der) else {
            return Err(format!("{path}: certificate {number} cannot be read"));
        };
        if is_strict && !certificate.is_ca() {
            return Err(format!(
                "{path}: certificate {number} is not one of an authority (CA:TRUE), so nothing it signs is valid"
            ));
        }
        roots.add(der).map_err(|_| format!("{path}: certificate {number} cannot be trusted"))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DerFile, Secret};
    use crate::tls::PROVIDER;
    use crate::tls::testing::{Authority, Made, file};

    fn told(chain: &str, key: &str, ocsp: Option<&[u8]>) -> Result<Vec<String>, String> {
        let spec = CertificateSpec {
            chain: file("x.pem", chain),
            key: Secret::new(key, "k.pem"),
            ocsp: ocsp.map(|octets| DerFile { path: "ocsp".into(), octets: octets.into() }),
        };
        OwnCertificate::link(&spec, &PROVIDER).map(|linked| linked.warnings)
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
        for (chain, key, ocsp, expected) in [
            (chain_pem, key_pem, None, ""),
            (chain_pem, key_pem, Some(&[0x30, 0][..]), ""),
            (&format!("{chain_pem}{ca}"), key_pem, None, ""),
            (chain_pem, key_pem, Some(b""), "the OCSP answer for x.pem is not in DER"),
            (chain_pem, &other.key_pem, None, "the key k.pem does not fit the first certificate"),
            (&ca, key_pem, None, "the key k.pem does not fit the first certificate in x.pem"),
            (&broken, key_pem, None, "x.pem has a certificate that cannot be read"),
            (chain_pem, &no_key, None, "the key k.pem is of no kind that is known"),
            (&many, key_pem, None, "x.pem has more than 16 certificates"),
        ] {
            let told = told(chain, key, ocsp);
            let said = told.as_ref().err().map_or("", String::as_str);
            assert!(said.starts_with(expected), "{said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
            assert!(told.is_err() || told == Ok(Vec::new()));
        }
        let odd = ["x.pem: not every certificate is signed by the next one".to_owned()];
        assert_eq!(told(&mixed, key_pem, None), Ok(odd.to_vec()));
    }

    #[test]
    fn dates_are_told_by_the_day() {
        const DAY: u64 = 86_400;
        for (now, expected) in [
            (0, Some("it is not valid yet, but from 1970-01-11")),
            (10 * DAY - 1, Some("it is not valid yet, but from 1970-01-11")),
            (10 * DAY, None),
            (20 * DAY, None),
            (20 * DAY + 1, Some("it has expired, on 1970-01-21")),
        ] {
            assert_eq!(out_of_date("it", 10 * DAY, 20 * DAY, now).as_deref(), expected);
        }
    }

    #[test]
    fn authorities_say_that_they_are() {
        let authority = Authority::new("CA");
        let leaf = authority.server(&["a.test"]).chain_pem;
        for (text, is_strict, expected) in [
            (authority.pem(), true, Ok(1)),
            (format!("{}{}", authority.pem(), Authority::new("Two").pem()), true, Ok(2)),
            (leaf.clone(), false, Ok(1)),
            (
                format!("{}{leaf}", authority.pem()),
                true,
                Err(
                    "ca.pem: certificate 2 is not one of an authority (CA:TRUE), so nothing it signs is valid",
                ),
            ),
            (pem::write("CERTIFICATE", b"x"), true, Err("ca.pem: certificate 1 cannot be read")),
            (String::new(), true, Err("ca.pem has no certificate in PEM")),
        ] {
            let roots = authorities(&file("ca.pem", &text), is_strict);
            assert_eq!(roots.map(|roots| roots.len()), expected.map_err(str::to_owned));
        }
    }
}
