//! Which requests are under way to which upstream, as the kernel sees it, and which of them should not have begun.
//!
//! One begins with a call to connect, or with the first octet sent over a connection that was idle. It is over when the
//! connection is closed, or the origin has said and heard all: never later than the core knows, so that whoever is
//! counted here is under way for the core as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::evidence::{self, Openings};
use crate::http::Reason;
use crate::io::clock::Moment;
use crate::message::decimal;
use crate::net::Micros;
use crate::proxy::Runtime;
use crate::scenario::{Ask, Scenario, Weather};
use crate::sick::Sick;
use crate::stats::{self, BreakerState, Record, UpstreamState};

/// Attempts to which a pool has a right in any second.
const ALWAYS: u64 = 10;
/// What the core's clock shows in the beginning.
const BEGINNING: Micros = 100_000;
/// A timer may end so much early, and what is written down is rounded.
const EARLY: Duration = Duration::from_millis(2);
/// So much later what changed is seen at most.
const LOOKED: Micros = 10_000;

/// See above.
pub struct Ledger {
    sick: Sick,
    /// A request goes to one upstream alone.
    once: bool,
    /// Some have bodies, which may keep those waiting who find out.
    bodies: bool,
    /// What is not ill works.
    sound: bool,
    stats: Arc<stats::Core>,
    upstreams: Vec<Watched>,
    /// By the socket of the core.
    going: BTreeMap<usize, Going>,
    /// Requests that waited, were refused, and were replayed when it was looked at last.
    waited: u64,
    refused: u64,
    replayed: u64,
    /// When requests were seen once more, in whole seconds of the core's clock, and how many.
    again: Vec<u64>,
}

/// An upstream.
struct Watched {
    state: Arc<UpstreamState>,
    /// What was said of it last, and whether the core has taken that up.
    down: bool,
    is_taken_up: bool,
    breaker: BreakerState,
    /// How often its breaker was found open.
    round: u32,
    /// When it was found so last, and how often in all.
    opened: Micros,
    openings: Openings,
}

/// A connection.
struct Going {
    upstream: usize,
    /// No request is under way over it.
    idle: bool,
    /// When the request began.
    began: Micros,
    /// It finds out about the upstream, in this round.
    trial: Option<u32>,
    /// What is asked over it, once that has come.
    ask: Option<usize>,
}

impl Ledger {
    pub fn new(
        sick: &Sick,
        scenario: &Scenario,
        runtime: &Runtime,
        stats: &Arc<stats::Core>,
    ) -> Ledger {
        let upstreams = runtime.upstreams().map(|state| Watched {
            state: Arc::clone(state),
            down: false,
            is_taken_up: true,
            breaker: BreakerState::Closed,
            round: 0,
            opened: 0,
            openings: Openings::default(),
        });
        Ledger {
            sick: sick.clone(),
            once: scenario.retries == 0 && !sick.sticky,
            bodies: scenario.asks.iter().any(|ask| ask.body.is_some() || ask.malformed.is_some()),
            sound: is_sound(scenario),
            stats: Arc::clone(stats),
            upstreams: upstreams.collect(),
            going: BTreeMap::new(),
            waited: 0,
            refused: 0,
            replayed: 0,
            again: Vec::new(),
        }
    }

    /// The head of a request has come over this connection. `twice`: it may be at two upstreams at once.
    ///
    /// # Errors
    /// It is elsewhere as well, and should not be.
    pub fn carries(&mut self, socket: usize, ask: usize, twice: bool) -> Result<(), String> {
        let Some(here) = self.going.get_mut(&socket) else { return Ok(()) };
        here.ask = Some(ask);
        let here = here.upstream;
        let others = |(other, going): &(&usize, &Going)| **other != socket && going.carries(ask);
        let others: Vec<_> =
            self.going.iter().filter(others).map(|(_, one)| one.upstream).collect();
        let hedges = !self.sick.hedge.is_zero();
        match others[..] {
            [] => Ok(()),
            [other] if twice && hedges && other != here => Ok(()),
            _ => Err(format!("request {ask} goes to {} while it is at {others:?}", here + 1)),
        }
    }

    /// The client has the head of the answer to this.
    ///
    /// # Errors
    /// It is asked at two upstreams still.
    pub fn answered(&self, ask: usize) -> Result<(), String> {
        match self.going.values().filter(|going| going.carries(ask)).count() {
            0 | 1 => Ok(()),
            n => Err(format!("request {ask} is answered, and asked at {n} upstreams")),
        }
    }

    /// A client was told that all upstreams are left alone, and after how many seconds to come again.
    ///
    /// # Errors
    /// None will be asked by then, or one long before.
    pub fn rested(&self, seconds: Option<&str>, now: Micros) -> Result<(), String> {
        let Some(breaker) = &self.sick.breaker else { return Err("left alone by whom?".into()) };
        let told: u64 =
            seconds.and_then(|text| decimal(text).ok()).ok_or("left alone for how long?")?;
        let open = breaker.open.as_micros() as Micros;
        // One whose body is still to come waits for twice as long.
        let most = (2 * open).div_ceil(1_000_000).max(1);
        let members = || (0..self.upstreams.len()).filter(|place| !self.sick.draining[*place]);
        let first = |place: usize| {
            let Watched { round, breaker, opened, .. } = &self.upstreams[place];
            (*round == 1 && *breaker == BreakerState::Open).then_some(*opened)
        };
        let is_first = members().all(|place| first(place).is_some());
        let until = members().filter_map(first).min().filter(|_| is_first).map(|from| from + open);
        let early = until.is_some_and(|until| now + told * 1_000_000 + LOOKED < until);
        match told {
            0 => Err("left alone, to come again at once".into()),
            _ if told > most => Err(format!("left alone for {told} seconds, open for {most}")),
            _ if early => Err(format!("left alone for {told} seconds, at {now}, until {until:?}")),
            _ => Ok(()),
        }
    }

    /// The upstream with this number, counted from 1.
    pub fn state(&self, upstream: usize) -> Arc<UpstreamState> {
        Arc::clone(&self.upstreams[upstream - 1].state)
    }

    /// The core is told that an upstream is down, or is not.
    pub fn tell(&mut self, upstream: usize, down: bool) {
        let watched = &mut self.upstreams[upstream - 1];
        if watched.down != down {
            (watched.down, watched.is_taken_up) = (down, false);
        }
    }

    /// A request was seen that had been seen before.
    pub fn seen_again(&mut self, now: Micros) {
        self.again.push((BEGINNING + now) / 1_000_000);
    }

    /// A connection is made for a request to this upstream, counted from 1; or a request goes over one that is there.
    pub fn goes(&mut self, socket: usize, upstream: Option<usize>, now: Micros) -> Vec<String> {
        let mut wrong = self.look(now);
        let known = self.going.get(&socket).filter(|going| going.idle).map(|going| going.upstream);
        let Some(place) = upstream.map(|number| number - 1).or(known) else { return wrong };
        let trial = (self.upstreams[place].breaker == BreakerState::HalfOpen)
            .then_some(self.upstreams[place].round);
        self.going
            .insert(socket, Going { upstream: place, idle: false, began: now, trial, ask: None });
        self.judge(place, (trial, now), &mut wrong);
        wrong.iter_mut().for_each(|what| what.push_str(&format!(", {now} us")));
        wrong
    }

    fn judge(
        &mut self,
        place: usize,
        (trial, now): (Option<u32>, Micros),
        wrong: &mut Vec<String>,
    ) {
        let watched = &self.upstreams[place];
        let mut complain = |what: String| wrong.push(format!("upstream {}: {what}", place + 1));
        if watched.down && watched.is_taken_up {
            complain("a request went there although it was down".into());
        }
        if self.sick.draining[place] {
            complain("a request went there although it was draining".into());
        }
        let here = || self.going.values().filter(|going| going.upstream == place && !going.idle);
        let busy = here().count();
        if let Some(queue) = self.sick.queue
            && busy > queue.max_requests as usize
        {
            complain(format!("{busy} requests under way of {}", queue.max_requests));
        }
        if let Some(breaker) = self.sick.breaker.as_ref().filter(|breaker| !breaker.fail_open) {
            // One whose client has not sent its body for as long as it was open is forgotten.
            let open = breaker.open.as_micros() as Micros;
            let known = |going: &Going| !self.bodies || now < going.began + open;
            let is_one = |going: &&Going| going.trial == trial && known(going);
            let trials = here().filter(|going| trial.is_some() && is_one(going)).count();
            if trials > breaker.probes as usize {
                complain(format!("{trials} requests find out, of {}", breaker.probes));
            }
            if watched.breaker == BreakerState::Open {
                complain("a request went there although its breaker was open".into());
            }
        }
        // A replay goes where the request was, whoever is ready.
        let is_replay = self.stats.replays.get() > self.replayed;
        self.replayed = self.stats.replays.get();
        let is_last = self.sick.backups[place] || watched.breaker == BreakerState::Open;
        let better =
            (0..self.upstreams.len()).find(|other| *other != place && self.is_better(*other));
        if self.once
            && !is_replay
            && is_last
            && self.sick.breaker.is_some()
            && let Some(better) = better
        {
            complain(format!("a request went there although {} was ready", better + 1));
        }
    }

    /// One that requests go to before any backup, and that is ready for one more.
    fn is_better(&self, place: usize) -> bool {
        !self.sick.backups[place] && self.is_ready(place)
    }

    fn is_ready(&self, place: usize) -> bool {
        let watched = &self.upstreams[place];
        let is_out = self.sick.draining[place] || watched.down || !watched.is_taken_up;
        // A tunnel keeps its place, and could be anywhere.
        let active = watched.state.of_core(0).active.get() + self.stats.tunnels.get();
        let has_room = self.sick.queue.is_none_or(|queue| active < u64::from(queue.max_requests));
        !is_out && watched.breaker == BreakerState::Closed && has_room
    }

    /// When the last request over this connection began.
    pub fn began(&self, socket: usize) -> Micros {
        self.going.get(&socket).map_or(0, |going| going.began)
    }

    /// All is said and heard over this connection.
    pub fn rests(&mut self, socket: usize) {
        if let Some(going) = self.going.get_mut(&socket) {
            going.idle = true;
        }
    }

    /// The core has closed it, or nobody is at the other end any more.
    pub fn ends(&mut self, socket: usize, now: Micros) -> Vec<String> {
        self.going.remove(&socket);
        self.look(now)
    }

    /// The core has done all it can, has taken up what it was told (`heard`), and is about to sleep (`deeply`), or
    /// looks for events only.
    pub fn turns(&mut self, deeply: bool, heard: bool, now: Micros) -> Vec<String> {
        let mut wrong = self.look(now);
        self.upstreams.iter_mut().for_each(|watched| watched.is_taken_up |= heard);
        let ready = (0..self.upstreams.len()).find(|place| self.is_ready(*place));
        if deeply
            && self.once
            && self.sick.breaker.is_some()
            && self.stats.queued.get() > 0
            && let Some(ready) = ready
        {
            wrong.push(format!("requests wait although upstream {} is ready", ready + 1));
        }
        wrong
    }

    /// Whatever may have changed since it was looked at last.
    fn look(&mut self, now: Micros) -> Vec<String> {
        let mut has_closed_one_opened = false;
        let mut wrong = self.queue();
        let open = self.sick.breaker.as_ref().map_or(0, |spec| spec.open.as_micros() as Micros);
        for (watched, number) in self.upstreams.iter_mut().zip(1..) {
            let before = std::mem::replace(&mut watched.breaker, watched.state.breaker.load());
            let has_trial =
                (before, watched.breaker) == (BreakerState::Open, BreakerState::HalfOpen);
            if has_trial && now + LOOKED < watched.opened + open {
                wrong.push(format!("upstream {number}: a trial before {open} us were over"));
            }
            if before == watched.breaker || watched.breaker != BreakerState::Open {
                continue;
            }
            let was_closed = before == BreakerState::Closed;
            (watched.round, watched.opened) = (watched.round + 1, now);
            watched.openings.closed += u64::from(was_closed);
            watched.openings.others += u64::from(!was_closed);
            has_closed_one_opened |= was_closed;
        }
        if has_closed_one_opened && let Some(well) = self.well() {
            wrong.push(format!("more than half is shut out although upstream {} works", well + 1));
        }
        wrong
    }

    /// The upstream that has never failed, where too many of those that stand in for it are left alone.
    fn well(&self) -> Option<usize> {
        // Those that are down do not count, and who was when one opened is not known here.
        if !self.sound || !self.sick.findings.is_empty() {
            return None;
        }
        let is_shut_out = |place: &&usize| self.upstreams[**place].breaker != BreakerState::Closed;
        let has_failed = |place: &usize| {
            let is_ill = self.sick.ills.iter().any(|ill| ill.upstream == place + 1);
            is_ill || self.upstreams[*place].openings.closed > 0
        };
        [false, true].into_iter().find_map(|backup| {
            let is_of =
                |place: &usize| self.sick.backups[*place] == backup && !self.sick.draining[*place];
            let tier: Vec<usize> = (0..self.upstreams.len()).filter(is_of).collect();
            let shut_out = tier.iter().filter(is_shut_out).count();
            let well = tier.iter().find(|place| !has_failed(place)).copied();
            well.filter(|_| 2 * shut_out > tier.len())
        })
    }

    fn queue(&mut self) -> Vec<String> {
        let (waiting, refused) = (self.stats.queued.get(), self.stats.queue_refused.get());
        let most = waiting.max(self.waited);
        let (size, is_refused) = (self.size(), refused > self.refused);
        (self.waited, self.refused) = (waiting, refused);
        match is_refused && most < size {
            true => vec![format!("a request was refused by a queue of {most}, not {size}")],
            false => Vec::new(),
        }
    }

    fn size(&self) -> u64 {
        self.sick.queue.map_or(0, |queue| u64::from(queue.size))
    }

    /// What must be true of it all at the end.
    pub fn close(
        &self,
        scenario: &Scenario,
        runtime: &Runtime,
        records: &[Box<Record>],
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for pool in &runtime.pools {
            let state = &pool.state;
            let left = state.counts.under_way.load(std::sync::atomic::Ordering::Relaxed);
            if left > 0 || state.queue.len() > 0 {
                wrong.push(format!("{left} under way to the pool, {} wait", state.queue.len()));
            }
            for entry in &pool.upstreams {
                let (name, left) = (&entry.state.name, entry.load.under_way());
                if left > 0 {
                    wrong.push(format!("{left} requests under way to {name}"));
                }
                if entry.breaker.look(Moment(u64::MAX - 1), Duration::ZERO).is_err() {
                    wrong.push(format!("nobody would ever find out about {name}"));
                }
            }
        }
        let wait = self.sick.queue.map_or(Duration::ZERO, |queue| queue.wait);
        for record in records {
            if record.reason == Reason::QueueTimeout.label() && record.total + EARLY < wait {
                wrong.push(format!("{} waited {:?} of {wait:?}", record.target, record.total));
            }
        }
        self.budget(scenario, &mut wrong);
        if self.stats.records_dropped.get() == 0 {
            let all = self.upstreams.iter();
            let openings: Vec<_> =
                all.map(|watched| (&*watched.state.name, watched.openings)).collect();
            wrong.extend(evidence::weigh(&self.sick, records, &openings));
        }
        wrong
    }

    /// No more was sent again than there was a right to.
    fn budget(&self, scenario: &Scenario, wrong: &mut Vec<String>) {
        let mut seconds: Vec<u64> =
            self.again.iter().flat_map(|second| [second.saturating_sub(1), *second]).collect();
        seconds.sort_unstable();
        seconds.dedup();
        let share = u64::from(self.sick.budget) * scenario.asks.len() as u64 / 100;
        let (again, replays) = (self.again.len() as u64, self.stats.replays.get());
        let most = ALWAYS * seconds.len() as u64 + share + replays;
        if again > most {
            wrong.push(format!("{again} requests were sent again, at most {most} may be"));
        }
    }
}

impl Going {
    /// This is under way over it.
    fn carries(&self, ask: usize) -> bool {
        !self.idle && self.ask == Some(ask)
    }
}

/// Upstreams that are not ill do what they should.
fn is_sound(scenario: &Scenario) -> bool {
    let Weather { refused, unanswered, breaks, .. } = scenario.weather;
    let breaker = scenario.sick.as_ref().and_then(|sick| sick.breaker.as_ref());
    let fails = |status| breaker.is_some_and(|breaker| breaker.on.has_status(status));
    let ends = |ask: &Ask| ask.script.end.is_sound() && !fails(ask.script.status);
    let origins = scenario.asks.iter().all(ends) && scenario.death.is_none();
    origins && scenario.faulty + scenario.urgent + refused + unanswered + breaks == 0
}
