//! What is known of upstreams and must outlive a plan, and the plan linked with it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::balance::RoundRobin;
use crate::config::{Plan, PoolSpec};
use crate::stats::UpstreamState;

/// What is known of a pool, for all cores.
#[derive(Debug)]
pub struct PoolState {
    /// Its name.
    pub name: Arc<str>,
    /// Whose turn it is.
    pub robin: RoundRobin,
}

/// A pool of the plan, linked with what is known of it and its upstreams.
#[derive(Clone, Debug)]
pub struct LinkedPool {
    /// The pool.
    pub state: Arc<PoolState>,
    /// One for each upstream, in the plan's order.
    pub upstreams: Vec<Arc<UpstreamState>>,
}

/// An entry for each pool and each upstream that anybody still uses, by names. Lives on the control plane.
#[derive(Debug)]
pub struct Registry {
    cores: usize,
    pools: HashMap<Arc<str>, KnownPool>,
}

#[derive(Debug)]
struct KnownPool {
    state: Weak<PoolState>,
    upstreams: HashMap<Arc<str>, Weak<UpstreamState>>,
}

impl Registry {
    /// Knows nothing yet; each upstream will have counters for so many `cores`.
    pub fn new(cores: usize) -> Registry {
        Registry { cores, pools: HashMap::new() }
    }

    /// Links the pools of `plan` with what is known. A pool that is the same `before` stays linked as it was. An
    /// upstream that an earlier plan named in the same pool, and that is in use still, keeps its entry: its state, its
    /// counters, and on the cores its idle connections.
    pub fn link(
        &mut self,
        plan: &Plan,
        before: Option<(&Plan, &[Arc<LinkedPool>])>,
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
            _ => Arc::new(self.pool(spec)),
        };
        plan.pools.iter().map(link).collect()
    }

    fn pool(&mut self, spec: &PoolSpec) -> LinkedPool {
        let unknown = || KnownPool { state: Weak::new(), upstreams: HashMap::new() };
        let known = self.pools.entry(Arc::clone(&spec.name)).or_insert_with(unknown);
        let state = known.state.upgrade().unwrap_or_else(|| {
            Arc::new(PoolState { name: Arc::clone(&spec.name), robin: RoundRobin::default() })
        });
        known.state = Arc::downgrade(&state);
        let upstreams = spec.upstreams.iter().map(|one| {
            let entry = known.upstreams.get(one.name.as_str()).and_then(Weak::upgrade);
            entry.unwrap_or_else(|| {
                let entry =
                    Arc::new(UpstreamState::new(Arc::clone(&spec.name), &*one.name, self.cores));
                known.upstreams.insert(Arc::clone(&entry.name), Arc::downgrade(&entry));
                entry
            })
        });
        LinkedPool { upstreams: upstreams.collect(), state }
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
        let first = registry.link(&plan("a:1,b:2"), None).remove(0);
        first.upstreams[1].set_alive(false);
        let second = registry.link(&plan("b:2,c:3"), None).remove(0);
        assert!(Arc::ptr_eq(&first.upstreams[1], &second.upstreams[0]));
        assert!(Arc::ptr_eq(&first.state, &second.state));
        assert!(!second.upstreams[0].is_alive(), "what is known of it stays known");
        drop((first, second));
        let third = registry.link(&plan("b:2"), None).remove(0);
        assert!(third.upstreams[0].is_alive(), "nobody knew it any more");
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
        let linked = registry.link(&before, None);
        let rotated = registry.link(&expanded(&[2, 1]), Some((&before, &linked)));
        assert!(Arc::ptr_eq(&rotated[0], &linked[0]), "no core hears of it");
        let again = registry.link(&expanded(&[3, 2]), Some((&before, &linked)));
        assert!(Arc::ptr_eq(&again[0].upstreams[0], &linked[0].upstreams[1]));
        assert_eq!(&*again[0].upstreams[1].name, "http://10.0.0.3:1");
    }

    #[test]
    fn a_pool_that_is_the_same_stays_linked_as_it_was() {
        let mut registry = Registry::new(1);
        let before = plan("a:1,b:2");
        let linked = registry.link(&before, None);
        for (after, is_same) in [("a:1,b:2", true), ("a:1,b:2 weight=2", false), ("a:1", false)] {
            let again = registry.link(&plan(after), Some((&before, &linked)));
            assert_eq!(Arc::ptr_eq(&again[0], &linked[0]), is_same, "{after}");
            assert!(Arc::ptr_eq(&again[0].upstreams[0], &linked[0].upstreams[0]));
        }
    }
}
