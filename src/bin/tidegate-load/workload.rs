//! What is to be done: valid by construction, made by [`super::arguments`], the same for all threads.

use std::net::SocketAddr;
use std::time::Duration;

use super::load_fault::LoadFault;
use super::response::Digest;
use super::schedule::Rate;
#[cfg(feature = "tls")]
use super::secure::TlsTarget;
use tidegate::http::Method;
use tidegate::http::upgrade::KEY;

/// What connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    /// Requests and answers.
    Http,
    /// Messages and their echoes, after a handshake.
    WebSocket,
    /// One request, and then nothing.
    Idle,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Workload {
    /// As it was given.
    pub url: String,
    /// Where the server is: the first that takes a connection.
    pub addresses: Vec<SocketAddr>,
    /// What is spoken below HTTP; `None`: nothing.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsTarget>,
    /// What connections do.
    pub kind: WorkloadKind,
    /// One request or message, as it is sent.
    pub octets: Vec<u8>,
    /// The method of the requests.
    pub method: Method,
    /// What a message carries, and its echo has to.
    pub payload: Option<Vec<u8>>,
    /// What is sent first on each connection.
    pub handshake: Option<Handshake>,
    /// Connections, at least one.
    pub connections: usize,
    /// Threads, at least one and not more than connections.
    pub threads: usize,
    /// The open loop's rate; without one, the loop is closed.
    pub rate: Option<Rate>,
    /// How long is measured; `None`: until all requests are done.
    pub duration: Option<Duration>,
    /// Requests to make, if that is limited.
    pub requests: Option<u64>,
    /// How long requests are made before they count.
    pub warm_up: Duration,
    /// How long connecting, and then an answer, may take.
    pub timeout: Duration,
    /// Connections are used again.
    pub keep_alive: bool,
    /// Which answers are good.
    pub expected: Expected,
    /// Only the hash of one answer's body is wanted.
    pub prints_hash: bool,
    /// The report is JSON.
    pub json: bool,
}

/// A WebSocket handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The request.
    pub octets: Vec<u8>,
    /// Its `Sec-WebSocket-Key`.
    pub key: [u8; KEY],
}

/// Which answers are good.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// This status; without one, 200 to 399.
    pub status: Option<u16>,
    /// A body with this SHA-256.
    pub digest: Option<Digest>,
}

impl Workload {
    /// Bodies of answers are hashed.
    pub fn hashes(&self) -> bool {
        self.expected.digest.is_some() || self.prints_hash
    }

    /// `closed`, `open`, `websocket` or `idle`.
    pub fn mode(&self) -> &'static str {
        match (self.kind, self.rate) {
            (WorkloadKind::WebSocket, _) => "websocket",
            (WorkloadKind::Idle, _) => "idle",
            (WorkloadKind::Http, Some(_)) => "open",
            (WorkloadKind::Http, None) => "closed",
        }
    }
}

impl Expected {
    /// Is an answer with this status and this hash of its body good?
    pub fn judge(&self, status: u16, digest: impl FnOnce() -> Digest) -> Result<(), LoadFault> {
        let expected = match self.status {
            Some(expected) => status == expected,
            None => (200..400).contains(&status),
        };
        if !expected {
            return Err(LoadFault::Status((status / 100) as u8));
        }
        match self.digest {
            Some(expected) if expected != digest() => Err(LoadFault::BodyMismatch),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_good_by_status_and_body() {
        let any = Expected::default();
        assert_eq!(any.judge(204, || [0; 32]), Ok(()));
        assert_eq!(any.judge(399, || [0; 32]), Ok(()));
        assert_eq!(any.judge(503, || [0; 32]), Err(LoadFault::Status(5)));
        let exact = Expected { status: Some(404), digest: Some([7; 32]) };
        assert_eq!(exact.judge(404, || [7; 32]), Ok(()));
        assert_eq!(exact.judge(200, || [7; 32]), Err(LoadFault::Status(2)));
        assert_eq!(exact.judge(404, || [8; 32]), Err(LoadFault::BodyMismatch));
    }
}
