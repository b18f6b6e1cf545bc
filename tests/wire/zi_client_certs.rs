//! Certificates of clients.
#![cfg(feature = "tls")]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls::{HandshakeKind, SupportedProtocolVersion};

use serde_json::json;

use crate::harness::{Configured, Origin, Proxy, Scratch, eventually, mirror, seen};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority, what it signs for the server, and the proxy's file of settings.
struct Case {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: Scratch,
}

/// A certificate of a client, and its key.
struct Leaf(CertificateDer<'static>, Vec<u8>);

impl Case {
    fn new() -> Case {
        let case = Case { ca: authority("CA"), folder: Scratch::new() };
        let leaf = case.leaf(|params| {
            params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
        });
        case.write("ca.pem", "CERTIFICATE", case.ca.der());
        case.write("site.pem", "CERTIFICATE", &leaf.0);
        case.write("site.key", "PRIVATE KEY", &leaf.1);
        case
    }

    fn write(&self, name: &str, label: &str, der: &[u8]) {
        let text = data_encoding::BASE64.encode(der);
        let text = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n");
        fs::write(self.folder.join(name), text).unwrap();
    }

    /// Signed by the authority.
    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        signed(&self.ca, change)
    }

    fn worker(&self) -> Leaf {
        self.leaf(|params| {
            params.distinguished_name.push(DnType::CommonName, "worker");
            params.subject_alt_names =
                vec![SanType::DnsName("worker.internal".try_into().unwrap())];
        })
    }

    /// A proxy that asks for certificates; `rest`: more of its settings.
    fn proxy(&self, origin: &Origin, rest: &str) -> Proxy {
        let file = |name: &str| self.folder.join(name);
        let text = format!(
            "listen = 'https://127.0.0.1:0'\nupstream = '{}'\naccess-log = 'json'\n[tls]\n\
             certificate = {{ cert = '{}', key = '{}' }}\nclient-ca = '{}'\n{rest}",
            origin.url(),
            file("site.pem"),
            file("site.key"),
            file("ca.pem"),
        );
        fs::write(file("t.toml"), text).unwrap();
        Proxy::start_as(&["--config", &file("t.toml"), "--admin", "127.0.0.1:0"], |_| {})
    }

    fn client(
        &self,
        leaf: Option<&Leaf>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_protocol_versions(&[version]);
        let builder = builder.with_root_certificates(roots);
        Arc::new(match leaf {
            None => builder.with_no_client_auth(),
            Some(Leaf(certificate, key)) => {
                let key = PrivatePkcs8KeyDer::from(key.clone()).into();
                builder.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
            }
        })
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(
    ca: &CertifiedIssuer<'static, KeyPair>,
    change: impl FnOnce(&mut CertificateParams),
) -> Leaf {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    Leaf(params.signed_by(&key, ca).unwrap().der().clone(), key.serialize_der())
}

fn connect(proxy: &Proxy, config: &Arc<ClientConfig>) -> Tls {
    let socket = TcpStream::connect(&proxy.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
}

/// Status and body of the answer to a GET with these fields.
fn got(tls: &mut Tls, fields: &str) -> std::io::Result<(u16, String)> {
    write!(tls, "GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")?;
    let (mut all, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let n = tls.read(&mut piece)?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&all).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = format!("{head}\r\n");
        let length = seen(&head, "Content-Length").and_then(|text| text.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok((head[9..12].parse().unwrap(), body.to_owned()));
        }
    }
}

const FORGED: &str = "Client-Cert: :AAAA:\r\nclient_cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\n\
    X-Client-Subject: CN=root\r\nX_Client_Subject: CN=root\r\n\
    Connection: Client-Cert, X-Client-Subject\r\n";

#[test]
fn zi01_a_certificate_is_demanded_told_to_the_upstream_and_never_forged() {
    let (origin, case) = (mirror(), Case::new());
    let proxy = case.proxy(
        &origin,
        "[[route]]\nhost = 'open'\n[[route]]\nclient-cert = true\nrole = 'DNS:worker.internal'\n",
    );
    let worker = case.worker();
    let field = format!(":{}:", data_encoding::BASE64.encode(&worker.0));
    for version in [&TLS12, &TLS13] {
        let config = case.client(Some(&worker), version);
        for n in 0..2 {
            let mut tls = connect(&proxy, &config);
            for _ in 0..2 {
                let (status, text) = got(&mut tls, FORGED).unwrap();
                assert_eq!(status, 200, "{text}");
                assert_eq!(text.matches("lient").count(), 2, "{text}");
                assert_eq!(seen(&text, "Client-Cert"), Some(&*field), "{text}");
                assert_eq!(seen(&text, "X-Client-Subject"), Some("CN=worker"), "{text}");
            }
            let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, n == 1);
        }
        // Another name, and none at all.
        let other = case.leaf(|params| params.distinguished_name.push(DnType::CommonName, "b"));
        for (leaf, reason) in
            [(Some(&other), "role_missing"), (None, "client_certificate_required")]
        {
            let mut tls = connect(&proxy, &case.client(leaf, version));
            let (status, text) = got(&mut tls, FORGED).unwrap();
            assert_eq!((status, text.contains(reason)), (403, true), "{text}");
        }
    }
    assert!(origin.requests().len() == 8, "{}", origin.requests().len());
}

#[test]
fn zi02_what_a_handshake_refuses_comes_no_further() {
    let (origin, case) = (mirror(), Case::new());
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2100, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: 7.into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    case.write("ca.crl", "X509 CRL", list.signed_by(&case.ca).unwrap().der());
    let crl = case.folder.join("ca.crl");
    let proxy = case.proxy(&origin, &format!("crl = '{crl}'\n[[route]]\npool = 'default'\n"));
    let day = |year| date_time_ymd(year, 1, 1);
    let expired =
        case.leaf(|params| (params.not_before, params.not_after) = (day(2020), day(2021)));
    let stranger = signed(&authority("another"), |_| {});
    let revoked = case.leaf(|params| params.serial_number = Some(7.into()));
    for leaf in [&expired, &stranger, &revoked] {
        for version in [&TLS12, &TLS13] {
            assert!(got(&mut connect(&proxy, &case.client(Some(leaf), version)), "").is_err());
        }
    }
    let failed = || proxy.metrics()["tls"]["failed"].clone();
    let causes = json!({ "certificate_expired": 2, "unknown_ca": 2, "certificate_revoked": 2 });
    eventually("each is counted by its cause", || failed() == causes);
    proxy.wait_for_log("(certificate_expired)");
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(
        got(&mut connect(&proxy, &case.client(Some(&case.worker()), &TLS13)), "").unwrap().0,
        200
    );
}

#[test]
fn zi03_a_certificate_that_ends_meanwhile_counts_as_none() {
    let (origin, case) = (mirror(), Case::new());
    let proxy = case.proxy(&origin, "[[route]]\nhost = 'open'\n[[route]]\nclient-cert = true\n");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let end = Duration::from_secs(now.as_secs() + 2);
    let short = case.leaf(|params| params.not_after = date_time_ymd(1970, 1, 1) + end);
    let mut tls = connect(&proxy, &case.client(Some(&short), &TLS13));
    assert_eq!(got(&mut tls, "").unwrap().0, 200);
    eventually("it has ended", || got(&mut tls, "").unwrap().0 == 403);
    assert!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap() > end);
}

#[test]
fn zi04_no_client_forges_a_certificate_without_tls_either() {
    let origin = mirror();
    let proxy = Proxy::with(&origin, &[]);
    let mut client = proxy.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{FORGED}\r\n"));
    let text = client.response().text();
    assert_eq!(text.matches("lient").count(), 0, "{text}");
    // Nor do conditions, and counts, see what it says.
    let text = format!(
        "listen = '127.0.0.1:0'\nupstream = '{}'\n[limit.l]\nrate = '1/m'\n\
         by = 'header:X-Client-Subject'\n[[route]]\npath = '/c'\n\
         header = {{ X-Client-Subject = 'CN=root' }}\n\
         respond = {{ status = 200, body = 'root' }}\n[[route]]\nlimit = 'l'\n",
        origin.url()
    );
    let proxy = Configured::new(&text, &[]);
    let mut client = proxy.proxy.client();
    let mut ask = |path: &str, name: &str| {
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Client-Subject: CN={name}\r\n\r\n"));
        client.response()
    };
    assert_ne!(ask("/c", "root").text(), "root");
    assert_eq!(ask("/", "another").status, 429);
}

#[test]
fn zi05_others_who_decide_are_told_of_the_certificate_and_plain_clients_have_none() {
    let (origin, case) = (mirror(), Case::new());
    let decides = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let (url, worker) = (decides.url(), case.worker());
    let rest = format!(
        "[auth.asked]\nkind = 'forward'\nurl = '{url}/'\n[[route]]\npath = '/asked'\nauth = 'asked'\n\
         [[route]]\nclient-cert = true\n"
    );
    let proxy = case.proxy(&origin, &rest);
    let mut tls = connect(&proxy, &case.client(Some(&worker), &TLS13));
    write!(tls, "GET /asked HTTP/1.1\r\nHost: a\r\nX-Client-Subject: CN=root\r\n\r\n").unwrap();
    tls.read_exact(&mut [0; 12]).unwrap();
    let asked = decides.request();
    assert_eq!(asked.head.get("X-Client-Subject"), Some("CN=worker"), "{asked:?}");
    assert!(asked.head.get("Client-Cert").is_some_and(|value| value.starts_with(":")), "{asked:?}");
    assert_eq!(proxy.metrics()["reasons"]["client_certificate_required"], 0);
    let (status, text) = got(&mut connect(&proxy, &case.client(None, &TLS12)), "").unwrap();
    assert_eq!((status, text.contains("client_certificate_required")), (403, true), "{text}");
    eventually("it is counted", || proxy.metrics()["reasons"]["client_certificate_required"] == 1);
}
