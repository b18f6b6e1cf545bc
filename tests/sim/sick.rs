//! What a seed decides for upstreams that are sick for a while: how the pool looks after them, when each of them is
//! slow, gone, failing or silent, and what checks would have found.

use std::time::Duration;

use crate::chance::Chance;
use crate::config::{
    Balance, BreakerSpec, Failures, HashKey, PoolSpec, QueueSpec, RetrySpec, Secret, Sticky,
};
use crate::net::Micros;
use crate::scenario::{self, Scenario};

/// Every sickness has begun by then.
const BEGUN: Micros = 2_000_000;
/// Sicknesses, and findings of checks, in one scenario at most.
const ILL_MOST: u64 = 6;
const FINDINGS_MOST: u64 = 8;
/// Clients that are there besides the others at most.
const CROWD: u64 = 24;
/// More buffers than are asked for.
const AMPLE: usize = 1 << 12;
/// They begin within so long.
const RUSH: Micros = 300_000;

/// All of it.
#[derive(Clone, Debug)]
pub struct Sick {
    pub breaker: Option<BreakerSpec>,
    pub balance: Balance,
    pub backups: [bool; 3],
    /// It gets no new requests from the beginning on.
    pub draining: [bool; 3],
    pub slow_start: Duration,
    pub queue: Option<QueueSpec>,
    /// What is a reason to send a request again.
    pub again_on: Failures,
    /// Further attempts in a hundred requests.
    pub budget: u32,
    pub try_timeout: Duration,
    pub sticky: bool,
    /// Clients come with a cookie of the upstream that gets no new requests.
    pub stranger: bool,
    /// After so long a request goes to a second upstream; zero: never.
    pub hedge: Duration,
    /// Octets of a body that are read ahead.
    pub buffer: usize,
    pub ills: Vec<Ill>,
    /// When the core is told of which upstream, counted from 1, that it is down, or not down any more.
    pub findings: Vec<(Micros, usize, bool)>,
}

/// One sickness.
#[derive(Clone, Copy, Debug)]
pub struct Ill {
    /// Counted from 1.
    pub upstream: usize,
    pub from: Micros,
    pub to: Micros,
    pub how: How,
}

/// How an upstream is sick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Answers come so much later.
    Slow(Micros),
    /// Connections are refused.
    Refuses,
    /// Requests are answered with a reset.
    Resets,
    /// They are answered with this status.
    Fails(u16),
    /// They are not answered.
    Hangs,
    /// All but the first of a connection are answered with a reset, so much later.
    Tires(Micros),
}

/// Has this seed any of it? None of those that found something before has.
pub fn has(seed: u64) -> bool {
    matches!(seed % 32, 6 | 15 | 22 | 27)
}

/// Adds it to a scenario.
pub fn add(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5007_0000);
    let c = &mut chance;
    scenario.upstreams = c.pick(&[1, 2, 2, 3, 3, 3]);
    // A request that waits for a descriptor or a buffer begins whatever is said of its upstream meanwhile.
    (scenario.weather.no_descriptors, scenario.weather.descriptors) = (0, usize::MAX);
    scenario.buffers = AMPLE;
    for _ in 0..c.magnitude(CROWD) {
        let person = scenario::calm(c, RUSH, &mut scenario.asks);
        scenario.people.push(person);
    }
    let many = scenario.upstreams;
    for ask in scenario.asks.iter_mut().filter(|ask| ask.malformed.is_none()) {
        // An origin that has not heard all, but said all, cannot tell where the next request begins.
        ask.script.early = false;
        ask.keyed = ask.method == "POST" && c.one_in(3);
    }
    let mut ills: Vec<Ill> = (0..c.between(1, ILL_MOST)).map(|_| ill(c, many)).collect();
    // Where two overlap, the one that began first counts.
    ills.sort_by_key(|ill| (ill.upstream, ill.from));
    let finding =
        |c: &mut Chance| (c.magnitude(2 * BEGUN), c.between(1, many as u64) as usize, c.one_in(2));
    let told = if c.one_in(2) { c.between(1, FINDINGS_MOST) } else { 0 };
    scenario.sick = Some(Sick {
        breaker: (!c.one_in(4)).then(|| breaker(c)),
        balance: balance(c),
        backups: if c.one_in(2) {
            [1, 3, 3].map(|odds| odds > 1 && c.one_in(2))
        } else {
            [false; 3]
        },
        draining: [false, many > 1 && c.one_in(6), many > 2 && c.one_in(12)],
        slow_start: Duration::from_millis(c.pick(&[0, 0, 100, 2000])),
        queue: c.one_in(2).then(|| QueueSpec {
            max_requests: c.between(1, 4) as u32,
            size: c.between(0, 8) as u32,
            wait: Duration::from_millis(c.magnitude(1000)),
        }),
        again_on: failures(c),
        budget: c.pick(&[0, 20, 100]),
        try_timeout: Duration::from_millis(c.pick(&[0, 0, 50, 500])),
        sticky: c.one_in(4),
        stranger: false,
        hedge: Duration::ZERO,
        buffer: 0,
        ills,
        findings: (0..told).map(|_| finding(c)).collect(),
    });
    if c.one_in(2) {
        scenario.retries = 0;
    }
}

fn ill(c: &mut Chance, many: usize) -> Ill {
    let from = c.magnitude(BEGUN) - 1;
    let how = match c.below(6) {
        0 => How::Slow(c.magnitude(2_000_000)),
        1 => How::Refuses,
        2 => How::Resets,
        3 | 4 => How::Fails(c.pick(&[500, 502, 503])),
        _ => How::Hangs,
    };
    Ill {
        upstream: c.between(1, many as u64) as usize,
        from,
        to: from + c.magnitude(3_000_000),
        how,
    }
}

fn failures(c: &mut Chance) -> Failures {
    Failures {
        connect: !c.one_in(4),
        timeout: c.one_in(2),
        closed: !c.one_in(4),
        status: if c.one_in(2) { vec![(502, 503)] } else { vec![] },
    }
}

fn breaker(c: &mut Chance) -> BreakerSpec {
    BreakerSpec {
        failures: c.between(1, 4) as u32,
        open: Duration::from_millis(c.between(50, 2000)),
        probes: c.between(1, 3) as u32,
        on: failures(c),
        fail_open: c.one_in(3),
    }
}

fn balance(c: &mut Chance) -> Balance {
    match c.below(5) {
        0 => Balance::RoundRobin,
        1 => Balance::LeastRequests,
        2 => Balance::TwoChoices,
        3 => Balance::Hash(HashKey::Path),
        _ => Balance::Hash(HashKey::Header("x-sim".to_owned())),
    }
}

impl Sick {
    /// Has the pool look after its upstreams so.
    pub fn apply(&self, pool: &mut PoolSpec) {
        for (place, upstream) in pool.upstreams.iter_mut().enumerate() {
            (upstream.backup, upstream.draining) = (self.backups[place], self.draining[place]);
        }
        pool.breaker = self.breaker.clone();
        pool.balance = self.balance.clone();
        pool.slow_start = self.slow_start;
        pool.queue = self.queue;
        pool.retry_budget = self.budget;
        // A secret of its own would be another one in every run.
        let secret = Some(Secret::new("sim", Secret::MASK));
        let sticky = Sticky { cookie: "stay".to_owned(), max_age: None, secret };
        pool.sticky = self.sticky.then_some(sticky);
    }

    /// The same of how requests are sent again.
    pub fn retry(&self, usual: RetrySpec) -> RetrySpec {
        let Sick { try_timeout, hedge, buffer, .. } = *self;
        RetrySpec { on: self.again_on.clone(), try_timeout, hedge, buffer, ..usual }
    }
}

/// How this upstream is sick now; `None`: it is well.
pub fn how(ills: &[Ill], upstream: usize, now: Micros) -> Option<How> {
    let is_it = |ill: &&Ill| ill.upstream == upstream && (ill.from..ill.to).contains(&now);
    ills.iter().find(is_it).map(|ill| ill.how)
}
