//! A head lies in a pooled buffer, parsed and judged.

use super::session::Session;
use crate::http::{Progress, Reason};

/// What was found.
pub(super) enum Begin {
    /// A request: [`Begun::of`] is there to be checked.
    Request,
    /// No whole head yet; what there is stays in the input buffer.
    Nothing,
    /// The client closed, or broke, the connection between requests.
    Closed,
    /// Something that must be answered with a refusal.
    Refused(Reason),
}

/// A request whose head was judged good.
pub(super) struct Begun<'o>(&'o mut Session);

impl<'o> Begun<'o> {
    /// The request [`begin`] has just found.
    pub fn of(session: &'o mut Session) -> Begun<'o> {
        debug_assert!(session.used == session.heads.request.len && session.used > 0);
        Begun(session)
    }

    /// For the next step.
    pub fn into_inner(self) -> &'o mut Session {
        self.0
    }
}

/// Looks for a head in what was read, and reads more as long as there is more.
pub(super) fn begin(session: &mut Session) -> Begin {
    let worker = &session.worker;
    let input = &mut session.input;
    loop {
        if !input.is_empty() {
            match session.heads.request.read(input.filled(), &worker.limits) {
                Ok(Progress::Complete) => {
                    session.begin(session.heads.request.len);
                    return Begin::Request;
                }
                Ok(Progress::Partial) => {}
                Err(reason) => return refuse(session, reason),
            }
        }
        if input.spare().is_empty() {
            input.compact();
        }
        if session.client.stream.is_readable() {
            match session.client.stream.try_recv(input, usize::MAX) {
                Ok(Some(0)) | Err(_) => return Begin::Closed,
                Ok(Some(n)) => {
                    worker.stats.client_received.add(n as u64);
                    continue;
                }
                Ok(None) => {}
            }
        }
        // Only now: what came in time may have waited for us.
        let late = !input.is_empty() && worker.late(session.facts.started.get());
        return if late { refuse(session, Reason::HeadTimeout) } else { Begin::Nothing };
    }
}

/// What cannot be understood is taken for one request that fills all that came.
fn refuse(session: &mut Session, reason: Reason) -> Begin {
    session.begin(session.input.len());
    Begin::Refused(reason)
}
