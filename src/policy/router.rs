//! Which route a request takes: of all whose conditions hold, the first.
//!
//! A host leads to a tree of paths, and that to the few routes that may match the request, in their order; of those
//! alone the other conditions are looked at. So the number of routes hardly matters.

use std::fmt;
use std::sync::Arc;

// Its tables hold what the plan says, and nothing that a client sends: nobody can fill a slot on purpose.
use rustc_hash::FxHashMap;

use super::input::MatchInput;
use super::matching;
use crate::config::{Conditions, HostPattern, Listen, PathPattern, Plan, RouteAction, RouteSpec};
use crate::http::{host, path};

/// The routes of a plan, to be looked up. Clones share its table.
#[derive(Clone)]
pub struct Router {
    table: Arc<Table>,
    first_matches_all: bool,
    /// Where paths must be unambiguous.
    unambiguous: UnambiguousPaths,
}

/// The routes by host and path.
struct Table {
    routes: Arc<[RouteSpec]>,
    /// Those that look at nothing but host and path.
    plain: Vec<bool>,
    /// The first route matches every request: there is nothing to look up.
    first_matches_all: bool,
    exact: FxHashMap<Box<[u8]>, Paths>,
    below: FxHashMap<Box<[u8]>, Paths>,
    any: Paths,
}

/// Listeners on which paths must be unambiguous: those with a route that looks at a path, or changes one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum UnambiguousPaths {
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
    children: FxHashMap<Box<[u8]>, Node>,
}

/// Storage that look-ups use again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    path: Vec<u8>,
}

/// What a look-up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This route takes it, by its place in the plan.
    Route(usize),
    /// Only its method is none of those that there are, which are these.
    WrongMethod(String),
    /// No route matches it.
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
        let unambiguous = UnambiguousPaths::of(plan);
        let first_matches_all =
            table.first_matches_all && unambiguous == UnambiguousPaths::At(Vec::new());
        Router { table, first_matches_all, unambiguous }
    }

    /// Every request takes the first route, so there is nothing to look up.
    #[inline]
    pub fn first_matches_all(&self) -> bool {
        self.first_matches_all
    }

    /// As [`Router::find`], and the request that the route was found for: a preflight takes that of the one that it is
    /// about, where that route answers preflights.
    pub fn find_for<'i>(
        &self,
        input: &MatchInput<'i>,
        scratch: &mut Scratch,
    ) -> (Verdict, MatchInput<'i>) {
        if let Some(about) = input.asked_about()
            && let Verdict::Route(route) = self.find(&about, scratch)
            && self.table.routes[route].gate.cors.is_some()
        {
            return (Verdict::Route(route), about);
        }
        (self.find(input, scratch), *input)
    }

    /// The route that a request takes.
    pub fn find(&self, input: &MatchInput<'_>, scratch: &mut Scratch) -> Verdict {
        let is_strict = self.unambiguous.applies_at(input.listen);
        if self.table.first_matches_all && !is_strict {
            return Verdict::Route(0);
        }
        let (path, _) = input.path_and_query();
        let path = match path::normal(path, &mut scratch.path) {
            Ok(path) => Some(path),
            // `OPTIONS *` is about no path.
            Err(_) if path == b"*" || !is_strict => None,
            Err(_) => return Verdict::AmbiguousPath,
        };
        let mut buffer = [0; host::LONGEST];
        let host = host::normal(input.host(), &mut buffer);
        let Table { routes, plain, .. } = &*self.table;
        let mut first = u32::MAX;
        self.table.candidates(host, path, |candidates| {
            let holds = |route: u32| {
                let route = route as usize;
                plain[route] || matching::all(&routes[route].conditions, input)
            };
            let earlier = candidates.iter().take_while(|route| **route < first);
            first = earlier.copied().find(|route| holds(*route)).unwrap_or(first);
        });
        match first {
            u32::MAX => self.table.methods(host, path, input),
            first => Verdict::Route(first as usize),
        }
    }
}

impl UnambiguousPaths {
    fn of(plan: &Plan) -> UnambiguousPaths {
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
                RouteAction::Respond(_) | RouteAction::Admin => false,
            };
            if route.conditions.path.is_empty() && !changes {
                continue;
            }
            if route.conditions.listen.is_empty() {
                return UnambiguousPaths::Everywhere;
            }
            at.extend(route.conditions.listen.iter().cloned());
        }
        at.sort_by_cached_key(Listen::to_string);
        at.dedup();
        UnambiguousPaths::At(at)
    }

    fn applies_at(&self, listen: &Listen) -> bool {
        match self {
            UnambiguousPaths::At(at) => at.iter().any(|one| matching::is_at(one, listen)),
            UnambiguousPaths::Everywhere => true,
        }
    }
}

impl Table {
    fn new(routes: &Arc<[RouteSpec]>) -> Table {
        let mut table = Table {
            routes: Arc::clone(routes),
            plain: routes.iter().map(|route| matching::is_plain(&route.conditions)).collect(),
            first_matches_all: routes.first().is_some_and(|route| route.conditions.is_empty()),
            exact: FxHashMap::default(),
            below: FxHashMap::default(),
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

    /// Every list of routes whose host and path match these; `path`: in normal form, `None` where there is none.
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

    /// No route matches a request: is that because of its method?
    fn methods(&self, host: &[u8], path: Option<&[u8]>, input: &MatchInput<'_>) -> Verdict {
        let mut methods: Vec<&str> = Vec::new();
        self.candidates(host, path, |candidates| {
            for route in candidates {
                let conditions = &self.routes[*route as usize].conditions;
                if matching::all_but_method(conditions, input) {
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

#[cfg(test)]
mod tests {
    use super::super::testing::input;
    use super::*;
    use crate::config::testing::plan;

    fn found(router: &Router, head: &str) -> Verdict {
        input(head, |input| router.find(input, &mut Scratch::default()))
    }

    /// A file with routes of these names and conditions.
    fn routes(routes: &[&str]) -> Plan {
        let route =
            |(number, conditions)| format!("[[route]]\nname = \"r{number}\"\n{conditions}\n");
        let routes: String = routes.iter().enumerate().map(route).collect();
        plan(&format!("listen = [':80', '127.0.0.1:81']\nupstream = 'http://a:1'\n{routes}"))
    }

    #[test]
    fn the_first_route_whose_conditions_hold_takes_a_request() {
        let plan = routes(&[
            "host = 'a.example'\npath = '/x/*'",
            "host = '*.example'\npath = ['/x', '/y']\nmethod = ['GET', 'PUT']",
            "header = { X-Env = ['test', 'dev'], X-Debug = true }",
            "query = { v = '1' }",
            "client = '198.51.100.0/24'",
            "listen = '127.0.0.1:81'",
            "path = '/z/*'\nmethod = 'POST'",
            "host = 'b.example'\npath = '/*'",
        ]);
        let router = Router::new(&plan, None);
        let route = |number| Verdict::Route(number);
        for (head, expected) in [
            ("GET /x HTTP/1.1\r\nHost: a.example", route(0)),
            ("GET /x/ HTTP/1.1\r\nHost: A.Example.:80", route(0)),
            ("GET /%78/b?c HTTP/1.1\r\nHost: a.example", route(0)),
            ("GET http://a.example/x/y HTTP/1.1\r\nHost: b.example", route(0)),
            ("GET /x;a=b/y HTTP/1.1\r\nHost: a.example", route(0)),
            ("GET /xy HTTP/1.1\r\nHost: a.example", Verdict::NoRoute),
            ("GET /X HTTP/1.1\r\nHost: a.example", Verdict::NoRoute),
            ("PUT /y HTTP/1.1\r\nHost: a.b.example", route(1)),
            ("PUT /y HTTP/1.1\r\nHost: example", Verdict::NoRoute),
            ("PUT /y/ HTTP/1.1\r\nHost: a.b.example", Verdict::NoRoute),
            ("POST /y HTTP/1.1\r\nHost: c.example", Verdict::WrongMethod("GET, PUT".into())),
            ("HEAD /y HTTP/1.1\r\nHost: b.example", route(7)),
            ("GET /q HTTP/1.1\r\nHost: q\r\nx-env: dev\r\nX-Debug:", route(2)),
            ("GET /q HTTP/1.1\r\nHost: q\r\nx-env: dev", Verdict::NoRoute),
            ("GET /q HTTP/1.1\r\nHost: q\r\nx-env: Dev\r\nX-Debug:", Verdict::NoRoute),
            ("GET /q?a&v=%31 HTTP/1.1\r\nHost: q", route(3)),
            ("GET /q?v=2 HTTP/1.1\r\nHost: q", Verdict::NoRoute),
            ("GET /z/a HTTP/1.1\r\nHost: q", Verdict::WrongMethod("POST".into())),
            ("GET /x/../y HTTP/1.1\r\nHost: q", Verdict::AmbiguousPath),
            ("GET //x HTTP/1.1\r\nHost: q", Verdict::AmbiguousPath),
            ("GET /a%2Fb HTTP/1.1\r\nHost: q", Verdict::AmbiguousPath),
            ("GET /?a=/../b HTTP/1.1\r\nHost: q", Verdict::NoRoute),
            ("OPTIONS * HTTP/1.1\r\nHost: b.example", Verdict::NoRoute),
            ("GET / HTTP/1.0", Verdict::NoRoute),
        ] {
            assert_eq!(found(&router, head), expected, "{head}");
        }
    }

    #[test]
    fn only_where_routes_look_at_paths_must_they_be_unambiguous() {
        for (conditions, expected) in [
            ("host = 'q'", Verdict::Route(0)),
            ("", Verdict::Route(0)),
            ("listen = '127.0.0.1:81'\npath = '/a'", Verdict::NoRoute),
            ("listen = ':80'\npath = '/a'", Verdict::AmbiguousPath),
            ("path = '/a'", Verdict::AmbiguousPath),
            ("add-prefix = '/a'", Verdict::AmbiguousPath),
            ("pool = { upstream = 'http://a:1/b' }", Verdict::AmbiguousPath),
            ("redirect = 'https://{host}{uri}'", Verdict::Route(0)),
            ("redirect = '{uri}'", Verdict::AmbiguousPath),
        ] {
            let router = Router::new(&routes(&[conditions]), None);
            let found = found(&router, "GET /x/../y//z HTTP/1.1\r\nHost: q");
            assert_eq!(found, expected, "{conditions}");
        }
    }

    #[test]
    fn a_table_is_used_again_where_routes_are_the_same() {
        let plan = routes(&["path = '/a'"]);
        let first = Router::new(&plan, None);
        let second = Router::new(&plan.clone(), Some(&first));
        assert!(Arc::ptr_eq(&first.table, &second.table));
        let other = Router::new(&routes(&["path = '/a'"]), Some(&first));
        assert!(!Arc::ptr_eq(&first.table, &other.table));
    }

    /// Whether a route matches a request, by the words of the manual.
    fn matches(route: &RouteSpec, host: &str, path: &str, method: &str) -> bool {
        let Conditions { host: hosts, path: paths, method: methods, .. } = &route.conditions;
        let is_host = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(name) => host == name,
            HostPattern::Below(domain) => host.ends_with(&format!(".{domain}")),
        };
        let is_path = |pattern: &PathPattern| match pattern.text.strip_suffix("/*") {
            Some(start) => path == start || path.starts_with(&format!("{start}/")),
            None => path == pattern.text,
        };
        (hosts.is_empty() || hosts.iter().any(is_host))
            && (paths.is_empty() || paths.iter().any(is_path))
            && (methods.is_empty() || methods.iter().any(|own| own == method))
    }

    #[test]
    fn a_look_up_finds_what_a_walk_through_all_routes_would() {
        let mut seed = 7_u64;
        let mut below = |most: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % most
        };
        const HOSTS: [&str; 6] = ["a", "b.a", "*.a", "*.b.a", "c.b.a", "*.c.b.a"];
        const PATHS: [&str; 8] = ["/", "/*", "/x", "/x/*", "/x/", "/x/y", "/x/y/*", "/z/*"];
        const METHODS: [&str; 2] = ["GET", "PUT"];
        for _ in 0..60 {
            let conditions: Vec<String> = (0..12)
                .map(|_| {
                    let mut some = |key: &str, all: &[&str]| match below(3) {
                        0 => String::new(),
                        n => {
                            let items: Vec<String> =
                                (0..n).map(|_| format!("'{}'", all[below(all.len())])).collect();
                            format!("{key} = [{}]\n", items.join(", "))
                        }
                    };
                    some("host", &HOSTS) + &some("path", &PATHS) + &some("method", &METHODS)
                })
                .collect();
            let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
            let plan = routes(&conditions);
            let router = Router::new(&plan, None);
            for host in ["a", "b.a", "c.b.a", "d.c.b.a", "x"] {
                for path in ["/", "/x", "/x/", "/x/y", "/x/y/", "/x/y/w", "/z", "/zz"] {
                    for method in METHODS {
                        let walk = plan.routes.iter().position(|r| matches(r, host, path, method));
                        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}");
                        let found = match found(&router, &head) {
                            Verdict::Route(route) => Some(route),
                            Verdict::NoRoute | Verdict::WrongMethod(_) => None,
                            Verdict::AmbiguousPath => panic!("{path}"),
                        };
                        assert_eq!(found, walk, "{head}\n{conditions:?}");
                    }
                }
            }
        }
    }
}
