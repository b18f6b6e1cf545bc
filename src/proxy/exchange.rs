//! Head and body go to the upstream, the answer comes back, both at once where both have a body.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::body::{Body, BodyError};
use super::check::Checked;
use super::client::Client;
use super::decide::{self, Again, Attempted, Peer};
use super::dial::Dialled;
use super::epoch::Epoch;
use super::facts::{self, Stage};
use super::respond::{Answer, Answered, Switched};
use super::session::{Session, identity, written};
use super::transfer::{ExchangeError, Transfer, Upload};
use super::worker::Worker;
use crate::config::{HostHeader, Plan};
use crate::http::forward::{self, RequestEdits};
use crate::http::upgrade::{Offer, offer};
use crate::http::{Framing, Reason};
use crate::io::Error;
use crate::io::buffer::{Buf, Permit};
use crate::io::reactor::Direction;
use crate::io::stream::Stream;
use crate::stats::Attempt;
use crate::upstream::{Connection, Lease, Outcome, Upstream};

/// An answer that reached the client whole.
pub(super) struct Exchanged {
    /// The client's connection may carry another request.
    pub persistent: bool,
    /// It has become a tunnel instead.
    pub tunnel: Option<Agreed>,
}

/// A tunnel that client and upstream agreed on.
pub(super) struct Agreed {
    pub upstream: Stream,
    pub switched: Switched,
}

/// What an exchange led to.
pub(super) enum Exchange<'o> {
    /// The client was answered.
    Done(Exchanged),
    /// The attempt came to nothing and left no trace: the request is sent again.
    Again(Checked<'o>),
}

/// Sends the request and relays the answer.
pub(super) async fn exchange(dialled: Dialled<'_>) -> Result<Exchange<'_>, Reason> {
    let (session, lease, connection) = dialled.into_inner();
    let (worker, epoch) = (session.worker.clone(), session.epoch.clone());
    session.facts.reused.set(connection.reused);
    lease.upstream().stats().requests.add(1);
    let transfer = Transfer::default();
    let ends = Ends { worker: &worker, plan: &epoch.plan, upstream: lease.upstream() };
    let result = across(ends, session, &connection.stream, &transfer).await;
    settle(session, lease.upstream(), &transfer);
    match result {
        Ok(answered) => {
            let persistent = answered.persistent;
            let mut tunnel = None;
            if let Some(switched) = answered.switched {
                tunnel = Some(Agreed { upstream: connection.stream, switched });
            } else if answered.reusable && !worker.draining.get() {
                epoch.pool.give_back(lease.upstream(), connection);
            }
            lease.end(Outcome::Answered(answered.status));
            session.facts.stage.set(Stage::Whole);
            Ok(Exchange::Done(Exchanged { persistent, tunnel }))
        }
        Err(failed) => {
            // A head that broke off must not be read on where the next answer begins.
            session.heads.response.clear();
            let again = decide::again(attempted(session, &lease, &connection, &transfer, &failed));
            let upstream = Rc::clone(lease.upstream());
            lease.end(Outcome::Failed(failed.reason));
            match again {
                Some(again) => {
                    note(session, upstream, connection.reused, again, failed);
                    Ok(Exchange::Again(Checked::again(session)))
                }
                None => {
                    session.facts.cause.set(failed.cause);
                    Err(failed.reason)
                }
            }
        }
    }
}

/// What the decision to send the request again rests on.
fn attempted(
    session: &Session,
    lease: &Lease,
    connection: &Connection,
    transfer: &Transfer,
    failed: &ExchangeError,
) -> Attempted {
    let request = &session.heads.request;
    let here = (session.input.len() - request.len) as u64;
    let whole = match request.framing {
        Framing::None => true,
        Framing::Length(length) => here >= length,
        // Decoding has changed the octets in the buffer.
        Framing::Chunked | Framing::UntilClose => false,
    };
    // If the upstream closed in order and its kernel had acknowledged nothing of the request by then, its
    // program never saw it.
    let unseen = || {
        failed.reason == Reason::UpstreamClosed
            && connection.stream.is_unacknowledged(transfer.upstream_sent.get())
    };
    let Epoch { plan, pool } = &*session.epoch;
    Attempted {
        unanswered: failed.silent,
        whole,
        // The kernel is asked only where it matters.
        repeatable: failed.silent && whole && (request.method.is_idempotent() || unseen()),
        reused: connection.reused,
        again: session.again,
        another: session.tried.len() < plan.retries as usize
            && pool.has_other(&session.tried, lease.upstream()),
    }
}

/// Notes the attempt that came to nothing, and that another one follows.
fn note(
    session: &mut Session,
    upstream: Rc<Upstream>,
    reused: bool,
    again: Again,
    failed: ExchangeError,
) {
    let worker = &session.worker;
    session.facts.attempts.borrow_mut().push(Attempt {
        upstream: Arc::clone(upstream.name()),
        reused,
        outcome: failed.reason.label(),
        cause: failed.cause.map(|cause| cause.to_string()),
    });
    match again {
        Again::Here => worker.stats.replays.add(1),
        Again::Elsewhere => {
            worker.stats.retries.add(1);
            session.tried.push(upstream);
        }
    }
    session.again = Some(again);
}

/// Counts what went across, however it ended.
fn settle(session: &mut Session, upstream: &Upstream, transfer: &Transfer) {
    let stats = &session.worker.stats;
    stats.client_received.add(transfer.client_read.get());
    stats.upstream_received.add(transfer.upstream_read.get());
    stats.upstream_sent.add(transfer.upstream_sent.get());
    let facts = &session.facts;
    // What followed a chunked body is the next request's.
    let read = transfer.client_read.get() - session.surplus.len() as u64;
    facts.bytes_in.set(session.used as u64 + read);
    facts::add(&facts.bytes_out, transfer.client_sent.get());
    if let (Some(sent), Some(first)) = (transfer.request_sent.get(), transfer.first_byte.get()) {
        upstream.stats().first_byte.observe(first - sent);
        facts.first_byte.set(Some(first - facts.started.get()));
    }
}

/// What a request goes by, and where.
#[derive(Clone, Copy)]
struct Ends<'a> {
    worker: &'a Worker,
    plan: &'a Plan,
    upstream: &'a Upstream,
}

async fn across(
    ends: Ends<'_>,
    session: &mut Session,
    stream: &Stream,
    transfer: &Transfer,
) -> Result<Answered, ExchangeError> {
    let Ends { worker, plan, upstream } = ends;
    let offer = offer(&session.heads.request, session.input.filled(), &plan.headers.upgrades);
    let quota = &session.quota;
    let permit = quota.permit().await;
    let head = request_head(ends, session, &permit, offer)?;
    let Session { client, heads, input, made_id, used, facts, surplus, .. } = session;
    let framing = heads.request.framing;
    let from = (&client.stream, framing, &transfer.client_read);
    let to = (stream, framing, &transfer.upstream_sent);
    let mut body = Body::new(worker, &plan.timeouts, quota, from, to, plan.limits.body);
    body.withheld = client.withheld(&plan.headers);

    let upload = Cell::new(Upload::Going);
    let here = heads.request.len;
    let absorbed = body.absorb(&mut input.filled_mut()[here..]).map_err(of_upload)?;
    *used = here + absorbed.taken;
    facts.request_read.set(body.is_done());
    let sent = body.send_absorbed(&input.filled()[here..][..absorbed.payload], head).await;
    drop(permit);
    match sent {
        Ok(()) if body.is_done() => upload.set(Upload::Whole),
        Ok(()) => {}
        // The upstream may have answered before it closed: look.
        Err(BodyError::To(error)) if error != Error::Deadline => {
            upload.set(Upload::failed(error));
        }
        Err(error) => return Err(of_upload(error)),
    }
    transfer.request_sent.set(Some(worker.now()));
    let mut answer = Answer {
        worker,
        plan,
        client,
        quota,
        request: &heads.request,
        id: identity(&heads.request, input.filled(), made_id),
        response: &mut heads.response,
        offer,
        date: worker.date(),
        upstream: stream,
        backend: upstream.name(),
        upload: &upload,
        owes_continue: heads.request.expects_continue && upload.get() == Upload::Going,
        facts,
        transfer,
    };
    let result = match upload.get() {
        // Boxed: most requests have no body that comes later, and should not carry the room for it.
        Upload::Going => {
            let mut both = Box::pin(both(&mut body, &mut answer));
            watched(both.as_mut(), plan, client, &upload).await
        }
        _ => watched(pin!(answer.relay()), plan, client, &upload).await,
    };
    facts.request_read.set(body.is_done());
    *surplus = std::mem::take(&mut body.surplus);
    result
}

/// The request's head as it leaves.
fn request_head(
    Ends { plan, upstream, .. }: Ends<'_>,
    session: &Session,
    permit: &Permit<'_>,
    offer: Option<Offer<'_>>,
) -> Result<Buf, ExchangeError> {
    let edits = RequestEdits {
        peer: session.client.peer.map(|peer| peer.ip()),
        trusted: session.client.trusted,
        withheld: session.client.withheld(&plan.headers),
        secure: false,
        host: match plan.headers.host {
            HostHeader::Pass if !session.heads.request.host.is_empty() => None,
            _ => Some(upstream.authority.as_bytes()),
        },
        request_id: session.id(),
        upgrade: offer,
    };
    let (head, octets) = (&session.heads.request, session.input.filled());
    written(permit, |out| forward::request(out, head, octets, &edits))
        .map_err(|_| Reason::ForwardedHeadTooLarge.into())
}

/// An exchange with an eye on the client: when it leaves, nobody waits for the answer any more. A FIN
/// counts as leaving once the request is through, unless the plan says otherwise; a broken
/// connection always does.
async fn watched<T>(
    mut exchange: Pin<&mut impl Future<Output = Result<T, ExchangeError>>>,
    plan: &Plan,
    client: &Client,
    upload: &Cell<Upload>,
) -> Result<T, ExchangeError> {
    poll_fn(|cx| {
        if let Poll::Ready(result) = exchange.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let or_finished = upload.get() != Upload::Going && !plan.half_close;
        client.stream.poll_closed(or_finished, cx).map(|gone| {
            let reason = if gone.is_ok() { Reason::ClientGone } else { Reason::Stopped };
            Err(reason.into())
        })
    })
    .await
}

/// The body goes out while the answer comes in. Ends with the answer, or when the client fails us.
async fn both(body: &mut Body<'_>, answer: &mut Answer<'_>) -> Result<Answered, ExchangeError> {
    let upload = answer.upload;
    let upstream = answer.upstream;
    let response_wait = answer.plan.timeouts.response;
    let mut send = pin!(body.run());
    let mut receive = pin!(answer.relay());
    poll_fn(|cx| {
        if upload.get() == Upload::Going
            && let Poll::Ready(result) = send.as_mut().poll(cx)
        {
            match result {
                Ok(()) => upload.set(Upload::Whole),
                // It may have answered before it closed; one that stopped reading is waited for no longer.
                Err(BodyError::To(error @ Error::Os(_))) => upload.set(Upload::failed(error)),
                Err(error) => return Poll::Ready(Err(of_upload(error))),
            }
            // Only now has the upstream all it needs to answer.
            upstream.deadline_in(Direction::Read, response_wait);
        }
        receive.as_mut().poll(cx)
    })
    .await
}

/// The request's body did not get across.
fn of_upload(error: BodyError) -> ExchangeError {
    ExchangeError::of_body(Peer::Client, error)
}
