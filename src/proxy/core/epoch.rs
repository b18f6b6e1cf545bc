//! A plan in force on one core.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Plan;
use crate::io::buffer::SIZE;
use crate::upstream::{Pool, PoolContext, Runtime};

/// What requests that begin now go by. Each holds its epoch to its end, and so does a tunnel: a plan is replaced for
/// those that come after, never under a request.
pub struct Epoch {
    /// How many there were before it.
    pub number: u32,
    pub plan: Arc<Plan>,
    pub pool: Pool,
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epoch")
    }
}

impl Epoch {
    /// The epoch of `runtime`, which takes over what it still needs of the one `before`.
    pub fn new(runtime: &Runtime, context: &PoolContext, before: Option<&Epoch>) -> Rc<Epoch> {
        let number = before.map_or(0, |epoch| epoch.number.wrapping_add(1));
        let before = before.map(|epoch| &epoch.pool);
        let pool = Pool::new(&runtime.plan, &runtime.upstreams, context, before);
        Rc::new(Epoch { number, plan: Arc::clone(&runtime.plan), pool })
    }

    /// The most octets of a head that leaves: one buffer, or one more than the head that came may have.
    pub fn head_most(&self) -> usize {
        let most = self.plan.listener.limits.head;
        if most > SIZE { most + SIZE } else { SIZE }
    }
}
