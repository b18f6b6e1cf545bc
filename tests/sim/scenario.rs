//! What a seed decides before anything happens: who asks what, who answers how, what goes wrong.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use crate::chance::Chance;
use crate::edges;
use crate::end::{Fault, Pace, When};
use crate::gate::{self, Door, Gated, Greeting, Wanted};
use crate::net::Micros;
use crate::octets::{smuggled, upwards};
use crate::porter::{is_long, network};
use crate::press;
use crate::seal::{self, Sealing};
use crate::sick::{self, Sick};

/// How the kernel and the way are. Odds are one in so many; 0: never.
#[derive(Clone, Debug)]
pub struct Weather {
    pub latency: (Micros, Micros),
    /// Octets that may be under way or unread, at most and at least.
    pub room: u64,
    pub room_least: u64,
    pub client_room_least: u64,
    /// A segment is cut.
    pub cuts: u64,
    /// A system call is interrupted.
    pub interrupts: u64,
    /// There is no descriptor left.
    pub no_descriptors: u64,
    /// So many are there in all.
    pub descriptors: usize,
    /// A connection is gone before it is accepted.
    pub aborted: u64,
    /// An origin refuses to be connected to, or does not answer.
    pub refused: u64,
    pub unanswered: u64,
    /// The others get on by the time the core makes a call.
    pub overlaps: u64,
    /// The peer fails in the middle of what the core sends.
    pub breaks: u64,
}

/// A request, and what became of it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: &'static str,
    pub minor: u8,
    /// Octets of the body; `None`: no body.
    pub body: Option<usize>,
    pub chunked: bool,
    pub expect: bool,
    pub close: bool,
    pub websocket: bool,
    /// The first frames are sent before the answer to the handshake is there.
    pub eager: bool,
    /// Sent in place of it all.
    pub malformed: Option<&'static str>,
    /// It says what it wants to be called.
    pub named: bool,
    /// It has a key by which an origin knows it again.
    pub keyed: bool,
    /// What it says to stay with its upstream.
    pub cookie: Option<String>,
    /// Octets of a field that means nothing.
    pub padding: usize,
    /// Its body is one of requests that nobody makes.
    pub smuggles: bool,
    /// If in chunks, then in one.
    pub in_one: bool,
    /// Where the framing of its chunks is broken: a share of it, in 1/2^16.
    pub spoilt: Option<u16>,
    /// A route answers it, and no origin.
    pub by_route: Option<ByRoute>,
    pub script: Script,
    /// Who asks, as far as addresses tell.
    pub from: IpAddr,
    /// What there is to it at the gate of its route.
    pub door: Option<Door>,
    /// Its body comes so many octets at once, and so long after each other.
    pub drip: Option<(usize, Micros)>,
    /// Its client has no business with HTTP.
    pub unheard: bool,
    /// Nothing in it, nor around it, keeps it from being answered.
    pub sound: bool,
    /// It can be sent again, and there is always an upstream that would answer.
    pub stood_by: bool,
    pub fate: Fate,
}

impl Ask {
    /// What the octets of its body are called.
    pub fn key(&self, id: usize) -> u64 {
        if self.smuggles { smuggled(id) } else { upwards(id) }
    }
}

/// What a route answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByRoute {
    /// A redirect to the same path elsewhere.
    Redirect,
    /// A text.
    Text,
}

impl ByRoute {
    pub fn status(self) -> u16 {
        match self {
            ByRoute::Redirect => 307,
            ByRoute::Text => 203,
        }
    }
}

/// What a request calls itself.
pub fn named(id: usize) -> String {
    format!("sim-{id}")
}

/// What became of a request.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// Octets of its head and its body, and when the last of them had left.
    pub size: u64,
    pub written_at: Micros,
    /// What tidegate called it to an origin.
    pub told: Option<String>,
    /// Its answer said that another request may follow.
    pub kept: bool,
    /// The client began to write it, and has written it all.
    pub begun: bool,
    pub written: bool,
    /// What the core's clock showed when it read the last of its head.
    pub read_at: Option<Micros>,
    /// Origins that saw the head of it, and when the first did.
    pub seen: u32,
    pub seen_at: Option<Micros>,
    /// Sick origins answered it with these.
    pub ill: Vec<u16>,
    /// Since when the client has some of an answer.
    pub heard: Option<Micros>,
    /// An origin has begun to answer.
    pub begun_to_answer: bool,
    /// An origin has sent the whole of an answer, or all of it there will be before an orderly close.
    pub answered: bool,
    /// The status of the whole answer that the client got.
    pub got: Option<u16>,
    /// That answer was tidegate's own.
    pub own: bool,
}

/// How an origin answers.
#[derive(Clone, Debug)]
pub struct Script {
    /// Interim answers that go before.
    pub interim: Vec<u16>,
    /// They go at once, and what is to come, good or bad, late.
    pub soon: bool,
    /// The answer comes before the body of the request was read.
    pub early: bool,
    pub delay: Micros,
    pub status: u16,
    pub framing: Framed,
    pub length: usize,
    /// Octets of a field that means nothing.
    pub padding: usize,
    pub end: Ending,
}

/// How an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    Length,
    Chunked,
    UntilClose,
}

/// How an answer, and the connection with it, ends. Where it breaks: a share of the answer, in 1/256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The connection goes on.
    Keep,
    /// It says so, and closes a little later.
    Close(Micros),
    /// It closes while it is idle, without having said so.
    CloseIdle(Micros),
    /// Closed, reset or silent in the middle.
    Truncate(u8),
    Reset(u8),
    Stall(u8),
    /// No HTTP.
    Garbage(&'static str),
    /// Something follows the answer at once.
    Extra,
}

impl Ending {
    /// It will never be all out, but the connection may end yet.
    pub fn is_open(self) -> bool {
        matches!(self, Ending::Stall(_))
    }

    /// The answer is whole.
    pub fn is_sound(self) -> bool {
        matches!(self, Ending::Keep | Ending::Close(_) | Ending::CloseIdle(_))
    }
}

/// A client.
#[derive(Clone, Debug)]
pub struct Person {
    pub starts: Micros,
    pub asks: Vec<usize>,
    /// Requests under way at once.
    pub depth: usize,
    pub pace: Pace,
    pub fault: Option<(When, Fault)>,
    /// After so many octets it sends an urgent one.
    pub urgent: Option<u64>,
    /// Where it is, and where it is said to be by whoever speaks for it.
    pub address: Ipv4Addr,
    pub announced: Option<IpAddr>,
    /// What it says before its first request.
    pub greeting: Option<Greeting>,
    /// Nothing but its requests can be a reason to leave it without an answer.
    pub undisturbed: bool,
}

impl Person {
    /// Where it is, for all that is told.
    pub fn from(&self) -> IpAddr {
        self.announced.unwrap_or(self.address.into())
    }

    /// Its connection is one of those that a client may have so many of: not that of a proxy which names nobody.
    pub fn is_bounded(&self) -> bool {
        let first = self.greeting.as_ref();
        first.is_none_or(|first| first.good && self.announced.is_some())
    }
}

/// How the core is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// When all is quiet.
    Quiet,
    /// In the middle; and stopped so much later.
    Drain(Micros, Option<Micros>),
    /// At once.
    Stop(Micros),
}

/// Another plan comes into force.
#[derive(Clone, Debug)]
pub struct Swap {
    pub at: Micros,
    /// Which upstreams of the first plan it has, in its order.
    pub upstreams: Vec<usize>,
    /// What each of them weighs.
    pub weights: Vec<u32>,
    /// Each has a pool of its own, and the route goes to all.
    pub apart: bool,
    pub upstream_idle: usize,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub weather: Weather,
    pub asks: Vec<Ask>,
    pub people: Vec<Person>,
    pub upstreams: usize,
    /// Which of them have Unix sockets.
    pub local: [bool; 3],
    /// The port of an upstream that dies, and when.
    pub death: Option<(usize, Micros)>,
    /// Plans that replace the first.
    pub swaps: Vec<Swap>,
    /// Upstreams that are sick for a while.
    pub sick: Option<Sick>,
    /// What is demanded of requests and connections.
    pub gate: Option<Gated>,
    /// Who speaks TLS.
    pub sealing: Option<Sealing>,
    /// One in so many connections to origins has a fault of its own.
    pub faulty: u64,
    /// One in so many sends an urgent octet.
    pub urgent: u64,
    pub stopping: Stopping,
    pub timeouts: Timeouts,
    pub buffers: usize,
    pub connections: usize,
    pub upstream_idle: usize,
    pub retries: u32,
    pub half_close: bool,
    pub body_most: Option<u64>,
    /// The limit on heads, in octets.
    pub head_most: usize,
    /// Places for records that wait to be written down.
    pub records: usize,
}

/// Which upstream has this Unix socket.
pub fn of_socket(path: &Path) -> Option<usize> {
    (1..=3).find(|upstream| path == Path::new(&format!("/{upstream}.sock")))
}

/// With less than this left of its limit, a head may be too large when tidegate has added to it.
const PADDING_LEFT: usize = 1_384;

/// Kinds of trouble.
struct Trouble {
    clients: bool,
    origins: bool,
    weather: bool,
    scarce: bool,
    large: bool,
}

const GARBAGE: &[&str] = &[
    "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "HTTP/9.9 200 OK\r\n\r\n",
    "200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\nx\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
     Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "\0\0\0\0",
];

const MALFORMED: &[&str] = &[
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    "POST /m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
    "POST /m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    "POST /m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad\r\n\r\n",
    "POST /m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "GET /m HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /m HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "GET /m HTTP/2.0\r\nHost: a\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    "POST /m HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx",
    "\u{16}\u{3}\u{1}\u{2}",
];

/// The scenario of a seed.
pub fn of(seed: u64) -> Scenario {
    let mut chance = Chance::seeded(seed);
    let c = &mut chance;
    let trouble = Trouble {
        clients: c.one_in(2),
        origins: c.one_in(2),
        weather: c.one_in(4),
        scarce: c.one_in(3),
        large: c.one_in(3),
    };
    let stopping = match c.below(8) {
        0 => Stopping::Stop(c.magnitude(5_000_000)),
        1 => Stopping::Drain(c.magnitude(2_000_000), Some(c.magnitude(8_000_000))),
        2 => Stopping::Drain(c.magnitude(2_000_000), None),
        _ => Stopping::Quiet,
    };
    let timeouts = timeouts(c);
    let faulty = if trouble.origins && c.one_in(2) { 3 } else { 0 };
    let (mut asks, mut people) = (Vec::new(), Vec::new());
    let many = c.magnitude(20) as usize;
    for _ in 0..many {
        people.push(person(c, &trouble, &mut asks));
    }
    let largest = asks.iter().map(|ask: &Ask| ask.body.unwrap_or(0).max(ask.script.length)).max();
    let weather = weather(c, &trouble, largest.unwrap_or(0) as u64);
    let scarce =
        |c: &mut Chance, most: u64| if trouble.scarce { c.magnitude(most) } else { 1 << 12 };
    let mut scenario = Scenario {
        weather,
        people,
        upstreams: c.between(1, 3) as usize,
        local: [false; 3],
        death: None,
        swaps: Vec::new(),
        sick: None,
        gate: None,
        sealing: None,
        faulty,
        urgent: 0,
        stopping,
        timeouts,
        buffers: scarce(c, 32) as usize,
        connections: scarce(c, 16) as usize,
        upstream_idle: if c.one_in(4) { c.below(3) } else { 64 },
        retries: c.between(0, 3) as u32,
        half_close: c.one_in(2),
        body_most: (trouble.clients && c.one_in(4)).then(|| c.magnitude(100_000)),
        head_most: 16 * 1024,
        records: if trouble.scarce && c.one_in(3) { 3 } else { 10_000 },
        asks,
    };
    if edges::have(seed) {
        edges::add(&mut scenario, seed);
        edges::urge(&mut scenario, seed);
        edges::run_short(&mut scenario, seed);
        edges::kill(&mut scenario, seed);
    }
    if edges::swaps(seed) {
        edges::swap(&mut scenario, seed);
    }
    if edges::routes(seed) {
        edges::answer_by_routes(&mut scenario, seed);
    }
    if edges::has_large_heads(seed) {
        edges::enlarge(&mut scenario, seed);
    }
    if sick::has(seed) {
        sick::add(&mut scenario, seed);
    }
    if press::has(seed) {
        press::add(&mut scenario, seed);
    }
    if gate::has(seed) {
        gate::add(&mut scenario, seed);
    }
    if seal::has(seed) {
        seal::add(&mut scenario, seed);
    }
    judge(&mut scenario, &trouble);
    scenario
}

/// Which requests have to be answered, come what may to others.
fn judge(scenario: &mut Scenario, trouble: &Trouble) {
    let ample = !trouble.weather && scenario.weather.descriptors == usize::MAX;
    let undisturbed = scenario.stopping == Stopping::Quiet && ample;
    let well = undisturbed && scenario.faulty == 0 && scenario.weather.breaks == 0;
    let quiet = well && scenario.death.is_none() && scenario.sick.is_none();
    for ask in &mut scenario.asks {
        let again =
            matches!(ask.method, "GET" | "HEAD" | "OPTIONS" | "DELETE") && ask.body.is_none();
        let sound = ask.script.end.is_sound() && ask.script.padding == 0 && ask.padding == 0;
        let malformed = ask.malformed.is_some() || ask.websocket || ask.by_route.is_some();
        let two = scenario.upstreams > 1
            && scenario.swaps.iter().all(|swap| swap.upstreams.len() > 1 && !swap.apart)
            && scenario.sick.is_none()
            && scenario.retries > 0;
        let passes = ask.door.as_ref().is_none_or(|door| door.wanted == Wanted::Pass);
        ask.stood_by = well && two && again && sound && !malformed && passes;
    }
    // A connection that is kept may have to make room while the next request is on its way.
    let crowded = scenario.people.len() > scenario.connections;
    let places = scenario.gate.as_ref().and_then(|gated| gated.places).unwrap_or(usize::MAX);
    let bounded = scenario.people.iter().filter(|person| person.is_bounded());
    let everybody: Vec<IpAddr> = bounded.map(|person| network(person.from())).collect();
    for person in &mut scenario.people {
        let same = |other: &&IpAddr| **other == network(person.from());
        let has_place = !person.is_bounded() || everybody.iter().filter(same).count() <= places;
        let is_heard = has_place && person.greeting.as_ref().is_none_or(|greeting| greeting.good);
        person.undisturbed = undisturbed && person.fault.is_none() && is_heard;
        let sound = |ask: &Ask| {
            let small = scenario.body_most.is_none_or(|most| ask.body.unwrap_or(0) as u64 <= most);
            let again =
                !trouble.origins || matches!(ask.method, "GET" | "HEAD") && ask.body.is_none();
            let padding = ask.padding.max(ask.script.padding);
            let fits = padding + PADDING_LEFT < scenario.head_most;
            let wellformed = ask.malformed.is_none() && ask.spoilt.is_none() && ask.drip.is_none();
            let is_long = scenario.gate.as_ref().is_some_and(|gated| is_long(gated, ask));
            small && again && fits && !is_long && wellformed && ask.script.end.is_sound()
        };
        let all = person.asks.iter().all(|id| sound(&scenario.asks[*id]));
        if quiet && all && person.fault.is_none() && is_heard {
            for id in &person.asks {
                scenario.asks[*id].sound = true;
                // What follows would not be answered on the same connection.
                let ask = &scenario.asks[*id];
                let refused = |gated| gate::ends_early(ask, gated);
                let early = ask.script.early
                    || ask.by_route.is_some() && ask.body.is_some()
                    || scenario.gate.as_ref().is_some_and(refused);
                let closes = crowded || ask.close || ask.minor == 0 || early || ask.websocket;
                if closes || matches!(ask.script.end, Ending::Close(_)) {
                    break;
                }
            }
        }
    }
}

/// Every wait of a plan.
#[derive(Clone, Debug)]
pub struct Timeouts {
    pub read: Duration,
    pub write: Duration,
    pub connect: Duration,
    pub response: Duration,
    pub idle: Duration,
    pub upstream_idle: Duration,
    pub tunnel_idle: Duration,
    pub expect: Duration,
    pub drain: Duration,
}

fn timeouts(c: &mut Chance) -> Timeouts {
    let base = c.pick(&[1500, 3000, 6000]);
    let mut wait = || Duration::from_millis(c.between(base, 3 * base));
    Timeouts {
        read: wait(),
        write: wait(),
        connect: wait(),
        response: wait(),
        idle: wait(),
        upstream_idle: wait(),
        tunnel_idle: wait(),
        expect: wait() / 4,
        drain: wait(),
    }
}

fn weather(c: &mut Chance, trouble: &Trouble, largest: u64) -> Weather {
    let slow = c.pick(&[50, 500, 20_000]);
    let odds = |c: &mut Chance, n: u64| if trouble.weather && c.one_in(2) { n } else { 0 };
    Weather {
        latency: (c.between(0, slow / 2), slow),
        room: c.pick(&[512, 16_384, 262_144]),
        room_least: 64.max(largest / 32),
        client_room_least: 64.max(largest / 32),
        cuts: c.pick(&[0, 2, 10]),
        interrupts: c.pick(&[0, 0, 20]),
        no_descriptors: odds(c, 10),
        descriptors: usize::MAX,
        aborted: odds(c, 10),
        refused: odds(c, 4),
        unanswered: odds(c, 6),
        overlaps: 0,
        breaks: 0,
    }
}

fn person(c: &mut Chance, trouble: &Trouble, asks: &mut Vec<Ask>) -> Person {
    let mut own = Vec::new();
    for _ in 0..c.magnitude(8) {
        let ask = ask(c, trouble);
        let last = ask.websocket || ask.malformed.is_some();
        own.push(asks.len());
        asks.push(ask);
        if last {
            break;
        }
    }
    let weight = |id: &usize| 300 + asks[*id].body.unwrap_or(0).max(asks[*id].script.length);
    let total: usize = own.iter().map(weight).sum();
    let pace = pace(c, total);
    let fault = (trouble.clients && c.one_in(3)).then(|| fault(c, total as u64));
    Person {
        starts: c.magnitude(500_000),
        asks: own,
        depth: if c.one_in(3) { c.between(2, 5) as usize } else { 1 },
        pace,
        fault,
        urgent: None,
        address: Ipv4Addr::new(192, 0, 2, 1),
        announced: None,
        greeting: None,
        undisturbed: false,
    }
}

/// One who begins within `rush`, and whom nothing goes wrong with.
pub fn calm(c: &mut Chance, rush: Micros, asks: &mut Vec<Ask>) -> Person {
    let (no, large) = (false, false);
    let trouble = Trouble { clients: no, origins: no, weather: no, scarce: no, large };
    let person = person(c, &trouble, asks);
    Person { starts: c.magnitude(rush), ..person }
}

/// Slow or fast, but through with `total` octets after some hundred turns.
pub fn pace(c: &mut Chance, total: usize) -> Pace {
    let least = (total / 150).max(1);
    let mut most = || if c.one_in(4) { least * c.between(1, 8) as usize } else { 1 << 20 };
    let (read, write) = (most(), most());
    Pace { read, write, every: (0, c.pick(&[1, 100, 2000])) }
}

/// A fault within the first `total` octets.
pub fn fault(c: &mut Chance, total: u64) -> (When, Fault) {
    let at = c.magnitude(total + 1) - 1;
    let when = if c.one_in(2) { When::Read(at) } else { When::Written(at) };
    let fault = match c.below(6) {
        0 | 1 => Fault::Reset,
        2 => Fault::Close,
        3 => Fault::Finish,
        4 => Fault::Pause(c.magnitude(8_000_000)),
        _ => Fault::Stall,
    };
    (when, fault)
}

fn length(c: &mut Chance, trouble: &Trouble) -> usize {
    let most = if trouble.large && c.one_in(3) { 200_000 } else { 4000 };
    if c.one_in(6) { 0 } else { c.magnitude(most) as usize }
}

fn ask(c: &mut Chance, trouble: &Trouble) -> Ask {
    let websocket = c.one_in(10);
    let mut method = c.pick(&["GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"]);
    if websocket {
        method = "GET";
    }
    let has_body = !websocket && (matches!(method, "POST" | "PUT") || c.one_in(20));
    let body = has_body.then(|| length(c, trouble));
    let minor = u8::from(websocket || !c.one_in(12));
    Ask {
        method,
        minor,
        body,
        chunked: minor == 1 && has_body && c.one_in(2),
        expect: minor == 1 && body.is_some_and(|n| n > 0) && c.one_in(6),
        close: !websocket && c.one_in(12),
        websocket,
        eager: websocket && c.one_in(4),
        malformed: (trouble.clients && c.one_in(20)).then(|| c.pick(MALFORMED)),
        named: false,
        keyed: false,
        cookie: None,
        padding: 0,
        smuggles: false,
        in_one: false,
        spoilt: None,
        by_route: None,
        script: script(c, trouble, has_body),
        from: Ipv4Addr::new(192, 0, 2, 1).into(),
        door: None,
        drip: None,
        unheard: false,
        sound: false,
        stood_by: false,
        fate: Fate::default(),
    }
}

fn script(c: &mut Chance, trouble: &Trouble, has_body: bool) -> Script {
    let ending = if trouble.origins && c.one_in(4) {
        let part = c.below(256) as u8;
        match c.below(6) {
            0 => Ending::Truncate(part),
            1 => Ending::Reset(part),
            2 => Ending::Stall(part),
            3 => Ending::Garbage(c.pick(GARBAGE)),
            4 => Ending::CloseIdle(c.magnitude(1_000_000)),
            _ => Ending::Extra,
        }
    } else if c.one_in(8) {
        Ending::Close(c.magnitude(50_000))
    } else {
        Ending::Keep
    };
    let framing = c.pick(&[Framed::Length, Framed::Length, Framed::Chunked, Framed::UntilClose]);
    let until_close =
        framing == Framed::UntilClose && matches!(ending, Ending::Keep | Ending::Extra);
    Script {
        interim: if c.one_in(10) {
            c.pick(&[&[103][..], &[100], &[102, 103]]).to_vec()
        } else {
            vec![]
        },
        soon: false,
        early: has_body && c.one_in(6),
        delay: if c.one_in(3) { c.magnitude(200_000) } else { 0 },
        status: c.pick(&[200, 200, 200, 200, 204, 304, 404, 500]),
        framing,
        length: length(c, trouble),
        padding: 0,
        end: if until_close { Ending::Close(c.magnitude(50_000)) } else { ending },
    }
}
