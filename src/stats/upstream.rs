//! The entry of one upstream in the registry: what all cores and the admin know of it, whatever plan is in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{Labels, Upstream};

/// One upstream, shared as an `Arc` by the cores that use it and the admin that shows it.
#[derive(Debug)]
pub struct UpstreamState {
    /// The upstream's name, its canonical URL.
    pub name: Arc<str>,
    /// The pool it is in.
    pub pool: Arc<str>,
    /// A word of letters and digits that stands for the two, the same in every process.
    pub id: String,
    /// It is believed to answer.
    pub alive: AtomicBool,
    /// What each core counts about it.
    cores: Box<[Upstream]>,
}

/// Digits of an identity: two of 16,384 upstreams have the same once in a million.
const ID: usize = 12;

impl UpstreamState {
    /// An upstream believed alive until it shows otherwise, with counters for so many `cores`.
    pub fn new(pool: impl Into<Arc<str>>, name: impl Into<Arc<str>>, cores: usize) -> Self {
        let (pool, name) = (pool.into(), name.into());
        let cores =
            std::iter::repeat_with(|| Upstream::new(&Labels::default())).take(cores).collect();
        let digest = sha1_smol::Sha1::from(format!("{pool} {name}")).digest().to_string();
        let id = digest[..ID].to_owned();
        UpstreamState { name, pool, id, alive: AtomicBool::new(true), cores }
    }

    /// What the core with this number counts about it; only that core may change it.
    pub fn of_core(&self, core: usize) -> &Upstream {
        &self.cores[core]
    }

    /// Its counters, for each core.
    pub fn cores(&self) -> &[Upstream] {
        &self.cores
    }

    /// Notes whether it answers. `true`: that has changed.
    pub fn set_alive(&self, alive: bool) -> bool {
        self.is_alive() != alive && self.alive.swap(alive, Relaxed) != alive
    }

    /// Whether it is believed to answer.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Relaxed)
    }
}
