//! The runtime that is in force, for every task of the control plane.

use std::cell::RefCell;
use std::sync::Arc;

use flume::{Receiver, Sender};

use crate::proxy::Runtime;

/// Whoever waits in between asks anew: a reload may have put another one in its place.
#[derive(Debug)]
pub struct Current {
    runtime: RefCell<Arc<Runtime>>,
    /// Filled when another one was put in its place.
    change: (Sender<()>, Receiver<()>),
}

impl Current {
    /// Begins with `runtime`.
    pub fn new(runtime: Arc<Runtime>) -> Current {
        Current { runtime: RefCell::new(runtime), change: flume::bounded(1) }
    }

    /// The one in force now.
    pub fn get(&self) -> Arc<Runtime> {
        Arc::clone(&self.runtime.borrow())
    }

    /// Puts `runtime` in its place.
    pub fn set(&self, runtime: Arc<Runtime>) {
        self.runtime.replace(runtime);
        let _ = self.change.0.try_send(()); // full: it is known already
    }

    /// Waits until there is another one than at the last call. One task alone may do that.
    pub async fn changed(&self) {
        let _ = self.change.1.recv_async().await; // we hold the sender
    }
}
