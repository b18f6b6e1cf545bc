//! What becomes of a request, before anything is contacted for it: answer here, or forward.

use std::rc::Rc;

use super::begin::{Parts, Received};
use super::reply;
use super::session::Exchange;
use crate::config::RouteAction;
use crate::http::{Framing, Reason, Reply};
use crate::io::reactor::Direction;
use crate::policy::{self, Verdict as Routed};
use crate::upstream::Pool;

/// What was decided.
pub(super) enum Verdict<'s> {
    /// It goes to an upstream.
    Forward(Admitted<'s>),
    /// It is answered here, for this reason.
    Reply(Reason, Box<Reply>),
}

/// A request that may be forwarded; [`check`] alone makes one.
pub(super) struct Admitted<'s> {
    received: Received<'s>,
    /// To an upstream of this pool.
    pool: &'s Rc<Pool>,
}

impl<'s> Admitted<'s> {
    /// What is known of the request.
    pub fn exchange(&self) -> &'s Exchange {
        self.received.exchange()
    }

    /// Where it goes.
    pub fn pool(&self) -> &'s Rc<Pool> {
        self.pool
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
    let route = match epoch.find(&exchange.asked(head), &mut worker.scratch.borrow_mut()) {
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
    match &epoch.route(route).action {
        RouteAction::Forward(_) => {}
        RouteAction::Redirect(redirect) => {
            let reply = policy::redirect(redirect, &exchange.values(head, ""));
            return Verdict::Reply(Reason::Redirected, Box::new(reply));
        }
        RouteAction::Respond(respond) => {
            let reply = policy::respond(respond, &exchange.values(head, ""));
            return Verdict::Reply(Reason::Responded, Box::new(reply));
        }
    }
    match (request.framing, exchange.spec().max_body) {
        (Framing::Length(length), Some(most)) if length > most => {
            return refuse(Reason::BodyTooLarge);
        }
        _ => {}
    }
    match epoch.pool(route) {
        Some(pool) => Verdict::Forward(Admitted { received, pool }),
        None => refuse(Reason::NoUpstream), // a route without a pool is no plan's
    }
}
