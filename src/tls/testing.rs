//! What the tests of this room share: authorities, certificates, and handshakes in memory.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, RsaKeySize, SerialNumber, date_time_ymd,
};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
    Tls12ClientSessionValue, Tls13ClientSessionValue, WantsClientCert,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, Error, HandshakeKind, NamedGroup, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};

use super::certificate::{LoadedCertificate, authorities, trusted};
use super::{ClientTls, PROVIDER, pem};
use crate::config::{
    CertificateSpec, PemFile, Secret, TlsSpec, TlsVersion, UpstreamTlsSpec, Verify,
};

/// A day, in seconds.
pub const DAYS: u64 = 24 * 60 * 60;

/// A clock that stands until it is told to go on.
#[derive(Debug)]
pub struct Clock(AtomicU64);

impl Clock {
    pub fn new(unix_s: u64) -> Arc<Clock> {
        Arc::new(Clock(AtomicU64::new(unix_s)))
    }

    pub fn go_to(&self, unix_s: u64) {
        self.0.store(unix_s, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Made {
    pub chain_pem: String,
    pub key_pem: String,
    der: Vec<u8>,
    serial: SerialNumber,
}

impl Made {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair, serial: SerialNumber) -> Made {
        Made {
            chain_pem: pem::write("CERTIFICATE", certificate.der()),
            key_pem: pem::write("PRIVATE KEY", key.serialized_der()),
            der: certificate.der().to_vec(),
            serial,
        }
    }

    pub fn leaf(&self) -> &[u8] {
        &self.der
    }
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        Authority::until(name, 3652)
    }

    /// One that holds until a day, counted from today.
    pub fn until(name: &str, to: i64) -> Authority {
        let mut params = CertificateParams::default();
        lasts(&mut params, -999, to);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn der(&self) -> &[u8] {
        self.0.der()
    }

    pub fn pem(&self) -> String {
        pem::write("CERTIFICATE", self.der())
    }

    /// For servers, for 90 days.
    pub fn server(&self, names: &[&str]) -> Made {
        self.server_for(names, -1, 90)
    }

    /// For servers, from one day to another, counted from today.
    pub fn server_for(&self, names: &[&str], from: i64, to: i64) -> Made {
        self.with_key(KeyPair::generate().unwrap(), |params| {
            params.subject_alt_names = alt_names(names);
            lasts(params, from, to);
        })
    }

    /// For servers, with an RSA key.
    pub fn rsa(&self, names: &[&str]) -> Made {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        self.with_key(key, |params| params.subject_alt_names = alt_names(names))
    }

    /// For clients, from one day to another, counted from today.
    pub fn client(&self, name: &str, from: i64, to: i64) -> Made {
        self.sign(|params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            lasts(params, from, to);
        })
    }

    /// One for a server that is none of an authority, and one for the same name that is signed with its key.
    pub fn signed_by_leaf(&self, name: &str) -> (Made, Made) {
        let mut subject = CertificateParams::default();
        subject.distinguished_name.push(DnType::CommonName, "none of an authority");
        let key = KeyPair::generate().unwrap();
        let again = KeyPair::try_from(key.serialized_der()).unwrap();
        let leaf = self.with_key(key, |params| {
            params.distinguished_name = subject.distinguished_name.clone();
            params.subject_alt_names = alt_names(&[name]);
        });
        let issuer = Issuer::new(subject, again);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        lasts(&mut params, -1, 90);
        let signed = params.signed_by(&key, &issuer).unwrap();
        (leaf, Made::new(&signed, &key, SerialNumber::from(1u64)))
    }

    /// Anything else.
    pub fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Made {
        self.with_key(KeyPair::generate().unwrap(), change)
    }

    fn with_key(&self, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let serial = SerialNumber::from_slice(&crate::base::random_secret()[1..9]);
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial.clone());
        lasts(&mut params, -1, 90);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Made::new(&certificate, &key, serial)
    }

    /// A revocation list, which holds until a day, counted from today.
    pub fn crl(&self, revoked: &[&Made], to: i64) -> String {
        let revoked = revoked.iter().map(|made| RevokedCertParams {
            serial_number: made.serial.clone(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(1970, 1, 1) + Duration::from_secs(day(to)),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        pem::write("X509 CRL", list.signed_by(&self.0).unwrap().der())
    }
}

fn alt_names(names: &[&str]) -> Vec<rcgen::SanType> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap().subject_alt_names
}

pub fn lasts(params: &mut CertificateParams, from: i64, to: i64) {
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(day(from));
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(day(to));
}

/// A day counted from today, as seconds after the epoch.
fn day(from_today: i64) -> u64 {
    let today = UnixTime::now().as_secs() / DAYS * DAYS;
    today.checked_add_signed(from_today * DAYS as i64).unwrap()
}

// ---- what is asked for ----

pub fn file(path: &str, text: &str) -> PemFile {
    PemFile { path: PathBuf::from(path), text: text.into() }
}

pub fn certificate(made: &Made, path: &str) -> CertificateSpec {
    CertificateSpec {
        chain: file(path, &made.chain_pem),
        key: Secret::new(&made.key_pem, "k.pem"),
        ocsp: None,
    }
}

/// `[tls]` with these certificates, in `0.pem`, `1.pem` and so on.
pub fn server_spec(made: &[&Made]) -> TlsSpec {
    let certificates = made.iter().enumerate();
    TlsSpec {
        certificates: certificates
            .map(|(n, made)| certificate(made, &format!("{n}.pem")))
            .collect(),
        self_signed: Vec::new(),
        acme: None,
        min_version: TlsVersion::Tls12,
        client_ca: None,
        crl: None,
    }
}

pub fn upstream_spec(ca: &str) -> UpstreamTlsSpec {
    UpstreamTlsSpec {
        ca: Some(file("ca.pem", ca)),
        server_name: None,
        certificate: None,
        verify: Verify::Full,
    }
}

/// A client that trusts this authority.
pub fn trusting(ca: &str) -> Arc<ClientConfig> {
    ClientTls::link(&upstream_spec(ca), None).unwrap().config
}

/// One that takes any certificate, and offers these application protocols.
pub fn offering(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let spec = UpstreamTlsSpec { verify: Verify::Off, ..UpstreamTlsSpec::default() };
    let mut config = ClientConfig::clone(&ClientTls::link(&spec, None).unwrap().config);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// One that speaks one version alone.
pub fn speaking(ca: &str, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(of_version(ca, version).with_no_client_auth())
}

/// One that shows a certificate.
pub fn showing(
    ca: &str,
    made: &Made,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let own = LoadedCertificate::link(&certificate(made, "client.pem"), &PROVIDER).unwrap();
    // Shown even where the server's hints are for other authorities.
    let own = Always(own.key);
    Arc::new(of_version(ca, version).with_client_cert_resolver(Arc::new(own)))
}

/// The certificate that somebody with the name `issuer` gives to `subject`; the signature is anybody's.
pub fn issued(issuer: &str, subject: &str) -> CertificateDer<'static> {
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let issuer = Issuer::new(named(issuer), KeyPair::generate().unwrap());
    let key = KeyPair::generate().unwrap();
    named(subject).signed_by(&key, &issuer).unwrap().der().clone()
}

fn of_version(
    ca: &str,
    version: &'static SupportedProtocolVersion,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let file = file("ca.pem", ca);
    let roots = authorities(&file, &trusted(&file).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER));
    builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots)
}

/// Shows one certificate to everybody.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The same client, but offering every server the sessions that it had with any.
pub fn with_one_session(client: &ClientConfig) -> Arc<ClientConfig> {
    let store = Arc::new(OneSession(ClientSessionMemoryCache::new(8)));
    let mut client = client.clone();
    client.resumption = Resumption::store(store);
    Arc::new(client)
}

#[derive(Debug)]
struct OneSession(ClientSessionMemoryCache);

fn any() -> ServerName<'static> {
    ServerName::try_from("any").unwrap()
}

impl ClientSessionStore for OneSession {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(any(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&any())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(any(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&any())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&any());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(any(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&any())
    }
}

// ---- handshakes ----

/// What both sides agreed on.
#[derive(Debug)]
pub struct Agreed {
    pub kind: HandshakeKind,
    /// What the server has shown, and what the client.
    pub server_leaf: Vec<u8>,
    pub client_leaf: Option<Vec<u8>>,
    pub server: ServerConnection,
    pub client: ClientConnection,
}

/// Which side gave up first, and why.
#[derive(Debug, PartialEq)]
pub enum GaveUp {
    Server(Error),
    Client(Error),
}

/// A handshake with a server of this name, and an exchange of one octet each way, so that tickets have come, too.
pub fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<Agreed, GaveUp> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).map_err(GaveUp::Server)?;
    let mut client = ClientConnection::new(Arc::clone(client), name).map_err(GaveUp::Client)?;
    let mut wire = Vec::new();
    for round in 0..8 {
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut records = wire.as_slice();
        while !records.is_empty() {
            server.read_tls(&mut records).unwrap();
            server.process_new_packets().map_err(GaveUp::Server)?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut records = wire.as_slice();
        while !records.is_empty() {
            client.read_tls(&mut records).unwrap();
            client.process_new_packets().map_err(GaveUp::Client)?;
        }
        wire.clear();
        if round == 5 {
            client.writer().write_all(b"?").unwrap();
            server.writer().write_all(b"!").unwrap();
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    let leaf = |chain: Option<&[CertificateDer<'_>]>| {
        chain.and_then(|chain| chain.first()).map(|leaf| leaf.to_vec())
    };
    Ok(Agreed {
        kind: server.handshake_kind().unwrap(),
        server_leaf: leaf(client.peer_certificates()).unwrap(),
        client_leaf: leaf(server.peer_certificates()),
        server,
        client,
    })
}
