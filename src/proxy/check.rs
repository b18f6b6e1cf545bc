//! What becomes of a request, before anything is contacted for it: answer here, or forward.

use std::rc::Rc;
use std::sync::Arc;

use super::ahead;
use super::begin::{Parts, Received};
use super::core::{Chosen, LinkedAction, PageRequest};
use super::gate::{self, Gated};
use super::reply;
use super::session::Exchange;
use crate::config::{ExchangeSpec, Forward};
#[cfg(feature = "tls")]
use crate::http::Method;
use crate::http::{Framing, Name, Reason, Reply, path};
use crate::io::reactor::Direction;
use crate::policy::gate::AuthQuestion;
use crate::policy::{self, Verdict as Routed};
use crate::upstream::Pool;

/// What was decided.
pub(super) enum Verdict<'s> {
    /// It goes to an upstream.
    Forward(Admitted<'s>),
    /// It does once so many octets of its body have been read; then it is [admitted](admit) without being judged again.
    ReadAhead(Chosen, usize),
    /// Somebody has to be asked about it; then it is [judged](answered) again.
    Ask(Chosen, Arc<AuthQuestion>),
    /// It could not be read.
    Refuse(Reason),
    /// It is answered here, for this reason.
    Reply(Reason, Box<Reply>),
    /// It is answered with what the admin shows.
    Admin(Box<PageRequest>),
}

/// A request that may be forwarded; [`check`] and [`admit`] alone make one.
pub(super) struct Admitted<'s> {
    received: Received<'s>,
    /// Looked up again where it is needed: what every request carries along is kept small.
    route: Chosen,
}

/// Where a request goes, and how: what its route and its pool say.
#[derive(Clone, Copy)]
pub(super) struct Terms<'s> {
    /// To an upstream of this pool.
    pub pool: &'s Rc<Pool>,
    /// With which path.
    pub forward: &'s Forward,
    pub spec: &'s ExchangeSpec,
}

impl<'s> Admitted<'s> {
    /// What is known of the request.
    pub fn exchange(&self) -> &'s Exchange {
        self.received.exchange()
    }

    /// Where it goes, and how.
    pub fn terms(&self) -> Terms<'s> {
        self.exchange().epoch.terms(self.route)
    }

    /// As [`Received::parts`].
    pub fn parts(&mut self) -> Parts<'_> {
        self.received.parts()
    }
}

/// Judges the request by the plan.
pub(super) fn check(mut received: Received<'_>) -> Verdict<'_> {
    let exchange = received.exchange();
    let Exchange { worker, client, facts, request, epoch, chosen, .. } = exchange;
    // From here on the client is only waited for where the exchange says so.
    client.stream.no_deadline(Direction::Read);
    facts.request_read.set(request.framing == Framing::None);
    let head = received.parts().head;
    let refuse = |reason: Reason| {
        let reply = reply::refusal(exchange, reason.status().unwrap_or(500), reason, head);
        Verdict::Reply(reason, Box::new(reply))
    };
    #[cfg(feature = "tls")]
    if let Some(reply) = challenge_reply(exchange, head) {
        return Verdict::Reply(Reason::Responded, Box::new(reply));
    }
    let found = match epoch.first_matches_all() {
        true => Routed::Route(0),
        false => epoch.find(&exchange.match_input(head), &mut worker.scratch.borrow_mut()),
    };
    if !matches!(found, Routed::Route(_))
        && let Some(gate) = epoch.gate_of_unrouted()
        && !gate::admits_unrouted(exchange, head, gate)
    {
        return refuse(Reason::NetworkRefused);
    }
    let route = match found {
        Routed::Route(route) => epoch.choose(route),
        Routed::NoRoute => return refuse(Reason::NoRoute),
        Routed::AmbiguousPath => return refuse(Reason::AmbiguousPath),
        Routed::WrongMethod(methods) => {
            let reason = Reason::MethodNotAllowed;
            let mut reply = reply::refusal(exchange, 405, reason, head);
            reply.fields.retain(|(name, _)| *name != "Allow");
            reply.push("Allow", methods);
            return Verdict::Reply(reason, Box::new(reply));
        }
    };
    chosen.set(Some(route));
    beyond(received, route, &[])
}

/// The answer to an ACME server that validates a name (RFC 8555 section 8.3): it stands before all routes,
/// and before all that they demand.
#[cfg(feature = "tls")]
fn challenge_reply(exchange: &Exchange, head: &[u8]) -> Option<Reply> {
    let challenges = exchange.epoch.challenges()?;
    let (path, _) = exchange.match_input(head).path_and_query();
    let is_read = matches!(exchange.request.method, Method::Get | Method::Head);
    let text = challenges.key_authorization(path).filter(|_| is_read)?;
    Some(Reply::new(200, "application/octet-stream", text))
}

/// Judges a request again about which somebody was asked; `answered`: all that was answered so far.
pub(super) fn answered<'a>(
    received: Received<'a>,
    route: Chosen,
    answered: &[gate::Answered],
) -> Verdict<'a> {
    beyond(received, route, answered)
}

/// Judges the request by the route that it takes.
fn beyond<'a>(
    mut received: Received<'a>,
    route: Chosen,
    answered: &[gate::Answered],
) -> Verdict<'a> {
    let exchange = received.exchange();
    let Exchange { request, epoch, .. } = exchange;
    let head = received.parts().head;
    let refuse = |reason: Reason| {
        let reply = reply::refusal(exchange, reason.status().unwrap_or(500), reason, head);
        Verdict::Reply(reason, Box::new(reply))
    };
    if let Some(of_route) = epoch.gate(route) {
        match gate::judged(exchange, head, of_route, route, answered) {
            Gated::Pass => {}
            Gated::Ask(question) => return Verdict::Ask(route, question),
            Gated::Reply(reason, reply) => return Verdict::Reply(reason, reply),
        }
    }
    if !rules_fit(exchange, head) {
        return refuse(Reason::TargetTooLong);
    }
    let terms = match epoch.action(route) {
        LinkedAction::Forward(terms) => terms,
        LinkedAction::Redirect(redirect) => {
            return match policy::redirect(redirect, &exchange.values(head, "")) {
                Some(reply) => Verdict::Reply(Reason::Redirected, Box::new(reply)),
                None => refuse(Reason::TargetTooLong),
            };
        }
        LinkedAction::Admin => return Verdict::Admin(Box::new(page_request(exchange, head))),
        LinkedAction::Respond(respond) => {
            let rules = &exchange.spec().response_header;
            return match policy::respond(respond, rules, &exchange.values(head, "")) {
                Some(reply) => Verdict::Reply(Reason::Responded, Box::new(reply)),
                None => refuse(Reason::TargetTooLong),
            };
        }
    };
    match (request.framing, terms.spec.max_body) {
        (Framing::Length(length), Some(most)) if length > most => refuse(Reason::BodyTooLarge),
        _ => {
            let mut admitted = Admitted { received, route };
            match ahead::wanted(&mut admitted) {
                None => Verdict::Forward(admitted),
                Some(octets) => Verdict::ReadAhead(route, octets),
            }
        }
    }
}

/// A request that was judged, with more of its body read since.
pub(super) fn admit(received: Received<'_>, route: Chosen) -> Admitted<'_> {
    Admitted { received, route }
}

/// What the rules of its route put in for this request has room in a head.
fn rules_fit(exchange: &Exchange, head: &[u8]) -> bool {
    let spec = exchange.spec();
    let mut rules = [&spec.request_header, &spec.response_header].into_iter();
    rules.all(|rules| rules.lines.is_empty() || policy::fits(rules, &exchange.values(head, "")))
}

/// What to ask the admin for.
fn page_request(exchange: &Exchange, head: &[u8]) -> PageRequest {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let (path, query) = exchange.match_input(head).path_and_query();
    let accept = exchange.request.get(Name::Accept).map(|accept| accept.of(head));
    let mut scratch = Vec::new();
    PageRequest {
        method: exchange.request.method,
        // What was matched, and the pages are found by that.
        path: text(path::normal(path, &mut scratch).unwrap_or(path)),
        query: text(query.unwrap_or_default()),
        accept: text(accept.unwrap_or_default()),
    }
}
