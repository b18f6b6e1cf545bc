//! Field lines (RFC 9112 section 5): scanned by httparse, checked here to the octet, each name
//! looked up once.

use super::close::Reason;
use super::grammar;

/// The most field lines a head may have, whatever [`super::Limits`] says.
pub(super) const MOST: usize = 100;
/// Most heads have fewer; the room for a scan has to be cleared each time.
const FEW: usize = 32;

/// A range of octets in the buffer that a head was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// `start..end`; both at most 65535, which the limit on heads sees to.
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= usize::from(u16::MAX));
        Span { start: start as u16, end: end as u16 }
    }

    /// The octets, out of the buffer the head was read from; it must begin where it began then.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start()..self.end()]
    }

    /// How many octets.
    pub fn len(self) -> usize {
        self.end() - self.start()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(super) fn start(self) -> usize {
        usize::from(self.start)
    }

    pub(super) fn end(self) -> usize {
        usize::from(self.end)
    }
}

/// The field names that mean something to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// `Host`
    Host,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Connection`
    Connection,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Upgrade`
    Upgrade,
    /// `Expect`
    Expect,
    /// `Max-Forwards`
    MaxForwards,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// Any other `X-Forwarded-...`, and `X-Forwarded`
    XForwardedOther,
    /// `Proxy`, which is nobody's: CGI makes `HTTP_PROXY` of it, and many a library goes by that
    /// (CVE-2016-5385)
    Proxy,
    /// `X-Real-IP`
    XRealIp,
    /// `Forwarded`
    Forwarded,
    /// `X-Request-Id`
    XRequestId,
    /// `X-Backend-Server`
    XBackendServer,
    /// `Via`
    Via,
    /// `Date`
    Date,
    /// `Server`
    Server,
    /// `User-Agent`
    UserAgent,
    /// `Referer`
    Referer,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authentication-Info`
    ProxyAuthenticationInfo,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `Sec-WebSocket-Key`
    SecWebSocketKey,
    /// `Sec-WebSocket-Accept`
    SecWebSocketAccept,
    /// `Sec-WebSocket-Version`
    SecWebSocketVersion,
    /// `Sec-WebSocket-Protocol`
    SecWebSocketProtocol,
    /// `Sec-WebSocket-Extensions`
    SecWebSocketExtensions,
    /// None of these, but it becomes one where `_` and `-` are the same, as for CGI and WSGI, or all
    /// that is neither letter nor digit, as for PHP: `X_Forwarded_For`, `X.Forwarded.For`.
    Lookalike,
    /// Any other name.
    Other,
}

impl Name {
    /// Looks `name` up, whatever its case.
    pub fn of(name: &[u8]) -> Name {
        let (Some(first), Some(last)) = (name.first(), name.last()) else { return Name::Other };
        // Length and both ends leave one candidate at most.
        let (text, id) = match (name.len(), first | 0x20, last | 0x20) {
            (2, b't', b'e') => ("te", Name::Te),
            (3, b'v', b'a') => ("via", Name::Via),
            (4, b'h', b't') => ("host", Name::Host),
            (4, b'd', b'e') => ("date", Name::Date),
            (5, b'p', b'y') => ("proxy", Name::Proxy),
            (6, b'e', b't') => ("expect", Name::Expect),
            (6, b's', b'r') => ("server", Name::Server),
            (7, b'r', b'r') => ("referer", Name::Referer),
            (7, b't', b'r') => ("trailer", Name::Trailer),
            (7, b'u', b'e') => ("upgrade", Name::Upgrade),
            (9, b'f', b'd') => ("forwarded", Name::Forwarded),
            (9, b'x', b'p') => ("x-real-ip", Name::XRealIp),
            (10, b'u', b't') => ("user-agent", Name::UserAgent),
            (10, b'c', b'n') => ("connection", Name::Connection),
            (10, b'k', b'e') => ("keep-alive", Name::KeepAlive),
            (11, b'x', b'd') => ("x-forwarded", Name::XForwardedOther),
            (12, b'x', b'd') => ("x-request-id", Name::XRequestId),
            (12, b'm', b's') => ("max-forwards", Name::MaxForwards),
            (14, b'c', b'h') => ("content-length", Name::ContentLength),
            (15, b'x', b'r') => ("x-forwarded-for", Name::XForwardedFor),
            (16, b'x', b't') => ("x-forwarded-host", Name::XForwardedHost),
            (16, b'p', b'n') => ("proxy-connection", Name::ProxyConnection),
            (16, b'x', b'r') => ("x-backend-server", Name::XBackendServer),
            (17, b't', b'g') => ("transfer-encoding", Name::TransferEncoding),
            (17, b'x', b'o') => ("x-forwarded-proto", Name::XForwardedProto),
            (17, b's', b'y') => ("sec-websocket-key", Name::SecWebSocketKey),
            (18, b'p', b'e') => ("proxy-authenticate", Name::ProxyAuthenticate),
            (19, b'p', b'n') => ("proxy-authorization", Name::ProxyAuthorization),
            (20, b's', b't') => ("sec-websocket-accept", Name::SecWebSocketAccept),
            (21, b's', b'n') => ("sec-websocket-version", Name::SecWebSocketVersion),
            (22, b's', b'l') => ("sec-websocket-protocol", Name::SecWebSocketProtocol),
            (24, b's', b's') => ("sec-websocket-extensions", Name::SecWebSocketExtensions),
            (25, b'p', b'o') => ("proxy-authentication-info", Name::ProxyAuthenticationInfo),
            _ => return Name::other(name),
        };
        if name.eq_ignore_ascii_case(text.as_bytes()) {
            return id;
        }
        if looks_like(name, text.as_bytes()) { Name::Lookalike } else { Name::other(name) }
    }

    fn other(name: &[u8]) -> Name {
        const FORWARDED: &[u8] = b"x-forwarded-";
        // Most names begin with another letter, and are looked at no further.
        match name.get(..FORWARDED.len()) {
            Some(start) if start[0] | 0x20 == b'x' && looks_like(start, FORWARDED) => {
                let same = start.eq_ignore_ascii_case(FORWARDED);
                if same { Name::XForwardedOther } else { Name::Lookalike }
            }
            _ => Name::Other,
        }
    }
}

/// Each octet as those see it who tell only letters and digits apart.
const FOLDED: [u8; 256] = {
    let mut folded = [b'-'; 256];
    let mut octet = 0;
    while octet < 256 {
        let b = octet as u8;
        if b.is_ascii_alphanumeric() {
            folded[octet] = b.to_ascii_lowercase();
        }
        octet += 1;
    }
    folded
};

/// Whether two names are the same to such people.
fn looks_like(name: &[u8], other: &[u8]) -> bool {
    let folded = |b: &u8| FOLDED[usize::from(*b)];
    name.len() == other.len() && name.iter().map(folded).eq(other.iter().map(folded))
}

/// Whether `name` is one of `names`, or looks like one.
pub(super) fn is_among(name: &[u8], names: &[String]) -> bool {
    names.iter().any(|other| looks_like(name, other.as_bytes()))
}

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// What the name means.
    pub id: Name,
    /// The name as it came.
    pub name: Span,
    /// The value without the white space around it.
    pub value: Span,
}

/// How far a head was looked at, so that a slow drip is not read from its start again and again.
///
/// Offsets into the buffer; `lines <= last <= to` once the start line is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Where the field lines begin; 0 as long as the start line is not complete.
    pub(super) lines: usize,
    /// Where the last line looked at begins.
    last: usize,
    /// Everything before this was looked at.
    pub(super) to: usize,
}

impl Seen {
    /// The start line was read and ends at `lines`, nothing behind it.
    pub(super) fn after(lines: usize) -> Self {
        Seen { lines, last: lines, to: lines }
    }
}

/// Reads the field lines that begin at `seen.lines`, up to and with the empty line, into `fields`;
/// at most `most` of them. Gives the offset behind the empty line, or `None` when it is not in
/// `bytes` yet.
///
/// Nothing is said about the lines before all of them are there: so it does not matter how they
/// arrive.
pub(super) fn read(
    bytes: &[u8],
    seen: &mut Seen,
    fields: &mut Vec<Field>,
    most: usize,
) -> Result<Option<usize>, Reason> {
    let looked_before = seen.to > seen.lines;
    if looked_before && end_of_lines(bytes, seen).is_none() {
        return Ok(None);
    }
    let scanned = match scan::<FEW>(bytes, seen.lines, fields, most) {
        Scanned::TooMany => scan::<MOST>(bytes, seen.lines, fields, most),
        scanned => scanned,
    };
    if let Scanned::Lines(end) = scanned {
        return Ok(Some(end));
    }
    // Not all there yet, or not to our taste.
    match end_of_lines(bytes, seen) {
        None => Ok(None),
        Some(end) => Err(diagnose(&bytes[seen.lines..end], most)),
    }
}

/// What a scan led to.
enum Scanned {
    /// All lines are in place; the empty line ends at this offset.
    Lines(usize),
    /// More lines than there was room for.
    TooMany,
    /// Not all there, or not as they should be.
    Nothing,
}

/// Has httparse scan the lines at `start`, with room for `N` of them.
fn scan<const N: usize>(
    bytes: &[u8],
    start: usize,
    fields: &mut Vec<Field>,
    most: usize,
) -> Scanned {
    let mut scanned = [httparse::EMPTY_HEADER; N];
    match httparse::parse_headers(&bytes[start..], &mut scanned) {
        Ok(httparse::Status::Complete((len, headers)))
            if headers.len() <= most
                && store(bytes, start, headers, fields) == Some(start + len) =>
        {
            Scanned::Lines(start + len)
        }
        Err(httparse::Error::TooManyHeaders) => Scanned::TooMany,
        _ => Scanned::Nothing,
    }
}

/// The value of the first field called `name`.
pub(super) fn get(fields: &[Field], name: Name) -> Option<Span> {
    fields.iter().find(|field| field.id == name).map(|field| field.value)
}

/// Puts what httparse found into `fields` and gives the offset behind the empty line; `None` if the
/// lines are not, octet for octet, `name ":" OWS value OWS CRLF`. (httparse also takes lines that
/// end with LF alone.)
fn store(
    bytes: &[u8],
    mut at: usize,
    headers: &[httparse::Header],
    fields: &mut Vec<Field>,
) -> Option<usize> {
    fields.clear();
    for header in headers {
        let name = Span::new(at, at + header.name.len());
        at = blanks(bytes, name.end() + 1);
        let value = Span::new(at, at + header.value.len());
        at = line_end(bytes, blanks(bytes, value.end()))?;
        fields.push(Field { id: Name::of(header.name.as_bytes()), name, value });
    }
    line_end(bytes, at)
}

fn blanks(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).copied().is_some_and(grammar::is_ows) {
        at += 1;
    }
    at
}

fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    (bytes.get(at..at + 2)? == b"\r\n").then_some(at + 2)
}

/// Looks for the first empty line from where the last look ended, and remembers how far it came. A
/// line feed ends a line here even without its carriage return: else such a head would never be
/// seen to end, and refused.
fn end_of_lines(bytes: &[u8], seen: &mut Seen) -> Option<usize> {
    while let Some(len) = memchr::memchr(b'\n', &bytes[seen.to..]) {
        let end = seen.to + len;
        if matches!(&bytes[seen.last..end], b"" | b"\r") {
            return Some(end + 1);
        }
        (seen.last, seen.to) = (end + 1, end + 1);
    }
    seen.to = bytes.len();
    None
}

/// What is wrong with these field lines: the first thing in the first bad line.
#[cold]
fn diagnose(lines: &[u8], most: usize) -> Reason {
    for (index, line) in lines.split_inclusive(|b| *b == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\r\n") else { return Reason::BareLineFeed };
        if line.is_empty() {
            break;
        }
        if index >= most {
            return Reason::TooManyFields;
        }
        if grammar::is_ows(line[0]) {
            return Reason::ObsFold;
        }
        let Some(colon) = memchr::memchr(b':', line) else { return Reason::BadFieldName };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !grammar::is_token(name) {
            let padded = grammar::is_token(grammar::trim(name));
            return if padded { Reason::WhitespaceBeforeColon } else { Reason::BadFieldName };
        }
        if !value.iter().all(|b| grammar::is_value(*b)) {
            return Reason::BadFieldValue;
        }
    }
    Reason::BadFieldValue
}

#[cfg(test)]
mod tests {
    use super::super::feed::every_way;
    use super::*;

    type Lines = Result<(usize, Vec<(Name, String, String)>), Reason>;

    fn lines(bytes: &[u8]) -> Option<Lines> {
        every_way(bytes, || {
            let (mut seen, mut fields) = (Seen::after(0), Vec::new());
            move |bytes: &[u8]| {
                let read = read(bytes, &mut seen, &mut fields, MOST).transpose()?;
                let text = |span: Span| String::from_utf8_lossy(span.of(bytes)).into_owned();
                let pairs = fields.iter().map(|f| (f.id, text(f.name), text(f.value)));
                Some(read.map(|end| (end, pairs.collect())))
            }
        })
    }

    #[test]
    fn names_and_values_to_the_octet() {
        let text =
            b"Host: a\r\nX-Empty:\r\nX-Blank: \t \r\nx-padded:\t b  c \t\r\nVIA:1.1 d\r\n\r\n";
        let (end, found) = lines(text).unwrap().unwrap();
        assert_eq!(end, text.len());
        let found: Vec<_> = found.iter().map(|(id, n, v)| (*id, n.as_str(), v.as_str())).collect();
        assert_eq!(
            found,
            [
                (Name::Host, "Host", "a"),
                (Name::Other, "X-Empty", ""),
                (Name::Other, "X-Blank", ""),
                (Name::Other, "x-padded", "b  c"),
                (Name::Via, "VIA", "1.1 d"),
            ]
        );
        assert_eq!(lines(b"\r\n"), Some(Ok((2, vec![]))));
        assert_eq!(lines(b""), None);
        assert_eq!(lines(b"Host: a\r\n"), None);
        assert_eq!(lines(b"Host: a\r\n\r"), None);
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_with_it() {
        for (text, reason) in [
            ("a: b\n\r\n", Reason::BareLineFeed),
            ("a: b\r\n\n", Reason::BareLineFeed),
            ("\n", Reason::BareLineFeed),
            ("a: b\nc: d\n\n", Reason::BareLineFeed),
            (" a: b\r\n\r\n", Reason::ObsFold),
            ("a: b\r\n c\r\n\r\n", Reason::ObsFold),
            ("a: b\r\n\t\r\n\r\n", Reason::ObsFold),
            ("a : b\r\n\r\n", Reason::WhitespaceBeforeColon),
            ("a\t: b\r\n\r\n", Reason::WhitespaceBeforeColon),
            (": b\r\n\r\n", Reason::BadFieldName),
            ("a\r\n\r\n", Reason::BadFieldName),
            ("a b: c\r\n\r\n", Reason::BadFieldName),
            ("a\0: c\r\n\r\n", Reason::BadFieldName),
            ("h\u{e9}: c\r\n\r\n", Reason::BadFieldName),
            ("a: b\0\r\n\r\n", Reason::BadFieldValue),
            ("a: b\rc\r\n\r\n", Reason::BadFieldValue),
            ("a: \x0bb\r\n\r\n", Reason::BadFieldValue),
            ("a: b\x7f\r\n\r\n", Reason::BadFieldValue),
            ("a: b\r\r\n\r\n", Reason::BadFieldValue),
        ] {
            assert_eq!(lines(text.as_bytes()), Some(Err(reason)), "{text:?}");
        }
    }

    #[test]
    fn a_hundred_lines_and_not_one_more() {
        let some = |n| [&b"a: b\r\n".repeat(n)[..], b"\r\n"].concat();
        assert_eq!(lines(&some(100)).unwrap().unwrap().1.len(), 100);
        assert_eq!(lines(&some(101)), Some(Err(Reason::TooManyFields)));
    }

    #[test]
    fn every_name_is_found_whatever_its_case() {
        for (text, id) in [
            ("te", Name::Te),
            ("via", Name::Via),
            ("proxy", Name::Proxy),
            ("host", Name::Host),
            ("date", Name::Date),
            ("expect", Name::Expect),
            ("server", Name::Server),
            ("referer", Name::Referer),
            ("trailer", Name::Trailer),
            ("upgrade", Name::Upgrade),
            ("forwarded", Name::Forwarded),
            ("x-real-ip", Name::XRealIp),
            ("user-agent", Name::UserAgent),
            ("connection", Name::Connection),
            ("keep-alive", Name::KeepAlive),
            ("x-request-id", Name::XRequestId),
            ("max-forwards", Name::MaxForwards),
            ("content-length", Name::ContentLength),
            ("x-forwarded-for", Name::XForwardedFor),
            ("x-forwarded-host", Name::XForwardedHost),
            ("proxy-connection", Name::ProxyConnection),
            ("x-backend-server", Name::XBackendServer),
            ("transfer-encoding", Name::TransferEncoding),
            ("x-forwarded-proto", Name::XForwardedProto),
            ("proxy-authenticate", Name::ProxyAuthenticate),
            ("proxy-authorization", Name::ProxyAuthorization),
            ("proxy-authentication-info", Name::ProxyAuthenticationInfo),
            ("sec-websocket-key", Name::SecWebSocketKey),
            ("sec-websocket-accept", Name::SecWebSocketAccept),
            ("sec-websocket-version", Name::SecWebSocketVersion),
            ("sec-websocket-protocol", Name::SecWebSocketProtocol),
            ("sec-websocket-extensions", Name::SecWebSocketExtensions),
            ("sec_websocket_key", Name::Lookalike),
            ("x-forwarded-port", Name::XForwardedOther),
            ("x-forwarded-", Name::XForwardedOther),
            ("x-forwarded", Name::XForwardedOther),
            ("x_forwarded", Name::Lookalike),
            ("x-forwardee", Name::Other),
            ("x.forwarded.for", Name::Lookalike),
            ("x-forwarded!port", Name::Lookalike),
            ("x'real'ip", Name::Lookalike),
            ("xxforwarded-for", Name::Other),
            ("x-real-op", Name::Other),
            ("content_length", Name::Lookalike),
            ("x_forwarded-for", Name::Lookalike),
            ("x-forwarded_user", Name::Lookalike),
            ("user_name", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(Name::of(text.as_bytes()), id, "{text}");
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), id, "{text}");
        }
    }

    #[test]
    fn a_name_is_among_others_in_any_spelling() {
        let names = ["True-Client-IP", "X_Original_URL"].map(str::to_owned);
        for same in ["True-Client-IP", "true_client.ip", "X-ORIGINAL-URL", "x_original_url"] {
            assert!(is_among(same.as_bytes(), &names), "{same}");
        }
        for other in ["True-Client-I", "True-Client-IPs", "TrueClientIP", "True-Client0IP", ""] {
            assert!(!is_among(other.as_bytes(), &names), "{other}");
        }
        assert!(!is_among(b"", &[]));
    }
}
