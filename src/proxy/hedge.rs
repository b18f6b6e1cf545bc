//! A second upstream for a request whose answer takes long: whoever speaks first is listened to.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::FutureExt;

use super::attempt::{self, Attempts};
use super::exchange::{Going, Open};
use super::{dial, pick};
use crate::http::upgrade::Upgrade;
use crate::http::{Framing, Method, Reason};
use crate::io::Error;
use crate::io::reactor::Direction;
use crate::upstream::{Lease, Outcome};

/// The request may be sent to two, and its route wants that.
pub(super) fn is_wanted(open: &Open<'_>) -> bool {
    let spec = open.admitted.terms().spec;
    let request = &open.admitted.exchange().request;
    !spec.retry.hedge.is_zero()
        && matches!(request.method, Method::Get | Method::Head)
        && request.framing == Framing::None
        && request.upgrade == Upgrade::None
}

/// Sends it, and to another upstream as well if nothing is heard for so long. The way it goes on is the one from which
/// something came first.
pub(super) async fn race<'s>(mut open: Open<'s>, attempts: &mut Attempts) -> Open<'s> {
    let spec = open.admitted.terms().spec;
    open.send().await;
    if heard(&open, &open.going, spec.retry.hedge).await != Heard::Nothing {
        return open;
    }
    let Some(lease) = attempts.second(&open) else { return open };
    let exchange = open.admitted.exchange();
    exchange.worker.stats.hedges.add(1);
    let Some(second) = second(&mut open, lease).await else { return open };
    let patience = spec.timeouts.response;
    let first = async { (heard(&open, &open.going, patience).await, false) };
    let other = async { (heard(&open, &second, patience).await, true) };
    match first.or(other).await {
        (Heard::Something, true) => {
            let (facts, pool) = (&exchange.facts, open.admitted.terms().pool);
            let upstream = Rc::clone(second.lease.upstream());
            let slow = open.turn_to(second);
            let is_reused = slow.connection.is_reused();
            attempt::note(
                facts,
                slow.lease.upstream(),
                is_reused,
                (Reason::Hedged, None),
                "hedged",
            );
            slow.give_up(exchange);
            pick::stay(exchange, pool, attempts.wish(), &upstream);
            facts.upstream.set(Some(upstream));
            exchange.worker.stats.hedges_won.add(1);
        }
        (heard, _) => {
            second.give_up(exchange);
            open.is_late = heard == Heard::Nothing;
        }
    }
    open
}

/// The way to the second upstream, once it has got the request; `None`: it could not be connected to.
async fn second(open: &mut Open<'_>, mut lease: Lease) -> Option<Going> {
    let (exchange, terms) = (open.admitted.exchange(), open.admitted.terms());
    match dial::connection(exchange, terms, &mut lease, false).await {
        Ok(connection) => {
            let mut going = Going::new(lease, connection);
            going.send(&mut open.admitted).await;
            Some(going)
        }
        Err(refusal) => {
            let upstream = Rc::clone(lease.upstream());
            let outcome = Outcome::Failed(refusal.reason);
            let turned = lease.end(outcome);
            exchange.worker.report_down(&upstream, &refusal);
            exchange.worker.report_turned(&upstream, turned, outcome);
            None
        }
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

/// Waits until something comes from an upstream, or its client goes.
async fn heard(open: &Open<'_>, going: &Going, wait: Duration) -> Heard {
    let client = &open.admitted.exchange().client.stream;
    let or_finished = !open.admitted.terms().spec.half_close;
    going.stream().deadline_in(Direction::Read, wait);
    poll_fn(|cx| {
        if let Poll::Ready(ready) = going.stream().poll_ready(Direction::Read, cx) {
            let is_late = ready == Err(Error::Deadline);
            return Poll::Ready(if is_late { Heard::Nothing } else { Heard::Something });
        }
        client.poll_closed(or_finished, cx).map(|_| Heard::ClientGone)
    })
    .await
}
