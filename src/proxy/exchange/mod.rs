//! Head and body go to the upstream, the answer comes back, both at once where both have a body.

mod body;
mod request;
mod response;
mod sent;
mod transfer;

pub(super) use request::preface_of_tls;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_lite::FutureExt;

use super::attempt::{self, Attempts};
use super::begin::Parts;
use super::check::{Admitted, Terms};
use super::decide::{BodyError, Peer};
use super::dial::Dialled;
use super::facts::{self, AnswerState};
use super::pace;
use super::session::{Exchange, Used};
use crate::config::ExchangeSpec;
use crate::http::Reason;
use crate::http::websocket::Follower;
use crate::io::Error;
use crate::io::reactor::Direction;
use crate::io::stream::Stream;
use crate::upstream::{Connection, Lease, Outcome, Pool, Slot, Upstream};
use body::{Body, Sink, Source};
use response::{Answer, Relayed};
use transfer::Transfer;

pub(super) use sent::Sent;
pub(super) use transfer::{ExchangeError, Upload};

/// What reached the client whole.
pub(super) enum Delivered {
    /// An answer; `persistent`: the client's connection may carry another request.
    Answer { persistent: bool },
    /// A 101: what follows is a tunnel to this upstream. `frames`: where those towards the client stand; `None`: not a
    /// WebSocket.
    Switch { upstream: Stream, slot: Option<Slot>, frames: Option<Follower> },
}

/// A request that did not get its answer, with all that the decision on another attempt rests on. Boxed, for it is
/// rare, and others should not carry the room.
pub(super) struct Undelivered<'s> {
    pub admitted: Admitted<'s>,
    pub lease: Lease,
    pub connection: Connection,
    /// Octets sent to the upstream.
    pub sent: u64,
    /// Octets of the body that came with the head, and are still here.
    pub behind: usize,
    /// The upstream may have it twice.
    pub repeatable: bool,
    pub error: ExchangeError,
}

/// Sends the request, unless it was `sent`, and relays the answer.
pub(super) async fn exchange<'s>(
    dialled: Dialled<'s>,
    sent: Option<Box<Sent>>,
    attempts: &Attempts<'s>,
) -> Result<Delivered, Box<Undelivered<'s>>> {
    let (mut admitted, lease, connection) = dialled.into_parts();
    let exchange = admitted.exchange();
    let Exchange { worker, facts, .. } = exchange;
    facts.reused.set(connection.is_reused());
    lease.upstream().stats().requests.add(1);
    let terms = attempts.terms;
    let (transfer, upload, is_late) = match sent {
        None => (Transfer::default(), Upload::Going, false),
        Some(sent) => (sent.transfer, sent.upload, sent.is_late),
    };
    let mut parts = admitted.parts();
    let (head, behind) = (parts.head, parts.rest.len());
    let whole = attempt::is_whole(exchange.request.framing, behind);
    let repeatable = || attempt::is_repeatable(exchange, head);
    let to = Destination {
        terms,
        upstream: lease.upstream(),
        stream: &connection.stream,
        upload,
        patience: match is_late {
            true => Duration::ZERO,
            false => attempts.patience(|| whole && repeatable()),
        },
        refuses: &|status| {
            // First, for it may leave no other to ask.
            worker.report_breaker(lease.answered(status), Outcome::Answered(status));
            attempts.refuses(exchange, (status, whole), repeatable)
        },
    };
    let result = across(exchange, &to, &mut parts, &transfer).await;
    settle(exchange, parts.used, (terms.pool, lease.upstream()), &transfer);
    let relayed = match result {
        Ok(relayed) => relayed,
        Err(error) => {
            // A head that broke off must not be read on where the next answer begins.
            parts.response.clear();
            if error.reason == Reason::ResponseTimeout
                && let Some(sent) = transfer.request_sent.get()
            {
                terms.pool.took(lease.upstream(), worker.now() - sent); // or would have taken longer
            }
            let (sent, repeatable) = (transfer.upstream_sent.get(), repeatable());
            let undelivered =
                Undelivered { admitted, lease, connection, sent, behind, repeatable, error };
            return Err(Box::new(undelivered));
        }
    };
    facts.answer.set(AnswerState::Whole);
    let status = facts.status.get().unwrap_or_default();
    let (delivered, turned) = match relayed {
        Relayed::Switch { frames } => {
            let (slot, turned) = lease.become_tunnel(status);
            (Delivered::Switch { upstream: connection.stream, slot, frames }, turned)
        }
        Relayed::Answer { persistent, reusable } => {
            if reusable && !worker.draining.get() {
                terms.pool.give_back(lease.upstream(), connection);
            }
            (Delivered::Answer { persistent }, lease.end(Outcome::Answered(status)))
        }
    };
    worker.report_breaker(turned, Outcome::Answered(status));
    Ok(delivered)
}

/// Counts what went across, however it ended.
fn settle(
    exchange: &Exchange,
    used: &Used,
    (pool, upstream): (&Pool, &Upstream),
    transfer: &Transfer,
) {
    let Exchange { worker, facts, .. } = exchange;
    let stats = &worker.stats;
    stats.client_received.add(transfer.client_read.get());
    stats.upstream_received.add(transfer.upstream_read.get());
    stats.upstream_sent.add(transfer.upstream_sent.get());
    // What followed a chunked body is the next request's.
    let read = transfer.client_read.get() - used.surplus.len() as u64;
    facts.bytes_in.set((used.head + used.body) as u64 + read);
    facts::add(&facts.bytes_out, transfer.client_sent.get());
    if let (Some(sent), Some(first)) = (transfer.request_sent.get(), transfer.first_byte.get()) {
        upstream.stats().first_byte.observe(first - sent);
        pool.took(upstream, first - sent);
        facts.first_byte.set(Some(first - facts.started.get()));
    }
}

/// Where the request goes.
#[derive(Clone, Copy)]
struct Destination<'a> {
    terms: Terms<'a>,
    upstream: &'a Upstream,
    stream: &'a Stream,
    /// How far the request is already.
    upload: Upload,
    /// As [`Attempts::patience`] and [`Attempts::refuses`] have it.
    patience: Duration,
    refuses: &'a dyn Fn(u16) -> bool,
}

async fn across<'a>(
    exchange: &'a Exchange,
    &Destination { terms, upstream, stream, upload, patience, refuses }: &Destination<'a>,
    parts: &mut Parts<'_>,
    transfer: &Transfer,
) -> Result<Relayed, ExchangeError> {
    let Exchange { worker, epoch, client, quota, facts, request, .. } = exchange;
    let Parts { head, rest, used, response } = parts;
    let spec = terms.spec;
    let offer = request.offer(head, &spec.upgrades);
    let source = Source::new(&client.stream, request.framing, &transfer.client_read);
    let mut sink = Sink::new(stream, request.framing, &transfer.upstream_sent);
    let stripped =
        exchange.gate().map_or(&[][..], |gate| gate.stripped(&exchange.match_input(head)));
    let withheld =
        [client.withheld(&epoch.plan.listener), &spec.request_header.removed[..], stripped];
    sink.withheld = &withheld;
    let stages = request::stages(request.framing, spec.max_body);
    let mut body = Body::new(exchange, spec, source, stages, sink);

    let upload = Cell::new(upload);
    let absorbed = body.absorb(rest).map_err(of_upload)?;
    used.body = absorbed.taken;
    facts.request_read.set(body.is_done());
    if upload.get() == Upload::Going {
        let permit = quota.permit().await;
        let out = request::head(exchange, terms, head, upstream, &permit, offer)?;
        let sent = body.send_absorbed(&rest[..absorbed.payload], out).await;
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
    }
    let owes_continue = request.expects_continue && upload.get() == Upload::Going;
    let mut answer = Answer {
        exchange,
        spec,
        pool: terms.pool,
        head,
        upstream,
        stream,
        response,
        offer,
        upload: &upload,
        behind: rest.len() > absorbed.taken,
        owes_continue,
        transfer,
        patience,
        refuses,
    };
    let result = match upload.get() {
        // Boxed: most requests have no body that comes later, and should not carry the room for it.
        Upload::Going => {
            let mut both = Box::pin(async {
                let both = both(&mut body, &mut answer);
                match spec.min_rate {
                    None => both.await,
                    Some(least) => both.or(paced(exchange, least, transfer, &upload)).await,
                }
            });
            watched(both.as_mut(), exchange, spec, &upload).await
        }
        _ => watched(pin!(answer.relay()), exchange, spec, &upload).await,
    };
    facts.request_read.set(body.is_done());
    used.surplus = body.surplus();
    result
}

/// An exchange with an eye on the client: when it leaves, nobody waits for the answer any more. A FIN
/// counts as leaving once the request is through, unless the plan says otherwise; a broken
/// connection always does.
async fn watched<T>(
    mut work: Pin<&mut impl Future<Output = Result<T, ExchangeError>>>,
    exchange: &Exchange,
    spec: &ExchangeSpec,
    upload: &Cell<Upload>,
) -> Result<T, ExchangeError> {
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        let or_finished = upload.get() != Upload::Going && !spec.half_close;
        exchange.client.stream.poll_closed(or_finished, cx).map(|gone| {
            let reason = if gone.is_ok() { Reason::ClientGone } else { Reason::Stopped };
            Err(reason.into())
        })
    })
    .await
}

/// Ends when the client sends its body too slowly.
async fn paced(
    exchange: &Exchange,
    least: u64,
    transfer: &Transfer,
    upload: &Cell<Upload>,
) -> Result<Relayed, ExchangeError> {
    let octets = [&transfer.client_read, &transfer.upstream_sent];
    let reason = pace::lost(exchange, least, octets).await;
    match upload.get() {
        Upload::Going => Err(reason.into()),
        _ => std::future::pending().await,
    }
}

/// The body goes out while the answer comes in. Ends with the answer, or when the client fails us.
async fn both(body: &mut Body<'_>, answer: &mut Answer<'_>) -> Result<Relayed, ExchangeError> {
    let upload = answer.upload;
    let upstream = answer.stream;
    let response_wait = answer.patience;
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
