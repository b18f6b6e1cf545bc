//! The runtime that is in force, for every task of the control plane.

use std::cell::RefCell;
use std::sync::Arc;

use crate::proxy::Runtime;

/// Whoever waits in between asks anew: a reload may have put another one in its place.
#[derive(Debug)]
pub struct Current(RefCell<Arc<Runtime>>);

impl Current {
    /// Begins with `runtime`.
    pub fn new(runtime: Arc<Runtime>) -> Current {
        Current(RefCell::new(runtime))
    }

    /// The one in force now.
    pub fn get(&self) -> Arc<Runtime> {
        Arc::clone(&self.0.borrow())
    }

    /// Puts `runtime` in its place.
    pub fn set(&self, runtime: Arc<Runtime>) {
        self.0.replace(runtime);
    }
}
