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

    /// Links the pools of `plan` with what is known. An upstream that an earlier plan named in the same pool, and that
    /// is in use still, keeps its entry: its state, its counters, and on the cores its idle connections.
    pub fn link(&mut self, plan: &Plan) -> Vec<LinkedPool> {
        self.pools.retain(|_, pool| {
            pool.upstreams.retain(|_, entry| entry.strong_count() > 0);
            pool.state.strong_count() > 0 || !pool.upstreams.is_empty()
        });
        plan.pools.iter().map(|spec| self.pool(spec)).collect()
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

    use super::*;
    use crate::config::{self, Action};

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
        let first = registry.link(&plan("a:1,b:2")).remove(0);
        first.upstreams[1].set_alive(false);
        let second = registry.link(&plan("b:2,c:3")).remove(0);
        assert!(Arc::ptr_eq(&first.upstreams[1], &second.upstreams[0]));
        assert!(Arc::ptr_eq(&first.state, &second.state));
        assert!(!second.upstreams[0].is_alive(), "what is known of it stays known");
        drop((first, second));
        let third = registry.link(&plan("b:2")).remove(0);
        assert!(third.upstreams[0].is_alive(), "nobody knew it any more");
        let known = registry.pools.values().map(|pool| pool.upstreams.len());
        assert_eq!(known.collect::<Vec<_>>(), [1], "and no entry is kept for nobody");
    }
}
