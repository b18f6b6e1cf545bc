//! What is measured, as data.

use crate::secure::{Key, Sealed};

/// How a workload is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Requests, on so many connections, each as soon as the one before is answered.
    Requests(Requests),
    /// Requests at a fixed rate, whether answers come or not: latency counts from when one was due.
    Latency {
        /// The workload whose peak rates the rate is taken from.
        of: &'static str,
        /// Which share of whose peak.
        rate: Rate,
    },
    /// WebSocket messages of so many octets, one under way on each connection.
    Messages {
        /// How many.
        connections: usize,
        /// Payload.
        octets: usize,
    },
    /// Memory of connections on which nothing happens, in a proxy that was started for it.
    Idle {
        /// How many.
        connections: usize,
        /// Tunnels, else kept HTTP connections that had a request each.
        tunnels: bool,
        /// Over TLS.
        tls: Option<Sealed>,
    },
    /// From the start of the program to the first answer.
    StartUp,
    /// Ours alone, with one worker and with two.
    Workers,
}

/// A closed loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requests {
    /// Each has one request under way.
    pub connections: usize,
    /// Method.
    pub method: &'static str,
    /// Path, of `tidegate-origin`.
    pub path: &'static str,
    /// Octets of body sent.
    pub body: usize,
    /// Fields besides `Host`.
    pub fields: Fields,
    /// Connections are used again.
    pub kept: bool,
    /// Over TLS.
    pub tls: Option<Sealed>,
}

/// Which fields a request has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fields {
    /// As few as can be.
    None,
    /// Thirty, of the kind that browsers and applications send.
    Thirty,
}

/// Where a fixed rate comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Half of the slowest's peak: all can hold it.
    HalfOfSlowest,
    /// Half of the best peer's peak: who cannot hold it is told so.
    HalfOfBestPeer,
}

/// A row of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What it is called, also on the command line.
    pub name: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// How it is run.
    pub kind: Kind,
}

const GET: Requests = Requests {
    connections: 64,
    method: "GET",
    path: "/",
    body: 0,
    fields: Fields::None,
    kept: true,
    tls: None,
};

const fn get(connections: usize) -> Kind {
    Kind::Requests(Requests { connections, ..GET })
}

const fn answers(connections: usize, path: &'static str) -> Kind {
    Kind::Requests(Requests { connections, path, ..GET })
}

/// The usual TLS: sessions are resumed, and keys exchanged as all servers can.
const TLS: Sealed = Sealed { key: Key::Ecdsa, resumed: true, groups: "X25519" };

const fn sealed(connections: usize, path: &'static str) -> Kind {
    Kind::Requests(Requests { connections, path, tls: Some(TLS), ..GET })
}

const fn handshakes(tls: Sealed) -> Kind {
    Kind::Requests(Requests { connections: 8, kept: false, tls: Some(tls), ..GET })
}

/// All of them, in the order of the tables.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "get-1", what: "small GET, 1 connection", kind: get(1) },
    Workload { name: "get-8", what: "small GET, 8 connections", kind: get(8) },
    Workload { name: "get-64", what: "small GET, 64 connections", kind: get(64) },
    Workload { name: "get-256", what: "small GET, 256 connections", kind: get(256) },
    Workload { name: "get-1000", what: "small GET, 1000 connections", kind: get(1000) },
    Workload {
        name: "connection-per-request",
        what: "small GET, a connection each, 64 at a time",
        kind: Kind::Requests(Requests { kept: false, ..GET }),
    },
    Workload {
        name: "headers-30",
        what: "small GET with 30 fields, 64 connections",
        kind: Kind::Requests(Requests { fields: Fields::Thirty, ..GET }),
    },
    Workload {
        name: "4KiB",
        what: "answers of 4 KiB, 64 connections",
        kind: answers(64, "/bytes/4096"),
    },
    Workload {
        name: "64KiB",
        what: "answers of 64 KiB, 16 connections",
        kind: answers(16, "/bytes/65536"),
    },
    Workload {
        name: "1MiB",
        what: "answers of 1 MiB, 8 connections",
        kind: answers(8, "/bytes/1048576"),
    },
    Workload {
        name: "10MiB",
        what: "answers of 10 MiB, 4 connections",
        kind: answers(4, "/bytes/10485760"),
    },
    Workload {
        name: "upload-10MiB",
        what: "uploads of 10 MiB, 4 connections",
        kind: Kind::Requests(Requests {
            connections: 4,
            method: "POST",
            path: "/upload",
            body: 10 << 20,
            ..GET
        }),
    },
    Workload {
        name: "chunked",
        what: "chunked answers of 64 KiB, 16 connections",
        kind: answers(16, "/chunked/65536"),
    },
    Workload {
        name: "ws-64B",
        what: "WebSocket echo of 64 B, 100 connections",
        kind: Kind::Messages { connections: 100, octets: 64 },
    },
    Workload {
        name: "ws-64KiB",
        what: "WebSocket echo of 64 KiB, 100 connections",
        kind: Kind::Messages { connections: 100, octets: 64 << 10 },
    },
    Workload {
        name: "latency-1",
        what: "small GET, 1 connection, half of the slowest's peak rate",
        kind: Kind::Latency { of: "get-1", rate: Rate::HalfOfSlowest },
    },
    Workload {
        name: "latency-8",
        what: "small GET, 8 connections, half of the slowest's peak rate",
        kind: Kind::Latency { of: "get-8", rate: Rate::HalfOfSlowest },
    },
    Workload {
        name: "latency-64",
        what: "small GET, 64 connections, half of the best peer's peak rate",
        kind: Kind::Latency { of: "get-64", rate: Rate::HalfOfBestPeer },
    },
    Workload {
        name: "idle-3500",
        what: "idle kept connections, a request each before",
        kind: Kind::Idle { connections: 3500, tunnels: false, tls: None },
    },
    Workload {
        name: "idle-tunnels",
        what: "idle WebSockets, 1000",
        kind: Kind::Idle { connections: 1000, tunnels: true, tls: None },
    },
    Workload {
        name: "tls-full-ecdsa",
        what: "TLS: a full handshake and a small GET, ECDSA P-256",
        kind: handshakes(Sealed { resumed: false, ..TLS }),
    },
    Workload {
        name: "tls-full-rsa",
        what: "TLS: a full handshake and a small GET, RSA-2048",
        kind: handshakes(Sealed { key: Key::Rsa, resumed: false, ..TLS }),
    },
    Workload {
        name: "tls-full-hybrid",
        what: "TLS: a full handshake and a small GET, ECDSA P-256, X25519MLKEM768 where the server knows it",
        kind: handshakes(Sealed { resumed: false, groups: "X25519MLKEM768,X25519", ..TLS }),
    },
    Workload {
        name: "tls-resumed",
        what: "TLS: a resumed session and a small GET, ECDSA P-256",
        kind: handshakes(TLS),
    },
    Workload { name: "tls-get-64", what: "TLS: small GET, 64 connections", kind: sealed(64, "/") },
    Workload {
        name: "tls-get-1000",
        what: "TLS: small GET, 1000 connections",
        kind: sealed(1000, "/"),
    },
    Workload {
        name: "tls-64KiB",
        what: "TLS: answers of 64 KiB, 16 connections",
        kind: sealed(16, "/bytes/65536"),
    },
    Workload {
        name: "tls-10MiB",
        what: "TLS: answers of 10 MiB, 4 connections",
        kind: sealed(4, "/bytes/10485760"),
    },
    Workload {
        name: "tls-idle-2000",
        what: "TLS: idle kept connections, a request each before",
        kind: Kind::Idle { connections: 2000, tunnels: false, tls: Some(TLS) },
    },
    Workload { name: "start-up", what: "from start to first answer", kind: Kind::StartUp },
    Workload { name: "two-workers", what: "tidegate with two workers", kind: Kind::Workers },
];

/// The workload of that name.
pub fn named(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

impl Workload {
    /// The closed loop behind it, if it has one: its own, or the one its rate comes from.
    pub fn requests(&self) -> Option<Requests> {
        match self.kind {
            Kind::Requests(requests) => Some(requests),
            Kind::Latency { of, .. } => named(of)?.requests(),
            _ => None,
        }
    }

    /// How clients speak TLS, if they do.
    pub fn tls(&self) -> Option<Sealed> {
        match self.kind {
            Kind::Idle { tls, .. } => tls,
            _ => self.requests().and_then(|requests| requests.tls),
        }
    }

    /// It is told as CPU for each request or message.
    pub fn has_cpu(&self) -> bool {
        matches!(self.kind, Kind::Requests(_) | Kind::Messages { .. })
    }
}

impl Fields {
    /// The lines, without their ends.
    pub fn lines(self) -> Vec<String> {
        match self {
            Fields::None => Vec::new(),
            Fields::Thirty => crate::thirty::FIELDS.iter().map(|line| (*line).to_owned()).collect(),
        }
    }
}
