//! An upstream is picked, and a connection to it taken or made.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::check::Checked;
use super::command::{Change, Event, Lack};
use super::decide::Again;
use super::room;
use super::session::Session;
use super::worker::Worker;
use crate::http::Reason;
use crate::stats::Attempt;
use crate::upstream::{Connection, Lease, Outcome, Pick, Refusal, Upstream};

/// How often a request tries for a descriptor, and how long it waits where none was made free.
const PAUSES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A request that has an upstream, and a connection to go to it.
pub(super) struct Dialled<'o> {
    session: &'o mut Session,
    lease: Lease,
    connection: Connection,
}

impl<'o> Dialled<'o> {
    /// For the next step.
    pub fn into_inner(self) -> (&'o mut Session, Lease, Connection) {
        (self.session, self.lease, self.connection)
    }
}

/// Goes from upstream to upstream until one can be connected to; at most `retries` more than one.
pub(super) async fn dial(checked: Checked<'_>) -> Result<Dialled<'_>, Reason> {
    let session = checked.into_inner();
    let worker = session.worker.clone();
    let mut pauses = 0..PAUSES;
    loop {
        let Some(lease) = pick(session, &worker) else { return Err(Reason::NoUpstream) };
        session.upstream = Some(Rc::clone(lease.upstream()));
        let certain = !session.heads.request.method.is_idempotent();
        if session.again.is_none()
            && let Some(connection) = lease.idle(certain)
        {
            return Ok(Dialled { session, lease, connection });
        }
        let before = worker.now();
        match lease.connect(&session.epoch.pool).await {
            Ok(connection) => {
                session.facts.connect.set(Some(worker.now() - before));
                report_up(&worker, lease.upstream());
                return Ok(Dialled { session, lease, connection });
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
                let last = session.tried.len() >= session.epoch.plan.retries as usize;
                let reason = verdict(&refusal);
                note(session, lease, refusal);
                if last {
                    return Err(reason);
                }
                worker.stats.retries.add(1);
            }
        }
    }
}

/// The upstream to ask now.
fn pick(session: &Session, worker: &Worker) -> Option<Lease> {
    let Session { epoch, tried, again, upstream, .. } = session;
    if let (Some(Again::Here), Some(upstream)) = (again, upstream)
        // Only the connection was stale; another upstream is asked if this one has been found dead meanwhile.
        && !tried.iter().any(|tried| Rc::ptr_eq(tried, upstream))
        && (upstream.works() || epoch.plan.retries == 0)
    {
        return Some(epoch.pool.lease(upstream));
    }
    epoch.pool.pick(&Pick { tried, again: again.is_some(), now: worker.now() })
}

fn report_up(worker: &Worker, upstream: &Upstream) {
    if upstream.set_alive(true) {
        let upstream = Arc::clone(upstream.entry());
        worker.report(Event::Changed(Change { upstream, alive: true, reason: "", cause: None }));
    }
}

/// Remembers a connection that could not be made.
fn note(session: &mut Session, lease: Lease, refusal: Refusal) {
    let worker = &session.worker;
    let upstream = Rc::clone(lease.upstream());
    lease.end(Outcome::Failed(refusal.reason));
    if upstream.is_name() {
        worker.report(Event::Unreachable(Arc::clone(upstream.entry())));
    }
    let cause = refusal.cause.map(|cause| cause.to_string());
    let reason = refusal.reason.label();
    tracing::debug!(upstream = %upstream.name(), reason, ?cause, "not connected");
    if refusal.reason != Reason::Stopped && upstream.set_alive(false) {
        let (upstream, cause) = (Arc::clone(upstream.entry()), cause.clone());
        worker.report(Event::Changed(Change { upstream, alive: false, reason, cause }));
    }
    session.facts.attempts.borrow_mut().push(Attempt {
        upstream: Arc::clone(upstream.name()),
        reused: false,
        outcome: reason,
        cause,
    });
    session.tried.push(upstream);
}

/// Nothing could be connected to: that is 503, unless it took so long that 504 says more, or the core was
/// stopped.
fn verdict(refusal: &Refusal) -> Reason {
    match refusal.reason {
        Reason::ConnectTimeout | Reason::Stopped => refusal.reason,
        _ => Reason::NoUpstream,
    }
}
