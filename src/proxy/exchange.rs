//! Head and body go to the upstream, the answer comes back, both at once where both have a body.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use super::body::{Body, Cut};
use super::check::Checked;
use super::dial::Dialled;
use super::ongoing::Ongoing;
use super::respond::{Answered, Failed, Respond};
use super::worker::Worker;
use crate::config::HostHeader;
use crate::http::close::{Fault, Reason};
use crate::http::forward::{self, RequestEdits};
use crate::http::framing::Framing;
use crate::http::write::Writer;
use crate::io::buffer::Buf;
use crate::io::reactor::Way;
use crate::stats::Attempt;
use crate::upstream::Connection;

/// An answer that reached the client whole.
pub(super) struct Exchanged {
    /// The client's connection may carry another request.
    pub persistent: bool,
}

/// What an exchange led to.
pub(super) enum Outcome<'o> {
    /// The client was answered.
    Done(Exchanged),
    /// The connection had died while it was idle, and the request can be sent again.
    Stale(Checked<'o>),
}

/// How far the request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// Still coming.
    Going,
    /// All of it is with the upstream.
    Whole,
    /// The upstream took no more of it; it may have answered all the same.
    Refused,
}

/// Sends the request and relays the answer.
pub(super) async fn exchange(dialled: Dialled<'_>) -> Result<Outcome<'_>, Reason> {
    let (ongoing, connection) = dialled.into_inner();
    let index = connection.endpoint;
    let worker = ongoing.worker.clone();
    let stats = &worker.stats.upstreams[index];
    stats.requests.add(1);
    stats.active.up();
    let result = across(&worker, ongoing, &connection).await;
    stats.active.down();
    match result {
        Ok(answered) => {
            stats.responses[usize::from(answered.status / 100) - 1].add(1);
            if answered.reusable && !worker.draining.get() {
                worker.upstreams.give_back(connection);
            }
            Ok(Outcome::Done(Exchanged { persistent: answered.persistent }))
        }
        Err(failed) => {
            drop(connection.stream);
            if failed.reason.fault() == Fault::Upstream {
                stats.failures.add(1);
            }
            let again = connection.reused && failed.silent && is_replayable(ongoing);
            if !again {
                return Err(failed.reason);
            }
            worker.stats.replays.add(1);
            ongoing.attempts.push(Attempt {
                upstream: worker.upstreams.endpoint(index).name.clone(),
                reused: true,
                outcome: failed.reason.label(),
                cause: failed.cause.map(|cause| cause.to_string()),
            });
            ongoing.replayed = true;
            Ok(Outcome::Stale(Checked::again(ongoing)))
        }
    }
}

/// May the request be sent a second time, and is all of it still here (RFC 9110 section 9.2.2)?
fn is_replayable(ongoing: &Ongoing) -> bool {
    let request = &ongoing.heads.request;
    let whole = match request.framing {
        Framing::None => true,
        Framing::Length(length) => {
            u64::try_from(ongoing.input.len() - request.len).is_ok_and(|here| here >= length)
        }
        // Decoding has changed the octets in the buffer.
        Framing::Chunked | Framing::UntilClose => false,
    };
    whole && request.method.is_idempotent() && !ongoing.replayed
}

async fn across(
    worker: &Worker,
    ongoing: &mut Ongoing,
    connection: &Connection,
) -> Result<Answered, Failed> {
    let head = request_head(worker, ongoing, connection)?;
    let Ongoing { client, share, heads, input, .. } = &mut *ongoing;
    let framing = heads.request.framing;
    let upstream = &connection.stream;
    let most = worker.plan.limits.body;
    let mut body = Body::new(worker, share, (&client.stream, framing), (upstream, framing), most);

    let (taken, head) = body.absorb(&mut input.filled_mut()[heads.request.len..], head).await;
    let mut upload = Upload::Going;
    let sent = match taken {
        Ok(taken) => {
            ongoing.used = heads.request.len + taken;
            ongoing.bytes_in = ongoing.used as u64;
            let length = head.len() as u64;
            let (sent, rest) = upstream.send(head, worker.plan.waits.write).await;
            body.sent += length - rest.len() as u64;
            sent
        }
        Err(Cut::To(error)) => Err(error),
        Err(cut) => return Err(Failed::of(of_upload(&cut))),
    };
    match sent {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            return Err(Failed::of(Reason::UpstreamWriteTimeout));
        }
        // It may have answered before it closed: look.
        Err(_) => upload = Upload::Refused,
        Ok(()) if body.is_done() => upload = Upload::Whole,
        Ok(()) => {}
    }
    let upload = Cell::new(upload);
    let mut respond = Respond::new(worker, client, share, heads, input, upstream, &upload);
    let result = match upload.get() {
        Upload::Going => both(&mut body, &mut respond).await,
        _ => respond.run().await,
    };
    let progress = respond.progress;
    let before = progress.first_byte.unwrap_or(worker.core.reactor.clock().now());
    worker.stats.upstream_bytes[0].add(progress.bytes_read);
    worker.stats.upstream_bytes[1].add(body.sent);
    worker.stats.client_bytes[0].add(body.read);
    if progress.first_byte.is_some() {
        let index = connection.endpoint;
        worker.stats.upstreams[index].first_byte.observe(before - progress.started);
        ongoing.first_byte = Some(before - ongoing.started);
    }
    ongoing.bytes_in += body.read;
    ongoing.bytes_out += progress.bytes_sent;
    ongoing.status = progress.status;
    ongoing.request_read = body.is_done();
    let surplus = std::mem::take(&mut body.surplus);
    ongoing.surplus = surplus;
    result
}

/// The request's head as it leaves.
fn request_head(
    worker: &Worker,
    ongoing: &Ongoing,
    connection: &Connection,
) -> Result<Buf, Failed> {
    let mut buf = ongoing.share.take();
    let endpoint = worker.upstreams.endpoint(connection.endpoint);
    let edits = RequestEdits {
        peer: ongoing.client.peer.map(|peer| peer.ip()),
        trusted: ongoing.client.trusted,
        secure: false,
        host: match worker.plan.headers.host {
            HostHeader::Pass => None,
            HostHeader::Upstream => Some(endpoint.authority.as_bytes()),
        },
        request_id: ongoing.id(),
    };
    let mut writer = Writer::new(buf.spare());
    forward::request(&mut writer, &ongoing.heads.request, ongoing.input.filled(), &edits)
        .map_err(|_| Failed::of(Reason::ForwardedHeadTooLarge))?;
    let length = writer.len();
    buf.fill(length);
    Ok(buf)
}

/// The body goes out while the answer comes in. Ends with the answer, or when the client fails us.
async fn both(body: &mut Body<'_>, respond: &mut Respond<'_>) -> Result<Answered, Failed> {
    let upload = respond.upload;
    let upstream = respond.upstream;
    let response_wait = respond.response_wait();
    let answering = respond.answering.clone();
    let mut send = pin!(body.run());
    let mut answer = pin!(respond.run());
    poll_fn(|cx| {
        if upload.get() == Upload::Going
            && let Poll::Ready(result) = send.as_mut().poll(cx)
        {
            let reason = result.err().map(|cut| of_upload(&cut));
            match reason {
                None => upload.set(Upload::Whole),
                Some(reason) if reason.fault() == Fault::Upstream => upload.set(Upload::Refused),
                Some(reason) => return Poll::Ready(Err(Failed::of(reason))),
            }
            // Only now has the upstream all it needs to answer.
            if !answering.get() {
                upstream.deadline_in(Way::Read, response_wait);
            }
        }
        answer.as_mut().poll(cx)
    })
    .await
}

/// Why a request's body did not get across.
fn of_upload(cut: &Cut) -> Reason {
    match cut {
        Cut::From(None) => Reason::BodyCutShort,
        Cut::From(Some(error)) => match error.kind() {
            io::ErrorKind::TimedOut => Reason::BodyTimeout,
            io::ErrorKind::ConnectionAborted => Reason::Stopped,
            _ => Reason::ClientReset,
        },
        Cut::To(error) => match error.kind() {
            io::ErrorKind::TimedOut => Reason::UpstreamWriteTimeout,
            io::ErrorKind::ConnectionAborted => Reason::Stopped,
            _ => Reason::UpstreamReset,
        },
        Cut::Bad(reason) => *reason,
    }
}
