//! The world around the core: it turns whenever the core waits for events, and only then.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::Event as Ready;
use rustix::io::Errno;

use crate::book::Book;
use crate::chance::Chance;
use crate::client::Client;
use crate::end::{End, Fault};
use crate::net::{Actor, Happening, Micros, Net};
use crate::origin::Origin;
use crate::policy::gate::Answer;
use crate::porter::{self, Porch};
use crate::proxy::Runtime;
use crate::proxy::{Adoption, AnswerSlot, Command, Event};
use crate::scenario::{self, Scenario, Stopping};
use crate::seal::Sealer;
use crate::stats;
use crate::trace::Trace;

/// Unix time when a world begins, in seconds.
pub const BEGINNING_S: u64 = 1_800_000_000;
/// Turns of the core's loop in one scenario; more are a loop that never rests.
const TURNS: u64 = 2_000_000;
/// How long the kernel takes between some connections of a process that died and others.
const CLOSING_MOST: Micros = 2000;
/// How late the core is at most when it makes a call.
const LATE_MOST: Micros = 2000;
/// What lingering, ticks of the timer and the like add to the waits of the plan.
const SLACK: Duration = Duration::from_secs(5);

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Does something with this thread's world.
pub fn with<T>(work: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| work(world.as_mut().expect("a world")))
}

/// Begins a world.
pub fn begin(world: World) {
    WORLD.set(Some(world));
}

/// Ends it.
pub fn end() -> World {
    WORLD.take().expect("a world")
}

/// All there is but the core.
pub struct World {
    pub net: Net,
    pub book: Book,
    /// What the core's clock counts from; only differences are ever seen.
    pub began: Instant,
    pub turns: u64,
    sealer: Option<Sealer>,
    clients: Vec<Client>,
    origins: Vec<Origin>,
    faulty: u64,
    urgent: u64,
    largest: usize,
    commands: flume::Sender<Command>,
    /// The plans that replace the first, in the scenario's order.
    runtimes: Vec<Arc<Runtime>>,
    stats: Arc<stats::Core>,
    /// When something last happened.
    stirred: Micros,
    /// The core was told to end.
    told: bool,
    /// When it was told to stop at once.
    pub stopped: Option<Micros>,
    /// What the core's clock shows.
    pub ticked: Micros,
    /// What the core wants to know from others: what it was, and the answers that are due.
    questions: flume::Receiver<Event>,
    asked: Vec<Option<(AnswerSlot, Answer)>>,
    pub answers: Vec<(AnswerSlot, Answer)>,
    thinks: Micros,
    /// After so long without anything happening nothing may be left to wait for.
    patience: Micros,
}

impl World {
    /// The world of a scenario.
    pub fn new(
        scenario: &Scenario,
        chance: Chance,
        trace: Trace,
        commands: flume::Sender<Command>,
        runtimes: Vec<Arc<Runtime>>,
        stats: Arc<stats::Core>,
        questions: flume::Receiver<Event>,
    ) -> World {
        let mut net = Net::new(chance, scenario.weather.clone(), trace);
        for (index, person) in scenario.people.iter().enumerate() {
            net.at(person.starts, Happening::Run(Actor::Client(index)));
        }
        if let Some((upstream, at)) = scenario.death {
            net.at(at, Happening::Die(upstream));
        }
        if let Some(sick) = &scenario.sick {
            net.ills.clone_from(&sick.ills);
            for (at, upstream, down) in &sick.findings {
                net.at(*at, Happening::Found(*upstream, *down));
            }
        }
        for (index, swap) in scenario.swaps.iter().enumerate() {
            net.at(swap.at, Happening::Adopt(index));
        }
        match scenario.stopping {
            Stopping::Quiet => {}
            Stopping::Drain(at, then) => {
                net.at(at, Happening::Drain);
                if let Some(later) = then {
                    net.at(at + later, Happening::Stop);
                }
            }
            Stopping::Stop(at) => net.at(at, Happening::Stop),
        }
        let people = scenario.people.iter().cloned().enumerate();
        let size = |ask: &scenario::Ask| ask.body.unwrap_or(0).max(ask.script.length);
        World {
            net,
            book: Book {
                asks: scenario.asks.clone(),
                complaints: Vec::new(),
                ledger: None,
                porch: Porch::new(scenario),
            },
            began: began(),
            turns: 0,
            sealer: None,
            clients: people
                .map(|(index, person)| Client::new(index, person, scenario.gate.as_ref()))
                .collect(),
            origins: Vec::new(),
            faulty: scenario.faulty,
            urgent: scenario.urgent,
            largest: scenario.asks.iter().map(size).max().unwrap_or(0),
            commands,
            runtimes,
            stats,
            stirred: 0,
            told: false,
            stopped: None,
            ticked: 0,
            questions,
            asked: Vec::new(),
            answers: Vec::new(),
            thinks: scenario.gate.as_ref().map_or(0, |gated| gated.thinks),
            patience: patience(scenario),
        }
    }

    /// Some of those around the core speak TLS.
    pub fn seal(&mut self, sealer: Sealer) {
        self.clients.iter_mut().for_each(|client| client.seal = sealer.client());
        self.sealer = Some(sealer);
    }

    /// Writes to the core.
    pub fn tell(&mut self, command: Command) {
        self.told |= matches!(command, Command::Drain | Command::Stop);
        if matches!(command, Command::Stop) {
            self.stopped.get_or_insert(self.net.now);
        }
        // A core that has ended reads no commands.
        let _ = self.commands.try_send(command);
        self.net.notify();
    }

    /// epoll_wait(2): time goes by, at most until there are events or `timeout` has passed.
    pub fn wait(&mut self, events: &mut Vec<Ready>, timeout: Option<Micros>) -> Result<(), Errno> {
        self.turns += 1;
        let sleeps = timeout.is_none_or(|timeout| timeout > 0) && self.net.is_quiet();
        self.book.turns(sleeps, !self.net.notified, self.net.now);
        let wrong = self.book.porch.turns(self.stats.client_refused.get());
        self.book.complaints.extend(wrong);
        self.take_questions();
        assert!(self.turns < TURNS, "the core never rests");
        self.net.interrupt()?;
        self.net.now += self.net.chance.between(1, 20);
        let until = timeout.map_or(Micros::MAX, |timeout| self.net.now + timeout);
        loop {
            self.catch_up();
            self.net.collect(events);
            if !events.is_empty() || until <= self.net.now {
                return Ok(());
            }
            let quiet = self.stirred + self.patience;
            let next = self.net.next().unwrap_or(quiet).min(until);
            self.net.now = next.max(self.net.now);
            if self.net.next().is_none() && self.net.now >= quiet {
                self.quiet();
            }
        }
    }

    /// Where the client at the other end of this socket is.
    pub fn address(&self, id: usize) -> Ipv4Addr {
        match self.net.other(id) {
            Some(Actor::Client(index)) => self.clients[index].address(),
            _ => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// What the core asks is answered later.
    fn take_questions(&mut self) {
        while let Ok(event) = self.questions.try_recv() {
            let Event::Ask(question, slot) = event else { continue };
            self.net.at(self.net.now + self.thinks, Happening::Answer(self.asked.len()));
            self.asked.push(Some((slot, porter::answer(&question))));
        }
    }

    /// An origin takes the far end of a connection.
    fn welcome(&mut self, far: usize, upstream: usize) {
        let net = &mut self.net;
        let head = if self.sealer.is_some() { 6000 } else { 300 };
        let pace = scenario::pace(&mut net.chance, head + self.largest);
        let faulty = net.chance.one_in(self.faulty);
        let most = 1000 + self.largest as u64;
        let fault = faulty.then(|| scenario::fault(&mut net.chance, most));
        let urgent = net.chance.one_in(self.urgent).then(|| net.chance.magnitude(most));
        let index = self.origins.len();
        let actor = Actor::Origin(index);
        let seal = self.sealer.as_ref().and_then(|sealer| sealer.origin(upstream));
        let end = End::new(far, actor, pace, fault, urgent).behind(seal);
        let mut origin = Origin::new(index, upstream, end, net.peer(far));
        if net.dying == Some(upstream) {
            origin.fail(Fault::Stall, net, &mut self.book);
        }
        self.origins.push(origin);
        net.hold(far, actor);
    }

    /// Connects to the port of an origin; as [`Net::connect`].
    pub fn connect(&mut self, port: u16) -> Result<(usize, bool), Errno> {
        let connecting = self.net.connect(port)?;
        self.book.goes(connecting.0, Some(port.into()), self.net.now);
        Ok(connecting)
    }

    /// The core has sent something.
    pub fn sent(&mut self, id: usize, sent: &Result<usize, Errno>) {
        if sent.is_ok_and(|n| n > 0) {
            self.book.goes(id, None, self.net.now);
        }
    }

    /// Connects to the socket of an origin on this machine.
    pub fn connect_local(&mut self, path: &Path) -> Result<usize, Errno> {
        let upstream = scenario::of_socket(path).ok_or(Errno::NOENT)?;
        let (ours, far) = self.net.connect_local(upstream)?;
        self.book.goes(ours, Some(upstream), self.net.now);
        self.welcome(far, upstream);
        Ok(ours)
    }

    /// As after kill -9: nobody does anything any more, and the kernel closes the connections one after the
    /// other, those with octets unread by a reset, and at some time the listening socket. Until then
    /// connections are made, and end.
    fn die(&mut self, upstream: usize) {
        let World { net, book, .. } = self;
        let last = net.dying.replace(upstream).is_some() && net.chance.one_in(3);
        for origin in self.origins.iter_mut().filter(|origin| origin.upstream == upstream) {
            let closed = last || net.chance.one_in(2);
            let ends = [Fault::Reset, Fault::Close];
            origin.fail(if closed { net.chance.pick(&ends) } else { Fault::Stall }, net, book);
        }
        if last {
            net.dead = Some(upstream);
        } else {
            let next = net.now + net.chance.magnitude(CLOSING_MOST);
            net.at(next, Happening::Die(upstream));
        }
    }

    /// All the others run beside the core, and may have got on by the time it makes a call.
    pub fn meanwhile(&mut self) {
        if self.net.chance.one_in(self.net.weather.overlaps) {
            self.net.now += self.net.chance.magnitude(LATE_MOST);
            self.catch_up();
        }
    }

    fn catch_up(&mut self) {
        while let Some(what) = self.net.due() {
            self.stirred = self.net.now;
            self.happen(what);
        }
    }

    /// A call that sends at most `most` octets to the peer of `id`, and in whose middle that may fail: after
    /// any of them, and so that the core is told when it sends the next.
    pub fn sending(
        &mut self,
        id: usize,
        most: usize,
        mut send: impl FnMut(&mut Net, usize) -> Result<usize, Errno>,
    ) -> Result<usize, Errno> {
        if !self.net.chance.one_in(self.net.weather.breaks) {
            return send(&mut self.net, most);
        }
        let World { net, book, .. } = self;
        let n = net.chance.below(most + 1);
        let taken = if n > 0 { Some(send(net, n)?) } else { None };
        if net.chance.one_in(2) {
            net.hurry(id);
        }
        let fault = net.chance.pick(&[Fault::Reset, Fault::Reset, Fault::Close, Fault::Finish]);
        match net.other(id) {
            Some(Actor::Client(index)) => self.clients[index].fail(fault, net),
            Some(Actor::Origin(index)) => self.origins[index].fail(fault, net, book),
            None => {}
        }
        net.hurry(id);
        match taken {
            Some(n) => Ok(n),
            None => send(net, most),
        }
    }

    fn happen(&mut self, what: Happening) {
        let World { net, book, .. } = self;
        match what {
            Happening::Deliver(id) => net.deliver(id),
            Happening::Space(id) => net.make_room(id),
            Happening::Connected(id, port, accepted) => {
                net.trace.note(net.now, "connected", id, port as i64);
                let alive = net.dead != Some(port);
                net.turned_away += u64::from(accepted && !alive);
                let Some(far) = net.connected(id, accepted && alive) else { return };
                self.welcome(far, port);
            }
            Happening::Run(Actor::Client(index)) => self.clients[index].run(net, book),
            Happening::Run(Actor::Origin(index)) => self.origins[index].run(net, book),
            Happening::Die(upstream) => self.die(upstream),
            Happening::Adopt(index) => {
                let runtime = Arc::clone(&self.runtimes[index]);
                self.tell(Command::Adopt(Adoption::new(runtime, [].into()).0));
            }
            Happening::Answer(index) => {
                self.answers.extend(self.asked[index].take());
                self.tell(Command::Answered);
            }
            Happening::Found(upstream, down) => {
                let Some(ledger) = &mut book.ledger else { return };
                ledger.tell(upstream, down);
                let state = ledger.state(upstream);
                self.tell(Command::Health(state, down));
            }
            Happening::Drain => self.tell(Command::Drain),
            Happening::Stop => self.tell(Command::Stop),
        }
    }

    /// Nothing has happened for longer than anybody may wait for anything.
    fn quiet(&mut self) {
        self.net.trace.say(self.net.now, || "quiet".into());
        let left = self.stats.connections.get();
        assert!(!self.told, "told to end, the core has not ended; {left} connections are left");
        if left > 0 {
            self.book.complain(format!("{left} connections outlived all waits"));
        }
        self.stirred = self.net.now;
        self.tell(Command::Drain);
    }
}

#[expect(clippy::disallowed_methods, reason = "a time to count from: it is never shown")]
fn began() -> Instant {
    Instant::now()
}

/// All waits of the plan one after the other.
fn patience(scenario: &Scenario) -> Micros {
    let timeouts = &scenario.timeouts;
    let connects = timeouts.connect * (scenario.retries + 1);
    let queue = scenario.sick.as_ref().and_then(|sick| sick.queue);
    let waits = queue.map_or(Duration::ZERO, |queue| queue.wait);
    let others =
        [timeouts.read, timeouts.write, timeouts.response, timeouts.idle, timeouts.tunnel_idle];
    (connects + waits + others.iter().sum::<Duration>() + timeouts.expect + SLACK).as_micros()
        as Micros
}
