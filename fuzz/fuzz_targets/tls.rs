//! Whatever comes in the place of a handshake, inside of one or behind it: nothing panics, little is kept, at most one
//! alert leaves and nothing behind it, HTTP is known as such, and what is read is what the peer sealed, from its
//! beginning, with an end only where the peer announced one. Both sides.
#![no_main]

use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustix::io::Errno;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tidegate_fuzz::io::End;
use tidegate_fuzz::io::tls::{Tls, TlsBuffers};
use tidegate_fuzz::io::tls_fault::TlsFault;

/// Octets in a record's header.
const HEADER: usize = 5;
const ALERT: u8 = 21;

static VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// By version.
static CONFIGS: LazyLock<[Configs; 2]> = LazyLock::new(|| {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let made = CertificateParams::new(["sim".to_owned()]).unwrap().self_signed(&key).unwrap();
    let chain: CertificateDer<'static> = made.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(chain.clone()).unwrap();
    VERSIONS.map(|versions| {
        let server = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let server = server.with_single_cert(vec![chain.clone()], key.into()).unwrap();
        let client = ClientConfig::builder_with_protocol_versions(versions);
        let client = client.with_root_certificates(roots.clone()).with_no_client_auth();
        Configs { server: Arc::new(server), client: Arc::new(client) }
    })
});

// The first octet says which side we are, which version is spoken, and whether there is a peer that speaks it. The
// others are what comes, or what happens: an octet, and one that says how much of it.
fuzz_target!(|data: &[u8]| {
    let Some((first, script)) = data.split_first() else { return };
    let (is_server, version, has_peer) = (first & 1 > 0, first >> 1 & 1, first & 4 > 0);
    let configs = &CONFIGS[usize::from(version)];
    let (server, client) = (Arc::clone(&configs.server), Arc::clone(&configs.client));
    let name = ServerName::try_from("sim").unwrap();
    let buffers = TlsBuffers::new();
    let (ours, peer): (_, Connection) = if is_server {
        let peer = ClientConnection::new(client, name).unwrap();
        (Tls::server(server, &buffers).unwrap(), peer.into())
    } else {
        let peer = ServerConnection::new(server).unwrap();
        (Tls::client(client, name, &buffers).unwrap(), peer.into())
    };
    let ours = End::new(ours);
    if has_peer {
        let (sealed, is_sound) = (Vec::new(), true);
        let play = Play { ours, peer, is_sound, piece: 4096, sealed, read: 0, says_end: false };
        play.all(script);
    } else {
        alone(&ours, script);
    }
});

/// Octets come from somebody who has no key.
fn alone(ours: &End, script: &[u8]) {
    let (step, octets) = script.split_first().unwrap_or((&0, &[]));
    let _ = ours.handshake();
    let mut left = ours.left();
    let before = left.len(); // what a client says first
    for piece in octets.chunks(usize::from(*step) + 1) {
        ours.come(piece);
        assert_ne!(ours.handshake(), Ok(()), "nobody has the keys");
    }
    ours.ends();
    assert!(matches!(ours.handshake(), Err(error) if error != Errno::AGAIN));
    let fault = ours.fault().unwrap();
    assert!(!fault.label().is_empty());
    if octets.starts_with(b"GET /") || octets.starts_with(b"HTTP/") {
        assert_eq!(fault, TlsFault::PlainHttp);
    }
    for _ in 0..2 {
        assert!(ours.recv(&mut [0; 100]).is_err() && ours.peek().is_err());
        assert!(ours.send(b"secret").is_err());
        let _ = ours.finish();
    }
    left.extend(ours.left());
    let kinds = records(&left[before..]);
    let alerts = kinds.iter().filter(|kind| **kind == ALERT).count();
    assert!(alerts <= 1 && (alerts == 0 || kinds.last() == Some(&ALERT)), "{kinds:?}");
    assert!(fault != TlsFault::PlainHttp || kinds.is_empty(), "no alert to who speaks HTTP");
}

/// The kinds of records, which have to be whole.
fn records(mut octets: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((header, _)) = octets.split_at_checked(HEADER) {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        kinds.push(header[0]);
        octets = &octets[HEADER + length..];
    }
    assert!(octets.is_empty(), "a record that is not whole");
    kinds
}

/// Both ends of a connection, with somebody on the way.
struct Play {
    ours: End,
    peer: Connection,
    /// Nothing of what came was changed.
    is_sound: bool,
    /// What it says comes in pieces of so many octets.
    piece: usize,
    /// What the peer has sealed, and how much of it was read.
    sealed: Vec<u8>,
    read: usize,
    /// It said that nothing more comes.
    says_end: bool,
}

impl Play {
    fn all(mut self, script: &[u8]) {
        for step in script.chunks_exact(2).take(200) {
            self.step(step[0], usize::from(step[1]));
        }
        self.ours.narrow(usize::MAX, usize::MAX);
        self.exchange();
        self.ours.ends();
        while self.take(5000) {}
        // Without a word about it, and without a fault, there is no end.
        assert!(self.says_end || self.ours.fault().is_some());
        // New keys without an end are a fault, too.
        let is_well = matches!(self.ours.fault(), None | Some(TlsFault::Truncated));
        if self.is_sound && is_well && !self.peer.is_handshaking() {
            assert_eq!(self.read, self.sealed.len(), "all of it came");
        }
        let _ = self.ours.finish();
    }

    fn step(&mut self, what: u8, n: usize) {
        match what % 12 {
            0 => self.exchange(),
            1 => {
                self.take(1 + n * 100);
            }
            2 => {
                let peeked = self.ours.peek();
                let more = self.sealed.len() > self.read;
                assert!(!matches!(peeked, Ok(1)) || more, "octets that nobody sealed");
                assert!(!matches!(peeked, Ok(0)) || self.says_end, "no end was announced");
            }
            3 => {
                let _ = self.ours.send(&vec![b'a'; 1 + n * 300]);
            }
            4 if !self.peer.is_handshaking() && !self.says_end => {
                let at = self.sealed.len();
                let octets: Vec<u8> = (at..at + 1 + n * 90).map(|at| at as u8).collect();
                let taken = self.peer.writer().write(&octets).unwrap_or(0);
                self.sealed.extend(&octets[..taken]);
            }
            5 if !self.peer.is_handshaking() && !self.says_end => {
                let _ = self.peer.refresh_traffic_keys();
            }
            6 if !self.peer.is_handshaking() => {
                self.peer.send_close_notify();
                self.says_end = true;
            }
            // Somebody changes an octet, leaves out the rest, puts something in, or says it again.
            7 => self.on_the_way(|records| {
                let at = n * records.len() / 256;
                records.get_mut(at).into_iter().for_each(|octet| *octet ^= n as u8 | 1);
            }),
            8 => self.on_the_way(|records| records.truncate(n * records.len() / 256)),
            9 => self.on_the_way(|records| {
                let at = n * records.len() / 256;
                records.splice(at..at, [what, 3, 3, 0, n as u8]);
            }),
            10 => self.on_the_way(|records| records.extend_from_within(..)),
            11 if n % 2 > 0 => self.piece = n * n,
            11 => self.ours.narrow(1 + n, n * n),
            _ => {}
        }
    }

    /// Until nobody has anything to say. Whatever the peer thinks of what it got.
    fn exchange(&mut self) {
        for _ in 0..20 {
            let _ = self.ours.handshake();
            let left = self.ours.left();
            let mut octets = &left[..];
            while !octets.is_empty() && self.peer.read_tls(&mut octets).is_ok_and(|n| n > 0) {
                if self.peer.process_new_packets().is_err() {
                    break;
                }
                let _ = self.peer.reader().read(&mut [0; 100_000]);
            }
            let records = self.says();
            if left.is_empty() && records.is_empty() {
                return;
            }
            for piece in records.chunks(self.piece) {
                self.ours.come(piece);
                let _ = self.ours.handshake();
            }
        }
    }

    /// The records of the peer that are due.
    fn says(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.peer.wants_write() {
            self.peer.write_tls(&mut records).unwrap();
        }
        records
    }

    fn on_the_way(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let before = self.says();
        let mut records = before.clone();
        change(&mut records);
        self.is_sound &= records == before;
        self.ours.come(&records);
    }

    /// Reads, and compares. `true`: something came.
    fn take(&mut self, most: usize) -> bool {
        let mut octets = vec![0; most];
        match self.ours.recv(&mut octets) {
            Ok(0) => {
                assert!(self.says_end, "an end that nobody announced");
                false
            }
            Ok(n) => {
                let next = self.sealed.get(self.read..self.read + n);
                assert_eq!(next, Some(&octets[..n]), "not what was sealed");
                self.read += n;
                true
            }
            Err(_) => false,
        }
    }
}
