//! The request under way: what the steps hand from one to the next.

use std::rc::Rc;
use std::time::Duration;

use super::Next;
use super::client::{Client, Unfinished};
use super::ids::Id;
use super::worker::Worker;
use crate::http::head::{Request, Response};
use crate::io::buffer::{Buf, Share};
use crate::io::clock::Moment;
use crate::stats::Attempt;

/// Parsed heads. Their storage is used again by later requests of the same core.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub request: Request,
    pub response: Response,
}

/// One request, and the connection it came on.
#[derive(Debug)]
pub(super) struct Ongoing {
    pub worker: Rc<Worker>,
    pub client: Client,
    pub share: Share,
    pub heads: Box<Heads>,
    /// The request's head, then the octets that came with it. The spans of `heads.request` are offsets
    /// into it, so nothing in it moves before `finish`.
    pub input: Buf,
    /// How far `input` belongs to this request; what follows belongs to the next.
    pub used: usize,
    /// When the request's first octet was seen.
    pub started: Moment,
    /// The identity made for it; an acceptable one of the client's wins.
    pub made_id: Id,
    /// Octets of the request that were read, head and body.
    pub bytes_in: u64,
    /// Octets of the answer that were sent, head and body, interim answers included.
    pub bytes_out: u64,
    /// Status of the final answer, once its head is on the way.
    pub status: Option<u16>,
    /// The whole request was read.
    pub request_read: bool,
    /// Endpoints that could not be connected to.
    pub tried: Vec<usize>,
    /// The endpoint the request was sent to last.
    pub endpoint: Option<usize>,
    /// A second attempt after a stale connection: only fresh ones now.
    pub replayed: bool,
    /// Attempts that failed, for the log.
    pub attempts: Vec<Attempt>,
    /// How long connecting took.
    pub connect: Option<Duration>,
    /// From the first octet of the request to the first of the answer.
    pub first_byte: Option<Duration>,
}

impl Ongoing {
    pub fn new(worker: Rc<Worker>, mut client: Client, share: Share) -> Ongoing {
        let mut input = share.take();
        let mut started = worker.core.reactor.clock().now();
        if let Some(unfinished) = client.unfinished.take() {
            started = unfinished.since;
            // It came out of such a buffer, so it fits.
            let _fits = input.append(&unfinished.octets);
        }
        let heads = worker.heads.borrow_mut().pop().unwrap_or_default();
        Ongoing {
            worker,
            client,
            share,
            heads,
            input,
            used: 0,
            started,
            made_id: [0; 32],
            bytes_in: 0,
            bytes_out: 0,
            status: None,
            request_read: false,
            tried: Vec::new(),
            endpoint: None,
            replayed: false,
            attempts: Vec::new(),
            connect: None,
            first_byte: None,
        }
    }

    /// Forgets the request that is finished, and keeps what the client sent after it.
    pub fn reset(&mut self) {
        self.input.consume(self.used);
        self.used = 0;
        self.started = self.worker.core.reactor.clock().now();
        self.bytes_in = 0;
        self.bytes_out = 0;
        self.status = None;
        self.request_read = false;
        self.tried.clear();
        self.endpoint = None;
        self.replayed = false;
        self.attempts.clear();
        self.connect = None;
        self.first_byte = None;
    }

    /// Gives everything back but the client. An unfinished head goes with it.
    pub fn end(mut self, next: Next) -> Client {
        if next == Next::Park && !self.input.is_empty() {
            let octets = self.input.filled().to_vec();
            self.client.unfinished = Some(Box::new(Unfinished { octets, since: self.started }));
        }
        self.heads.request.clear();
        self.heads.response.clear();
        self.worker.heads.borrow_mut().push(self.heads);
        self.client
    }

    /// The identity the request goes by.
    pub fn id(&self) -> &[u8] {
        use crate::http::fields::Name;
        let given = self.heads.request.get(Name::XRequestId).map(|id| id.of(self.input.filled()));
        match given {
            Some(id) if crate::http::session::acceptable_id(id) => id,
            _ => &self.made_id,
        }
    }
}
