//! Attempt after attempt, until the client has an answer or none is left. What an attempt came to is noted here: by the
//! lease, by the upstream's state, and in the facts of the request.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use super::check::{Admitted, Terms};
use super::decide::{self, Again, Attempted};
use super::dial::{Undialled, dial};
use super::exchange::{Delivered, Undelivered, exchange};
use super::facts::Facts;
use super::session::Exchange;
use crate::http::{Framing, Reason};
use crate::io::Error;
use crate::stats;
use crate::upstream::{Lease, Outcome, Pick, Upstream};

/// Forwards the request to one upstream after the other: at most `retries` more than one, and once more to one whose
/// idle connection had died.
pub(super) async fn attempts(mut admitted: Admitted<'_>) -> Result<Delivered, Reason> {
    let mut attempts = Attempts::default();
    loop {
        let lease = attempts.pick(&admitted)?;
        let fresh = attempts.again.is_some();
        let dialled = match dial(admitted, lease, fresh).await {
            Ok(dialled) => dialled,
            Err(undialled) => {
                admitted = attempts.undialled(*undialled)?;
                continue;
            }
        };
        // Pinned where it is made: awaited as it stands, its two KiB would be moved twice.
        let exchange = pin!(exchange(dialled));
        match exchange.await {
            Ok(delivered) => return Ok(delivered),
            Err(undelivered) => admitted = attempts.undelivered(undelivered)?,
        }
    }
}

/// The state that earlier attempts leave to the next.
#[derive(Default)]
struct Attempts {
    /// Upstreams that could not be connected to, or that failed the request and are not asked again.
    tried: Vec<Rc<Upstream>>,
    /// The request is sent again: only a fresh connection will do.
    again: Option<Again>,
    /// The upstream of the last attempt, once it is sent again there.
    here: Option<Rc<Upstream>>,
}

impl Attempts {
    /// The upstream to ask now.
    fn pick(&mut self, admitted: &Admitted<'_>) -> Result<Lease, Reason> {
        let Exchange { worker, facts, .. } = admitted.exchange();
        let Terms { pool, spec, .. } = admitted.terms();
        let again = self.again.is_some();
        // Only the connection was stale; another upstream is asked if this one has been found dead meanwhile.
        let here = self.here.take().filter(|here| here.works() || spec.retry.most == 0);
        let lease = match here {
            Some(here) => Some(pool.lease(&here)),
            None => {
                let wait = spec.timeouts.connect;
                pool.pick(&Pick { tried: &self.tried, again, now: worker.now(), wait })
            }
        };
        let lease = lease.ok_or(Reason::NoUpstream)?;
        facts.upstream.set(Some(Rc::clone(lease.upstream())));
        Ok(lease)
    }

    /// No connection could be made. The request itself, if there is another attempt.
    fn undialled<'s>(&mut self, undialled: Undialled<'s>) -> Result<Admitted<'s>, Reason> {
        let Undialled { admitted, lease, refusal } = undialled;
        let Exchange { worker, facts, .. } = admitted.exchange();
        let upstream = Rc::clone(lease.upstream());
        lease.end(Outcome::Failed(refusal.reason));
        if matches!(refusal.reason, Reason::NoDescriptors | Reason::Stopped) {
            return Err(refusal.reason); // that was not the upstream, and another would not help
        }
        worker.report_down(&upstream, &refusal);
        note(facts, &upstream, false, refusal.reason, refusal.cause);
        let reason = match refusal.reason {
            Reason::ConnectTimeout => Reason::ConnectTimeout, // 504 says more than 503
            _ => Reason::NoUpstream,
        };
        let last = self.tried.len() >= admitted.terms().spec.retry.most as usize;
        self.tried.push(upstream);
        if last {
            return Err(reason);
        }
        worker.stats.retries.add(1);
        Ok(admitted)
    }

    /// There was no answer, or not all of one. The request itself, if it may be sent again.
    fn undelivered<'s>(
        &mut self,
        undelivered: Box<Undelivered<'s>>,
    ) -> Result<Admitted<'s>, Reason> {
        let again = decide::again(self.attempted(&undelivered));
        let Undelivered { admitted, lease, connection, error, .. } = *undelivered;
        let Exchange { worker, facts, .. } = admitted.exchange();
        let upstream = Rc::clone(lease.upstream());
        lease.end(Outcome::Failed(error.reason));
        match again {
            None => {
                facts.cause.set(error.cause);
                return Err(error.reason);
            }
            Some(Again::Here) => worker.stats.replays.add(1),
            Some(Again::Elsewhere) => worker.stats.retries.add(1),
        }
        note(facts, &upstream, connection.reused, error.reason, error.cause);
        match again {
            Some(Again::Here) => self.here = Some(upstream),
            _ => self.tried.push(upstream),
        }
        self.again = again;
        Ok(admitted)
    }

    /// What the decision to send the request again rests on.
    fn attempted(&self, undelivered: &Undelivered<'_>) -> Attempted {
        let Undelivered { admitted, lease, connection, sent, behind, error } = undelivered;
        let request = &admitted.exchange().request;
        let Terms { pool, spec, .. } = admitted.terms();
        let whole = match request.framing {
            Framing::None => true,
            Framing::Length(length) => *behind as u64 >= length,
            // Decoding has changed the octets in the buffer.
            Framing::Chunked | Framing::UntilClose => false,
        };
        // If the upstream closed in order and its kernel had acknowledged nothing of the request by then, its
        // program never saw it.
        let unseen =
            || error.reason == Reason::UpstreamClosed && connection.stream.is_unacknowledged(*sent);
        Attempted {
            unanswered: error.silent,
            whole,
            // The kernel is asked only where it matters.
            repeatable: error.silent && whole && (request.method.is_idempotent() || unseen()),
            reused: connection.reused,
            again: self.again,
            another: self.tried.len() < spec.retry.most as usize
                && pool.has_other(&self.tried, lease.upstream()),
        }
    }
}

/// Writes down an attempt that came to nothing. It is not the last one any more, so the record of the request will not
/// add it.
fn note(facts: &Facts, upstream: &Upstream, reused: bool, reason: Reason, cause: Option<Error>) {
    facts.upstream.take();
    facts.attempts.borrow_mut().push(stats::Attempt {
        upstream: Arc::clone(upstream.name()),
        reused,
        outcome: reason.label(),
        cause: cause.map(|cause| cause.to_string()),
    });
}
