//! One question at a time, by a plain client that blocks: to compare answers, and to hold connections open.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidegate::http::chunked::ChunkedDecoder;

use crate::secure::{self, Wire};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// The handshake of RFC 6455 section 1.3.
const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// A mask for messages: any will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body, out of whatever framing it came in.
    pub body: Vec<u8>,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// Method; empty: GET.
    pub method: &'a str,
    /// Path.
    pub path: &'a str,
    /// Field lines without their ends.
    pub fields: &'a [String],
    /// Octets of body.
    pub body: usize,
    /// Over TLS.
    pub tls: bool,
}

impl Question<'_> {
    /// Asks `address` over a connection of its own.
    pub fn ask(&self, address: SocketAddr) -> io::Result<Answer> {
        let mut stream = self.connect(address)?;
        stream.write_all(self.head(address, "Connection: close\r\n").as_bytes())?;
        stream.write_all(&vec![b'x'; self.body])?;
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets)?;
        answer(octets)
    }

    fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Wire>> {
        let stream = connect(address)?;
        if self.tls { secure::seal(stream) } else { Ok(Box::new(stream)) }
    }

    fn head(&self, address: SocketAddr, more: &str) -> String {
        let method = if self.method.is_empty() { "GET" } else { self.method };
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: {address}\r\n{more}", self.path);
        for field in self.fields {
            head.push_str(field);
            head.push_str("\r\n");
        }
        if self.body > 0 {
            head.push_str(&format!("Content-Length: {}\r\n", self.body));
        }
        head.push_str("\r\n");
        head
    }

    /// Asks over a connection that stays open; the answer must have a length of its own.
    pub fn ask_and_stay(&self, address: SocketAddr) -> io::Result<Box<dyn Wire>> {
        let mut stream = self.connect(address)?;
        stream.write_all(self.head(address, "").as_bytes())?;
        let mut octets = Vec::new();
        loop {
            more(&mut stream, &mut octets)?;
            if let Some((head, body)) = split(&octets)
                && let Some(length) = field(head, "content-length")
                && body.len() >= crate::process::number(length).unwrap_or(usize::MAX)
            {
                return Ok(stream);
            }
        }
    }
}

/// Opens a WebSocket.
pub fn open_websocket(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    let question = Question { path: "/ws", ..Question::default() };
    stream.write_all(question.head(address, HANDSHAKE).as_bytes())?;
    let mut octets = Vec::new();
    // Nobody speaks after a 101 before we do, but a refusal has a body.
    while split(&octets).is_none() {
        more(&mut stream, &mut octets)?;
    }
    if octets.starts_with(b"HTTP/1.1 101 ") {
        Ok(stream)
    } else {
        Err(odd("no 101 to the handshake of a WebSocket"))
    }
}

/// Sends a binary message with `octets` of payload through a new WebSocket, and gives the payload that comes back.
pub fn echo(address: SocketAddr, octets: usize) -> io::Result<Answer> {
    let mut stream = open_websocket(address)?;
    let payload: Vec<u8> = (0..octets).map(|at| at as u8).collect();
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
    frame.extend(MASK);
    frame.extend(masked(&payload, MASK));
    stream.write_all(&frame)?;
    let mut octets = Vec::new();
    loop {
        more(&mut stream, &mut octets)?;
        if let Some(body) = payload_of(&octets) {
            return Ok(Answer { status: 101, body });
        }
    }
}

/// The payload of the frame in `octets`, if it is whole. It may be masked: an origin that mirrors octets leaves it so.
fn payload_of(octets: &[u8]) -> Option<Vec<u8>> {
    let [_, second, rest @ ..] = octets else { return None };
    let (length, rest) = match second & 0x7f {
        126 => rest.split_first_chunk().map(|(n, rest)| (u16::from_be_bytes(*n).into(), rest))?,
        127 => rest.split_first_chunk().map(|(n, rest)| (u64::from_be_bytes(*n), rest))?,
        n => (n.into(), rest),
    };
    let (mask, rest) = match second & 0x80 {
        0 => ([0; 4], rest),
        _ => rest.split_first_chunk().map(|(mask, rest)| (*mask, rest))?,
    };
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    Some(masked(payload, mask))
}

fn masked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    payload.iter().zip(mask.iter().cycle()).map(|(octet, mask)| octet ^ mask).collect()
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn more(stream: &mut impl Read, octets: &mut Vec<u8>) -> io::Result<()> {
    let mut block = [0; 16 * 1024];
    let n = stream.read(&mut block)?;
    octets.extend_from_slice(&block[..n]);
    if n == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn odd(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn split(octets: &[u8]) -> Option<(&str, &[u8])> {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&octets[..end]).ok()?, &octets[end + 4..]))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Everything a connection gave until its end, taken apart.
fn answer(octets: Vec<u8>) -> io::Result<Answer> {
    let (head, body) = split(&octets).ok_or_else(|| odd("no whole head"))?;
    let status = head.split(' ').nth(1).and_then(crate::process::number);
    let status = status.ok_or_else(|| odd("no status"))?;
    let mut body = body.to_vec();
    if field(head, "transfer-encoding").is_some() {
        let decoded = ChunkedDecoder::default().decode(&mut body).map_err(|_| odd("odd chunks"))?;
        if !decoded.done {
            return Err(odd("the chunks do not end"));
        }
        body.truncate(decoded.payload);
    } else if let Some(length) = field(head, "content-length")
        && crate::process::number(length) != Some(body.len())
    {
        return Err(odd("the body has another length than it says"));
    }
    Ok(Answer { status, body })
}
