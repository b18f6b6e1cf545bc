//! Field lines (RFC 9112 section 5): scanned by httparse, checked here to the octet, each name
//! looked up once.

use super::close::Reason;
use super::grammar;
use super::names::Name;

/// The most field lines a head may have, whatever [`super::Limits`] says.
pub(super) const MOST: usize = 256;
/// As many as are allowed unless more are asked for.
pub(super) const USUAL: usize = 100;
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
    let mut scanned = scan::<FEW>(bytes, seen.lines, fields, most);
    if matches!(scanned, Scanned::TooMany) {
        scanned = scan::<USUAL>(bytes, seen.lines, fields, most);
    }
    if matches!(scanned, Scanned::TooMany) && most > USUAL {
        scanned = scan::<MOST>(bytes, seen.lines, fields, most);
    }
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
    fn as_many_lines_as_are_allowed_and_not_one_more() {
        let some = |n| [&b"a: b\r\n".repeat(n)[..], b"\r\n"].concat();
        for most in [1, FEW, FEW + 1, USUAL, USUAL + 1, MOST] {
            let read = |n| {
                let mut fields = Vec::new();
                let end = read(&some(n), &mut Seen::after(0), &mut fields, most);
                end.map(|end| (end, fields.len()))
            };
            assert_eq!(read(most), Ok((Some(6 * most + 2), most)));
            assert_eq!(read(most + 1), Err(Reason::TooManyFields));
        }
    }
}
