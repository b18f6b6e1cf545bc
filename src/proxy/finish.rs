//! The one exit: an answer of our own if none was sent, counters, the log record, and what becomes
//! of the connection.

use std::cell::Cell;
use std::rc::Rc;

use super::Next;
use super::decide::{self, Ending};
use super::exchange::{Agreed, Exchanged};
use super::facts::{self, Stage};
use super::record;
use super::session::{Session, written};
use super::tunnel::{Moved, Tunnel};
use crate::http::upgrade::Upgrade;
use crate::http::websocket::Follower;
use crate::http::write::{self, Answer, phrase};
use crate::http::{Method, Reason};

/// How long a client should stay away after a 503, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// Ends the request; called once for each that was begun.
pub(super) async fn finish(session: &mut Session, outcome: Result<Exchanged, Reason>) -> Next {
    let (reason, next) = match outcome {
        Ok(Exchanged { tunnel: Some(agreed), .. }) => return tunnel(session, agreed),
        Ok(Exchanged { persistent: true, .. }) => (Reason::Done, Next::Again),
        Ok(_) => (Reason::Done, Next::Close),
        Err(reason) => (reason, fail(session, reason).await),
    };
    count(session, reason);
    if let Some(record) = record::of(session, reason) {
        session.worker.keep(record);
    }
    let more = session.input.len() > session.used || session.client.stream.is_readable();
    let unread = more || !session.facts.request_read.get();
    // What follows a request to switch was not meant for HTTP (RFC 9931).
    let meant_otherwise = more && session.heads.request.upgrade != Upgrade::None;
    session.client.served = true;
    session.reset();
    match next {
        // Octets that the reactor has not told of yet would make a reset of the close just as well.
        Next::Close if unread || !session.client.stream.is_quiet() => Next::Linger,
        Next::Again if meant_otherwise => Next::Linger,
        next => next,
    }
}

/// The request goes on as a tunnel, and ends with it.
fn tunnel(session: &mut Session, agreed: Agreed) -> Next {
    let worker = session.worker.clone();
    worker.stats.answers.of(session.method().index(), 101).add(1);
    worker.stats.client_sent.add(session.facts.bytes_out.get());
    let early = session.input.filled()[session.used..].to_vec();
    Next::Tunnel(Box::new(Tunnel {
        epoch: Rc::clone(&session.epoch),
        upstream: agreed.upstream,
        early: Cell::new(early),
        frames: agreed.switched.frames.map(|down| [Follower::default(), down].map(Cell::new)),
        started: session.facts.started.get(),
        record: record::of(session, Reason::TunnelClosed),
        under_way: session.under_way.become_tunnel(),
        quota: worker.core.pool.quota(),
        moved: Moved::nothing(worker.now()),
    }))
}

/// Tells the client, if it can still be told.
async fn fail(session: &mut Session, reason: Reason) -> Next {
    let status = match decide::ending(session.facts.stage.get(), reason) {
        Ending::Answer(status) => status,
        Ending::Close => return Next::Close,
        Ending::Reset => return Next::Reset,
    };
    let worker = session.worker.clone();
    let persistent = session.facts.request_read.get()
        && session.heads.request.persistent
        && !worker.draining.get();
    let id = String::from_utf8_lossy(session.id()).into_owned();
    let text = format!(
        "{status} {}: {}\nreason: {}\nrequest: {id}\n",
        phrase(status),
        reason.explain(),
        reason.label(),
    );
    let answer = Answer {
        status,
        reason: Some(reason),
        body: text.as_bytes(),
        close: !persistent,
        head_only: session.heads.request.method == Method::Head,
        date: &worker.date(),
        request_id: Some(id.as_bytes()),
        retry_after_s: (status == 503).then_some(RETRY_AFTER_S),
        detail: None,
    };
    let permit = session.quota.permit().await;
    let Ok(out) = written(&permit, |out| write::answer(out, &answer)) else {
        return Next::Close; // a buffer holds the longest of our answers many times over
    };
    session.facts.answers(status, Stage::Body);
    let body = if answer.head_only { 0 } else { text.len() };
    facts::add(&session.facts.heads_out, (out.len() - body) as u64);
    let octets = Cell::new(0);
    let (sent, _) =
        session.client.stream.send(out, session.epoch.plan.timeouts.write, &octets).await;
    facts::add(&session.facts.bytes_out, octets.get());
    if sent.is_ok() && persistent { Next::Again } else { Next::Close }
}

fn count(session: &mut Session, reason: Reason) {
    let stats = &session.worker.stats;
    session.under_way.end(reason);
    stats.client_sent.add(session.facts.bytes_out.get());
    if let Some(status) = session.facts.status.get() {
        stats.answers.of(session.method().index(), status).add(1);
    }
    stats.duration.observe(session.worker.core.reactor.clock().now() - session.facts.started.get());
}
