//! A load of WebSocket messages, and the origin that sends them back; `benches/ws_peers.py` puts
//! proxies between the two.
//!
//! ```text
//! ws_echo origin ADDRESS                                listens and reflects
//! ws_echo load ADDRESS CONNECTIONS OCTETS SECONDS       one message under way on each connection
//! ws_echo hold ADDRESS CONNECTIONS                      silent ones, until standard input ends
//! ```
//! Both ends must cost little beside the proxy: one thread over epoll, frames made once, and an origin that sends the
//! masked frames back as they are, which no proxy minds.
#![expect(clippy::disallowed_methods, reason = "a tool of its own, with its own clock and sockets")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// The handshake of RFC 6455 section 1.3, and its answer.
const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const BLOCK: usize = 256 * 1024;
/// The name of the listening socket among the events.
const LISTENER: u64 = u64::MAX;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().map_err(io::Error::other);
    let result = match arguments[..] {
        ["origin", address] => origin(address),
        ["load", address, connections, octets, seconds] => {
            (|| load(address, number(connections)?, number(octets)?, number(seconds)? as u64))()
        }
        ["hold", address, connections] => number(connections).and_then(|n| hold(address, n)),
        _ => {
            eprintln!(
                "ws_echo origin|load|hold ADDRESS ...: the top of benches/ws_echo.rs says more"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ws_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- the origin ----

/// A connection of the origin: a handshake, then a mirror.
struct Mirror {
    socket: TcpStream,
    is_socket: bool,
    /// What came in of the handshake, then what the other side has not taken yet.
    kept: Vec<u8>,
    sent: usize,
}

fn origin(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    let poller = Poller::new()?;
    poller.add(&listener, LISTENER)?;
    let mut mirrors: Vec<Option<Mirror>> = Vec::new();
    let mut block = vec![0; BLOCK];
    loop {
        for name in poller.wait(None)? {
            if name == LISTENER {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    let free = mirrors.iter().position(Option::is_none).unwrap_or(mirrors.len());
                    poller.add(&socket, free as u64)?;
                    let mirror = Mirror { socket, is_socket: false, kept: Vec::new(), sent: 0 };
                    match mirrors.get_mut(free) {
                        Some(slot) => *slot = Some(mirror),
                        None => mirrors.push(Some(mirror)),
                    }
                }
            } else if let Some(slot) = mirrors.get_mut(name as usize)
                && let Some(mirror) = slot
                && !mirror.turn(&mut block).unwrap_or(false)
            {
                *slot = None;
            }
        }
    }
}

impl Mirror {
    /// Does what can be done now. `false`: the connection is over.
    fn turn(&mut self, block: &mut [u8]) -> io::Result<bool> {
        loop {
            if self.is_socket && !self.kept.is_empty() {
                let Some(n) = now(self.socket.write(&self.kept[self.sent..]))? else {
                    return Ok(true);
                };
                self.sent += n;
                if self.sent == self.kept.len() {
                    self.kept.clear();
                    self.sent = 0;
                }
                continue;
            }
            let Some(n) = now(self.socket.read(block))? else { return Ok(true) };
            if n == 0 {
                return Ok(false);
            }
            if self.is_socket {
                let sent = now(self.socket.write(&block[..n]))?.unwrap_or(0);
                self.kept.extend_from_slice(&block[sent..n]);
            } else {
                self.kept.extend_from_slice(&block[..n]);
                if self.kept.ends_with(b"\r\n\r\n") {
                    self.kept.clear();
                    self.kept.extend_from_slice(SWITCHED);
                    self.is_socket = true;
                }
            }
            if n < block.len() && self.kept.is_empty() {
                return Ok(true);
            }
        }
    }
}

// ---- the load ----

/// A connection of the load: one message is under way, out or back.
struct Talk {
    socket: TcpStream,
    sent: usize,
    received: usize,
}

fn load(address: &str, connections: usize, octets: usize, seconds: u64) -> io::Result<()> {
    let message = message(octets);
    let mut talks = Vec::new();
    let poller = Poller::new()?;
    for name in 0..connections {
        let socket = connect(address)?;
        socket.set_nonblocking(true)?;
        poller.add(&socket, name as u64)?;
        talks.push(Talk { socket, sent: 0, received: 0 });
    }
    let mut block = vec![0; BLOCK];
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds);
    let mut messages = 0_u64;
    for talk in &mut talks {
        messages += talk.turn(&message, &mut block)?;
    }
    while Instant::now() < end {
        for name in poller.wait(Some(Duration::from_millis(100)))? {
            messages += talks[name as usize].turn(&message, &mut block)?;
        }
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "{{\"messages\": {messages}, \"seconds\": {took:.3}, \"per_second\": {:.0}}}",
        messages as f64 / took
    );
    Ok(())
}

impl Talk {
    /// Does what can be done now; how many messages came back whole.
    fn turn(&mut self, message: &[u8], block: &mut [u8]) -> io::Result<u64> {
        let mut whole = 0;
        loop {
            if self.sent < message.len()
                && let Some(n) = now(self.socket.write(&message[self.sent..]))?
            {
                self.sent += n;
            }
            let Some(n) = now(self.socket.read(block))? else { return Ok(whole) };
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.received += n;
            if self.received == message.len() {
                whole += 1;
                (self.sent, self.received) = (0, 0);
            } else if self.received > message.len() {
                return Err(io::Error::other("more came back than was sent"));
            }
        }
    }
}

/// Silent connections, until standard input ends.
fn hold(address: &str, connections: usize) -> io::Result<()> {
    let sockets = (0..connections).map(|_| connect(address)).collect::<io::Result<Vec<_>>>()?;
    println!("holding {}", sockets.len());
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

/// A WebSocket to `address`.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(HANDSHAKE)?;
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut octet)?;
        head.extend_from_slice(&octet);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        Ok(socket)
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()))
    }
}

/// A masked binary message with `octets` of payload.
fn message(octets: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match octets {
        0..126 => frame.push(0x80 | octets as u8),
        126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((octets as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((octets as u64).to_be_bytes());
        }
    }
    frame.extend([0x37, 0xfa, 0x21, 0x3d]);
    frame.extend((0..octets).map(|at| at as u8));
    frame
}

// ---- both ----

/// `None`: not now.
fn now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Epoll, edge by edge: every turn goes on until nothing more can be done.
struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    fn new() -> io::Result<Poller> {
        Ok(Poller { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    fn add(&self, socket: impl std::os::fd::AsFd, name: u64) -> io::Result<()> {
        let both = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(name), both)?)
    }

    /// The names of those that something happened to; nobody after `wait`.
    fn wait(&self, wait: Option<Duration>) -> io::Result<impl Iterator<Item = u64>> {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 256];
        let wait = wait.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let n = epoll::wait(&self.epoll, &mut events, wait.as_ref())?;
        Ok(events.into_iter().take(n).map(|event| event.data.u64()))
    }
}
