//! A connection that an origin has accepted: it reads with suspicion, and answers by the script.

use crate::book::Book;
use crate::client::chunked;
use crate::end::{End, Fault};
use crate::frames::Talk;
use crate::http::upgrade;
use crate::message::{Head, Piece, Reader, decimal};
use crate::net::{Actor, Happening, Micros, Net};
use crate::octets::{are, downwards, octets, upwards};
use crate::porter;
use crate::scenario::{Ask, Ending, Framed, named};
use crate::sick::How;

/// How often one head may be seen: replayed once on a fresh connection, and by three upstreams more (--max-retries).
const SEEN_MOST: u32 = 5;
/// How long a broken connection stays open, for whoever would use it again.
const OPEN: Micros = 50_000;
/// Octets of a WebSocket message.
const MESSAGE: usize = 50_000;

/// A connection.
pub struct Origin {
    actor: Actor,
    /// The upstream it belongs to.
    pub upstream: usize,
    /// The socket at the other end.
    peer: usize,
    end: End,
    /// The request to which there is a whole answer once the end is announced.
    ends_with: Option<usize>,
    reader: Reader,
    /// So many requests came.
    carried: u32,
    exchange: Option<Exchange>,
    /// Why no request may come any more.
    tainted: Option<&'static str>,
    /// When to close it.
    close_at: Option<Micros>,
    talk: Option<(Talk, usize)>,
}

/// A request and its answer.
struct Exchange {
    /// `None`: one that should not have come this far, but may have begun to.
    id: Option<usize>,
    read: u64,
    read_whole: bool,
    stage: Stage,
    /// It was sick when it began to answer, and says so.
    ill: Option<u16>,
    /// It has sent the interim answers.
    hinted: bool,
    /// It is reset in place of the answer.
    resets: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    Thinking(Micros),
    Writing,
    Done,
}

impl Origin {
    pub fn new(index: usize, upstream: usize, end: End, peer: usize) -> Origin {
        Origin {
            actor: Actor::Origin(index),
            upstream,
            peer,
            end,
            ends_with: None,
            reader: Reader::default(),
            carried: 0,
            exchange: None,
            tainted: None,
            close_at: None,
            talk: None,
        }
    }

    /// Its turn.
    pub fn run(&mut self, net: &mut Net, book: &mut Book) {
        if self.end.closed {
            return;
        }
        if self.end.is_leaving(net) {
            return self.broken(book);
        }
        let octets = self.end.read(net);
        let wrong = self.end.wrong.take().map_or(Ok(()), Err);
        if let Err(complaint) = self.hear(&octets, net.now, book).and(wrong) {
            book.complain(format!("{:?}: {complaint}", self.actor));
            self.end.close(net);
        }
        if self.end.ended.is_some() && self.end.out.is_empty() {
            self.end.close(net);
        }
        if self.close_at.is_some_and(|at| at <= net.now) && self.exchange.is_none() {
            self.end.leave(net);
            net.at(net.now, Happening::Run(self.actor));
        }
        for _ in 0..2 {
            self.answer(net, book);
            self.end.write(net);
        }
        self.answer(net, book);
        self.broken(book);
        self.end.again(net);
    }

    /// Something goes wrong with it now, in the middle of a call of the core.
    pub fn fail(&mut self, fault: Fault, net: &mut Net, book: &mut Book) {
        self.end.suffer(fault, net);
        self.broken(book);
    }

    // ---- what it hears ----

    fn hear(&mut self, octets: &[u8], now: Micros, book: &mut Book) -> Result<(), String> {
        if let Some((talk, _)) = &mut self.talk {
            return talk.hear(octets);
        }
        if let Some(why) = self.tainted.filter(|_| !octets.is_empty()) {
            let unread = self.exchange.as_ref().is_some_and(|exchange| !exchange.read_whole);
            if !unread {
                let text = String::from_utf8_lossy(&octets[..octets.len().min(60)]).into_owned();
                return Err(format!("used again although {why}: {text:?}"));
            }
        }
        if self.end.finished && self.exchange.as_ref().is_none_or(|exchange| exchange.read_whole) {
            // Who has said that nothing more will come processes nothing more (RFC 9112 section 9.6).
            return Ok(());
        }
        self.reader.push(octets);
        while let Some(piece) = self.reader.next()? {
            match piece {
                // It has read the last one to its end only after it had finished.
                Piece::Head(_) if self.end.finished => return Ok(()),
                Piece::Head(head) => self.head(&head, now, book)?,
                Piece::Octets(octets) => self.body(&octets, book)?,
                Piece::End => self.whole(book)?,
            }
        }
        Ok(())
    }

    fn head(&mut self, head: &Head, now: Micros, book: &mut Book) -> Result<(), String> {
        if self.exchange.is_some() {
            return Err(format!("a request before the last was done with: {}", head.line));
        }
        self.close_at = None;
        self.carried += 1;
        let mut words = head.line.split(' ');
        let (method, path, version) = (words.next(), words.next(), words.next());
        let mut exchange = Exchange {
            id: None,
            read: 0,
            read_whole: false,
            stage: Stage::Reading,
            ill: None,
            hinted: false,
            resets: false,
        };
        if path != Some("/m") {
            let nobody = || format!("nobody asked {}", head.line);
            let id = path.and_then(|path| path.strip_prefix("/r")).ok_or_else(nobody)?;
            let id = decimal(id)? as usize;
            let ask = book.asks.get_mut(id).ok_or_else(nobody)?;
            ask.fate.seen += 1;
            ask.fate.seen_at.get_or_insert(now);
            porter::arrived(ask, head)?;
            if let Some(leak) = porter::leaks(ask, head) {
                return Err(format!("request {id}: {leak}"));
            }
            let again = matches!(ask.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
            let again = again || ask.keyed;
            if ask.fate.seen > if again { SEEN_MOST } else { 1 } {
                return Err(format!("seen {} times: {}", ask.fate.seen, head.line));
            }
            // When it came says little: it may have been on its way for long.
            let began = book.ledger.as_ref().map_or(0, |ledger| ledger.began(self.peer));
            if ask.fate.seen > 1
                && let Some(heard) = ask.fate.heard
                && heard < began
            {
                return Err(format!(
                    "answered since {heard}, sent again at {began}: {}",
                    head.line
                ));
            }
            let is_again = ask.fate.seen > 1;
            let same = method == Some(ask.method)
                && head.get("x-sim") == Some(&id.to_string())
                && head.get("host") == Some("sim")
                && head.get("x-forwarded-for") == Some(&ask.from.to_string())
                && ask.malformed.is_none();
            if !same || version != Some("HTTP/1.1") || !ask.fate.begun {
                return Err(format!("not as asked: {head:?}"));
            }
            let told = head.get("x-request-id").ok_or("a request without an identity")?;
            let name = ask.named.then(|| named(id));
            if name.is_some_and(|name| name != told)
                || ask.fate.told.as_ref().is_some_and(|before| before != told)
            {
                return Err(format!("request {id} is called {told}"));
            }
            ask.fate.told = Some(told.to_owned());
            exchange.id = Some(id);
            // Only what changes nothing may be at two upstreams at once.
            let bodiless = ask.body.unwrap_or(0) == 0 && !ask.chunked;
            let twice = matches!(ask.method, "GET" | "HEAD") && bodiless && !ask.websocket;
            book.carries(self.peer, id, twice)?;
            if is_again {
                book.seen_again(now);
            }
        } else {
            book.porch.nobody(head)?;
        }
        self.exchange = Some(exchange);
        self.reader.body(head.framing(true)?);
        Ok(())
    }

    fn body(&mut self, octets: &[u8], book: &Book) -> Result<(), String> {
        let exchange = self.exchange.as_mut().ok_or("a body without a head")?;
        let Some(id) = exchange.id else { return Ok(()) };
        if !are(octets, book.asks[id].key(id), exchange.read) {
            return Err(format!("wrong octets in request {id} from octet {}", exchange.read));
        }
        exchange.read += octets.len() as u64;
        Ok(())
    }

    fn whole(&mut self, book: &mut Book) -> Result<(), String> {
        let exchange = self.exchange.as_mut().ok_or("the end of nothing")?;
        let id = exchange.id.ok_or("a malformed request came whole")?;
        let ask = &book.asks[id];
        if ask.spoilt.is_some() {
            return Err(format!("request {id} is malformed, and came whole"));
        }
        if exchange.read != ask.body.unwrap_or(0) as u64 || !ask.fate.written {
            return Err(format!("request {id} ended after {} of {:?}", exchange.read, ask.body));
        }
        exchange.read_whole = true;
        if exchange.stage == Stage::Done && !ask.script.end.is_open() {
            self.exchange = None;
            book.rests(self.peer);
        }
        Ok(())
    }

    // ---- what it says ----

    fn answer(&mut self, net: &mut Net, book: &mut Book) {
        if self.end.closed {
            return;
        }
        if self.talk.is_some() {
            return self.converse(net);
        }
        let Some(exchange) = &mut self.exchange else { return };
        let Some(id) = exchange.id else { return };
        let ask = &mut book.asks[id];
        match exchange.stage {
            Stage::Reading if exchange.read_whole || ask.script.early => {
                if ask.script.soon && !exchange.hinted {
                    exchange.hinted = true;
                    self.end.out.extend(interims(id, ask));
                }
                let late = match net.ill(self.upstream) {
                    Some(How::Hangs) => return,
                    Some(How::Tires(late)) if self.carried > 1 => {
                        exchange.resets = true;
                        late
                    }
                    Some(How::Resets) if ask.script.soon => {
                        exchange.resets = true;
                        0
                    }
                    Some(How::Resets) => return self.end.reset(net),
                    Some(How::Slow(late)) => late,
                    Some(How::Fails(status)) => {
                        exchange.ill = Some(status);
                        ask.fate.ill.push(status);
                        0
                    }
                    Some(How::Refuses | How::Tires(_)) | None => 0,
                };
                let at = net.now + ask.script.delay + late;
                exchange.stage = Stage::Thinking(at);
                net.at(at, Happening::Run(self.actor));
            }
            Stage::Thinking(at) if at <= net.now && exchange.resets => self.end.reset(net),
            Stage::Thinking(at) if at <= net.now => {
                exchange.stage = Stage::Writing;
                ask.fate.begun_to_answer = true;
                let status = exchange.ill.unwrap_or(ask.script.status);
                if ask.websocket && status < 400 {
                    if !self.switch(id, ask) {
                        book.complain(format!("octets came before the 101 of request {id}"));
                    }
                } else {
                    let octets = written(id, ask, status, &mut net.chance);
                    if ask.script.end == Ending::Extra
                        && !self.end.finished
                        && self.end.seal.is_none()
                        && net.send_whole(self.end.socket, &[&octets[..], b"extra"].concat())
                    {
                        self.tainted = Some("something followed the answer");
                        self.close_at = Some(net.now + OPEN);
                        net.at(net.now + OPEN, Happening::Run(self.actor));
                    } else {
                        self.end.out.extend(octets);
                    }
                }
            }
            Stage::Writing if self.end.out.is_empty() && !self.end.finished => {
                exchange.stage = Stage::Done;
                let done = exchange.read_whole && !ask.script.end.is_open();
                self.sent(id, ask, net);
                if done {
                    self.exchange = None;
                    book.rests(self.peer);
                }
            }
            _ => {}
        }
    }

    /// What comes after the answer.
    fn sent(&mut self, id: usize, ask: &mut Ask, net: &mut Net) {
        let until_close = ask.script.framing == Framed::UntilClose;
        // A close by itself ends nothing there.
        let is_sealed = self.end.seal.is_some();
        let announces = is_sealed && until_close;
        self.ends_with = announces.then_some(id);
        let mut close = |tainted, micros| {
            self.tainted = tainted;
            self.close_at = Some(net.now + micros);
            net.at(net.now + micros, Happening::Run(self.actor));
        };
        match ask.script.end {
            Ending::Keep | Ending::Extra => ask.fate.answered = true,
            Ending::CloseIdle(micros) => {
                ask.fate.answered |= !announces;
                close(until_close.then_some("only a close could end the answer"), micros);
            }
            Ending::Close(micros) => {
                ask.fate.answered |= !announces;
                close(Some("it said that it would close"), micros);
            }
            // To a HEAD some of it is sense, and what follows comes too late to be noticed.
            Ending::Garbage(_) if ask.method == "HEAD" => self.end.close(net),
            Ending::Garbage(_) => close(Some("it talked nonsense"), OPEN),
            Ending::Truncate(_) => {
                ask.fate.answered |= until_close && !is_sealed;
                self.end.close(net);
            }
            Ending::Reset(_) => {
                self.end.reset(net);
                // On a Unix socket there is no reset without octets unread.
                ask.fate.answered |= until_close && !is_sealed && !self.end.was_reset;
            }
            Ending::Stall(_) => self.tainted = Some("its answer was not finished"),
        }
    }

    /// Something went wrong with the connection; the answer may have been out all the same. One that
    /// only a close ends is whole whenever that comes in order.
    fn broken(&mut self, book: &mut Book) {
        if let Some(id) = self.ends_with.take_if(|_| self.end.announced) {
            book.asks[id].fate.answered = true;
        }
        if let Some(Exchange { id: Some(id), stage: Stage::Writing | Stage::Done, .. }) =
            &self.exchange
            && (self.end.closed || self.end.finished)
        {
            let ask = &mut book.asks[*id];
            ask.fate.answered |= match ask.script.framing {
                Framed::UntilClose if self.end.seal.is_some() => self.end.announced,
                Framed::UntilClose => !self.end.was_reset,
                _ => self.end.drained && ask.script.end.is_sound(),
            };
        }
    }

    /// Agrees to a WebSocket. `false`: something came that could not know of it.
    fn switch(&mut self, id: usize, ask: &Ask) -> bool {
        let proof = upgrade::accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        let proof = String::from_utf8_lossy(&proof).into_owned();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {proof}\r\n\r\n"
        );
        self.end.out.extend(head.bytes());
        self.talk = Some((Talk::new(false, downwards(id), upwards(id)), ask.script.length));
        self.reader.rest().is_empty()
    }

    fn converse(&mut self, net: &mut Net) {
        let Some((talk, left)) = &mut self.talk else { return };
        if !self.end.out.is_empty() || self.end.finished {
            return;
        }
        if talk.said_close {
            if talk.heard_close {
                self.end.close(net);
            }
            return;
        }
        let n = (*left).min(1 + net.chance.below(MESSAGE));
        *left -= n;
        let over = n == 0 && (talk.heard_close || net.chance.one_in(2));
        if n > 0 && !talk.heard_close {
            self.end.out.extend(talk.say(n));
        } else if over || talk.heard_close {
            self.end.out.extend(talk.say_close());
        }
    }
}

/// What goes before an answer.
fn interims(id: usize, ask: &Ask) -> Vec<u8> {
    let one = |status| format!("HTTP/1.1 {status} Interim\r\nX-Interim: {id}\r\n\r\n");
    ask.script.interim.iter().flat_map(|status| one(status).into_bytes()).collect()
}

/// An answer as it goes out, as far as it goes.
fn written(id: usize, ask: &Ask, status: u16, chance: &mut crate::chance::Chance) -> Vec<u8> {
    let script = &ask.script;
    let mut out = Vec::new();
    if !script.soon {
        out.extend(interims(id, ask));
    }
    if let Ending::Garbage(garbage) = script.end {
        out.extend(garbage.bytes());
        return out;
    }
    let mut head = format!("HTTP/1.1 {status} Sim\r\nX-Sim: {id}\r\n");
    if script.padding > 0 {
        head.push_str(&format!("X-Padding: {}\r\n", "p".repeat(script.padding)));
    }
    let (no_framing, bodiless) = (matches!(status, 204 | 304), ask.method == "HEAD");
    let closes = matches!(script.end, Ending::Close(_)) || script.framing == Framed::UntilClose;
    if closes {
        head.push_str("Connection: close\r\n");
    }
    match script.framing {
        _ if no_framing => {}
        Framed::Length => head.push_str(&format!("Content-Length: {}\r\n", script.length)),
        Framed::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framed::UntilClose => {}
    }
    out.extend(head.bytes().chain(*b"\r\n"));
    if !no_framing && !bodiless {
        let body = octets(downwards(id), 0, script.length);
        out.extend(if script.framing == Framed::Chunked { chunked(&body, chance) } else { body });
    }
    if let Ending::Truncate(part) | Ending::Reset(part) | Ending::Stall(part) = script.end {
        out.truncate(out.len() * usize::from(part) / 256);
    }
    out
}
