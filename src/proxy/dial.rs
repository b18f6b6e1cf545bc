//! An endpoint is chosen, and a connection to it taken or made.

use std::time::Duration;

use super::check::Checked;
use super::command::{Change, Event, Lack};
use super::decide::Again;
use super::ongoing::Ongoing;
use super::room;
use crate::http::Reason;
use crate::stats::Attempt;
use crate::upstream::{Connection, Refusal};

/// How often a request tries for a descriptor, and how long it waits where none was made free.
const PAUSES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

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
    let mut pauses = 0..PAUSES;
    loop {
        let upstreams = &worker.upstreams;
        let chosen = match (ongoing.again, ongoing.endpoint) {
            // Only the connection was stale; another one is asked if this one has been found dead meanwhile.
            (Some(Again::Here), Some(endpoint))
                if !ongoing.tried.contains(&endpoint)
                    && (upstreams.works(endpoint) || worker.plan.retries == 0) =>
            {
                Some(endpoint)
            }
            _ => upstreams.choose(&ongoing.tried, ongoing.again.is_some(), worker.now()),
        };
        let Some(index) = chosen else { return Err(Reason::NoUpstream) };
        ongoing.endpoint = Some(index);
        let certain = !ongoing.heads.request.method.is_idempotent();
        if ongoing.again.is_none()
            && let Some(connection) = upstreams.idle(index, certain)
        {
            return Ok(Dialled { ongoing, connection });
        }
        let before = worker.now();
        match upstreams.connect(index, worker.marks.upstreams).await {
            Ok(connection) => {
                ongoing.connect = Some(worker.now() - before);
                if upstreams.endpoint(index).set_alive(true) {
                    let change = Change { index, alive: true, reason: "", cause: None };
                    worker.report(Event::Changed(change));
                }
                return Ok(Dialled { ongoing, connection });
            }
            Err(refusal) if refusal.reason == Reason::NoDescriptors => {
                pauses.next().ok_or(refusal.reason)?;
                if room::make_room(&worker, Lack::Descriptor) {
                    worker.core.reactor.next_turn().await;
                } else {
                    worker.core.sleep(PAUSE).await.map_err(|_| Reason::Stopped)?;
                }
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
    let reason = refusal.reason.label();
    tracing::debug!(upstream = %endpoint.name, reason, ?cause, "not connected");
    if refusal.reason != Reason::Stopped && endpoint.set_alive(false) {
        let change = Change { index, alive: false, reason, cause: cause.clone() };
        worker.report(Event::Changed(change));
    }
    ongoing.tried.push(index);
    ongoing.attempts.push(Attempt {
        upstream: endpoint.name.clone(),
        reused: false,
        outcome: reason,
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
