//! The answer: interim heads relayed, the final head judged and written anew, its body moved.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use super::body::{Body, Cut};
use super::client::Client;
use super::exchange::Upload;
use super::ongoing::Heads;
use super::worker::Worker;
use crate::http::close::Reason;
use crate::http::forward::{self, ResponseEdits};
use crate::http::framing::{Framing, outward};
use crate::http::head::{Progress, Request, Response, Version};
use crate::http::write::{CONTINUE, Full, Writer};
use crate::io::buffer::{Buf, Share};
use crate::io::clock::Moment;
use crate::io::reactor::Way;
use crate::io::stream::Stream;

/// Interim answers relayed for one request.
const INTERIM_MOST: u32 = 16;

/// An answer that reached the client whole.
pub(super) struct Answered {
    /// Its status.
    pub status: u16,
    /// The client's connection may carry another request.
    pub persistent: bool,
    /// So may the upstream's.
    pub reusable: bool,
}

/// Why there was none, or not all of one.
#[derive(Debug)]
pub(super) struct Failed {
    pub reason: Reason,
    /// Not one octet of an answer had come, and the connection is over.
    pub silent: bool,
    pub cause: Option<io::Error>,
}

impl Failed {
    pub fn of(reason: Reason) -> Failed {
        Failed { reason, silent: false, cause: None }
    }
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Failed {
        Failed::of(reason)
    }
}

/// How far the answer is.
pub(super) struct Sofar {
    /// When the request was sent.
    pub started: Moment,
    /// When the first octet of the answer came.
    pub first_byte: Option<Moment>,
    /// Octets read from the upstream.
    pub bytes_read: u64,
    /// Octets sent to the client.
    pub bytes_sent: u64,
    /// The status, once its head is on the way to the client.
    pub status: Option<u16>,
}

/// An answer under way.
pub(super) struct Respond<'a> {
    worker: &'a Worker,
    client: &'a Client,
    share: &'a Share,
    request: &'a Request,
    id: &'a [u8],
    response: &'a mut Response,
    pub upstream: &'a Stream,
    /// How far the request is; the client's leaving is only noticed here once it is through.
    pub upload: &'a Cell<Upload>,
    /// The first octet of the answer is there.
    pub answering: &'a Cell<bool>,
    /// The client still waits for a `100 Continue`.
    owes_continue: bool,
    /// How far the answer is.
    pub progress: Sofar,
}

/// What ended a wait for the upstream.
enum Woken {
    Upstream(io::Result<()>),
    ClientGone,
}

impl<'a> Respond<'a> {
    /// The octets of the request head are needed for its identity.
    pub fn new(
        worker: &'a Worker,
        client: &'a Client,
        share: &'a Share,
        (request, response): (&'a Request, &'a mut Response),
        id: &'a [u8],
        upstream: &'a Stream,
        (upload, answering): (&'a Cell<Upload>, &'a Cell<bool>),
    ) -> Respond<'a> {
        Respond {
            worker,
            client,
            share,
            owes_continue: request.expects_continue && upload.get() == Upload::Going,
            request,
            id,
            response,
            upstream,
            upload,
            answering,
            progress: Sofar {
                started: worker.core.reactor.clock().now(),
                first_byte: None,
                bytes_read: 0,
                bytes_sent: 0,
                status: None,
            },
        }
    }

    /// How long the upstream has for its first octet.
    pub fn response_wait(&self) -> Duration {
        self.worker.plan.waits.response
    }

    /// Relays the answer to its end.
    pub async fn run(&mut self) -> Result<Answered, Failed> {
        let input = self.head().await?;
        self.final_answer(input).await
    }

    /// Reads until the final head lies at the front of the buffer it returns.
    async fn head(&mut self) -> Result<Buf, Failed> {
        let mut interim = 0;
        let mut input: Option<Buf> = None;
        loop {
            if let Some(buf) = &mut input
                && !buf.is_empty()
            {
                let limits = &self.worker.limits;
                match self.response.read(buf.filled(), limits, self.request.method)? {
                    Progress::Complete if self.response.is_interim() => {
                        interim += 1;
                        if interim > INTERIM_MOST {
                            return Err(Reason::TooManyInterim.into());
                        }
                        self.relay_interim(buf).await?;
                        buf.consume(self.response.len);
                        continue;
                    }
                    Progress::Complete => return input.ok_or(Reason::UpstreamClosed.into()),
                    Progress::Partial => {}
                }
                if buf.spare().is_empty() {
                    buf.compact();
                }
            }
            self.wait().await?;
            let mut buf = input.take().unwrap_or_else(|| self.share.take());
            self.read(&mut buf)?;
            input = Some(buf);
        }
    }

    fn read(&mut self, buf: &mut Buf) -> Result<(), Failed> {
        let silent = !self.answering.get();
        match self.upstream.try_recv(buf, usize::MAX) {
            Ok(None) => Ok(()),
            Ok(Some(0)) => Err(Failed { reason: Reason::UpstreamClosed, silent, cause: None }),
            Ok(Some(n)) => {
                self.progress.bytes_read += n as u64;
                if silent {
                    self.answering.set(true);
                    self.progress.first_byte = Some(self.worker.core.reactor.clock().now());
                    self.upstream.deadline_in(Way::Read, self.worker.plan.waits.read);
                }
                Ok(())
            }
            Err(error) => {
                Err(Failed { reason: Reason::UpstreamReset, silent, cause: Some(error) })
            }
        }
    }

    /// Waits for the upstream, with an eye on the client.
    async fn wait(&mut self) -> Result<(), Failed> {
        if !self.answering.get() {
            let waits = &self.worker.plan.waits;
            match self.upload.get() {
                Upload::Going if self.owes_continue => {
                    self.upstream.deadline_in(Way::Read, waits.expect);
                }
                Upload::Going => self.upstream.no_deadline(Way::Read),
                _ => self.upstream.deadline_in(Way::Read, waits.response),
            }
        }
        let watches_client = !self.worker.plan.half_close;
        let woken = poll_fn(|cx| {
            if let Poll::Ready(result) = self.upstream.poll_ready(Way::Read, cx) {
                return Poll::Ready(Woken::Upstream(result));
            }
            let idle = self.upload.get() != Upload::Going;
            if watches_client && idle && self.client.stream.poll_hung_up(cx).is_ready() {
                return Poll::Ready(Woken::ClientGone);
            }
            Poll::Pending
        });
        match woken.await {
            Woken::Upstream(Ok(())) => Ok(()),
            Woken::ClientGone if self.worker.core.reactor.is_aborted() => {
                Err(Reason::Stopped.into())
            }
            Woken::ClientGone => Err(Reason::ClientGone.into()),
            Woken::Upstream(Err(error)) if error.kind() != io::ErrorKind::TimedOut => {
                Err(Reason::Stopped.into())
            }
            Woken::Upstream(Err(_)) if self.owes_continue && self.upload.get() == Upload::Going => {
                self.make_continue().await
            }
            Woken::Upstream(Err(_)) => Err(Reason::ResponseTimeout.into()),
        }
    }

    /// The upstream is slow to invite the body, so we do it: the client may be waiting for nothing else.
    async fn make_continue(&mut self) -> Result<(), Failed> {
        self.owes_continue = false;
        self.upstream.no_deadline(Way::Read);
        let mut out = self.share.take();
        let _fits = out.append(CONTINUE);
        Ok(self.send(out).await?)
    }

    /// Interim answers are relayed as they are, but not to those who do not know them (RFC 9110 section 15.2).
    async fn relay_interim(&mut self, input: &Buf) -> Result<(), Failed> {
        let twice = self.response.status == 100 && !self.owes_continue;
        if self.request.version == Version::Http10 || twice {
            return Ok(());
        }
        if self.response.status == 100 {
            self.owes_continue = false;
        }
        let mut out = self.share.take();
        let mut writer = Writer::new(out.spare());
        forward::interim(&mut writer, self.response, input.filled()).map_err(too_large)?;
        let length = writer.len();
        out.fill(length);
        Ok(self.send(out).await?)
    }

    /// The final head and its body.
    async fn final_answer(&mut self, mut input: Buf) -> Result<Answered, Failed> {
        let worker = self.worker;
        let framing = outward(self.response.framing, self.request.version);
        let persistent = self.request.persistent
            && framing != Framing::UntilClose
            && self.upload.get() == Upload::Whole
            && !worker.draining.get();
        let out = self.final_head(&input, framing, persistent)?;
        self.progress.status = Some(self.response.status);

        let came = self.response.framing;
        let to = (&self.client.stream, framing);
        let mut body = Body::new(worker, self.share, (self.upstream, came), to, None);
        let arrived = &mut input.filled_mut()[self.response.len..];
        let length = arrived.len();
        let (taken, out) = body.absorb(arrived, out).await;
        let result = match taken {
            Ok(taken) => {
                drop(input);
                self.send(out).await?;
                body.run().await.map(|()| length - taken)
            }
            Err(cut) => Err(cut),
        };
        self.progress.bytes_read += body.read;
        self.progress.bytes_sent += body.sent;
        let excess = result.map_err(|cut| of_answer(&cut))? + body.surplus.len();
        Ok(Answered {
            status: self.response.status,
            persistent,
            reusable: self.response.persistent
                && excess == 0
                && came != Framing::UntilClose
                && self.upload.get() == Upload::Whole,
        })
    }

    fn final_head(
        &self,
        input: &Buf,
        framing: Framing,
        persistent: bool,
    ) -> Result<Buf, Failed> {
        let plan = &self.worker.plan;
        let mut out = self.share.take();
        let mut writer = Writer::new(out.spare());
        let edits = ResponseEdits {
            to: self.request.version,
            persistent,
            framing,
            date: &self.worker.date(),
            backend: plan.headers.backend.then_some(self.backend),
            request_id: Some(self.id),
        };
        forward::response(&mut writer, self.response, input.filled(), &edits)
            .map_err(too_large)?;
        let length = writer.len();
        out.fill(length);
        Ok(out)
    }

    async fn send(&mut self, out: Buf) -> Result<(), Reason> {
        let length = out.len();
        let (result, rest) = self.client.stream.send(out, self.worker.plan.waits.write).await;
        self.progress.bytes_sent += (length - rest.len()) as u64;
        result.map_err(|error| of_answer(&Cut::To(error)))
    }
}

fn too_large(_: Full) -> Failed {
    Reason::ResponseHeadTooLarge.into()
}

/// Why an answer did not get across.
fn of_answer(cut: &Cut) -> Reason {
    match cut {
        Cut::From(None) => Reason::ResponseCutShort,
        Cut::From(Some(error)) => match error.kind() {
            io::ErrorKind::TimedOut => Reason::UpstreamBodyTimeout,
            io::ErrorKind::ConnectionAborted => Reason::Stopped,
            _ => Reason::ResponseCutShort,
        },
        Cut::To(error) => match error.kind() {
            io::ErrorKind::TimedOut => Reason::ClientWriteTimeout,
            io::ErrorKind::ConnectionAborted => Reason::Stopped,
            _ => Reason::ClientReset,
        },
        Cut::Bad(reason) => reason.by_upstream(),
    }
}
