//! The two streams of a connection, taken apart by the room under test and put together again as they
//! leave: the way of a proxy without its sockets.
//!
//! Octets are fed in any parts. What was fed in the middle of a message waits in a buffer, as it does there.

use std::net::{IpAddr, Ipv4Addr};

use crate::WITHHELD;
use crate::http::body::{Decoder, Encoder};
use crate::http::forward::{self, FieldEdits, PathEdits, RequestEdits, ResponseEdits};
use crate::http::write::{Full, Writer};
use crate::http::{
    Asked, Framing, Limits, Method, Offer, Progress, Reason, Request, Response, Version, outward,
};

/// The protocols that may be offered besides `websocket`.
pub const ALLOWED: &[&[u8]] = &[b"other"];

/// Why a stream is read no further.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// A message was refused.
    Refused(Reason),
    /// The last message said so.
    Closes,
    /// What follows depends on an answer, or is not HTTP.
    Switches,
}

/// A whole message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Of a request, its method; of an answer, that of the request.
    pub method: Method,
    /// `GET /` as it leaves, or a status.
    pub start: Vec<u8>,
    /// The version of the client.
    pub version: Version,
    /// The client's connection goes on.
    pub persistent: bool,
    /// What a request offers.
    pub offer: Option<Offer<'static>>,
    /// The framing of its body, as it leaves.
    pub framing: Framing,
    /// Its body.
    pub payload: Vec<u8>,
    /// Its trailers, as they leave.
    pub trailers: Vec<u8>,
    /// All of it, as it leaves, its body in one chunk if it is chunked.
    pub sent: Vec<u8>,
}

impl Message {
    /// What a second reader must find the same: the start, the payload and the trailers.
    pub fn meaning(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.start, &self.payload, &self.trailers)
    }

    fn seal(&mut self) {
        let encoder = Encoder::new(self.framing);
        if encoder == Encoder::Plain {
            self.trailers.clear(); // only chunks have them
        }
        self.sent.extend_from_slice(&encoder.whole(&self.payload, &self.trailers));
    }
}

/// A body under way: what it takes from the buffer until it is whole.
struct Content {
    message: Message,
    withheld: &'static [String],
    decoder: Decoder,
}

impl Content {
    fn new(message: Message, came: Framing, withheld: &'static [String]) -> Content {
        Content { message, withheld, decoder: Decoder::new(came) }
    }

    /// Takes what belongs to it; whether it is whole.
    fn take(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Reason> {
        let message = &mut self.message;
        let decoded = self.decoder.decode(buffer)?;
        message.payload.extend_from_slice(&buffer[..decoded.payload]);
        buffer.drain(..decoded.consumed);
        if decoded.done {
            message.trailers = self.decoder.trailers_without(&[self.withheld]);
        }
        Ok(decoded.done)
    }
}

/// The client's stream.
#[derive(Default)]
pub struct Requests {
    limits: Limits,
    head: Request,
    buffer: Vec<u8>,
    content: Option<Content>,
    /// The requests that were whole, in order.
    pub whole: Vec<Message>,
    /// Why there are no more.
    pub end: Option<End>,
}

impl Requests {
    /// A stream of requests as this proxy sends them, which may be larger than those it takes.
    pub fn sent() -> Requests {
        Requests { limits: WIDER, ..Requests::default() }
    }

    /// More octets.
    pub fn feed(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
        while self.end.is_none() && self.step() {}
    }

    /// Nothing is left over.
    pub fn is_clean(&self) -> bool {
        self.buffer.is_empty() && self.content.is_none()
    }

    fn step(&mut self) -> bool {
        if let Some(content) = &mut self.content {
            match content.take(&mut self.buffer) {
                Ok(true) => self.done(),
                Ok(false) => return false,
                Err(reason) => self.end = Some(End::Refused(reason)),
            }
            return true;
        }
        if self.buffer.is_empty() {
            return false;
        }
        match self.head.read(&self.buffer, &self.limits) {
            Ok(Progress::Partial) => return false,
            Ok(Progress::Complete) => {
                let message = request(&self.head, &self.buffer);
                self.content = Some(Content::new(message, self.head.framing, &WITHHELD));
                self.buffer.drain(..self.head.len);
            }
            Err(reason) => self.end = Some(End::Refused(reason)),
        }
        true
    }

    fn done(&mut self) {
        let Some(Content { mut message, .. }) = self.content.take() else { return };
        message.seal();
        self.end = match message.offer {
            Some(_) => Some(End::Switches),
            None if !message.persistent => Some(End::Closes),
            None => None,
        };
        self.whole.push(message);
    }
}

const WIDER: Limits = Limits { head: 60_000, fields: 100, target: 10_000 };

fn request(head: &Request, bytes: &[u8]) -> Message {
    let offer = head.offer(bytes, ALLOWED);
    let edits = RequestEdits {
        peer: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        trusted: false,
        withheld: &WITHHELD,
        fields: FieldEdits::default(),
        path: PathEdits::default(),
        secure: false,
        host: head.host.is_empty().then_some(b"upstream:1"),
        request_id: b"id",
        upgrade: offer,
    };
    let sent = written(bytes, |out| forward::request(out, head, bytes, &edits));
    let line = sent.split(|b| *b == b'\r').next().unwrap_or_default();
    Message {
        method: head.method,
        start: line.strip_suffix(b" HTTP/1.1").expect("a request line").to_vec(),
        version: head.version,
        persistent: head.persistent,
        offer,
        framing: head.framing,
        payload: Vec::new(),
        trailers: Vec::new(),
        sent,
    }
}

/// What `write` makes of the head in `bytes`: with the host twice, and the fields that are added.
fn written(bytes: &[u8], write: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>) -> Vec<u8> {
    let mut buffer = vec![0; 3 * bytes.len() + 1000];
    let mut out = Writer::new(&mut buffer);
    write(&mut out).expect("room");
    out.written().to_vec()
}

/// The origin's stream: the answers to these requests, in turn.
pub struct Answers<'r> {
    requests: &'r [Message],
    head: Response,
    buffer: Vec<u8>,
    content: Option<Content>,
    /// The answers that were whole, interim ones too.
    pub whole: Vec<Message>,
    /// Why there are no more.
    pub end: Option<End>,
}

impl<'r> Answers<'r> {
    /// The answers to `requests`.
    pub fn to(requests: &'r [Message]) -> Answers<'r> {
        let (head, buffer, whole) = (Response::default(), Vec::new(), Vec::new());
        Answers { requests, head, buffer, content: None, whole, end: None }
    }

    /// More octets.
    pub fn feed(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
        while self.end.is_none() && self.step() {}
    }

    /// The origin closes.
    pub fn finish(&mut self) {
        let content = self.content.as_ref();
        if content.is_some_and(|content| matches!(content.decoder, Decoder::UntilClose)) {
            self.done();
        }
    }

    /// Nothing is left over.
    pub fn is_clean(&self) -> bool {
        self.buffer.is_empty() && self.content.is_none()
    }

    fn step(&mut self) -> bool {
        if let Some(content) = &mut self.content {
            match content.take(&mut self.buffer).map_err(Reason::by_upstream) {
                Ok(true) => self.done(),
                Ok(false) => return false,
                Err(reason) => self.end = Some(End::Refused(reason)),
            }
            return true;
        }
        let Some(asked) = self.requests.first().filter(|_| !self.buffer.is_empty()) else {
            return false;
        };
        let judged = Asked { method: asked.method, offer: asked.offer };
        match self.head.read(&self.buffer, &WIDER, judged) {
            Ok(Progress::Partial) => return false,
            Ok(Progress::Complete) => {
                let message = answer(&self.head, &self.buffer, asked);
                self.content = Some(Content::new(message, self.head.framing, &[]));
                self.buffer.drain(..self.head.len);
            }
            Err(reason) => self.end = Some(End::Refused(reason)),
        }
        true
    }

    fn done(&mut self) {
        let Some(Content { mut message, decoder, .. }) = self.content.take() else { return };
        message.seal();
        let switched = message.start == b"101";
        if switched || !message.start.starts_with(b"1") {
            self.requests = &self.requests[1..];
            let closes = matches!(decoder, Decoder::UntilClose) || !self.head.persistent;
            self.end = switched.then_some(End::Switches).or(closes.then_some(End::Closes));
        } else if message.version == Version::Http10 {
            return; // does not know interim answers, and gets none
        }
        self.whole.push(message);
    }
}

fn answer(head: &Response, bytes: &[u8], asked: &Message) -> Message {
    let (framing, to) = (outward(head.framing, asked.version), asked.version);
    let persistent = asked.persistent && framing != Framing::UntilClose;
    let (date, request_id) = (&b"today"[..], Some(&b"id"[..]));
    let edits = ResponseEdits {
        to,
        persistent,
        framing,
        fields: FieldEdits::default(),
        date,
        backend: None,
        request_id,
    };
    let sent = written(bytes, |out| match head.status {
        101 => forward::switching(out, head, bytes, &edits),
        _ if head.is_interim() => forward::interim(out, head, bytes, &[]),
        _ => forward::response(out, head, bytes, &edits),
    });
    Message {
        method: asked.method,
        start: head.status.to_string().into_bytes(),
        version: asked.version,
        persistent,
        offer: asked.offer,
        framing,
        payload: Vec::new(),
        trailers: Vec::new(),
        sent,
    }
}

/// Cuts the input of a target in two: what the client says and what the origin says.
pub fn sides(data: &[u8]) -> (&[u8], &[u8]) {
    const BETWEEN: &[u8] = b"\n----\n";
    let at = data.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    at.map_or((data, &[]), |at| (&data[..at], &data[at + BETWEEN.len()..]))
}
