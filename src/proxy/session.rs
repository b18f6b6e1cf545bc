//! One connection that is busy, and the request under way on it.

use std::rc::Rc;

use super::Next;
use super::client::{Client, Unfinished};
use super::core::{Epoch, Id, Worker};
use super::facts::Facts;
use crate::http::write::{Full, Writer};
use crate::http::{Method, Name, Reason, Request, Response, acceptable_id};
use crate::io::buffer::{Buf, Permit, Quota};

/// Parsed heads. Their storage is used again by later requests of the same core.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub request: Request,
    pub response: Response,
}

/// A client that has sent something, and all that is needed to answer it.
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
    /// How many octets of `input` are the head, and how many behind it the request's as well; what follows belongs to
    /// the next.
    head: usize,
    taken: usize,
    /// What followed a chunked body that did not end in `input`: belongs to the next request as well.
    pub surplus: Vec<u8>,
    /// What is known of the request.
    pub facts: Facts,
    /// The identity made for it; an acceptable one of the client's wins.
    made_id: Id,
    /// Counts the request while it is under way.
    pub under_way: UnderWay,
}

/// A request and its answer: what every step may look at. Nothing of it changes but the cells of `facts`.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'s> {
    pub worker: &'s Worker,
    pub epoch: &'s Epoch,
    pub client: &'s Client,
    pub quota: &'s Quota,
    pub facts: &'s Facts,
    pub request: &'s Request,
    /// The octets of the request's head.
    pub head: &'s [u8],
    /// The identity the request goes by.
    pub id: &'s [u8],
}

/// What was read behind a head, and how much of it belongs to that request.
pub(super) struct Rest<'s> {
    /// The octets that came with the head.
    pub octets: &'s mut [u8],
    /// How many of them are the request's.
    pub taken: &'s mut usize,
    /// What came later, and is not the request's.
    pub surplus: &'s mut Vec<u8>,
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
            head: 0,
            taken: 0,
            surplus: Vec::new(),
            facts: Facts::new(started),
            made_id: [0; 32],
            under_way,
        }
    }

    /// Counts a request whose head was read, or refused, and fills `head` octets of the input.
    pub fn begin(&mut self, head: usize) {
        self.head = head;
        self.facts.bytes_in.set(head as u64);
        self.epoch = self.worker.epoch();
        self.made_id = self.worker.ids.next();
        self.under_way.begin();
        self.worker.tell_buffers();
    }

    /// The request that was begun, in the parts that do not change and those that do.
    pub fn parts(&mut self) -> (Exchange<'_>, Rest<'_>, &mut Response) {
        let Session { worker, epoch, client, quota, facts, made_id, .. } = self;
        let Heads { request, response } = &mut *self.heads;
        let (head, octets) = self.input.filled_mut().split_at_mut(self.head);
        let id = identity(request, head, made_id);
        let exchange = Exchange { worker, epoch, client, quota, facts, request, head, id };
        (exchange, Rest { octets, taken: &mut self.taken, surplus: &mut self.surplus }, response)
    }

    /// Octets of the input that belong to the request.
    pub fn used(&self) -> usize {
        self.head + self.taken
    }

    /// Forgets the request that is finished, and keeps what the client sent after it.
    pub fn reset(&mut self) {
        self.input.consume(self.used());
        if !self.surplus.is_empty() {
            // All of `input` belonged to the request, so it is empty now, and the surplus came out
            // of another buffer of the same size.
            let _fits = self.input.append(&self.surplus);
            self.surplus.clear();
        }
        (self.head, self.taken) = (0, 0);
        self.facts = Facts::new(self.worker.now());
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
fn identity<'a>(request: &Request, octets: &'a [u8], made: &'a Id) -> &'a [u8] {
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
