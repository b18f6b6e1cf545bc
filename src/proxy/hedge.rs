//! A second upstream for a request whose answer takes long: whoever speaks first is listened to.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::FutureExt;

use super::attempt::{self, Attempts};
use super::check::{Admitted, Terms};
use super::dial::{self, Dialled};
use super::exchange::Sent;
use super::pick;
use super::session::Exchange;
use crate::config::RetrySpec;
use crate::http::upgrade::Upgrade;
use crate::http::{Framing, Method, Reason};
use crate::io::Error;
use crate::io::reactor::Direction;
use crate::upstream::{Connection, Lease, Outcome};

/// The request may be sent to two.
pub(super) fn is_possible(exchange: &Exchange) -> bool {
    let request = &exchange.request;
    matches!(request.method, Method::Get | Method::Head)
        && request.framing == Framing::None
        && request.upgrade == Upgrade::None
}

/// The way of a request to one upstream.
struct Way {
    lease: Lease,
    connection: Connection,
    sent: Box<Sent>,
}

/// Sends it, and to another upstream as well if nothing is heard for so long. The way it goes on is the one from which
/// something came first.
pub(super) async fn race<'s>(
    dialled: Dialled<'s>,
    attempts: &mut Attempts<'s>,
) -> (Dialled<'s>, Option<Box<Sent>>) {
    let (mut admitted, lease, connection) = dialled.into_parts();
    let exchange = admitted.exchange();
    let sent =
        Sent::send(&mut admitted, attempts.terms, lease.upstream(), &connection.stream).await;
    let first = Way { lease, connection, sent };
    let Way { lease, connection, sent } = listen(exchange, &mut admitted, first, attempts).await;
    (Dialled::over(admitted, lease, connection), Some(sent))
}

/// Waits for the first, then for both.
async fn listen<'s>(
    exchange: &Exchange,
    admitted: &mut Admitted<'s>,
    mut first: Way,
    attempts: &mut Attempts<'s>,
) -> Way {
    let terms @ Terms { pool, spec, .. } = attempts.terms;
    let RetrySpec { hedge, .. } = spec.retry;
    if first.heard(exchange, terms, hedge).await != Heard::Nothing {
        return first;
    }
    let Some(lease) = attempts.second(exchange, first.lease.upstream()) else { return first };
    exchange.worker.stats.hedges.add(1);
    let Some(second) = second(exchange, admitted, terms, lease).await else { return first };
    let patience = spec.timeouts.response;
    let one = async { (first.heard(exchange, terms, patience).await, false) };
    let other = async { (second.heard(exchange, terms, patience).await, true) };
    match one.or(other).await {
        (Heard::Something, true) => {
            let upstream = second.lease.upstream();
            let is_reused = first.connection.is_reused();
            let loser = (Reason::Hedged, None);
            attempt::note(&exchange.facts, first.lease.upstream(), is_reused, loser, "hedged");
            pick::stay(exchange, pool, attempts.wish(), upstream);
            exchange.facts.upstream.set(Some(Rc::clone(upstream)));
            exchange.worker.stats.hedges_won.add(1);
            first.give_up(exchange);
            second
        }
        (heard, _) => {
            let is_reused = second.connection.is_reused();
            let loser = (Reason::Hedged, None);
            attempt::note(&exchange.facts, second.lease.upstream(), is_reused, loser, "hedged");
            exchange.facts.upstream.set(Some(Rc::clone(first.lease.upstream())));
            second.give_up(exchange);
            first.sent.is_late = heard == Heard::Nothing;
            first
        }
    }
}

/// The way to the second upstream, once it has got the request; `None`: it could not be connected to.
async fn second(
    exchange: &Exchange,
    admitted: &mut Admitted<'_>,
    terms: Terms<'_>,
    lease: Lease,
) -> Option<Way> {
    let connection = match lease.idle(false) {
        Some(connection) => Ok(connection),
        None => dial::connect(exchange, terms, &lease, false).await,
    };
    match connection {
        Ok(connection) => {
            let (upstream, stream) = (lease.upstream(), &connection.stream);
            let sent = Sent::send(admitted, terms, upstream, stream).await;
            Some(Way { lease, connection, sent })
        }
        Err(refusal) => {
            let upstream = Rc::clone(lease.upstream());
            let outcome = Outcome::Failed(refusal.reason);
            let turned = lease.end(outcome);
            exchange.worker.report_down(&upstream, &refusal);
            exchange.worker.report_turned(turned, outcome);
            None
        }
    }
}

impl Way {
    /// Waits until something comes from the upstream, or its client goes.
    async fn heard(&self, exchange: &Exchange, terms: Terms<'_>, wait: Duration) -> Heard {
        let or_finished = !terms.spec.half_close;
        let stream = &self.connection.stream;
        stream.deadline_in(Direction::Read, wait);
        poll_fn(|cx| {
            if let Poll::Ready(ready) = stream.poll_ready(Direction::Read, cx) {
                let is_late = ready == Err(Error::Deadline);
                return Poll::Ready(if is_late { Heard::Nothing } else { Heard::Something });
            }
            exchange.client.stream.poll_closed(or_finished, cx).map(|_| Heard::ClientGone)
        })
        .await
    }

    /// Nobody waits for an answer there any more.
    fn give_up(self, exchange: &Exchange) {
        self.sent.give_up(exchange, self.lease.upstream());
        let outcome = Outcome::Failed(Reason::Hedged);
        let turned = self.lease.end(outcome);
        exchange.worker.report_turned(turned, outcome);
    }
}

/// What came of waiting for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Octets, or an end.
    Something,
    /// Nothing in time.
    Nothing,
    /// Nobody listens any more.
    ClientGone,
}
