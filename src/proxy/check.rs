//! What becomes of a request, before anything is contacted for it: answer here, or forward.

use super::begin::Begun;
use super::session::Session;
use crate::http::{Framing, Reason};
use crate::io::reactor::Direction;

/// A request that may be forwarded.
pub(super) struct Checked<'o>(&'o mut Session);

impl<'o> Checked<'o> {
    /// For the next step.
    pub fn into_inner(self) -> &'o mut Session {
        self.0
    }

    /// The same request again, after an attempt that left no trace.
    pub fn again(session: &'o mut Session) -> Checked<'o> {
        Checked(session)
    }
}

/// Judges the request by the plan.
pub(super) fn check(begun: Begun<'_>) -> Result<Checked<'_>, Reason> {
    let session = begun.into_inner();
    let request = &session.heads.request;
    // From here on the client is only waited for where the exchange says so.
    session.client.stream.no_deadline(Direction::Read);
    session.facts.request_read.set(request.framing == Framing::None);
    match (request.framing, session.epoch.plan.limits.body) {
        (Framing::Length(length), Some(most)) if length > most => Err(Reason::BodyTooLarge),
        _ => Ok(Checked(session)),
    }
}
