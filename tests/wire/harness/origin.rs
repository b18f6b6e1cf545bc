//! An origin that does what a script says and remembers every octet it was sent.

use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::wire::{Record, Wire, socket_address};
use super::{CLOSE, Gate, Head, Request, eventually, frame, unmasked};

/// The answer to the handshake in the example of RFC 6455 section 1.3.
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What an origin does with one connection. When it returns, the connection is closed;
/// an error (the proxy went away) is no fault, a panic (an assertion) fails the case.
pub trait Script: Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static {}
impl<F: Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static> Script for F {}

/// A listening origin. Drop ends it, and fails the case if one of its scripts panicked.
pub struct Origin {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<Record>>,
    requests: Mutex<Vec<Request>>,
    failed: AtomicBool,
    stopped: AtomicBool,
}

impl Origin {
    /// Listens on a free port; every connection follows `script`.
    pub fn start(script: impl Script) -> Origin {
        Origin::listen("127.0.0.1:0", script)
    }

    /// As [`Origin::start`], with small receive buffers, so that a script that stops reading is soon felt.
    pub fn narrow(script: impl Script) -> Origin {
        let socket = bound("127.0.0.1:0");
        socket.set_recv_buffer_size(4096).unwrap();
        Origin::on(socket, script)
    }

    /// Listens on `127.0.0.1:80` or `unix:/path`.
    pub fn listen(address: &str, script: impl Script) -> Origin {
        Origin::on(bound(address), script)
    }

    fn on(socket: Socket, script: impl Script) -> Origin {
        socket.listen(1024).unwrap();
        let (address, shared) = (local_address(&socket), Arc::new(Shared::default()));
        thread::spawn({
            let shared = shared.clone();
            move || accept(&socket, &shared, &Arc::new(script))
        });
        Origin { address, shared }
    }

    /// Reads requests for ever and answers each with what `answer` makes of it.
    pub fn serving(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Origin {
        Origin::start(move |peer| {
            loop {
                let request = peer.request()?;
                peer.send(answer(&request))?;
            }
        })
    }

    /// Answers every request with the same octets.
    pub fn answering(octets: impl AsRef<[u8]>) -> Origin {
        let octets = octets.as_ref().to_vec();
        Origin::serving(move |_| octets.clone())
    }

    /// Answers every request with its name.
    pub fn named(name: &str) -> Origin {
        Origin::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Origin: {name}\r\n\r\n{name}",
            name.len()
        ))
    }

    /// Opens the first gate when it is asked, and answers once the second is open.
    pub fn patient() -> (Origin, Gate, Gate) {
        let (asked, go_on) = (Gate::default(), Gate::default());
        let gates = (asked.clone(), go_on.clone());
        let origin = Origin::start(move |peer| {
            loop {
                peer.request()?;
                gates.0.open();
                gates.1.wait();
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")?;
            }
        });
        (origin, asked, go_on)
    }

    /// Answers every request with its own body.
    pub fn echoing() -> Origin {
        Origin::serving(|request| {
            let len = request.body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
            [head.as_bytes(), &request.body].concat()
        })
    }

    /// Switches to WebSocket, as the example of RFC 6455 section 1.3 does, and sends every octet back.
    pub fn chatting() -> Origin {
        Origin::start(|peer| {
            peer.answer(SWITCHED)?;
            loop {
                let octet = peer.exactly(1)?;
                peer.send(octet)?;
            }
        })
    }

    /// Switches likewise, and says every message again as a server sends it; a Close as well, which is the end.
    pub fn conversing() -> Origin {
        Origin::start(|peer| {
            peer.answer(SWITCHED)?;
            loop {
                let (first, payload) = unmasked(peer)?;
                peer.send(frame(first, &payload))?;
                if first == CLOSE {
                    return Ok(());
                }
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// As `--upstream` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }

    /// Every octet received on connection `n`, counted from 0.
    pub fn received(&self, n: usize) -> Vec<u8> {
        self.shared.connections.lock().unwrap()[n].lock().unwrap().clone()
    }

    /// Every request whose head (and body, where the script reads it) was read so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests seen by the origin: {requests:#?}");
        requests.remove(0)
    }

    /// Waits until `n` connections were accepted.
    #[track_caller]
    pub fn wait_for_connections(&self, n: usize) {
        eventually("connections at the origin", || self.connections() >= n);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Relaxed);
        let _ = Wire::connect(&self.address);
        if self.shared.failed.load(Relaxed) && !thread::panicking() {
            panic!("a script of the origin panicked; see above");
        }
    }
}

/// One connection as its script sees it.
pub struct Peer {
    /// Which connection this is, counted from 0.
    pub number: usize,
    wire: Wire,
    shared: Arc<Shared>,
}

impl Peer {
    /// The next request, body and all.
    pub fn request(&mut self) -> io::Result<Request> {
        let request = self.wire.request()?;
        self.shared.requests.lock().unwrap().push(request.clone());
        Ok(request)
    }

    /// The head of the next request; its body stays on the wire.
    pub fn request_head(&mut self) -> io::Result<Head> {
        let head = self.wire.head()?;
        self.shared.requests.lock().unwrap().push(Request::without_body(head.clone()));
        Ok(head)
    }

    /// Reads the next request and answers it.
    pub fn answer(&mut self, octets: impl AsRef<[u8]>) -> io::Result<Request> {
        let request = self.request()?;
        self.wire.send(octets)?;
        Ok(request)
    }

    /// Keeps the connection open, reading, until the other side ends it.
    pub fn hold(&mut self) -> io::Result<()> {
        self.wire.until_gone().map(drop)
    }

    /// Resets the connection when the script returns.
    pub fn reset(&mut self) -> io::Result<()> {
        self.wire.reset_on_close()
    }
}

impl Deref for Peer {
    type Target = Wire;
    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

fn accept<S: Script>(listener: &Socket, shared: &Arc<Shared>, script: &Arc<S>) {
    while let Ok((socket, _)) = listener.accept() {
        if shared.stopped.load(Relaxed) {
            return;
        }
        let record = Record::default();
        let number = {
            let mut connections = shared.connections.lock().unwrap();
            connections.push(record.clone());
            connections.len() - 1
        };
        let wire = Wire::new(socket, record).expect("a socket just accepted");
        let mut peer = Peer { number, wire, shared: shared.clone() };
        let script = script.clone();
        thread::spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| script(&mut peer))).is_err() {
                peer.shared.failed.store(true, Relaxed);
            }
        });
    }
}

/// An address that refuses every connection, and that nobody else can take.
pub struct Refusing(Socket);

impl Refusing {
    /// Binds, but does not listen.
    pub fn new() -> Refusing {
        Refusing(bound("127.0.0.1:0"))
    }

    /// As `--upstream` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", local_address(&self.0))
    }

    /// From now on connections are accepted.
    pub fn relent(self, script: impl Script) -> Origin {
        Origin::on(self.0, script)
    }
}

/// An address where connecting gets no answer at all: its queue is full and nobody accepts.
pub struct Silent {
    listener: Socket,
    _queued: Vec<Socket>,
}

impl Silent {
    /// Listens and fills its own queue.
    pub fn new() -> Silent {
        let listener = bound("127.0.0.1:0");
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        };
        let queued: Vec<_> = (0..3).map(connect).collect();
        let first_is_in = || queued[0].peer_addr().is_ok();
        eventually("a full queue", first_is_in);
        Silent { listener, _queued: queued }
    }

    /// As `--upstream` wants it.
    pub fn url(&self) -> String {
        format!("http://{}", local_address(&self.listener))
    }
}

fn bound(address: &str) -> Socket {
    let address = socket_address(address).unwrap();
    let socket = Socket::new(address.domain(), Type::STREAM, None).unwrap();
    socket.bind(&address).unwrap();
    socket
}

fn local_address(socket: &Socket) -> String {
    let address = socket.local_addr().unwrap();
    match address.as_pathname() {
        Some(path) => format!("unix:{}", path.display()),
        None => address.as_socket().unwrap().to_string(),
    }
}
