//! Whether the gate of its route lets a request through.

use futures_lite::FutureExt;
use std::sync::Arc;

use super::core::{AnswerSlot, Chosen, Event, Worker};
use super::reply;
use super::session::Exchange;
use crate::http::{Reason, Reply};
use crate::io::clock::Moment;
use crate::policy::gate::{
    Answer, AuthQuestion, GateFacts, Identity, JudgedAt, LinkedGate, LocalReply, Ruling, judge,
    readable, serves,
};
use crate::policy::security_lines;
use crate::stats::AuditEvent;

/// Octets of a text of the client's that the audit log has.
const TEXT_MOST: usize = 512;

/// What the gate says.
pub(super) enum Gated {
    Pass,
    /// Somebody has to be asked first.
    Ask(Arc<AuthQuestion>),
    /// It is answered here, for this reason.
    Reply(Reason, Box<Reply>),
}

/// A question, and what was answered.
pub(super) type Answered = (Arc<AuthQuestion>, Answer);

/// Judges the request by `gate`, and notes what there is to tell of it.
#[cold]
#[inline(never)]
pub(super) fn judged(
    exchange: &Exchange,
    head: &[u8],
    gate: &LinkedGate,
    chosen: Chosen,
    answered: &[Answered],
) -> Gated {
    let Exchange { worker, facts, epoch, .. } = exchange;
    let clock = worker.core.reactor.clock();
    let at = JudgedAt { now: clock.now() - Moment::default(), unix_s: clock.unix_s() };
    let route = &epoch.route(chosen).name;
    match judge(gate, &exchange.match_input(head), route, at, answered) {
        Ruling::Pass(found) => {
            let _ = facts.gate.set(Box::new(found));
            Gated::Pass
        }
        Ruling::Ask(question) => Gated::Ask(question),
        Ruling::Reply(LocalReply { reason, detail, reply, fields, facts: found }) => {
            use Reason::{AmbiguousCredentials, AuthRefused, BadCredentials};
            use Reason::{ClientCertificateRequired, RoleMissing};
            if matches!(
                reason,
                AmbiguousCredentials
                    | AuthRefused
                    | BadCredentials
                    | ClientCertificateRequired
                    | RoleMissing
            ) {
                let (who, why) = (found.user().map(|who| &**who), (reason, detail));
                worker.audit(|| refused_credentials(exchange, head, route, who, why));
            }
            let _ = facts.gate.set(Box::new(found));
            let status = reason.status().unwrap_or(204);
            let reply = reply.unwrap_or_else(|| {
                let mut reply = match reason {
                    Reason::PreflightAnswered => Reply::empty(status),
                    _ => reply::refusal(exchange, status, reason, head),
                };
                for (name, value) in fields {
                    reply.push(name, value);
                }
                reply
            });
            Gated::Reply(reason, Box::new(reply))
        }
    }
}

/// Whether clients of this address are served, for a request that no route takes. Notes by which fields scripts may
/// read the answer.
#[cold]
#[inline(never)]
pub(super) fn admits_unrouted(exchange: &Exchange, head: &[u8], gate: &LinkedGate) -> bool {
    let input = exchange.match_input(head);
    let found = GateFacts { lines: readable(gate, &input), ..GateFacts::default() };
    let _ = exchange.facts.gate.set(Box::new(found));
    serves(gate, &input)
}

/// For the audit log.
fn refused_credentials(
    exchange: &Exchange,
    head: &[u8],
    route: &Arc<str>,
    who: Option<&Identity>,
    (reason, detail): (Reason, &'static str),
) -> AuditEvent {
    let text = |octets: &[u8]| {
        String::from_utf8_lossy(&octets[..octets.len().min(TEXT_MOST)]).into_owned()
    };
    let input = exchange.match_input(head);
    AuditEvent::Credentials {
        id: text(exchange.id(head)),
        client: input.client(),
        route: Arc::clone(route),
        who: who.map_or_else(Arc::default, |who| Arc::clone(&who.name)),
        method: text(input.method),
        host: text(input.host()),
        path: text(input.path_and_query().0),
        reason: reason.label(),
        detail,
    }
}

/// Has the control plane ask, which does so between other things, and waits for the answer.
pub(super) async fn ask(worker: &Worker, question: &Arc<AuthQuestion>) -> Answer {
    let (reply, answer) = flume::bounded(1);
    let slot = AnswerSlot { core: worker.core.index, reply };
    worker.report(Event::Ask(Arc::clone(question), slot));
    let late = async {
        let _ = worker.core.sleep(question.patience()).await;
        Err(flume::RecvError::Disconnected)
    };
    answer.recv_async().or(late).await.unwrap_or(Answer::Unavailable)
}

/// The field lines that the gate puts into an answer. `present`: the answer has a field of this name.
#[cold]
#[inline(never)]
pub(super) fn lines(
    exchange: &Exchange,
    gate: &LinkedGate,
    present: impl Fn(&str) -> bool,
    out: &mut Vec<u8>,
) {
    if let Some(found) = exchange.facts.gate.get() {
        out.extend_from_slice(&found.lines);
        if let Some(standing) = &found.nearest {
            standing.write(out);
        }
    }
    if gate.spec.security_headers {
        security_lines(present, exchange.client.stream.is_secure(), out);
    }
}
