//! How the upstreams of a pool are looked after: as the top says, but for what the pool says itself, key by key.
//!
//! What can be switched off is kept with all its keys: where the top says how, a pool may say that.

use std::sync::Arc;
use std::time::Duration;

use super::diagnostics::wrong;
use super::failures::{failure, retried, statuses};
use super::file::Section;
use super::given::{Given, Origin};
use super::keys;
use super::parts::{
    address, authority, balance, body, cookie, hash_key, probe, resolve, secret, target,
};
use super::plan::ExchangeSpec;
use super::pool::*;
use super::sections::set;
use super::settings::Settings;
use super::table::{self, Form, POOL};
use super::tls::UpstreamTlsSpec;
use super::values;

/// What the top or a pool says, in use or not.
#[derive(Clone, Debug)]
pub struct Care {
    balance: Balance,
    hash: HashKey,
    sticky: Switched<Sticky>,
    health: Switched<HealthSpec>,
    breaker: Switched<BreakerSpec>,
    queue: Switched<QueueSpec>,
    slow_start: Duration,
    retry_budget: u32,
    resolve: Resolve,
    connections: ConnectionSpec,
    tls: Arc<UpstreamTlsSpec>,
}

/// What may be in use, and how it is then.
#[derive(Clone, Debug)]
struct Switched<T> {
    on: bool,
    spec: T,
}

impl<T: Clone> Switched<T> {
    fn off(spec: T) -> Switched<T> {
        Switched { on: false, spec }
    }

    fn used(&self) -> Option<T> {
        self.on.then(|| self.spec.clone())
    }
}

/// Statuses of an answer that is not on its way to another.
const FINAL: (u16, u16) = (200, 599);
/// Items of a list.
const MOST: usize = 32;
/// Keys that switch checks on, and those that switch the breaker on.
const OF_HEALTH: [&str; 9] = [
    "health-path",
    "health-method",
    "health-host",
    "health-status",
    "health-body",
    "health-interval",
    "health-timeout",
    "health-fall",
    "health-rise",
];
const OF_BREAKER: [&str; 5] =
    ["breaker-failures", "breaker-open", "breaker-probes", "breaker-on", "breaker-fail-open"];

impl Care {
    /// Where nothing is said. Most settings have a default, so little is left of this when the top is read.
    pub fn none() -> Care {
        const ZERO: Duration = Duration::ZERO;
        Care {
            balance: Balance::RoundRobin,
            hash: HashKey::Client,
            sticky: Switched::off(Sticky { cookie: String::new(), max_age: None, secret: None }),
            health: Switched::off(HealthSpec {
                method: ProbeMethod::Get,
                path: String::new(),
                host: None,
                status: Vec::new(),
                body: String::new(),
                interval: ZERO,
                timeout: ZERO,
                fall: 0,
                rise: 0,
            }),
            breaker: Switched::off(BreakerSpec {
                failures: 0,
                open: ZERO,
                probes: 0,
                on: Failures::default(),
                fail_open: false,
            }),
            queue: Switched::off(QueueSpec { max_requests: 0, size: 0, wait: ZERO }),
            slow_start: ZERO,
            retry_budget: 0,
            resolve: Resolve::AtStart,
            connections: ConnectionSpec {
                idle_timeout: ZERO,
                max_idle: 0,
                max_age: ZERO,
                max_requests: 0,
                keep_alive: ZERO,
                proxy_protocol: None,
                bind: None,
            },
            tls: Arc::default(),
        }
    }

    /// TLS towards upstreams.
    pub fn tls(&self) -> &Arc<UpstreamTlsSpec> {
        &self.tls
    }

    /// The pool that is looked after so.
    pub fn pool(
        &self,
        name: &str,
        upstreams: Vec<UpstreamSpec>,
        exchange: Arc<ExchangeSpec>,
    ) -> PoolSpec {
        let balance = match &self.balance {
            Balance::Hash(_) => Balance::Hash(self.hash.clone()),
            other => other.clone(),
        };
        PoolSpec {
            name: name.into(),
            upstreams,
            balance,
            sticky: self.sticky.used(),
            health: self.health.used(),
            breaker: self.breaker.used(),
            slow_start: self.slow_start,
            queue: self.queue.used(),
            retry_budget: self.retry_budget,
            resolve: self.resolve,
            connections: self.connections,
            tls: Arc::clone(&self.tls),
            exchange,
        }
    }
}

impl Settings<'_> {
    /// As `above` says, but for what is said here.
    pub fn care(&mut self, above: &Care) -> Care {
        let mut care = above.clone();
        self.balance(&mut care);
        self.sticky(&mut care.sticky);
        self.health(&mut care.health);
        self.breaker(&mut care.breaker);
        self.queue(&mut care.queue);
        set(&mut care.slow_start, self.wait_here("slow-start"));
        set(&mut care.retry_budget, self.count_here("retry-budget"));
        set(&mut care.resolve, self.one("resolve", resolve));
        let connections = &mut care.connections;
        set(&mut connections.idle_timeout, self.wait_here("upstream-idle-timeout"));
        set(&mut connections.max_idle, self.number_here("max-upstream-idle").map(|n| n as usize));
        let max_age = self.number_or_any("upstream-max-age");
        set(&mut connections.max_age, max_age.map(Duration::from_millis));
        let max_requests = self.number_or_any("upstream-max-requests");
        set(&mut connections.max_requests, max_requests.map(|most| most as u32));
        set(&mut connections.keep_alive, self.wait_here("upstream-keep-alive"));
        set(&mut connections.bind, self.one("upstream-bind", address));
        let versions = [("off", None)].into_iter().chain(ProxyVersion::ALL);
        let versions: Vec<_> = versions.collect();
        let version = self.one("upstream-proxy-protocol", |text| values::choice(&versions, text));
        set(&mut connections.proxy_protocol, version);
        care.tls = self.upstream_tls(&care.tls);
        care
    }

    fn count_here(&mut self, name: &str) -> Option<u32> {
        self.number_here(name).map(|number| number as u32)
    }

    fn balance(&mut self, care: &mut Care) {
        let key = self.one("hash", hash_key);
        let (is_chosen, is_keyed) = (self.is_given("balance"), key.is_some());
        let word = self.one("balance", balance);
        set(&mut care.hash, key);
        match word {
            Some(word) if is_chosen || !is_keyed => care.balance = word,
            _ if is_keyed => care.balance = Balance::Hash(HashKey::Client),
            _ => {}
        }
        if is_keyed
            && !matches!(care.balance, Balance::Hash(_))
            && let Some(given) = self.given("hash").first()
        {
            let what = "this is not used, since balance is something else";
            self.warn(given, wrong(what, "leave one of the two out"));
        }
    }

    fn sticky(&mut self, Switched { on, spec }: &mut Switched<Sticky>) {
        let cookie = self.one("sticky-cookie", cookie);
        // One that is refused is wanted all the same.
        *on = cookie.as_ref().map_or(*on || self.is_given("sticky-cookie"), Option::is_some);
        set(&mut spec.cookie, cookie.flatten());
        let max_age = self.number_or_off("sticky-max-age");
        set(&mut spec.max_age, max_age.map(|ms| ms.map(Duration::from_millis)));
        set(&mut spec.secret, self.secret("sticky-secret", secret));
        let what = "there is no cookie that this is about";
        self.needs(*on, &["sticky-max-age", "sticky-secret"], what, ("sticky-cookie", "tg"));
    }

    fn health(&mut self, Switched { on, spec }: &mut Switched<HealthSpec>) {
        *on = self.is_on(*on, "health", &OF_HEALTH);
        set(&mut spec.path, self.one("health-path", target));
        set(&mut spec.method, self.one("health-method", probe));
        set(&mut spec.host, self.one("health-host", authority));
        let ranges = self.list("health-status", MOST, |text| statuses(FINAL, text));
        set(&mut spec.status, (!ranges.is_empty()).then_some(ranges));
        let own_body = self.one("health-body", body);
        let is_own = own_body.is_some();
        set(&mut spec.body, own_body);
        set(&mut spec.interval, self.wait_here("health-interval"));
        set(&mut spec.timeout, self.wait_here("health-timeout"));
        set(&mut spec.fall, self.count_here("health-fall"));
        set(&mut spec.rise, self.count_here("health-rise"));
        if spec.method != ProbeMethod::Get && !is_own {
            // From above, where checks are of another kind: nothing here has such a text in it.
            spec.body.clear();
        }
        let no_body = spec.method != ProbeMethod::Get && !spec.body.is_empty();
        let no_status = spec.method == ProbeMethod::Connect;
        for (is_odd, key, what, others) in [
            (no_body, "health-body", "with head and connect no body is read", "get"),
            (no_status, "health-status", "with connect no status is read", "get or head"),
        ] {
            let given = self.given(key).into_iter().find(|one| one.origin != Origin::Default);
            if let (true, Some(given)) = (is_odd, given) {
                let part = 0..given.text.len();
                let right = format!("leave it out, or make health-method {others}");
                self.refuse(&given, part, wrong(what, right));
            }
        }
    }

    fn breaker(&mut self, Switched { on, spec }: &mut Switched<BreakerSpec>) {
        *on = self.is_on(*on, "breaker", &OF_BREAKER);
        set(&mut spec.failures, self.count_here("breaker-failures"));
        set(&mut spec.open, self.wait_here("breaker-open"));
        set(&mut spec.probes, self.count_here("breaker-probes"));
        set(&mut spec.on, self.failures("breaker-on"));
        set(&mut spec.fail_open, self.one("breaker-fail-open", values::switch));
    }

    fn queue(&mut self, Switched { on, spec }: &mut Switched<QueueSpec>) {
        let most = self.number_or_off("queue-max-requests");
        *on = most.map_or(*on || self.is_given("queue-max-requests"), |most| most.is_some());
        set(&mut spec.max_requests, most.flatten().map(|most| most as u32));
        set(&mut spec.size, self.count_here("queue-size"));
        set(&mut spec.wait, self.wait_here("queue-wait"));
        let what = "a queue needs to know how many requests may be under way";
        self.needs(*on, &["queue-size", "queue-wait"], what, ("queue-max-requests", "200"));
    }

    /// What `above` has, unless `switch` is given here, or any of `keys`, which switches it on.
    fn is_on(&mut self, above: bool, switch: &str, keys: &[&str]) -> bool {
        let given = keys.iter().flat_map(|key| self.given(key));
        let given: Vec<Given> = given.filter(|one| one.origin != Origin::Default).collect();
        if !self.is_given(switch) {
            return above || !given.is_empty();
        }
        let origin = self.given(switch).into_iter().next().map(|given| given.origin);
        let on = self.one(switch, values::switch).unwrap_or(true);
        if let (false, Some(origin)) = (on, origin) {
            let what = format!("this is not used, since {switch} is off");
            for given in given.iter().filter(|given| is_same_layer(&given.origin, &origin)) {
                self.warn(given, wrong(&what, "leave one of the two out"));
            }
        }
        on
    }

    /// Where something is off, none of `keys` may be given: `missing` and its value would switch it on.
    fn needs(&mut self, on: bool, keys: &[&str], what: &str, missing: (&'static str, &str)) {
        let (name, value) = missing;
        let given = keys.iter().flat_map(|key| self.given(key));
        let first = given.into_iter().find(|given| given.origin != Origin::Default);
        let Some(given) = first.filter(|_| !on) else { return };
        // Said at the top for the pools that have it.
        let is_on = |section: &Section| {
            let values = section.given.get(name).into_iter().flatten();
            section.scope == POOL && values.into_iter().any(|one| !values::is_off(&one.text))
        };
        if self.section.is_none() && self.layers.sections.iter().any(is_on) {
            return;
        }
        if self.is_given(name) {
            let what = format!("this is not used, since {name} is off");
            return self.warn(&given, wrong(what, "leave one of the two out"));
        }
        let right = match given.origin {
            Origin::File(_) => {
                let key = keys::key_of(name).rsplit('.').next().unwrap_or(name);
                let is_count = table::find(name).is_some_and(|one| one.form == Form::CountOrOff);
                let quote = if is_count { "" } else { "\"" };
                format!("write {key} = {quote}{value}{quote} beside it")
            }
            Origin::Env(_) | Origin::Dotenv(_) => {
                format!("set {}={value}", table::variable(name))
            }
            _ => format!("write --{name} {value}"),
        };
        self.refuse_one(&given, wrong(what, right));
    }

    /// Failures, where they are given.
    pub fn failures(&mut self, name: &str) -> Option<Failures> {
        let read = if name == "retry-on" { retried } else { failure };
        let all = self.list(name, MOST, read);
        all.into_iter().reduce(Failures::with)
    }
}

/// Both stood in one layer: flags, environment, dotenv file, or configuration file.
pub(super) fn is_same_layer(one: &Origin, other: &Origin) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

#[cfg(test)]
mod tests {
    use super::super::{plan::Plan, pool::Secret, testing, written};

    /// What a pool says of these settings, as it would be written.
    fn said(plan: &Plan, pool: &str, settings: &str) -> String {
        let rows = written::care(plan.pool(pool).unwrap());
        let value = |name: &str| rows.iter().find(|(known, _)| *known == name).map(|row| &*row.1);
        let all = settings.split(' ').map(|name| value(name).unwrap_or("-").to_owned());
        all.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_pool_says_otherwise_key_by_key() {
        let health = "health health-path health-interval health-fall";
        let breaker = "breaker breaker-failures breaker-on breaker-fail-open";
        let queue = "queue-max-requests queue-size queue-wait";
        let sticky = "sticky-cookie sticky-max-age";
        let others = "retry-budget resolve upstream-bind slow-start max-upstream-idle";
        for (settings, flags, top, own, expected) in [
            // Off, unless anything is said of it.
            (health, "", "", "", "off - - -"),
            (health, "", "", "health = true", "on / 10s 3"),
            (health, "", "", "health = '/up'", "on /up 10s 3"),
            (health, "", "", "health = { fall = 5 }", "on / 10s 5"),
            (health, "", "health = '/up'", "", "on /up 10s 3"),
            (
                health,
                "",
                "health = { path = '/up', fall = 1 }",
                "health = { fall = 5 }",
                "on /up 10s 5",
            ),
            (health, "", "health = '/up'", "health = false", "off - - -"),
            (health, "", "health = '/up'", "health = true", "on /up 10s 3"),
            // Flags are the top, and stronger than what the file says there.
            (health, "--health", "", "", "on / 10s 3"),
            (health, "--health-interval 1s", "health = { interval = '2s' }", "", "on / 1s 3"),
            (health, "--health-interval 1s", "", "health = { interval = '2s' }", "on / 2s 3"),
            (health, "--health off", "health = '/up'", "", "off - - -"),
            (health, "--health off", "health = '/up'", "health = { fall = 2 }", "on /up 10s 2"),
            (breaker, "", "breaker = true", "", "on 5 connect,timeout,closed,5xx off"),
            (
                breaker,
                "",
                "breaker = { on = ['5xx', 429] }",
                "breaker = { failures = 1 }",
                "on 1 5xx,429 off",
            ),
            (breaker, "--breaker-fail-open", "", "breaker = false", "off - - -"),
            (queue, "", "", "queue = 9", "9 500 2s"),
            (
                queue,
                "",
                "queue = { max-requests = 9, size = 0 }",
                "queue = { wait = '1s' }",
                "9 0 1s",
            ),
            (queue, "", "queue = 9", "queue = 'off'", "off - -"),
            (sticky, "", "sticky = 'a'", "", "a off"),
            (sticky, "", "sticky = 'a'", "sticky = { max-age = '1h' }", "a 1h"),
            (sticky, "", "sticky = { cookie = 'a', max-age = '1h' }", "sticky = 'b'", "b 1h"),
            (sticky, "", "sticky = 'a'", "sticky = 'off'", "off -"),
            (others, "", "", "", "20% once off 0s 1024"),
            (
                others,
                "--resolve 5s --retry-budget 1%",
                "upstream-bind = '::1'\nslow-start = '9s'",
                "max-upstream-idle = 3\nresolve = '5m'",
                "1% 5m ::1 9s 3",
            ),
        ] {
            let text =
                format!("{top}\n[pool.p]\nupstream = 'http://a:1'\n{own}\n[[route]]\npool = 'p'\n");
            let flags: Vec<&str> = flags.split_whitespace().collect();
            let loaded = testing::loaded(&text, &flags);
            let (plan, report) = loaded.unwrap_or_else(|told| panic!("{}", told.text()));
            assert_eq!(said(&plan, "p", settings), expected, "{flags:?}\n{text}");
            assert_eq!(report.warnings, Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_text_from_above_is_not_looked_for_where_no_body_comes() {
        let settings = "health-method health-body health-status";
        for (top, own, expected) in [
            ("body = 'ok'", "method = 'head'", "head  200-399"),
            ("body = 'ok', status = 204", "method = 'connect'", "connect  204"),
            ("method = 'head'", "method = 'get', body = 'ok'", "get ok 200-399"),
            ("body = 'ok'", "method = 'head', body = ''", "head  200-399"),
        ] {
            let text = format!(
                "health = {{ {top} }}\n[pool.p]\nupstream = 'http://a:1'\nhealth = {{ {own} }}\n\
                 [[route]]\npool = 'p'\n"
            );
            let (plan, report) =
                testing::loaded(&text, &[]).unwrap_or_else(|told| panic!("{}", told.text()));
            assert_eq!(said(&plan, "p", settings), expected, "{text}");
            assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        }
    }

    #[test]
    fn what_goes_with_a_switch_may_stand_above_it() {
        for (top, own, settings, expected) in [
            ("queue = { size = 3 }", "queue = 9", "queue-max-requests queue-size", "9 3"),
            ("sticky = { max-age = '1h' }", "sticky = 'a'", "sticky-cookie sticky-max-age", "a 1h"),
        ] {
            let pool = |own: &str| {
                format!("{top}\n[pool.p]\nupstream = 'http://a:1'\n{own}\n[[route]]\npool = 'p'\n")
            };
            let (plan, _) =
                testing::loaded(&pool(own), &[]).unwrap_or_else(|told| panic!("{}", told.text()));
            assert_eq!(said(&plan, "p", settings), expected, "{own}");
            let flag = ["--sticky-secret", "0123456789abcdef"];
            let is_taken = testing::loaded(&pool(own), &flag).is_ok();
            assert_eq!(is_taken, own.starts_with("sticky"), "{own}");
            let (switch, _) = own.split_once(' ').unwrap();
            for off in [String::new(), format!("{switch} = 'off'")] {
                assert!(testing::loaded(&pool(&off), &[]).is_err(), "{off}");
            }
        }
    }

    #[test]
    fn a_hash_key_makes_the_balance_a_hash() {
        for (top, own, expected, warnings) in [
            ("", "", "round-robin ", 0),
            ("", "hash = 'path'", "hash path", 0),
            ("", "balance = 'hash'", "hash client", 0),
            ("hash = 'uri'", "", "hash uri", 0),
            ("hash = 'uri'", "balance = 'two-choices'", "two-choices ", 0),
            ("balance = 'two-choices'", "hash = 'cookie:a'", "hash cookie:a", 0),
            ("hash = 'uri'\nbalance = 'two-choices'", "balance = 'hash'", "hash uri", 1),
            ("", "hash = 'uri'\nbalance = 'round-robin'", "round-robin ", 1),
        ] {
            let text =
                format!("{top}\n[pool.p]\nupstream = 'http://a:1'\n{own}\n[[route]]\npool = 'p'\n");
            let (plan, report) = testing::loaded(&text, &[]).unwrap();
            assert_eq!(said(&plan, "p", "balance hash"), expected, "{text}");
            assert_eq!(report.warnings.len(), warnings, "{text}");
        }
    }

    #[test]
    fn retries_are_said_at_the_top_in_pools_and_in_routes() {
        let text = "retry-on = '5xx'\ntry-timeout = '1s'\n\
                    [pool.p]\nupstream = 'http://a:1'\nhedge = '2s'\nretry-on = ['timeout', 'closed']\n\
                    [[route]]\npool = 'p'\nretry-buffer = '1KiB'\nretry-on = 502\n";
        let plan = testing::plan(text);
        let retry = |exchange: &super::ExchangeSpec| {
            let super::RetrySpec { on, try_timeout, hedge, buffer, most } = &exchange.retry;
            format!("{most} {on} {try_timeout:?} {hedge:?} {buffer}")
        };
        assert_eq!(retry(&plan.exchange), "2 5xx 1s 0ns 0");
        assert_eq!(retry(&plan.pools[0].exchange), "2 timeout,closed 1s 2s 0");
        let super::super::route::RouteAction::Forward(forward) = &plan.routes[0].action else {
            panic!("{:?}", plan.routes[0]);
        };
        assert_eq!(retry(&forward.shares[0].exchange), "2 502 1s 2s 1024");
    }

    #[test]
    fn a_secret_is_shown_to_nobody() {
        let text =
            "upstream = 'http://a:1'\nsticky = { cookie = 'tg', secret = '0123456789abcdef' }\n";
        let plan = testing::plan(text);
        let secret = plan.pools[0].sticky.as_ref().and_then(|sticky| sticky.secret.clone());
        assert_eq!(secret.as_deref(), Some("0123456789abcdef"));
        for form in ["env", "toml", "json"] {
            let shown = testing::shown(text, &["config", "show", "--format", form]);
            assert!(shown.contains(Secret::MASK) && !shown.contains("0123456789"), "{shown}");
        }
        assert!(!format!("{plan:?}").contains("0123456789"));
        let flags = ["--sticky-cookie", "a", "--sticky-secret", "0123456789abcdef"];
        let (_, report) = testing::loaded("upstream = 'http://a:1'\n", &flags).unwrap();
        let told = "--sticky-secret ***: whoever lists processes sees this secret; \
                    write @file in its place, or set a variable";
        assert_eq!(report.warnings, [told]);
    }
}
