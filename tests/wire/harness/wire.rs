//! One end of a connection: sends octets, keeps what comes in, and never waits for ever.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::message::{Head, Request, Response};

/// How long any single wait may take before it counts as a failure.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Every octet received on one connection, for others to look at.
pub type Record = Arc<Mutex<Vec<u8>>>;

/// A connected socket, TCP or Unix.
pub struct Wire {
    socket: Socket,
    /// Came in and was not yet taken.
    unread: Vec<u8>,
    record: Record,
}

impl Wire {
    /// Connects to `127.0.0.1:80` or `unix:/path`.
    pub fn connect(address: &str) -> io::Result<Wire> {
        Wire::connect_within(address, DEADLINE)
    }

    /// Connects, waiting no longer than `wait`.
    pub fn connect_within(address: &str, wait: Duration) -> io::Result<Wire> {
        let address = socket_address(address)?;
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        socket.connect_timeout(&address, wait)?;
        Wire::new(socket, Record::default())
    }

    /// Connects from the IP address `source`.
    pub fn connect_from(source: &str, address: &str) -> io::Result<Wire> {
        let address = socket_address(address)?;
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        socket.bind(&socket_address(&format!("{source}:0"))?)?;
        socket.connect(&address)?;
        Wire::new(socket, Record::default())
    }

    /// Connects with a receive buffer of about `octets`, so that a reader who stops reading is soon felt.
    pub fn connect_narrow(address: &str, octets: usize) -> io::Result<Wire> {
        let address = socket_address(address)?;
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        socket.set_recv_buffer_size(octets)?;
        socket.connect(&address)?;
        Wire::new(socket, Record::default())
    }

    /// Takes over a connected socket; what it receives goes to `record` too.
    pub fn new(socket: Socket, record: Record) -> io::Result<Wire> {
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        if socket.domain()? != Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        Ok(Wire { socket, unread: Vec::new(), record })
    }

    /// Who is at the other end, over TCP.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        let address = self.socket.peer_addr()?.as_socket();
        address.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "not TCP"))
    }

    /// How long a read waits from now on, if not [`DEADLINE`].
    pub fn patience(&self, wait: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(wait))
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Sends `bytes` as urgent data: the last of them has the mark (tcp(7)).
    pub fn send_urgently(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            bytes = &bytes[self.socket.send_out_of_band(bytes)?..];
        }
        Ok(())
    }

    /// Sends `bytes` one octet at a time, each in a segment of its own.
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        bytes.as_ref().chunks(1).try_for_each(|octet| self.socket.write_all(octet))
    }

    /// Sends `bytes` until the other side takes no more for `wait`; how many octets it took.
    pub fn send_until_blocked(&mut self, bytes: &[u8], wait: Duration) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(wait))?;
        let mut sent = 0;
        while sent < bytes.len() {
            match self.socket.write(&bytes[sent..]) {
                Ok(n) => sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        self.socket.set_write_timeout(Some(DEADLINE))?;
        Ok(sent)
    }

    /// Says that nothing more will be sent; receiving goes on.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// From now on closing the connection means a reset instead of a goodbye.
    pub fn reset_on_close(&self) -> io::Result<()> {
        self.socket.set_linger(Some(Duration::ZERO))
    }

    /// A second handle on the same connection that only sends: both directions at once.
    pub fn sender(&self) -> io::Result<Wire> {
        Ok(Wire { socket: self.socket.try_clone()?, unread: Vec::new(), record: Record::default() })
    }

    /// A request: head and body.
    pub fn request(&mut self) -> io::Result<Request> {
        let head = self.head()?;
        Request::read(head, self)
    }

    /// A final response to a request with `method`, and the interim ones before it.
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        Response::read(method, self)
    }

    /// A message head, up to and including the empty line.
    pub fn head(&mut self) -> io::Result<Head> {
        let end = self.find(b"\r\n\r\n")?;
        Head::parse(&self.take(end))
    }

    /// A line, without its CRLF.
    pub fn line(&mut self) -> io::Result<String> {
        let end = self.find(b"\r\n")?;
        let line = self.take(end);
        String::from_utf8(line[..end - 2].to_vec())
            .map_err(|e| Error::new(ErrorKind::InvalidData, e))
    }

    /// Exactly `len` octets.
    pub fn exactly(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < len {
            self.fill_or_fail()?;
        }
        Ok(self.take(len))
    }

    /// Everything until the other side closes in an orderly way.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.unread))
    }

    /// Waits for the other side to be gone, by a goodbye or a reset; what it still sent.
    pub fn until_gone(&mut self) -> io::Result<Vec<u8>> {
        match self.rest() {
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                Ok(std::mem::take(&mut self.unread))
            }
            end => end,
        }
    }

    /// Reads what there is, once: 0 at the end. The octets stay here for the next call that takes.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut block = vec![0; 64 * 1024];
        let n = loop {
            match self.socket.read(&mut block) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Err(self.unmet("in time")),
                end => break end?,
            }
        };
        self.unread.extend_from_slice(&block[..n]);
        self.record.lock().unwrap().extend_from_slice(&block[..n]);
        Ok(n)
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 if self.unread.is_empty() => Err(ErrorKind::UnexpectedEof.into()),
            0 => Err(Error::new(ErrorKind::UnexpectedEof, self.unmet("before the close"))),
            _ => Ok(()),
        }
    }

    /// Where the first `needle` ends.
    fn find(&mut self, needle: &[u8]) -> io::Result<usize> {
        let mut from = 0;
        loop {
            let found = self.unread[from..].windows(needle.len()).position(|w| w == needle);
            if let Some(at) = found {
                return Ok(from + at + needle.len());
            }
            from = self.unread.len().saturating_sub(needle.len() - 1);
            self.fill_or_fail()?;
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.unread.split_off(len);
        std::mem::replace(&mut self.unread, rest)
    }

    fn unmet(&self, when: &str) -> Error {
        let shown = &self.unread[self.unread.len().saturating_sub(400)..];
        let text = format!("no more came {when}; unread: \"{}\"", shown.escape_ascii());
        Error::new(ErrorKind::TimedOut, text)
    }
}

/// `127.0.0.1:80` or `unix:/path` as a socket address.
pub fn socket_address(text: &str) -> io::Result<SockAddr> {
    match text.strip_prefix("unix:") {
        Some(path) => SockAddr::unix(path),
        None => text
            .parse::<SocketAddr>()
            .map(SockAddr::from)
            .map_err(|e| Error::new(ErrorKind::InvalidInput, format!("{text}: {e}"))),
    }
}
