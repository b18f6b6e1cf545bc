//! Requests of one connection, read by the same parser as those of the proxy's clients.

use crate::http::body::Decoder;
use crate::http::{self, Limits, Method, Name, Progress, Reason, Span, Version};
use crate::policy::credentials::{Presented, bearer};

/// Octets a request head may have.
pub(super) const HEAD_MAX: usize = 8 * 1024;

/// Octets a request body may have.
pub(super) const BODY_MAX: usize = 64 * 1024;

/// Fields that a token is in.
const TOKEN_FIELDS: [&str; 3] = ["Authorization", "X-Auth-Token", "X-API-Key"];

const LIMITS: Limits = Limits { head: HEAD_MAX, fields: 64, target: HEAD_MAX };

/// A request as far as the admin cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminRequest {
    pub method: Method,
    pub path: String,
    /// Behind the `?`, without it.
    pub query: String,
    /// That of the target if it names one, else `Host`; empty if an HTTP/1.0 client names none.
    pub host: String,
    /// All `Accept` fields, joined.
    pub accept: String,
    /// All `Content-Type` fields, joined; empty if there is none.
    pub content_type: String,
    /// What is presented as a token; empty where there are several.
    pub token: Option<Vec<u8>>,
    /// At most [`BODY_MAX`] octets.
    pub body: Vec<u8>,
    /// The connection can be used again.
    pub keep: bool,
}

/// What the octets there are amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// There must be more of them.
    Partial,
    /// The same; and the client waits for a `100 Continue` before it sends its body.
    Expectant,
    /// A whole request.
    Request(AdminRequest),
}

/// Reads one request after the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: http::Request,
    /// Octets that came and are not read yet.
    input: Vec<u8>,
    /// A request whose body is not whole yet.
    begun: Option<(AdminRequest, Decoder)>,
}

impl Reader {
    /// What a client is late with; `None`: it has asked nothing.
    pub fn late(&self) -> Option<Reason> {
        if self.begun.is_some() {
            return Some(Reason::BodyTimeout);
        }
        (!self.input.is_empty()).then_some(Reason::HeadTimeout)
    }

    /// Takes octets that came.
    pub fn feed(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// Reads on. An error is why the request is refused; the connection cannot go on after it.
    pub fn read(&mut self) -> Result<Read, Reason> {
        let mut waits = false;
        if self.begun.is_none() {
            if self.head.read(&self.input, &LIMITS)? == Progress::Partial {
                return Ok(Read::Partial);
            }
            let decoder = Decoder::new(self.head.framing);
            if decoder.plain() > BODY_MAX as u64 {
                return Err(Reason::BodyTooLarge);
            }
            self.begun = Some((request(&self.head, &self.input), decoder));
            self.input.drain(..self.head.len);
            waits = self.head.expects_continue && self.input.is_empty();
        }
        let Some((request, decoder)) = &mut self.begun else { return Ok(Read::Partial) };
        let decoded = decoder.decode(&mut self.input)?;
        request.body.extend_from_slice(&self.input[..decoded.payload]);
        self.input.drain(..decoded.consumed);
        if request.body.len() > BODY_MAX {
            return Err(Reason::BodyTooLarge);
        }
        match self.begun.take_if(|_| decoded.done) {
            Some((request, _)) => Ok(Read::Request(request)),
            None if waits => Ok(Read::Expectant),
            None => Ok(Read::Partial),
        }
    }
}

fn request(head: &http::Request, bytes: &[u8]) -> AdminRequest {
    let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
    let target = text(head.path);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let all = |name: Name| {
        let fields = head.fields.iter().filter(|field| name == field.id);
        fields.map(|field| text(field.value)).collect::<Vec<_>>().join(",")
    };
    AdminRequest {
        method: head.method,
        path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        query: query.to_owned(),
        host: text(head.host),
        accept: all(Name::Accept),
        content_type: all(Name::ContentType),
        token: match bearer(&TOKEN_FIELDS.map(str::to_owned), head, bytes) {
            Presented::Nothing => None,
            Presented::One(token) => Some(token.to_vec()),
            Presented::Ambiguous | Presented::TooLong => Some(Vec::new()),
        },
        body: Vec::new(),
        keep: head.persistent && head.version == Version::Http11,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reader makes of `text`, given octet by octet.
    fn read(text: &str) -> Result<Option<AdminRequest>, Reason> {
        let mut reader = Reader::default();
        for octet in text.as_bytes() {
            reader.feed(&[*octet]);
            if let Read::Request(request) = reader.read()? {
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = "GET /metrics?format=json HTTP/1.1\r\nHost: localhost:8082\r\n\
                    Accept: a/b\r\naccept: c/d\r\n\r\n";
        assert_eq!(read(&text[..text.len() - 1]), Ok(None));
        let request = read(text).unwrap().unwrap();
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/metrics", "format=json"));
        assert_eq!((request.accept.as_str(), request.host.as_str()), ("a/b,c/d", "localhost:8082"));
        assert!(request.keep && request.body.is_empty());
    }

    #[test]
    fn requests_follow_each_other_with_bodies_of_any_framing() {
        let mut reader = Reader::default();
        reader.feed(
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
              POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n\
              GET /c HTTP/1.0\r\n\r\n",
        );
        for (path, body, keep) in [("/a", "hi", true), ("/b", "ho", true), ("/c", "", false)] {
            let Ok(Read::Request(request)) = reader.read() else { panic!("{path}") };
            assert_eq!((request.path.as_str(), request.keep), (path, keep));
            assert_eq!(request.body, body.as_bytes());
        }
        assert_eq!(reader.read(), Ok(Read::Partial));
        assert_eq!(reader.late(), None);
        reader.feed(b"G");
        assert_eq!(reader.late(), Some(Reason::HeadTimeout));
    }

    #[test]
    fn who_waits_before_a_body_is_told_to_go_on_once() {
        let mut reader = Reader::default();
        let head =
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        reader.feed(head);
        assert_eq!(reader.read(), Ok(Read::Expectant));
        assert_eq!(reader.read(), Ok(Read::Partial));
        assert_eq!(reader.late(), Some(Reason::BodyTimeout));
        reader.feed(b"hi");
        assert!(matches!(reader.read(), Ok(Read::Request(_))));
    }

    #[test]
    fn requests_are_refused_for_a_reason() {
        let long = format!("Content-Length: {}", BODY_MAX + 1);
        let chunks = format!("{:x}\r\n{}\r\n", BODY_MAX / 2, "a".repeat(BODY_MAX / 2)).repeat(3);
        for (text, reason) in [
            ("GET / HTTP/1.1\r\n\r\n", Reason::MissingHost),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Reason::DuplicateHost),
            ("GET / HTTP/2.0\r\n\r\n", Reason::VersionNotSupported),
            ("\0", Reason::BadRequestLine),
            (&format!("GET / HTTP/1.1\r\nA: {}\r\n", "a".repeat(HEAD_MAX)), Reason::HeadTooLarge),
            (&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65)), Reason::TooManyFields),
            (&format!("POST / HTTP/1.1\r\nHost: a\r\n{long}\r\n\r\n"), Reason::BodyTooLarge),
            (
                &format!(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
                ),
                Reason::BodyTooLarge,
            ),
        ] {
            assert_eq!(read(text), Err(reason), "{text:.60}");
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        let text = "GET http://evil.example?a HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let request = read(text).unwrap().unwrap();
        assert_eq!((request.host.as_str(), request.path.as_str()), ("evil.example", "/"));
    }
}
