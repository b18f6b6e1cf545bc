//! The answers of our own, on their way out.

use std::time::Duration;

use futures_lite::FutureExt;

use super::Next;
use super::core::{Event, PageRequest, PageSlot, Worker};
use super::facts::{self, AnswerState};
use super::finish::Ended;
use super::gate;
use super::session::{Exchange, Session, written};
use crate::config::{ErrorPage, LINES_MOST};
use crate::http::forward::FieldEdits;
use crate::http::{Method, Name, Reason, RefusalForm, Reply, ReplyEdits};
use crate::policy;

/// How long a page of the admin may take.
const PAGE: Duration = Duration::from_secs(5);

/// Says why the request is refused. `head`: the octets of its head.
pub(super) fn refusal(exchange: &Exchange, status: u16, reason: Reason, head: &[u8]) -> Reply {
    let id = String::from_utf8_lossy(exchange.id(head));
    let accept = exchange.request.get(Name::Accept).map(|accept| accept.of(head));
    let form = RefusalForm::accepted(accept.unwrap_or_default());
    let mut reply = Reply::refusal(status, reason, &id, form);
    if let seconds @ 1.. = exchange.facts.retry_after.get() {
        reply.fields.retain(|(name, _)| *name != "Retry-After");
        reply.push("Retry-After", seconds.to_string());
    }
    let is_for = |page: &&ErrorPage| (page.statuses.0..=page.statuses.1).contains(&status);
    match exchange.spec().error_pages.iter().find(is_for) {
        Some(page) => reply.with_body(page.kind, page.body.to_string()),
        None => reply,
    }
}

/// What the admin shows: asked of the control plane, which answers between other things.
pub(super) async fn page(worker: &Worker, request: Box<PageRequest>) -> Ended {
    let (reply, page) = flume::bounded(1);
    worker.report(Event::Page(request, PageSlot { core: worker.core.index, reply }));
    let late = async {
        let _ = worker.core.sleep(PAGE).await;
        Err(flume::RecvError::Disconnected)
    };
    match page.recv_async().or(late).await {
        Ok(reply) => Ended::Reply(Reason::Responded, Box::new(reply)),
        Err(_) => Ended::Failed(Reason::AdminBusy),
    }
}

/// The field lines that rules put into it.
fn lines(session: &Session, reply: &Reply) -> Vec<u8> {
    let rules = &session.exchange.spec().response_header;
    let mut lines = Vec::new();
    if !rules.lines.is_empty() {
        let values = session.exchange.values(session.input.filled(), "");
        lines = match policy::fits(rules, &values) {
            true => policy::lines(rules, &values, false),
            // The request is refused, for this or before anybody looked.
            false => policy::fixed_lines(rules),
        };
    }
    if let Some(of_route) = session.exchange.gate() {
        let is_it = |other: &str, name: &str| other.eq_ignore_ascii_case(name);
        let present = |name: &str| {
            reply.fields.iter().any(|(own, _)| is_it(own, name))
                || rules.lines.iter().any(|line| is_it(&line.name, name))
        };
        gate::lines(&session.exchange, of_route, present, &mut lines);
    }
    lines
}

/// Sends `reply` to a client that has not been answered.
pub(super) async fn send(session: &Session, reply: &Reply) -> Next {
    let Exchange { worker, client, quota, request, facts, epoch, .. } = &session.exchange;
    let behind = session.input.len() > session.used();
    let persistent = facts.request_read.get()
        && request.persistent
        && !worker.draining.get()
        && !session.exchange.is_followed_by_another_protocol(behind);
    let date = worker.date();
    let spec = session.exchange.spec();
    let lines = lines(session, reply);
    let fields = FieldEdits { removed: [&spec.response_header.removed, &[]], lines: &lines };
    let edits = ReplyEdits { date: &date, request_id: Some(session.id()), persistent, fields };
    let permit = quota.permit().await;
    // Where a redirect leads may be as long as all lines of the rules.
    let most = epoch.head_most() + lines.len() + LINES_MOST;
    let Ok(out) = written(permit.take(), most, |out| reply.head(out, &edits)) else {
        return Next::Close; // that holds the longest of our heads many times over
    };
    facts.answers(reply.status, AnswerState::Body);
    facts::add(&facts.heads_out, out.len() as u64);
    let body: &[u8] = match request.method {
        _ if reply.status == 204 => &[],
        Method::Head => &[],
        _ => &reply.body,
    };
    let parts = [body, &[], &[], &[]];
    let wait = spec.timeouts.write;
    match client.stream.send_with(out, parts, wait, &facts.bytes_out).await.0 {
        Ok(()) if persistent => Next::Again,
        _ => Next::Close,
    }
}
