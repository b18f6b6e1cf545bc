//! Certificates in files, and an origin that speaks TLS: by rustls, as nothing of tidegate's own may answer it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, Stream};

use super::{DEADLINE, Scratch, eventually};

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
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
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
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = Scratch::new();
        let ca = folder.join("ca.pem");
        fs::write(&ca, pem("CERTIFICATE", issuer.der())).unwrap();
        Authority { issuer, folder, ca }
    }

    /// A certificate for a name or an address.
    pub fn sign(&self, name: &str) -> Certificate {
        self.sign_until(name, 4096)
    }

    /// A certificate that is good until the beginning of a year.
    pub fn sign_until(&self, name: &str, year: i32) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Certificate::write(&self.folder, name, made.der(), &key)
    }

    /// A server that demands certificates that this authority has signed.
    pub fn demanded_by(&self, certificate: &Certificate) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        Arc::new(builder.with_single_cert(vec![certificate.der.clone()], key(certificate)).unwrap())
    }
}

/// A server with this certificate.
pub fn serving(certificate: &Certificate) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate.der.clone()], key(certificate)).unwrap())
}

fn key(certificate: &Certificate) -> PrivateKeyDer<'static> {
    let text = fs::read_to_string(&certificate.key).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('-'));
    let der = data_encoding::BASE64.decode(lines.collect::<String>().as_bytes()).unwrap();
    PrivateKeyDer::try_from(der).unwrap()
}

/// `der` as a file in PEM has it.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What came on one connection on which the handshake was made.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What came before TLS, in plain: a line of the PROXY protocol.
    pub preface: String,
    /// The head of the request; empty: none came.
    pub head: String,
    /// The session is one of before.
    pub resumed: bool,
    /// The other side announced its end (close_notify).
    pub announced: bool,
}

/// An origin that speaks TLS, and takes one request without a body on each connection. Drop ends it.
pub struct SecureOrigin {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    config: Mutex<Arc<ServerConfig>>,
    came: Mutex<Vec<Sealed>>,
    abrupt: AtomicBool,
    stopped: AtomicBool,
}

impl SecureOrigin {
    /// Listens on a free port, and answers each head with what `answer` makes of it.
    pub fn start(
        config: Arc<ServerConfig>,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> SecureOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            config: Mutex::new(config),
            came: Mutex::default(),
            abrupt: AtomicBool::default(),
            stopped: AtomicBool::default(),
        });
        thread::spawn({
            let (shared, answer) = (Arc::clone(&shared), Arc::new(answer));
            move || {
                while let Ok((socket, _)) = listener.accept() {
                    if shared.stopped.load(Relaxed) {
                        return;
                    }
                    let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                    // That the other side gives up is no fault.
                    thread::spawn(move || drop(serve(socket, &shared, &*answer)));
                }
            }
        });
        SecureOrigin { address, shared }
    }

    /// Answers all with the same octets.
    pub fn answering(config: Arc<ServerConfig>, octets: &'static str) -> SecureOrigin {
        SecureOrigin::start(config, |_| octets.into())
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// As `--upstream` wants it.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// From the next connection on it is another server.
    pub fn become_another(&self, config: Arc<ServerConfig>) {
        *self.shared.config.lock().unwrap() = config;
    }

    /// From the next answer on it closes without a word (close_notify).
    pub fn be_abrupt(&self) {
        self.shared.abrupt.store(true, Relaxed);
    }

    /// What came, of connections that have ended.
    pub fn came(&self) -> Vec<Sealed> {
        self.shared.came.lock().unwrap().clone()
    }

    /// Waits until `n` connections have ended.
    #[track_caller]
    pub fn wait_for(&self, n: usize) -> Vec<Sealed> {
        eventually("connections over TLS", || self.came().len() >= n);
        self.came()
    }
}

impl Drop for SecureOrigin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(
    mut socket: TcpStream,
    shared: &Shared,
    answer: &dyn Fn(&str) -> Vec<u8>,
) -> io::Result<()> {
    socket.set_read_timeout(Some(DEADLINE))?;
    let preface = preface(&mut socket)?;
    let config = Arc::clone(&shared.config.lock().unwrap());
    let mut connection = ServerConnection::new(config).unwrap();
    let mut tls = Stream::new(&mut connection, &mut socket);
    // Until the handshake is done; an alert of ours leaves before the error is told.
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(tls.sock)?;
    }
    let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    let (mut head, mut octet) = (Vec::new(), [0]);
    let mut announced = loop {
        match tls.read(&mut octet) {
            Ok(0) => break true,
            Ok(_) => head.push(octet[0]),
            Err(_) => break false,
        }
        if head.ends_with(b"\r\n\r\n") {
            break false;
        }
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.is_empty() {
        tls.write_all(&answer(&head))?;
        if !shared.abrupt.load(Relaxed) {
            tls.conn.send_close_notify();
        }
        tls.flush()?;
        tls.sock.shutdown(Shutdown::Write)?;
        announced = tls.read_to_end(&mut Vec::new()).is_ok();
    }
    shared.came.lock().unwrap().push(Sealed { preface, head, resumed, announced });
    Ok(())
}

/// The line that comes before TLS; no record begins with its letter.
fn preface(socket: &mut TcpStream) -> io::Result<String> {
    let (mut line, mut first, mut octet) = (Vec::new(), [0], [0]);
    socket.peek(&mut first)?;
    while first == *b"P" && !line.ends_with(b"\n") {
        socket.read_exact(&mut octet)?;
        line.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}
