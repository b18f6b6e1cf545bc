//! Request heads, read and judged (RFC 9112 section 3).

use super::close::Reason;
use super::connection::{self, Options};
use super::fields::{self, Field, Seen, Span};
use super::framing::{self, Claims, Framing};
use super::grammar;
use super::head::{Limits, Method, Progress, Version};
use super::names::{NEEDED, Name, looks_like};
use super::upgrade::{self, Offer, Upgrade, WEBSOCKET};
use crate::base::digits;

/// Empty lines tolerated before a request line (RFC 9112 section 2.2); old clients end a body with
/// one.
const EMPTY_LINES: usize = 2;
/// Longest method.
const METHOD: usize = 32;
/// What a request line has besides its target: method, two spaces, version, line end.
const AROUND_TARGET: usize = METHOD + 2 + 8 + 2;

/// A request head. Make one for each connection and [`Request::read`] one head after the other into
/// it.
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
    /// The effective authority (RFC 9112 section 3.3): of an absolute-form target, else `Host`.
    /// Valid; empty only for HTTP/1.0 without `Host`.
    pub host: Span,
    /// Path and query of the target: starts with `/`; or is empty or starts with `?` (from an
    /// absolute-form target); or is `*`.
    pub path: Span,
    /// How long the body is; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// The client lets the connection go on.
    pub persistent: bool,
    /// The client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
    /// What the client wants the connection to become.
    pub upgrade: Upgrade,
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
    /// While it is `Partial`, call again with the same octets and more. After `Complete` or an
    /// error the next call begins a new head. Anything that RFC 9112 or common sense finds
    /// ambiguous is refused with the [`Reason`]; what was read until then can be looked at for the
    /// log, the rest is empty.
    pub fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Reason> {
        let outcome = self.advance(bytes, limits);
        if outcome != Ok(Progress::Partial) {
            self.seen = Seen::default();
        }
        outcome
    }

    /// Forgets everything but the storage; needed only when a head was left in the middle.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Request { fields, ..Request::default() };
    }

    /// What to offer the upstream: a WebSocket, or the first protocol that the client names and `allowed` has, in any
    /// case; `bytes`: the head. `None` means that the request is an ordinary one.
    ///
    /// A WebSocket comes only out of a handshake that was judged: naming it in `allowed` does nothing.
    pub fn offer<'p, N: AsRef<[u8]>>(&self, bytes: &[u8], allowed: &'p [N]) -> Option<Offer<'p>> {
        match self.upgrade {
            Upgrade::None => None,
            Upgrade::WebSocket => {
                let key = self.get(Name::SecWebSocketKey)?.of(bytes);
                Some(Offer::WebSocket { key: key.try_into().ok()? })
            }
            Upgrade::Other => upgrade::protocols(&self.fields, bytes)
                .filter(|name| !name.eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
                .find_map(|name| allowed.iter().find(|own| own.as_ref().eq_ignore_ascii_case(name)))
                .map(|own| Offer::Other(own.as_ref())),
        }
    }

    /// The value of the first field called `name`; not for [`Name::Other`].
    pub fn get(&self, name: Name) -> Option<Span> {
        fields::get(&self.fields, name)
    }

    /// Whether `Connection` names this field, so that it goes no further.
    pub fn stays_behind(&self, field: &Field, bytes: &[u8]) -> bool {
        self.names_fields
            && !field.id.is(NEEDED)
            && connection::names(&self.fields, bytes, field.name.of(bytes))
    }

    /// The field of this name, where whoever comes next sees the same: there is one, none looks like it, and
    /// `Connection` does not name it.
    pub fn sole(&self, name: &str, bytes: &[u8]) -> Option<&Field> {
        let name = name.as_bytes();
        let looks_like = |field: &&Field| looks_like(field.name.of(bytes), name);
        let mut like = self.fields.iter().filter(looks_like);
        let (field, None) = (like.next()?, like.next()) else { return None };
        let is_it = field.name.of(bytes).eq_ignore_ascii_case(name);
        (is_it && !self.stays_behind(field, bytes)).then_some(field)
    }

    fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Reason> {
        let (window, room) = limits.window(bytes);
        if self.seen == Seen::default() {
            self.clear();
        }
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

    /// Finds and judges the request line; `false` when it is not all there. What is there is
    /// checked for octets that no request line has: that is how other protocols give themselves
    /// away.
    fn start_line(&mut self, window: &[u8], room: bool, limits: &Limits) -> Result<bool, Reason> {
        let start = empty_lines(window);
        let most = window.len().min(limits.target.saturating_add(start + AROUND_TARGET));
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
        let method = memchr::memchr(b' ', line).filter(|len| *len > 0);
        let method = method.ok_or(Reason::BadRequestLine)?;
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

    /// The four forms of a request target (RFC 9112 section 3.2). Sets `path`, and `host` if the
    /// target has one.
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
        self.judge_max_forwards(bytes)?;
        self.upgrade = upgrade::judge(
            (self.method, self.version),
            &self.fields,
            bytes,
            self.framing,
            options.upgrade,
        )?;
        Ok(())
    }

    /// Exactly one valid `Host` (RFC 9112 section 3.2), even if an authority in the target
    /// overrides it.
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

    /// `Expect` (RFC 9110 section 10.1.1): HTTP/1.0 has none, and without a body there is nothing to
    /// wait for.
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
            self.max_forwards = digits(value.of(bytes));
            if self.max_forwards == Some(0) {
                return Err(Reason::MaxForwardsSpent);
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::super::feed::every_way;
    use super::*;

    /// What a request is understood as: method, host, path, framing, persistent, waits for 100.
    type Meaning = (Method, String, String, Framing, bool, bool);

    fn read(text: &str) -> Option<Result<Meaning, Reason>> {
        read_within(text.as_bytes(), &Limits::default())
    }

    fn read_within(bytes: &[u8], limits: &Limits) -> Option<Result<Meaning, Reason>> {
        every_way(bytes, || {
            let mut head = Request::default();
            move |bytes: &[u8]| match head.read(bytes, limits) {
                Ok(Progress::Partial) => None,
                Ok(Progress::Complete) => Some(Ok((
                    head.method,
                    String::from_utf8_lossy(head.host.of(bytes)).into_owned(),
                    String::from_utf8_lossy(head.path.of(bytes)).into_owned(),
                    head.framing,
                    head.persistent,
                    head.expects_continue,
                ))),
                Err(reason) => Some(Err(reason)),
            }
        })
    }

    fn refused(text: &str, reason: Reason) {
        assert_eq!(read(text), Some(Err(reason)), "{text:?}");
    }

    #[test]
    fn an_ordinary_request() {
        let text = "POST /a?b=|c HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 3\r\n\
                    Expect: 100-Continue\r\n\r\n";
        let (method, host, path, framing, persistent, timeouts) = read(text).unwrap().unwrap();
        assert_eq!(
            (method, host.as_str(), path.as_str()),
            (Method::Post, "example.com:8080", "/a?b=|c")
        );
        assert_eq!((framing, persistent, timeouts), (Framing::Length(3), true, true));
    }

    #[test]
    fn one_head_after_the_other_into_the_same_storage() {
        let two = b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\n\r\n";
        let mut head = Request::default();
        assert_eq!(head.read(two, &Limits::default()), Ok(Progress::Complete));
        assert_eq!(
            (head.len, head.method_text.of(two), head.target.of(two)),
            (30, &b"GET"[..], &b"/1"[..])
        );
        assert_eq!(head.get(Name::Host).map(|host| host.of(two)), Some(&b"a"[..]));
        let rest = &two[head.len..];
        assert_eq!(head.read(&rest[..9], &Limits::default()), Ok(Progress::Partial));
        assert_eq!(head.read(rest, &Limits::default()), Ok(Progress::Complete));
        assert_eq!(
            (head.len, head.target.of(rest), head.host.is_empty()),
            (rest.len(), &b"/2"[..], true)
        );
        assert_eq!((head.version, head.persistent, head.fields.len()), (Version::Http10, false, 0));
    }

    #[test]
    fn garbage_is_refused_before_the_line_ends() {
        let early = |bytes: &[u8]| Request::default().read(bytes, &Limits::default());
        assert_eq!(early(b"\x16"), Err(Reason::TlsHandshake));
        assert_eq!(
            early(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
            Err(Reason::TlsHandshake)
        );
        assert_eq!(early(b"\x04\x01\x00"), Err(Reason::BadRequestLine));
        assert_eq!(early(b"GET /\0"), Err(Reason::BadRequestLine));
        assert_eq!(early(&[b'A'; METHOD + 1]), Err(Reason::BadRequestLine));
        assert_eq!(early(b"GET / HTTP/2.0\r\n"), Err(Reason::VersionNotSupported));
        assert_eq!(early(b"hello there\r\n"), Err(Reason::BadRequestLine));
        assert_eq!(early(b"GE"), Ok(Progress::Partial));
        assert_eq!(early(b""), Ok(Progress::Partial));
    }

    #[test]
    fn the_request_line_has_three_parts() {
        let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
        for bad in [
            "GET /",
            "GET",
            " GET / HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/ HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "GET / HTTP/11",
            "GET / HTTP/1.1\r",
            "GET /\r HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET / ICAP/1.0",
        ] {
            refused(&line(bad), Reason::BadRequestLine);
        }
        refused("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine);
        refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BareLineFeed);
        refused("GET / HTTP/1.1\nHost: a\r\n\r\n", Reason::BareLineFeed);
        refused(&line("G(T / HTTP/1.1"), Reason::BadMethod);
        for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.1"] {
            refused(&line(&format!("GET / {version}")), Reason::VersionNotSupported);
        }
    }

    #[test]
    fn four_forms_of_target() {
        let path = |line: &str| {
            let read = read(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).unwrap();
            read.map(|(_, host, path, ..)| format!("{host} {path}"))
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(path("GET /a/../b?c"), ok("h /a/../b?c"));
        assert_eq!(path("GET //a"), ok("h //a"));
        assert_eq!(path("GET http://x:1/a?b"), ok("x:1 /a?b"));
        assert_eq!(path("GET HTTPS://x"), ok("x "));
        assert_eq!(path("GET http://[::1]?q"), ok("[::1] ?q"));
        assert_eq!(path("OPTIONS *"), ok("h *"));
        for bad in [
            "GET *",
            "GET a",
            "GET ftp://x/",
            "GET x:80",
            "GET /#a",
            "GET http:/x",
            "OPTIONS **",
            "GET ?a",
            "GET http://x#a",
        ] {
            assert_eq!(path(bad), Err(Reason::BadTarget), "{bad}");
        }
        for bad in [
            "GET http:///a",
            "GET http://u@x/",
            "GET http://u:p@x/",
            "GET http://x:y/",
            "GET http://[x]/",
            "GET http://?a",
        ] {
            assert_eq!(path(bad), Err(Reason::InvalidHost), "{bad}");
        }
        assert_eq!(path("CONNECT a:443"), Err(Reason::ConnectNotSupported));
        assert_eq!(path("CONNECT /"), Err(Reason::ConnectNotSupported));
    }

    #[test]
    fn one_valid_host() {
        let get = |fields: &str| read(&format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(get(""), Some(Err(Reason::MissingHost)));
        assert_eq!(get("Host: a\r\nhost: a\r\n"), Some(Err(Reason::DuplicateHost)));
        for bad in ["", "a b", "a,b", "u@a", "a/b", "a:x"] {
            assert_eq!(get(&format!("Host: {bad}\r\n")), Some(Err(Reason::InvalidHost)), "{bad}");
        }
        refused("GET http://a/ HTTP/1.1\r\n\r\n", Reason::MissingHost);
        refused("GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n", Reason::InvalidHost);
        refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Reason::DuplicateHost);
    }

    #[test]
    fn expectations() {
        let post = |version, more: &str| {
            let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{more}\r\n");
            read(&text).unwrap().map(|meaning| meaning.5)
        };
        assert_eq!(post("1.1", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"), Ok(true));
        assert_eq!(post("1.1", "Expect: 100-continue\r\n"), Ok(false));
        assert_eq!(post("1.0", "Content-Length: 1\r\nExpect: 100-continue\r\n"), Ok(false));
        assert_eq!(post("1.0", "Expect: more\r\n"), Ok(false));
        assert_eq!(post("1.1", "Expect: more\r\n"), Err(Reason::UnknownExpectation));
        refused(
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
            Reason::MaxForwardsSpent,
        );
    }

    #[test]
    fn limits_hold_to_the_octet() {
        let limits = Limits { head: 100, fields: 2, target: 10 };
        let read = |text: &str| read_within(text.as_bytes(), &limits).map(|read| read.err());
        let target = |n| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n));
        assert_eq!(read(&target(9)), Some(None));
        assert_eq!(read(&target(10)), Some(Some(Reason::TargetTooLong)));
        assert_eq!(read(&target(500)), Some(Some(Reason::TargetTooLong)));
        assert_eq!(read(&"GET ".repeat(50)), Some(Some(Reason::TargetTooLong)));
        let head = |n| format!("GET / HTTP/1.1\r\nHost: a\r\nb: {}\r\n\r\n", "x".repeat(n));
        let most = 100 - head(0).len();
        assert_eq!(read(&head(most)), Some(None));
        assert_eq!(read(&head(most + 1)), Some(Some(Reason::HeadTooLarge)));
        assert_eq!(read(&head(most + 500)), Some(Some(Reason::HeadTooLarge)));
        let three = "GET / HTTP/1.1\r\nHost: a\r\nb: c\r\nd: e\r\n\r\n";
        assert_eq!(read(three), Some(Some(Reason::TooManyFields)));
    }

    #[test]
    fn a_refused_head_shows_nothing_of_the_one_before() {
        let limits = Limits::default();
        let mut head = Request::default();
        let good = b"POST /a/long/target HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(head.read(good, &limits), Ok(Progress::Complete));
        assert_eq!(head.read(b"\0", &limits), Err(Reason::BadRequestLine));
        assert!(head.method_text.is_empty() && head.target.is_empty() && head.host.is_empty());
        assert!(head.fields.is_empty() && !head.persistent && head.framing == Framing::None);
        let bad = b"GET /b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
        assert_eq!(head.read(bad, &limits), Err(Reason::DuplicateHost));
        assert_eq!((head.target.of(bad), head.fields.len()), (&b"/b"[..], 2));
    }

    #[test]
    fn a_head_left_in_the_middle_is_forgotten() {
        let mut head = Request::default();
        assert_eq!(
            head.read(b"GET / HTTP/1.1\r\nHost: aaaaaa", &Limits::default()),
            Ok(Progress::Partial)
        );
        head.clear();
        assert_eq!(
            head.read(b"GET /b HTTP/1.0\r\n\r\n", &Limits::default()),
            Ok(Progress::Complete)
        );
        assert_eq!(head.len, 19);
    }
}
