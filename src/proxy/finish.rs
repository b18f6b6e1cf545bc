//! The one exit: an answer of our own if none was sent, counters, the log record, and what becomes
//! of the connection.

use std::cell::Cell;
use std::rc::Rc;

use super::Next;
use super::exchange::{Agreed, Exchanged};
use super::ongoing::{Ongoing, written};
use super::record;
use super::tunnel::{Moved, Tunnel};
use crate::http::upgrade::Upgrade;
use crate::http::websocket::Follower;
use crate::http::write::{self, Answer, phrase};
use crate::http::{Method, Reason};

/// How long a client should stay away after a 503, in seconds.
const RETRY_AFTER_S: u32 = 1;

/// Ends the request; called once for each that was begun.
pub(super) async fn finish(ongoing: &mut Ongoing, outcome: Result<Exchanged, Reason>) -> Next {
    let (reason, next) = match outcome {
        Ok(Exchanged { tunnel: Some(agreed), .. }) => return tunnel(ongoing, agreed),
        Ok(Exchanged { persistent: true, .. }) => (Reason::Done, Next::Again),
        Ok(_) => (Reason::Done, Next::Close),
        Err(reason) => (reason, fail(ongoing, reason).await),
    };
    count(ongoing, reason);
    if let Some(record) = record::of(ongoing, reason) {
        ongoing.worker.keep(record);
    }
    let more = ongoing.input.len() > ongoing.used || ongoing.client.stream.is_readable();
    let unread = more || !ongoing.request_read;
    // What follows a request to switch was not meant for HTTP (RFC 9931).
    let meant_otherwise = more && ongoing.heads.request.upgrade != Upgrade::None;
    ongoing.client.served = true;
    ongoing.reset();
    match next {
        // Octets that the reactor has not told of yet would make a reset of the close just as well.
        Next::Close if unread || !ongoing.client.stream.is_quiet() => Next::Linger,
        Next::Again if meant_otherwise => Next::Linger,
        next => next,
    }
}

/// The request goes on as a tunnel, and ends with it.
fn tunnel(ongoing: &mut Ongoing, agreed: Agreed) -> Next {
    let worker = ongoing.worker.clone();
    worker.stats.responses[0].add(1);
    worker.stats.client_bytes[1].add(ongoing.bytes_out);
    let early = ongoing.input.filled()[ongoing.used..].to_vec();
    Next::Tunnel(Box::new(Tunnel {
        epoch: Rc::clone(&ongoing.epoch),
        upstream: agreed.upstream,
        early: Cell::new(early),
        frames: agreed.switched.frames.map(|down| [Follower::default(), down].map(Cell::new)),
        started: ongoing.started,
        record: record::of(ongoing, Reason::TunnelClosed),
        under_way: ongoing.under_way.become_tunnel(),
        share: worker.core.pool.share(),
        moved: Moved::nothing(worker.now()),
    }))
}

/// Tells the client, if it can still be told.
async fn fail(ongoing: &mut Ongoing, reason: Reason) -> Next {
    if ongoing.status.is_some() || ongoing.in_interim {
        // Part of an answer is out. Where its length was announced, a close shows that it was cut;
        // where the close is the end, only a reset does.
        return if ongoing.ends_with_close { Next::Reset } else { Next::Close };
    }
    let Some(status) = reason.status().filter(|status| *status != 499) else { return Next::Close };
    let worker = ongoing.worker.clone();
    let persistent =
        ongoing.request_read && ongoing.heads.request.persistent && !worker.draining.get();
    let id = String::from_utf8_lossy(ongoing.id()).into_owned();
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
        head_only: ongoing.heads.request.method == Method::Head,
        date: &worker.date(),
        request_id: Some(id.as_bytes()),
        retry_after_s: (status == 503).then_some(RETRY_AFTER_S),
        detail: None,
    };
    let hold = ongoing.share.hold().await;
    let Ok(out) = written(&hold, |out| write::answer(out, &answer)) else {
        return Next::Close; // a buffer holds the longest of our answers many times over
    };
    ongoing.status = Some(status);
    let octets = Cell::new(0);
    let (sent, _) =
        ongoing.client.stream.send(out, ongoing.epoch.plan.timeouts.write, &octets).await;
    ongoing.bytes_out += octets.get();
    if sent.is_ok() && persistent { Next::Again } else { Next::Close }
}

fn count(ongoing: &mut Ongoing, reason: Reason) {
    let stats = &ongoing.worker.stats;
    ongoing.under_way.end(reason);
    stats.client_bytes[1].add(ongoing.bytes_out);
    if let Some(status) = ongoing.status {
        stats.responses[usize::from(status / 100) - 1].add(1);
    }
    stats.duration.observe(ongoing.worker.core.reactor.clock().now() - ongoing.started);
}
