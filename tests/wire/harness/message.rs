//! Messages as the cases see them, read by a small strict parser that owes nothing to the proxy's.

use std::io::{self, Error, ErrorKind};

use super::Wire;

/// Names as sent, values without the white space around them, in order.
pub type Fields = Vec<(String, String)>;

/// A start line and its fields.
#[derive(Clone, Debug)]
pub struct Head {
    /// Request or status line.
    pub line: String,
    /// What follows it.
    pub fields: Fields,
    /// The octets as they came, with the empty line.
    pub raw: Vec<u8>,
}

impl Head {
    /// Reads `raw`, which ends with the empty line.
    pub fn parse(raw: &[u8]) -> io::Result<Head> {
        let text = String::from_utf8_lossy(raw).into_owned();
        let inner = text.strip_suffix("\r\n\r\n").ok_or_else(|| invalid("no empty line", &text))?;
        let mut lines = inner.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(field).collect::<io::Result<_>>()?;
        if inner.replace("\r\n", "").contains(['\r', '\n', '\0']) {
            return Err(invalid("a stray control octet", &text));
        }
        Ok(Head { line, fields, raw: raw.to_vec() })
    }

    /// Every value of the field `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that may come at most once.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} came {} times in {self:?}", all.len());
        all.first().copied()
    }

    /// Whether the comma list `name` holds `member`.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        let members = self.all(name).into_iter().flat_map(|value| value.split(','));
        members.map(str::trim).any(|m| m.eq_ignore_ascii_case(member))
    }

    fn word(&self, n: usize) -> &str {
        self.line.splitn(3, ' ').nth(n).unwrap_or_default()
    }

    fn is_chunked(&self) -> io::Result<bool> {
        match (self.get("Transfer-Encoding"), self.get("Content-Length")) {
            (None, _) => Ok(false),
            (Some("chunked"), None) => Ok(true),
            _ => Err(invalid("an ambiguous length", &format!("{self:?}"))),
        }
    }

    /// `Content-Length`, which is digits only.
    fn length(&self) -> io::Result<Option<usize>> {
        let Some(text) = self.get("Content-Length") else { return Ok(None) };
        match text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse()) {
            Some(Ok(n)) => Ok(Some(n)),
            _ => Err(invalid("a bad Content-Length", text)),
        }
    }
}

/// A request with its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// As sent.
    pub method: String,
    /// As sent.
    pub target: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// Request line and fields.
    pub head: Head,
    /// Without transfer coding.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Fields,
}

impl Request {
    /// The request `head` begins; its body comes from `wire`.
    pub fn read(head: Head, wire: &mut Wire) -> io::Result<Request> {
        let mut request = Request::without_body(head);
        if request.head.is_chunked()? {
            (request.body, request.trailers) = chunks(wire)?;
        } else if let Some(len) = request.head.length()? {
            request.body = wire.exactly(len)?;
        }
        Ok(request)
    }

    /// The request `head` begins, its body not read.
    pub fn without_body(head: Head) -> Request {
        let [method, target, version] = [0, 1, 2].map(|n| head.word(n).to_owned());
        Request { method, target, version, head, body: Vec::new(), trailers: Vec::new() }
    }
}

/// How the end of a body was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There can be no body: HEAD, 204, 304.
    Bodiless,
    /// By `Content-Length`.
    Length,
    /// By the last chunk.
    Chunked,
    /// By the close of the connection.
    Close,
}

/// A final response with its body.
#[derive(Clone, Debug)]
pub struct Response {
    /// Three digits.
    pub status: u16,
    /// Status line and fields.
    pub head: Head,
    /// Without transfer coding.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Fields,
    /// How the end of the body was told.
    pub ending: Ending,
    /// The 1xx responses before it.
    pub interim: Vec<Head>,
}

impl Response {
    /// The next final response on `wire`, to a request with `method`.
    pub fn read(method: &str, wire: &mut Wire) -> io::Result<Response> {
        let mut interim = Vec::new();
        while interim.len() < 100 {
            let head = wire.head()?;
            let status = status(&head)?;
            if !(100..200).contains(&status) || status == 101 {
                return Response::finish(method, status, head, interim, wire);
            }
            interim.push(head);
        }
        Err(invalid("interim answers without end", "100 of them"))
    }

    fn finish(
        method: &str,
        status: u16,
        head: Head,
        interim: Vec<Head>,
        wire: &mut Wire,
    ) -> io::Result<Response> {
        let (is_chunked, length) = (head.is_chunked()?, head.length()?);
        let mut trailers = Vec::new();
        let (ending, body) = if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            (Ending::Bodiless, Vec::new())
        } else if is_chunked {
            let (body, after) = chunks(wire)?;
            trailers = after;
            (Ending::Chunked, body)
        } else if let Some(len) = length {
            (Ending::Length, wire.exactly(len)?)
        } else {
            (Ending::Close, wire.rest()?)
        };
        Ok(Response { status, head, body, trailers, ending, interim })
    }

    /// The value of a field that may come at most once.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn status(head: &Head) -> io::Result<u16> {
    let digits = head.word(1);
    let known = matches!(head.word(0), "HTTP/1.0" | "HTTP/1.1");
    let three = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse() {
        Ok(status) if known && three && head.line.matches(' ').count() >= 2 => Ok(status),
        _ => Err(invalid("a bad status line", &head.line)),
    }
}

fn chunks(wire: &mut Wire) -> io::Result<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    loop {
        let line = wire.line()?;
        let hex = !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit());
        let len = usize::from_str_radix(&line, 16).ok().filter(|_| hex);
        let len = len.ok_or_else(|| invalid("a bad chunk size", &line))?;
        if len == 0 {
            break;
        }
        body.extend(wire.exactly(len)?);
        if !wire.line()?.is_empty() {
            return Err(invalid("octets after a chunk", "no CRLF"));
        }
    }
    let mut trailers = Vec::new();
    loop {
        match wire.line()? {
            line if line.is_empty() => return Ok((body, trailers)),
            line => trailers.push(field(&line)?),
        }
    }
}

fn field(line: &str) -> io::Result<(String, String)> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && name.bytes().all(token) => {
            Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        }
        _ => Err(invalid("a bad field line", line)),
    }
}

fn invalid(what: &str, text: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{what}: \"{}\"", text.escape_debug()))
}
