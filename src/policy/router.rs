//! Which route means a request: of all whose conditions hold, the first.
//!
//! A host leads to a tree of paths, and that to the few routes that may mean the request, in their order; only of those
//! the other conditions are looked at. So the number of routes hardly matters.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::asked::Asked;
use super::matching;
use crate::config::{Conditions, HostPattern, Listen, PathPattern, Plan, RouteAction, RouteSpec};
use crate::http::path::normal;

/// Octets of a host that are compared.
const HOST_MOST: usize = 256;
/// Earlier routes that a route is compared with, when it is asked whether it can be reached.
const COMPARED: usize = 256;

/// The routes of a plan, to be looked up. All cores share it.
pub struct Router {
    table: Arc<Table>,
    /// Where paths must be unambiguous.
    strict: Strict,
}

/// The routes by host and path.
struct Table {
    routes: Arc<[RouteSpec]>,
    /// The first route means every request: there is nothing to look up.
    first_means_all: bool,
    exact: HashMap<Box<[u8]>, Paths>,
    below: HashMap<Box<[u8]>, Paths>,
    any: Paths,
}

/// Listeners on which paths must be unambiguous: those with a route that looks at a path, or changes one.
#[derive(Debug, PartialEq, Eq)]
enum Strict {
    At(Vec<Listen>),
    Everywhere,
}

/// The routes of one host, by path. Lists of routes are in their order.
#[derive(Default)]
struct Paths {
    /// Those that do not look at the path.
    any: Vec<u32>,
    root: Node,
}

/// The routes of one path.
#[derive(Default)]
struct Node {
    exact: Vec<u32>,
    /// Those of this path and all below it.
    below: Vec<u32>,
    children: HashMap<Box<[u8]>, Node>,
}

/// Storage that look-ups use again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    path: Vec<u8>,
}

/// What a look-up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This route means it, by its place in the plan.
    Route(usize),
    /// Only its method is none of those that there are, which are these.
    WrongMethod(String),
    /// No route means it.
    NoRoute,
    /// Origins may take its path for one or another.
    AmbiguousPath,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Router({} routes)", self.table.routes.len())
    }
}

impl Router {
    /// The routes of `plan`. Where they are those of the router `before`, its table is used again.
    pub fn new(plan: &Plan, before: Option<&Router>) -> Router {
        let same = before.filter(|before| Arc::ptr_eq(&before.table.routes, &plan.routes));
        let table = match same {
            Some(before) => Arc::clone(&before.table),
            None => Arc::new(Table::new(&plan.routes)),
        };
        Router { table, strict: Strict::of(plan) }
    }

    /// The route that means `asked`.
    pub fn find(&self, asked: &Asked<'_>, scratch: &mut Scratch) -> Verdict {
        let is_strict = self.strict.is_at(asked.listen);
        if self.table.first_means_all && !is_strict {
            return Verdict::Route(0);
        }
        let (path, _) = asked.path_and_query();
        let path = match normal(path, &mut scratch.path) {
            Ok(path) => Some(path),
            // `OPTIONS *` is about no path.
            Err(_) if path == b"*" || !is_strict => None,
            Err(_) => return Verdict::AmbiguousPath,
        };
        let mut host = [0; HOST_MOST];
        let host = lower(asked.host(), &mut host);
        let routes = &self.table.routes;
        let mut first = u32::MAX;
        self.table.candidates(host, path, |candidates| {
            let earlier = candidates.iter().take_while(|route| **route < first);
            let mut earlier =
                earlier.filter(|route| matching::all(&routes[**route as usize].conditions, asked));
            first = earlier.next().copied().unwrap_or(first);
        });
        match first {
            u32::MAX => self.table.methods(host, path, asked),
            first => Verdict::Route(first as usize),
        }
    }
}

impl Strict {
    fn of(plan: &Plan) -> Strict {
        let mut at = Vec::new();
        let has_base = |name: &str| {
            let pool = plan.pool(name);
            pool.is_some_and(|pool| pool.upstreams.iter().any(|one| !one.base.is_empty()))
        };
        // Few pools have one: they are not looked for again for every route.
        let any_base = plan.upstreams().any(|(_, one)| !one.base.is_empty());
        for route in &*plan.routes {
            let changes = match &route.action {
                RouteAction::Forward(forward) => {
                    !forward.add_prefix.is_empty()
                        || (any_base && forward.shares.iter().any(|share| has_base(&share.pool)))
                }
                // `//host` would be taken for another host.
                RouteAction::Redirect(redirect) => redirect.to.begins_with_path(),
                RouteAction::Respond(_) => false,
            };
            if route.conditions.path.is_empty() && !changes {
                continue;
            }
            if route.conditions.listen.is_empty() {
                return Strict::Everywhere;
            }
            at.extend(route.conditions.listen.iter().cloned());
        }
        at.sort_by_cached_key(Listen::to_string);
        at.dedup();
        Strict::At(at)
    }

    fn is_at(&self, listen: &Listen) -> bool {
        match self {
            Strict::At(at) => at.iter().any(|one| matching::is_at(one, listen)),
            Strict::Everywhere => true,
        }
    }
}

impl Table {
    fn new(routes: &Arc<[RouteSpec]>) -> Table {
        let mut table = Table {
            routes: Arc::clone(routes),
            first_means_all: routes.first().is_some_and(|route| route.conditions.is_empty()),
            exact: HashMap::new(),
            below: HashMap::new(),
            any: Paths::default(),
        };
        for (number, route) in routes.iter().enumerate() {
            let Conditions { host, path, .. } = &route.conditions;
            if host.is_empty() {
                table.any.add(path, number as u32);
            }
            for host in host {
                let (hosts, name) = match host {
                    HostPattern::Exact(name) => (&mut table.exact, name),
                    HostPattern::Below(domain) => (&mut table.below, domain),
                };
                hosts.entry(name.as_bytes().into()).or_default().add(path, number as u32);
            }
        }
        table
    }

    /// Every list of routes whose host and path mean these; `path`: in normal form, `None` where there is none.
    fn candidates(&self, host: &[u8], path: Option<&[u8]>, mut visit: impl FnMut(&[u32])) {
        if let Some(paths) = self.exact.get(host) {
            paths.candidates(path, &mut visit);
        }
        if !self.below.is_empty() {
            for domain in domains(host) {
                if let Some(paths) = self.below.get(domain) {
                    paths.candidates(path, &mut visit);
                }
            }
        }
        self.any.candidates(path, &mut visit);
    }

    /// No route means a request: is that because of its method?
    fn methods(&self, host: &[u8], path: Option<&[u8]>, asked: &Asked<'_>) -> Verdict {
        let mut methods: Vec<&str> = Vec::new();
        self.candidates(host, path, |candidates| {
            for route in candidates {
                let conditions = &self.routes[*route as usize].conditions;
                if matching::all_but_method(conditions, asked) {
                    methods.extend(conditions.method.iter().map(String::as_str));
                }
            }
        });
        methods.sort_unstable();
        methods.dedup();
        match methods.is_empty() {
            true => Verdict::NoRoute,
            false => Verdict::WrongMethod(methods.join(", ")),
        }
    }
}

impl Paths {
    fn add(&mut self, patterns: &[PathPattern], route: u32) {
        let push = |list: &mut Vec<u32>| {
            // Two patterns of one route may be the same.
            if list.last() != Some(&route) {
                list.push(route);
            }
        };
        if patterns.is_empty() {
            push(&mut self.any);
        }
        for PathPattern { normal, below, .. } in patterns {
            let mut node = &mut self.root;
            for segment in segments(normal) {
                node = node.children.entry(segment.into()).or_default();
            }
            push(if *below { &mut node.below } else { &mut node.exact });
        }
    }

    fn candidates(&self, path: Option<&[u8]>, visit: &mut impl FnMut(&[u32])) {
        visit(&self.any);
        let Some(path) = path else { return };
        let mut node = &self.root;
        visit(&node.below);
        for segment in segments(path) {
            // The last segment of `/x/` is empty: `/x/*` is above it, and `/x` another path.
            let Some(child) = node.children.get(segment) else { return };
            node = child;
            visit(&node.below);
        }
        visit(&node.exact);
    }
}

/// The segments of a path: of `/a/b` two, of `/a/` two, of which the last is empty, of `/` one, of nothing none.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let rest = path.strip_prefix(b"/");
    rest.into_iter().flat_map(|rest| rest.split(|octet| *octet == b'/'))
}

/// The domains that `host` is below.
fn domains(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    memchr::memchr_iter(b'.', host).map(|dot| &host[dot + 1..])
}

/// A host in lower case, without a dot at its end; what is too long is no host of any route.
fn lower<'b>(host: &[u8], buffer: &'b mut [u8; HOST_MOST]) -> &'b [u8] {
    let host = host.strip_suffix(b".").unwrap_or(host);
    let Some(place) = buffer.get_mut(..host.len()) else { return b"" };
    place.copy_from_slice(host);
    place.make_ascii_lowercase();
    place
}

/// The routes that no request can take, each with an earlier one that takes it all: by their places in the plan.
pub fn unreachable(plan: &Plan) -> Vec<(usize, usize)> {
    let table = Table::new(&plan.routes);
    let mut found = Vec::new();
    for (number, route) in plan.routes.iter().enumerate() {
        let Conditions { host, path, .. } = &route.conditions;
        let hosts: Vec<Option<&HostPattern>> =
            if host.is_empty() { vec![None] } else { host.iter().map(Some).collect() };
        let paths: Vec<Option<&PathPattern>> =
            if path.is_empty() { vec![None] } else { path.iter().map(Some).collect() };
        let mut earlier = None;
        let all = hosts.iter().all(|host| {
            paths.iter().all(|path| {
                earlier = table.earlier(number as u32, *host, *path).or(earlier);
                table.earlier(number as u32, *host, *path).is_some()
            })
        });
        if let (true, Some(earlier)) = (all, earlier) {
            found.push((number, earlier as usize));
        }
    }
    found
}

impl Table {
    /// A route before `route` that takes in whatever that one means of this host and path.
    fn earlier(
        &self,
        route: u32,
        host: Option<&HostPattern>,
        path: Option<&PathPattern>,
    ) -> Option<u32> {
        let mut found = None;
        let mut compared = 0;
        let own = &self.routes[route as usize].conditions;
        let mut visit = |candidates: &[u32]| {
            let candidates = candidates.iter().take_while(|known| **known < route);
            for known in candidates.take(COMPARED) {
                compared += 1;
                if found.is_none()
                    && compared <= COMPARED
                    && matching::takes_in(&self.routes[*known as usize].conditions, own)
                {
                    found = Some(*known);
                }
            }
        };
        let mut visit_paths = |paths: &Paths| {
            visit(&paths.any);
            let mut node = &paths.root;
            visit(&node.below);
            let Some(PathPattern { normal, below, .. }) = path else { return };
            for segment in segments(normal) {
                let Some(child) = node.children.get(segment) else { return };
                node = child;
                visit(&node.below);
            }
            if !below {
                visit(&node.exact);
            }
        };
        match host {
            Some(HostPattern::Exact(name)) => {
                self.exact.get(name.as_bytes()).into_iter().for_each(&mut visit_paths);
                let above = domains(name.as_bytes()).filter_map(|domain| self.below.get(domain));
                above.for_each(&mut visit_paths);
            }
            Some(HostPattern::Below(domain)) => {
                self.below.get(domain.as_bytes()).into_iter().for_each(&mut visit_paths);
                let above = domains(domain.as_bytes()).filter_map(|domain| self.below.get(domain));
                above.for_each(&mut visit_paths);
            }
            None => {}
        }
        visit_paths(&self.any);
        found
    }
}
