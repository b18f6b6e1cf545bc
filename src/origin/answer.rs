//! What each resource answers: the head, and the body behind it.

use std::borrow::Cow;
use std::future::poll_fn;
use std::time::Duration;

use futures_lite::FutureExt;

use super::connection::{BusyConnection, OriginRequest, Persistence};
use super::pattern::PatternRange;
use super::resource::{PATHS, Resource};
use super::{OriginSettings, Shared, total};
use crate::http::body::Encoder;
use crate::http::write::{Full, Writer, phrase};
use crate::http::{Framing, Reason, Version, outward};
use crate::io::alarm::Alarm;
use crate::io::clock::Moment;
use crate::io::{Error, Result};

const TEXT: &[u8] = b"text/plain; charset=utf-8";
const OCTETS: &[u8] = b"application/octet-stream";
const JSON: &[u8] = b"application/json";

/// Octets of a head of ours, without what a client sends along; it bounds the name.
const HEAD_MAX: usize = 4096;

/// The head of an answer.
struct ResponseHead<'a> {
    status: u16,
    content_type: &'a [u8],
    framing: Framing,
    /// More fields, each with its line end.
    fields: &'a [u8],
    version: Version,
    persistent: bool,
}

impl ResponseHead<'_> {
    fn write(&self, out: &mut Writer, name: &str) -> std::result::Result<(), Full> {
        out.put(b"HTTP/1.1 ")?;
        out.decimal(self.status.into())?;
        let phrase = phrase(self.status).as_bytes();
        out.put_all(&[b" ", phrase, b"\r\nX-Origin: ", name.as_bytes(), b"\r\n"])?;
        if self.framing != Framing::Length(0) {
            out.put_all(&[b"Content-Type: ", self.content_type, b"\r\n"])?;
        }
        match self.framing {
            Framing::Length(octets) => {
                out.put(b"Content-Length: ")?;
                out.decimal(octets)?;
                out.put(b"\r\n")?;
            }
            Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n")?,
            Framing::None | Framing::UntilClose => {}
        }
        let connection: &[u8] = match (self.persistent, self.version) {
            (true, Version::Http10) => b"Connection: keep-alive\r\n",
            (true, Version::Http11) => b"",
            (false, _) => b"Connection: close\r\n",
        };
        out.put_all(&[self.fields, connection, b"\r\n"])
    }
}

/// The whole answer to a plain HTTP/1.1 `GET /`. Fails where the name is too long for any answer.
pub(super) fn plain(settings: &OriginSettings) -> std::result::Result<Vec<u8>, Full> {
    let head = ResponseHead {
        status: 200,
        content_type: TEXT,
        framing: Framing::Length(settings.message.len() as u64),
        fields: b"",
        version: Version::Http11,
        persistent: true,
    };
    let mut room = [0; HEAD_MAX];
    let mut out = Writer::new(&mut room);
    head.write(&mut out, &settings.name)?;
    Ok([out.written(), settings.message.as_bytes()].concat())
}

impl BusyConnection<'_> {
    /// Answers a request whose body has been read, or need not be.
    pub async fn answer(&mut self, request: &OriginRequest) -> Result<Persistence> {
        let chunks = outward(Framing::Chunked, request.version);
        match request.resource {
            Resource::Message if is_plain(request) => {
                self.writer.put(&self.thread.shared.plain).await?;
                Ok(Persistence::Keep)
            }
            Resource::Drop => Ok(Persistence::Cut),
            Resource::Reset => Ok(Persistence::Reset),
            Resource::Garbage => {
                self.writer.put(b"this is not HTTP\r\n\r\n").await?;
                Ok(Persistence::Cut)
            }
            Resource::Bytes(octets) => {
                let framing = Framing::Length(octets);
                self.large(request, framing, b"", PatternRange::plain(0, octets), b"").await
            }
            Resource::UntilClose(octets) => {
                self.large(request, Framing::UntilClose, b"", PatternRange::plain(0, octets), b"")
                    .await
            }
            Resource::Chunked { octets, .. } if chunks != Framing::Chunked => {
                self.large(request, chunks, b"", PatternRange::plain(0, octets), b"").await
            }
            Resource::Chunked { octets, trailer } => {
                let (fields, trailers): (&[u8], &[u8]) = match trailer {
                    true => (b"Trailer: X-Trailer\r\n", b"X-Trailer: 1\r\n"),
                    false => (b"", b""),
                };
                let (part, mut last) = PatternRange::chunked(octets);
                last.extend_from_slice(&Encoder::Chunked.end(trailers));
                self.large(request, chunks, fields, part, &last).await
            }
            Resource::Stream { lines, every } => self.lines(request, chunks, lines, every).await,
            Resource::Delay(delay) => {
                let due = self.thread.now() + delay;
                self.wait(&Alarm::new(self.stream.reactor())?, due).await?;
                self.small(request).await
            }
            _ => self.small(request).await,
        }
    }

    /// Answers a request that cannot be understood; the connection closes behind it.
    pub async fn refuse(&mut self, reason: Reason) -> Result<Persistence> {
        let head = ResponseHead {
            status: reason.status().unwrap_or(400),
            content_type: TEXT,
            framing: Framing::Length(0),
            fields: b"",
            version: Version::Http11,
            persistent: false,
        };
        self.head(&head).await
    }

    /// The head of an answer that has the request's body, and how that is framed.
    pub async fn echo_head(&mut self, request: &OriginRequest) -> Result<(Framing, Persistence)> {
        let framing = match request.framing {
            Framing::None => Framing::Length(0),
            other => outward(other, request.version),
        };
        let content_type = request.content_type.as_deref().unwrap_or(OCTETS);
        let persistence = self.body_head(request, content_type, framing, b"").await?;
        Ok((framing, persistence))
    }

    /// Answers with a body that is sent from where it lies, and `last` behind it.
    async fn large(
        &mut self,
        request: &OriginRequest,
        framing: Framing,
        fields: &[u8],
        part: PatternRange,
        last: &[u8],
    ) -> Result<Persistence> {
        let persistence = self.body_head(request, OCTETS, framing, fields).await?;
        if !request.is_head {
            self.writer.send(part, last).await?;
        }
        Ok(persistence)
    }

    /// Answers with lines, one each time so much time has passed.
    async fn lines(
        &mut self,
        request: &OriginRequest,
        framing: Framing,
        lines: u64,
        every: Duration,
    ) -> Result<Persistence> {
        let persistence = self.body_head(request, TEXT, framing, b"").await?;
        if request.is_head {
            return Ok(persistence);
        }
        let (encoder, mut due) = (Encoder::new(framing), self.thread.now());
        let alarm = (!every.is_zero()).then(|| Alarm::new(self.stream.reactor())).transpose()?;
        for number in 0..lines {
            if let Some(alarm) = &alarm {
                self.wait(alarm, due).await?;
                due = due + every;
            }
            let line = format!("line {number}\n");
            self.writer.put_framed(encoder, line.as_bytes()).await?;
        }
        self.writer.put(&encoder.end(&[])).await?;
        Ok(persistence)
    }

    /// Answers with a body that is made at once.
    async fn small(&mut self, request: &OriginRequest) -> Result<Persistence> {
        let shared = &*self.thread.shared;
        if request.resource == Resource::Hints && request.version == Version::Http11 {
            let hints = b"HTTP/1.1 103 Early Hints\r\n\
                          Link: </style.css>; rel=preload; as=style\r\n\r\n";
            self.writer.put(hints).await?;
        }
        let (status, content_type, body) = small_body(request, shared);
        let (framing, has_body) = match status {
            204 | 304 => (Framing::None, false),
            205 => (Framing::Length(0), false),
            _ => (Framing::Length(body.len() as u64), !request.is_head),
        };
        let (version, fields) = (request.version, &b""[..]);
        let persistent = request.persistent && request.resource != Resource::Close;
        let head = ResponseHead { status, content_type, framing, fields, version, persistent };
        let persistence = self.head(&head).await?;
        if has_body {
            self.writer.put(&body).await?;
        }
        Ok(persistence)
    }

    /// The head of a 200 with a body; one that only the end of the connection ends has it closed.
    async fn body_head(
        &mut self,
        request: &OriginRequest,
        content_type: &[u8],
        framing: Framing,
        fields: &[u8],
    ) -> Result<Persistence> {
        let persistent = request.persistent && framing != Framing::UntilClose;
        let (status, version) = (200, request.version);
        self.head(&ResponseHead { status, content_type, framing, fields, version, persistent })
            .await
    }

    async fn head(&mut self, head: &ResponseHead<'_>) -> Result<Persistence> {
        let name = &self.thread.shared.settings.name;
        self.writer.write(|out| head.write(out, name)).await?;
        Ok(if head.persistent { Persistence::Keep } else { Persistence::Close })
    }

    /// Sends what was made, and waits until `due`; fails once the client is gone.
    async fn wait(&mut self, alarm: &Alarm, due: Moment) -> Result<()> {
        self.writer.flush().await?;
        let gone = async {
            poll_fn(|cx| self.stream.poll_closed(false, cx)).await?;
            Err(Error::Closed)
        };
        alarm.until(due).or(gone).await
    }
}

/// The answer lies ready.
fn is_plain(request: &OriginRequest) -> bool {
    request.version == Version::Http11 && request.persistent && !request.is_head
}

/// Status, content type and body of an answer that is made at once.
fn small_body<'a>(
    request: &'a OriginRequest,
    shared: &'a Shared,
) -> (u16, &'static [u8], Cow<'a, [u8]>) {
    match request.resource {
        Resource::Health => (200, TEXT, b"ok\n".into()),
        Resource::Upload => (200, TEXT, format!("{}\n", request.received).into_bytes().into()),
        Resource::Unknown => (404, TEXT, PATHS.as_bytes().into()),
        Resource::Status(code) => (code, TEXT, format!("{code}\n").into_bytes().into()),
        Resource::Whoami => (200, JSON, whoami(shared).into()),
        Resource::Echo => (200, TEXT, request.echo.as_slice().into()),
        _ => (200, TEXT, shared.settings.message.as_bytes().into()),
    }
}

fn whoami(shared: &Shared) -> Vec<u8> {
    let who = serde_json::json!({
        "name": shared.settings.name,
        "port": shared.settings.listen.port(),
        "pid": std::process::id(),
        "requests": total(&shared.served),
    });
    format!("{who}\n").into_bytes()
}
