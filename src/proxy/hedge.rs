//! A second upstream for a request whose answer takes long: whoever answers first is listened to.

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
use crate::http::upgrade::Upgrade;
use crate::http::{Framing, Method, Reason};
use crate::io::Error;
use crate::io::clock::Moment;
use crate::io::reactor::Direction;
use crate::upstream::{Connection, Lease, Outcome};

/// What the log says of an attempt beside another.
const HEDGED: &str = "hedged";

/// The request may be sent to two.
pub(super) fn is_possible(exchange: &Exchange) -> bool {
    let request = &exchange.request;
    matches!(request.method, Method::Get | Method::Head)
        && request.framing == Framing::None
        && request.upgrade == Upgrade::None
}

/// A request on its way to one upstream.
struct Leg {
    lease: Lease,
    connection: Connection,
    sent: Box<Sent>,
    /// How long connecting took.
    connect: Option<Duration>,
}

/// Sends it, and to another upstream as well if nothing is heard for so long. It goes on with the one that answers
/// first.
pub(super) async fn race<'s>(
    dialled: Dialled<'s>,
    attempts: &mut Attempts<'s>,
) -> (Dialled<'s>, Option<Box<Sent>>) {
    let (mut admitted, lease, connection) = dialled.into_parts();
    let exchange = admitted.exchange();
    let sent =
        Sent::send(&mut admitted, attempts.terms, lease.upstream(), &connection.stream).await;
    let first = Leg { lease, connection, sent, connect: exchange.facts.connect.get() };
    let Leg { lease, connection, sent, .. } =
        listen(exchange, &mut admitted, first, attempts).await;
    (Dialled::over(admitted, lease, connection), Some(sent))
}

/// Waits for the first, then for both.
async fn listen<'s>(
    exchange: &Exchange,
    admitted: &mut Admitted<'s>,
    mut first: Leg,
    attempts: &mut Attempts<'s>,
) -> Leg {
    let terms = attempts.terms;
    let now = || exchange.worker.now();
    let alone = now() + terms.spec.retry.hedge;
    if !first.sent.is_whole() || first.heard(exchange, terms, alone).await != Heard::Nothing {
        return first;
    }
    let Some(lease) = attempts.second(exchange, first.lease.upstream()) else { return first };
    let other = Rc::clone(lease.upstream());
    let until = now() + attempts.patience(|| true);
    let second = async { Ok(second(exchange, admitted, terms, lease).await) };
    let meanwhile = async { Err(first.heard(exchange, terms, until).await) };
    let second = match meanwhile.or(second).await {
        Ok(Some(second)) => second,
        Ok(None) => {
            attempts.give_up_on(other, true);
            return first;
        }
        Err(heard) => {
            exchange.facts.connect.set(first.connect);
            first.sent.is_late = heard == Heard::Nothing;
            return first;
        }
    };
    exchange.worker.stats.hedges.add(1);
    let Race { second_wins, heard, missed } =
        Race::run(&first, &second, async |leg| leg.heard(exchange, terms, until).await).await;
    let (mut winner, loser) = if second_wins { (second, first) } else { (first, second) };
    if let Some(missed) = missed {
        attempts.give_up_on(Rc::clone(loser.lease.upstream()), missed == Heard::End);
    }
    loser.lose(exchange, terms, missed);
    if second_wins {
        exchange.worker.stats.hedges_won.add(u64::from(heard == Heard::Octets));
        pick::stay(exchange, terms.pool, attempts.wish(), winner.lease.upstream());
    }
    exchange.facts.connect.set(winner.connect);
    exchange.facts.upstream.set(Some(Rc::clone(winner.lease.upstream())));
    winner.sent.is_late = heard == Heard::Nothing;
    winner
}

/// How it ended between two.
struct Race {
    second_wins: bool,
    /// What was heard from the winner.
    heard: Heard,
    /// What was heard from the loser before; `None`: it was still waited for.
    missed: Option<Heard>,
}

impl Race {
    /// Whoever has octets first wins. An end, or silence until it is late, is none: the other may still have some.
    async fn run(first: &Leg, second: &Leg, hear: impl AsyncFn(&Leg) -> Heard) -> Race {
        let one = async { (hear(first).await, false) };
        let other = async { (hear(second).await, true) };
        let (heard, is_second) = one.or(other).await;
        match heard {
            Heard::Octets | Heard::ClientGone => {
                Race { second_wins: is_second, heard, missed: None }
            }
            Heard::End | Heard::Nothing => {
                let left = if is_second { first } else { second };
                Race { second_wins: !is_second, heard: hear(left).await, missed: Some(heard) }
            }
        }
    }
}

/// The leg to the second upstream, once that has got the request; `None`: it could not be connected to.
async fn second(
    exchange: &Exchange,
    admitted: &mut Admitted<'_>,
    terms: Terms<'_>,
    lease: Lease,
) -> Option<Leg> {
    let facts = &exchange.facts;
    let connect_of_first = facts.connect.take();
    let connection = match lease.idle(false) {
        Some(connection) => Ok(connection),
        None => dial::connect(exchange, admitted.parts().head, terms, &lease, false).await,
    };
    let connect = facts.connect.replace(connect_of_first);
    match connection {
        Ok(connection) => {
            let (upstream, stream) = (lease.upstream(), &connection.stream);
            let sent = Sent::send(admitted, terms, upstream, stream).await;
            Some(Leg { lease, connection, sent, connect })
        }
        Err(refusal) => {
            let first = facts.upstream.take();
            attempt::unreached(exchange, lease, &refusal, HEDGED);
            facts.upstream.set(first);
            None
        }
    }
}

impl Leg {
    /// Waits until something comes from the upstream, or its client goes.
    async fn heard(&self, exchange: &Exchange, terms: Terms<'_>, until: Moment) -> Heard {
        let or_finished = !terms.spec.half_close;
        let stream = &self.connection.stream;
        stream.deadline_at(Direction::Read, until);
        poll_fn(|cx| {
            while let Poll::Ready(ready) = stream.poll_ready(Direction::Read, cx) {
                return Poll::Ready(match ready.and_then(|()| stream.peek()) {
                    Ok(None) => continue,
                    Ok(Some(0)) => Heard::End,
                    Ok(Some(_)) => Heard::Octets,
                    Err(Error::Deadline) => Heard::Nothing,
                    Err(_) => Heard::End,
                });
            }
            exchange.client.stream.poll_closed(or_finished, cx).map(|_| Heard::ClientGone)
        })
        .await
    }

    /// Nobody waits for an answer there any more, after this was heard; `None`: nothing yet.
    fn lose(self, exchange: &Exchange, Terms { pool, .. }: Terms<'_>, heard: Option<Heard>) {
        let Exchange { worker, facts, .. } = exchange;
        let Leg { lease, connection, sent, .. } = self;
        let upstream = Rc::clone(lease.upstream());
        let is_reused = connection.is_reused();
        let reason = match heard {
            Some(Heard::End) => Reason::UpstreamClosed,
            Some(Heard::Nothing) => Reason::ResponseTimeout,
            _ => Reason::Hedged,
        };
        let outcome = match reason {
            Reason::UpstreamClosed if is_reused => Outcome::Stale,
            _ => Outcome::Failed(reason),
        };
        if reason != Reason::UpstreamClosed
            && let Some(since) = sent.since()
        {
            pool.took(&upstream, worker.now() - since); // or would have taken longer
        }
        attempt::note(facts, &upstream, is_reused, (reason, None), HEDGED);
        sent.give_up(exchange, &upstream);
        let turned = lease.end(outcome);
        worker.report_breaker(turned, outcome);
    }
}

/// What came of waiting for an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Octets.
    Octets,
    /// That the connection is at its end.
    End,
    /// Nothing in time.
    Nothing,
    /// Nobody listens any more.
    ClientGone,
}
