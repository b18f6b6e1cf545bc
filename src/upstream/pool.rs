//! The upstreams of a pool, as one core sees them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::balance::{Choice, Members, Schedule};
use super::lease::{Connection, Lease};
use super::registry::{LinkedPool, PoolState};
use super::upstream::{Dialling, Refusal, Upstream};
use crate::config::PoolSpec;
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
    /// How long connecting may take.
    pub wait: Duration,
}

/// Upstreams, whose turn it is, and how they are connected to.
#[derive(Debug)]
pub struct Pool {
    /// Those that requests may go to.
    upstreams: Vec<Rc<Upstream>>,
    /// Those that get no new ones.
    draining: Vec<Rc<Upstream>>,
    /// Whose turn is when, where that is not simply one after the other.
    schedule: Schedule,
    state: Arc<PoolState>,
    linked: Arc<LinkedPool>,
    reactor: Rc<Reactor>,
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
    /// Descriptors of connections to upstreams are below this.
    pub descriptors: usize,
    /// The core's reactor.
    pub reactor: Rc<Reactor>,
    /// Wakes the core's reaper; a no-op until one runs.
    pub reaper: Rc<RefCell<Waker>>,
}

impl Pool {
    /// The pool of `spec`, linked. Upstreams of the pool `before` that have the same entry are taken over, and the
    /// others of that pool retired.
    pub fn new(
        spec: &PoolSpec,
        linked: &Arc<LinkedPool>,
        context: &PoolContext,
        before: Option<&Pool>,
    ) -> Pool {
        let mut known: HashMap<*const UpstreamState, &Rc<Upstream>> = before
            .into_iter()
            .flat_map(Pool::all)
            .map(|upstream| (Arc::as_ptr(upstream.entry()), upstream))
            .collect();
        let (mut upstreams, mut draining, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for (one, entry) in spec.upstreams.iter().zip(&linked.upstreams) {
            let upstream = match known.remove(&Arc::as_ptr(entry)) {
                Some(upstream) => Rc::clone(upstream),
                None => Rc::new(Upstream::new(one, entry, context.core)),
            };
            if one.draining {
                draining.push(upstream);
            } else {
                upstreams.push(upstream);
                weights.push(one.weight);
            }
        }
        known.values().for_each(|gone| gone.retire());
        Pool {
            upstreams,
            draining,
            schedule: Schedule::of(&weights),
            state: Arc::clone(&linked.state),
            linked: Arc::clone(linked),
            reactor: Rc::clone(&context.reactor),
            descriptors: context.descriptors,
            idle_wait: spec.connections.idle_timeout,
            idle_most: spec.connections.max_idle,
            reaper: Rc::clone(&context.reaper),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.state.name
    }

    /// It was made of this.
    pub fn is_of(&self, linked: &Arc<LinkedPool>) -> bool {
        Arc::ptr_eq(&self.linked, linked)
    }

    /// No plan has it any more.
    pub fn retire(&self) {
        self.all().for_each(|upstream| upstream.retire());
    }

    fn all(&self) -> impl Iterator<Item = &Rc<Upstream>> {
        self.upstreams.iter().chain(&self.draining)
    }

    /// The upstream whose turn it is, for one request. `None`: all were tried, or are draining.
    pub fn pick(&self, pick: &Pick<'_>) -> Option<Lease> {
        let choice = Choice { again: pick.again, now: pick.now, wait: pick.wait };
        let was_tried = |upstream: &Rc<Upstream>| is_among(pick.tried, upstream);
        let members = Members { all: &self.upstreams, schedule: &self.schedule };
        self.state.robin.choose(members, was_tried, choice).cloned().map(Lease::new)
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

    /// A new connection for `lease`, made within `wait`.
    ///
    /// # Errors
    /// Says why none could be made; the lease goes on, and ends with that reason.
    pub async fn connect(&self, lease: &Lease, wait: Duration) -> Result<Connection, Refusal> {
        let Pool { descriptors, reactor, .. } = self;
        let dialling = Dialling { wait, descriptors: *descriptors, reactor };
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
        self.of_entry(entry).for_each(|upstream| upstream.resolved(Arc::clone(addresses)));
    }

    /// Checks have found an upstream down, or not down any more.
    pub fn set_down(&self, entry: &Arc<UpstreamState>, down: bool) {
        self.of_entry(entry).for_each(|upstream| upstream.set_down(down));
    }

    fn of_entry(&self, entry: &Arc<UpstreamState>) -> impl Iterator<Item = &Rc<Upstream>> {
        self.all().filter(move |upstream| Arc::ptr_eq(upstream.entry(), entry))
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Action};
    use crate::stats::Health;
    use crate::upstream::Registry;

    #[test]
    fn what_checks_find_is_known_to_old_and_new() {
        let around = config::Surroundings {
            cwd: Path::new("/"),
            cores: 1,
            descriptors: 1024,
            stdout_is_terminal: false,
        };
        let Ok(Action::Run(mut plan, _)) =
            config::load(["--upstream".into(), "a:1,b:2,c:3".into()], [], &around)
        else {
            panic!("these settings are good")
        };
        Arc::make_mut(&mut plan.pools[0]).upstreams[2].draining = true;
        let linked = Registry::new(1).link(&plan, None).remove(0);
        let set = |at: usize, health| {
            let set = |one: &mut crate::stats::Condition| {
                (one.is_checked, one.health) = (true, health);
            };
            linked.upstreams[at].change(set);
        };
        set(1, Health::Down);
        let reactor = Rc::new(Reactor::new().unwrap());
        let reaper = Rc::new(RefCell::new(Waker::noop().clone()));
        let context = PoolContext { core: 0, descriptors: 1024, reactor, reaper };
        let pool = Pool::new(&plan.pools[0], &linked, &context, None);
        let down = |pool: &Pool| pool.all().map(|one| one.is_down()).collect::<Vec<_>>();
        assert_eq!(down(&pool), [false, true, false], "its entry says so");
        pool.set_down(&linked.upstreams[1], false);
        pool.set_down(&linked.upstreams[2], true);
        let next = Pool::new(&plan.pools[0], &linked, &context, Some(&pool));
        assert_eq!(down(&next), [false, false, true], "it is the same upstream");
        pool.set_down(&Arc::new(UpstreamState::new("default", "http://a:1", 1)), true);
        assert_eq!(down(&pool), [false, false, true], "another of the same name is not meant");
    }
}
