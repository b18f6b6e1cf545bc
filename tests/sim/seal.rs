//! TLS on either side of the core, spoken by rustls' own connections in memory: what they make of octets, and of
//! records, is cut and delayed by the way like everything else.
//!
//! A seed decides how records are cut, but not what is in them: keys are drawn by aws-lc-rs. So that the course of
//! events stays the seed's alone, nothing here has a length that depends on them: signatures are those of Ed25519, and
//! sessions are kept by nobody who outlives the run.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use data_encoding::BASE64;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::chance::Chance;
use crate::config::{
    CertificateSpec, Listen, PemFile, Plan, Secret, TlsSpec, TlsVersion, UpstreamTlsSpec,
};
use crate::net::Micros;
use crate::proxy::LinkedTls;
use crate::scenario::Scenario;
use crate::tls::{ClientTls, ServerTls, TicketKeys};

/// Octets of a record's content, at most.
const CONTENT: u64 = 16 * 1024;
/// New keys that an end asks for: rustls takes 32 in a row for an attack.
const RENEWALS: u32 = 24;
/// A handshake is through before anybody loses patience: octets under way, and in a turn, at least.
const ROOM: u64 = 600;
const PACE: usize = 60;
/// How long tickets are kept back at most.
const KEPT_BACK: Micros = 2_000_000;

/// What a seed decides about it.
#[derive(Clone, Debug)]
pub struct Sealing {
    /// Clients speak it, and upstreams do, by their port.
    clients: bool,
    upstreams: [bool; 4],
    /// The older version.
    is_old: bool,
    /// Keys are agreed on in a second try.
    retries: bool,
    /// Tickets that an origin gives.
    tickets: usize,
    /// One in so many turns brings new keys; 0: none.
    renews: u64,
}

impl Sealing {
    /// The upstream with this port speaks it.
    pub fn has_upstream(&self, port: usize) -> bool {
        self.upstreams[port]
    }
}

/// Has this seed any? In scenarios of several kinds, but in none of those that found something before, and in none in
/// which it counts how many octets something takes.
pub fn has(seed: u64) -> bool {
    matches!(seed % 64, 13 | 18 | 20 | 23 | 24 | 58)
}

/// Adds it to a scenario.
pub fn add(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_500a_0000);
    let c = &mut chance;
    let mut sealing = Sealing {
        clients: c.one_in(2),
        upstreams: [false, c.one_in(2), c.one_in(2), c.one_in(2)],
        is_old: c.one_in(4),
        retries: c.one_in(4),
        tickets: c.pick(&[0, 1, 2, 8]),
        renews: c.pick(&[0, 3, 20]),
    };
    for (secure, is_local) in sealing.upstreams[1..].iter_mut().zip(scenario.local) {
        *secure &= !is_local; // nobody speaks it there
    }
    sealing.clients |= !sealing.upstreams.contains(&true);
    // An urgent octet is none of a record's.
    scenario.urgent = 0;
    let weather = &mut scenario.weather;
    (weather.room_least, weather.client_room_least) =
        (weather.room_least.max(ROOM), weather.client_room_least.max(ROOM));
    for person in &mut scenario.people {
        person.urgent = None;
        person.pace.read = person.pace.read.max(PACE);
        person.pace.write = person.pace.write.max(PACE);
    }
    scenario.sealing = Some(sealing);
}

/// What the core is, and its origins are.
struct Identity {
    key: PrivatePkcs8KeyDer<'static>,
    chain: CertificateDer<'static>,
    listener: ServerTls,
    pool: ClientTls,
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let names = ["sim", "10.0.0.1", "10.0.0.2", "10.0.0.3"].map(str::to_owned);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let pem = |label: &str, der: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64.encode(der))
    };
    let text = pem("CERTIFICATE", certificate.der()).into();
    let chain = PemFile { path: PathBuf::from("/sim.pem"), text };
    let secret = pem("PRIVATE KEY", &key.serialize_der());
    let spec = TlsSpec {
        certificates: vec![CertificateSpec {
            chain: chain.clone(),
            key: Secret::new(&secret, Secret::MASK),
            ocsp: None,
        }],
        self_signed: Vec::new(),
        acme: None,
        min_version: TlsVersion::Tls12,
        client_ca: None,
        crl: None,
    };
    let upstreams = UpstreamTlsSpec { ca: Some(chain), ..UpstreamTlsSpec::default() };
    Identity {
        key: key.serialize_der().into(),
        chain: certificate.der().clone(),
        listener: ServerTls::link(&spec, &TicketKeys::new(), None).unwrap(),
        pool: ClientTls::link(&upstreams, None).unwrap(),
    }
});

/// What the ends of one run are made of.
pub struct Sealer {
    sealing: Sealing,
    clients: Arc<ClientConfig>,
    origins: Arc<ServerConfig>,
}

impl Sealer {
    pub fn new(scenario: &Scenario) -> Option<Sealer> {
        let sealing = scenario.sealing.clone()?;
        let kx_groups: Vec<&'static dyn SupportedKxGroup> = match sealing.retries {
            true => vec![aws_lc_rs::kx_group::SECP256R1],
            false => vec![aws_lc_rs::kx_group::X25519],
        };
        let provider = CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() };
        let (provider, versions) = (Arc::new(provider), versions(sealing.is_old));
        let mut roots = RootCertStore::empty();
        roots.add(IDENTITY.chain.clone()).unwrap();
        let clients = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let clients = clients.with_protocol_versions(versions).unwrap();
        let mut clients = clients.with_root_certificates(roots).with_no_client_auth();
        clients.resumption = Resumption::in_memory_sessions(16);
        let origins = ServerConfig::builder_with_provider(provider);
        let origins = origins.with_protocol_versions(versions).unwrap().with_no_client_auth();
        let (chain, key) = (vec![IDENTITY.chain.clone()], IDENTITY.key.clone_key());
        let mut origins = origins.with_single_cert(chain, key.into()).unwrap();
        origins.send_tls13_tickets = sealing.tickets;
        Some(Sealer { sealing, clients: Arc::new(clients), origins: Arc::new(origins) })
    }

    /// The core speaks it.
    pub fn apply(&self, plan: &mut Plan) -> LinkedTls {
        let mut linked = LinkedTls::default();
        if self.sealing.clients {
            plan.listener.secure = vec![Listen::Tcp(([127, 0, 0, 1], 80).into())];
            linked.listener = Some(Arc::new(IDENTITY.listener.clone()));
        }
        let mut pool = IDENTITY.pool.clone();
        let mut config = (*pool.config).clone();
        config.resumption = Resumption::in_memory_sessions(16);
        pool.config = Arc::new(config);
        let pool = Arc::new(pool);
        // That of the plan, and those of others that replace it.
        let names = ["pool-0", "pool-1", "pool-2"].map(Arc::from);
        for name in plan.pools.iter().map(|spec| Arc::clone(&spec.name)).chain(names) {
            linked.pools.insert(name, Arc::clone(&pool));
        }
        linked
    }

    pub fn client(&self) -> Option<Seal> {
        self.sealing.clients.then(|| {
            let name = ServerName::try_from("sim").unwrap();
            let connection = ClientConnection::new(Arc::clone(&self.clients), name).unwrap();
            Seal::new(connection.into(), &self.sealing)
        })
    }

    pub fn origin(&self, upstream: usize) -> Option<Seal> {
        self.sealing.upstreams[upstream].then(|| {
            let connection = ServerConnection::new(Arc::clone(&self.origins)).unwrap();
            Seal::new(connection.into(), &self.sealing)
        })
    }
}

fn versions(is_old: bool) -> &'static [&'static SupportedProtocolVersion] {
    static OLD: &[&SupportedProtocolVersion] = &[&TLS12];
    static NEW: &[&SupportedProtocolVersion] = &[&TLS13];
    if is_old { OLD } else { NEW }
}

/// What the octets of an end go through.
#[derive(Debug)]
pub struct Seal {
    connection: Connection,
    /// Records on their way out.
    wire: VecDeque<u8>,
    /// Where among them a record ends, and how many octets of the sender's are in it.
    covers: VecDeque<(usize, usize)>,
    /// The end is the last of them.
    announces: bool,
    has_ended: bool,
    renews: u64,
    renewals: u32,
    /// Until when tickets are kept back, where nothing else is to be said.
    kept_back: Option<Micros>,
}

impl Seal {
    fn new(mut connection: Connection, sealing: &Sealing) -> Seal {
        connection.set_buffer_limit(None);
        let renews = if sealing.is_old { 0 } else { sealing.renews };
        // The older version ends its handshake with the tickets.
        let kept_back =
            (sealing.is_old || matches!(connection, Connection::Client(_))).then_some(0);
        Seal {
            connection,
            wire: VecDeque::new(),
            covers: VecDeque::new(),
            announces: false,
            has_ended: false,
            renews,
            renewals: RENEWALS,
            kept_back,
        }
    }

    fn is_ready(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// The other side said that nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Opens records. What comes out of them.
    ///
    /// # Errors
    /// When the other side does not keep to the protocol, or says so of us.
    pub fn open(&mut self, mut records: &[u8]) -> Result<Vec<u8>, String> {
        let mut octets = Vec::new();
        while !records.is_empty() && !self.has_ended {
            self.connection.read_tls(&mut records).map_err(|error| format!("TLS: {error}"))?;
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| format!("TLS: {error}"))?;
            let many = state.plaintext_bytes_to_read();
            let read = self.connection.reader().take(many as u64).read_to_end(&mut octets);
            read.map_err(|error| format!("TLS: {error}"))?;
            self.has_ended = state.peer_has_closed();
        }
        Ok(octets)
    }

    /// Tickets are kept back from now on, or are so still: until when.
    pub fn keep_back(&mut self, now: Micros, chance: &mut Chance) -> Option<Micros> {
        if self.is_ready() && self.wire.is_empty() {
            let long = if chance.one_in(2) { chance.magnitude(KEPT_BACK) } else { 0 };
            let until = *self.kept_back.get_or_insert(now + long);
            return (until > now).then_some(until);
        }
        None
    }

    /// There is something to be sent, with so many octets of the sender's.
    pub fn has_something(&self, octets: usize, now: Micros) -> bool {
        let is_kept_back = octets == 0 && self.kept_back.is_some_and(|until| until > now);
        !self.wire.is_empty()
            || self.connection.wants_write() && !is_kept_back
            || self.is_ready() && octets > 0
    }

    /// Seals some of `out`, if nothing is under way, in one record or several; `last`: and the end behind all of it.
    pub fn seal(&mut self, out: &VecDeque<u8>, last: bool, chance: &mut Chance) {
        if !self.wire.is_empty() {
            return;
        }
        if self.is_ready() {
            if self.renewals > 0 && chance.one_in(self.renews) {
                self.renewals -= 1;
                self.connection.refresh_traffic_keys().expect("the newer version");
            }
            let mut at = 0;
            while at < out.len() {
                let n = (out.len() - at).min(chance.magnitude(CONTENT) as usize);
                let piece: Vec<u8> = out.range(at..at + n).copied().collect();
                self.connection.writer().write_all(&piece).expect("memory");
                self.collect();
                self.covers.push_back((self.wire.len(), n));
                at += n;
                if chance.one_in(3) {
                    break;
                }
            }
            if last && at == out.len() {
                self.connection.send_close_notify();
                self.announces = true;
            }
        }
        self.collect();
    }

    /// Records on their way out.
    pub fn wire(&mut self) -> &mut VecDeque<u8> {
        &mut self.wire
    }

    /// So many octets of them have left: how many of the sender's did with them, and did the end?
    pub fn sent(&mut self, n: usize) -> (usize, bool) {
        self.wire.drain(..n);
        let mut octets = 0;
        for (end, covered) in &mut self.covers {
            octets += if *end <= n { *covered } else { 0 };
            *end = end.saturating_sub(n);
        }
        self.covers.retain(|(end, _)| *end > 0);
        (octets, self.announces && self.wire.is_empty())
    }

    /// The announcement of the end, if it can be made now.
    pub fn last_words(&mut self) -> Option<Vec<u8>> {
        if !self.wire.is_empty() || !self.is_ready() || self.connection.wants_write() {
            return None;
        }
        self.connection.send_close_notify();
        self.collect();
        Some(self.wire.drain(..).collect())
    }

    fn collect(&mut self) {
        let mut records = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut records).expect("memory");
        }
        self.wire.extend(records);
    }
}
