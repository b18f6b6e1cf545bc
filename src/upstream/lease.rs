//! One request's hold on an upstream.

use std::cell::Cell;
use std::rc::Rc;

use super::breaker::{BreakerStage, Grant, Judgement, Outcome};
use super::pool::Pool;
use super::upstream::Upstream;
use crate::http::Fault;
use crate::io::clock::Moment;
use crate::io::stream::Stream;

/// The right to send one request to an upstream, which counts as busy with it from the pick on, until the lease
/// [ends](Lease::end) or is dropped, by a panic too.
#[derive(Debug)]
pub struct Lease {
    pool: Rc<Pool>,
    upstream: Rc<Upstream>,
    /// `None`: what came of it is told.
    grant: Cell<Option<Grant>>,
    /// It is one of those that all cores count.
    is_counted: bool,
}

/// The breaker of an upstream has turned.
#[derive(Debug)]
pub struct BreakerChange {
    /// Which upstream.
    pub upstream: Rc<Upstream>,
    /// Where its breaker stands.
    pub stage: BreakerStage,
}

/// One of the requests, or tunnels, that are under way to an upstream, where that is counted over all cores.
#[derive(Debug)]
pub struct Slot {
    pool: Rc<Pool>,
    upstream: Rc<Upstream>,
}

/// A connection that a lease goes over.
#[derive(Debug)]
pub struct Connection {
    /// The connection itself.
    pub stream: Stream,
    /// Requests that it carried before.
    pub(super) requests: u32,
    /// When it was made.
    pub(super) made: Moment,
}

impl Connection {
    /// It has carried a request before.
    pub fn is_reused(&self) -> bool {
        self.requests > 0
    }
}

impl Lease {
    pub(super) fn new(pool: &Rc<Pool>, upstream: &Rc<Upstream>, grant: Grant) -> Lease {
        upstream.stats().active.up();
        let (pool, upstream) = (Rc::clone(pool), Rc::clone(upstream));
        Lease { pool, upstream, grant: Cell::new(Some(grant)), is_counted: false }
    }

    /// All cores count it.
    pub(super) fn count(&mut self) {
        self.is_counted = true;
    }

    /// The upstream it is for.
    pub fn upstream(&self) -> &Rc<Upstream> {
        &self.upstream
    }

    /// A connection that was used before, if one is idle. `certain`: the kernel is asked whether it is still good,
    /// for a request that cannot be sent twice.
    pub fn idle(&self, certain: bool) -> Option<Connection> {
        self.pool.take_idle(&self.upstream, certain)
    }

    /// A connection was made. Where nothing else is wanted of the upstream, that settles it.
    pub fn connected(&self) -> Option<BreakerChange> {
        match self.pool.rules().judge(Outcome::Connected) {
            Judgement::Unknown => None,
            judgement => self.judged(judgement),
        }
    }

    /// The head of an answer has come. A trial ends with it, for how fast the client takes the rest says nothing of the
    /// upstream; and a failure is one, however the answer goes on.
    pub fn answered(&self, status: u16) -> Option<BreakerChange> {
        let judgement = self.pool.rules().judge(Outcome::Answered(status));
        match self.grant.get() {
            Some(grant) if grant.is_trial() || judgement == Judgement::Failed => {
                self.judged(judgement)
            }
            _ => None,
        }
    }

    /// The one place that learns what came of a request. Where the breaker stands then, if that is somewhere else.
    pub fn end(self, outcome: Outcome) -> Option<BreakerChange> {
        self.ended(outcome)
    }

    /// The same of one that goes on as a tunnel: what counts it until that ends.
    pub fn become_tunnel(mut self, status: u16) -> (Option<Slot>, Option<BreakerChange>) {
        let turned = self.ended(Outcome::Answered(status));
        let is_counted = std::mem::take(&mut self.is_counted);
        let slot = || Slot { pool: Rc::clone(&self.pool), upstream: Rc::clone(&self.upstream) };
        (is_counted.then(slot), turned)
    }

    fn ended(&self, outcome: Outcome) -> Option<BreakerChange> {
        let stats = self.upstream.stats();
        match outcome {
            Outcome::Answered(status) => stats.responses.of(status).add(1),
            Outcome::Failed(reason) if reason.fault() == Fault::Upstream => stats.failures.add(1),
            Outcome::Stale => stats.failures.add(1),
            Outcome::Failed(_) | Outcome::Connected => {}
        }
        self.judged(self.pool.rules().judge(outcome))
    }

    fn judged(&self, judgement: Judgement) -> Option<BreakerChange> {
        let grant = self.grant.take()?;
        let stage = self.pool.judge(&self.upstream, grant, judgement)?;
        Some(BreakerChange { upstream: Rc::clone(&self.upstream), stage })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.stats().active.down();
        let _ = self.judged(Judgement::Unknown);
        if self.is_counted {
            self.pool.leave(&self.upstream);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.leave(&self.upstream);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::pool::tests::{pick, pool};
    use super::*;
    use crate::http::Reason;

    #[test]
    fn each_outcome_is_counted_once_and_no_lease_outlives_its_request() {
        let pool = pool("--upstream http://127.0.0.1:1");
        let upstream = Rc::clone(pick(&pool).unwrap().upstream());
        let stats = upstream.stats();
        for (outcome, answered, failures) in [
            (Outcome::Answered(204), 1, 0),
            (Outcome::Failed(Reason::ConnectRefused), 0, 1),
            (Outcome::Failed(Reason::ClientGone), 0, 0),
            (Outcome::Failed(Reason::NoDescriptors), 0, 0),
        ] {
            let before = (stats.responses[1].get(), stats.failures.get());
            let lease = pick(&pool).unwrap();
            assert_eq!(stats.active.get(), 1, "from the pick on");
            lease.end(outcome);
            let after = (stats.responses[1].get(), stats.failures.get());
            assert_eq!(after, (before.0 + answered, before.1 + failures), "{outcome:?}");
            assert_eq!(stats.active.get(), 0);
        }
        let panicking = catch_unwind(AssertUnwindSafe(|| {
            let _lease = pick(&pool).unwrap();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicking.is_err());
        assert_eq!(stats.active.get(), 0, "a panic ends it as well");
    }
}
