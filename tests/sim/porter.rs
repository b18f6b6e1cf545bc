//! What a gate has to say of a request, as the manual has it and not as the product does; and whether what became of
//! all requests fits that: none that is refused at an upstream, no more through a limit than it lets through in any
//! time of that length, none refused by one that was not full, and no more connections of a client than it may have.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::UNIX_EPOCH;

use ipnet::IpNet;

use crate::gate::{Auth, BEARERS, By, CLAIM, Gated, Group, Limit, SECRET, Wanted};
use crate::http::Reply;
use crate::message::{Head, decimal};
use crate::net::Micros;
use crate::policy::gate::{Answer, Asked, AuthQuestion, Identity};
use crate::proxy::Runtime;
use crate::scenario::{Ask, Scenario, Stopping};
use crate::stats::Record;
use crate::world::BEGINNING_S;

/// With this status the service turns away those whom it knows and does not like.
const DISLIKED: u16 = 402;
/// Octets that the service is asked with.
const ASKED_WITH: usize = 16 * 1024;
/// Octets of those that are no padding, at most.
const LINES: usize = 2_000;
/// Which kind of credentials asks it.
const SERVICE: usize = 1;
/// Seconds that a body may fall behind.
const GRACE: u64 = 5;
/// Who is slow for so long is told in any case.
const SLOW_LEAST: Micros = 9_000_000;
/// Reasons for which a gate answers a request.
const BY_GATES: [&str; 12] = [
    "network_refused",
    "unsupported_media_type",
    "cors_refused",
    "preflight_answered",
    "no_credentials",
    "bad_credentials",
    "ambiguous_credentials",
    "auth_fields_too_large",
    "role_missing",
    "auth_refused",
    "auth_unavailable",
    "rate_limited",
];
/// Reasons for which a request ends before its gate sees it.
const BEFORE: [&str; 2] = ["head_too_large", "head_timeout"];

type Lines = [(&'static str, String)];
type Who = Option<(&'static str, &'static str)>;

// ---- one request ----

/// What has to become of a request with these lines, and who asks.
pub fn judge(gated: &Gated, group: &Group, ask: &Ask, lines: &Lines) -> (Wanted, Who) {
    if let Some(refused) = anonymous(group, ask, lines) {
        return (refused, None);
    }
    let who = match identity(gated, group, lines) {
        Ok(who) => who,
        Err(refused) => return (refused, None),
    };
    let has = who.and_then(|(auth, name)| {
        let bearer = BEARERS.iter().find(|(one, _)| *one == name && auth == "keys");
        bearer.map(|(_, roles)| *roles)
    });
    let may = group.roles.is_empty()
        || group.roles.iter().any(|role| has.is_some_and(|has| has.contains(role)));
    (if may { Wanted::Pass } else { Wanted::Refused("role_missing", 403) }, who)
}

fn anonymous(group: &Group, ask: &Ask, lines: &Lines) -> Option<Wanted> {
    let among = |list: &Vec<IpNet>| list.iter().any(|network| is_in(ask.from, *network));
    if group.allow.as_ref().is_some_and(|list| !among(list))
        || group.deny.as_ref().is_some_and(among)
    {
        return Some(Wanted::Refused("network_refused", 403));
    }
    let all = |name: &str| {
        lines.iter().filter(|(one, _)| *one == name).map(|(_, value)| &**value).collect::<Vec<_>>()
    };
    let has_body = ask.body.is_some_and(|length| length > 0 || ask.chunked);
    let listed = matches!(
        all("Content-Type")[..],
        ["text/plain" | "Text/HTML; charset=utf-8" | "application/json"]
    );
    if !group.types.is_empty() && has_body && !listed {
        return Some(Wanted::Refused("unsupported_media_type", 415));
    }
    if !group.cors {
        return None;
    }
    let refused = Some(Wanted::Refused("cors_refused", 403));
    let (origin, method) = (all("Origin"), all("Access-Control-Request-Method"));
    match (&origin[..], &method[..]) {
        ([_, _, ..], _) => refused,
        ([origin], [method]) if ask.method == "OPTIONS" => {
            let may = *origin == "https://app.example" && matches!(*method, "GET" | "PUT");
            if may { Some(Wanted::Preflight) } else { refused }
        }
        _ => None,
    }
}

fn is_in(address: IpAddr, network: IpNet) -> bool {
    let alike = |one: u128, other: u128, width: u32| {
        let rest = width - u32::from(network.prefix_len());
        rest == 128 || one >> rest == other >> rest
    };
    match (address, network.addr()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            alike(one.to_bits().into(), other.to_bits().into(), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => alike(one.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

/// What credentials of one kind come to.
enum Shown {
    None,
    Of(&'static str),
    Bad,
    Ambiguous,
    Disliked,
}

fn identity(gated: &Gated, group: &Group, lines: &Lines) -> Result<Who, Wanted> {
    if group.auths.is_empty() {
        return Ok(None);
    }
    // Tables are looked at in their order, and a service is asked last.
    let mut order = group.auths.clone();
    order.sort_unstable_by_key(|auth| (gated.auths[*auth].service, *auth));
    let mut worst = ("no_credentials", 401);
    for auth in order.iter().map(|auth| &gated.auths[*auth]) {
        match if auth.service { served(lines) } else { of_table(auth, lines) } {
            Shown::None => {}
            Shown::Of(name) => return Ok(Some((auth.name, name))),
            Shown::Bad => worst = ("bad_credentials", 401),
            Shown::Ambiguous => return Err(Wanted::Refused("ambiguous_credentials", 400)),
            Shown::Disliked => return Err(Wanted::Refused("auth_refused", DISLIKED)),
        }
    }
    Err(Wanted::Refused(worst.0, worst.1))
}

/// Whose secret this is.
fn bearer(secret: &str) -> Option<&'static str> {
    let name = secret.strip_prefix(SECRET)?;
    BEARERS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

fn of_table(auth: &Auth, lines: &Lines) -> Shown {
    let mut secrets = Vec::new();
    for (name, value) in lines {
        if *name == "X_Api_Key" && auth.fields.contains(&"X-Api-Key") {
            return Shown::Ambiguous;
        }
        if !auth.fields.contains(name) {
            continue;
        }
        let secret = match *name {
            "Authorization" if value.starts_with("Basic") => continue,
            "Authorization" => value.split_once(' ').map_or("", |(_, rest)| rest.trim_start()),
            _ => value,
        };
        if secret.contains(',') {
            return Shown::Ambiguous;
        }
        secrets.push(secret);
    }
    secrets.dedup();
    match secrets[..] {
        [] => Shown::None,
        [secret] => bearer(secret).map_or(Shown::Bad, Shown::Of),
        _ => Shown::Ambiguous,
    }
}

/// The service knows the first ticket that it is shown: it lets `ada` through by name and `bob` without one.
fn served(lines: &Lines) -> Shown {
    let ticket = lines.iter().find(|(name, _)| *name == "X-Ticket");
    match ticket.and_then(|(_, secret)| bearer(secret)) {
        Some("cy") => Shown::Disliked,
        Some(_) => Shown::Of(""),
        None => Shown::Bad,
    }
}

/// What the service answers.
pub fn answer(question: &AuthQuestion) -> Answer {
    let text = match &question.asked {
        Asked::Service(lines) => String::from_utf8_lossy(lines),
        Asked::Check(_) => return Answer::Unavailable,
    };
    let good = |lines: &[u8]| {
        Answer::Good(Identity::new(&question.auth.spec.name, "", Vec::new(), lines.to_vec()))
    };
    let ticket = text.split("\r\n").find_map(|line| line.strip_prefix("X-Ticket: "));
    match ticket.and_then(bearer) {
        Some("cy") => Answer::Relayed(Reply::empty(DISLIKED)),
        Some("ada") => good(b"X-User: ada\r\n"),
        Some(_) => good(b""),
        None => Answer::Rejected(""),
    }
}

/// What an upstream gets of the fields that the gate looks at.
pub fn upstream(
    gated: &Gated,
    group: &Group,
    lines: &Lines,
    who: Who,
) -> Vec<(&'static str, Option<String>)> {
    let auths = || group.auths.iter().map(|auth| &gated.auths[*auth]);
    let said = |name: &str| {
        lines.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let of = |name: &'static str| {
        let is_kept = auths().all(|auth| auth.pass || !auth.fields.contains(&name));
        let value = said(name);
        // What is none of ours in that field goes on, unless a service looks at it.
        let is_other = name == "Authorization"
            && value.as_ref().is_some_and(|value| value.starts_with("Basic"))
            && auths().all(|auth| !auth.service);
        (name, value.filter(|_| is_kept || is_other))
    };
    let claim = match auths().any(|auth| auth.service) {
        true => {
            let ticket = lines.iter().find(|(name, _)| *name == "X-Ticket");
            let named = who == Some(("asked", ""))
                && ticket.is_some_and(|(_, text)| bearer(text) == Some("ada"));
            named.then(|| "ada".to_owned())
        }
        // To us it is a field like any other.
        false => said(CLAIM).or_else(|| said("X_User")),
    };
    let (name, key) = of("X-Api-Key");
    // What looks like that field only is refused, unless the service lets it through.
    let like = said("X_Api_Key").filter(|_| auths().all(|auth| auth.pass || auth.service));
    vec![of("Authorization"), (name, key.or(like)), of("X-Ticket"), (CLAIM, claim)]
}

/// An upstream got this head for a request.
///
/// # Errors
/// It should not have come, or not with these fields.
pub fn arrived(ask: &Ask, head: &Head) -> Result<(), String> {
    if ask.unheard {
        return Err(format!("its client was not to be heard: {head:?}"));
    }
    let Some(door) = &ask.door else { return Ok(()) };
    if door.wanted != Wanted::Pass {
        return Err(format!("{:?}, and it came all the same: {head:?}", door.wanted));
    }
    for (name, value) in &door.upstream {
        let like: Vec<_> = head.like(name).collect();
        let right = match value {
            Some(value) => like.iter().any(|(_, had)| had == value),
            None => like.is_empty(),
        };
        if !right {
            return Err(format!("{name} is to be {value:?}: {head:?}"));
        }
    }
    Ok(())
}

/// The client got the head of an answer. `true`: it is one of a gate, whatever it looks like.
///
/// # Errors
/// It is none that this request can get.
pub fn told(gated: &Gated, ask: &Ask, status: u16, own: bool, head: &Head) -> Result<bool, String> {
    if ask.unheard {
        return Err(format!("whoever is not heard gets no answer: {head:?}"));
    }
    let Some(door) = &ask.door else { return Ok(false) };
    let by_origin = head.get("x-sim").is_some();
    let early = own && matches!(status, 408 | 431);
    match door.wanted {
        _ if early => Ok(false),
        Wanted::Refused("auth_refused", wanted) if status == wanted && !by_origin => Ok(true),
        Wanted::Refused(_, wanted) if status == wanted && own && !by_origin => {
            let challenged = head.get("www-authenticate").is_some();
            if challenged == (status == 401) {
                Ok(true)
            } else {
                Err(format!("a challenge? {head:?}"))
            }
        }
        // The core was told to end while the service was asked.
        Wanted::Refused(..) if own && status == 503 => Ok(true),
        // More than a service is asked with.
        _ if own && status == 401 && is_long(gated, ask) => Ok(true),
        Wanted::Preflight if status == 204 && !by_origin => {
            let may = head.get("access-control-allow-origin") == Some("https://app.example");
            if may { Ok(true) } else { Err(format!("a preflight got {head:?}")) }
        }
        Wanted::Pass if own && status == 429 => limited(gated, ask, head).map(|()| true),
        Wanted::Pass if own && matches!(status, 401 | 403 | 415) => {
            Err(format!("refused, with nothing against it: {head:?}"))
        }
        Wanted::Pass => Ok(false),
        wanted => Err(format!("{wanted:?}, and it got {head:?}")),
    }
}

fn limited(gated: &Gated, ask: &Ask, head: &Head) -> Result<(), String> {
    let limits = ask.door.iter().flat_map(|door| &gated.groups[door.group].limits);
    let line = head.get("ratelimit-policy").unwrap_or_default();
    let policy = |limit: &Limit| {
        let burst = limit.burst.map_or_else(String::new, |burst| format!(";burst={burst}"));
        format!("\"{}\";q={};w={}{burst}", limit.name, limit.requests, limit.window)
    };
    let limit = limits
        .map(|limit| &gated.limits[*limit])
        .find(|limit| policy(limit) == line && !limit.dry_run);
    let wait = head.get("retry-after").and_then(|text| decimal(text).ok()).unwrap_or(0);
    let most = limit.map_or(0, |limit| limit.window);
    if (1..=most).contains(&wait) {
        Ok(())
    } else {
        Err(format!("limited by whom, for how long? {head:?}"))
    }
}

// ---- all of them ----

/// A request under a limit: between which times it was counted, in the core's.
#[derive(Clone, Copy, Debug)]
struct Counted {
    id: usize,
    low: Micros,
    high: Micros,
}

/// More may come of its head than a service is asked with.
pub fn is_long(gated: &Gated, ask: &Ask) -> bool {
    let group = ask.door.as_ref().map(|door| &gated.groups[door.group]);
    let asks_service = group.is_some_and(|group| group.auths.contains(&SERVICE));
    asks_service && ask.padding + LINES > ASKED_WITH
}

/// What is wrong with what became of all requests.
pub fn close(
    scenario: &Scenario,
    asks: &[Ask],
    records: &[Box<Record>],
    runtime: &Runtime,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_all = scenario.records > records.len();
    let of = |id: usize| {
        let target = format!("/r{id}");
        records.iter().find(move |record| record.target == target).map(|record| &**record)
    };
    for (id, ask) in asks.iter().enumerate() {
        let Some(record) = of(id).filter(|_| ask.malformed.is_none()) else { continue };
        if let Err(what) = fits(scenario, ask, record) {
            wrong.push(format!("request {id}: {what}"));
        }
    }
    let Some(gated) = &scenario.gate else { return wrong };
    for (number, limit) in gated.limits.iter().enumerate() {
        let mut keys: BTreeMap<String, Under> = BTreeMap::new();
        for (id, ask) in asks.iter().enumerate() {
            let group = ask.door.as_ref().map_or(0, |door| door.group);
            if gated.groups[group].limits.contains(&number) {
                keys.entry(key(limit, id, ask)).or_default().put(limit, id, ask, of(id), is_all);
            }
        }
        for (key, under) in &keys {
            wrong.extend(
                under
                    .close(limit)
                    .into_iter()
                    .map(|what| format!("{} of {key:?}: {what}", limit.name)),
            );
        }
        let Some(linked) = runtime.gates.limits.iter().find(|one| *one.spec.name == *limit.name)
        else {
            wrong.push(format!("no limit {}", limit.name));
            continue;
        };
        let of = |word: &str| {
            linked.outcomes().iter().find(|(one, _)| *one == word).map_or(0, |(_, n)| *n)
        };
        let refused = records
            .iter()
            .filter(|record| record.reason == "rate_limited" && *record.limit == *limit.name);
        let refused = refused.count() as u64;
        let least: usize = keys.values().map(|under| under.passed.len()).sum();
        if is_all && of("refused") != refused || of("untracked") > 0 {
            wrong.push(format!(
                "{}: {:?}, and {refused} were refused",
                limit.name,
                linked.outcomes()
            ));
        }
        if of("admitted") + of("dry_run") < least as u64 {
            wrong.push(format!("{}: {:?}, and {least} passed", limit.name, linked.outcomes()));
        }
    }
    wrong
}

/// Does the record say what is to be said?
fn fits(scenario: &Scenario, ask: &Ask, record: &Record) -> Result<(), String> {
    let said =
        || format!("{} by {:?} of {:?}, {}", record.reason, record.auth, record.peer, record.limit);
    if record.peer.is_none_or(|peer| peer.ip() != ask.from) {
        return Err(format!("from {}: {}", ask.from, said()));
    }
    if ask.unheard {
        return Err(format!("not to be heard: {}", said()));
    }
    if record.reason == "body_too_slow" {
        let rate = scenario.gate.as_ref().and_then(|gated| gated.rate);
        let keeps_pace = |(piece, _)| rate.is_some_and(|rate| piece as u64 >= rate);
        // Whoever pauses may be too slow.
        let is_fast = ask.drip.is_some_and(keeps_pace)
            && scenario.people.iter().all(|person| person.fault.is_none())
            && scenario.weather.breaks == 0;
        if rate.is_none() || is_fast || record.total.as_secs() <= GRACE {
            return Err(format!("too slow after {:?}", record.total));
        }
    }
    let (Some(door), Some(gated)) = (&ask.door, &scenario.gate) else { return Ok(()) };
    if BEFORE.contains(&record.reason) {
        return Ok(());
    }
    let by_gate = BY_GATES.contains(&record.reason);
    // Told to end, the core does not wait for the service: what others said of the credentials holds.
    let is_left =
        matches!(record.reason, "auth_unavailable" | "bad_credentials" | "ambiguous_credentials");
    let is_interrupted =
        is_left && !matches!(scenario.stopping, Stopping::Quiet | Stopping::Drain(_, None));
    let right = match door.wanted {
        Wanted::Refused(reason, _) => record.reason == reason,
        Wanted::Preflight => record.reason == "preflight_answered",
        Wanted::Pass => !by_gate || record.reason == "rate_limited" && gated.may_limit(ask),
    };
    let asks_service = gated.groups[door.group].auths.contains(&SERVICE);
    // There is a bound on what a service is asked with.
    let is_other = matches!(record.reason, "auth_fields_too_large" | "bad_credentials");
    if is_other && is_long(gated, ask) {
        return Ok(());
    }
    if is_interrupted && asks_service {
        return Ok(());
    }
    let stopped = record.reason == "stopped" && scenario.stopping != Stopping::Quiet;
    if !right && !stopped {
        return Err(format!("{:?}, and it ended so: {}", door.wanted, said()));
    }
    let name = door.who.map_or("", |(_, name)| name);
    if !stopped && *record.auth != *name {
        return Err(format!("{:?} asks: {}", door.who, said()));
    }
    let falls_behind = |(piece, _)| gated.rate.is_some_and(|rate| 2 * (piece as u64) < rate);
    // What came while the request waited for its upstream, or for a buffer, is nobody's fault.
    let fate = &ask.fate;
    let is_slow = ask.drip.is_some_and(falls_behind)
        && fate.seen == 1
        && scenario.buffers > scenario.people.len()
        && fate.seen_at.is_some_and(|seen| seen + SLOW_LEAST < fate.written_at);
    if is_slow && fate.got == Some(ask.script.status) && record.reason == "done" {
        return Err(format!("so slow, and still {}", said()));
    }
    let dry = gated
        .limits
        .iter()
        .find(|limit| *limit.name == *record.limit)
        .is_some_and(|limit| limit.dry_run);
    if record.reason == "rate_limited" && (dry || record.limit.is_empty())
        || !record.limit.is_empty() && record.reason != "rate_limited" && !dry
    {
        return Err(format!("limited by whom? {}", said()));
    }
    Ok(())
}

/// What requests that are counted together have in common.
fn key(limit: &Limit, id: usize, ask: &Ask) -> String {
    let who = ask.door.as_ref().and_then(|door| door.who);
    match (limit.by, who) {
        (By::Token, Some((auth, name))) => format!("{auth}/{name}"),
        (By::Client | By::Token, _) => network(ask.from).to_string(),
        (By::Route, _) => match (&ask.door, ask.by_route) {
            (Some(door), None) => format!("gate-{}", door.group),
            (None, _) => "rest".to_owned(),
            _ => format!("by-route-{id}"),
        },
        (By::All, _) => String::new(),
    }
}

/// Whoever has one address of IPv6 has all that begin alike.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// What a limit counts together.
#[derive(Debug, Default)]
struct Under {
    /// These were counted for sure, these perhaps, these were refused.
    passed: Vec<Counted>,
    perhaps: Vec<Counted>,
    refused: Vec<Counted>,
}

impl Under {
    fn put(&mut self, limit: &Limit, id: usize, ask: &Ask, record: Option<&Record>, is_all: bool) {
        if ask.door.is_none() {
            // Some that are malformed are so behind their heads only.
            let low = ask.fate.read_at.unwrap_or(0);
            return self.perhaps.push(Counted { id, low, high: Micros::MAX });
        }
        let Some(low) = ask.fate.read_at else { return };
        let door = ask.door.as_ref().map(|door| door.wanted);
        if door != Some(Wanted::Pass) {
            return;
        }
        let ended = record.and_then(|record| {
            let end = (record.time + record.total).duration_since(UNIX_EPOCH).ok()?;
            Some((end.as_micros() as Micros).saturating_sub(BEGINNING_S * 1_000_000))
        });
        let reason = record.map(|record| record.reason);
        let of = |high: Option<Micros>| Counted { id, low, high: high.unwrap_or(Micros::MAX) };
        let by_route = matches!(reason, Some("redirected" | "responded"));
        match reason {
            Some("rate_limited") => {
                let is_by_this = record.is_some_and(|record| *record.limit == *limit.name);
                if is_by_this && is_all {
                    self.refused.push(of(ended));
                }
            }
            Some(reason) if BY_GATES.contains(&reason) || BEFORE.contains(&reason) => {}
            _ if ask.fate.seen_at.is_some() => self.passed.push(of(ask.fate.seen_at)),
            _ if by_route => self.passed.push(of(ended)),
            _ => self.perhaps.push(of(ended)),
        }
    }

    fn close(&self, limit: &Limit) -> Vec<String> {
        let mut wrong = Vec::new();
        if limit.dry_run {
            return wrong;
        }
        if let Some((from, to, many)) = self.too_many(limit) {
            wrong.push(format!("{many} passed from {from} to {to}"));
        }
        let all: Vec<_> = self.passed.iter().chain(&self.perhaps).copied().collect();
        for one in &self.refused {
            if !is_due(limit, one, &all) {
                wrong.push(format!(
                    "request {} was refused at {}, and there was room",
                    one.id, one.low
                ));
            }
        }
        wrong
    }

    /// More passed in a time than may.
    fn too_many(&self, limit: &Limit) -> Option<(Micros, Micros, usize)> {
        for first in &self.passed {
            let mut ends: Vec<_> =
                self.passed.iter().filter(|one| one.low >= first.low).map(|one| one.high).collect();
            ends.sort_unstable();
            for (many, end) in (1..).zip(&ends) {
                let may = most(limit, end.saturating_sub(first.low) + 1);
                if many as u64 > may {
                    return Some((first.low, *end, many));
                }
            }
        }
        None
    }
}

/// So many requests pass in a time of this length at most.
fn most(limit: &Limit, length: Micros) -> u64 {
    let (window, requests) = (limit.window * 1_000_000, u64::from(limit.requests));
    match limit.burst {
        Some(burst) => u64::from(burst) + length * requests / window,
        None if length < window => requests,
        // More is not looked at here: each shorter time is.
        None => u64::MAX,
    }
}

/// Could the limit have been full?
fn is_due(limit: &Limit, one: &Counted, all: &[Counted]) -> bool {
    let (window, requests) = (limit.window * 1_000_000, u64::from(limit.requests));
    let before = || all.iter().filter(|other| other.low <= one.high);
    match limit.burst {
        None => {
            // Whatever left the window before the earliest time at which this one can have been judged is out.
            before().filter(|other| other.high.saturating_add(window) >= one.low).count() as u64
                >= requests
        }
        Some(burst) => before().any(|first| {
            let from = first.high.min(one.low);
            let many = before().filter(|other| other.high >= from).count() as u64;
            // In parts of which the window has one for each microsecond.
            let filled = (one.low - from) * requests;
            (u64::from(burst) * window + filled).saturating_sub(many * window) < window + requests
        }),
    }
}

// ---- connections ----

/// Which connections each client has, as the kernel sees it.
#[derive(Default)]
pub struct Porch {
    most: Option<usize>,
    /// Whoever says nothing of who he is reaches no upstream.
    closed: bool,
    /// By the socket of the core.
    guests: BTreeMap<usize, Guest>,
    /// Those that may have wanted a place since it was looked at last.
    wanted: BTreeMap<IpAddr, usize>,
    /// Refused when it was looked at last.
    refused: u64,
}

struct Guest {
    address: IpAddr,
    /// Octets before its first request; `None`: they are no good.
    greeting: Option<u64>,
    accepted: bool,
    read: u64,
    /// It has asked for its place.
    came: bool,
    /// Where heads end, in octets, and of which requests.
    heads: VecDeque<(u64, usize)>,
}

impl Porch {
    pub fn new(scenario: &Scenario) -> Porch {
        let most = scenario.gate.as_ref().and_then(|gated| gated.places);
        let closed = scenario.gate.as_ref().is_some_and(|gated| !gated.groups[0].auths.is_empty());
        Porch { most, closed, ..Porch::default() }
    }

    /// A request that is malformed behind its head has begun to come to an upstream.
    ///
    /// # Errors
    /// When its gate had to refuse it.
    pub fn nobody(&self, head: &Head) -> Result<(), String> {
        if self.closed { Err(format!("nobody in particular came: {head:?}")) } else { Ok(()) }
    }

    /// A client connects.
    pub fn knocks(&mut self, socket: usize, address: IpAddr, greeting: Option<u64>) {
        let address = network(address);
        let (accepted, read, came, heads) = (false, 0, false, VecDeque::new());
        self.guests.insert(socket, Guest { address, greeting, accepted, read, came, heads });
    }

    /// The head of a request ends behind so many octets.
    pub fn says(&mut self, socket: usize, end: u64, id: usize) {
        self.guests.entry(socket).and_modify(|guest| guest.heads.push_back((end, id)));
    }

    /// The core has accepted it.
    pub fn accepted(&mut self, socket: usize) {
        let Some(guest) = self.guests.get_mut(&socket) else { return };
        guest.accepted = true;
        guest.come(&mut self.wanted);
    }

    /// The core has read so many octets. The requests whose heads it has now.
    pub fn read(&mut self, socket: usize, n: usize) -> Vec<usize> {
        let Some(guest) = self.guests.get_mut(&socket) else { return Vec::new() };
        guest.read += n as u64;
        guest.come(&mut self.wanted);
        let whole = guest.heads.iter().take_while(|(end, _)| *end <= guest.read).count();
        guest.heads.drain(..whole).map(|(_, id)| id).collect()
    }

    /// The core has closed it.
    pub fn ends(&mut self, socket: usize) {
        self.guests.remove(&socket);
    }

    /// The core has done all it can; so many connections it has refused.
    pub fn turns(&mut self, refused: u64) -> Vec<String> {
        let Some(most) = self.most else { return Vec::new() };
        let mut held: BTreeMap<IpAddr, (usize, usize)> = BTreeMap::new();
        for guest in self.guests.values().filter(|guest| guest.came) {
            let (all, admitted) = held.entry(guest.address).or_default();
            *all += 1;
            // Whoever is read from has a place.
            *admitted += usize::from(guest.read > 0);
        }
        let mut wrong = Vec::new();
        for (address, (_, admitted)) in &held {
            if *admitted > most {
                wrong.push(format!("{admitted} connections of {address}"));
            }
        }
        let beyond: usize = self.wanted.values().map(|many| many.saturating_sub(most)).sum();
        if refused - self.refused > beyond as u64 {
            wrong.push(format!(
                "{} clients were refused, {beyond} were too many",
                refused - self.refused
            ));
        }
        self.refused = refused;
        self.wanted = held.into_iter().map(|(address, (all, _))| (address, all)).collect();
        wrong
    }
}

impl Guest {
    fn come(&mut self, wanted: &mut BTreeMap<IpAddr, usize>) {
        if !self.came
            && self.accepted
            && self.greeting.is_some_and(|greeting| self.read >= greeting)
        {
            self.came = true;
            *wanted.entry(self.address).or_default() += 1;
        }
    }
}

/// No upstream gets a secret, whatever the field.
pub fn leaks(ask: &Ask, head: &Head) -> Option<String> {
    let kept = |value: &str| {
        let goes_on = |name: &str| {
            let upstream = ask.door.iter().flat_map(|door| &door.upstream);
            let name = name.replace('_', "-");
            upstream.into_iter().any(|(one, kept)| **one == *name && kept.is_some())
        };
        let mut lines = ask.door.iter().flat_map(|door| &door.lines);
        lines.any(|(name, had)| had == value && goes_on(name))
    };
    let is_ours = |value: &str| value.contains(SECRET);
    head.values().find(|value| is_ours(value) && !kept(value)).map(|value| format!("{value} left"))
}
