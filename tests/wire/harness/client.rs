//! A client in raw octets. Whatever it waits for and does not get ends the case with a clear panic.

use std::io;
use std::time::Duration;

use super::wire::Wire;
use super::{Head, Response};

/// One connection to the proxy (or straight to an origin).
pub struct Client {
    wire: Wire,
}

impl Client {
    /// Connects to `127.0.0.1:80` or `unix:/path`.
    #[track_caller]
    pub fn to(address: &str) -> Client {
        Client { wire: must(Wire::connect(address), "connect") }
    }

    /// Connects from this address of the machine.
    #[track_caller]
    pub fn from(source: &str, address: &str) -> Client {
        Client { wire: must(Wire::connect_from(source, address), "connect") }
    }

    /// Connects with a small receive buffer.
    #[track_caller]
    pub fn narrow(address: &str) -> Client {
        Client { wire: must(Wire::connect_narrow(address, 4096), "connect") }
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        must(self.wire.send(bytes), "send");
        self
    }

    /// Sends `bytes` if the other side still takes them.
    pub fn send_if_taken(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        let _ = self.wire.send(bytes);
        self
    }

    /// Sends `bytes` one octet at a time.
    #[track_caller]
    pub fn send_slowly(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        must(self.wire.send_slowly(bytes), "send slowly");
        self
    }

    /// A GET of `path` on this connection and its answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.response()
    }

    /// The next final answer, to anything but a HEAD.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        must(self.wire.response("GET"), "read an answer")
    }

    /// The next final answer, to a HEAD.
    #[track_caller]
    pub fn response_to_head(&mut self) -> Response {
        must(self.wire.response("HEAD"), "read an answer to HEAD")
    }

    /// The next head, interim or final, without what follows.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        must(self.wire.head(), "read a head")
    }

    /// The next `len` octets.
    #[track_caller]
    pub fn exactly(&mut self, len: usize) -> Vec<u8> {
        must(self.wire.exactly(len), "read octets")
    }

    /// The other side says goodbye, with not one octet more.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = must(self.wire.rest(), "wait for an orderly close");
        assert!(rest.is_empty(), "before the close came: \"{}\"", rest.escape_ascii());
    }

    /// The connection ends, by a goodbye or a reset; what came before that.
    #[track_caller]
    pub fn until_gone(&mut self) -> Vec<u8> {
        must(self.wire.until_gone(), "wait for the end")
    }

    /// Nothing comes for `wait`: only for what can be told in no other way.
    #[track_caller]
    pub fn expect_silence(&mut self, wait: Duration) {
        must(self.wire.patience(wait), "set a time-out");
        match self.wire.fill() {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {}
            end => panic!("{end:?} octets came where none were due"),
        }
        must(self.wire.patience(super::DEADLINE), "set a time-out");
    }

    /// Closes the sending direction only.
    #[track_caller]
    pub fn finish_sending(&mut self) -> &mut Client {
        must(self.wire.finish_sending(), "half-close");
        self
    }

    /// As [`Client::finish_sending`], if the other side has not closed already.
    pub fn finish_sending_if_open(&mut self) -> &mut Client {
        let _ = self.wire.finish_sending();
        self
    }

    /// Resets the connection.
    #[track_caller]
    pub fn reset(self) {
        must(self.wire.reset_on_close(), "reset");
    }

    /// The connection itself, for cases that look at errors.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

#[track_caller]
fn must<T>(result: io::Result<T>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(e) => panic!("the client could not {what}: {e}"),
    }
}
