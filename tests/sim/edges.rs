//! What a seed decides beyond that: octets that nearly fill the buffers they go through, bodies that look
//! like requests, upstreams on this machine, and peers that fail in the middle of a call.

use crate::chance::Chance;
use crate::client::head;
use crate::scenario::{self, Ask, ByRoute, Scenario, Swap};
use crate::sick;

/// Octets of the buffer that a head, and what comes with it, is read into.
const BUFFER: usize = 16 * 1024;
/// Octets that a head may have at most, where that is asked for.
const HEAD_MOST: usize = 64 * 1024;
/// What tidegate adds to a head, and a little more.
const ADDED: usize = 200;
/// Octets of the framing of a body that is one chunk.
const FRAMING: usize = 15;
/// A client that has so many octets on the way has sent them at once.
const AT_ONCE: u64 = 3 * BUFFER as u64;

/// Bodies of so many octets are spliced.
const SPLICED: u64 = 48 * 1024;

/// One in so many scenarios has urgent octets; 0: none has.
const URGENT: u64 = 4;
/// The same of descriptors that run out.
const SHORT: u64 = 8;
/// The same of an upstream that dies while another is well.
const DEATH: u64 = 8;
/// Plans that follow the first, at most.
const SWAPS_MOST: u64 = 5;

/// Has this seed any of it? Those found before keep to what they were found with.
pub fn have(seed: u64) -> bool {
    matches!(seed % 4, 0 | 3)
}

/// Adds it to a scenario.
pub fn add(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5000_0000);
    let c = &mut chance;
    let [full, padded, spoilt] = [2, 4, 4].map(|odds| c.one_in(odds));
    scenario.weather.overlaps = c.pick(&[0, 0, 3, 20]);
    scenario.weather.breaks = c.pick(&[0, 5, 20]);
    scenario.local = [3, 3, 3].map(|odds| c.one_in(odds));
    for (id, ask) in scenario.asks.iter_mut().enumerate() {
        if ask.malformed.is_some() {
            continue;
        }
        ask.named = !c.one_in(4);
        ask.smuggles = c.one_in(2);
        ask.in_one = c.one_in(2);
        if !ask.websocket {
            ask.method = c.pick(&[ask.method, ask.method, ask.method, "OPTIONS", "PATCH", "BREW"]);
        }
        if padded && c.one_in(3) {
            ask.padding = nearly_full(c) - 250;
        }
        if padded && c.one_in(4) {
            ask.script.padding = nearly_full(c) - 100;
        }
        if full && ask.body.is_some() && c.one_in(2) {
            fill(c, id, ask);
        }
        if spoilt && ask.chunked && c.one_in(3) {
            ask.spoilt = Some(c.below(1 << 16) as u16);
        }
    }
    let largest = scenario.asks.iter().map(size).max().unwrap_or(0) as u64;
    let least = 64.max(largest / 32);
    let weather = &mut scenario.weather;
    weather.room_least = least;
    weather.client_room_least = if full { AT_ONCE } else { least };
    if full && !c.one_in(4) {
        weather.cuts = 0;
    }
    for person in &mut scenario.people {
        if let Some(spoilt) = person.asks.iter().position(|id| scenario.asks[*id].spoilt.is_some())
        {
            person.asks.truncate(spoilt + 1);
        }
        let total = person.asks.iter().map(|id| 300 + size(&scenario.asks[*id])).sum();
        person.pace = scenario::pace(c, total);
        if full && !c.one_in(4) {
            person.pace.write = 1 << 20;
        }
    }
    if scenario.body_most.is_some() && c.one_in(2) {
        scenario.body_most = Some(nearly_full(c) as u64);
    }
}

/// Urgent octets here and there. Each kind has numbers of its own, so that none changes what others meet.
pub fn urge(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5001_0000);
    let c = &mut chance;
    if !c.one_in(URGENT) {
        return;
    }
    scenario.urgent = c.pick(&[2, 4]);
    for person in &mut scenario.people {
        let Some(id) = person.asks.first().filter(|_| c.one_in(scenario.urgent)) else { continue };
        let ask = &mut scenario.asks[*id];
        let plain = ask.malformed.is_none() && ask.spoilt.is_none() && !ask.websocket;
        if plain && c.one_in(2) {
            // Spliced, both ways.
            (ask.method, ask.body) = ("PUT", Some(c.between(SPLICED, 4 * SPLICED) as usize));
            (ask.chunked, ask.expect, ask.script.early) = (false, false, false);
            if person.pace.read >= 4096 {
                ask.script.length = c.between(SPLICED, 4 * SPLICED) as usize;
            }
        }
        let ask = &*ask;
        // Not behind all it says: a close with that octet unread is a reset.
        let most = head(*id, ask).len() + ask.body.unwrap_or(0);
        person.urgent = ask.malformed.is_none().then(|| c.below(most) as u64);
    }
}

/// Few descriptors: the listening socket has one, and each connection takes one.
pub fn run_short(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5002_0000);
    if chance.one_in(SHORT) {
        scenario.weather.descriptors = 2 + chance.magnitude(24) as usize;
    }
}

/// Are plans replaced? In scenarios of either kind, but in none of those that found something before.
pub fn swaps(seed: u64) -> bool {
    matches!(seed % 16, 2 | 4 | 8 | 13)
}

/// Are some requests answered by routes? In scenarios of every kind, but in none of those that found something before.
pub fn routes(seed: u64) -> bool {
    matches!(seed % 32, 2 | 5 | 9 | 12 | 20 | 29)
}

/// Some requests are redirected, or get a text.
pub fn answer_by_routes(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5006_0000);
    let c = &mut chance;
    for ask in &mut scenario.asks {
        if ask.malformed.is_none() && !ask.websocket && c.one_in(3) {
            ask.by_route = Some(c.pick(&[ByRoute::Redirect, ByRoute::Text]));
        }
    }
}

/// Has this seed heads that do not fit a buffer?
pub fn has_large_heads(seed: u64) -> bool {
    matches!(seed % 16, 6 | 10) && !sick::has(seed)
}

/// Heads of up to 64 KiB are allowed, and some are nearly that large or just larger, both ways.
pub fn enlarge(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5005_0000);
    let c = &mut chance;
    scenario.head_most = HEAD_MOST;
    let large = |c: &mut Chance| match c.below(3) {
        0 => nearly_full(c),
        1 => c.between(BUFFER as u64, HEAD_MOST as u64 - 500) as usize,
        _ => c.between(HEAD_MOST as u64 - 500, HEAD_MOST as u64 + 20) as usize,
    };
    for ask in scenario.asks.iter_mut().filter(|ask| ask.malformed.is_none()) {
        if c.one_in(3) {
            ask.padding = large(c);
        }
        if c.one_in(3) {
            ask.script.padding = large(c);
        }
    }
    let largest = scenario.asks.iter().map(size).max().unwrap_or(0) as u64;
    let least = 64.max(largest / 32);
    (scenario.weather.room_least, scenario.weather.client_room_least) = (least, least);
    for person in &mut scenario.people {
        let total = person.asks.iter().map(|id| 300 + size(&scenario.asks[*id])).sum();
        person.pace = scenario::pace(c, total);
    }
}

/// Plans replace each other in the middle of everything: upstreams come, go, change places.
pub fn swap(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5004_0000);
    let c = &mut chance;
    for _ in 0..c.between(1, SWAPS_MOST) {
        let mut left: Vec<usize> = (0..scenario.upstreams).collect();
        let many = c.between(1, scenario.upstreams as u64);
        let upstreams: Vec<usize> = (0..many).map(|_| left.remove(c.below(left.len()))).collect();
        let upstream_idle = c.pick(&[0, 1, 64]);
        let at = c.magnitude(2_000_000);
        let weights = upstreams.iter().map(|_| c.between(1, 4) as u32).collect();
        let apart = c.one_in(3);
        scenario.swaps.push(Swap { at, upstreams, weights, apart, upstream_idle });
    }
}

/// One of several upstreams dies.
pub fn kill(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance::seeded(seed ^ 0xed6e_5003_0000);
    let c = &mut chance;
    if !c.one_in(DEATH) {
        return;
    }
    scenario.upstreams = c.between(2, 3) as usize;
    scenario.retries = scenario.retries.max(1);
    scenario.faulty = 0;
    scenario.weather.breaks = 0;
    scenario.death =
        Some((c.between(1, scenario.upstreams as u64) as usize, c.magnitude(1_000_000)));
    for ask in &mut scenario.asks {
        ask.script.interim.clear();
        let plain = ask.malformed.is_none() && ask.spoilt.is_none() && !ask.websocket;
        if plain && !c.one_in(4) {
            ask.method = c.pick(&["GET", "GET", "HEAD", "DELETE", "OPTIONS"]);
            (ask.body, ask.chunked, ask.expect, ask.script.early) = (None, false, false, false);
        }
    }
}

fn size(ask: &Ask) -> usize {
    (ask.body.unwrap_or(0) + ask.padding).max(ask.script.length + ask.script.padding)
}

/// Octets that fill a buffer, nearly or just not.
fn nearly_full(c: &mut Chance) -> usize {
    if c.one_in(2) {
        c.between((BUFFER - ADDED) as u64, BUFFER as u64 + 20) as usize
    } else {
        c.between(15_500, 16_500) as usize
    }
}

/// Head and body nearly fill a buffer together.
fn fill(c: &mut Chance, id: usize, ask: &mut Ask) {
    ask.padding = 0;
    ask.body = Some(BUFFER);
    let framing = if ask.chunked { FRAMING } else { 0 };
    ask.body = Some(nearly_full(c) - head(id, ask).len() - framing);
}
