//! The answers of our own, on their way out.

use super::Next;
use super::facts::{self, Stage};
use super::session::{Exchange, Session, written};
use crate::http::{Method, Reason, Reply, ReplyEdits};

/// Says why the request known as `id` is refused.
pub(super) fn refusal(status: u16, reason: Reason, id: &[u8]) -> Reply {
    Reply::refusal(status, reason, &String::from_utf8_lossy(id))
}

/// Sends `reply` to a client that has not been answered.
pub(super) async fn send(session: &Session, reply: &Reply) -> Next {
    let Exchange { worker, client, quota, request, facts, epoch, .. } = &session.exchange;
    let persistent = facts.request_read.get() && request.persistent && !worker.draining.get();
    let date = worker.date();
    let edits = ReplyEdits { date: &date, request_id: Some(session.id()), persistent };
    let permit = quota.permit().await;
    let Ok(mut out) = written(permit.take(), epoch.head_most(), |out| reply.head(out, &edits))
    else {
        return Next::Close; // a buffer holds the longest of our heads many times over
    };
    facts.answers(reply.status, Stage::Body);
    facts::add(&facts.heads_out, out.len() as u64);
    let mut body = match request.method {
        Method::Head => &[],
        _ => reply.body.as_bytes(),
    };
    loop {
        let n = body.len().min(out.spare().len());
        let _fits = out.append(&body[..n]);
        body = &body[n..];
        let sent;
        (sent, out) =
            client.stream.send(out, epoch.plan.route.timeouts.write, &facts.bytes_out).await;
        if sent.is_err() {
            return Next::Close;
        }
        if body.is_empty() {
            return if persistent { Next::Again } else { Next::Close };
        }
    }
}
