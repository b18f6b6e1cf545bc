//! A plan in force on one core.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

// Its names are those of the plan: nobody can fill a slot on purpose.
use rustc_hash::FxHashMap;

use super::super::check::Terms;
#[cfg(feature = "tls")]
use super::super::client::Client;
#[cfg(feature = "tls")]
use super::runtime::ListenerTls;
use super::runtime::{Chosen, Runtime};
use crate::config::{ExchangeSpec, Plan, Redirect, Respond, RouteAction, RouteSpec};
use crate::io::address::Address;
use crate::io::buffer::SIZE;
use crate::policy::gate::LinkedGate;
use crate::policy::{MatchInput, Scratch, Verdict};
use crate::stats::UpstreamState;
#[cfg(feature = "tls")]
use crate::tls::Challenges;
use crate::upstream::{Pool, PoolContext};

/// What requests that begin now go by. Each holds its epoch to its end, and so does a tunnel: a plan is replaced for
/// those that come after, never under a request.
pub struct Epoch {
    /// How many there were before it.
    pub number: u32,
    pub plan: Arc<Plan>,
    runtime: Arc<Runtime>,
    /// In the plan's order.
    pools: Vec<Rc<Pool>>,
}

/// What a route does with a request.
pub enum LinkedAction<'e> {
    Forward(Terms<'e>),
    Redirect(&'e Redirect),
    Respond(&'e Respond),
    Admin,
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Epoch")
    }
}

impl Epoch {
    /// The epoch of `runtime`, which takes over what it still needs of the one `before`.
    pub fn new(runtime: &Arc<Runtime>, context: &PoolContext, before: Option<&Epoch>) -> Rc<Epoch> {
        let number = before.map_or(0, |epoch| epoch.number.wrapping_add(1));
        let before = before.into_iter().flat_map(|epoch| &epoch.pools);
        let mut before: FxHashMap<&str, &Rc<Pool>> =
            before.map(|pool| (&**pool.name(), pool)).collect();
        let specs = runtime.plan.pools.iter().zip(&runtime.pools);
        // Requests wait meanwhile, so a pool that has not changed costs as little as can be.
        let pools = specs.map(|(spec, linked)| match before.remove(&*spec.name) {
            Some(same) if same.is_of(linked) => Rc::clone(same),
            before => Rc::new(Pool::new(linked, context, before.map(|pool| &**pool))),
        });
        let pools = pools.collect();
        before.values().for_each(|gone| gone.retire());
        let (plan, runtime) = (Arc::clone(&runtime.plan), Arc::clone(runtime));
        Rc::new(Epoch { number, plan, runtime, pools })
    }

    /// The most octets of a head that leaves: one buffer, or one more than the head that came may have.
    pub fn head_most(&self) -> usize {
        let most = self.plan.listener.limits.head;
        if most > SIZE { most + SIZE } else { SIZE }
    }

    /// The TLS that a new client has to speak; `None`: it speaks plainly.
    #[cfg(feature = "tls")]
    pub fn tls_of(&self, client: &Option<Client>) -> Option<ListenerTls> {
        let listen = &client.as_ref()?.listen;
        let is_secure = self.plan.listener.secure.contains(listen);
        self.runtime.tls.listener.clone().filter(|_| is_secure)
    }

    /// What an ACME server is answered; `None`: none is expected to ask.
    #[cfg(feature = "tls")]
    #[inline]
    pub fn challenges(&self) -> Option<&Challenges> {
        self.runtime.tls.listener.as_ref()?.challenges.as_deref()
    }

    /// Every request takes the first route.
    #[inline]
    pub fn first_matches_all(&self) -> bool {
        self.runtime.router.first_matches_all()
    }

    /// The route that a request takes.
    pub fn find(&self, input: &MatchInput<'_>, scratch: &mut Scratch) -> Verdict {
        self.runtime.router.find_for(input, scratch).0
    }

    /// What is demanded of the request; `None`: nothing.
    #[inline]
    pub fn gate(&self, chosen: Chosen) -> Option<&Arc<LinkedGate>> {
        self.runtime.gate(chosen)
    }

    /// What is demanded of requests that no route takes.
    pub fn gate_of_unrouted(&self) -> Option<&Arc<LinkedGate>> {
        self.runtime.gates.of_unrouted()
    }

    /// For a request of the route at this place in the plan: what happens to it.
    pub fn choose(&self, route: usize) -> Chosen {
        self.runtime.choose(route)
    }

    /// The route.
    pub fn route(&self, chosen: Chosen) -> &RouteSpec {
        self.runtime.route(chosen)
    }

    /// What happens to the request.
    pub fn action(&self, chosen: Chosen) -> LinkedAction<'_> {
        match &self.route(chosen).action {
            RouteAction::Forward(_) => LinkedAction::Forward(self.terms(chosen)),
            RouteAction::Redirect(redirect) => LinkedAction::Redirect(redirect),
            RouteAction::Respond(respond) => LinkedAction::Respond(respond),
            RouteAction::Admin => LinkedAction::Admin,
        }
    }

    /// Where the request goes, and how; its route is one that forwards.
    pub fn terms(&self, chosen: Chosen) -> Terms<'_> {
        let RouteAction::Forward(forward) = &self.route(chosen).action else {
            unreachable!("only `check` admits requests, and none of such a route")
        };
        Terms {
            pool: &self.pools[self.runtime.pool(chosen)],
            forward,
            spec: &forward.shares[chosen.share()].exchange,
        }
    }

    /// How the exchange goes; `None`: of a request that no route matches.
    pub fn spec(&self, chosen: Option<Chosen>) -> &ExchangeSpec {
        let Some(chosen) = chosen else { return &self.plan.exchange };
        let route = self.route(chosen);
        match &route.action {
            RouteAction::Forward(forward) => &forward.shares[chosen.share()].exchange,
            RouteAction::Redirect(_) | RouteAction::Respond(_) | RouteAction::Admin => {
                &route.exchange
            }
        }
    }

    /// New addresses for an upstream whose name was resolved.
    pub fn resolved(&self, entry: &Arc<UpstreamState>, addresses: &Arc<[Address]>) {
        self.pool_of(entry).into_iter().for_each(|pool| pool.resolved(entry, addresses));
    }

    /// Checks have found an upstream down, or not down any more.
    pub fn set_down(&self, entry: &Arc<UpstreamState>, down: bool) {
        self.pool_of(entry).into_iter().for_each(|pool| pool.set_down(entry, down));
    }

    /// The pool that is now what `pool` was in an earlier epoch.
    pub fn successor(&self, pool: &Pool) -> Option<&Rc<Pool>> {
        self.pools.iter().find(|one| one.name() == pool.name())
    }

    /// Upstreams may have come: whoever waits for room looks again.
    pub fn call_queues(&self) {
        self.pools.iter().for_each(|pool| pool.queue().call());
    }

    fn pool_of(&self, entry: &UpstreamState) -> Option<&Rc<Pool>> {
        self.pools.iter().find(|pool| pool.name() == &entry.pool)
    }

    /// Closes idle connections that turned readable or grew old.
    pub fn sweep(&self, reaper: &mut Context<'_>) {
        self.pools.iter().for_each(|pool| pool.sweep(reaper));
    }

    /// Closes half of the idle connections to each upstream, those used longest ago, and says how many.
    pub fn close_oldest(&self) -> usize {
        self.pools.iter().map(|pool| pool.close_oldest()).sum()
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        self.pools.iter().for_each(|pool| pool.close_idle());
    }
}
