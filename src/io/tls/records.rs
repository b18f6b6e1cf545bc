//! Records on their way: from the socket into the buffer that all connections share, through the session, and out.

use rustix::io::Errno;
use rustls::CommonState;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::super::kernel::{self, Fd};

/// What a record has besides octets of the sender's: header, type, nonce and tag, in any version.
pub(super) const OVERHEAD: usize = 64;
/// Octets of a record's content.
pub(super) const CONTENT: usize = 16 * 1024;
/// What is read for the protocol's own sake.
const READ: usize = 4096;
/// Octets for the reader that are read at once, so that the buffer which all share stays small.
const READ_MOST: usize = 64 * 1024;
/// Octets that may be kept until the rest has come: a record, or a message of the handshake, with a chain of
/// certificates.
pub(super) const UNDECRYPTED_MOST: usize = 96 * 1024;

/// One side of a connection.
pub(super) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl Session {
    /// One look at `records`. Also how many octets of them are used up.
    pub fn step(
        &mut self,
        records: &mut [u8],
        work: &mut Work<'_>,
    ) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Session::Server(session) => work.step(session.process_tls_records(records)),
            Session::Client(session) => work.step(session.process_tls_records(records)),
        }
    }

    /// What both sides have in common.
    pub fn common(&self) -> &CommonState {
        match self {
            Session::Server(session) => session,
            Session::Client(session) => session,
        }
    }
}

/// Records in the buffer that all connections share, from the first that is not used up.
pub(super) struct Records<'b> {
    buffer: &'b mut Vec<u8>,
    pub from: usize,
    to: usize,
}

impl<'b> Records<'b> {
    /// Begins with what was left over.
    pub fn new(buffer: &'b mut Vec<u8>, rest: Vec<u8>) -> Records<'b> {
        let to = rest.len();
        if buffer.len() < to {
            buffer.resize(to, 0);
        }
        buffer[..to].copy_from_slice(&rest);
        Records { buffer, from: 0, to }
    }

    pub fn all(&mut self) -> &mut [u8] {
        &mut self.buffer[self.from..self.to]
    }

    /// Reads as much as brings `room` octets, or what the protocol needs: whether the socket had no more. `None`: its
    /// end came.
    pub fn read(&mut self, fd: &Fd, room: usize) -> Result<Option<bool>, Errno> {
        let room = room.min(READ_MOST);
        let want = READ.max(room + OVERHEAD * (1 + room / CONTENT));
        self.buffer.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.buffer.len() < self.to + want {
            self.buffer.resize(self.to + want, 0);
        }
        loop {
            match kernel::recv(fd, &mut self.buffer[self.to..self.to + want]) {
                Ok(0) => return Ok(None),
                Ok(n) => {
                    self.to += n;
                    return Ok(Some(n < want));
                }
                // Octets that were decrypted before may be there: whoever gets those waits for an edge then.
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is left over.
    pub fn into_rest(self) -> Vec<u8> {
        self.buffer[self.from..self.to].to_vec()
    }
}

/// What came of looking at the records that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to do.
    More,
    /// An end was announced.
    Ended,
    /// The handshake needs more from the peer.
    Blocked,
    /// Nothing is left to decrypt, and octets may be encrypted.
    Ready,
    /// What was to be encrypted is.
    Encrypted,
}

/// What is to be done with the records that there are.
pub(super) struct Work<'w> {
    /// To be encrypted.
    pub plain: &'w [u8],
    /// The end is to be announced.
    pub notify: bool,
    /// Where encrypted octets go, and up to where it is filled.
    pub out: &'w mut Vec<u8>,
    pub filled: usize,
    /// Where decrypted octets go, and up to where it is filled.
    pub room: &'w mut [u8],
    pub decrypted: usize,
    /// Where those go for which there is no room.
    pub spill: &'w mut Vec<u8>,
}

impl Work<'_> {
    pub fn grow(&mut self, octets: usize) {
        if self.out.len() - self.filled < octets {
            self.out.resize(self.filled + octets, 0);
        }
    }

    /// Takes octets of a decrypted record.
    fn take(&mut self, octets: &[u8]) {
        let n = octets.len().min(self.room.len() - self.decrypted);
        self.room[self.decrypted..self.decrypted + n].copy_from_slice(&octets[..n]);
        self.decrypted += n;
        self.spill.extend_from_slice(&octets[n..]);
    }

    /// Does what the session asks for, or what is to be done. Also how many octets of its records are used up.
    fn step<D>(
        &mut self,
        status: UnbufferedStatus<'_, '_, D>,
    ) -> (usize, Result<Step, rustls::Error>) {
        let UnbufferedStatus { discard, state } = status;
        let mut discard = discard;
        let step = match state {
            Err(fault) => Err(fault),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    None => break Ok(Step::More),
                    Some(Err(fault)) => break Err(fault),
                    Some(Ok(record)) => {
                        discard += record.discard;
                        self.take(record.payload);
                    }
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut data)) => loop {
                match data.encode(&mut self.out[self.filled..]) {
                    Ok(n) => {
                        self.filled += n;
                        break Ok(Step::More);
                    }
                    Err(EncodeError::InsufficientSize(size)) => self.grow(size.required_size),
                    Err(EncodeError::AlreadyEncoded) => break Ok(Step::More),
                }
            },
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done(); // what was encoded leaves in this order, or stays in `unsent`
                Ok(Step::More)
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::Ended),
            Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
            Ok(ConnectionState::WriteTraffic(mut traffic)) if self.notify => {
                self.grow(OVERHEAD);
                match traffic.queue_close_notify(&mut self.out[self.filled..]) {
                    Ok(n) => {
                        self.filled += n;
                        Ok(Step::Encrypted)
                    }
                    Err(_) => Ok(Step::Ready),
                }
            }
            Ok(ConnectionState::WriteTraffic(_)) if self.plain.is_empty() => Ok(Step::Ready),
            Ok(ConnectionState::WriteTraffic(mut traffic)) => loop {
                match traffic.encrypt(self.plain, &mut self.out[self.filled..]) {
                    Ok(n) => {
                        self.filled += n;
                        break Ok(Step::Encrypted);
                    }
                    Err(EncryptError::InsufficientSize(size)) => self.grow(size.required_size),
                    Err(EncryptError::EncryptExhausted) => {
                        break Err(rustls::Error::EncryptError);
                    }
                }
            },
            // Data before the handshake is done is neither asked for nor taken.
            Ok(_) => Err(rustls::Error::General("early data".to_owned())),
        };
        (discard, step)
    }
}
