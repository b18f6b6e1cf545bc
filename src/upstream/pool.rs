//! The upstreams of a pool, as one core sees them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::balance;
use super::breaker::{self, BreakerRules, BreakerStage, Grant, Judgement};
use super::entry::Entry;
use super::lease::{Connection, Lease};
use super::pick::Member;
use super::queue::{Queue, Ticket};
use super::registry::LinkedPool;
use super::secure::UpstreamSecurity;
use super::sticky::Tokens;
use super::upstream::{Refusal, Upstream};
use crate::config::{ConnectionSpec, HashKey, PoolSpec, ProxyVersion, QueueSpec};
use crate::io::address::Address;
use crate::io::reactor::Reactor;
use crate::io::stream::Dialling;
#[cfg(feature = "tls")]
use crate::io::tls::TlsBuffers;
use crate::stats::UpstreamState;

/// Upstreams, whose turn it is, and how they are connected to.
#[derive(Debug)]
pub struct Pool {
    /// Those that requests may go to, and those that stand by.
    pub(super) tiers: [Vec<Member>; 2],
    /// Those that get no new requests.
    draining: Vec<Rc<Upstream>>,
    pub(super) linked: Arc<LinkedPool>,
    /// Requests under way are counted for all cores.
    pub(super) counts: bool,
    core: usize,
    reactor: Rc<Reactor>,
    dialling: Dialling,
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
    /// Room for records.
    #[cfg(feature = "tls")]
    pub tls_buffers: Rc<TlsBuffers>,
}

impl Pool {
    /// The pool of `spec`, linked. Upstreams of the pool `before` that have the same entry are taken over, and the
    /// others of that pool retired.
    pub fn new(linked: &Arc<LinkedPool>, context: &PoolContext, before: Option<&Pool>) -> Pool {
        let PoolSpec { upstreams, slow_start, queue, connections, tls, .. } = &*linked.spec;
        // Each with whether it got no requests.
        let mut known: HashMap<*const Entry, (&Rc<Upstream>, bool)> = HashMap::new();
        if let Some(before) = before {
            let members = before.members().map(|member| (&member.upstream, false));
            let all = members.chain(before.draining.iter().map(|upstream| (upstream, true)));
            known.extend(all.map(|one| (Arc::as_ptr(one.0.entry()), one)));
        }
        // Connections that were made under other settings of TLS serve nobody any more.
        let is_tls_as_before = before.is_none_or(|before| before.linked.has_tls_of(linked));
        let (mut tiers, mut draining) = ([Vec::new(), Vec::new()], Vec::new());
        for (one, entry) in upstreams.iter().zip(&linked.upstreams) {
            let anew = || {
                let security = UpstreamSecurity::of(one, tls, linked.tls.as_ref(), context);
                Rc::new(Upstream::new(one, entry, context.core, security))
            };
            let (upstream, comes) = match known.remove(&Arc::as_ptr(entry)) {
                Some((upstream, was_draining)) => {
                    let comes = was_draining && !one.draining;
                    if is_tls_as_before || upstream.is_plain() {
                        (Rc::clone(upstream), comes)
                    } else {
                        upstream.retire();
                        (anew(), comes)
                    }
                }
                None => (anew(), before.is_some()),
            };
            if comes {
                entry.start_slowly(context.reactor.clock().now());
            }
            if one.draining {
                draining.push(upstream);
            } else {
                let (weight, slow_start) = (one.weight, *slow_start);
                let member = Member { upstream, weight, slow_start };
                tiers[usize::from(one.backup)].push(member);
            }
        }
        known.values().for_each(|(gone, _)| gone.retire());
        Pool {
            tiers,
            draining,
            linked: Arc::clone(linked),
            counts: queue.is_some() || linked.orders[0].counts(),
            core: context.core,
            reactor: Rc::clone(&context.reactor),
            dialling: Dialling {
                descriptors: context.descriptors,
                bind: connections.bind,
                keep_alive: connections.keep_alive,
            },
            reaper: Rc::clone(&context.reaper),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.linked.state.name
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
        self.members().map(|member| &member.upstream).chain(&self.draining)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.tiers.iter().flatten()
    }

    /// What requests are hashed by; `None`: nothing.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.linked.spec.balance {
            crate::config::Balance::Hash(key) => Some(key),
            _ => None,
        }
    }

    /// By which clients stay with an upstream.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.linked.tokens.as_ref()
    }

    /// When an upstream is left alone.
    pub(super) fn rules(&self) -> &BreakerRules {
        &self.linked.rules
    }

    /// A request that may be sent again begins.
    pub fn begin(&self) {
        self.linked.state.budget.begin(self.core);
    }

    /// Takes the right to send a request again.
    pub fn may_send_again(&self) -> bool {
        let share = self.linked.spec.retry_budget;
        self.linked.state.budget.take(share, self.reactor.clock().now())
    }

    /// How many requests may wait for room, and for how long.
    pub fn queue_spec(&self) -> Option<&QueueSpec> {
        self.linked.spec.queue.as_ref()
    }

    /// A place among those that wait for room; `None`: there are too many.
    pub fn join(&self) -> Option<Ticket<'_>> {
        self.queue().join(self.queue_spec()?.size as usize)
    }

    /// Requests that wait for room.
    pub fn queue(&self) -> &Queue {
        &self.linked.state.queue
    }

    /// A request, or the tunnel it became, has ended: somebody may take its place.
    pub(super) fn leave(&self, upstream: &Upstream) {
        upstream.entry().load.down();
        self.linked.state.counts.under_way.fetch_sub(1, Relaxed);
        // A plan without a queue pays for no fence. Should the next plan have one, who waits there may not be seen from
        // here, at worst: then the next that ends calls.
        if self.queue_spec().is_some() || self.queue().len() > 0 {
            self.queue().call();
        }
    }

    /// What a request that ended says of its upstream. Where its breaker stands then, if that is somewhere else.
    pub(super) fn judge(
        &self,
        upstream: &Upstream,
        grant: Grant,
        judgement: Judgement,
    ) -> Option<BreakerStage> {
        let now = self.reactor.clock().now();
        let entry = upstream.entry();
        let mut opening = None;
        let others_work = || {
            let is_asked = self.rules().is_asked;
            // Given back when the others can see what came of it.
            let lock = || self.linked.state.opening.lock().unwrap_or_else(PoisonError::into_inner);
            opening = is_asked.then(lock);
            !is_asked || self.spares(upstream)
        };
        let stage = entry.breaker.end((grant, judgement), self.rules(), now, others_work);
        drop(opening);
        if stage == Some(BreakerStage::Closed) {
            entry.start_slowly(now);
            self.queue().call();
        }
        stage.filter(|_| self.rules().is_asked)
    }

    /// May this one be left alone? Those count that would get its requests: of its tier, and not down by checks.
    fn spares(&self, upstream: &Upstream) -> bool {
        let is_it = |member: &Member| std::ptr::eq(&*member.upstream, upstream);
        let Some(tier) = self.tiers.iter().find(|tier| tier.iter().any(is_it)) else {
            return true; // it gets no new requests anyway
        };
        let others = || {
            let others = tier.iter().filter(|one| !is_it(one) && !one.upstream.is_down());
            others.map(|one| &one.upstream.entry().breaker)
        };
        let open = others().filter(|one| one.is_open()).count();
        let failing = others().filter(|one| one.has_failed_enough()).count();
        breaker::spares(others().count() + 1, open, failing + 1)
    }

    /// How long an upstream took to answer.
    pub fn took(&self, upstream: &Upstream, latency: Duration) {
        if let balance::Order::TwoChoices(_) = self.linked.orders[0] {
            upstream.entry().load.took(latency, self.reactor.clock().now());
        }
    }

    /// A new connection for `lease`, made within `wait`. Where TLS is spoken on it, `preface` has left before that.
    ///
    /// # Errors
    /// Says why none could be made; the lease goes on, and ends with that reason.
    pub async fn connect(
        &self,
        lease: &Lease,
        preface: &[u8],
        wait: Duration,
    ) -> Result<Connection, Refusal> {
        let upstream = Rc::clone(lease.upstream());
        upstream.connect(preface, wait, self.dialling, &self.reactor).await
    }

    fn connections(&self) -> &ConnectionSpec {
        &self.linked.spec.connections
    }

    pub(super) fn take_idle(&self, upstream: &Upstream, certain: bool) -> Option<Connection> {
        upstream.take_idle(certain, self.connections(), self.reactor.clock().now())
    }

    /// Takes back a connection whose answer was read to the end, and nothing after it.
    pub fn give_back(&self, upstream: &Upstream, connection: Connection) {
        let reaper = self.reaper.borrow();
        let mut cx = Context::from_waker(&reaper);
        upstream.keep(connection, self.connections(), self.reactor.clock().now(), &mut cx);
    }

    /// The header that connections begin with before a request.
    #[inline]
    pub fn proxy_protocol(&self) -> Option<ProxyVersion> {
        self.connections().proxy_protocol
    }

    /// New addresses for an upstream whose name was resolved.
    pub fn resolved(&self, entry: &Arc<UpstreamState>, addresses: &Arc<[Address]>) {
        self.of_entry(entry).for_each(|upstream| upstream.resolved(Arc::clone(addresses)));
    }

    /// Checks have found an upstream down, or not down any more.
    pub fn set_down(&self, entry: &Arc<UpstreamState>, down: bool) {
        let now = self.reactor.clock().now();
        self.of_entry(entry).for_each(|upstream| upstream.set_down(down, now));
        // There may be room, or nobody left to wait for.
        self.queue().call();
    }

    fn of_entry(&self, entry: &Arc<UpstreamState>) -> impl Iterator<Item = &Rc<Upstream>> {
        self.all().filter(move |upstream| Arc::ptr_eq(upstream.state(), entry))
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

#[cfg(test)]
pub mod tests {
    use std::path::Path;
    use std::sync::Barrier;

    use super::super::breaker::Outcome;
    use super::super::pick::{Pick, Unavailable};
    use super::super::registry::PoolsTls;
    use super::super::registry::Registry;
    use super::*;
    use crate::config::{self, Action, Balance, BreakerSpec, Failures};
    use crate::http::Reason;
    use crate::io::clock::Moment;
    use crate::stats::{BreakerState, Health};

    /// The pool of such a command line, changed, on a core of its own.
    pub fn changed(line: &str, change: impl FnOnce(&mut PoolSpec)) -> Rc<Pool> {
        let mut plan = plan(line);
        change(Arc::make_mut(&mut plan.pools[0]));
        let linked = Registry::new(1).link(&plan, None, &PoolsTls::new()).remove(0);
        Rc::new(Pool::new(&linked, &context(), None))
    }

    fn plan(line: &str) -> Box<config::Plan> {
        let around = config::Surroundings {
            cwd: Path::new("/"),
            cores: 1,
            descriptors: 1024,
            stdout_is_terminal: false,
        };
        match config::load(line.split(' ').map(Into::into), [], &around) {
            Ok(Action::Run(plan, _)) => plan,
            other => panic!("{other:?}"),
        }
    }

    fn context() -> PoolContext {
        PoolContext {
            core: 0,
            descriptors: 1024,
            reactor: Rc::new(Reactor::new().unwrap()),
            reaper: Rc::new(RefCell::new(Waker::noop().clone())),
            #[cfg(feature = "tls")]
            tls_buffers: TlsBuffers::new(),
        }
    }

    pub fn pool(line: &str) -> Rc<Pool> {
        changed(line, |_| {})
    }

    const NOW: Moment = Moment(1_000_000);
    const FIRST: Pick<'_> =
        Pick { tried: &[], again: false, key: 0, stays_with: None, whole: true, now: NOW };

    pub fn pick(pool: &Rc<Pool>) -> Result<Lease, Unavailable> {
        pool.pick(&FIRST)
    }

    /// Where it stands in the settings of its pool.
    fn place_of(pool: &Pool, upstream: &Upstream) -> Option<usize> {
        let is_it = |entry: &Arc<Entry>| Arc::ptr_eq(entry, upstream.entry());
        pool.linked.upstreams.iter().position(is_it)
    }

    /// The places that so many requests in a row go to, of which none ends before the next begins.
    fn places(pool: &Rc<Pool>, requests: usize) -> Vec<usize> {
        let leases: Vec<Lease> = (0..requests).map_while(|_| pick(pool).ok()).collect();
        leases.iter().filter_map(|lease| place_of(pool, lease.upstream())).collect()
    }

    fn fail(pool: &Rc<Pool>, reason: Reason) -> usize {
        let lease = pick(pool).unwrap();
        let place = place_of(pool, lease.upstream()).unwrap();
        lease.end(Outcome::Failed(reason));
        place
    }

    fn breaker(failures: u32, fail_open: bool) -> Option<BreakerSpec> {
        let on = Failures { connect: true, closed: true, ..Failures::default() };
        let open = Duration::from_secs(10);
        Some(BreakerSpec { failures, open, probes: 1, on, fail_open })
    }

    #[test]
    fn the_one_that_cannot_be_connected_to_is_passed_over_and_better_than_none() {
        let pool = pool("--upstream 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
        assert_eq!(places(&pool, 4), [0, 1, 2, 0]);
        assert_eq!(fail(&pool, Reason::ConnectRefused), 1);
        assert_eq!(places(&pool, 4), [2, 0, 2, 0]);
        let tried: Vec<_> = [0, 2].map(|place| Rc::clone(&pool.tiers[0][place].upstream)).into();
        let pick = Pick { tried: &tried, again: true, ..FIRST };
        let lease = pool.pick(&pick).unwrap();
        assert_eq!(place_of(&pool, lease.upstream()), Some(1), "it is better than none");
        let tried: Vec<_> = pool.all().cloned().collect();
        let none = pool.pick(&Pick { tried: &tried, again: true, ..FIRST });
        assert_eq!(none.unwrap_err(), Unavailable::None);
        let later = Pick { now: NOW + Duration::from_secs(1), ..FIRST };
        let trials: Vec<_> = (0..6).map(|_| pool.pick(&later).unwrap()).collect();
        let trials = trials.iter().filter(|one| place_of(&pool, one.upstream()) == Some(1)).count();
        assert_eq!(trials, 1, "one finds out whether it is back");
    }

    #[test]
    fn with_a_breaker_all_that_fail_are_left_alone_and_that_is_told() {
        for fail_open in [false, true] {
            let pool = changed("--upstream 127.0.0.1:1,127.0.0.1:2", |spec| {
                spec.breaker = breaker(2, fail_open);
            });
            (0..4).for_each(|_| _ = fail(&pool, Reason::UpstreamClosed));
            let next = pick(&pool);
            match fail_open {
                true => assert!(next.is_ok()),
                false => {
                    let until = pool.reactor.clock().now() + Duration::from_secs(10);
                    assert_eq!(next.unwrap_err(), Unavailable::Resting(until));
                }
            }
        }
    }

    #[test]
    fn backups_get_requests_while_no_other_is_ready() {
        let pool = changed("--upstream 127.0.0.1:1,127.0.0.1:2", |spec| {
            spec.upstreams[0].backup = true;
        });
        assert_eq!(places(&pool, 3), [1, 1, 1]);
        fail(&pool, Reason::ConnectRefused);
        assert_eq!(places(&pool, 3), [0, 0, 0]);
        let later = Pick { now: NOW + Duration::from_secs(60), ..FIRST };
        let back = pool.pick(&later).unwrap();
        assert_eq!(place_of(&pool, back.upstream()), Some(1));
    }

    #[test]
    fn one_that_is_down_gets_nothing() {
        let pool = pool("--upstream 127.0.0.1:1,127.0.0.1:2");
        pool.tiers[0][0].upstream.set_down(true, NOW);
        assert_eq!(places(&pool, 3), [1, 1, 1]);
        pool.tiers[0][1].upstream.set_down(true, NOW);
        assert_eq!(pick(&pool).unwrap_err(), Unavailable::None);
        pool.tiers[0][0].upstream.set_down(false, NOW);
        assert_eq!(places(&pool, 2), [0, 0]);
    }

    #[test]
    fn what_checks_find_is_known_to_old_and_new() {
        let pool = pool("--upstream 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
        let entries = &pool.linked.upstreams;
        entries[1].state.change(|one| (one.is_checked, one.health) = (true, Health::Down));
        let down = |pool: &Pool| pool.all().map(|one| one.is_down()).collect::<Vec<_>>();
        let fresh = Pool::new(&pool.linked, &context(), None);
        assert_eq!(down(&fresh), [false, true, false], "its entry says so");
        pool.set_down(&entries[2].state, true);
        let next = Pool::new(&pool.linked, &context(), Some(&pool));
        assert_eq!(down(&next), [false, false, true], "it is the same upstream");
        let other = UpstreamState::new("default", "http://127.0.0.1:1", 1);
        pool.set_down(&Arc::new(other), true);
        assert_eq!(down(&pool), [false, false, true], "another of the same name is not meant");
    }

    #[test]
    fn half_of_those_that_stand_in_for_each_other_are_left_alone_and_all_if_all_fail() {
        // `p`: gets requests, `b`: a backup, `d`: draining, `x`: down by checks.
        for (kinds, failing, open) in [
            ("pp", &[0, 1][..], &[0, 1][..]),
            ("pppp", &[0, 1, 2], &[0, 1]),
            ("ppb", &[0], &[0]),
            ("ppb", &[0, 1], &[0, 1]),
            ("ppbb", &[0, 1, 2, 3], &[0, 1, 2, 3]),
            ("ppbbb", &[2, 3], &[2]),
            ("pppb", &[0, 1], &[0]),
            ("pppd", &[0, 1], &[0]),
            ("pppd", &[0, 1, 2, 1], &[0, 1, 2]),
            ("pppx", &[0, 1], &[0]),
            ("ppxx", &[0, 1], &[0, 1]),
            ("pd", &[1], &[1]),
        ] {
            let urls: Vec<_> = (1..=kinds.len()).map(|port| format!("127.0.0.1:{port}")).collect();
            let pool = changed(&format!("--upstream {}", urls.join(",")), |spec| {
                spec.breaker = breaker(1, false);
                for (one, kind) in spec.upstreams.iter_mut().zip(kinds.chars()) {
                    (one.backup, one.draining) = (kind == 'b', kind == 'd');
                }
            });
            let upstream = |place: usize| {
                pool.all()
                    .find(|one| place_of(&pool, one) == Some(place))
                    .expect("it is one of the pool")
            };
            let down = kinds.chars().enumerate().filter(|(_, kind)| *kind == 'x');
            down.for_each(|(place, _)| upstream(place).set_down(true, NOW));
            for place in failing {
                let lease = Lease::new(&pool, upstream(*place), Grant::Free);
                lease.end(Outcome::Failed(Reason::ConnectRefused));
            }
            let is_open = |place: &usize| pool.linked.upstreams[*place].breaker.is_open();
            let found: Vec<_> = (0..kinds.len()).filter(is_open).collect();
            assert_eq!(found, open, "{kinds}: {failing:?} fail");
        }
    }

    #[test]
    fn two_that_fail_at_the_same_moment_do_not_both_open() {
        let mut plan = plan("--upstream 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
        Arc::make_mut(&mut plan.pools[0]).breaker = breaker(1, false);
        let linked = Registry::new(1).link(&plan, None, &PoolsTls::new()).remove(0);
        let both = Barrier::new(2);
        let fails = |place: usize| {
            let pool = Rc::new(Pool::new(&linked, &context(), None));
            let mut too_many = 0;
            for _ in 0..2_000 {
                let lease = Lease::new(&pool, &pool.tiers[0][place].upstream, Grant::Free);
                both.wait();
                lease.end(Outcome::Failed(Reason::ConnectRefused));
                both.wait();
                let open = linked.upstreams.iter().filter(|one| one.breaker.is_open()).count();
                too_many += usize::from(open > 1);
                both.wait();
                linked.upstreams[place].breaker.forget();
            }
            too_many
        };
        let too_many = std::thread::scope(|scope| {
            let other = scope.spawn(|| fails(1));
            fails(0) + other.join().unwrap()
        });
        assert_eq!(too_many, 0);
    }

    #[test]
    fn one_that_is_busy_is_waited_for_rather_than_one_asked_that_rests() {
        let pool = changed("--upstream 127.0.0.1:1,127.0.0.1:2", |spec| {
            let wait = Duration::from_secs(2);
            spec.queue = Some(QueueSpec { max_requests: 1, size: 1, wait });
        });
        let busy = pick(&pool).unwrap();
        assert_eq!(fail(&pool, Reason::ConnectRefused), 1);
        assert_eq!(pick(&pool).unwrap_err(), Unavailable::Full);
        drop(busy);
        assert_eq!(fail(&pool, Reason::ConnectRefused), 0);
        assert!(pick(&pool).is_ok(), "both rest, and one is better than none");
    }

    #[test]
    fn who_loses_every_race_is_sent_all_the_same_where_that_is_wanted() {
        for (fail_open, queues, may) in
            [(true, false, true), (false, false, false), (true, true, false)]
        {
            let pool = changed("--upstream 127.0.0.1:1", |spec| {
                let wait = Duration::from_secs(2);
                spec.breaker = breaker(1, fail_open);
                spec.queue = queues.then_some(QueueSpec { max_requests: 1, size: 1, wait });
            });
            fail(&pool, Reason::ConnectRefused);
            let lease = pool.after_races(&pool.tiers[0][0], &FIRST);
            assert_eq!(lease.map(|_| ()), if may { Ok(()) } else { Err(Unavailable::Full) });
        }
    }

    #[test]
    fn where_a_breaker_stands_is_shown_if_there_is_one() {
        let later = Pick { now: NOW + Duration::from_secs(60), ..FIRST };
        for is_asked in [true, false] {
            let pool = changed("--upstream 127.0.0.1:1", |spec| {
                spec.breaker = breaker(1, false).filter(|_| is_asked);
            });
            let entry = &pool.linked.upstreams[0];
            let shows = |state: BreakerState| {
                let state = if is_asked { state } else { BreakerState::Closed };
                assert_eq!(entry.state.breaker.load(), state, "is asked for: {is_asked}");
            };
            fail(&pool, Reason::ConnectRefused);
            shows(BreakerState::Open);
            let trial = pool.pick(&later).unwrap();
            shows(BreakerState::HalfOpen);
            trial.end(Outcome::Answered(200));
            shows(BreakerState::Closed);
            fail(&pool, Reason::ConnectRefused);
            entry.breaker.forget();
            assert!(!entry.breaker.is_open());
            shows(BreakerState::Closed);
        }
    }

    #[test]
    fn one_that_gets_requests_again_starts_slowly() {
        const SLOW: Duration = Duration::from_secs(30);
        let mut plan = plan("--upstream 127.0.0.1:1,127.0.0.1:2");
        let (mut registry, context) = (Registry::new(1), context());
        let mut before: Option<Pool> = None;
        for (draining, ramps) in [(false, [1.0, 1.0]), (true, [1.0, 1.0]), (false, [0.1, 1.0])] {
            Arc::make_mut(&mut plan.pools[0]).upstreams[0].draining = draining;
            let linked = registry.link(&plan, None, &PoolsTls::new()).remove(0);
            let pool = Pool::new(&linked, &context, before.as_ref());
            let now = context.reactor.clock().now();
            let found: Vec<_> = linked.upstreams.iter().map(|one| one.ramp(SLOW, now)).collect();
            assert_eq!(found, ramps, "draining: {draining}");
            before = Some(pool);
        }
    }

    #[test]
    fn no_upstream_has_more_requests_than_it_may_have() {
        let pool = changed("--upstream 127.0.0.1:1,127.0.0.1:2", |spec| {
            let wait = Duration::from_secs(2);
            spec.queue = Some(QueueSpec { max_requests: 2, size: 1, wait });
        });
        let mut leases: Vec<Lease> = (0..4).map(|_| pick(&pool).unwrap()).collect();
        assert_eq!(pick(&pool).unwrap_err(), Unavailable::Full);
        let place = pool.join().unwrap();
        assert!(pool.join().is_none());
        leases.pop().unwrap().end(Outcome::Answered(200));
        assert!(pick(&pool).is_ok());
        drop((place, leases));
        assert_eq!(pool.linked.state.counts.under_way.load(Relaxed), 0);
    }

    #[test]
    fn a_tunnel_counts_until_it_ends() {
        let pool = changed("--upstream 127.0.0.1:1,127.0.0.1:2", |spec| {
            spec.balance = Balance::LeastRequests;
        });
        let (slot, _) = pick(&pool).unwrap().become_tunnel(101);
        assert_eq!(places(&pool, 1), [1], "the other has fewer");
        assert_eq!(pool.linked.state.counts.under_way.load(Relaxed), 1);
        drop(slot);
        assert_eq!(pool.linked.state.counts.under_way.load(Relaxed), 0);
    }

    #[test]
    fn a_client_stays_with_its_upstream_while_that_is_ready() {
        let pool = pool("--upstream 127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
        let stays = Pick { stays_with: Some(&pool.linked.upstreams[2].state), ..FIRST };
        let place = || place_of(&pool, pool.pick(&stays).unwrap().upstream());
        assert_eq!([(); 3].map(|()| place()), [Some(2); 3]);
        pool.tiers[0][2].upstream.set_down(true, NOW);
        assert_ne!(place(), Some(2));
    }
}
