//! Certificates, their keys and who signs them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::super::Scratch;

/// A certificate and its key, in files.
pub struct Certificate {
    pub der: CertificateDer<'static>,
    pub cert: String,
    pub key: String,
}

impl Certificate {
    /// One for this name that signs itself, in `folder`.
    pub fn new(folder: &Scratch, name: &str) -> Certificate {
        Certificate::until(folder, name, 90)
    }

    /// One that is good until a day, counted from today.
    pub fn until(folder: &Scratch, name: &str, day: i64) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        // Two of one name are not to be taken for one another.
        params.distinguished_name.push(DnType::CommonName, format!("{name} {day}"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let end = Duration::from_secs(now.checked_add_signed(day * 86_400).unwrap());
        params.not_after = date_time_ymd(1970, 1, 1) + end;
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        Certificate::write(folder, name, made.der(), &key)
    }

    fn write(
        folder: &Scratch,
        name: &str,
        der: &CertificateDer<'static>,
        own: &KeyPair,
    ) -> Certificate {
        // One name may have several.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}", NEXT.fetch_add(1, Relaxed));
        let [cert, key] = ["pem", "key"].map(|kind| folder.join(&format!("{name}.{kind}")));
        fs::write(&cert, pem("CERTIFICATE", der)).unwrap();
        fs::write(&key, pem("PRIVATE KEY", own.serialized_der())).unwrap();
        Certificate { der: der.clone(), cert, key }
    }

    /// Its key, as rustls takes it.
    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        let text = fs::read_to_string(&self.key).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('-'));
        let der = data_encoding::BASE64.decode(lines.collect::<String>().as_bytes()).unwrap();
        PrivateKeyDer::try_from(der).unwrap()
    }
}

/// Signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: Scratch,
    /// The file that has its certificate.
    pub ca: String,
}

impl Authority {
    /// One of this name.
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Authority::of(params)
    }

    /// Somebody whose certificate is a server's of this name, and may sign others or not: who signs all the same.
    pub fn pretended(name: &str, is_ca: IsCa) -> Authority {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = is_ca;
        Authority::of(params)
    }

    fn of(params: CertificateParams) -> Authority {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = Scratch::new();
        let ca = folder.join("ca.pem");
        fs::write(&ca, pem("CERTIFICATE", issuer.der())).unwrap();
        Authority { issuer, folder, ca }
    }

    /// Its own certificate, as a server or a client may show it.
    pub fn own(&self) -> Certificate {
        Certificate::write(&self.folder, "own", self.issuer.der(), self.issuer.key())
    }

    /// A certificate for a name or an address.
    pub fn sign(&self, name: &str) -> Certificate {
        self.sign_until(name, 4096)
    }

    /// A certificate that is good until the beginning of a year.
    pub fn sign_until(&self, name: &str, year: i32) -> Certificate {
        self.issue(|params| {
            let named = CertificateParams::new([name.to_owned()]).unwrap();
            params.subject_alt_names = named.subject_alt_names;
            params.not_after = date_time_ymd(year, 1, 1);
        })
    }

    /// A certificate of nobody, but for what `change` makes of it.
    pub fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Certificate::write(&self.folder, "issued", made.der(), &key)
    }

    /// A file with a list that revokes the certificate with this number.
    pub fn revoke(&self, number: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: number.into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.folder.join("revoked.pem");
        fs::write(&path, pem("X509 CRL", list.signed_by(&self.issuer).unwrap().der())).unwrap();
        path
    }

    /// Whom somebody believes who believes this authority and nobody else.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// A server that demands certificates that this authority has signed.
    pub fn demanded_by(&self, certificate: &Certificate) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots())).build().unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        let chain = vec![certificate.der.clone()];
        Arc::new(builder.with_single_cert(chain, certificate.private_key()).unwrap())
    }
}

/// A server with this certificate.
pub fn serving(certificate: &Certificate) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder().with_no_client_auth();
    let chain = vec![certificate.der.clone()];
    Arc::new(builder.with_single_cert(chain, certificate.private_key()).unwrap())
}

/// `der` as a file in PEM has it.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
