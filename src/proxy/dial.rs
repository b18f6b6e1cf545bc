//! An endpoint is chosen, and a connection to it taken or made.

use super::check::Checked;
use super::letters::Event;
use super::ongoing::Ongoing;
use crate::http::Reason;
use crate::stats::Attempt;
use crate::upstream::{Connection, Refusal};

/// A request that has a connection to go to.
pub(super) struct Dialled<'o> {
    ongoing: &'o mut Ongoing,
    connection: Connection,
}

impl<'o> Dialled<'o> {
    /// For the next step.
    pub fn into_inner(self) -> (&'o mut Ongoing, Connection) {
        (self.ongoing, self.connection)
    }
}

/// Goes from endpoint to endpoint until one can be connected to; at most `retries` more than one.
pub(super) async fn dial(checked: Checked<'_>) -> Result<Dialled<'_>, Reason> {
    let ongoing = checked.into_inner();
    let worker = ongoing.worker.clone();
    loop {
        let upstreams = &worker.upstreams;
        let chosen = match ongoing.endpoint {
            // A replay goes to the same endpoint: only its connection was stale.
            Some(endpoint) if ongoing.replayed && ongoing.tried.is_empty() => Some(endpoint),
            _ => upstreams.choose(&ongoing.tried, worker.now()),
        };
        let Some(index) = chosen else { return Err(Reason::NoUpstream) };
        ongoing.endpoint = Some(index);
        let certain = !ongoing.heads.request.method.is_idempotent();
        if !ongoing.replayed
            && let Some(connection) = upstreams.idle(index, certain)
        {
            return Ok(Dialled { ongoing, connection });
        }
        let before = worker.now();
        match upstreams.connect(index).await {
            Ok(connection) => {
                ongoing.connect = Some(worker.now() - before);
                return Ok(Dialled { ongoing, connection });
            }
            Err(refusal) => {
                let last = ongoing.tried.len() >= worker.plan.retries as usize;
                note(ongoing, index, &refusal);
                if last {
                    return Err(verdict(&refusal));
                }
                worker.stats.retries.add(1);
            }
        }
    }
}

/// Remembers a connection that could not be made.
fn note(ongoing: &mut Ongoing, index: usize, refusal: &Refusal) {
    let worker = &ongoing.worker;
    let endpoint = worker.upstreams.endpoint(index);
    worker.stats.upstreams[index].failures.add(1);
    if endpoint.is_name() {
        worker.report(Event::Unreachable(index));
    }
    let cause = refusal.cause.as_ref().map(ToString::to_string);
    tracing::debug!(upstream = %endpoint.name, reason = refusal.reason.label(), ?cause, "not connected");
    ongoing.tried.push(index);
    ongoing.attempts.push(Attempt {
        upstream: endpoint.name.clone(),
        reused: false,
        outcome: refusal.reason.label(),
        cause,
    });
}

/// Nothing could be connected to: that is 503, unless it took so long that 504 says more, or the core was
/// stopped.
fn verdict(refusal: &Refusal) -> Reason {
    match refusal.reason {
        Reason::ConnectTimeout | Reason::Stopped => refusal.reason,
        _ => Reason::NoUpstream,
    }
}
