//! A head lies in the input buffer, parsed and judged.

use super::client::Client;
use super::core::{Epoch, Worker};
use super::session::{Exchange, Session, Used};
use crate::http::{Progress, Reason, Response, proxy_protocol};

/// The result of [`begin`].
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

/// A request that was read and judged; [`begin`] and [`received`] alone make one.
pub(super) struct Received<'s> {
    exchange: &'s Exchange,
    /// What was read: the head, and what came with it.
    octets: &'s mut [u8],
    used: &'s mut Used,
    response: &'s mut Response,
}

/// A request taken apart for the exchange.
pub(super) struct Parts<'s> {
    /// The octets of its head.
    pub head: &'s [u8],
    /// What was read behind that.
    pub rest: &'s mut [u8],
    /// How much of that is the request's.
    pub used: &'s mut Used,
    /// Storage for the head of the answer.
    pub response: &'s mut Response,
}

impl<'s> Received<'s> {
    /// What is known of the request.
    pub fn exchange(&self) -> &'s Exchange {
        self.exchange
    }

    /// The octets of the request, and what belongs to them.
    pub fn parts(&mut self) -> Parts<'_> {
        let (head, rest) = self.octets.split_at_mut(self.used.head);
        Parts { head, rest, used: self.used, response: self.response }
    }
}

/// Looks for a head in what was read, and reads more as long as there is more. The plan in force now holds to the end.
pub(super) fn begin(session: &mut Session) -> Begin<'_> {
    let Exchange { worker, epoch, client, .. } = &mut session.exchange;
    *epoch = worker.epoch();
    client.judge(epoch);
    match find(session) {
        Found::Head => {
            session.begin(session.exchange.request.len);
            Begin::Received(received(session))
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

/// The request that was begun, with all that was read behind its head by now.
pub(super) fn received(session: &mut Session) -> Received<'_> {
    let Session { exchange, input, used, response, .. } = session;
    Received { exchange, octets: input.filled_mut(), used, response }
}

/// Reads the header of the PROXY protocol in front of `octets`, and says how many are its own; 0: it has not come
/// whole. `None`: it is none, or of a client that has as many connections as it may have.
#[cold]
#[inline(never)]
pub(super) fn announced(
    worker: &Worker,
    epoch: &Epoch,
    client: &mut Client,
    octets: &[u8],
) -> Option<usize> {
    let header = match proxy_protocol::read(octets) {
        Ok(proxy_protocol::Progress::Partial) => return Some(0),
        Ok(proxy_protocol::Progress::Complete(header)) => header,
        Err(error) => {
            worker.stats.proxy_header_refused.add(1);
            if let Some(peer) = client.peer.filter(|_| worker.bad_proxy_header.is_due(worker.now()))
            {
                let (cause, why) = (error.label(), error.explain());
                tracing::warn!(%peer, cause, why, "closed: the PROXY header is missing or wrong");
            }
            return None;
        }
    };
    client.announced(header.source, epoch);
    // Who names nobody is the proxy itself, which checks our health so: no bound shuts it out.
    let listener = &epoch.plan.listener;
    let is_admitted =
        header.source.is_none() || client.take_permit(&worker.client_permits, listener);
    worker.stats.client_refused.add(u64::from(!is_admitted));
    is_admitted.then_some(header.len)
}

enum Found {
    Head,
    Nothing,
    Closed,
    Bad(Reason),
}

fn find(session: &mut Session) -> Found {
    let Session { exchange: Exchange { worker, epoch, client, request, facts, .. }, input, .. } =
        session;
    let limits = &epoch.plan.listener.limits;
    loop {
        if client.awaits_header {
            match announced(worker, epoch, client, input.filled()) {
                Some(used) => input.consume(used),
                None => return Found::Closed,
            }
        }
        if !client.awaits_header && !input.is_empty() {
            match request.read(input.filled(), limits) {
                Ok(Progress::Complete) => return Found::Head,
                Ok(Progress::Partial) => {}
                Err(reason) => return Found::Bad(reason),
            }
        }
        if input.spare().is_empty() {
            input.make_room(limits.head);
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
        if late && client.awaits_header {
            return Found::Closed; // nobody there speaks HTTP yet
        }
        return if late { Found::Bad(Reason::HeadTimeout) } else { Found::Nothing };
    }
}
