//! What a seed decides besides for some upstreams that are sick: that much comes together while they are. Breakers are
//! open for a short time only and find many requests when they are half open, clients leave, checks find this and that,
//! a request goes to two upstreams, and what a client got is followed by nothing for a while.

use std::time::Duration;

use crate::chance::Chance;
use crate::config::{BreakerSpec, Failures};
use crate::end::{Fault, When};
use crate::net::Micros;
use crate::proxy::Runtime;
use crate::scenario::{self, Ask, Ending, Person, Scenario};
use crate::sick::{self, How, Ill, Sick};

/// All of it happens within so long.
const BUSY: Micros = 3_000_000;
/// Clients come within one of these.
const RUSHES: [Micros; 3] = [20_000, 1_000_000, BUSY];
/// An answer that keeps its client waiting does so for so long at most.
const LATE: Micros = 400_000;
/// Times at which an upstream was found to be down at most.
const DOWN_MOST: u64 = 24;

/// How upstreams are sick together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The only one is, from the beginning to the end.
    Dead,
    /// Two of three are.
    Half,
    /// Connections that are kept die.
    Tired,
    /// All but one, or all, are bad, slow and well in turns.
    Phases,
}

impl Kind {
    /// `on`: what counts as a failure of one.
    fn ills(self, c: &mut Chance, many: usize, on: Option<&mut Failures>) -> Vec<Ill> {
        match self {
            Kind::Dead => {
                let on = on.filter(|_| c.one_in(2));
                vec![for_ever(c, 1, on)]
            }
            Kind::Half => {
                let first = c.between(1, 2) as usize;
                let ill = for_ever(c, first, on);
                vec![ill, Ill { upstream: 3, ..ill }]
            }
            Kind::Tired => (1..=many).map(|one| tired(c, one)).collect(),
            Kind::Phases => {
                if let Some(on) = on.filter(|_| c.one_in(2)) {
                    let status = vec![(500, 599)];
                    *on = Failures { connect: true, timeout: true, closed: true, status };
                }
                let well = c.below(many + 1);
                (1..=many).filter(|one| *one != well).flat_map(|one| ills(c, one)).collect()
            }
        }
    }
}

/// Has this seed any of it? None of those that found something before has.
pub fn has(seed: u64) -> bool {
    sick::has(seed) && (seed / 32).is_multiple_of(2)
}

/// Adds it to a scenario whose upstreams are sick.
pub fn add(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5008_0000);
    let c = &mut chance;
    let Some(mut sick) = scenario.sick.take() else { return };
    let kind = match c.below(8) {
        0 => Kind::Dead,
        1 => Kind::Half,
        2 | 3 => Kind::Tired,
        _ => Kind::Phases,
    };
    if let Kind::Dead | Kind::Half = kind {
        scenario.upstreams = if kind == Kind::Half { 3 } else { 1 };
        scenario.faulty = 0;
        (sick.draining, sick.backups) = ([false; 3], [false; 3]);
    }
    let many = scenario.upstreams;
    let before = scenario.asks.len();
    let rush = c.pick(&RUSHES);
    for _ in 0..c.between(4, 32) {
        let person = scenario::calm(c, rush, &mut scenario.asks);
        scenario.people.push(if c.one_in(4) { leaving(c, person) } else { person });
    }
    let bodies = c.one_in(2);
    for ask in &mut scenario.asks[before..] {
        ask.script.early = false;
        ask.keyed = ask.method == "POST" && c.one_in(2);
        hint(c, ask);
    }
    if !bodies {
        scenario.asks.iter_mut().filter(|ask| ask.malformed.is_none()).for_each(bare);
    }
    sick.hedge = Duration::from_millis(c.pick(&[0, 0, 10, 50]));
    sick.buffer = c.pick(&[0, 4096, 65_536]);
    if scenario.retries == 0 && (!sick.hedge.is_zero() || c.one_in(2)) {
        scenario.retries = c.between(1, 3) as u32;
    }
    if let Some(breaker) = &mut sick.breaker {
        press(c, breaker);
    }
    sick.findings = if kind == Kind::Tired || c.one_in(3) { findings(c, many) } else { vec![] };
    let on = sick.breaker.as_mut().map(|breaker| &mut breaker.on);
    sick.ills = kind.ills(c, many, on);
    if let Kind::Dead | Kind::Half = kind {
        scenario.asks.iter_mut().for_each(|ask| ask.script.end = Ending::Keep);
    }
    sick.stranger = sick.sticky && c.one_in(2);
    if sick.stranger && many > 1 {
        sick.draining[1] = true;
    }
    scenario.sick = Some(sick);
}

/// One who is gone after so many octets.
fn leaving(c: &mut Chance, person: Person) -> Person {
    let at = When::Written(c.magnitude(1000));
    Person { fault: Some((at, c.pick(&[Fault::Reset, Fault::Close]))), ..person }
}

/// The answer, or the end in its place, comes late, and interim ones before at once.
fn hint(c: &mut Chance, ask: &mut Ask) {
    if ask.malformed.is_some() || ask.websocket || !c.one_in(2) {
        return;
    }
    ask.script.soon = true;
    ask.script.delay = c.magnitude(LATE);
    if c.one_in(2) {
        ask.script.interim = c.pick(&[&[103][..], &[102, 103]]).to_vec();
    }
}

/// Without a body.
fn bare(ask: &mut Ask) {
    if ask.body.take().is_some() {
        (ask.method, ask.chunked, ask.expect, ask.spoilt) = ("GET", false, false, None);
        (ask.keyed, ask.smuggles, ask.in_one) = (false, false, false);
    }
}

fn press(c: &mut Chance, breaker: &mut BreakerSpec) {
    let long = c.one_in(6);
    let open = if long { c.between(2000, 8000) } else { c.between(20, 300) };
    breaker.open = Duration::from_millis(open);
    breaker.failures = c.between(1, 3) as u32;
    breaker.fail_open = c.one_in(8);
}

/// It is so from the beginning to the end. `on`: what is to count as a failure, this one among it.
fn for_ever(c: &mut Chance, upstream: usize, on: Option<&mut Failures>) -> Ill {
    let how = c.pick(&[How::Fails(503), How::Refuses, How::Resets, How::Hangs]);
    if let Some(on) = on {
        match how {
            How::Fails(_) => on.status = vec![(502, 503)],
            How::Refuses => on.connect = true,
            How::Resets => on.closed = true,
            _ => on.timeout = true,
        }
    }
    Ill { upstream, from: 0, to: Micros::MAX, how }
}

/// Connections that are kept die while a request waits for its answer.
fn tired(c: &mut Chance, upstream: usize) -> Ill {
    let how = How::Tires(c.between(1000, 300_000));
    Ill { upstream, from: 0, to: Micros::MAX, how }
}

/// Bad for a while, then slow, then well.
fn ills(c: &mut Chance, upstream: usize) -> Vec<Ill> {
    let mut ills = Vec::new();
    let mut from = c.magnitude(BUSY / 4) - 1;
    while from < BUSY {
        let how = match c.below(6) {
            0 => How::Refuses,
            1 | 2 => How::Resets,
            3 | 4 => How::Fails(c.pick(&[500, 503])),
            _ => How::Hangs,
        };
        let to = from + c.between(20_000, 400_000);
        let slow_to = to + c.between(100_000, 600_000);
        let slow = How::Slow(c.between(20_000, 400_000));
        ills.push(Ill { upstream, from, to, how });
        ills.push(Ill { upstream, from: to, to: slow_to, how: slow });
        from = slow_to + c.below(400_000) as Micros;
    }
    ills
}

/// Each of them is found to be down now and then, for a short time.
fn findings(c: &mut Chance, many: usize) -> Vec<(Micros, usize, bool)> {
    let mut found = Vec::new();
    for _ in 0..c.between(1, DOWN_MOST) {
        let (upstream, at) = (c.between(1, many as u64) as usize, c.between(1, BUSY));
        found.push((at, upstream, true));
        found.push((at + c.between(10_000, 200_000), upstream, false));
    }
    found
}

/// The cookie of one that was with an upstream before it was drained.
pub fn stay(scenario: &mut Scenario, runtime: &Runtime) {
    let Some(Sick { draining, .. }) = scenario.sick.as_ref().filter(|sick| sick.stranger) else {
        return;
    };
    let place = draining.iter().position(|draining| *draining);
    let (Some(place), Some(tokens)) = (place, &runtime.pools[0].tokens) else { return };
    let line = tokens.line(&runtime.pools[0].upstreams[place].state);
    let cookie = line.strip_prefix("Set-Cookie: ").and_then(|line| line.split(';').next());
    for ask in scenario.asks.iter_mut().filter(|ask| ask.malformed.is_none()) {
        ask.cookie = cookie.map(str::to_owned);
    }
}
