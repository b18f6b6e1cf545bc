//! The one exit: an answer of our own if none was sent, counters, the log record, and what becomes
//! of the connection.

use std::cell::Cell;
use std::rc::Rc;

use super::decide::{self, Ending};
use super::exchange::Delivered;
use super::session::Session;
use super::tunnel::{Moved, Tunnel};
use super::{Next, record, reply};
use crate::http::websocket::Follower;
use crate::http::{Reason, Reply};
use crate::io::stream::Stream;
use crate::upstream::Slot;

/// What the steps came to.
pub(super) enum Ended {
    /// The client has it.
    Delivered(Delivered),
    /// It is answered here, for this reason.
    Reply(Reason, Box<Reply>),
    /// There is no answer, or not all of one.
    Failed(Reason),
}

/// Ends the request; called once for each that was begun.
pub(super) async fn finish(session: &mut Session, outcome: Ended) -> Next {
    let (reason, next) = match outcome {
        Ended::Delivered(Delivered::Switch { upstream, slot, frames }) => {
            return tunnel(session, (upstream, slot), frames);
        }
        Ended::Delivered(Delivered::Answer { persistent: true }) => (Reason::Done, Next::Again),
        Ended::Delivered(Delivered::Answer { persistent: false }) => (Reason::Done, Next::Close),
        Ended::Reply(reason, reply) => (reason, reply::send(session, &reply).await),
        Ended::Failed(reason) => (reason, fail(session, reason).await),
    };
    count(session, reason);
    if let Some(record) = record::of(session, reason) {
        session.exchange.worker.keep(record);
    }
    let exchange = &session.exchange;
    let behind = session.input.len() > session.used();
    let more = behind || exchange.client.stream.is_readable();
    let unread = more || !exchange.facts.request_read.get();
    let another_protocol = exchange.is_followed_by_another_protocol(behind);
    session.exchange.client.served = true;
    session.reset();
    match next {
        // Octets that the reactor has not told of yet would make a reset of the close just as well.
        Next::Close if unread || !session.exchange.client.stream.is_quiet() => Next::Linger,
        Next::Again if another_protocol => Next::Linger,
        next => next,
    }
}

/// The request goes on as a tunnel, and ends with it.
fn tunnel(
    session: &mut Session,
    (upstream, slot): (Stream, Option<Slot>),
    frames: Option<Follower>,
) -> Next {
    let worker = session.exchange.worker.clone();
    worker.stats.answers.of(session.exchange.method().index(), 101).add(1);
    worker.stats.client_sent.add(session.exchange.facts.bytes_out.get());
    let early = session.input.filled()[session.used()..].into();
    Next::Tunnel(Box::new(Tunnel {
        epoch: Rc::clone(&session.exchange.epoch),
        chosen: session.exchange.chosen.get(),
        upstream,
        early: Cell::new(early),
        frames: frames.map(|down| [Follower::default(), down].map(Cell::new)),
        started: session.exchange.facts.started.get(),
        record: record::of(session, Reason::TunnelClosed),
        under_way: session.under_way.become_tunnel(slot),
        quota: worker.core.pool.quota(),
        moved: Moved::nothing(worker.now()),
    }))
}

/// Tells the client, if it can still be told.
async fn fail(session: &Session, reason: Reason) -> Next {
    match decide::ending(session.exchange.facts.answer.get(), reason) {
        Ending::Answer(status) => {
            let refusal = reply::refusal(&session.exchange, status, reason, session.input.filled());
            reply::send(session, &refusal).await
        }
        Ending::Close => Next::Close,
        Ending::Reset => Next::Reset,
    }
}

fn count(session: &mut Session, reason: Reason) {
    let stats = &session.exchange.worker.stats;
    session.under_way.end(reason);
    stats.client_sent.add(session.exchange.facts.bytes_out.get());
    if let Some(status) = session.exchange.facts.status.get() {
        stats.answers.of(session.exchange.method().index(), status).add(1);
    }
    stats.duration.observe(
        session.exchange.worker.core.reactor.clock().now() - session.exchange.facts.started.get(),
    );
}
