//! The request under way: what the steps hand from one to the next.

use std::rc::Rc;

use super::Next;
use super::client::{Client, Unfinished};
use super::decide::Again;
use super::epoch::Epoch;
use super::facts::Facts;
use super::ids::Id;
use super::worker::Worker;
use crate::http::write::{Full, Writer};
use crate::http::{Method, Name, Reason, Request, Response, acceptable_id};
use crate::io::buffer::{Buf, Permit, Quota};
use crate::upstream::Upstream;

/// Parsed heads. Their storage is used again by later requests of the same core.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub request: Request,
    pub response: Response,
}

/// One request, and the connection it came on.
pub(super) struct Session {
    pub worker: Rc<Worker>,
    /// The plan that the request began under.
    pub epoch: Rc<Epoch>,
    pub client: Client,
    pub quota: Quota,
    pub heads: Box<Heads>,
    /// The request's head, then the octets that came with it. The spans of `heads.request` are offsets
    /// into it, so nothing in it moves before `finish`.
    pub input: Buf,
    /// How far `input` belongs to this request; what follows belongs to the next.
    pub used: usize,
    /// What followed a chunked body that did not end in `input`: belongs to the next request as well.
    pub surplus: Vec<u8>,
    /// What is known of the request.
    pub facts: Facts,
    /// The identity made for it; an acceptable one of the client's wins.
    pub made_id: Id,
    /// Counts the request while it is under way.
    pub under_way: UnderWay,
    /// Upstreams that could not be connected to, or that failed the request and are not asked again.
    pub tried: Vec<Rc<Upstream>>,
    /// The upstream that was picked last.
    pub upstream: Option<Rc<Upstream>>,
    /// The request is sent again: only a fresh connection will do.
    pub again: Option<Again>,
}

impl Session {
    pub fn new(worker: Rc<Worker>, mut client: Client) -> Session {
        let quota = worker.core.pool.quota();
        let mut input = worker.core.pool.head();
        let mut started = worker.now();
        if let Some(unfinished) = client.unfinished.take() {
            started = unfinished.since;
            // It came out of such a buffer, so it fits.
            let _fits = input.append(&unfinished.octets);
        }
        let heads = worker.heads.borrow_mut().pop().unwrap_or_default();
        let under_way = UnderWay { worker: Rc::clone(&worker), what: What::Nothing };
        Session {
            epoch: worker.epoch(),
            worker,
            client,
            quota,
            heads,
            input,
            used: 0,
            surplus: Vec::new(),
            facts: Facts::new(started),
            made_id: [0; 32],
            under_way,
            tried: Vec::new(),
            upstream: None,
            again: None,
        }
    }

    /// Counts a request whose head was read, or refused, and that fills `used` octets of the input so far.
    pub fn begin(&mut self, used: usize) {
        self.used = used;
        self.facts.bytes_in.set(used as u64);
        self.epoch = self.worker.epoch();
        self.made_id = self.worker.ids.next();
        self.under_way.begin();
        self.worker.tell_buffers();
    }

    /// Forgets the request that is finished, and keeps what the client sent after it.
    pub fn reset(&mut self) {
        self.input.consume(self.used);
        if !self.surplus.is_empty() {
            // All of `input` belonged to the request, so it is empty now, and the surplus came out
            // of another buffer of the same size.
            let _fits = self.input.append(&self.surplus);
            self.surplus.clear();
        }
        self.used = 0;
        self.facts = Facts::new(self.worker.now());
        self.tried.clear();
        self.upstream = None;
        self.again = None;
    }

    /// Gives everything back but the client. An unfinished head goes with it.
    pub fn end(mut self, next: &Next) -> Client {
        if matches!(next, Next::Park) && !self.input.is_empty() {
            let octets = self.input.filled().to_vec();
            self.client.unfinished =
                Some(Box::new(Unfinished { octets, since: self.facts.started.get() }));
        }
        self.heads.request.clear();
        self.heads.response.clear();
        let mut heads = self.worker.heads.borrow_mut();
        if heads.len() < self.worker.core.pool.rights() {
            heads.push(self.heads);
        }
        drop(heads);
        self.client
    }

    /// The request's method; `Other` where none could be read.
    pub fn method(&self) -> Method {
        let request = &self.heads.request;
        if request.method_text.is_empty() { Method::Other } else { request.method }
    }

    /// The identity the request goes by.
    pub fn id(&self) -> &[u8] {
        identity(&self.heads.request, self.input.filled(), &self.made_id)
    }
}

/// A buffer of `permit` with what `write` puts into it.
pub(super) fn written(
    permit: &Permit<'_>,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<Buf, Full> {
    let mut buf = permit.take();
    let mut writer = Writer::new(buf.spare());
    write(&mut writer)?;
    let length = writer.len();
    buf.fill(length);
    Ok(buf)
}

/// The identity the client gave, if it is acceptable, else the one we made.
pub(super) fn identity<'a>(request: &Request, octets: &'a [u8], made: &'a Id) -> &'a [u8] {
    match request.get(Name::XRequestId).map(|id| id.of(octets)) {
        Some(id) if acceptable_id(id) => id,
        _ => made,
    }
}

/// Sees to it that a request that was counted as begun is counted as ended, whatever happens.
pub(super) struct UnderWay {
    worker: Rc<Worker>,
    what: What,
}

/// What is counted.
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
    pub fn become_tunnel(&mut self) -> UnderWay {
        self.what = What::Nothing;
        let stats = &self.worker.stats;
        stats.active.down();
        stats.tunnels.up();
        stats.tunnels_opened.add(1);
        UnderWay { worker: Rc::clone(&self.worker), what: What::Tunnel }
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
