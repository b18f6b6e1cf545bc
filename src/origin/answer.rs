//! What is answered: the head, a small body at once, and the source of a large one.

use std::io::Write;
use std::time::Instant;

use super::request::{Body, Head};
use super::source::Source;
use super::task::{PATHS, Task};
use super::{Settings, Shared, total};

const TEXT: &str = "text/plain; charset=utf-8";
const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// A request whose body has been read, or need not be.
#[derive(Debug)]
pub(super) struct Asked {
    pub task: Task,
    /// The method is HEAD: no body goes back.
    pub bodiless: bool,
    pub minor: u8,
    pub keep: bool,
    pub kind: Option<String>,
    /// The length of the body as its head announced it; `None`: chunked.
    pub announced: Option<u64>,
    /// Octets of the body received.
    pub received: u64,
    /// `/echo`: the head and, behind it, the body.
    pub echo: Vec<u8>,
}

impl Asked {
    pub fn new(head: &Head) -> Asked {
        Asked {
            task: head.task,
            bodiless: head.bodiless,
            minor: head.minor,
            keep: head.keep,
            kind: head.kind.clone(),
            announced: match head.body {
                Body::Done => Some(0),
                Body::Length(length) => Some(length),
                _ => None,
            },
            received: 0,
            echo: Vec::new(),
        }
    }

    /// The answer to `/echo-body` has chunks of its own.
    pub fn echoes_chunks(&self) -> bool {
        self.announced.is_none() && self.minor == 1
    }
}

/// What becomes of the connection when the answer has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It stays open.
    Keep,
    /// It is closed such that the answer arrives whatever the client still sends.
    Close,
    /// It is closed at once, announced or not.
    Cut,
    /// It is reset.
    Reset,
}

/// How long the body of an answer is.
#[derive(Clone, Copy)]
enum Length {
    Octets(u64),
    Chunked,
    /// No field tells: it ends with the connection, or there cannot be one.
    Untold,
}

/// The head of an answer.
struct Reply<'a> {
    status: u16,
    kind: &'a str,
    length: Length,
    /// More fields, each with its line end.
    fields: &'a str,
}

/// The whole answer to a plain HTTP/1.1 `GET /`.
pub(super) fn message(settings: &Settings) -> Vec<u8> {
    let mut out = Vec::new();
    let length = Length::Octets(settings.message.len() as u64);
    let reply = Reply { status: 200, kind: TEXT, length, fields: "" };
    reply.write(&mut out, settings, 1, true);
    out.extend_from_slice(settings.message.as_bytes());
    out
}

/// The answer to a request that cannot be understood; the connection closes behind it.
pub(super) fn refuse(out: &mut Vec<u8>, settings: &Settings, status: u16) {
    let reply = Reply { status, kind: TEXT, length: Length::Octets(0), fields: "" };
    reply.write(out, settings, 1, false);
}

/// Answers what was asked.
pub(super) fn write(
    asked: &Asked,
    shared: &Shared,
    now: Instant,
    out: &mut Vec<u8>,
) -> (Source, Ending) {
    let settings = &shared.settings;
    let chunks = if asked.minor == 1 { Length::Chunked } else { Length::Untold };
    let mut reply = Reply { status: 200, kind: OCTETS, length: chunks, fields: "" };
    let source = match asked.task {
        Task::Message if asked.minor == 1 && asked.keep && !asked.bodiless => {
            out.extend_from_slice(&shared.plain);
            return (Source::Empty, Ending::Keep);
        }
        Task::Drop => return (Source::Empty, Ending::Cut),
        Task::Reset => return (Source::Empty, Ending::Reset),
        Task::Garbage => {
            out.extend_from_slice(b"this is not HTTP\r\n\r\n");
            return (Source::Empty, Ending::Cut);
        }
        Task::Bytes(end) => {
            reply.length = Length::Octets(end);
            Source::Pattern { at: 0, end }
        }
        Task::UntilClose(end) => {
            reply.length = Length::Untold;
            Source::Pattern { at: 0, end }
        }
        Task::Chunked { octets: end, .. } if asked.minor == 0 => Source::Pattern { at: 0, end },
        Task::Chunked { octets: end, trailer } => {
            reply.fields = if trailer { "Trailer: X-Trailer\r\n" } else { "" };
            Source::Chunks { at: 0, end, trailer }
        }
        Task::Stream { lines: end, every } => {
            reply.kind = TEXT;
            Source::Lines { next: 0, end, due: now, every, chunked: asked.minor == 1 }
        }
        Task::EchoBody => {
            reply.kind = asked.kind.as_deref().unwrap_or(OCTETS);
            reply.length = asked.announced.map_or(chunks, Length::Octets);
            Source::Empty
        }
        Task::Delay(delay) => {
            let mut octets = Vec::new();
            let ending = small(asked, shared, &mut octets);
            return (Source::Later { due: now + delay, octets }, ending);
        }
        _ => return (Source::Empty, small(asked, shared, out)),
    };
    let keep = asked.keep && !matches!(reply.length, Length::Untold);
    reply.write(out, settings, asked.minor, keep);
    (if asked.bodiless { Source::Empty } else { source }, ending(keep))
}

/// Answers with a body that is made at once.
fn small(asked: &Asked, shared: &Shared, out: &mut Vec<u8>) -> Ending {
    let settings = &shared.settings;
    let mut status = 200;
    let mut kind = TEXT;
    let mut body = settings.message.clone().into_bytes();
    match asked.task {
        Task::Health => body = b"ok\n".to_vec(),
        Task::Upload => body = format!("{}\n", asked.received).into_bytes(),
        Task::Unknown => (status, body) = (404, PATHS.as_bytes().to_vec()),
        Task::Status(code) => (status, body) = (code, format!("{code}\n").into_bytes()),
        Task::Whoami => (kind, body) = (JSON, whoami(shared)),
        Task::Echo => body.clone_from(&asked.echo),
        Task::Hints if asked.minor == 1 => out.extend_from_slice(
            b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n",
        ),
        _ => {}
    }
    let length = match status {
        204 | 304 => Length::Untold,
        205 => Length::Octets(0),
        _ => Length::Octets(body.len() as u64),
    };
    let keep = asked.keep && asked.task != Task::Close;
    Reply { status, kind, length, fields: "" }.write(out, settings, asked.minor, keep);
    if !asked.bodiless && !matches!(status, 204 | 205 | 304) {
        out.extend_from_slice(&body);
    }
    ending(keep)
}

fn ending(keep: bool) -> Ending {
    if keep { Ending::Keep } else { Ending::Close }
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

impl Reply<'_> {
    /// Writes the head; writing to a `Vec` cannot fail.
    fn write(&self, out: &mut Vec<u8>, settings: &Settings, minor: u8, keep: bool) {
        let phrase = phrase(self.status);
        let _ = write!(out, "HTTP/1.1 {} {phrase}\r\nX-Origin: {}\r\n", self.status, settings.name);
        if !matches!(self.length, Length::Octets(0)) {
            let _ = write!(out, "Content-Type: {}\r\n", self.kind);
        }
        let _ = match self.length {
            Length::Octets(octets) => write!(out, "Content-Length: {octets}\r\n"),
            Length::Chunked => write!(out, "Transfer-Encoding: chunked\r\n"),
            Length::Untold => Ok(()),
        };
        let connection = match (keep, minor) {
            (true, 0) => "Connection: keep-alive\r\n",
            (true, _) => "",
            (false, _) => "Connection: close\r\n",
        };
        let _ = write!(out, "{}{connection}\r\n", self.fields);
    }
}

/// The phrase behind a status; clients do not read it.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "",
    }
}
