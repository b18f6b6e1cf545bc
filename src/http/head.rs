//! Heads: read into spans and judged (RFC 9112 sections 2 to 6).
//!
//! ```text
//!   start line incomplete -> field lines incomplete -> judged: Complete
//!           |                        |                   |
//!           +------------------------+-------------------+--> refused: a Reason
//! ```
//! A start line is judged as soon as it is there, the field lines when all of them are. So garbage is refused early, and
//! the verdict is the same however the octets arrive.

use super::close::Reason;
use super::fields::{self, Field, Name, Seen, Span};
use super::framing::{self, Claims, Framing};
use super::grammar;
use super::session::Options;

/// Empty lines tolerated before a request line (RFC 9112 section 2.2); old clients end a body with one.
const EMPTY_LINES: usize = 2;
/// Longest method.
const METHOD: usize = 32;
/// What a request line has besides its target: method, two spaces, version, line end.
const AROUND_TARGET: usize = METHOD + 2 + 8 + 2;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

impl Version {
    fn of(text: &[u8]) -> Result<Version, Reason> {
        match text {
            b"HTTP/1.1" => Ok(Version::Http11),
            b"HTTP/1.0" => Ok(Version::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                Err(Reason::VersionNotSupported)
            }
            _ => Err(Reason::BadRequestLine),
        }
    }
}

/// A request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// Looks `text` up; methods are case-sensitive.
    pub fn of(text: &[u8]) -> Method {
        match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Other,
        }
    }

    /// It only reads (RFC 9110 section 9.2.1).
    pub const fn is_safe(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options | Method::Trace)
    }

    /// Twice is as good as once (RFC 9110 section 9.2.2).
    pub const fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Method::Put | Method::Delete)
    }
}

/// Whether a head is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More octets are needed; call `read` again with the same ones and more.
    Partial,
    /// The head is complete and good.
    Complete,
}

/// Bounds of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the whole head, at most 65535.
    pub head: usize,
    /// Field lines, at most 100.
    pub fields: usize,
    /// Octets of a request target.
    pub target: usize,
}

impl Default for Limits {
    /// 16 KiB and 100 fields; a target of 8 KiB.
    fn default() -> Self {
        Limits { head: 16 * 1024, fields: fields::MOST, target: 8192 }
    }
}

impl Limits {
    /// The part of `bytes` a head may lie in, and whether more could be added to it.
    fn window<'b>(&self, bytes: &'b [u8]) -> (&'b [u8], bool) {
        let most = self.head.min(usize::from(u16::MAX));
        (&bytes[..bytes.len().min(most)], bytes.len() < most)
    }
}

/// A request head. Make one for each connection and [`Request::read`] one head after the other into it.
///
/// The spans are those of the bytes given to the last `read`, and mean something once it said
/// [`Progress::Complete`].
#[derive(Debug, Default)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The method as it came.
    pub method_text: Span,
    /// The request target as it came.
    pub target: Span,
    /// The version of the client.
    pub version: Version,
    /// The field lines, in order.
    pub fields: Vec<Field>,
    /// Octets of the head, with any empty lines before it.
    pub len: usize,
    /// The effective authority (RFC 9112 section 3.3): of an absolute-form target, else `Host`. Valid; empty
    /// only for HTTP/1.0 without `Host`.
    pub host: Span,
    /// Path and query of the target: starts with `/`; or is empty or starts with `?` (from an absolute-form
    /// target); or is `*`.
    pub path: Span,
    /// How long the body is; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// The client lets the connection go on.
    pub persistent: bool,
    /// The client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
    /// `Connection` names fields to be removed.
    pub(super) names_fields: bool,
    /// There was a `Content-Length`, if only of 0.
    pub(super) has_length: bool,
    /// `Max-Forwards` where it counts: in `OPTIONS` and `TRACE`.
    pub(super) max_forwards: Option<u64>,
    seen: Seen,
}

impl Request {
    /// Reads and judges the head at the beginning of `bytes`.
    ///
    /// While it is `Partial`, call again with the same octets and more. After `Complete` or an error the next call
    /// begins a new head. Anything that RFC 9112 or common sense finds ambiguous is refused with the [`Reason`].
    pub fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Reason> {
        let outcome = self.advance(bytes, limits);
        if outcome != Ok(Progress::Partial) {
            self.seen = Seen::default();
        }
        outcome
    }

    /// Forgets a head that was read in part only.
    pub fn clear(&mut self) {
        self.seen = Seen::default();
        self.fields.clear();
    }

    /// The value of the first field called `name`; not for [`Name::Other`].
    pub fn get(&self, name: Name) -> Option<Span> {
        get(&self.fields, name)
    }

    fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Reason> {
        let (window, room) = limits.window(bytes);
        if self.seen.lines == 0 && !self.start_line(window, room, limits)? {
            return Ok(Progress::Partial);
        }
        match fields::read(window, &mut self.seen, &mut self.fields, limits.fields)? {
            None if room => Ok(Progress::Partial),
            None => Err(Reason::HeadTooLarge),
            Some(len) => {
                self.len = len;
                self.judge(bytes)?;
                Ok(Progress::Complete)
            }
        }
    }

    /// Finds and judges the request line; `false` when it is not all there. What is there is checked for octets that
    /// no request line has: that is how other protocols give themselves away.
    fn start_line(&mut self, window: &[u8], room: bool, limits: &Limits) -> Result<bool, Reason> {
        let start = empty_lines(window);
        let most = window.len().min(start + limits.target + AROUND_TARGET);
        let from = self.seen.to.clamp(start, most);
        let end = memchr::memchr(b'\n', &window[from..most]).map(|len| from + len);
        let news = &window[from..end.unwrap_or(most)];
        let text = news.strip_suffix(b"\r").unwrap_or(news);
        let bad = text.iter().fold(false, |bad, b| bad | !matches!(b, b' '..=b'~'));
        if bad {
            let tls = start == 0 && window[0] == 0x16;
            return Err(if tls { Reason::TlsHandshake } else { Reason::BadRequestLine });
        }
        let line = &window[start..from + text.len()];
        if line.len() > METHOD && memchr::memchr(b' ', &line[..=METHOD]).is_none() {
            return Err(Reason::BadRequestLine);
        }
        if end.is_some() {
            if text.len() == news.len() {
                return Err(Reason::BareLineFeed);
            }
            self.request_line(line, start, limits)?;
            self.seen = Seen::after(start + line.len() + 2);
            return Ok(true);
        }
        if most < window.len() || !room {
            return Err(Reason::TargetTooLong);
        }
        self.seen.to = from + text.len();
        Ok(false)
    }

    /// `method SP request-target SP HTTP-version`, all visible ASCII already (RFC 9112 section 3).
    fn request_line(&mut self, line: &[u8], at: usize, limits: &Limits) -> Result<(), Reason> {
        let method = memchr::memchr(b' ', line).ok_or(Reason::BadRequestLine)?;
        let rest = &line[method + 1..];
        let target = memchr::memchr(b' ', rest).ok_or(Reason::BadRequestLine)?;
        let version = &rest[target + 1..];
        if !grammar::is_token(&line[..method]) {
            return Err(Reason::BadMethod);
        }
        self.version = Version::of(version)?;
        self.method = Method::of(&line[..method]);
        self.method_text = Span::new(at, at + method);
        let start = at + method + 1;
        self.target = Span::new(start, start + target);
        if target > limits.target {
            return Err(Reason::TargetTooLong);
        }
        self.split_target(&rest[..target], start)
    }

    /// The four forms of a request target (RFC 9112 section 3.2). Sets `path`, and `host` if the target has one.
    fn split_target(&mut self, target: &[u8], at: usize) -> Result<(), Reason> {
        self.host = Span::default();
        if self.method == Method::Connect {
            return Err(Reason::ConnectNotSupported);
        }
        if !grammar::is_target(target) {
            return Err(Reason::BadTarget);
        }
        if target[0] == b'/' || (target == b"*" && self.method == Method::Options) {
            self.path = self.target;
            return Ok(());
        }
        let scheme = scheme(target).ok_or(Reason::BadTarget)?;
        let rest = &target[scheme..];
        let authority = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
        if !grammar::is_authority(&rest[..authority]) {
            return Err(Reason::InvalidHost);
        }
        let path = at + scheme + authority;
        self.host = Span::new(at + scheme, path);
        self.path = Span::new(path, self.target.end());
        Ok(())
    }

    fn judge(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        self.judge_host(bytes)?;
        let claims = Claims::of(&self.fields, bytes);
        self.framing = framing::of_request(self.version, &claims)?;
        self.has_length = claims.length()?.is_some();
        let options = Options::of(&self.fields, bytes)?;
        self.persistent = options.persistent(self.version);
        self.names_fields = options.others;
        self.judge_expect(bytes)?;
        self.judge_max_forwards(bytes)
    }

    /// Exactly one valid `Host` (RFC 9112 section 3.2), even if an authority in the target overrides it.
    fn judge_host(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let mut hosts = self.fields.iter().filter(|field| field.id == Name::Host);
        let Some(host) = hosts.next() else {
            let needed = self.version == Version::Http11;
            return if needed { Err(Reason::MissingHost) } else { Ok(()) };
        };
        if hosts.next().is_some() {
            return Err(Reason::DuplicateHost);
        }
        if !grammar::is_authority(host.value.of(bytes)) {
            return Err(Reason::InvalidHost);
        }
        if self.host.is_empty() {
            self.host = host.value;
        }
        Ok(())
    }

    /// `Expect` (RFC 9110 section 10.1.1): HTTP/1.0 has none, and without a body there is nothing to wait for.
    fn judge_expect(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        self.expects_continue = false;
        if self.version == Version::Http10 {
            return Ok(());
        }
        for field in self.fields.iter().filter(|field| field.id == Name::Expect) {
            if !field.value.of(bytes).eq_ignore_ascii_case(b"100-continue") {
                return Err(Reason::UnknownExpectation);
            }
            self.expects_continue = self.framing != Framing::None;
        }
        Ok(())
    }

    /// `Max-Forwards` counts in `OPTIONS` and `TRACE` (RFC 9110 section 7.6.2).
    fn judge_max_forwards(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        self.max_forwards = None;
        if !matches!(self.method, Method::Options | Method::Trace) {
            return Ok(());
        }
        if let Some(value) = self.get(Name::MaxForwards) {
            self.max_forwards = grammar::digits(value.of(bytes));
            if self.max_forwards == Some(0) {
                return Err(Reason::MaxForwardsSpent);
            }
        }
        Ok(())
    }
}

/// A response head; see [`Request`].
#[derive(Debug, Default)]
pub struct Response {
    /// The status code, 100 to 599.
    pub status: u16,
    /// The reason phrase.
    pub reason: Span,
    /// The version of the upstream.
    pub version: Version,
    /// The field lines, in order.
    pub fields: Vec<Field>,
    /// Octets of the head.
    pub len: usize,
    /// How long the body is.
    pub framing: Framing,
    /// The upstream lets the connection go on.
    pub persistent: bool,
    /// The `Content-Length`, also where there is no body to measure (`HEAD`, 304).
    pub(super) length: Option<u64>,
    /// `Connection` names fields to be removed.
    pub(super) names_fields: bool,
    /// The method of the request.
    pub(super) asked: Method,
    seen: Seen,
}

impl Response {
    /// Reads and judges the response head at the beginning of `bytes`; `asked` is the method of the request it
    /// answers. Otherwise as [`Request::read`]; the reasons are those of an upstream at fault.
    pub fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        asked: Method,
    ) -> Result<Progress, Reason> {
        let outcome = self.advance(bytes, limits, asked).map_err(Reason::by_upstream);
        if outcome != Ok(Progress::Partial) {
            self.seen = Seen::default();
        }
        outcome
    }

    /// Forgets a head that was read in part only.
    pub fn clear(&mut self) {
        self.seen = Seen::default();
        self.fields.clear();
    }

    /// The value of the first field called `name`; not for [`Name::Other`].
    pub fn get(&self, name: Name) -> Option<Span> {
        get(&self.fields, name)
    }

    /// It only announces the answer: 1xx (101 never gets here).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        asked: Method,
    ) -> Result<Progress, Reason> {
        let (window, room) = limits.window(bytes);
        if self.seen.lines == 0 && !self.start_line(window)? {
            return if room { Ok(Progress::Partial) } else { Err(Reason::HeadTooLarge) };
        }
        match fields::read(window, &mut self.seen, &mut self.fields, limits.fields)? {
            None if room => Ok(Progress::Partial),
            None => Err(Reason::HeadTooLarge),
            Some(len) => {
                self.len = len;
                self.judge(bytes, asked)?;
                Ok(Progress::Complete)
            }
        }
    }

    /// Finds and judges the status line; `false` when it is not all there. Nothing may come before it.
    fn start_line(&mut self, window: &[u8]) -> Result<bool, Reason> {
        let known = window.len().min(7);
        if window[..known] != b"HTTP/1."[..known] {
            return Err(Reason::MalformedResponse);
        }
        let Some(len) = memchr::memchr(b'\n', &window[self.seen.to..]) else {
            self.seen.to = window.len();
            return Ok(false);
        };
        let end = self.seen.to + len;
        let line = window[..end].strip_suffix(b"\r").ok_or(Reason::BareLineFeed)?;
        self.status_line(line)?;
        self.seen = Seen::after(end + 1);
        Ok(true)
    }

    /// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 section 4). Many leave the second space
    /// out when there is no phrase; that hurts nobody.
    fn status_line(&mut self, line: &[u8]) -> Result<(), Reason> {
        let malformed = Reason::MalformedResponse;
        let (version, rest) = line.split_at_checked(8).ok_or(malformed)?;
        self.version = Version::of(version)?;
        let Some(([b' ', code @ ..], rest)) = rest.split_first_chunk::<4>() else {
            return Err(malformed);
        };
        let status = grammar::digits(code).filter(|status| (100..600).contains(status));
        self.status = status.ok_or(malformed)? as u16;
        self.reason = match rest {
            [] => Span::new(line.len(), line.len()),
            [b' ', phrase @ ..] if phrase.iter().all(|b| grammar::is_value(*b)) => {
                Span::new(13, line.len())
            }
            _ => return Err(malformed),
        };
        Ok(())
    }

    fn judge(&mut self, bytes: &[u8], asked: Method) -> Result<(), Reason> {
        if self.status == 101 {
            return Err(Reason::UnaskedUpgrade);
        }
        let claims = Claims::of(&self.fields, bytes);
        self.framing = framing::of_response(self.status, asked, self.version, &claims)?;
        self.length = claims.length()?;
        let options = Options::of(&self.fields, bytes)?;
        self.asked = asked;
        self.names_fields = options.others;
        // A 204 that claims a body may well be followed by one.
        let dubious = self.status == 204 && (claims.coded() || self.length.unwrap_or(0) > 0);
        self.persistent =
            options.persistent(self.version) && self.framing != Framing::UntilClose && !dubious;
        Ok(())
    }
}

fn get(fields: &[Field], name: Name) -> Option<Span> {
    fields.iter().find(|field| field.id == name).map(|field| field.value)
}

/// Octets of the empty lines tolerated before a request line.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < 2 * EMPTY_LINES && bytes[at..].starts_with(b"\r\n") {
        at += 2;
    }
    at
}

/// Octets of `http://` or `https://` at the beginning of `target`.
fn scheme(target: &[u8]) -> Option<usize> {
    let starts = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    match () {
        () if starts(b"http://") => Some(7),
        () if starts(b"https://") => Some(8),
        () => None,
    }
}
