//! What a seed decides besides for the gates of routes: who may, what, and how often; and for what comes before any
//! request: the header of the PROXY protocol, and how many connections a client may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::base::digest;
use crate::chance::Chance;
use crate::config::{
    AskedUrl, AuthKind, AuthSpec, Conditions, CorsSpec, ForwardAuthSpec, Gate, LimitKey, LimitSpec,
    NetworkList, PathPattern, Place, Plan, RouteSpec, Token,
};
use crate::end::{Fault, When};
use crate::net::Micros;
use crate::porter;
use crate::scenario::{Ask, Scenario};

/// By this a secret is known wherever it turns up.
pub const SECRET: &str = "sim-secret-";
/// The same of what a client says of itself and only we may say.
pub const FORGED: &str = "sim-forged";
/// The field in which the service says who asks.
pub const CLAIM: &str = "X-User";
/// Who has a token, and what they may.
pub const BEARERS: [(&str, &[&str]); 3] =
    [("ada", &["read"]), ("bob", &["read", "write"]), ("cy", &[])];
/// One who knows all others asks for this.
const ORIGIN: &str = "https://app.example";

/// All gates of a scenario.
#[derive(Clone, Debug)]
pub struct Gated {
    pub groups: Vec<Group>,
    pub auths: Vec<Auth>,
    pub limits: Vec<Limit>,
    /// Who begins with a header of the PROXY protocol.
    pub announcers: Option<IpNet>,
    /// Connections that a client may have.
    pub places: Option<usize>,
    /// Octets of a body that come in a second.
    pub rate: Option<u64>,
    /// How long the service takes to answer.
    pub thinks: Micros,
}

/// What some routes demand.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub allow: Option<Vec<IpNet>>,
    pub deny: Option<Vec<IpNet>>,
    pub types: Vec<&'static str>,
    pub auths: Vec<usize>,
    pub roles: Vec<&'static str>,
    pub limits: Vec<usize>,
    pub cors: bool,
}

/// A kind of credentials.
#[derive(Clone, Debug)]
pub struct Auth {
    pub name: &'static str,
    pub fields: Vec<&'static str>,
    pub pass: bool,
    /// A service is asked, and not looked into a table.
    pub service: bool,
}

/// What requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Client,
    Token,
    Route,
    All,
}

/// A limit.
#[derive(Clone, Debug)]
pub struct Limit {
    pub name: &'static str,
    pub requests: u32,
    /// Seconds.
    pub window: u64,
    pub burst: Option<u32>,
    pub by: By,
    pub dry_run: bool,
}

/// A request at the gate of its route.
#[derive(Clone, Debug)]
pub struct Door {
    pub group: usize,
    /// Fields that it has besides.
    pub lines: Vec<(&'static str, String)>,
    pub wanted: Wanted,
    /// Who asks: the kind of credentials, and the name.
    pub who: Option<(&'static str, &'static str)>,
    /// What an upstream is to get in fields that the gate looks at.
    pub upstream: Vec<(&'static str, Option<String>)>,
}

/// What has to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It goes on, but for limits.
    Pass,
    /// It is refused: the reason, and the status.
    Refused(&'static str, u16),
    /// It is a preflight, and is answered.
    Preflight,
}

/// What a client says before its first request.
#[derive(Clone, Debug)]
pub struct Greeting {
    pub octets: Vec<u8>,
    /// So many at once, and so long after each other; 0: all of it with what follows.
    pub piece: usize,
    pub gap: Micros,
    /// Nothing follows.
    pub mute: bool,
    /// Its requests are heard.
    pub good: bool,
}

/// Has this seed gates? In scenarios of every kind, but in none of those that found something before.
pub fn has(seed: u64) -> bool {
    matches!(
        seed % 64,
        2 | 4
            | 5
            | 8
            | 9
            | 12
            | 15
            | 16
            | 19
            | 22
            | 26
            | 34
            | 36
            | 37
            | 38
            | 40
            | 43
            | 45
            | 54
            | 56
            | 61
            | 63
    )
}

/// Adds them to a scenario.
pub fn add(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5009_0000);
    let c = &mut chance;
    for person in &mut scenario.people {
        person.address = Ipv4Addr::new(192, 0, 2, c.between(1, 4) as u8);
    }
    let announcers = c.one_in(3).then(|| c.pick(&["192.0.2.0/24", "192.0.2.0/31", "192.0.2.2/31"]));
    let announcers = announcers.map(|text| IpNet::from_str(text).expect("a network"));
    let mut gated = gated(c, announcers);
    if announcers.is_some() {
        announce(c, scenario, &gated);
    }
    for index in 0..scenario.people.len() {
        let person = &scenario.people[index];
        for id in person.asks.clone() {
            scenario.asks[id].from = scenario.people[index].from();
            scenario.asks[id].unheard =
                scenario.people[index].greeting.as_ref().is_some_and(|g| !g.good);
        }
    }
    if c.one_in(4) {
        slow_down(c, scenario, &mut gated);
    }
    for ask in scenario.asks.iter_mut().filter(|ask| ask.malformed.is_none()) {
        let group = c.below(gated.groups.len());
        knock(c, &gated, group, ask);
    }
    scenario.gate = Some(gated);
}

fn gated(c: &mut Chance, announcers: Option<IpNet>) -> Gated {
    let auths = vec![
        Auth {
            name: "keys",
            fields: c
                .pick(&[&["Authorization"][..], &["X-Api-Key"], &["Authorization", "X-Api-Key"]])
                .to_vec(),
            pass: c.one_in(5),
            service: false,
        },
        Auth { name: "asked", fields: vec!["X-Ticket"], pass: false, service: true },
    ];
    let limits = ["first", "second"].map(|name| Limit {
        name,
        requests: c.between(1, 6) as u32,
        window: c.between(1, 3),
        burst: c.one_in(2).then(|| c.between(1, 4) as u32),
        by: c.pick(&[By::Client, By::Token, By::Route, By::All]),
        dry_run: c.one_in(5),
    });
    let groups = (0..c.between(1, 3)).map(|_| group(c)).collect();
    Gated {
        groups,
        auths,
        limits: limits.into(),
        announcers,
        places: c.one_in(4).then(|| c.between(1, 3) as usize),
        rate: None,
        thinks: c.pick(&[0, 1000, 300_000]),
    }
}

fn group(c: &mut Chance) -> Group {
    let networks = |c: &mut Chance| {
        let all =
            ["192.0.2.1/32", "192.0.2.2/31", "198.51.100.0/24", "2001:db8::/48", "192.0.2.4/32"];
        let some: Vec<IpNet> = all
            .iter()
            .filter(|_| c.one_in(2))
            .map(|text| IpNet::from_str(text).expect("one"))
            .collect();
        (!some.is_empty()).then_some(some)
    };
    let auths = match c.below(6) {
        0 | 1 => vec![],
        2 | 3 => vec![0],
        4 => vec![1],
        _ => vec![0, 1],
    };
    Group {
        allow: if c.one_in(5) { networks(c) } else { None },
        deny: if c.one_in(4) { networks(c) } else { None },
        types: if c.one_in(4) { vec!["text/*", "application/json"] } else { vec![] },
        roles: if auths == [0] && c.one_in(3) { vec!["write"] } else { vec![] },
        auths,
        limits: c.pick(&[&[][..], &[0], &[0], &[1], &[0, 1]]).to_vec(),
        cors: c.one_in(4),
    }
}

/// A request comes to the gate of this group, with this and that in hand.
fn knock(c: &mut Chance, gated: &Gated, number: usize, ask: &mut Ask) {
    let group = &gated.groups[number];
    let mut lines: Vec<(&'static str, String)> = Vec::new();
    if group.cors && !ask.websocket && c.one_in(2) {
        let origin = c.pick(&[ORIGIN, ORIGIN, "https://other.example"]);
        lines.push(("Origin", origin.to_owned()));
        if c.one_in(12) {
            lines.push(("Origin", ORIGIN.to_owned()));
        }
        if c.one_in(2) {
            (ask.method, ask.body, ask.chunked, ask.expect) = ("OPTIONS", None, false, false);
            (ask.script.early, ask.spoilt) = (false, None);
            let method = c.pick(&["GET", "PUT", "put", "PATCH"]);
            lines.push(("Access-Control-Request-Method", method.to_owned()));
        }
    }
    if !group.types.is_empty() || c.one_in(8) {
        let kinds =
            ["text/plain", "Text/HTML; charset=utf-8", "application/json", "image/png", "text", ""];
        let kind = c.pick(&kinds);
        if !kind.is_empty() {
            lines.push(("Content-Type", kind.to_owned()));
        }
    }
    for auth in &group.auths {
        present(c, &gated.auths[*auth], &mut lines);
    }
    if c.one_in(3) {
        lines.push((c.pick(&[CLAIM, "x-user", "X_User"]), FORGED.to_owned()));
    }
    let (wanted, who) = porter::judge(gated, group, ask, &lines);
    let upstream = porter::upstream(gated, group, &lines, who);
    // What is asked of the service is answered in its own time, and it may be too late for that.
    ask.door = Some(Door { group: number, lines, wanted, who, upstream });
}

fn present(c: &mut Chance, auth: &Auth, lines: &mut Vec<(&'static str, String)>) {
    let name = c.pick(&["ada", "ada", "bob", "bob", "cy", "nobody"]);
    let secret = format!("{SECRET}{name}");
    let dressed = |field: &str, secret: &str| match field {
        "Authorization" => format!("Bearer {secret}"),
        _ => secret.to_owned(),
    };
    let field = c.pick(&auth.fields);
    let other = format!("{SECRET}{}", c.pick(&["ada", "bob", "nobody"]));
    match c.below(12) {
        0 | 1 => {}
        2 if auth.fields.len() > 1 => {
            auth.fields.iter().for_each(|field| lines.push((field, dressed(field, &secret))));
        }
        2 | 3 if auth.fields.len() > 1 => {
            lines.push((auth.fields[0], dressed(auth.fields[0], &secret)));
            lines.push((auth.fields[1], dressed(auth.fields[1], &other)));
        }
        3 if field != "Authorization" => {
            lines.push((field, secret));
            lines.push((field, other));
        }
        4 if field == "X-Api-Key" => lines.push(("X_Api_Key", secret)),
        5 if field == "Authorization" => lines.push((field, "Basic c2ltOnNpbQ==".to_owned())),
        6 if field == "Authorization" => lines.push((field, format!("bEARER   {secret}"))),
        7 if field == "Authorization" => lines.push((field, format!("Bearer {secret},{other}"))),
        _ => lines.push((field, dressed(field, &secret))),
    }
}

/// Some bodies come drop by drop: fast enough, or not.
fn slow_down(c: &mut Chance, scenario: &mut Scenario, gated: &mut Gated) {
    let rate = c.between(8, 40);
    gated.rate = Some(rate);
    for person in &scenario.people {
        let Some(ask) = person.asks.last().map(|id| &mut scenario.asks[*id]) else { continue };
        let plain = ask.malformed.is_none() && ask.spoilt.is_none() && !ask.websocket;
        if !plain || c.one_in(2) {
            continue;
        }
        let (piece, every) = match c.one_in(3) {
            true => (2 * rate as usize, 400_000),
            false => (1 + rate as usize / 4, 900_000),
        };
        ask.method = c.pick(&["PUT", "POST"]);
        (ask.chunked, ask.expect, ask.script.early) = (false, false, false);
        ask.body = Some(piece * c.between(14, 20) as usize);
        ask.drip = Some((piece, every));
    }
}

// ---- the header of the PROXY protocol ----

fn announce(c: &mut Chance, scenario: &mut Scenario, gated: &Gated) {
    for person in &mut scenario.people {
        let is_one =
            gated.announcers.is_some_and(|network| network.contains(&IpAddr::from(person.address)));
        if !is_one {
            continue;
        }
        let (octets, source) = header(c);
        let gap = if c.one_in(2) { 0 } else { c.magnitude(2000) };
        let piece = c.pick(&[1, 1, 5, 1000]);
        let mut greeting = Greeting { octets, piece, gap, mute: false, good: true };
        person.announced = source;
        match c.below(8) {
            0 => (greeting.octets, greeting.good) = (garbage(c), false),
            1 => {
                let at = c.below(greeting.octets.len());
                greeting.octets.truncate(at);
                (greeting.mute, greeting.good) = (true, false);
                let fault = c.pick(&[Fault::Reset, Fault::Close, Fault::Finish, Fault::Stall]);
                person.fault = c.one_in(2).then_some((When::Written(at as u64), fault));
            }
            2 if c.one_in(2) => (greeting.octets, greeting.good) = (Vec::new(), false),
            _ => {}
        }
        person.urgent = person.urgent.filter(|_| greeting.good && !greeting.mute);
        person.greeting = Some(greeting);
    }
}

/// A good one, and whom it names.
fn header(c: &mut Chance) -> (Vec<u8>, Option<IpAddr>) {
    let four = Ipv4Addr::new(198, 51, 100, c.between(1, 3) as u8);
    let six =
        Ipv6Addr::new(0x2001, 0xdb8, 0, c.between(0, 1) as u16, 0, 0, 0, c.between(1, 9) as u16);
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    match c.below(8) {
        0 => (format!("PROXY TCP4 {four} 192.0.2.9 1234 80\r\n").into_bytes(), Some(four.into())),
        1 => (format!("PROXY TCP6 {six} ::1 1 65535\r\n").into_bytes(), Some(six.into())),
        2 => (b"PROXY UNKNOWN\r\n".to_vec(), None),
        3 => (b"PROXY UNKNOWN ffff::1 whatever 0 0\r\n".to_vec(), None),
        4 => {
            v2.extend([0x21, 0x11, 0, 12]);
            v2.extend(four.octets());
            v2.extend([192, 0, 2, 9, 4, 210, 0, 80]);
            (v2, Some(four.into()))
        }
        5 => {
            // Mapped into IPv6, and something of the sender's behind it.
            v2.extend([0x21, 0x21, 0, 36 + 5]);
            v2.extend(four.to_ipv6_mapped().octets());
            v2.extend([0; 16]);
            v2.extend([4, 210, 0, 80, 4, 0, 2, b'G', b'E']);
            (v2, Some(four.into()))
        }
        6 => {
            v2.extend([0x21, 0x21, 0, 36]);
            v2.extend(six.octets());
            v2.extend([0; 16]);
            v2.extend([4, 210, 0, 80]);
            (v2, Some(six.into()))
        }
        _ => {
            v2.extend([0x20, 0, 0, 3]);
            v2.extend(*b"GET");
            (v2, None)
        }
    }
}

/// None that is good, whatever follows.
fn garbage(c: &mut Chance) -> Vec<u8> {
    let all: [&[u8]; 10] = [
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        b"PROXY TCP4 1.2.3.400 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c0123456789ab",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c0123456789ab",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b0123456789a",
        b"\r\n\r\n\0\r\nQUIX\n\x21\x11\0\x0c0123456789ab",
    ];
    c.pick(&all).to_vec()
}

// ---- the plan ----

impl Gated {
    /// Whatever refuses a request because of what others do.
    pub fn may_limit(&self, ask: &Ask) -> bool {
        let limits = ask.door.iter().flat_map(|door| &self.groups[door.group].limits);
        limits.into_iter().any(|limit| !self.limits[*limit].dry_run)
    }

    /// The plan with these gates. Its last route goes to upstreams.
    pub fn apply(&self, asks: &[Ask], plan: Plan) -> Plan {
        let auths: Vec<_> = self.auths.iter().map(auth).collect();
        let limits: Vec<_> = self.limits.iter().map(limit).collect();
        let gates: Vec<_> =
            self.groups.iter().map(|group| Arc::new(gate(group, &auths, &limits))).collect();
        let Some((last, others)) = plan.routes.split_last() else { panic!("a route") };
        let path = |id: usize| {
            let path = format!("/r{id}");
            PathPattern { normal: path.clone().into_bytes(), text: path, below: false }
        };
        let at = |id: usize| asks[id].door.as_ref().map(|door| door.group);
        let by_route = others.iter().map(|route| {
            let id = asks
                .iter()
                .enumerate()
                .position(|(id, _)| *route.name == *format!("by-route-{id}"));
            let gate = id.and_then(at).map(|group| Arc::clone(&gates[group]));
            RouteSpec { gate: gate.unwrap_or_default(), ..route.clone() }
        });
        let forward = |group: usize| RouteSpec {
            name: format!("gate-{group}").into(),
            gate: Arc::clone(&gates[group]),
            conditions: Conditions {
                path: (0..asks.len()).filter(|id| at(*id) == Some(group)).map(path).collect(),
                ..Conditions::default()
            },
            ..last.clone()
        };
        let forward =
            (0..gates.len()).map(forward).filter(|route| !route.conditions.path.is_empty());
        // Whatever is left is nobody's, and goes the way of the first.
        let rest = RouteSpec { gate: Arc::clone(&gates[0]), ..last.clone() };
        let routes = by_route.chain(forward).chain([rest]).collect();
        let mut next = Plan { routes, auths, limits, ..plan };
        next.listener.proxy_protocol =
            self.announcers.iter().map(|network| (None, *network)).collect();
        next.listener.max_client_connections = self.places;
        next
    }
}

fn auth(auth: &Auth) -> Arc<AuthSpec> {
    let token = |(name, roles): &(&str, &[&str])| {
        let secret = format!("{SECRET}{name}");
        Token {
            name: (*name).into(),
            digest: digest(secret.as_bytes()),
            shown: "sim".into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
        }
    };
    let service = || {
        let place = Place::Tcp { host: "10.0.0.9".to_owned(), port: 9 };
        let text = "http://10.0.0.9:9/".to_owned();
        ForwardAuthSpec {
            url: AskedUrl {
                text,
                place,
                secure: false,
                authority: "sim".to_owned(),
                target: "/".to_owned(),
            },
            timeout: Duration::from_secs(1),
            fields: vec![CLAIM.to_owned()],
            cache: Duration::from_millis(500),
        }
    };
    Arc::new(AuthSpec {
        name: auth.name.into(),
        kind: match auth.service {
            true => AuthKind::Forward(service()),
            false => AuthKind::Token(BEARERS.iter().map(token).collect()),
        },
        fields: auth.fields.iter().map(|field| (*field).to_owned()).collect(),
        pass: auth.pass,
    })
}

fn limit(limit: &Limit) -> Arc<LimitSpec> {
    Arc::new(LimitSpec {
        name: limit.name.into(),
        requests: limit.requests,
        window: Duration::from_secs(limit.window),
        burst: limit.burst,
        by: match limit.by {
            By::Client => LimitKey::Client,
            By::Token => LimitKey::Token,
            By::Route => LimitKey::Route,
            By::All => LimitKey::All,
        },
        keys: 10_000,
        dry_run: limit.dry_run,
    })
}

fn gate(group: &Group, auths: &[Arc<AuthSpec>], limits: &[Arc<LimitSpec>]) -> Gate {
    let list = |networks: &Vec<IpNet>| {
        Arc::new(NetworkList { written: Vec::new(), networks: networks.clone() })
    };
    let cors = || {
        Arc::new(CorsSpec {
            origin: vec![ORIGIN.to_owned()],
            method: vec!["PUT".to_owned()],
            header: Vec::new(),
            expose: Vec::new(),
            credentials: false,
            max_age: Duration::from_secs(5),
        })
    };
    Gate {
        allow: group.allow.as_ref().map(list),
        deny: group.deny.as_ref().map(list),
        content_type: group.types.iter().map(|kind| (*kind).to_owned()).collect(),
        auth: group.auths.iter().map(|auth| Arc::clone(&auths[*auth])).collect(),
        roles: group.roles.iter().map(|role| (*role).into()).collect(),
        limits: group.limits.iter().map(|limit| Arc::clone(&limits[*limit])).collect(),
        security_headers: false,
        cors: group.cors.then(cors),
        client_cert: false,
    }
}

/// Its answer comes before its body is read, and ends the connection.
pub fn ends_early(ask: &Ask, gated: &Gated) -> bool {
    let refused = ask.door.as_ref().is_some_and(|door| door.wanted != Wanted::Pass);
    ask.body.is_some() && (refused || gated.may_limit(ask))
}
