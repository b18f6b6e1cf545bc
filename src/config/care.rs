//! How the upstreams of a pool are looked after: as the top says, but for what the pool says itself, key by key.
//!
//! What can be switched off is kept with all its keys: where the top says how, a pool may say that.

use std::sync::Arc;
use std::time::Duration;

use super::diagnostics::wrong;
use super::failures::{failure, statuses};
use super::given::{Given, Origin};
use super::keys;
use super::parts::{
    address, authority, balance, body, cookie, hash_key, probe, resolve, secret, target,
};
use super::plan::ExchangeSpec;
use super::pool::*;
use super::sections::set;
use super::settings::Settings;
use super::table::{self, Form};
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
                bind: None,
            },
        }
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
        set(&mut connections.max_age, self.wait_here("upstream-max-age"));
        set(&mut connections.max_requests, self.count_here("upstream-max-requests"));
        set(&mut connections.keep_alive, self.wait_here("upstream-keep-alive"));
        set(&mut connections.bind, self.one("upstream-bind", address));
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
        if let Some(cookie) = self.one("sticky-cookie", cookie) {
            *on = cookie.is_some();
            set(&mut spec.cookie, cookie);
        }
        let max_age = self.number_or_off("sticky-max-age");
        set(&mut spec.max_age, max_age.map(|ms| ms.map(Duration::from_millis)));
        if let Some(text) = self.one("sticky-secret", secret)
            && let Some(given) = self.given("sticky-secret").first()
        {
            let is_literal = given.shown() == Secret::MASK;
            if text.is_some() && is_literal && matches!(given.origin, Origin::Flag(_)) {
                let what = "whoever lists processes sees this secret";
                let right = "set TIDEGATE_STICKY_SECRET in its place";
                self.warn(given, wrong(what, right));
            }
            spec.secret = text.map(|text| Secret::new(&text, given.shown()));
        }
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
        set(&mut spec.body, self.one("health-body", body));
        set(&mut spec.interval, self.wait_here("health-interval"));
        set(&mut spec.timeout, self.wait_here("health-timeout"));
        set(&mut spec.fall, self.count_here("health-fall"));
        set(&mut spec.rise, self.count_here("health-rise"));
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
        if let Some(most) = self.number_or_off("queue-max-requests") {
            *on = most.is_some();
            set(&mut spec.max_requests, most.map(|most| most as u32));
        }
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
        let all = self.list(name, MOST, failure);
        all.into_iter().reduce(Failures::with)
    }
}

fn is_same_layer(one: &Origin, other: &Origin) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}
