//! One connection: a request, its answer, and again.

use std::rc::Rc;

use super::resource::Resource;
use super::thread::OriginThread;
use super::writer::ResponseWriter;
use crate::http::body::{Decoder, Encoder};
use crate::http::write::CONTINUE;
use crate::http::{Framing, Limits, Method, Name, Progress, Reason, Request, Version};
use crate::io::buffer::{Buf, SIZE};
use crate::io::linger::linger;
use crate::io::reactor::Direction;
use crate::io::stream::Stream;
use crate::io::turn::Slice;
use crate::io::{Error, Result};

/// A head may fill a buffer, with whatever it likes.
const LIMITS: Limits = Limits { head: SIZE, fields: 256, target: SIZE };

/// Octets that `/echo` keeps.
const ECHO_MAX: usize = 1024 * 1024;

/// What happens to a connection after the answer has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It stays open.
    Keep,
    /// It is closed such that the answer arrives whatever the client still sends.
    Close,
    /// It is closed at once, announced or not.
    Cut,
    /// It is reset.
    Reset,
}

/// What a request says, as far as an origin cares.
pub(super) struct OriginRequest {
    pub resource: Resource,
    /// The method is HEAD: no body goes back.
    pub is_head: bool,
    pub version: Version,
    pub persistent: bool,
    pub framing: Framing,
    /// Octets of the body received.
    pub received: u64,
    /// `Content-Type`, where it is sent back.
    pub content_type: Option<Vec<u8>>,
    /// `/echo`: the head and, behind it, the body.
    pub echo: Vec<u8>,
}

impl OriginRequest {
    /// Of the head in `bytes`. Allocates only where octets are sent back.
    fn new(head: &Request, bytes: &[u8]) -> OriginRequest {
        let path = str::from_utf8(head.path.of(bytes)).unwrap_or_default();
        let resource = Resource::of(path);
        let content_type = match resource {
            Resource::EchoBody => head.get(Name::ContentType).map(|value| value.of(bytes).to_vec()),
            _ => None,
        };
        let echo = if resource == Resource::Echo { &bytes[..head.len] } else { &[] };
        OriginRequest {
            resource,
            is_head: head.method == Method::Head,
            version: head.version,
            persistent: head.persistent,
            framing: head.framing,
            received: 0,
            content_type,
            echo: echo.to_vec(),
        }
    }
}

/// Why there is no ordinary answer.
enum RequestError {
    /// The request cannot be understood.
    Refused(Reason),
    /// The connection is of no more use.
    Stream(Error),
}

impl From<Reason> for RequestError {
    fn from(reason: Reason) -> RequestError {
        RequestError::Refused(reason)
    }
}

impl From<Error> for RequestError {
    fn from(error: Error) -> RequestError {
        RequestError::Stream(error)
    }
}

/// Serves a connection from its begin to its end.
pub(super) async fn serve(thread: Rc<OriginThread>, stream: Stream) {
    match serve_requests(&thread, &stream).await {
        Ok(Persistence::Close) => linger(&stream, usize::MAX).await,
        Ok(Persistence::Reset) => stream.reset(),
        // Unread octets would turn this close into a reset, too.
        Ok(Persistence::Cut) => drop(thread.discard(&stream, u64::MAX)),
        // An error is a client that has gone, or was silent for too long: there is nobody to tell.
        Ok(Persistence::Keep) | Err(_) => {}
    }
}

/// Waits for requests with nothing in hand, and serves them as they come.
async fn serve_requests(thread: &OriginThread, stream: &Stream) -> Result<Persistence> {
    let mut answers = 0;
    loop {
        if let Some(limit) = thread.shared.settings.close_idle {
            stream.deadline_in(Direction::Read, limit);
        }
        stream.ready(Direction::Read).await?;
        stream.no_deadline(Direction::Read);
        let mut input = thread.core.pool.head();
        match stream.try_recv(&mut input, SIZE)? {
            None => continue,
            Some(0) => return Err(Error::Closed),
            Some(_) => {}
        }
        let writer = ResponseWriter::new(stream, thread.core.pool.head());
        let mut connection = BusyConnection { thread, stream, input, writer };
        let persistence = connection.serve_input(&mut answers).await?;
        if persistence != Persistence::Keep {
            return Ok(persistence);
        }
    }
}

/// A connection with octets in hand.
pub(super) struct BusyConnection<'t> {
    pub thread: &'t OriginThread,
    pub stream: &'t Stream,
    /// Received and not yet used.
    input: Buf,
    pub writer: ResponseWriter<'t>,
}

impl BusyConnection<'_> {
    /// Answers until the input is used up, or the connection is to end. Answers leave together where their requests
    /// came together.
    async fn serve_input(&mut self, answers: &mut u64) -> Result<Persistence> {
        let mut persistence = Persistence::Keep;
        while persistence == Persistence::Keep && !self.input.is_empty() {
            persistence = match self.exchange().await {
                Ok(persistence) => persistence,
                Err(RequestError::Refused(reason)) => self.refuse(reason).await?,
                Err(RequestError::Stream(error)) => return Err(error),
            };
            *answers += 1;
            let enough = self.thread.shared.settings.close_after.is_some_and(|n| *answers >= n);
            if enough && persistence == Persistence::Keep {
                persistence = Persistence::Cut;
            }
        }
        self.writer.flush().await?;
        Ok(persistence)
    }

    /// One request and its answer.
    async fn exchange(&mut self) -> std::result::Result<Persistence, RequestError> {
        let (mut request, expects_continue) = self.read_head().await?;
        if expects_continue && request.resource != Resource::Early {
            self.writer.put(CONTINUE).await?;
        }
        let persistence = match request.resource {
            Resource::EchoBody => self.echo_body(&mut request).await?,
            Resource::Early => {
                let persistence = self.answer(&request).await?;
                self.read_body(&mut request, None).await?;
                persistence
            }
            Resource::Drop | Resource::Reset | Resource::Garbage => self.answer(&request).await?,
            _ => {
                self.read_body(&mut request, None).await?;
                self.answer(&request).await?
            }
        };
        self.thread.count();
        Ok(persistence)
    }

    /// The next request, and whether its client waits for `100 Continue`.
    async fn read_head(&mut self) -> std::result::Result<(OriginRequest, bool), RequestError> {
        loop {
            let whole = {
                let (bytes, mut head) = (self.input.filled(), self.thread.head.borrow_mut());
                match head.read(bytes, &LIMITS)? {
                    Progress::Complete => {
                        let request = OriginRequest::new(&head, bytes);
                        Some((request, head.expects_continue, head.len))
                    }
                    // The storage is for the next connection, too: this one begins anew.
                    Progress::Partial => {
                        head.clear();
                        None
                    }
                }
            };
            if let Some((request, expects_continue, octets)) = whole {
                self.input.consume(octets);
                return Ok((request, expects_continue));
            }
            self.receive().await?;
        }
    }

    /// Answers with the request's body as it comes.
    async fn echo_body(
        &mut self,
        request: &mut OriginRequest,
    ) -> std::result::Result<Persistence, RequestError> {
        let (framing, persistence) = self.echo_head(request).await?;
        let encoder = Some(Encoder::new(framing)).filter(|_| !request.is_head);
        self.read_body(request, encoder).await?;
        if let Some(encoder) = encoder {
            self.writer.put(&encoder.end(&[])).await?;
        }
        Ok(persistence)
    }

    /// Reads the body; counts it, keeps it for `/echo`, and sends it back where there is an encoder for it.
    async fn read_body(
        &mut self,
        request: &mut OriginRequest,
        echo: Option<Encoder>,
    ) -> std::result::Result<(), RequestError> {
        let (mut decoder, mut slice) = (Decoder::new(request.framing), Slice::default());
        let unseen = echo.is_none() && request.resource != Resource::Echo;
        while !decoder.is_done() {
            if self.input.is_empty() && unseen && decoder.plain() > 0 {
                let octets = self.discard(decoder.plain()).await?;
                decoder.skip(octets);
                request.received += octets;
            } else {
                if self.input.is_empty() {
                    self.receive().await?;
                }
                let decoded = decoder.decode(self.input.filled_mut())?;
                let payload = &self.input.filled()[..decoded.payload];
                request.received += payload.len() as u64;
                if request.resource == Resource::Echo {
                    request.echo.extend_from_slice(payload);
                }
                if let Some(encoder) = echo {
                    self.writer.put_framed(encoder, payload).await?;
                }
                self.input.consume(decoded.consumed);
            }
            if request.echo.len() > ECHO_MAX {
                return Err(Reason::BodyTooLarge.into());
            }
            if slice.spend(SIZE as u64) {
                self.thread.core.reactor.next_turn().await;
            }
        }
        Ok(())
    }

    /// Waits for octets behind those of the input, with all that was made on its way: a client that does not read
    /// stops what it sends from being read.
    async fn receive(&mut self) -> Result<()> {
        self.writer.flush().await?;
        self.input.compact();
        loop {
            self.stream.ready(Direction::Read).await?;
            match self.stream.try_recv(&mut self.input, SIZE)? {
                Some(0) => return Err(Error::Closed),
                Some(_) => return Ok(()),
                None => {}
            }
        }
    }

    /// Waits for octets that nobody needs to see, at most so many, and gives their number; otherwise as `receive`.
    async fn discard(&mut self, most: u64) -> Result<u64> {
        self.writer.flush().await?;
        loop {
            self.stream.ready(Direction::Read).await?;
            match self.thread.discard(self.stream, most)? {
                Some(0) => return Err(Error::Closed),
                Some(octets) => return Ok(octets as u64),
                None => {}
            }
        }
    }
}
