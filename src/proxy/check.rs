//! What becomes of a request, before anything is contacted for it: answer here, or forward.

use super::begin::{Parts, Received};
use super::reply;
use super::session::Exchange;
use crate::http::{Framing, Reason, Reply};
use crate::io::reactor::Direction;

/// What was decided.
pub(super) enum Verdict<'s> {
    /// It goes to an upstream.
    Forward(Admitted<'s>),
    /// It is answered here, for this reason.
    Reply(Reason, Box<Reply>),
}

/// A request that may be forwarded; [`check`] alone makes one.
pub(super) struct Admitted<'s>(Received<'s>);

impl<'s> Admitted<'s> {
    /// What is known of the request.
    pub fn exchange(&self) -> &'s Exchange {
        self.0.exchange()
    }

    /// As [`Received::parts`].
    pub fn parts(&mut self) -> Parts<'_> {
        self.0.parts()
    }
}

/// Judges the request by the plan.
pub(super) fn check(received: Received<'_>) -> Verdict<'_> {
    let Exchange { client, facts, request, epoch, .. } = received.exchange();
    // From here on the client is only waited for where the exchange says so.
    client.stream.no_deadline(Direction::Read);
    facts.request_read.set(request.framing == Framing::None);
    match (request.framing, epoch.plan.route.max_body) {
        (Framing::Length(length), Some(most)) if length > most => {
            let reason = Reason::BodyTooLarge;
            Verdict::Reply(reason, Box::new(reply::refusal(413, reason, received.id())))
        }
        _ => Verdict::Forward(Admitted(received)),
    }
}
