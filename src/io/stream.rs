//! One connection: octets in and out, each direction with its own readiness and deadline.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;

use super::address::Address;
use super::buffer::Buf;
use super::clock::Moment;
use super::error::{Error, Result};
use super::kernel::{self, Fd};
use super::reactor::{Direction, Idle, Reactor};
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::transport::Transport;

/// How long a receiver may take nothing while others wait for the buffer that is meant for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How connections are made.
#[derive(Clone, Copy, Debug)]
pub struct Dialling {
    /// The number of a descriptor has to be below this.
    pub descriptors: usize,
    /// The address they come from, for peers of the same family; `None`: as the kernel chooses.
    pub bind: Option<IpAddr>,
    /// A peer that is silent for so long is probed; zero: never.
    pub keep_alive: Duration,
}

/// As the kernel has it.
impl Default for Dialling {
    fn default() -> Dialling {
        Dialling { descriptors: usize::MAX, bind: None, keep_alive: Duration::ZERO }
    }
}

/// Parts that leave behind a buffer in one call.
pub const PARTS: usize = 4;

/// How long a receiver may still take nothing.
struct Patience {
    wait: Duration,
    until: Moment,
}

impl Patience {
    /// The kernel takes nothing now: from here the peer has `wait` to take something.
    fn begin(&mut self, stream: &Stream) {
        self.until = stream.reactor.clock().now() + self.wait;
        stream.deadline_in(Direction::Write, self.wait.min(PATIENCE));
    }
}

/// A connected stream socket, TCP or Unix, registered with its core's reactor.
///
/// It belongs to one task at a time. All calls take `&self`: one part of the task may read while another
/// writes, with one wait per direction at most. Closed when dropped.
pub struct Stream {
    transport: Transport,
    key: usize,
    reactor: Rc<Reactor>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.transport.fd())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reactor.forget(self.key);
    }
}

impl Stream {
    /// Takes over a connected, non-blocking socket.
    pub fn new(fd: Fd, reactor: &Rc<Reactor>) -> Result<Stream> {
        let key = reactor.watch(&fd)?;
        Ok(Stream { transport: Transport::plain(fd), key, reactor: Rc::clone(reactor) })
    }

    /// Connects to `address`; [`Error::Deadline`] after `wait`, and out of descriptors if the next is not one that
    /// `dialling` allows.
    pub async fn connect(
        address: &Address,
        wait: Duration,
        dialling: Dialling,
        reactor: &Rc<Reactor>,
    ) -> Result<Stream> {
        let (fd, pending) = kernel::connect(address, dialling)?;
        let stream = Stream::new(fd, reactor)?;
        if pending {
            stream.clear(Direction::Write);
            stream.deadline_in(Direction::Write, wait);
            stream.ready(Direction::Write).await?;
            stream.no_deadline(Direction::Write);
            kernel::socket_error(stream.fd())?;
        }
        Ok(stream)
    }

    /// Makes the handshake of TLS, up to `until`; from then on octets travel through it. `idle`: how a client counts
    /// meanwhile, which may be ended to make room, and whose handshake takes a step when it is its turn.
    ///
    /// # Errors
    /// Where it failed, [`Stream::tls`] tells why, if it was not the way or the time.
    #[cfg(feature = "tls")]
    pub async fn secure(&mut self, tls: Tls, until: Moment, idle: Option<Idle>) -> Result<()> {
        self.transport.tls = Some(Box::new(tls));
        self.deadline_at(Direction::Write, until);
        match idle {
            None => self.deadline_at(Direction::Read, until),
            Some(idle) => self.idle_until(until, idle),
        }
        while let Some(tls) = self.tls() {
            if idle.is_some() {
                self.reactor.handshake_step().await;
                if self.reactor.clock().now() > until {
                    return Err(Error::Deadline);
                }
            }
            let way = match tls.handshake(self.fd()) {
                Ok(()) => break,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) if tls.has_unsent() => Direction::Write,
                Err(Errno::AGAIN) => Direction::Read,
                Err(error) => return Err(self.transport.error(error)),
            };
            self.clear(way);
            self.ready(way).await?;
        }
        for way in [Direction::Read, Direction::Write] {
            self.no_deadline(way);
        }
        Ok(())
    }

    /// The TLS that octets travel through; `None`: they travel as they are.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<&Tls> {
        self.transport.tls.as_deref()
    }

    /// Octets travel as they are again: for whoever does not speak TLS. Nothing is announced.
    #[cfg(feature = "tls")]
    pub fn without_tls(&mut self) {
        self.transport.cut();
        self.transport.tls = None;
    }

    /// Octets travel through TLS.
    pub fn is_secure(&self) -> bool {
        self.transport.is_secure()
    }

    /// Our own address, as the peer knows it; `None` over a Unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        kernel::local(self.fd())
    }

    /// The number of its descriptor.
    pub fn number(&self) -> usize {
        kernel::number(self.fd())
    }

    /// The number that the next descriptor would have: the lowest that is free. Fails when there is none.
    pub fn next_number(&self) -> Result<usize> {
        Ok(kernel::next_number(self.fd())?)
    }

    /// The same connection under the lowest number that is free; this one is to be dropped then.
    ///
    /// # Errors
    /// When there is no descriptor for the moment in which there are two.
    pub fn renumbered(&self) -> Result<Stream> {
        let stream = Stream::new(kernel::duplicate(self.fd())?, &self.reactor)?;
        // The file lives on, so closing this descriptor of it will not take it off the kernel's list.
        self.reactor.leave(self.fd());
        Ok(stream)
    }

    /// The reactor this stream belongs to.
    pub fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    /// Waits for `way` fail with [`Error::Deadline`] once `wait` has passed from now. Holds until it is changed.
    pub fn deadline_in(&self, way: Direction, wait: Duration) {
        self.deadline_at(way, self.reactor.clock().now() + wait);
    }

    /// Waits for `way` fail with [`Error::Deadline`] after `moment`.
    pub fn deadline_at(&self, way: Direction, moment: Moment) {
        self.reactor.set_deadline(self.key, way, Some(moment));
    }

    /// Nothing is under way: reads wait for `wait` from now, or less if room is needed, see
    /// [`Reactor::expire_idle`]. Holds until the deadline for reads is changed.
    pub fn idle_for(&self, wait: Duration, idle: Idle) {
        self.idle_until(self.reactor.clock().now() + wait, idle);
    }

    /// As [`Stream::idle_for`], until `moment`.
    pub fn idle_until(&self, moment: Moment, idle: Idle) {
        self.reactor.set_idle(self.key, moment, idle);
    }

    /// Waits for `way` last as long as they last.
    pub fn no_deadline(&self, way: Direction) {
        self.reactor.set_deadline(self.key, way, None);
    }

    /// Is there a deadline for `way`?
    pub fn has_deadline(&self, way: Direction) -> bool {
        self.reactor.has_deadline(self.key, way)
    }

    /// Waits until `way` is probably ready.
    pub async fn ready(&self, way: Direction) -> Result<()> {
        poll_fn(|cx| self.poll_ready(way, cx)).await
    }

    /// Waits until `way` is probably ready.
    pub fn poll_ready(&self, way: Direction, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.reactor.poll_ready(self.key, way, cx)
    }

    /// Waits until the connection is broken or, with `or_finished`, the peer has sent its FIN,
    /// whatever lies unread. Only beside reads of the same task. Fails only after an abort.
    pub fn poll_closed(&self, or_finished: bool, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.reactor.poll_closed(self.key, or_finished, cx)
    }

    /// Something can be read: octets, the end, or an error.
    pub fn is_readable(&self) -> bool {
        self.reactor.is_ready(self.key, Direction::Read)
    }

    /// The peer has sent urgent data, at some time: splice(2) does not pass its mark.
    pub fn is_urgent(&self) -> bool {
        self.reactor.is_urgent(self.key)
    }

    /// splice(2) came to an end. It does so in front of urgent data, too: asks the kernel whether nothing but the end
    /// is left, and notes urgent data if not.
    pub(super) fn has_ended(&self) -> Result<bool> {
        match self.transport.peek() {
            Ok(0) => Ok(true),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {
                self.reactor.set_urgent(self.key);
                Ok(false)
            }
            Err(error) => Err(self.transport.error(error)),
        }
    }

    /// Asks the kernel itself whether the stream is silent: open, and nothing to read.
    pub fn is_quiet(&self) -> bool {
        let silent = self.transport.peek() == Err(Errno::AGAIN);
        if silent {
            self.clear(Direction::Read);
        }
        silent
    }

    /// Did the peer acknowledge none of the last `octets` that were sent? Once its end (FIN) was read,
    /// that means that its program never saw them: the FIN would have acknowledged what had
    /// arrived before. After a reset it means nothing, for a reset acknowledges nothing. Only for a TCP
    /// stream that we opened.
    pub fn is_unacknowledged(&self, octets: u64) -> bool {
        if self.is_secure() {
            return false; // what the kernel counts are octets of records
        }
        let counts = kernel::tcp_counts(self.fd());
        counts.is_some_and(|counts| counts.acknowledged + octets <= counts.sent)
    }

    /// Appends what there is to `buf`, at most `max` octets; `None`: nothing now; 0: the end. The
    /// buffer must have room. Take it after [`Stream::ready`], not before.
    pub fn try_recv(&self, buf: &mut Buf, max: usize) -> Result<Option<usize>> {
        let spare = buf.spare();
        let room = spare.len().min(max);
        let received = self.read(&mut spare[..room])?;
        buf.fill(received.unwrap_or(0));
        Ok(received)
    }

    /// Reads what there is into `octets`; `None`: nothing now; 0: the end. For what is to be dropped, or
    /// used up before anybody else runs, and so needs no pooled buffer.
    pub fn read(&self, octets: &mut [u8]) -> Result<Option<usize>> {
        self.received(self.transport.recv(octets), octets.len())
    }

    /// Drops what there is, at most `scratch.len()` octets; otherwise as [`Stream::read`]. TCP does not even copy
    /// it out of the kernel, so what `scratch` holds afterwards means nothing.
    pub fn skip(&self, scratch: &mut [u8]) -> Result<Option<usize>> {
        self.received(self.transport.skip(scratch), scratch.len())
    }

    /// What a read of one octet would find; the octet stays there.
    pub fn peek(&self) -> Result<Option<usize>> {
        self.received(self.transport.peek(), 1)
    }

    fn received(&self, n: std::result::Result<usize, Errno>, room: usize) -> Result<Option<usize>> {
        match n {
            Ok(n) => {
                if n > 0 && n < room && !self.transport.is_over() {
                    self.reactor.clear(self.key, Direction::Read, false);
                }
                Ok(Some(n))
            }
            Err(Errno::AGAIN) => {
                self.clear(Direction::Read);
                Ok(None)
            }
            // It still counts as readable: the next look is at once.
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(self.transport.error(error)),
        }
    }

    /// Writes what the kernel takes of `octets`; `None`: nothing now. For what is sent again and again, and so
    /// lies in no pooled buffer; everything else goes by [`Stream::send`].
    pub fn write(&self, octets: &[u8]) -> Result<Option<usize>> {
        self.sent(self.transport.send(octets))
    }

    /// As [`Stream::write`], of several parts, one behind the other: a head leaves with a body that lies elsewhere.
    pub fn write_parts(&self, parts: &[IoSlice<'_>]) -> Result<Option<usize>> {
        self.sent(self.transport.send_parts(parts))
    }

    fn sent(&self, n: std::result::Result<usize, Errno>) -> Result<Option<usize>> {
        match n {
            Ok(n) => Ok(Some(n)),
            Err(Errno::AGAIN) => {
                self.clear(Direction::Write);
                Ok(None)
            }
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(self.transport.error(error)),
        }
    }

    /// Sends what the kernel takes at once; the rest stays in `buf`, for [`Stream::send`]. The stream still counts as
    /// writable then: the wait of a send begins where it is refused, and so has to be seen there.
    pub fn try_send(&self, buf: &mut Buf) -> Result<()> {
        while !buf.is_empty() {
            match self.transport.send(buf.filled()) {
                Ok(n) => buf.consume(n),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(self.transport.error(error)),
            }
        }
        Ok(())
    }

    /// Sends all of `buf` and gives it back: empty, or with what could not be sent. Adds to `sent` as
    /// octets leave: it is right also when the future is dropped.
    /// The peer has `wait` to take something, anew whenever some octets have left; but only
    /// `PATIENCE` when others wait for buffers.
    pub fn send<'a>(
        &'a self,
        buf: Buf,
        wait: Duration,
        sent: &'a Cell<u64>,
    ) -> impl Future<Output = (Result<()>, Buf)> + 'a {
        self.send_with(buf, [&[]; PARTS], wait, sent)
    }

    /// Sends `buf` and, behind it, `parts`, from where they lie unless `buf` has room for them; otherwise as
    /// [`Stream::send`].
    pub fn send_with<'a>(
        &'a self,
        mut buf: Buf,
        mut parts: [&'a [u8]; PARTS],
        wait: Duration,
        sent: &'a Cell<u64>,
    ) -> impl Future<Output = (Result<()>, Buf)> + 'a {
        if parts.iter().map(|part| part.len()).sum::<usize>() <= buf.spare().len() {
            for part in &mut parts {
                let _fits = buf.append(std::mem::take(part));
            }
        }
        let mut patience = Patience { wait, until: self.reactor.clock().now() };
        let mut rest = Some(buf);
        // Not an async function: that would hold everything twice, and there is one in every exchange.
        poll_fn(move |cx| {
            let Some(mut buf) = rest.take() else { return Poll::Pending };
            let result = self.poll_send((&mut buf, &mut parts), &mut patience, sent, cx);
            if result.is_pending() {
                rest = Some(buf);
                return Poll::Pending;
            }
            result.map(|result| (result, buf))
        })
    }

    fn poll_send(
        &self,
        (buf, parts): (&mut Buf, &mut [&[u8]; PARTS]),
        patience: &mut Patience,
        sent: &Cell<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        while !buf.is_empty() || !parts.iter().all(|part| part.is_empty()) {
            ready!(self.poll_writable(buf, patience, cx))?;
            match self.write_both(buf, parts)? {
                Some(n) => sent.set(sent.get() + n as u64),
                None => patience.begin(self),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what the kernel takes of `buf` and `parts`, which then hold what is left.
    fn write_both(&self, buf: &mut Buf, parts: &mut [&[u8]; PARTS]) -> Result<Option<usize>> {
        let n = if parts.iter().all(|part| part.is_empty()) {
            self.write(buf.filled())?
        } else {
            let [a, b, c, d] = *parts;
            self.write_parts(&[buf.filled(), a, b, c, d].map(IoSlice::new))?
        };
        let mut left = n.unwrap_or(0);
        let of_buf = left.min(buf.len());
        buf.consume(of_buf);
        left -= of_buf;
        for part in parts {
            let of_part = left.min(part.len());
            *part = &part[of_part..];
            left -= of_part;
        }
        Ok(n)
    }

    /// Waits until something can be written, as long as there is patience; `buf` knows whether others wait for it.
    fn poll_writable(
        &self,
        buf: &Buf,
        patience: &mut Patience,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        loop {
            let result = ready!(self.poll_ready(Direction::Write, cx));
            let now = self.reactor.clock().now();
            if result != Err(Error::Deadline) || now >= patience.until || buf.is_wanted() {
                return Poll::Ready(result);
            }
            self.deadline_at(Direction::Write, patience.until.min(now + PATIENCE));
        }
    }

    /// Tells the peer that nothing more will come from us, as far as that can be done now.
    pub fn finish(&self) -> Result<()> {
        match self.transport.finish() {
            Ok(()) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(self.transport.error(error)),
        }
    }

    /// The same, and waits until it is done, for `wait` at most.
    pub async fn finished(&self, wait: Duration) -> Result<()> {
        self.deadline_in(Direction::Write, wait);
        while let Err(error) = self.transport.finish() {
            match error {
                Errno::AGAIN => self.clear(Direction::Write),
                error => return Err(self.transport.error(error)),
            }
            self.ready(Direction::Write).await?;
        }
        Ok(())
    }

    /// Has the close, which should follow at once, be a reset instead of an orderly end, so that the peer cannot take
    /// a truncated message for whole.
    pub fn reset(&self) {
        self.transport.cut();
        // Where this fails the socket is gone already.
        let _ = kernel::set_linger_0(self.fd());
    }

    pub(super) fn clear(&self, way: Direction) {
        self.reactor.clear(self.key, way, true);
    }

    pub(super) fn fd(&self) -> &Fd {
        self.transport.fd()
    }
}
