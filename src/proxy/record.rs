//! What is written down about a request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::ongoing::Ongoing;
use crate::http::{Name, Reason, Span, Version};
use crate::stats::{Attempt, Record};

/// Octets of a line that could not be read as a request that are kept.
const LINE_MOST: usize = 256;
/// Octets kept of a target, and of any other text: so the queue of records has a bound in octets, too.
const TARGET_MOST: usize = 4096;
const FIELD_MOST: usize = 512;

/// The record of a request that has ended, if anybody wants one.
pub(super) fn of(ongoing: &mut Ongoing, reason: Reason) -> Option<Box<Record>> {
    ongoing.worker.recorder.is_some().then(|| Box::new(record(ongoing, reason)))
}

fn record(ongoing: &mut Ongoing, reason: Reason) -> Record {
    let clock = ongoing.worker.core.reactor.clock();
    let total = clock.now() - ongoing.started;
    let time = clock.realtime().checked_sub(total).unwrap_or(UNIX_EPOCH);
    let mut attempts = std::mem::take(&mut ongoing.attempts);
    let failed_to_connect =
        |upstream| ongoing.tried.last().is_some_and(|last| Rc::ptr_eq(last, upstream));
    if let Some(upstream) = &ongoing.upstream
        && !failed_to_connect(upstream)
    {
        attempts.push(Attempt {
            upstream: Arc::clone(upstream.name()),
            reused: ongoing.reused,
            outcome: reason.label(),
            cause: ongoing.cause.take().map(|cause| cause.to_string()),
        });
    }
    let request = &ongoing.heads.request;
    let octets = ongoing.input.filled();
    let text = |span: Span, most: usize| {
        let octets = span.of(octets);
        String::from_utf8_lossy(&octets[..octets.len().min(most)]).into_owned()
    };
    let field = |name| request.get(name).map(|span| text(span, FIELD_MOST)).unwrap_or_default();
    let readable = !request.target.is_empty();
    Record {
        time,
        id: String::from_utf8_lossy(ongoing.id()).into_owned(),
        peer: ongoing.client.peer,
        method: text(request.method_text, FIELD_MOST),
        host: text(request.host, FIELD_MOST),
        target: if readable { text(request.target, TARGET_MOST) } else { first_line(octets) },
        minor: u8::from(request.version == Version::Http11),
        status: ongoing.status.or(reason.status()).unwrap_or(0),
        bytes_in: ongoing.bytes_in,
        bytes_out: ongoing.bytes_out,
        total,
        connect: ongoing.connect,
        first_byte: ongoing.first_byte,
        reason: reason.label(),
        user_agent: field(Name::UserAgent),
        referer: field(Name::Referer),
        attempts,
    }
}

/// The beginning of what was refused before it could be read.
fn first_line(octets: &[u8]) -> String {
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(LINE_MOST)]).trim_end().to_owned()
}
