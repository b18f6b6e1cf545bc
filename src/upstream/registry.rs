//! What is known of upstreams and must outlive a plan, and the plan linked with it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::config::Plan;
use crate::stats::UpstreamState;

/// A plan, and what is known of each of its upstreams: what a core makes an epoch from.
#[derive(Debug)]
pub struct Runtime {
    /// What was asked.
    pub plan: Arc<Plan>,
    /// One for each upstream, in the plan's order.
    pub upstreams: Vec<Arc<UpstreamState>>,
}

/// An entry for each upstream that anybody still uses, by its canonical URL. Lives on the control plane.
#[derive(Debug)]
pub struct Registry {
    cores: usize,
    upstreams: HashMap<Arc<str>, Weak<UpstreamState>>,
}

impl Registry {
    /// Knows nothing yet; each upstream will have counters for so many `cores`.
    pub fn new(cores: usize) -> Registry {
        Registry { cores, upstreams: HashMap::new() }
    }

    /// Links `plan` with what is known. An upstream that an earlier plan named, and that is in use still, keeps its
    /// entry: its state, its counters, and on the cores its idle connections.
    pub fn link(&mut self, plan: Arc<Plan>) -> Arc<Runtime> {
        self.upstreams.retain(|_, entry| entry.strong_count() > 0);
        let upstreams = plan.pool.upstreams.iter().map(|spec| self.entry(&spec.name)).collect();
        Arc::new(Runtime { plan, upstreams })
    }

    fn entry(&mut self, name: &str) -> Arc<UpstreamState> {
        if let Some(entry) = self.upstreams.get(name).and_then(Weak::upgrade) {
            return entry;
        }
        let entry = Arc::new(UpstreamState::new(name, self.cores));
        self.upstreams.insert(Arc::clone(&entry.name), Arc::downgrade(&entry));
        entry
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Action};

    fn plan(upstreams: &str) -> Arc<Plan> {
        let around = config::Surroundings {
            cwd: Path::new("/"),
            cores: 1,
            descriptors: 1024,
            stdout_is_terminal: false,
        };
        match config::load(["--upstream".into(), upstreams.into()], [], &around) {
            Ok(Action::Run(plan, _)) => Arc::from(plan),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_entry_outlives_its_plan_until_its_last_user_is_gone() {
        let mut registry = Registry::new(2);
        let first = registry.link(plan("a:1,b:2"));
        first.upstreams[1].set_alive(false);
        let second = registry.link(plan("b:2,c:3"));
        assert!(Arc::ptr_eq(&first.upstreams[1], &second.upstreams[0]));
        assert!(!second.upstreams[0].is_alive(), "what is known of it stays known");
        drop((first, second));
        let third = registry.link(plan("b:2"));
        assert!(third.upstreams[0].is_alive(), "nobody knew it any more");
        assert_eq!(registry.upstreams.len(), 1, "and no entry is kept for nobody");
    }
}
