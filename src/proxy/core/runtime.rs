//! A plan linked with what is known: what the epochs of all cores are made from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::config::{Plan, RouteAction, RouteSpec};
use crate::policy::Router;
use crate::policy::gate::{Gates, LinkedGate};
use crate::stats::UpstreamState;
use crate::upstream::{LinkedPool, PoolTls, PoolsTls, Registry, Schedule};

/// TLS towards clients, as the control plane has linked it.
#[cfg(feature = "tls")]
pub type ListenerTls = Arc<crate::tls::ServerTls>;
/// A build without it has none.
#[cfg(not(feature = "tls"))]
pub type ListenerTls = std::convert::Infallible;

/// TLS of a plan, as the control plane has linked it.
#[derive(Clone, Debug, Default)]
pub struct LinkedTls {
    /// Towards clients; `None`: no listener speaks it.
    pub listener: Option<ListenerTls>,
    /// Towards upstreams.
    pub pools: PoolsTls,
    /// Towards services that are asked about requests, and for keys; `None`: none speaks it.
    pub services: Option<PoolTls>,
}

/// A plan, its routes to be looked up, and what is known of its pools.
#[derive(Debug)]
pub struct Runtime {
    /// What was asked.
    pub plan: Arc<Plan>,
    /// One for each pool, in the plan's order.
    pub pools: Vec<Arc<LinkedPool>>,
    /// Its routes, to be looked up.
    pub router: Router,
    /// What its routes demand.
    pub gates: Gates,
    /// Its TLS.
    pub tls: LinkedTls,
    /// One for each route, in the plan's order.
    routes: Vec<LinkedRoute>,
}

/// Where the requests of a route go.
#[derive(Debug)]
struct LinkedRoute {
    /// The place of each pool in the plan.
    pools: Box<[u32]>,
    /// Whose turn it is, where there are several: all cores share it.
    turns: Option<(Schedule, AtomicUsize)>,
}

/// What happens to a request: its route by its place in the plan, and its pool by its place in the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    route: u32,
    share: u32,
}

impl Chosen {
    /// The place of the pool in the route.
    pub(super) fn share(self) -> usize {
        self.share as usize
    }
}

impl Runtime {
    /// Links `plan` with what `registry` knows. What is the same as in the runtime `before` is used again.
    pub fn link(plan: Arc<Plan>, registry: &mut Registry, before: Option<&Runtime>) -> Arc<Self> {
        let tls = before.map(|before| before.tls.clone()).unwrap_or_default();
        Runtime::link_with(tls, plan, registry, before)
    }

    /// The same, with the TLS that it asks for.
    pub fn link_with(
        tls: LinkedTls,
        plan: Arc<Plan>,
        registry: &mut Registry,
        before: Option<&Runtime>,
    ) -> Arc<Self> {
        let linked = before.map(|before| (&*before.plan, &before.pools[..]));
        let pools = registry.link(&plan, linked, &tls.pools);
        let places: std::collections::HashMap<&str, u32> =
            plan.pools.iter().zip(0..).map(|(pool, place)| (&*pool.name, place)).collect();
        let link = |route: &RouteSpec| {
            let RouteAction::Forward(forward) = &route.action else {
                return LinkedRoute { pools: Box::default(), turns: None };
            };
            let place = |name: &str| places.get(name).copied();
            let pools = forward.shares.iter().filter_map(|share| place(&share.pool)).collect();
            let weights: Vec<u32> = forward.shares.iter().map(|share| share.weight).collect();
            let several = weights.len() > 1;
            let turns = several.then(|| (Schedule::of(&weights), AtomicUsize::new(0)));
            LinkedRoute { pools, turns }
        };
        let routes = plan.routes.iter().map(link).collect();
        let router = Router::new(&plan, before.map(|before| &before.router));
        let gates = Gates::link(&plan, before.map(|before| &before.gates));
        Arc::new(Runtime { plan, pools, router, gates, tls, routes })
    }

    /// What is known of every upstream, in the plan's order.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<UpstreamState>> {
        self.pools.iter().flat_map(|pool| &pool.upstreams).map(|entry| &entry.state)
    }

    /// For a request of the route at this place: which of its pools it goes to.
    pub(super) fn choose(&self, route: usize) -> Chosen {
        let share = match &self.routes[route].turns {
            None => 0,
            Some((schedule, turns)) => {
                schedule.member(turns.fetch_add(1, Relaxed), self.routes[route].pools.len()) as u32
            }
        };
        Chosen { route: route as u32, share }
    }

    /// The route.
    pub(super) fn route(&self, chosen: Chosen) -> &RouteSpec {
        &self.plan.routes[chosen.route as usize]
    }

    /// What its route demands.
    #[inline]
    pub(super) fn gate(&self, chosen: Chosen) -> Option<&Arc<LinkedGate>> {
        self.gates.of_route(chosen.route as usize)
    }

    /// The place of the pool in the plan; only of a route that forwards.
    pub(super) fn pool(&self, Chosen { route, share }: Chosen) -> usize {
        self.routes[route as usize].pools[share as usize] as usize
    }
}
