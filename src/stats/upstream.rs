//! What all cores and the admin must agree on about one upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// One upstream, shared as an `Arc` by the cores that use it and the admin that shows it.
#[derive(Debug)]
pub struct UpstreamState {
    /// The upstream's name, its canonical URL.
    pub name: Arc<str>,
    /// It is believed to answer.
    pub alive: AtomicBool,
}

impl UpstreamState {
    /// An upstream believed alive until it shows otherwise.
    pub fn new(name: impl Into<Arc<str>>) -> UpstreamState {
        UpstreamState { name: name.into(), alive: AtomicBool::new(true) }
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
