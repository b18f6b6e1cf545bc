//! The answers of our own, on their way out.

use super::Next;
use super::facts::{self, AnswerState};
use super::session::{Exchange, Session, written};
use crate::http::{Method, Reason, Reply, ReplyEdits};

/// Says why the request known as `id` is refused.
pub(super) fn refusal(status: u16, reason: Reason, id: &[u8]) -> Reply {
    Reply::refusal(status, reason, &String::from_utf8_lossy(id))
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
    let edits = ReplyEdits { date: &date, request_id: Some(session.id()), persistent };
    let permit = quota.permit().await;
    let Ok(out) = written(permit.take(), epoch.head_most(), |out| reply.head(out, &edits)) else {
        return Next::Close; // a buffer holds the longest of our heads many times over
    };
    facts.answers(reply.status, AnswerState::Body);
    facts::add(&facts.heads_out, out.len() as u64);
    let body = match request.method {
        Method::Head => &[],
        _ => reply.body.as_bytes(),
    };
    let parts = [body, &[], &[], &[]];
    let wait = epoch.plan.route.timeouts.write;
    match client.stream.send_with(out, parts, wait, &facts.bytes_out).await.0 {
        Ok(()) if persistent => Next::Again,
        _ => Next::Close,
    }
}
