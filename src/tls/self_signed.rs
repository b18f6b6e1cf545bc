//! Certificates of our own, for development: a local authority, made once, and a certificate that it signs.
//!
//! In the folder lie `ca.pem`, for those who are to believe us, `ca-with-key.pem`, and a file for each set of names.
//! A certificate and its key are one file, so that no moment has one without the other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};

use super::facts::X509Certificate;
use super::state_files::{self, create, read, replace};
use super::{PROVIDER, pem};
use crate::base::{self, CertificateFacts};
use crate::config::{CertificateSpec, PemFile};

const DAY: u64 = 24 * 60 * 60;
/// How long the authority holds, and how long a certificate.
const AUTHORITY_DAYS: u64 = 3652;
const LEAF_DAYS: u64 = 90;
/// A certificate that holds for less than this is made anew.
const RENEWED_DAYS: u64 = 30;
/// Clocks may be that wrong, in seconds.
const SKEW: u64 = 60 * 60;
/// What every certificate is good for.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// What the authority's files are called.
const OF_AUTHORITY: [&str; 2] = ["ca", "ca-with-key"];
/// The name of the authority. It stays as it is: those that were made before have it.
const AUTHORITY: &str = "tidegate local authority";

/// A certificate of our own.
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// What is served.
    pub certificate: CertificateSpec,
    /// The certificate of the authority, for `curl --cacert`.
    pub ca: PathBuf,
}

/// From when on such a certificate is to be made anew, in seconds after the epoch.
pub fn self_signed_renewal_due_at(facts: &CertificateFacts) -> u64 {
    (facts.not_after + 1).saturating_sub(RENEWED_DAYS * DAY)
}

/// A certificate for these DNS names and addresses, and for this machine: the one in `folder`, if it still fits at
/// `now`, or a new one.
///
/// # Errors
/// What is wrong with a name, with the folder, or with what lies in it.
pub fn self_signed(names: &[String], folder: &Path, now: UnixTime) -> Result<SelfSigned, String> {
    let wanted = checked(names)?;
    state_files::folder(folder)?;
    let authority = Authority::load_or_make(folder, now)?;
    let path = folder.join(file_name(names, &wanted));
    let kept = read(&path)?.filter(|text| authority.stands_behind(text, &wanted, now));
    let text = match kept {
        Some(text) => text,
        None => {
            let text = authority.sign(&wanted, now)?;
            replace(&path, &text)?;
            text
        }
    };
    let certificate = state_files::certificate(path, &text);
    Ok(SelfSigned { certificate, ca: folder.join("ca.pem") })
}

/// The names as a certificate has them, those of this machine among them.
fn checked(names: &[String]) -> Result<BTreeSet<String>, String> {
    let mut wanted: BTreeSet<String> = LOCAL.map(str::to_owned).into();
    for name in names {
        wanted.insert(match (IpAddr::from_str(name), DnsName::try_from(name.as_str())) {
            (Ok(address), _) => address.to_string(),
            (_, Ok(_)) => name.to_ascii_lowercase(),
            _ => return Err(format!("{name:?} is neither a DNS name nor an address")),
        });
    }
    Ok(wanted)
}

/// A file for each set of names, which begins with the first of them: `a.test.pem`, `a.test+2-0f3a9c1e.pem`. None is
/// the authority's.
fn file_name(names: &[String], wanted: &BTreeSet<String>) -> String {
    let first = names.first().map_or("localhost", String::as_str).to_ascii_lowercase();
    let is_plain = names.len() <= 1 && first.len() <= 100 && !OF_AUTHORITY.contains(&&*first);
    if is_plain {
        return format!("{first}.pem");
    }
    let digest = base::keyed_digest(&[0; 32], wanted.iter().map(|name| name.as_bytes()));
    let (first, more) = (&first[..first.len().min(100)], names.len().saturating_sub(1));
    format!("{first}+{more}-{:08x}.pem", digest as u32)
}

struct Authority {
    /// Its certificate.
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    /// The one in the folder, or a new one where there is none, or an old one.
    fn load_or_make(folder: &Path, now: UnixTime) -> Result<Authority, String> {
        let path = folder.join("ca-with-key.pem");
        let mut authority = match read(&path)? {
            Some(text) => Authority::parse(&path, &text)?,
            None => {
                // Of two that begin at once, the first makes it, and both have it.
                create(&path, &Authority::make(now)?)?;
                let text = read(&path)?.unwrap_or_default();
                Authority::parse(&path, &text)?
            }
        };
        let until = X509Certificate::read(&authority.der).map_or(0, |read| read.not_after());
        if until < now.as_secs() + LEAF_DAYS * DAY {
            let text = Authority::make(now)?;
            replace(&path, &text)?;
            authority = Authority::parse(&path, &text)?;
        }
        let public = pem::write("CERTIFICATE", &authority.der);
        let path = folder.join("ca.pem");
        if read(&path)?.as_ref() != Some(&public) {
            replace(&path, &public)?;
        }
        Ok(authority)
    }

    /// A certificate and its key, as text.
    fn make(now: UnixTime) -> Result<String, String> {
        let key = new_key()?;
        let mut params = Authority::params();
        lasts(&mut params, now, AUTHORITY_DAYS);
        let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
        Ok(pem::write("CERTIFICATE", certificate.der())
            + &pem::write("PRIVATE KEY", key.serialized_der()))
    }

    fn parse(path: &Path, text: &str) -> Result<Authority, String> {
        let shown = path.display().to_string();
        let odd = |why: String| format!("{why}; remove {shown} to have another authority made");
        let file = PemFile { path: path.to_owned(), text: text.into() };
        let der = pem::certificates(&file).map_err(odd)?.swap_remove(0);
        let key = pem::key(text, &shown).map_err(odd)?;
        let key = KeyPair::try_from(&key).map_err(|_| odd(format!("{shown} has a strange key")))?;
        Ok(Authority { der, key })
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, AUTHORITY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// Whether a certificate is for these names, and whoever believes the authority takes it, for a while yet.
    fn stands_behind(&self, text: &str, wanted: &BTreeSet<String>, now: UnixTime) -> bool {
        let later = Duration::from_secs(now.as_secs() + RENEWED_DAYS * DAY);
        let check = || {
            let file = PemFile { path: PathBuf::new(), text: text.into() };
            let leaf = pem::certificates(&file).ok()?.swap_remove(0);
            let names = X509Certificate::read(&leaf)?.facts(&leaf).names;
            let mut roots = RootCertStore::empty();
            roots.add(self.der.clone()).ok()?;
            let provider = Arc::clone(&PROVIDER);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
            let later = UnixTime::since_unix_epoch(later);
            let name = ServerName::try_from(LOCAL[0]).ok()?;
            verifier.build().ok()?.verify_server_cert(&leaf, &[], &name, &[], later).ok()?;
            let key = pem::key(text, "").ok()?;
            rustls::sign::CertifiedKey::from_der(vec![leaf], key, &PROVIDER).ok()?;
            (names.into_iter().collect::<BTreeSet<_>>() == *wanted).then_some(())
        };
        check().is_some()
    }

    /// A new certificate and its key, as text.
    fn sign(&self, names: &BTreeSet<String>, now: UnixTime) -> Result<String, String> {
        let key = new_key()?;
        let names: Vec<String> = names.iter().cloned().collect();
        let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "tidegate");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        lasts(&mut params, now, LEAF_DAYS);
        let authority = Authority::params();
        let issuer = Issuer::from_params(&authority, &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(|error| failed(&error))?;
        Ok(pem::write("CERTIFICATE", certificate.der())
            + &pem::write("PRIVATE KEY", key.serialized_der()))
    }
}

fn new_key() -> Result<KeyPair, String> {
    KeyPair::generate().map_err(|error| failed(&error)) // ECDSA over P-256
}

fn lasts(params: &mut CertificateParams, now: UnixTime, days: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now.as_secs().saturating_sub(SKEW));
    params.not_after = epoch + Duration::from_secs(now.as_secs() + days * DAY);
}

fn failed(error: &rcgen::Error) -> String {
    format!("no certificate could be made: {error}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use data_encoding::HEXLOWER;

    use super::*;
    use crate::tls::testing::{handshake, server_spec, trusting};
    use crate::tls::{ServerTls, TicketKeys};

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let random = HEXLOWER.encode(&base::random_secret()[..8]);
            Folder(std::env::temp_dir().join(format!("tidegate-tls-{random}")))
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }

        fn make(&self, names: &[&str], days: u64) -> Result<SelfSigned, String> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let now = Duration::from_secs(UnixTime::now().as_secs() + days * DAY);
            self_signed(&names, &self.0.join("deep/tls"), UnixTime::since_unix_epoch(now))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn whoever_believes_the_authority_believes_us() {
        let folder = Folder::new();
        let made = folder.make(&["app.test", "192.0.2.1"], 0).unwrap();
        let mut spec = server_spec(&[]);
        spec.certificates.push(made.certificate);
        let server = ServerTls::link(&spec, &TicketKeys::new(), None).unwrap();
        assert_eq!(server.warnings, [""; 0]);
        let client = trusting(&fs::read_to_string(&made.ca).unwrap());
        for (name, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("app.test", true),
            ("192.0.2.1", true),
            ("other.test", false),
        ] {
            assert_eq!(handshake(&server.config, &client, name).is_ok(), expected, "{name}");
        }
    }

    #[test]
    fn a_certificate_is_made_when_the_old_one_does_not_fit() {
        let folder = Folder::new();
        let first = folder.make(&["a.test"], 0).unwrap().certificate;
        let authority = folder.text("deep/tls/ca.pem");
        for (names, days, is_kept) in [
            (&["a.test"][..], 0, true),
            (&["A.test"], 59, true),
            (&["b.test"], 0, false),
            (&["a.test"], 0, true), // it has a file of its own
            (&["a.test"], 61, false),
        ] {
            let now = folder.make(names, days).unwrap().certificate;
            assert_eq!(now == first, is_kept, "{names:?} after {days} days");
            assert!(!format!("{now:?}").contains("PRIVATE"));
        }
        assert_eq!(folder.text("deep/tls/ca.pem"), authority);
        // Others, as many, are in a file of their own.
        let two = folder.make(&["a.test", "b.test"], 0).unwrap().certificate;
        let others = folder.make(&["a.test", "c.test"], 0).unwrap().certificate;
        assert_ne!(two.chain.path, others.chain.path);
        assert_eq!(folder.make(&["A.test", "b.test"], 0).unwrap().certificate, two);
        // Ten years later.
        folder.make(&["a.test"], 3600).unwrap();
        assert_ne!(folder.text("deep/tls/ca.pem"), authority);
    }

    #[test]
    fn no_name_takes_the_files_of_the_authority_or_one_too_long() {
        let folder = Folder::new();
        let first = folder.make(&["localhost"], 0).unwrap();
        let files =
            ["ca.pem", "ca-with-key.pem"].map(|name| folder.text(&format!("deep/tls/{name}")));
        let long = ["a"; 120].join(".");
        for name in ["ca", "CA", "ca-with-key", &long] {
            let made = folder.make(&[name], 0).unwrap();
            assert_ne!(made.certificate.chain.path, made.ca);
            assert_eq!(folder.make(&[name], 0).unwrap().certificate, made.certificate, "{name}");
        }
        let now =
            ["ca.pem", "ca-with-key.pem"].map(|name| folder.text(&format!("deep/tls/{name}")));
        assert_eq!(now, files);
        assert_eq!(folder.make(&["localhost"], 0).unwrap().certificate, first.certificate);
    }

    #[test]
    fn another_authority_signs_anew() {
        let folder = Folder::new();
        let first = folder.make(&["a.test"], 0).unwrap();
        fs::remove_file(folder.0.join("deep/tls/ca-with-key.pem")).unwrap();
        let second = folder.make(&["a.test"], 0).unwrap();
        assert_ne!(first.certificate.chain.text, second.certificate.chain.text);
    }

    #[test]
    fn files_are_ours_alone_and_no_draft_is_left() {
        let folder = Folder::new();
        folder.make(&["a.test"], 0).unwrap();
        folder.make(&["a.test"], 80).unwrap();
        let mut names = Vec::new();
        for entry in fs::read_dir(folder.0.join("deep/tls")).unwrap() {
            let entry = entry.unwrap();
            names.push(entry.file_name().into_string().unwrap());
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        names.sort();
        assert_eq!(names, ["a.test.pem", "ca-with-key.pem", "ca.pem"]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let folder = Folder::new();
        for (name, expected) in [
            ("../up", "\"../up\" is neither a DNS name nor an address"),
            ("a b", "\"a b\" is neither a DNS name nor an address"),
            ("", "\"\" is neither a DNS name nor an address"),
        ] {
            assert_eq!(folder.make(&[name], 0).unwrap_err(), expected);
        }
        folder.make(&["a.test"], 0).unwrap();
        fs::write(folder.0.join("deep/tls/ca-with-key.pem"), "nothing").unwrap();
        let told = folder.make(&["a.test"], 0).unwrap_err();
        assert!(told.contains("ca-with-key.pem has no certificate in PEM; remove"), "{told}");
        fs::write(folder.0.join("file"), "").unwrap();
        let told = self_signed(&[], &folder.0.join("file/tls"), UnixTime::now()).unwrap_err();
        assert!(told.starts_with("cannot make"), "{told}");
    }
}
