//! The upstreams of a pool, as one core sees them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::balance::{Choice, RoundRobin};
use super::lease::{Connection, Lease};
use super::upstream::{Dialling, Refusal, Upstream};
use crate::config::{Marks, Plan};
use crate::io::address::Address;
use crate::io::clock::Moment;
use crate::io::reactor::Reactor;
use crate::stats::UpstreamState;

/// The request that an upstream is picked for.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// Upstreams that are not asked again.
    pub tried: &'a [Rc<Upstream>],
    /// The request has failed once: an upstream that is known to work is preferred.
    pub again: bool,
    /// The time.
    pub now: Moment,
}

/// Upstreams, whose turn it is, and how they are connected to.
#[derive(Debug)]
pub struct Pool {
    /// Those that requests may go to.
    upstreams: Vec<Rc<Upstream>>,
    /// Those that get no new ones.
    draining: Vec<Rc<Upstream>>,
    robin: RoundRobin,
    reactor: Rc<Reactor>,
    connect_wait: Duration,
    /// Descriptors of connections to upstreams are below this.
    descriptors: usize,
    idle_wait: Duration,
    idle_most: usize,
    /// Wakes the task that closes idle connections: see [`Pool::reap`].
    reaper: Rc<RefCell<Waker>>,
}

/// What a core gives to the pools of all its epochs.
#[derive(Clone, Debug)]
pub struct PoolContext {
    /// Whose counters it writes.
    pub core: usize,
    /// Whose turn it is, over all cores.
    pub robin: RoundRobin,
    /// The core's reactor.
    pub reactor: Rc<Reactor>,
    /// Wakes the core's reaper; a no-op until one runs.
    pub reaper: Rc<RefCell<Waker>>,
}

impl Pool {
    /// The plan's upstreams. `entries` has one for each, in the plan's order; upstreams of the pool `before` that have
    /// the same entry are taken over, and the others of that pool retired.
    pub fn new(
        plan: &Plan,
        entries: &[Arc<UpstreamState>],
        context: &PoolContext,
        before: Option<&Pool>,
    ) -> Pool {
        let mut known: HashMap<*const UpstreamState, &Rc<Upstream>> = before
            .into_iter()
            .flat_map(Pool::all)
            .map(|upstream| (Arc::as_ptr(upstream.entry()), upstream))
            .collect();
        let (mut upstreams, mut draining) = (Vec::new(), Vec::new());
        for (spec, entry) in plan.pool.upstreams.iter().zip(entries) {
            let upstream = match known.remove(&Arc::as_ptr(entry)) {
                Some(upstream) => Rc::clone(upstream),
                None => Rc::new(Upstream::new(spec, entry, context.core)),
            };
            if spec.draining { &mut draining } else { &mut upstreams }.push(upstream);
        }
        known.values().for_each(|gone| gone.retire());
        Pool {
            upstreams,
            draining,
            robin: context.robin.clone(),
            reactor: Rc::clone(&context.reactor),
            connect_wait: plan.pool.connect_timeout,
            descriptors: Marks::of(plan.process.descriptors).upstreams,
            idle_wait: plan.pool.idle_timeout,
            idle_most: plan.pool.max_idle,
            reaper: Rc::clone(&context.reaper),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Rc<Upstream>> {
        self.upstreams.iter().chain(&self.draining)
    }

    /// The upstream whose turn it is, for one request. `None`: all were tried, or are draining.
    pub fn pick(&self, pick: &Pick<'_>) -> Option<Lease> {
        let choice = Choice { again: pick.again, now: pick.now, wait: self.connect_wait };
        let was_tried = |upstream: &Rc<Upstream>| is_among(pick.tried, upstream);
        self.robin.choose(&self.upstreams, was_tried, choice).cloned().map(Lease::new)
    }

    /// The same upstream once more.
    pub fn lease(&self, upstream: &Rc<Upstream>) -> Lease {
        Lease::new(Rc::clone(upstream))
    }

    /// Is there an upstream that was not `tried`, besides `this`?
    pub fn has_other(&self, tried: &[Rc<Upstream>], this: &Rc<Upstream>) -> bool {
        let other =
            |upstream: &Rc<Upstream>| !Rc::ptr_eq(upstream, this) && !is_among(tried, upstream);
        self.upstreams.iter().any(other)
    }

    /// A new connection for `lease`.
    ///
    /// # Errors
    /// Says why none could be made; the lease goes on, and ends with that reason.
    pub async fn connect(&self, lease: &Lease) -> Result<Connection, Refusal> {
        let Pool { connect_wait: wait, descriptors, reactor, .. } = self;
        let dialling = Dialling { wait: *wait, descriptors: *descriptors, reactor };
        let stream = lease.upstream().connect(dialling).await?;
        Ok(Connection { stream, reused: false })
    }

    /// Takes back a connection whose answer was read to the end, and nothing after it.
    pub fn give_back(&self, upstream: &Upstream, connection: Connection) {
        let reaper = self.reaper.borrow();
        let mut cx = Context::from_waker(&reaper);
        upstream.keep(connection.stream, self.idle_wait, self.idle_most, &mut cx);
    }

    /// New addresses for an upstream whose name was resolved.
    pub fn resolved(&self, entry: &Arc<UpstreamState>, addresses: &Arc<[Address]>) {
        let named = self.all().filter(|upstream| Arc::ptr_eq(upstream.entry(), entry));
        named.for_each(|upstream| upstream.resolved(Arc::clone(addresses)));
    }

    /// Closes idle connections that turned readable or grew old.
    pub fn sweep(&self, reaper: &mut Context<'_>) {
        self.all().for_each(|upstream| upstream.sweep(reaper));
    }

    /// Closes half of the idle connections to each upstream, those used longest ago, and says how many.
    pub fn close_oldest(&self) -> usize {
        self.all().map(|upstream| upstream.close_oldest()).sum()
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        self.all().for_each(|upstream| upstream.close_idle());
    }
}

/// Has `sweep` close what must go whenever an idle connection turns readable or grows old, until the core ends.
pub async fn reap(context: &PoolContext, sweep: impl Fn(&mut Context<'_>)) {
    poll_fn::<(), _>(|cx| {
        if context.reactor.is_aborted() {
            return Poll::Ready(());
        }
        *context.reaper.borrow_mut() = cx.waker().clone();
        sweep(cx);
        Poll::Pending
    })
    .await;
}

fn is_among(upstreams: &[Rc<Upstream>], this: &Rc<Upstream>) -> bool {
    upstreams.iter().any(|upstream| Rc::ptr_eq(upstream, this))
}
