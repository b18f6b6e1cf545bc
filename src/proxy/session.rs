//! One connection that is busy, and the request under way on it.

use std::cell::Cell;
use std::rc::Rc;

use super::Next;
use super::client::{Client, Unfinished};
use super::core::{Chosen, Epoch, Heads, Id, Worker};
use super::facts::Facts;
use crate::config::ExchangeSpec;
use crate::http::upgrade::Upgrade;
use crate::http::write::{Full, Writer};
use crate::http::{Method, Name, Reason, Request, Response, acceptable_id};
use crate::io::buffer::{Buf, Quota};
use crate::policy::gate::LinkedGate;
use crate::policy::{MatchInput, Values};
use crate::upstream::Slot;

/// A request and its answer: what every step looks at. While it is under way nothing of it changes but the cells of
/// `facts`.
pub(super) struct Exchange {
    pub worker: Rc<Worker>,
    /// The plan that the request began under.
    pub epoch: Rc<Epoch>,
    pub client: Client,
    pub quota: Quota,
    pub request: Box<Request>,
    pub facts: Facts,
    /// What happens to it, once that is known.
    pub chosen: Cell<Option<Chosen>>,
    /// The identity made for it; an acceptable one of the client's wins.
    made_id: Id,
}

/// How much of what was read is the request's; what follows belongs to the next.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// Octets of the head.
    pub head: usize,
    /// Octets of the body that came with it.
    pub body: usize,
    /// What came later, behind the end of a chunked body, and is the next request's.
    pub surplus: Vec<u8>,
}

/// A client that has sent something, and all that is needed to answer it.
pub(super) struct Session {
    pub exchange: Exchange,
    /// The request's head, then the octets that came with it. The spans of `exchange.request` are offsets
    /// into it, so nothing in it moves before `finish`.
    pub input: Buf,
    pub used: Used,
    pub response: Box<Response>,
    /// Counts the request while it is under way.
    pub under_way: UnderWay,
}

impl Exchange {
    /// The identity the request goes by: the one the client gave, if it is acceptable, else the one we made. `head`:
    /// the octets of the request's head.
    pub fn id<'a>(&'a self, head: &'a [u8]) -> &'a [u8] {
        match self.request.get(Name::XRequestId).map(|id| id.of(head)) {
            Some(id) if acceptable_id(id) => id,
            _ => &self.made_id,
        }
    }

    /// How it goes: as its route and pool say.
    pub fn spec(&self) -> &ExchangeSpec {
        self.epoch.spec(self.chosen.get())
    }

    /// What its route demands, or the top, where no route takes it; `None`: nothing.
    #[inline]
    pub fn gate(&self) -> Option<&LinkedGate> {
        let gate = match self.chosen.get() {
            Some(chosen) => self.epoch.gate(chosen),
            None => self.epoch.gate_of_unrouted(),
        };
        gate.map(|gate| &**gate)
    }

    /// The request, as routes look at it. `head`: the octets of its head.
    pub fn match_input<'a>(&'a self, head: &'a [u8]) -> MatchInput<'a> {
        let Exchange { epoch, client, request, .. } = self;
        MatchInput {
            head: request,
            bytes: head,
            method: request.method_text.of(head),
            listen: &client.listen,
            peer: client.peer.map(|peer| peer.ip()),
            secure: client.stream.is_secure(),
            trusted: if client.trusted { &epoch.plan.listener.trusted } else { &[] },
            withheld: client.withheld(&epoch.plan.listener),
            certificate: client.certificate.as_deref(),
        }
    }

    /// What placeholders stand for.
    pub fn values<'a>(&'a self, head: &'a [u8], upstream: &'a str) -> Values<'a> {
        let route = self.chosen.get().map_or("", |chosen| &self.epoch.route(chosen).name);
        let (input, id) = (self.match_input(head), self.id(head));
        let who = self.facts.gate.get().and_then(|found| found.user());
        let user = who.map_or("", |who| &who.name);
        Values { input, secure: input.secure, id, user, route, upstream }
    }

    /// Something follows the request that was not meant for HTTP: it asked to switch, and more came before the answer
    /// (RFC 9931). `behind`: octets of that are read already.
    pub fn is_followed_by_another_protocol(&self, behind: bool) -> bool {
        self.request.upgrade != Upgrade::None && (behind || self.client.stream.is_readable())
    }

    /// The request's method; `Other` where none could be read.
    pub fn method(&self) -> Method {
        if self.request.method_text.is_empty() { Method::Other } else { self.request.method }
    }
}

impl Session {
    pub fn new(worker: Rc<Worker>, mut client: Client) -> Session {
        let quota = worker.core.pool.quota();
        let mut input = worker.core.pool.head();
        let mut started = worker.now();
        if let Some(unfinished) = client.unfinished.take() {
            started = unfinished.since;
            input.grow(unfinished.octets.len());
            let _fits = input.append(&unfinished.octets);
        }
        let Heads { request, response } = worker.heads.borrow_mut().pop().unwrap_or_default();
        let under_way = UnderWay { worker: Rc::clone(&worker), what: What::Nothing, _slot: None };
        let (epoch, facts) = (worker.epoch(), Facts::new(started));
        let (chosen, made_id) = (Cell::new(None), [0; 32]);
        let exchange = Exchange { worker, epoch, client, quota, request, facts, chosen, made_id };
        Session { exchange, input, used: Used::default(), response, under_way }
    }

    /// Counts a request whose head was read, or refused, and fills `head` octets of the input.
    pub fn begin(&mut self, head: usize) {
        let Exchange { worker, facts, made_id, .. } = &mut self.exchange;
        self.used.head = head;
        facts.bytes_in.set(head as u64);
        *made_id = worker.ids.next();
        self.under_way.begin();
        worker.tell_buffers();
    }

    /// Octets of the input that belong to the request.
    pub fn used(&self) -> usize {
        self.used.head + self.used.body
    }

    /// Forgets the request that is finished, and keeps what the client sent after it.
    pub fn reset(&mut self) {
        self.input.consume(self.used());
        let surplus = &mut self.used.surplus;
        if !surplus.is_empty() {
            // All of `input` belonged to the request, so it is empty now, and the surplus came out
            // of another buffer, which was no larger.
            let _fits = self.input.append(surplus);
            surplus.clear();
        }
        (self.used.head, self.used.body) = (0, 0);
        self.exchange.chosen.set(None);
        self.exchange.facts = Facts::new(self.exchange.worker.now());
    }

    /// Gives everything back but the client. An unfinished head goes with it.
    pub fn end(self, next: &Next) -> Client {
        let Exchange { worker, mut client, mut request, facts, .. } = self.exchange;
        if matches!(next, Next::Park) && !self.input.is_empty() {
            let octets = self.input.filled().to_vec();
            client.unfinished = Some(Box::new(Unfinished { octets, since: facts.started.get() }));
        }
        let mut response = self.response;
        request.clear();
        response.clear();
        let mut heads = worker.heads.borrow_mut();
        if heads.len() < worker.core.pool.rights() {
            heads.push(Heads { request, response });
        }
        drop(heads);
        client
    }

    /// As [`Exchange::id`].
    pub fn id(&self) -> &[u8] {
        self.exchange.id(self.input.filled())
    }
}

/// `buf` with what `write` puts into it: at most `most` octets.
pub(super) fn written(
    mut buf: Buf,
    most: usize,
    write: impl Fn(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<Buf, Full> {
    let mut writer = Writer::new(buf.spare());
    if write(&mut writer).is_err() {
        buf.grow(most);
        writer = Writer::new(buf.spare());
        write(&mut writer)?;
    }
    let length = writer.len();
    buf.fill(length);
    Ok(buf)
}

/// Sees to it that a request that was counted as begun is counted as ended, whatever happens.
pub(super) struct UnderWay {
    worker: Rc<Worker>,
    what: What,
    /// Counts a tunnel at its upstream, where that is counted.
    _slot: Option<Slot>,
}

/// How it is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Nothing,
    Request,
    Tunnel,
}

impl UnderWay {
    fn begin(&mut self) {
        self.what = What::Request;
        self.worker.stats.requests.add(1);
        self.worker.stats.active.up();
    }

    /// The request goes on as a tunnel, in other hands.
    pub fn become_tunnel(&mut self, slot: Option<Slot>) -> UnderWay {
        self.what = What::Nothing;
        let stats = &self.worker.stats;
        stats.active.down();
        stats.tunnels.up();
        stats.tunnels_opened.add(1);
        UnderWay { worker: Rc::clone(&self.worker), what: What::Tunnel, _slot: slot }
    }

    /// The request, or the tunnel, ends with `reason`.
    pub fn end(&mut self, reason: Reason) {
        let stats = &self.worker.stats;
        match std::mem::replace(&mut self.what, What::Nothing) {
            What::Nothing => return,
            What::Request => stats.active.down(),
            What::Tunnel => stats.tunnels.down(),
        }
        stats.reasons[reason.index()].add(1);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Only a panic gets here with something that has not ended.
        self.end(Reason::Panicked);
    }
}
