//! TLS over a socket (RFC 8446, RFC 5246): records on the wire, plain octets for whoever reads and sends.
//!
//! The cryptography and the protocol are rustls', in its unbuffered form: records are decrypted in, and encrypted into,
//! buffers that all connections of a core share. A connection has memory of its own only for what is under way: a
//! record that has not come whole, octets of a decrypted one that did not fit the reader's buffer, and encrypted ones
//! that the kernel did not take. So an idle connection holds its keys and nothing else.
//!
//! Laws, beyond those of `Transport`:
//! - A send counts once its records are the kernel's, all of them: until then it would block, and the sender has to
//!   come again with the same octets in front. So nothing is left over for anybody to flush.
//! - An end without close_notify is no end but an error (RFC 8446 section 6.1): octets may be missing.

mod failure;
mod records;

use std::cell::RefCell;
use std::fmt;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use rustix::io::Errno;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::kernel::{self, Fd};
use super::tls_fault::TlsFault;
pub use failure::{fault, is_http};
use records::{CONTENT, OVERHEAD, Records, Session, Step, UNDECRYPTED_MOST, Work};

/// Octets that are encrypted at once: four records of the largest size.
const ENCRYPTED_AT_ONCE: usize = 64 * 1024;
/// Octets of a message, or a record, of a peer that is not asked for certificates.
const HELLO_MOST: usize = 20 * 1024;
/// Octets of records that may come without any for the reader: handshakes, tickets, new keys, empty records. A peer
/// that has nothing else to say would keep the core busy, and the largest handshake has less.
const WITHOUT_DATA_MOST: usize = 256 * 1024;

/// Room in which the connections of one core decrypt and encrypt records.
pub struct TlsBuffers {
    incoming: RefCell<Vec<u8>>,
    outgoing: RefCell<Vec<u8>>,
}

impl TlsBuffers {
    /// None yet: memory is taken when it is first needed.
    pub fn new() -> Rc<TlsBuffers> {
        Rc::new(TlsBuffers { incoming: RefCell::default(), outgoing: RefCell::default() })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl fmt::Debug for TlsBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsBuffers")
    }
}

/// A TLS connection, without its socket.
pub struct Tls {
    state: RefCell<State>,
    buffers: Rc<TlsBuffers>,
}

struct State {
    session: Session,
    /// The beginning of a record or of a message that has not come whole, or octets that were read before TLS began;
    /// and how many octets that may be.
    undecrypted: Vec<u8>,
    undecrypted_most: usize,
    /// Decrypted octets that the reader had no room for.
    decrypted: Vec<u8>,
    /// Records that the kernel did not take.
    unsent: Vec<u8>,
    /// Octets of the sender's that are in `unsent`.
    encrypting: usize,
    /// Octets of records since the last that brought any for the reader.
    without_data: usize,
    /// The peer said that nothing more comes.
    ended: bool,
    /// We said so, or never will.
    finished: bool,
    /// Why there is no going on.
    fault: Option<TlsFault>,
}

impl Tls {
    /// The side of a server; the peer begins.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn server(
        config: Arc<ServerConfig>,
        buffers: &Rc<TlsBuffers>,
    ) -> Result<Tls, rustls::Error> {
        Ok(Tls::new(Session::Server(UnbufferedServerConnection::new(config)?), buffers))
    }

    /// Of a peer that shows no certificate: it has no more than this to say at once.
    #[must_use]
    pub fn without_client_certificates(self) -> Tls {
        self.state.borrow_mut().undecrypted_most = HELLO_MOST;
        self
    }

    /// Goes on behind octets of the peer's that were read already.
    #[must_use]
    pub fn with_early_octets(self, octets: Vec<u8>) -> Tls {
        self.state.borrow_mut().undecrypted = octets;
        self
    }

    /// The side of a client, which begins.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        buffers: &Rc<TlsBuffers>,
    ) -> Result<Tls, rustls::Error> {
        Ok(Tls::new(Session::Client(UnbufferedClientConnection::new(config, name)?), buffers))
    }

    fn new(session: Session, buffers: &Rc<TlsBuffers>) -> Tls {
        let state = State {
            session,
            undecrypted: Vec::new(),
            undecrypted_most: UNDECRYPTED_MOST,
            decrypted: Vec::new(),
            unsent: Vec::new(),
            encrypting: 0,
            without_data: 0,
            ended: false,
            finished: false,
            fault: None,
        };
        Tls { state: RefCell::new(state), buffers: Rc::clone(buffers) }
    }

    /// What was agreed on.
    pub fn agreed<T>(&self, look: impl FnOnce(&CommonState) -> T) -> T {
        look(self.state.borrow().session.common())
    }

    /// Why the connection is of no use any more.
    pub fn fault(&self) -> Option<TlsFault> {
        self.state.borrow().fault
    }

    /// Goes on with the handshake: `Ok` when it is done, `EAGAIN` when it waits for the peer, which may have to read
    /// first: see [`Tls::has_unsent`].
    pub(super) fn handshake(&self, fd: &Fd) -> Result<(), Errno> {
        let state = &mut *self.state.borrow_mut();
        match state.flush(fd) {
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
        match state.exchange(fd, &self.buffers, &mut []) {
            Err(Errno::AGAIN) if state.is_handshaking() || !state.unsent.is_empty() => {
                Err(Errno::AGAIN)
            }
            Ok(_) if state.is_handshaking() => {
                state.fault = Some(TlsFault::HandshakeCut);
                Err(Errno::PROTO)
            }
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            // The handshake was done before the end came: whoever reads next is told of that.
            Err(_) if !state.is_handshaking() && state.fault == Some(TlsFault::Truncated) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Nothing has come from the peer.
    pub fn is_untouched(&self) -> bool {
        let state = self.state.borrow();
        state.is_handshaking() && state.undecrypted.is_empty() && state.without_data == 0
    }

    /// Octets of memory for what is under way.
    #[cfg(any(test, fuzzing))]
    pub(super) fn kept(&self) -> usize {
        let state = self.state.borrow();
        state.undecrypted.capacity() + state.decrypted.capacity() + state.unsent.capacity()
    }

    /// Records wait for the kernel to take them.
    pub(super) fn has_unsent(&self) -> bool {
        !self.state.borrow().unsent.is_empty()
    }

    /// There is nothing more to read but the end, or an error: no edge will tell of it.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.decrypted.is_empty() && (state.ended || state.fault.is_some())
    }

    /// Reads into `octets`; 0: the end that the peer has announced.
    pub(super) fn recv(&self, fd: &Fd, octets: &mut [u8]) -> Result<usize, Errno> {
        self.state.borrow_mut().exchange(fd, &self.buffers, octets)
    }

    /// How many octets a read of one would bring.
    pub(super) fn peek(&self, fd: &Fd) -> Result<usize, Errno> {
        let state = &mut *self.state.borrow_mut();
        if state.decrypted.is_empty() {
            state.exchange(fd, &self.buffers, &mut [])?;
        }
        Ok(usize::from(!state.decrypted.is_empty()))
    }

    /// Takes a part of `octets`, or all.
    pub(super) fn send(&self, fd: &Fd, octets: &[u8]) -> Result<usize, Errno> {
        let state = &mut *self.state.borrow_mut();
        if octets.is_empty() {
            return Ok(0);
        }
        if state.finished || octets.len() < state.encrypting {
            return Err(Errno::PIPE); // after the end, or not the octets that are on their way
        }
        state.flush(fd)?;
        if state.encrypting > 0 {
            return Ok(std::mem::take(&mut state.encrypting));
        }
        let plain = &octets[..octets.len().min(ENCRYPTED_AT_ONCE)];
        state.encrypt(fd, &self.buffers, plain, false)?;
        if !state.unsent.is_empty() {
            state.encrypting = plain.len();
            return Err(Errno::AGAIN);
        }
        Ok(plain.len())
    }

    /// As [`Tls::send`], of several parts. What fits is encrypted as one record; of more the first part goes alone.
    pub(super) fn send_parts(&self, fd: &Fd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let whole = parts.iter().map(|part| part.len()).sum::<usize>();
        match parts.iter().find(|part| !part.is_empty()) {
            Some(first) if first.len() < whole && first.len() < CONTENT => {
                let mut joined = [0; CONTENT];
                let mut filled = 0;
                for part in parts {
                    let n = part.len().min(CONTENT - filled);
                    joined[filled..filled + n].copy_from_slice(&part[..n]);
                    filled += n;
                }
                self.send(fd, &joined[..filled])
            }
            Some(first) => self.send(fd, first),
            None => Ok(0),
        }
    }

    /// Announces that nothing more will be sent: `Ok` when the kernel has all that is to be sent.
    pub(super) fn finish(&self, fd: &Fd) -> Result<(), Errno> {
        let state = &mut *self.state.borrow_mut();
        if !state.finished && state.may_encrypt() && !state.is_handshaking() {
            state.finished = true;
            state.encrypt(fd, &self.buffers, &[], true)?;
        }
        state.flush(fd)
    }

    /// Nothing will be announced: the peer is not to take what it got for whole.
    pub(super) fn cut(&self) {
        self.state.borrow_mut().finished = true;
    }
}

impl State {
    fn is_handshaking(&self) -> bool {
        self.session.common().is_handshaking()
    }

    /// A peer that closed without close_notify may still read.
    fn may_encrypt(&self) -> bool {
        matches!(self.fault, None | Some(TlsFault::Truncated | TlsFault::HandshakeCut))
    }

    /// Reads records and decrypts them, as long as there is room for what is in them, and sends what the protocol wants
    /// sent. All that came whole is decrypted: what is left in [`State::undecrypted`] is never a whole record.
    fn exchange(
        &mut self,
        fd: &Fd,
        buffers: &TlsBuffers,
        octets: &mut [u8],
    ) -> Result<usize, Errno> {
        let decrypted = self.take_decrypted(octets);
        let is_full = decrypted > 0 && decrypted == octets.len();
        if is_full || self.ended {
            return Ok(decrypted);
        }
        if self.fault.is_some() {
            return if decrypted > 0 { Ok(decrypted) } else { Err(Errno::PROTO) };
        }
        let (mut incoming, mut outgoing) =
            (buffers.incoming.borrow_mut(), buffers.outgoing.borrow_mut());
        let mut records = Records::new(&mut incoming, std::mem::take(&mut self.undecrypted));
        let mut spill = std::mem::take(&mut self.decrypted);
        let mut work = Work {
            plain: &[],
            notify: false,
            out: &mut outgoing,
            filled: 0,
            room: octets,
            decrypted,
            spill: &mut spill,
        };
        let result = self.decrypt(fd, &mut records, &mut work);
        let (decrypted, filled) = (work.decrypted, work.filled);
        // What comes behind the end is nothing (RFC 8446 section 6.1).
        let rest = if self.ended { Vec::new() } else { records.into_rest() };
        (self.decrypted, self.undecrypted) = (spill, rest);
        let sent = self.push(fd, &outgoing[..filled]);
        match result {
            _ if decrypted > 0 => Ok(decrypted),
            Ok(()) => sent.map(|()| 0),
            Err(error) => Err(error),
        }
    }

    /// Octets that were decrypted before.
    fn take_decrypted(&mut self, octets: &mut [u8]) -> usize {
        let n = self.decrypted.len().min(octets.len());
        octets[..n].copy_from_slice(&self.decrypted[..n]);
        self.decrypted.drain(..n);
        if self.decrypted.is_empty() {
            self.decrypted = Vec::new(); // with its memory
        }
        n
    }

    /// Decrypts record after record, until the room is full or the socket empty.
    fn decrypt(
        &mut self,
        fd: &Fd,
        records: &mut Records<'_>,
        work: &mut Work<'_>,
    ) -> Result<(), Errno> {
        let (is_new, before) = (self.is_handshaking(), work.decrypted);
        let mut is_drained = false;
        loop {
            let (used, step) = self.session.step(records.all(), work);
            records.from += used;
            match step {
                Ok(Step::More | Step::Encrypted) => continue,
                Ok(Step::Ended) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(Step::Blocked | Step::Ready) => {}
                Err(error) => {
                    if is_new && is_http(records.all()) {
                        self.fault = Some(TlsFault::PlainHttp);
                    } else {
                        self.fault = Some(failure::fault(&error));
                        say_the_rest(&mut self.session, records.all(), work);
                    }
                    return Err(Errno::PROTO);
                }
            }
            let is_full = work.decrypted == work.room.len() && !work.room.is_empty();
            if is_full || !work.spill.is_empty() || (is_drained && work.decrypted > before) {
                self.without_data = 0;
                return Ok(());
            }
            if work.decrypted > before {
                self.without_data = 0;
            }
            if self.without_data > WITHOUT_DATA_MOST {
                self.fault = Some(TlsFault::TooMuchOverhead);
                return Err(Errno::PROTO);
            }
            let had = records.all().len();
            if had > self.undecrypted_most {
                self.fault = Some(TlsFault::MessageTooLong);
                return Err(Errno::PROTO);
            }
            let Some(drained) = records.read(fd, work.room.len() - work.decrypted)? else {
                let is_cut = self.is_handshaking();
                self.fault =
                    Some(if is_cut { TlsFault::HandshakeCut } else { TlsFault::Truncated });
                return Err(Errno::PROTO);
            };
            is_drained = drained;
            self.without_data += records.all().len() - had;
        }
    }

    /// Encrypts octets, or the end, and sends what comes of it.
    fn encrypt(
        &mut self,
        fd: &Fd,
        buffers: &TlsBuffers,
        plain: &[u8],
        notify: bool,
    ) -> Result<(), Errno> {
        if !self.may_encrypt() {
            return Err(Errno::PROTO);
        }
        let mut outgoing = buffers.outgoing.borrow_mut();
        let mut work = Work {
            plain,
            notify,
            out: &mut outgoing,
            filled: 0,
            room: &mut [],
            decrypted: 0,
            spill: &mut self.decrypted,
        };
        work.grow(plain.len() + OVERHEAD * (1 + plain.len() / CONTENT));
        let result = loop {
            let (used, step) = self.session.step(&mut self.undecrypted, &mut work);
            self.undecrypted.drain(..used);
            match step {
                Ok(Step::More) => {}
                Ok(Step::Ended) if self.ended => break Err(Errno::PIPE), // and so did we
                Ok(Step::Ended) => self.ended = true,
                Ok(Step::Encrypted) => break Ok(()),
                Ok(Step::Blocked | Step::Ready) => break Err(Errno::PIPE),
                Err(error) => {
                    self.fault = Some(failure::fault(&error));
                    (work.plain, work.notify) = (&[], false);
                    say_the_rest(&mut self.session, &mut self.undecrypted, &mut work);
                    break Err(Errno::PROTO);
                }
            }
        };
        let filled = work.filled;
        self.push(fd, &outgoing[..filled])?;
        result
    }

    /// Sends records; what the kernel does not take is kept, behind what is there.
    fn push(&mut self, fd: &Fd, mut records: &[u8]) -> Result<(), Errno> {
        while self.unsent.is_empty() && !records.is_empty() {
            match kernel::send(fd, records) {
                Ok(n) => records = &records[n..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        self.unsent.extend_from_slice(records);
        Ok(())
    }

    /// Sends what was kept: all of it, or `EAGAIN`.
    fn flush(&mut self, fd: &Fd) -> Result<(), Errno> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.unsent);
        self.push(fd, &records)?;
        match self.unsent.is_empty() {
            true => Ok(()),
            false => Err(Errno::AGAIN),
        }
    }
}

/// Brings out what a session that failed has to say still: the alert comes behind all that was to be sent before. The
/// records are those at which it failed, for they are counted; they are not looked at again.
fn say_the_rest(session: &mut Session, records: &mut [u8], work: &mut Work<'_>) {
    while session.common().wants_write() {
        if session.step(records, work).1.is_err() {
            return;
        }
    }
}
