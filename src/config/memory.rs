//! How much memory a process takes at most under a plan, with everything at its worst at once.

use super::plan::Plan;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What memory goes to, and how many octets of it at most. The manual has the same rows, and `p12` of the wire tests
/// holds the program to their sum.
pub fn rows(plan: &Plan) -> Vec<(&'static str, u64)> {
    let Plan { process, listener, pools, routes, .. } = plan;
    let (cores, connections) = (process.workers as u64, process.max_connections as u64);
    let (buffers, head) = (cores * process.buffers as u64, listener.limits.head as u64);
    let large = cores * (process.buffers as u64 / 32).min(64);
    let idle = pools.iter().map(|pool| (pool.upstreams.len() * pool.max_idle) as u64).sum::<u64>();
    let upstreams = plan.upstreams().count() as u64;
    let pairs = routes.iter().map(|route| {
        (route.conditions.host.len().max(1) * route.conditions.path.len().max(1)) as u64
    });
    let log = process.access_log.format.is_some();
    vec![
        ("the program itself", 8 * MIB),
        ("buffers", buffers * 16 * KIB),
        ("large buffers", large * 128 * KIB),
        ("connections in a request", connections * 28 * KIB),
        ("large heads", if head > 16 * KIB { (connections + buffers) * head } else { 0 }),
        ("idle upstream connections", cores * idle * 200),
        (
            "routes and upstreams",
            (routes.len() as u64 + upstreams) * 8 * KIB + pairs.sum::<u64>() * KIB,
        ),
        ("the queue of the access log", if log { 128 * MIB } else { 0 }),
    ]
}

/// All of it.
pub fn ceiling(plan: &Plan) -> u64 {
    rows(plan).iter().map(|(_, octets)| octets).sum()
}
