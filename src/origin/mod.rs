//! WHO ANSWERS? A fast test backend: what tidegate is tried, measured and demonstrated against.
//!
//! Laws: stands on `http` and `io` alone, and nothing of ours may depend on it but `tidegate-origin`
//! and `--demo`; a tool, not part of the data path. One core of `io` per thread, one task per connection;
//! one read and one write per small request, and nothing allocated for the plain `GET /`. It sends no
//! `Date`, so the same question always gets the same octets.
//!
//! The files: `thread` (a core, and the connections it accepts), `connection` (a request, its answer, and again),
//! `resource` (what a path means), `answer` (what it answers), `pattern` (what large bodies consist of),
//! `writer` (what leaves).
//!
//! What each path does is told by [`PATHS`].
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let mut settings = tidegate::origin::OriginSettings::new(([127, 0, 0, 1], 0).into());
//! settings.message = "Response from server 1".to_owned();
//! let origin = tidegate::origin::spawn(settings)?;
//!
//! let mut client = std::net::TcpStream::connect(origin.address())?;
//! client.write_all(b"GET / HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.ends_with("\r\n\r\nResponse from server 1"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod answer;
mod connection;
mod pattern;
mod resource;
mod thread;
mod writer;

pub use pattern::octet;
pub use resource::PATHS;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::io::address::Address;
use crate::io::listen;
use crate::io::signal::Mailbox;

/// What an origin is to be.
#[derive(Clone, Debug)]
pub struct OriginSettings {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Its name, sent as `X-Origin`; empty: `origin-PORT`. Octets that a field cannot hold become `?`.
    pub name: String,
    /// The body of `/`.
    pub message: String,
    /// Threads that serve, at least one.
    pub threads: usize,
    /// Closes a connection without a word after this many answers.
    pub close_after: Option<u64>,
    /// Closes a connection without a word when it has been idle this long.
    pub close_idle: Option<Duration>,
}

impl OriginSettings {
    /// One thread at `listen` that says hello and keeps connections open.
    pub fn new(listen: SocketAddr) -> OriginSettings {
        OriginSettings {
            listen,
            name: String::new(),
            message: "hello\n".to_owned(),
            threads: 1,
            close_after: None,
            close_idle: None,
        }
    }
}

/// A running origin; it stops when dropped, cutting what is under way.
#[derive(Debug)]
pub struct OriginServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<(JoinHandle<io::Result<()>>, Mailbox<()>)>,
}

impl OriginServer {
    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests answered so far.
    pub fn served(&self) -> u64 {
        total(&self.shared.served)
    }

    /// Serves until a thread fails, and tells why; a healthy origin never comes back.
    pub fn wait(mut self) -> io::Result<()> {
        for (thread, _) in self.threads.drain(..) {
            thread.join().map_err(|_| io::Error::other("an origin thread panicked"))??;
        }
        Ok(())
    }
}

impl Drop for OriginServer {
    fn drop(&mut self) {
        for (_, stop) in &self.threads {
            stop.send(());
        }
        for (thread, _) in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The state that all threads of one origin share.
#[derive(Debug)]
struct Shared {
    settings: OriginSettings,
    /// Requests answered, by thread.
    served: Vec<AtomicU64>,
    /// The whole answer to a plain `GET /`, made once.
    plain: Vec<u8>,
}

/// Binds and starts serving. An error is that of binding, or of starting a thread.
pub fn spawn(mut settings: OriginSettings) -> io::Result<OriginServer> {
    let threads = settings.threads.max(1);
    let bound = listen::bind(&Address::Tcp(settings.listen), threads)?;
    if let Address::Tcp(address) = bound.address {
        settings.listen = address;
    }
    let address = settings.listen;
    if settings.name.is_empty() {
        settings.name = format!("origin-{}", address.port());
    }
    settings.name = settings.name.replace(|c: char| c != ' ' && !c.is_ascii_graphic(), "?");
    let plain = answer::plain(&settings)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"))?;
    let served = (0..threads).map(|_| AtomicU64::new(0)).collect();

    let shared = Arc::new(Shared { settings, served, plain });
    let mut origin = OriginServer { address, shared, threads: Vec::new() };
    for (index, socket) in bound.sockets.into_iter().enumerate() {
        let (shared, (started, mailbox)) = (Arc::clone(&origin.shared), flume::bounded(1));
        let run = move || thread::run(shared, index, socket, &started);
        let running = Builder::new().name(format!("origin-{index}")).spawn(run)?;
        match mailbox.recv() {
            Ok(stop) => origin.threads.push((running, stop)),
            // It ended before it began, and tells why.
            Err(_) => {
                running.join().map_err(|_| io::Error::other("an origin thread panicked"))??
            }
        }
    }
    Ok(origin)
}

/// The sum over all threads.
fn total(served: &[AtomicU64]) -> u64 {
    served.iter().map(|count| count.load(Relaxed)).sum()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;

    use super::*;
    use crate::io::clock::Clock;

    fn origin(change: impl FnOnce(&mut OriginSettings)) -> OriginServer {
        let mut settings = OriginSettings::new(([127, 0, 0, 1], 0).into());
        settings.name = "a".to_owned();
        change(&mut settings);
        spawn(settings).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "a client from outside, which may block")]
    fn client(origin: &OriginServer) -> TcpStream {
        let stream = TcpStream::connect(origin.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends `request` and reads until the origin closes.
    fn exchange(origin: &OriginServer, request: &str) -> String {
        let mut stream = client(origin);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn get(origin: &OriginServer, target: &str) -> String {
        exchange(origin, &format!("GET {target} HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n"))
    }

    fn body(answer: &str) -> &str {
        answer.split_once("\r\n\r\n").unwrap().1
    }

    fn pattern(octets: u64) -> String {
        (0..octets).map(|at| octet(at) as char).collect()
    }

    #[test]
    fn a_message_is_sent_and_counted() {
        let origin = origin(|settings| settings.message = "one".to_owned());
        assert_eq!(
            get(&origin, "/"),
            "HTTP/1.1 200 OK\r\nX-Origin: a\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 3\r\nConnection: close\r\n\r\none"
        );
        let who: serde_json::Value = serde_json::from_str(body(&get(&origin, "/whoami"))).unwrap();
        assert_eq!(who["name"], "a");
        assert_eq!(who["port"], origin.address().port());
        assert_eq!(who["requests"], 1);
    }

    #[test]
    fn pipelined_requests_are_answered_in_order() {
        let origin = origin(|settings| settings.threads = 2);
        let mut wire = String::new();
        for n in 0..1000 {
            wire.push_str(&format!("GET /bytes/{n} HTTP/1.1\r\nHost: o\r\n\r\n"));
        }
        wire.push_str("GET /close HTTP/1.1\r\nHost: o\r\n\r\n");
        let mut reader = client(&origin);
        let mut writer = reader.try_clone().unwrap();
        let writing = thread::spawn(move || writer.write_all(wire.as_bytes()).unwrap());
        let mut answers = String::new();
        reader.read_to_string(&mut answers).unwrap();
        writing.join().unwrap();
        let mut rest = answers.as_str();
        for n in 0..1000 {
            let (head, after) = rest.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {n}")), "{n}");
            assert_eq!(after[..n], pattern(n as u64));
            rest = &after[n..];
        }
        assert!(rest.ends_with("hello\n"));
        assert_eq!(origin.served(), 1001);
    }

    #[test]
    fn a_request_may_come_an_octet_at_a_time() {
        let origin = origin(|_| {});
        let request = "POST /echo HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\
                       Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let mut stream = client(&origin);
        stream.set_nodelay(true).unwrap();
        for octet in request.as_bytes() {
            stream.write_all(&[*octet]).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(body(&answer), request.replace("3\r\nabc\r\n0\r\n\r\n", "abc"));
    }

    #[test]
    fn bodies_come_in_every_framing() {
        let origin = origin(|_| {});
        assert_eq!(body(&get(&origin, "/bytes/300000")), pattern(300_000));
        let ended = get(&origin, "/until-close/5000");
        assert!(!ended.contains("Content-Length") && !ended.contains("Transfer-Encoding"));
        assert_eq!(body(&ended), pattern(5000));
        let chunked = get(&origin, "/chunked/4097?trailer=1");
        assert!(chunked.contains("Transfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n"));
        assert!(chunked.ends_with("\r\n1\r\n+\r\n0\r\nX-Trailer: 1\r\n\r\n"));
        let lines = get(&origin, "/stream/2?every=5");
        assert_eq!(body(&lines), "7\r\nline 0\n\r\n7\r\nline 1\n\r\n0\r\n\r\n");
        let old = exchange(&origin, "GET /chunked/3 HTTP/1.0\r\n\r\n");
        assert_eq!(body(&old), " !\"");
        let head = exchange(&origin, "HEAD /bytes/9 HTTP/1.0\r\n\r\n");
        assert!(head.contains("Content-Length: 9\r\n") && head.ends_with("\r\n\r\n"));
    }

    #[test]
    fn large_bodies_go_both_ways_at_once() {
        let origin = origin(|_| {});
        let octets = 5_000_000;
        let mut reader = client(&origin);
        let mut writer = reader.try_clone().unwrap();
        let sent = pattern(octets);
        let expected = sent.clone();
        let writing = thread::spawn(move || {
            let head = format!(
                "POST /echo-body HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\
                 Content-Type: text/x-pattern\r\nContent-Length: {octets}\r\n\r\n"
            );
            writer.write_all(head.as_bytes()).unwrap();
            writer.write_all(sent.as_bytes()).unwrap();
        });
        let mut answer = String::new();
        reader.read_to_string(&mut answer).unwrap();
        writing.join().unwrap();
        assert!(answer.contains("Content-Type: text/x-pattern\r\nContent-Length: 5000000\r\n"));
        assert!(body(&answer) == expected);
    }

    #[test]
    fn uploads_are_counted_and_may_wait_for_100_continue() {
        let origin = origin(|_| {});
        let head = "POST /continue HTTP/1.1\r\nHost: o\r\nExpect: 100-continue\r\n\
                    Connection: close\r\nContent-Length: 4\r\n\r\n";
        let mut stream = client(&origin);
        stream.write_all(head.as_bytes()).unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"body").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(body(&answer), "4\n");
    }

    #[test]
    fn an_early_answer_comes_before_the_body() {
        let origin = origin(|_| {});
        let mut stream = client(&origin);
        let head = "POST /early HTTP/1.1\r\nHost: o\r\nContent-Length: 4\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        stream.write_all(b"bodyGET /close HTTP/1.1\r\nHost: o\r\n\r\n").unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("hello\nHTTP/1.1 200 OK\r\n"));
    }

    #[test]
    fn statuses_hints_and_delays() {
        let origin = origin(|_| {});
        assert!(get(&origin, "/status/503").starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        let empty = get(&origin, "/status/204");
        assert!(!empty.contains("Content-Length") && empty.ends_with("close\r\n\r\n"));
        assert!(get(&origin, "/1xx").starts_with("HTTP/1.1 103 Early Hints\r\nLink: "));
        assert!(get(&origin, "/nothing").starts_with("HTTP/1.1 404 Not Found\r\n"));
        let clock = Clock::default();
        let start = clock.tick();
        assert_eq!(body(&get(&origin, "/delay/30")), "hello\n");
        assert!(clock.tick() - start >= Duration::from_millis(30));
    }

    #[test]
    fn connections_end_in_every_way() {
        let origin = origin(|settings| settings.close_after = Some(2));
        assert_eq!(get(&origin, "/drop"), "");
        assert_eq!(get(&origin, "/garbage"), "this is not HTTP\r\n\r\n");
        assert!(exchange(&origin, "what?\r\n\r\n").starts_with("HTTP/1.1 400 "));
        let twice =
            exchange(&origin, "GET / HTTP/1.1\r\nHost: o\r\n\r\nGET / HTTP/1.1\r\nHost: o\r\n\r\n");
        assert_eq!(twice.matches("hello\n").count(), 2);
        assert!(!twice.contains("Connection: close"));
        let mut stream = client(&origin);
        stream.write_all(b"GET /reset HTTP/1.1\r\nHost: o\r\n\r\n").unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn idle_connections_are_closed_when_asked() {
        let origin = origin(|settings| settings.close_idle = Some(Duration::from_millis(20)));
        let clock = Clock::default();
        let start = clock.tick();
        let answer = exchange(&origin, "GET / HTTP/1.1\r\nHost: o\r\n\r\n");
        assert!(answer.ends_with("hello\n") && clock.tick() - start >= Duration::from_millis(20));
    }

    #[test]
    fn a_port_in_use_is_an_error_and_a_dropped_origin_frees_it() {
        let first = origin(|_| {});
        let address = first.address();
        let second = spawn(OriginSettings::new(address)).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert_eq!(spawn(OriginSettings::new(address)).unwrap().address(), address);
    }
}
