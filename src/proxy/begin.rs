//! A head lies in the input buffer, parsed and judged.

use super::session::{Exchange, Rest, Session};
use crate::http::{Progress, Reason, Response};

/// What was found.
pub(super) enum Begin<'s> {
    /// A request whose head was judged good.
    Received(Received<'s>),
    /// No whole head yet; what there is stays in the input buffer.
    Nothing,
    /// The client closed, or broke, the connection between requests.
    Closed,
    /// Something that must be answered with a refusal.
    Refused(Reason),
}

/// A request that was read and judged; [`begin`] alone makes one.
pub(super) struct Received<'s> {
    exchange: Exchange<'s>,
    rest: Rest<'s>,
    response: &'s mut Response,
}

impl<'s> Received<'s> {
    /// What is known of the request.
    pub fn exchange(&self) -> Exchange<'s> {
        self.exchange
    }

    /// What was read behind its head, and the storage for the head of its answer.
    pub fn parts(&mut self) -> (&mut Rest<'s>, &mut Response) {
        (&mut self.rest, self.response)
    }
}

/// Looks for a head in what was read, and reads more as long as there is more.
pub(super) fn begin(session: &mut Session) -> Begin<'_> {
    match find(session) {
        Found::Head => {
            session.begin(session.heads.request.len);
            let (exchange, rest, response) = session.parts();
            Begin::Received(Received { exchange, rest, response })
        }
        Found::Nothing => Begin::Nothing,
        Found::Closed => Begin::Closed,
        // What cannot be understood is taken for one request that fills all that came.
        Found::Bad(reason) => {
            session.begin(session.input.len());
            Begin::Refused(reason)
        }
    }
}

enum Found {
    Head,
    Nothing,
    Closed,
    Bad(Reason),
}

fn find(session: &mut Session) -> Found {
    let Session { worker, client, input, heads, facts, .. } = session;
    loop {
        if !input.is_empty() {
            match heads.request.read(input.filled(), &worker.limits) {
                Ok(Progress::Complete) => return Found::Head,
                Ok(Progress::Partial) => {}
                Err(reason) => return Found::Bad(reason),
            }
        }
        if input.spare().is_empty() {
            input.compact();
        }
        if client.stream.is_readable() {
            match client.stream.try_recv(input, usize::MAX) {
                Ok(Some(0)) | Err(_) => return Found::Closed,
                Ok(Some(n)) => {
                    worker.stats.client_received.add(n as u64);
                    continue;
                }
                Ok(None) => {}
            }
        }
        // Only now: what came in time may have waited for us.
        let late = !input.is_empty() && worker.late(facts.started.get());
        return if late { Found::Bad(Reason::HeadTimeout) } else { Found::Nothing };
    }
}
