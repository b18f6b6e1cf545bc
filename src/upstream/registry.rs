//! What is known of upstreams and must outlive a plan, and the plan linked with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, Weak};

use super::balance::Order;
use super::breaker::BreakerRules;
use super::budget::RetryBudget;
use super::entry::Entry;
use super::queue::Queue;
use super::secure::PoolTls;
use super::sticky::Tokens;
use crate::base::{OwnLine, random_secret};
use crate::config::{Plan, PoolSpec, UpstreamSpec};
use crate::stats::UpstreamState;

/// What is known of a pool, for all cores.
#[derive(Debug)]
pub struct PoolState {
    /// Its name.
    pub name: Arc<str>,
    /// What each request writes.
    pub counts: OwnLine<Counts>,
    /// Requests that wait for room: each that ends looks whether there are any.
    pub queue: OwnLine<Queue>,
    /// Requests that may be sent again.
    pub budget: RetryBudget,
    /// Held by whoever may open a breaker, so that of two that open at the same moment one knows of the other.
    pub(super) opening: Mutex<()>,
}

/// TLS of the pools that speak it, by name.
pub type PoolsTls = HashMap<Arc<str>, PoolTls>;

/// What is counted of a pool: one cache line, for a request that writes the one mostly writes the other.
#[derive(Debug, Default)]
pub struct Counts {
    /// Turns so far.
    pub turns: AtomicUsize,
    /// Requests under way to all its upstreams, where that is counted.
    pub under_way: AtomicU32,
}

/// A pool of the plan, linked with what is known of it and its upstreams.
#[derive(Debug)]
pub struct LinkedPool {
    /// What was asked.
    pub spec: Arc<PoolSpec>,
    /// The pool.
    pub state: Arc<PoolState>,
    /// One for each upstream, in the plan's order.
    pub upstreams: Vec<Arc<Entry>>,
    /// How one is chosen of those that requests go to, and of the backups.
    pub orders: [Order; 2],
    /// When one is left alone.
    pub rules: BreakerRules,
    /// By which clients stay with one.
    pub tokens: Option<Tokens>,
    /// TLS on connections to upstreams that speak it; `None`: none does.
    pub tls: Option<PoolTls>,
}

impl LinkedPool {
    /// Both have the very same TLS: connections of the one may serve the other.
    pub fn has_tls_of(&self, other: &LinkedPool) -> bool {
        match (&self.tls, &other.tls) {
            (None, None) => true,
            #[cfg(feature = "tls")]
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl LinkedPool {
    fn new(
        spec: &Arc<PoolSpec>,
        state: Arc<PoolState>,
        upstreams: Vec<Arc<Entry>>,
        secret: &[u8],
        tls: Option<PoolTls>,
    ) -> LinkedPool {
        let order = |backup: bool| {
            let of_it = spec.upstreams.iter().filter(|one| one.is_of(backup));
            let (names, weights): (Vec<&str>, Vec<u32>) =
                of_it.map(|one| (one.name.as_str(), one.weight)).unzip();
            Order::of(&spec.balance, &names, &weights)
        };
        let tokens = spec
            .sticky
            .as_ref()
            .map(|sticky| Tokens::of(sticky, secret, upstreams.iter().map(|entry| &entry.state)));
        LinkedPool {
            orders: [order(false), order(true)],
            rules: BreakerRules::of(spec.breaker.as_ref()),
            tokens,
            tls,
            spec: Arc::clone(spec),
            state,
            upstreams,
        }
    }
}

impl LinkedPool {
    /// Breakers go by other rules now, and begin anew.
    fn forget_failures(&self) {
        for entry in &self.upstreams {
            entry.forget_failures();
        }
    }
}

impl UpstreamSpec {
    /// Requests go to it: while there is another (`backup`: only while there is none).
    pub(super) fn is_of(&self, backup: bool) -> bool {
        !self.draining && self.backup == backup
    }
}

/// An entry for each pool and each upstream that anybody still uses, by names. Lives on the control plane.
#[derive(Debug)]
pub struct Registry {
    cores: usize,
    pools: HashMap<Arc<str>, KnownPool>,
    /// What cookies are signed with where the settings have nothing.
    secret: Secret,
}

/// What cookies are signed with.
pub type Secret = [u8; 32];

#[derive(Debug)]
struct KnownPool {
    state: Weak<PoolState>,
    upstreams: HashMap<Arc<str>, Weak<Entry>>,
}

impl Registry {
    /// Knows nothing yet; each upstream will have counters for so many `cores`.
    pub fn new(cores: usize) -> Registry {
        Registry { cores, pools: HashMap::new(), secret: random_secret() }
    }

    /// What cookies are signed with where the settings have nothing.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Signs with this, as the process before us did.
    pub fn sign_with(&mut self, secret: Secret) {
        self.secret = secret;
    }

    /// Links the pools of `plan` with what is known. A pool that is the same `before` stays linked as it was. An
    /// upstream that an earlier plan named in the same pool, and that is in use still, keeps its entry: its state, its
    /// counters, and on the cores its idle connections.
    pub fn link(
        &mut self,
        plan: &Plan,
        before: Option<(&Plan, &[Arc<LinkedPool>])>,
        tls: &PoolsTls,
    ) -> Vec<Arc<LinkedPool>> {
        self.pools.retain(|_, pool| {
            pool.upstreams.retain(|_, entry| entry.strong_count() > 0);
            pool.state.strong_count() > 0 || !pool.upstreams.is_empty()
        });
        let before = before.into_iter().flat_map(|(plan, linked)| plan.pools.iter().zip(linked));
        let before: HashMap<&str, (&Arc<PoolSpec>, &Arc<LinkedPool>)> =
            before.map(|(spec, linked)| (&*spec.name, (spec, linked))).collect();
        let link = |spec: &Arc<PoolSpec>| match before.get(&*spec.name) {
            Some((same, linked)) if *same == spec => Arc::clone(linked),
            before => {
                let linked = self.pool(spec, tls.get(&spec.name).cloned());
                if before.is_some_and(|(before, _)| before.breaker != spec.breaker) {
                    linked.forget_failures();
                }
                Arc::new(linked)
            }
        };
        plan.pools.iter().map(link).collect()
    }

    fn pool(&mut self, spec: &Arc<PoolSpec>, tls: Option<PoolTls>) -> LinkedPool {
        let unknown = || KnownPool { state: Weak::new(), upstreams: HashMap::new() };
        let known = self.pools.entry(Arc::clone(&spec.name)).or_insert_with(unknown);
        let state = known.state.upgrade().unwrap_or_else(|| {
            Arc::new(PoolState {
                name: Arc::clone(&spec.name),
                counts: OwnLine::default(),
                queue: OwnLine::default(),
                budget: RetryBudget::new(self.cores),
                opening: Mutex::default(),
            })
        });
        known.state = Arc::downgrade(&state);
        let upstreams = spec.upstreams.iter().map(|one| {
            let entry = known.upstreams.get(one.name.as_str()).and_then(Weak::upgrade);
            entry.unwrap_or_else(|| {
                let shown = UpstreamState::new(Arc::clone(&spec.name), &*one.name, self.cores);
                let entry = Arc::new(Entry::new(shown));
                known.upstreams.insert(Arc::clone(&entry.state.name), Arc::downgrade(&entry));
                entry
            })
        });
        LinkedPool::new(spec, state, upstreams.collect(), &self.secret, tls)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{self, Action, Lookup, Names, Resolve, Target};

    fn plan(upstreams: &str) -> Box<Plan> {
        let around = config::Surroundings {
            cwd: Path::new("/"),
            cores: 1,
            descriptors: 1024,
            stdout_is_terminal: false,
        };
        match config::load(["--upstream".into(), upstreams.into()], [], &around) {
            Ok(Action::Run(plan, _)) => plan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_outlives_its_plan_until_its_last_user_is_gone() {
        let mut registry = Registry::new(2);
        let first = registry.link(&plan("a:1,b:2"), None, &PoolsTls::new()).remove(0);
        first.upstreams[1].state.set_alive(false);
        let second = registry.link(&plan("b:2,c:3"), None, &PoolsTls::new()).remove(0);
        assert!(Arc::ptr_eq(&first.upstreams[1], &second.upstreams[0]));
        assert!(Arc::ptr_eq(&first.state, &second.state));
        assert!(!second.upstreams[0].state.is_alive(), "what is known of it stays known");
        drop((first, second));
        let third = registry.link(&plan("b:2"), None, &PoolsTls::new()).remove(0);
        assert!(third.upstreams[0].state.is_alive(), "nobody knew it any more");
        let known = registry.pools.values().map(|pool| pool.upstreams.len());
        assert_eq!(known.collect::<Vec<_>>(), [1], "and no entry is kept for nobody");
    }

    #[test]
    fn an_address_that_a_name_keeps_keeps_its_entry() {
        let mut plan = plan("http://a:1");
        Arc::make_mut(&mut plan.pools[0]).resolve = Resolve::Every(Duration::from_secs(10));
        let mut names = Names::default();
        let mut expanded = |last: &[u8]| {
            let target = |last: &u8| Target::of_host([10, 0, 0, *last].into());
            names.learn(&Lookup::Host("a".into()), last.iter().map(target).collect());
            config::expanded(&plan, &names)
        };
        let mut registry = Registry::new(1);
        let before = expanded(&[1, 2]);
        let linked = registry.link(&before, None, &PoolsTls::new());
        let rotated = registry.link(&expanded(&[2, 1]), Some((&before, &linked)), &PoolsTls::new());
        assert!(Arc::ptr_eq(&rotated[0], &linked[0]), "no core hears of it");
        let again = registry.link(&expanded(&[3, 2]), Some((&before, &linked)), &PoolsTls::new());
        assert!(Arc::ptr_eq(&again[0].upstreams[0], &linked[0].upstreams[1]));
        assert_eq!(&*again[0].upstreams[1].state.name, "http://10.0.0.3:1");
    }

    #[test]
    fn a_pool_that_is_the_same_stays_linked_as_it_was() {
        let mut registry = Registry::new(1);
        let before = plan("a:1,b:2");
        let linked = registry.link(&before, None, &PoolsTls::new());
        for (after, is_same) in [("a:1,b:2", true), ("a:1,b:2 weight=2", false), ("a:1", false)] {
            let again = registry.link(&plan(after), Some((&before, &linked)), &PoolsTls::new());
            assert_eq!(Arc::ptr_eq(&again[0], &linked[0]), is_same, "{after}");
            assert!(Arc::ptr_eq(&again[0].upstreams[0], &linked[0].upstreams[0]));
        }
    }
}
