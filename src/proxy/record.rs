//! What is written down about a request.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::check::Terms;
use super::core::LinkedAction;
use super::decide::WhyNot;
use super::session::{Exchange, Session};
use crate::http::{Name, Reason, Span, Version, userinfo};
use crate::stats::{Attempt, Record};

/// Octets of a line that could not be read as a request that are kept.
const LINE_MOST: usize = 256;
/// Octets kept of a target, and of any other text: so the queue of records has a bound in octets, too.
const TARGET_MOST: usize = 4096;
const FIELD_MOST: usize = 512;

/// The record of a request that has ended, if anybody wants one.
pub(super) fn of(session: &Session, reason: Reason) -> Option<Box<Record>> {
    session.exchange.worker.recorder.is_some().then(|| Box::new(record(session, reason)))
}

fn record(session: &Session, reason: Reason) -> Record {
    let clock = session.exchange.worker.core.reactor.clock();
    let facts = &session.exchange.facts;
    let total = clock.now() - facts.started.get();
    let time = clock.realtime().checked_sub(total).unwrap_or(UNIX_EPOCH);
    let mut attempts = facts.attempts.take();
    if let Some(upstream) = facts.upstream.take() {
        attempts.push(Attempt {
            upstream: Arc::clone(upstream.name()),
            reused: facts.reused.get(),
            outcome: reason.label(),
            cause: facts.cause.get().map(|cause| cause.to_string()),
            again: facts.not_again.get().map_or("", WhyNot::label),
        });
    }
    let request = &session.exchange.request;
    let octets = session.input.filled();
    let text = |span: Span, most: usize| {
        let octets = span.of(octets);
        String::from_utf8_lossy(&octets[..octets.len().min(most)]).into_owned()
    };
    let field = |name| request.get(name).map(|span| text(span, FIELD_MOST)).unwrap_or_default();
    let target = match request.target {
        target if target.is_empty() => first_line(octets),
        target => url(target.of(octets), TARGET_MOST),
    };
    let referer = request.get(Name::Referer).map(|referer| url(referer.of(octets), FIELD_MOST));
    let Exchange { chosen, epoch, .. } = &session.exchange;
    let route = chosen.get().map(|chosen| &epoch.route(chosen).name);
    let pool = chosen.get().and_then(|chosen| match epoch.action(chosen) {
        LinkedAction::Forward(Terms { pool, .. }) => Some(pool.name()),
        _ => None,
    });
    let found = facts.gate.get();
    let who = found.and_then(|found| found.user());
    let limit = found.and_then(|found| found.refused_by.as_ref());
    Record {
        time,
        id: String::from_utf8_lossy(session.id()).into_owned(),
        peer: session.exchange.client.peer,
        scheme: if session.exchange.client.stream.is_secure() { "https" } else { "http" },
        method: text(request.method_text, FIELD_MOST),
        host: text(request.host, FIELD_MOST),
        target,
        minor: u8::from(request.version == Version::Http11),
        status: facts.status.get().or(reason.status()).unwrap_or(0),
        bytes_in: facts.bytes_in.get(),
        bytes_out: facts.bytes_out.get(),
        heads_out: facts.heads_out.get(),
        total,
        queued: facts.queued.get(),
        connect: facts.connect.get(),
        first_byte: facts.first_byte.get(),
        route: route.map_or_else(Arc::default, Arc::clone),
        pool: pool.map_or_else(Arc::default, Arc::clone),
        auth: who.map_or_else(Arc::default, |who| Arc::clone(&who.name)),
        limit: limit.map_or_else(Arc::default, |one| Arc::clone(&one.limit.spec.name)),
        reason: reason.label(),
        user_agent: field(Name::UserAgent),
        referer: referer.unwrap_or_default(),
        attempts,
    }
}

/// The beginning of what was refused before it could be read.
fn first_line(octets: &[u8]) -> String {
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    url(line, LINE_MOST).trim_end().to_owned()
}

/// What may have a URL in it, without user and password: a request that has them is refused, and logged all the same.
fn url(octets: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(octets);
    let mut text = userinfo::hide(&text).into_owned();
    text.truncate((0..=most.min(text.len())).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0));
    text
}
