//! One request's hold on an upstream.

use std::rc::Rc;

use super::upstream::Upstream;
use crate::http::{Fault, Reason};
use crate::io::stream::Stream;

/// The right to send one request to an upstream, which counts as busy with it from the pick on, until the lease
/// [ends](Lease::end) or is dropped, by a panic too.
#[derive(Debug)]
pub struct Lease {
    upstream: Rc<Upstream>,
}

/// A connection that a lease goes over.
#[derive(Debug)]
pub struct Connection {
    /// The connection itself.
    pub stream: Stream,
    /// It has carried a request before.
    pub reused: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered, with this status.
    Answered(u16),
    /// It did not, or not to the end.
    Failed(Reason),
}

impl Lease {
    pub(super) fn new(upstream: Rc<Upstream>) -> Lease {
        upstream.stats().active.up();
        Lease { upstream }
    }

    /// The upstream it is for.
    pub fn upstream(&self) -> &Rc<Upstream> {
        &self.upstream
    }

    /// A connection that was used before, if one is idle. `certain`: the kernel is asked whether it is still good,
    /// for a request that cannot be sent twice.
    pub fn idle(&self, certain: bool) -> Option<Connection> {
        let stream = self.upstream.take_idle(certain)?;
        Some(Connection { stream, reused: true })
    }

    /// The one place that learns what came of a request.
    pub fn end(self, outcome: Outcome) {
        let stats = self.upstream.stats();
        match outcome {
            Outcome::Answered(status) => stats.responses.of(status).add(1),
            Outcome::Failed(reason) if reason.fault() == Fault::Upstream => stats.failures.add(1),
            Outcome::Failed(_) => {}
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.upstream.stats().active.down();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Place};
    use crate::stats::UpstreamState;

    fn upstream() -> Rc<Upstream> {
        let spec = config::UpstreamSpec {
            name: "http://a:1".to_owned(),
            authority: "a:1".to_owned(),
            place: Place::Unix("/a".into()),
            base: String::new(),
            weight: 1,
            backup: false,
            draining: false,
            resolved_from: None,
        };
        Rc::new(Upstream::new(&spec, &Arc::new(UpstreamState::new("default", "http://a:1", 1)), 0))
    }

    #[test]
    fn each_outcome_is_counted_once_and_no_lease_outlives_its_request() {
        let upstream = upstream();
        let stats = upstream.stats();
        for (outcome, answered, failures) in [
            (Outcome::Answered(204), 1, 0),
            (Outcome::Failed(Reason::ConnectRefused), 0, 1),
            (Outcome::Failed(Reason::ClientGone), 0, 0),
            (Outcome::Failed(Reason::NoDescriptors), 0, 0),
        ] {
            let before = (stats.responses[1].get(), stats.failures.get());
            let lease = Lease::new(Rc::clone(&upstream));
            assert_eq!(stats.active.get(), 1, "from the pick on");
            lease.end(outcome);
            let after = (stats.responses[1].get(), stats.failures.get());
            assert_eq!(after, (before.0 + answered, before.1 + failures), "{outcome:?}");
            assert_eq!(stats.active.get(), 0);
        }
        let panicking = catch_unwind(AssertUnwindSafe(|| {
            let _lease = Lease::new(Rc::clone(&upstream));
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicking.is_err());
        assert_eq!(stats.active.get(), 0, "a panic ends it as well");
    }
}
