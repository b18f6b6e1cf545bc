//! How much memory a process takes at most under a plan, with everything at its worst at once.

use std::sync::Arc;

use super::gate::{AuthKind, NetworkList};
use super::header::LINES_MOST;
use super::plan::{ExchangeSpec, Plan};
use super::pool::{Balance, PoolSpec};
use super::route::{RouteAction, RouteSpec};
use super::routing::TEXT_MOST;
use super::template::Template;
use crate::base::PasswordHash;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Octets of the fields that a service is asked with, of the head of its answer, and of the body of that.
const SERVICE: [u64; 3] = [16 * KIB, 16 * KIB, 64 * KIB];
/// Octets of all questions to services: 256 that are under way, with answers in buffers that have grown to twice what
/// is in them, and two queues of 1024.
const QUESTIONS: u64 = 256 * 2 * (SERVICE[0] + SERVICE[1] + SERVICE[2]) + 2 * 1024 * SERVICE[0];

/// What memory goes to, and how many octets of it at most. The manual has the same rows, and `p12` of the wire tests
/// holds the program to their sum.
pub fn rows(plan: &Plan) -> Vec<(&'static str, u64)> {
    let Plan { process, listener, pools, routes, .. } = plan;
    let (cores, connections) = (process.workers as u64, process.max_connections as u64);
    let (buffers, head) = (cores * process.buffers as u64, listener.limits.head as u64);
    let large = cores * (process.buffers as u64 / 32).min(64);
    let idle = pools
        .iter()
        .map(|pool| (pool.upstreams.len() * pool.connections.max_idle) as u64)
        .sum::<u64>();
    let upstreams = plan.upstreams().count() as u64;
    let checked = pools.iter().filter(|pool| pool.health.is_some());
    let checked = checked.map(|pool| pool.upstreams.len() as u64).sum::<u64>();
    let pairs = routes.iter().map(|route| {
        (route.conditions.host.len().max(1) * route.conditions.path.len().max(1)) as u64
    });
    let log = process.access_log.format.is_some();
    vec![
        ("the program itself", 14 * MIB),
        ("buffers", buffers * 16 * KIB),
        ("large buffers", large * 128 * KIB),
        ("connections in a request", connections * 28 * KIB),
        (
            "TLS of clients",
            connections
                * listener.tls.as_ref().map_or(0, |tls| tls_octets(tls.client_ca.is_some())),
        ),
        (
            "TLS of upstreams",
            if plan.upstreams().any(|(_, one)| one.secure) {
                connections * tls_octets(true)
            } else {
                0
            },
        ),
        ("bodies kept for retries", connections * retry_buffer(plan)),
        ("answers of our own", connections * texts(plan)),
        ("large heads", if head > 16 * KIB { (connections + buffers) * head } else { 0 }),
        ("idle upstream connections", cores * idle * 200),
        (
            "routes and upstreams",
            (routes.len() as u64 + upstreams) * 8 * KIB + pairs.sum::<u64>() * KIB,
        ),
        // A new plan is linked before the old one is gone.
        ("consistent hashing", 2 * pools.iter().map(|pool| ring(pool)).sum::<u64>()),
        ("checks of upstreams", checked.min(64) * 192 * KIB),
        ("the queue of the access log", if log { 128 * MIB } else { 0 }),
        ("the queue of the audit log", if process.audit.is_some() { 40 * MIB } else { 0 }),
        // A new plan is linked before the old one is gone.
        ("limits", 2 * plan.limits.iter().map(|limit| limit.octets_most()).sum::<u64>()),
        ("networks", 2 * networks(plan) * 64),
        ("credentials that were seen", 2 * remembered(plan)),
        ("passwords", passwords(plan) * KIB),
        ("signatures that wait", if has_signatures(plan) { 1024 * 10 * KIB } else { 0 }),
        ("questions to services", if asks_services(plan) { QUESTIONS } else { 0 }),
    ]
}

/// Octets of a connection over TLS: keys and state, records that the kernel did not take, and what came of a message of
/// the handshake, which may have certificates in it.
fn tls_octets(has_certificates: bool) -> u64 {
    (8 + 66 + if has_certificates { 96 } else { 20 }) * KIB
}

/// Networks of all lists, and of all routes.
fn networks(plan: &Plan) -> u64 {
    let of = |list: &Option<Arc<NetworkList>>| list.as_ref().map_or(0, |list| list.networks.len());
    let gates = plan.routes.iter().map(|route| of(&route.gate.allow) + of(&route.gate.deny));
    let lists = plan.lists.values().map(|list| list.networks.len());
    (gates.sum::<usize>() + lists.sum::<usize>()) as u64
}

/// Octets of what is remembered of credentials: 16,384 good ones and as many bad ones, with 1 KiB of what is known of
/// each: the roles and fields of a good one, the answer that a bad one gets.
fn remembered(plan: &Plan) -> u64 {
    const FRAME: u64 = KIB / 4;
    let each = plan.auths.iter().map(|auth| match &auth.kind {
        AuthKind::Token(_) => 0,
        AuthKind::Forward(spec) if spec.cache.is_zero() => 0,
        AuthKind::Forward(_) => 2 * (KIB + FRAME),
        AuthKind::Basic(_) | AuthKind::Jwt(_) => KIB + 2 * FRAME,
    });
    16 * KIB * each.sum::<u64>()
}

/// Tokens with signatures are checked elsewhere than where they arrive, 1024 of at most 8 KiB at a time.
fn has_signatures(plan: &Plan) -> bool {
    plan.auths.iter().any(|auth| matches!(auth.kind, AuthKind::Jwt(_)))
}

/// KiB of the hash of a password that takes most: one is made at a time.
fn passwords(plan: &Plan) -> u64 {
    let users = plan.auths.iter().filter_map(|auth| match &auth.kind {
        AuthKind::Basic(users) => Some(users),
        _ => None,
    });
    let memory = users.flatten().map(|user| match PasswordHash::of(&user.hash) {
        Ok(PasswordHash::Argon2id { memory, .. }) => u64::from(memory),
        _ => 8,
    });
    memory.max().unwrap_or(0)
}

/// Another service may decide.
fn asks_services(plan: &Plan) -> bool {
    plan.auths.iter().any(|auth| matches!(auth.kind, AuthKind::Forward(_)))
}

/// Octets of the points by which a pool hashes: so many for a weight of 1, and so many altogether.
fn ring(pool: &PoolSpec) -> u64 {
    const POINTS: u64 = 160;
    const POINTS_MOST: u64 = 1 << 18;
    let Balance::Hash(_) = pool.balance else { return 0 };
    let weights: u64 = pool.upstreams.iter().map(|one| u64::from(one.weight)).sum();
    ((weights * POINTS).min(POINTS_MOST) + pool.upstreams.len() as u64) * 16
}

/// Octets of a body that one request keeps at most to send them again.
fn retry_buffer(plan: &Plan) -> u64 {
    let shares = plan.routes.iter().flat_map(|route| match &route.action {
        RouteAction::Forward(forward) => forward.shares.as_slice(),
        _ => &[],
    });
    let buffers = shares.map(|share| share.exchange.retry.buffer);
    buffers.max().unwrap_or(0) as u64
}

/// Octets of the largest answer of our own, with what rules put into its head, or of a service that we relay.
fn texts(plan: &Plan) -> u64 {
    let size = |template: &Template, most: usize| match template.is_fixed() {
        true => template.literal_len(),
        false => most,
    };
    let page = |spec: &ExchangeSpec| spec.error_pages.iter().map(|page| page.body.len()).max();
    let lines = |spec: &ExchangeSpec| {
        let mut lines = spec.request_header.lines.iter().chain(&spec.response_header.lines);
        match lines.all(|line| line.value.is_fixed()) {
            true => 2 * spec.request_header.longest(|_| 0).max(spec.response_header.longest(|_| 0)),
            false => 2 * LINES_MOST,
        }
    };
    let of_exchange = |spec: &ExchangeSpec| page(spec).unwrap_or(0) + lines(spec);
    let of_route = |route: &RouteSpec| match &route.action {
        RouteAction::Respond(respond) => size(&respond.body, TEXT_MOST) + lines(&route.exchange),
        RouteAction::Redirect(to) => 2 * size(&to.to, LINES_MOST) + lines(&route.exchange),
        RouteAction::Forward(forward) => {
            let shares = forward.shares.iter().map(|share| of_exchange(&share.exchange));
            shares.max().unwrap_or(0)
        }
        RouteAction::Admin => 0,
    };
    let routes = plan.routes.iter().map(of_route);
    let own = routes.chain([of_exchange(&plan.exchange)]).max().unwrap_or(0) as u64;
    let relayed = if asks_services(plan) { SERVICE[1] + SERVICE[2] } else { 0 };
    own.max(relayed)
}

/// All of it.
pub fn ceiling(plan: &Plan) -> u64 {
    rows(plan).iter().map(|(_, octets)| octets).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::plan;

    #[test]
    fn questions_to_a_service_and_its_refusals_take_memory() {
        let open = "upstream = 'http://a:1'\nmax-connections = 100\n";
        let [open, asks] = ["", "[auth.a]\nurl = 'http://b:1'\n"].map(|auth| {
            let plan = plan(&format!("{open}{auth}"));
            let row = |name| rows(&plan).iter().find(|row| row.0 == name).unwrap().1;
            [row("questions to services"), row("answers of our own")]
        });
        assert_eq!((open, asks), ([0, 0], [80 * MIB, 100 * 80 * KIB]));
    }
}
