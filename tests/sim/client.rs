//! A client: it asks what the scenario says, and judges what it gets.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use crate::book::Book;
use crate::chance::Chance;
use crate::end::{End, Fault};
use crate::frames::Talk;
use crate::gate::Gated;
use crate::message::{Framing, Head, Piece, Reader, decimal};
use crate::net::{Actor, Happening, Micros, Net};
use crate::octets::{are, downwards, octets, upwards};
use crate::porter;
use crate::scenario::{Ask, ByRoute, Ending, Framed, Person, named};
use crate::seal::Seal;

/// By this a client knows that all upstreams are left alone.
const CIRCUIT_OPEN: &str = "left alone for a while";
/// How long a client waits to be told to go on.
const PATIENCE: Micros = 700_000;
/// Octets of a WebSocket message.
const MESSAGE: usize = 50_000;

/// A client and its connection.
pub struct Client {
    index: usize,
    person: Person,
    end: Option<End>,
    /// What its octets will go through.
    pub seal: Option<Seal>,
    reader: Reader,
    /// The next of its requests.
    next: usize,
    /// Requests that are not answered yet.
    awaiting: VecDeque<usize>,
    answer: Option<Answer>,
    /// Octets that wait for a `100 Continue`, and how long.
    held_back: Option<(Vec<u8>, Micros)>,
    /// What is left of what it says first, and what of a body that comes slowly, and when more of it goes.
    greeting: VecDeque<u8>,
    drip: VecDeque<u8>,
    drips: (usize, Micros),
    more_at: Micros,
    gated: Option<Gated>,
    /// Where requests end, in octets written.
    ends: VecDeque<(u64, usize)>,
    /// Octets put out so far.
    put: u64,
    talk: Option<(Talk, usize)>,
    /// What was said before the handshake was answered.
    ahead: Option<(Talk, usize)>,
    /// Its connection failed, or it was told that no other request can follow.
    over: bool,
}

/// The answer under way.
struct Answer {
    status: u16,
    own: bool,
    /// It is a route's.
    by_route: bool,
    length: u64,
    /// It was the last of the connection.
    last: bool,
}

impl Client {
    pub fn new(index: usize, person: Person, gated: Option<&Gated>) -> Client {
        Client {
            index,
            greeting: person.greeting.iter().flat_map(|first| &first.octets).copied().collect(),
            drip: VecDeque::new(),
            drips: (0, 0),
            more_at: 0,
            gated: gated.cloned(),
            person,
            end: None,
            seal: None,
            reader: Reader::default(),
            next: 0,
            awaiting: VecDeque::new(),
            answer: None,
            held_back: None,
            ends: VecDeque::new(),
            put: 0,
            talk: None,
            ahead: None,
            over: false,
        }
    }

    /// Where it is.
    pub fn address(&self) -> Ipv4Addr {
        self.person.address
    }

    /// Something goes wrong with it now, in the middle of a call of the core.
    pub fn fail(&mut self, fault: Fault, net: &mut Net) {
        if let Some(end) = &mut self.end {
            self.over = true;
            end.suffer(fault, net);
        }
    }

    /// Its turn.
    pub fn run(&mut self, net: &mut Net, book: &mut Book) {
        let mut end = match self.end.take() {
            Some(end) => end,
            None => {
                let actor = Actor::Client(self.index);
                let Some(socket) = net.connect_in(actor) else { return };
                let before = self.person.is_bounded().then_some(self.greeting.len() as u64);
                book.porch.knocks(net.peer(socket), self.person.from(), before);
                let Person { pace, fault, urgent, .. } = self.person;
                let end = End::new(socket, actor, pace, fault, urgent);
                end.behind(self.seal.take())
            }
        };
        if end.closed || end.is_leaving(net) {
            self.end = Some(end);
            return;
        }
        let octets = end.read(net);
        let wrong = end.wrong.take().map_or(Ok(()), Err);
        if let Err(complaint) = self.hear(&octets, &mut end, net, book).and(wrong) {
            book.complain(format!("client {}: {complaint}", self.index));
            end.close(net);
        }
        if let Some(in_order) = end.ended {
            self.ended(in_order, net.now, book);
            end.close(net);
        }
        self.ask(&mut end, net, book);
        end.write(net);
        while self.ends.front().is_some_and(|(at, _)| *at <= end.written) {
            let id = self.ends.pop_front().map_or(0, |(_, id)| id);
            let fate = &mut book.asks[id].fate;
            (fate.written, fate.written_at) = (true, net.now);
        }
        end.again(net);
        self.end = Some(end);
    }

    // ---- what it says ----

    fn ask(&mut self, end: &mut End, net: &mut Net, book: &mut Book) {
        if end.closed || end.finished {
            return;
        }
        if let Some((talk, left)) = &mut self.talk {
            if end.out.is_empty() && !talk.said_close {
                let n = (*left).min(1 + net.chance.below(MESSAGE));
                *left -= n;
                end.out.extend(if n > 0 { talk.say(n) } else { talk.say_close() });
            }
            return;
        }
        if !self.speak(end, net) || self.person.greeting.as_ref().is_some_and(|first| first.mute) {
            return;
        }
        if let Some((octets, until)) = self.held_back.take() {
            if net.now < until {
                self.held_back = Some((octets, until));
            } else {
                self.put(end, &octets);
            }
            return;
        }
        while self.awaiting.len() < self.person.depth
            && let Some(id) = self.person.asks.get(self.next).copied()
        {
            let alone = |id: &usize| {
                let ask = &book.asks[*id];
                ask.websocket
                    || ask.expect
                    || ask.malformed.is_some()
                    || ask.spoilt.is_some()
                    || ask.drip.is_some()
            };
            if !self.awaiting.is_empty() && (alone(&id) || self.awaiting.iter().any(alone)) {
                break;
            }
            self.next += 1;
            self.awaiting.push_back(id);
            let ask = &mut book.asks[id];
            ask.fate.begun = true;
            let head = head(id, ask);
            let body = body(id, ask, &mut net.chance);
            ask.fate.size = (head.len() + body.len()) as u64;
            let held_back = ask.expect;
            let drips = ask.drip.is_some();
            self.drips = ask.drip.unwrap_or_default();
            self.put(end, head.as_bytes());
            book.porch.says(net.peer(end.socket), self.put, id);
            let ask = &book.asks[id];
            if held_back {
                let until = net.now + PATIENCE;
                self.ends.push_back((self.put + body.len() as u64, id));
                self.held_back = Some((body, until));
                net.at(until, Happening::Run(Actor::Client(self.index)));
                break;
            }
            if drips {
                self.ends.push_back((self.put + body.len() as u64, id));
                self.drip.extend(body);
                self.more_at = net.now;
                net.at(net.now + 1, Happening::Run(Actor::Client(self.index)));
                break;
            }
            let eager = ask.eager.then_some(ask.script.length);
            self.put(end, &body);
            self.ends.push_back((self.put, id));
            if let Some(length) = eager {
                let mut talk = Talk::new(true, upwards(id), downwards(id));
                let n = net.chance.below(length + 1);
                self.put(end, &talk.say(n));
                self.ahead = Some((talk, length - n));
            }
        }
    }

    /// Says more of what does not go all at once. `false`: that is not all.
    fn speak(&mut self, end: &mut End, net: &mut Net) -> bool {
        let (piece, gap) = match (&self.person.greeting, self.drip.is_empty()) {
            (Some(first), _) if !self.greeting.is_empty() => (first.piece, first.gap),
            (_, false) => self.drips,
            _ => return true,
        };
        let at_once = gap == 0;
        if net.now < self.more_at {
            return false;
        }
        let rest = if self.greeting.is_empty() { &mut self.drip } else { &mut self.greeting };
        let n = if at_once { rest.len() } else { piece.min(rest.len()) };
        let octets: Vec<u8> = rest.drain(..n).collect();
        let is_all = rest.is_empty();
        self.put(end, &octets);
        self.more_at = net.now + gap;
        if !at_once {
            net.at(self.more_at, Happening::Run(Actor::Client(self.index)));
        }
        is_all && at_once
    }

    fn put(&mut self, end: &mut End, octets: &[u8]) {
        end.out.extend(octets);
        self.put += octets.len() as u64;
    }

    // ---- what it hears ----

    fn hear(
        &mut self,
        octets: &[u8],
        end: &mut End,
        net: &mut Net,
        book: &mut Book,
    ) -> Result<(), String> {
        if let Some((talk, _)) = &mut self.talk {
            talk.hear(octets)?;
            return self.leave(end, net);
        }
        self.reader.push(octets);
        while !end.closed
            && let Some(piece) = self.reader.next()?
        {
            match piece {
                Piece::Head(head) => self.head(&head, end, net.now, book)?,
                Piece::Octets(octets) => self.body(&octets)?,
                Piece::End => self.whole(end, net, book)?,
            }
            if let Some((talk, _)) = &mut self.talk {
                let rest = self.reader.rest();
                talk.hear(&rest)?;
                return self.leave(end, net);
            }
        }
        Ok(())
    }

    /// Both sides of the WebSocket have said Close.
    fn leave(&mut self, end: &mut End, net: &mut Net) -> Result<(), String> {
        if let Some((talk, _)) = &mut self.talk
            && talk.heard_close
        {
            if !talk.said_close {
                // What was under way is cut short by nothing but the end of a frame.
                end.out.extend(talk.say_close());
            } else if end.out.is_empty() {
                end.leave(net);
            }
        }
        Ok(())
    }

    fn head(
        &mut self,
        head: &Head,
        end: &mut End,
        now: Micros,
        book: &mut Book,
    ) -> Result<(), String> {
        let id = *self.awaiting.front().ok_or("an answer to nothing")?;
        let ask = &mut book.asks[id];
        let mut words = head.line.splitn(3, ' ');
        let (version, status) = (words.next(), words.next().unwrap_or_default());
        if version != Some("HTTP/1.1") || status.len() != 3 {
            return Err(format!("no status line: {:?}", head.line));
        }
        let status = decimal(status)? as u16;
        let mut own = head.get("proxy-status").is_some();
        if let Some(gated) = self.gated.as_ref().filter(|_| status >= 200) {
            own |= porter::told(gated, ask, status, own, head)?;
        }
        // An invitation to send the body is tidegate's own where that reads it ahead.
        let heard = status >= 200 || head.get("x-interim").is_some();
        ask.fate.heard = ask.fate.heard.or(heard.then_some(now));
        if status == 101 && ask.websocket {
            ask.fate.got = Some(101);
            self.awaiting.pop_front();
            let talk = || (Talk::new(true, upwards(id), downwards(id)), ask.script.length);
            self.talk = Some(self.ahead.take().unwrap_or_else(talk));
            self.reader.body(Framing::Length(0));
            return Ok(());
        }
        if status < 200 {
            if ask.minor == 0 || status == 101 {
                return Err(format!("{status} for request {id}"));
            }
            if status == 100
                && let Some((octets, _)) = self.held_back.take()
            {
                self.put(end, &octets);
            }
            self.reader.body(Framing::Length(0));
            self.answer = Some(Answer { status, own, by_route: false, length: 0, last: false });
            return Ok(());
        }
        book.answered(id)?;
        if own && head.get("proxy-status").is_some_and(|why| why.contains(CIRCUIT_OPEN)) {
            book.rested(head.get("retry-after"), now)?;
        }
        let ask = &mut book.asks[id];
        let cookie = head.get("set-cookie").and_then(|line| line.split(';').next());
        let last = head.get("connection") == Some("close") || ask.minor == 0;
        self.over |= last;
        ask.fate.kept = !last;
        identity(id, head, status == 408 && !self.person.undisturbed, ask)?;
        let by_route = ask.by_route.filter(|_| !own);
        if let Some(what) = by_route {
            let to = (what == ByRoute::Redirect).then(|| format!("https://elsewhere/r{id}"));
            if status != what.status() || head.get("location") != to.as_deref() {
                return Err(format!("to request {id} of a route came {head:?}"));
            }
        } else if !own && !matches!(ask.script.end, Ending::Garbage(_)) {
            if head.get("x-sim") != Some(&id.to_string()) {
                return Err(format!("to request {id} came {head:?}"));
            }
            if status != ask.script.status && !ask.fate.ill.contains(&status) {
                return Err(format!("to request {id} came status {status}"));
            }
        }
        let bodiless = ask.method == "HEAD" || matches!(status, 204 | 304);
        let framing = head.framing(false)?;
        if !bodiless && framing == Framing::Chunked && ask.minor == 0 {
            return Err(format!("chunks for HTTP/1.0, request {id}"));
        }
        self.reader.body(if bodiless { Framing::Length(0) } else { framing });
        self.answer = Some(Answer { status, own, by_route: by_route.is_some(), length: 0, last });
        if let Some(cookie) = cookie {
            for id in &self.person.asks[self.next..] {
                book.asks[*id].cookie = Some(cookie.to_owned());
            }
        }
        Ok(())
    }

    fn body(&mut self, octets: &[u8]) -> Result<(), String> {
        let id = *self.awaiting.front().ok_or("a body of nothing")?;
        let answer = self.answer.as_mut().ok_or("a body without a head")?;
        if !answer.own && !answer.by_route && !are(octets, downwards(id), answer.length) {
            return Err(format!("wrong octets for request {id} from octet {}", answer.length));
        }
        answer.length += octets.len() as u64;
        Ok(())
    }

    /// A message ended where its framing says.
    fn whole(&mut self, end: &mut End, net: &mut Net, book: &mut Book) -> Result<(), String> {
        let answer = self.answer.take().ok_or("the end of nothing")?;
        if answer.status < 200 {
            return Ok(());
        }
        let id = self.awaiting.pop_front().ok_or("the end of nothing")?;
        self.verdict(id, &answer, book)?;
        if let Some((octets, _)) = self.held_back.take() {
            self.put(end, &octets);
        }
        let rest: Vec<u8> = self.drip.drain(..).collect();
        self.put(end, &rest);
        let all = self.next == self.person.asks.len() && self.awaiting.is_empty();
        // Who spoke too early to whoever does not switch is not understood any more.
        let misled = self.ahead.is_some();
        if answer.last || misled || all && self.index.is_multiple_of(2) {
            end.leave(net);
        }
        Ok(())
    }

    /// Is it what an origin has sent?
    fn verdict(&self, id: usize, answer: &Answer, book: &mut Book) -> Result<(), String> {
        let ask = &mut book.asks[id];
        let script = &ask.script;
        ask.fate.got = Some(answer.status);
        ask.fate.own = answer.own;
        if answer.own {
            return Ok(());
        }
        if answer.by_route {
            let text = match ask.by_route {
                _ if ask.method == "HEAD" => 0,
                Some(ByRoute::Text) => format!("{} /r{id}", ask.method).len(),
                _ => format!("See https://elsewhere/r{id}\n").len(),
            };
            return match answer.length == text as u64 {
                true => Ok(()),
                false => Err(format!("request {id} got {} octets of {text}", answer.length)),
            };
        }
        let bodiless = ask.method == "HEAD" || matches!(answer.status, 204 | 304);
        let wanted = if bodiless { 0 } else { script.length as u64 };
        let fits = match script.framing {
            Framed::UntilClose => answer.length <= wanted,
            _ => answer.length == wanted,
        };
        if !fits || !ask.fate.answered && !bodiless {
            let Answer { status, length, .. } = answer;
            return Err(format!(
                "request {id} got a whole {status} with {length} octets of {wanted}, answered: {}",
                ask.fate.answered,
            ));
        }
        Ok(())
    }

    /// The connection ended, in order or not.
    fn ended(&mut self, in_order: bool, now: Micros, book: &mut Book) {
        if self.person.undisturbed
            && !self.over
            && self.answer.is_none()
            && self.talk.is_none()
            && let Some(id) = self.awaiting.front()
            && let ask = &book.asks[*id]
            && ask.fate.written
            && ask.fate.written_at + PATIENCE < now
            // A reset shows that what only a close could end is not whole, and may take all of it away.
            && (in_order || ask.minor == 1 && ask.script.framing != Framed::UntilClose)
        {
            book.complain(format!("client {} was left without an answer to {id}", self.index));
        }
        if in_order
            && self.reader.ends_with_close()
            && let Some(answer) = self.answer.take()
            && let Some(id) = self.awaiting.pop_front()
            && let Err(complaint) = self.verdict(id, &answer, book)
        {
            book.complain(format!("client {}, by a close: {complaint}", self.index));
        }
    }
}

/// Each answer goes by the identity of its request.
fn identity(id: usize, head: &Head, is_late: bool, ask: &Ask) -> Result<(), String> {
    // What was not read as a request has an identity of its own: one malformed, too late or too large.
    let is_large = ask.padding > 0 && head.line.contains(" 431 ");
    if ask.malformed.is_some() || is_late || is_large {
        return Ok(());
    }
    let told = head.get("x-request-id").ok_or(format!("no identity for request {id}: {head:?}"))?;
    let name = ask.named.then(|| named(id));
    if let Some(name) = name.as_ref().or(ask.fate.told.as_ref())
        && name != told
    {
        return Err(format!("to request {id}, called {name}, came {head:?}"));
    }
    Ok(())
}

/// The head as it is sent.
pub fn head(id: usize, ask: &Ask) -> String {
    if let Some(malformed) = ask.malformed {
        return malformed.to_owned();
    }
    let mut head =
        format!("{} /r{id} HTTP/1.{}\r\nHost: sim\r\nX-Sim: {id}\r\n", ask.method, ask.minor);
    if ask.named {
        head.push_str(&format!("X-Request-Id: {}\r\n", named(id)));
    }
    if ask.keyed {
        head.push_str(&format!("Idempotency-Key: {id}\r\n"));
    }
    for (name, value) in ask.door.iter().flat_map(|door| &door.lines) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(cookie) = &ask.cookie {
        head.push_str(&format!("Cookie: {cookie}\r\n"));
    }
    if ask.padding > 0 {
        head.push_str(&format!("X-Padding: {}\r\n", "p".repeat(ask.padding)));
    }
    match ask.body {
        Some(_) if ask.chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Some(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        None => {}
    }
    if ask.expect {
        head.push_str("Expect: 100-continue\r\n");
    }
    if ask.close {
        head.push_str("Connection: close\r\n");
    }
    if ask.websocket {
        head.push_str("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
        head.push_str("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    }
    head + "\r\n"
}

fn body(id: usize, ask: &Ask, chance: &mut Chance) -> Vec<u8> {
    let Some(length) = ask.body.filter(|_| ask.malformed.is_none()) else { return Vec::new() };
    let octets = octets(ask.key(id), 0, length);
    if !ask.chunked {
        return octets;
    }
    let (mut framed, framing) = in_chunks(&octets, ask.in_one, chance);
    if let Some(share) = ask.spoilt {
        let at = (framing.len() * usize::from(share)) >> 16;
        framed[framing[at]] = 0;
    }
    framed
}

/// In chunks of any size, with extensions and trailers now and then.
pub fn chunked(octets: &[u8], chance: &mut Chance) -> Vec<u8> {
    in_chunks(octets, false, chance).0
}

/// As [`chunked`], and which octets are framing.
fn in_chunks(octets: &[u8], in_one: bool, chance: &mut Chance) -> (Vec<u8>, Vec<usize>) {
    let mut framed = Vec::with_capacity(octets.len() + 100);
    let mut framing = Vec::new();
    let mut frame = |framed: &mut Vec<u8>, octets: &[u8]| {
        framing.extend(framed.len()..framed.len() + octets.len());
        framed.extend(octets);
    };
    let mut rest = octets;
    while !rest.is_empty() {
        let least = if in_one { rest.len() } else { rest.len().min(1 + octets.len() / 50) };
        let n = (chance.magnitude(rest.len() as u64) as usize).max(least);
        let extension = if chance.one_in(10) { ";a=b" } else { "" };
        frame(&mut framed, format!("{n:x}{extension}\r\n").as_bytes());
        framed.extend(&rest[..n]);
        frame(&mut framed, b"\r\n");
        rest = &rest[n..];
    }
    let trailers = chance.one_in(8);
    frame(&mut framed, if trailers { b"0\r\nX-Trailer: 1\r\n\r\n" } else { b"0\r\n\r\n" });
    (framed, framing)
}
