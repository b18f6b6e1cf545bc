//! The answer: interim heads relayed, the final head judged and written anew, its body moved.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::super::decide::{BodyError, Peer};
use super::super::facts::{self, AnswerState};
use super::super::gate;
use super::super::session::{Exchange, written};
use super::body::{Body, Sink, Source};
use super::transfer::{ExchangeError, Transfer, Upload};
use crate::config::{ExchangeSpec, HeaderRules};
use crate::http::forward::{self, FieldEdits, ResponseEdits};
use crate::http::upgrade::Offer;
use crate::http::websocket::Follower;
use crate::http::write::{CONTINUE, Full, Writer};
use crate::http::{self, Asked, Framing, Reason, Response, Version, outward};
use crate::io::buffer::{Buf, Permit};
use crate::io::reactor::Direction;
use crate::io::stream::Stream;
use crate::io::{Error, TlsFault};
use crate::policy;
use crate::upstream::{Pool, Upstream, reason_of_tls};

/// Interim answers relayed for one request.
const INTERIM_MOST: u32 = 16;

/// What the upstream's answer came to, once the client has it.
pub(super) enum Relayed {
    /// It left whole. `persistent`: the client's connection may carry another request; `reusable`: so may the
    /// upstream's.
    Answer { persistent: bool, reusable: bool },
    /// HTTP is over on both connections: what follows is a tunnel. `frames`: see [`super::Delivered::Switch`].
    Switch { frames: Option<Follower> },
}

/// An answer under way.
pub(super) struct Answer<'a> {
    pub exchange: &'a Exchange,
    pub spec: &'a ExchangeSpec,
    pub pool: &'a Pool,
    /// The octets of the request's head.
    pub head: &'a [u8],
    pub upstream: &'a Upstream,
    pub stream: &'a Stream,
    pub response: &'a mut Response,
    /// What the upstream may switch to.
    pub offer: Option<Offer<'a>>,
    /// How far the request is.
    pub upload: &'a Cell<Upload>,
    /// Octets that are not the request's were read together with it.
    pub behind: bool,
    /// The client waits for a `100 Continue` that nobody has sent yet.
    pub owes_continue: bool,
    pub transfer: &'a Transfer,
    /// How long the upstream may take to the first octet.
    pub patience: Duration,
    /// `true`: the request is sent again after an answer of this status.
    pub refuses: &'a dyn Fn(u16) -> bool,
}

/// What ended a wait for the upstream.
enum Woken {
    Readable,
    TimedOut,
    Aborted,
}

impl<'a> Answer<'a> {
    /// Relays the answer to its end.
    pub async fn relay(&mut self) -> Result<Relayed, ExchangeError> {
        let (input, permit) = self.head().await?;
        if self.response.status == 101 {
            self.switch(input, permit).await
        } else {
            self.message(input, permit).await
        }
    }

    /// Reads until the final head lies, judged, at the front of the buffer it returns. The right to have
    /// buffers is held only while there is a part of a head.
    async fn head(&mut self) -> Result<(Buf, Permit<'a>), ExchangeError> {
        let quota = &self.exchange.quota;
        let mut interim = 0;
        let mut input = None::<(Buf, Permit<'a>)>;
        loop {
            if let Some((buf, permit)) = &mut input {
                while !buf.is_empty() && self.judge(buf)? == http::Progress::Complete {
                    if !self.response.is_interim() {
                        return input.ok_or(Reason::UpstreamClosed.into());
                    }
                    interim += 1;
                    if interim > INTERIM_MOST {
                        return Err(Reason::TooManyInterim.into());
                    }
                    self.interim(buf, permit).await?;
                    buf.consume(self.response.len);
                }
                if buf.spare().is_empty() {
                    buf.make_room(self.exchange.epoch.plan.listener.limits.head);
                }
            }
            input = input.filter(|(buf, _)| !buf.is_empty());
            self.wait().await?;
            let (mut buf, permit) = match input.take() {
                Some(part) => part,
                None => {
                    let permit = quota.permit().await;
                    (permit.take_large(), permit)
                }
            };
            self.read(&mut buf)?;
            input = Some((buf, permit));
        }
    }

    fn judge(&mut self, buf: &Buf) -> Result<http::Progress, Reason> {
        let asked = Asked { method: self.exchange.request.method, offer: self.offer };
        self.response.read(buf.filled(), &self.exchange.epoch.plan.listener.limits, asked)
    }

    fn read(&mut self, buf: &mut Buf) -> Result<(), ExchangeError> {
        let silent = self.transfer.first_byte.get().is_none();
        match self.stream.try_recv(buf, usize::MAX) {
            Ok(None) => Ok(()),
            Ok(Some(0)) => {
                let reset = self.upload.get() == Upload::Reset;
                let reason = if reset { Reason::UpstreamReset } else { Reason::UpstreamClosed };
                Err(ExchangeError { reason, silent, cause: None, status: None })
            }
            Ok(Some(n)) => {
                facts::add(&self.transfer.upstream_read, n as u64);
                if silent {
                    self.transfer.first_byte.set(Some(self.exchange.worker.now()));
                }
                Ok(())
            }
            Err(error) => {
                let reason = match error {
                    Error::Tls(TlsFault::Truncated) => Reason::UpstreamClosed,
                    // Of a handshake the upstream's verdict may come with the answer (RFC 8446 section 4.4.2.4).
                    Error::Tls(fault) => reason_of_tls(fault),
                    _ => Reason::UpstreamReset,
                };
                Err(ExchangeError { reason, silent, cause: Some(error), status: None })
            }
        }
    }

    /// Waits until the upstream has something for us.
    async fn wait(&mut self) -> Result<(), ExchangeError> {
        let timeouts = &self.spec.timeouts;
        match self.upload.get() {
            _ if self.transfer.first_byte.get().is_some() => {
                self.stream.deadline_in(Direction::Read, timeouts.read);
            }
            Upload::Going if self.owes_continue => {
                self.stream.deadline_in(Direction::Read, timeouts.expect);
            }
            Upload::Going => self.stream.no_deadline(Direction::Read),
            _ => self.stream.deadline_in(Direction::Read, self.patience),
        }
        match self.woken().await {
            Woken::Readable => Ok(()),
            Woken::Aborted => Err(Reason::Stopped.into()),
            Woken::TimedOut if self.owes_continue && self.upload.get() == Upload::Going => {
                self.invite().await
            }
            Woken::TimedOut => Err(Reason::ResponseTimeout.into()),
        }
    }

    async fn woken(&self) -> Woken {
        poll_fn(|cx| match self.stream.poll_ready(Direction::Read, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Woken::Readable),
            Poll::Ready(Err(Error::Deadline)) => Poll::Ready(Woken::TimedOut),
            Poll::Ready(Err(_)) => Poll::Ready(Woken::Aborted),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// The upstream is slow to invite the body, so we do: the client may be waiting for nothing else.
    async fn invite(&mut self) -> Result<(), ExchangeError> {
        self.owes_continue = false;
        let permit = self.exchange.quota.permit().await;
        let mut out = permit.take();
        let _fits = out.append(CONTINUE);
        self.send_interim(out).await
    }

    /// Relays an interim answer, but not to a client that does not know them (RFC 9110 section
    /// 15.2), and not a second `100 Continue`.
    async fn interim(&mut self, input: &Buf, permit: &Permit<'_>) -> Result<(), ExchangeError> {
        let invites = self.response.status == 100;
        let wanted = !invites || std::mem::take(&mut self.owes_continue);
        if self.exchange.request.version == Version::Http10 || !wanted {
            return Ok(());
        }
        let write = |out: &mut Writer<'_>| {
            forward::interim(out, self.response, input.filled(), &self.spec.response_header.removed)
        };
        let out = self.written(permit.take(), 0, write)?;
        self.exchange.facts.has_interim.set(true);
        self.send_interim(out).await
    }

    async fn send_interim(&mut self, out: Buf) -> Result<(), ExchangeError> {
        facts::add(&self.exchange.facts.heads_out, out.len() as u64);
        self.exchange.facts.answer.set(AnswerState::Interim);
        self.send(out).await?;
        self.exchange.facts.answer.set(AnswerState::Silent);
        Ok(())
    }

    /// A 101 that was proven, and what the upstream sent right behind it.
    async fn switch(
        &mut self,
        mut input: Buf,
        permit: Permit<'_>,
    ) -> Result<Relayed, ExchangeError> {
        let date = self.exchange.worker.date();
        let lines = self.lines(input.filled());
        let edits = self.edits(Framing::None, true, &date, &lines);
        let write =
            |out: &mut Writer<'_>| forward::switching(out, self.response, input.filled(), &edits);
        let out = self.written(permit.take(), lines.len(), write)?;
        self.exchange.facts.answers(101, AnswerState::Switching);
        facts::add(&self.exchange.facts.heads_out, out.len() as u64);
        self.send(out).await?;
        input.consume(self.response.len);
        let mut frames =
            matches!(self.offer, Some(Offer::WebSocket { .. })).then(Follower::default);
        if let Some(follower) = &mut frames {
            follower.follow(input.filled());
        }
        self.send(input).await?;
        Ok(Relayed::Switch { frames })
    }

    /// The final head, which lies at the front of `input`, and the body behind it.
    async fn message(
        &mut self,
        mut input: Buf,
        permit: Permit<'_>,
    ) -> Result<Relayed, ExchangeError> {
        let status = self.response.status;
        if (self.refuses)(status) {
            let error = ExchangeError::from(Reason::RetriedStatus);
            return Err(ExchangeError { status: Some(status), ..error });
        }
        let came = self.response.framing;
        let leaves = outward(came, self.exchange.request.version);
        let whole = self.upload.get() == Upload::Whole;
        let persistent = self.exchange.request.persistent
            && leaves != Framing::UntilClose
            && whole
            && !self.exchange.worker.draining.get()
            && !self.exchange.is_followed_by_another_protocol(self.behind);
        let out = self.final_head(&input, &permit, leaves, persistent)?;
        let transfer = self.transfer;
        let mut source = Source::new(self.stream, came, &transfer.upstream_read);
        source.upload = Some(self.upload);
        let mut sink = Sink::new(&self.exchange.client.stream, leaves, &transfer.client_sent);
        let withheld = [&self.spec.response_header.removed[..]];
        sink.withheld = &withheld;
        let mut body = Body::new(self.exchange, self.spec, source, Vec::new(), sink);
        input.consume(self.response.len);
        let absorbed = body.absorb(input.filled_mut()).map_err(of_answer)?;
        // Not before: what is refused here leaves the client without an octet, and free for another answer.
        let until_close = leaves == Framing::UntilClose;
        let state = if until_close { AnswerState::BodyUntilClose } else { AnswerState::Body };
        self.exchange.facts.answers(self.response.status, state);
        facts::add(&self.exchange.facts.heads_out, out.len() as u64);
        let behind = input.len() - absorbed.taken;
        let sent = body.send_absorbed(&input.filled()[..absorbed.payload], out).await;
        drop(input);
        drop(permit);
        sent.map_err(of_answer)?;
        body.run().await.map_err(of_answer)?;
        let excess = behind + body.surplus().len();
        let reusable = self.response.persistent
            && came != Framing::UntilClose
            && excess == 0
            && self.upload.get() == Upload::Whole;
        Ok(Relayed::Answer { persistent, reusable })
    }

    fn edits<'e>(
        &'e self,
        framing: Framing,
        persistent: bool,
        date: &'e [u8],
        lines: &'e [u8],
    ) -> ResponseEdits<'e> {
        let spec = self.spec;
        ResponseEdits {
            to: self.exchange.request.version,
            persistent,
            framing,
            date,
            fields: FieldEdits { removed: [&spec.response_header.removed, self.replaced()], lines },
            backend: spec.backend_header.then_some(self.upstream.name().as_bytes()),
            request_id: Some(self.exchange.id(self.head)),
        }
    }

    /// Fields that the gate says something else of.
    fn replaced(&self) -> &'a [String] {
        self.exchange.gate().map_or(&[], |gate| &gate.replaced)
    }

    /// Whether the answer has a field of this name when it leaves.
    fn has(&self, name: &str, octets: &[u8]) -> bool {
        let HeaderRules { removed, lines } = &self.spec.response_header;
        let is_it = |other: &[u8]| other.eq_ignore_ascii_case(name.as_bytes());
        let came = self.response.fields.iter().any(|field| is_it(field.name.of(octets)));
        let stays = came && !removed.iter().any(|other| is_it(other.as_bytes()));
        stays || lines.iter().any(|line| is_it(line.name.as_bytes()))
    }

    /// The field lines that the route puts into an answer whose head is in `octets`.
    fn lines(&self, octets: &[u8]) -> Vec<u8> {
        let rules = &self.spec.response_header;
        let mut lines = match rules.lines.is_empty() {
            true => Vec::new(),
            false => {
                policy::lines(rules, &self.exchange.values(self.head, self.upstream.name()), false)
            }
        };
        if self.exchange.facts.tells_upstream.get()
            && let Some(tokens) = self.pool.tokens()
        {
            lines.extend(tokens.line(self.upstream.state()).bytes());
        }
        if let Some(of_route) = self.exchange.gate() {
            gate::lines(self.exchange, of_route, |name| self.has(name, octets), &mut lines);
        }
        lines
    }

    fn final_head(
        &self,
        input: &Buf,
        permit: &Permit<'_>,
        framing: Framing,
        persistent: bool,
    ) -> Result<Buf, ExchangeError> {
        let date = self.exchange.worker.date();
        let lines = self.lines(input.filled());
        let edits = self.edits(framing, persistent, &date, &lines);
        let write =
            |out: &mut Writer<'_>| forward::response(out, self.response, input.filled(), &edits);
        self.written(permit.take(), lines.len(), write)
    }

    /// `buf` with a head in it, in which rules put in so many octets.
    fn written(
        &self,
        buf: Buf,
        put_in: usize,
        write: impl Fn(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<Buf, ExchangeError> {
        let most = self.exchange.epoch.head_most() + put_in;
        written(buf, most, write).map_err(|_| Reason::ResponseHeadTooLarge.into())
    }

    async fn send(&mut self, out: Buf) -> Result<(), ExchangeError> {
        let wait = self.spec.timeouts.write;
        let (result, _) =
            self.exchange.client.stream.send(out, wait, &self.transfer.client_sent).await;
        result.map_err(|error| of_answer(BodyError::To(error)))
    }
}

/// The answer's body did not get across.
fn of_answer(error: BodyError) -> ExchangeError {
    ExchangeError::of_body(Peer::Upstream, error)
}
