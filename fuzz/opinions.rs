//! What other people's parsers say about a message: picohttpparser (of h2o) and http-parser (of Node.js),
//! both in C and of different descent; and one too simple to be wrong, for messages as tidegate sends them.

use std::ffi::c_char;
use std::ptr;

use http_muncher::{Parser, ParserHandler};
use picohttpparser_sys as pico;

/// Names and values, in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// One message, and how many octets it has.
#[derive(Debug, Default, PartialEq)]
pub struct Opinion {
    /// `GET /`, or a status.
    pub start: Vec<u8>,
    /// The field lines.
    pub fields: Fields,
    /// The body.
    pub payload: Vec<u8>,
    /// The trailer lines.
    pub trailers: Fields,
    /// Octets of all of it.
    pub used: usize,
}

/// What a message is.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// A request.
    Request,
    /// An answer that may have a body.
    Answer,
    /// An answer to `HEAD`, or of a status that has none.
    Bodiless,
}

/// Splits at CRLF and `: `, and believes every word. `None`: it cannot be split so.
pub fn naive(bytes: &[u8], kind: Kind) -> Option<Opinion> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let head = &bytes[..end - 4];
    let line_end = find(head, b"\r\n").unwrap_or(head.len());
    let words: Vec<&[u8]> = head[..line_end].splitn(3, |b| *b == b' ').collect();
    let start = match kind {
        Kind::Request => [words[0], b" ", words[1]].concat(),
        _ => words[1].to_vec(),
    };
    let fields = lines(head.get(line_end + 2..).unwrap_or_default())?;
    let mut opinion = Opinion { start, fields, used: end, ..Opinion::default() };
    let rest = &bytes[end..];
    let (length, chunked) = framing(&opinion.fields);
    if kind == Kind::Bodiless {
        return Some(opinion);
    }
    if chunked {
        let mut at = 0;
        loop {
            let line = find(&rest[at..], b"\r\n")?;
            let size = std::str::from_utf8(&rest[at..at + line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            at += line + 2;
            if size == 0 {
                break;
            }
            opinion.payload.extend_from_slice(rest.get(at..at + size)?);
            at += size + 2;
        }
        let section =
            if rest[at..].starts_with(b"\r\n") { 0 } else { find(&rest[at..], b"\r\n\r\n")? + 2 };
        opinion.trailers = lines(rest[at..at + section].strip_suffix(b"\r\n").unwrap_or_default())?;
        opinion.used += at + section + 2;
    } else if let Some(length) = length {
        opinion.payload = rest.get(..length)?.to_vec();
        opinion.used += length;
    } else if kind == Kind::Answer {
        opinion.payload = rest.to_vec();
        opinion.used = bytes.len();
    }
    Some(opinion)
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn lines(section: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut rest = section;
    while !rest.is_empty() {
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        let colon = find(&rest[..end], b": ")?;
        fields.push((rest[..colon].to_vec(), rest[colon + 2..end].to_vec()));
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    Some(fields)
}

/// `Content-Length`, counted with a sign as many do, and whether there is a `Transfer-Encoding: chunked`.
fn framing(fields: &Fields) -> (Option<usize>, bool) {
    let all = |wanted: &str| -> Vec<&Vec<u8>> {
        let named = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        named.map(|(_, value)| value).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "two framings: {fields:?}");
    assert!(codings.iter().all(|coding| *coding == b"chunked"));
    let digits = |text: &Vec<u8>| {
        assert!(!text.is_empty() && text.iter().all(u8::is_ascii_digit));
        let length: i64 = String::from_utf8_lossy(text).parse().expect("a number of octets");
        usize::try_from(length).expect("no sign")
    };
    (lengths.first().map(|text| digits(text)), !codings.is_empty())
}

/// What picohttpparser says. It knows heads, trailers and the chunked coding; of framing it knows nothing,
/// so that follows the fields it has found.
pub fn picohttpparser(bytes: &[u8], kind: Kind) -> Option<Opinion> {
    let mut headers = [pico::phr_header::default(); 120];
    let mut count = headers.len();
    let (mut texts, mut lengths) = ([ptr::null::<c_char>(); 2], [0; 2]);
    let (mut minor, mut status) = (0, 0);
    let (at, length) = (bytes.as_ptr().cast(), bytes.len());
    let [first, second] = &mut texts;
    let [first_length, second_length] = &mut lengths;
    // SAFETY: every pointer is to something that lives until the end of this function, and `count` is how
    // many headers there is room for.
    let used = unsafe {
        let headers = headers.as_mut_ptr();
        match kind {
            Kind::Request => pico::phr_parse_request(
                at,
                length,
                first,
                first_length,
                second,
                second_length,
                &mut minor,
                headers,
                &mut count,
                0,
            ),
            _ => pico::phr_parse_response(
                at,
                length,
                &mut minor,
                &mut status,
                first,
                first_length,
                headers,
                &mut count,
                0,
            ),
        }
    };
    let used = usize::try_from(used).ok()?;
    assert_eq!(minor, 1, "all that leaves is HTTP/1.1");
    let start = match kind {
        Kind::Request => [text(texts[0], lengths[0]), b" ", text(texts[1], lengths[1])].concat(),
        _ => status.to_string().into_bytes(),
    };
    let fields = pico_fields(&headers[..count]);
    let (length, chunked) = framing(&fields);
    let mut opinion = Opinion { start, fields, used, ..Opinion::default() };
    let rest = &bytes[used..];
    match (kind, length, chunked) {
        (Kind::Bodiless, ..) => {}
        (_, _, true) => pico_chunks(&mut opinion, rest)?,
        (_, Some(length), _) => {
            opinion.payload = rest.get(..length)?.to_vec();
            opinion.used += length;
        }
        (Kind::Request, ..) => {}
        (Kind::Answer, ..) => {
            opinion.payload = rest.to_vec();
            opinion.used = bytes.len();
        }
    }
    Some(opinion)
}

fn pico_chunks(opinion: &mut Opinion, rest: &[u8]) -> Option<()> {
    let mut body = rest.to_vec();
    let mut size = body.len();
    // SAFETY: the decoder may be all zeros, which its header file asks for; `size` is the length of `body`.
    let left = unsafe {
        let mut decoder: pico::phr_chunked_decoder = std::mem::zeroed();
        pico::phr_decode_chunked(&mut decoder, body.as_mut_ptr().cast(), &mut size)
    };
    let left = usize::try_from(left).ok()?;
    opinion.payload = body[..size].to_vec();
    let section = &rest[rest.len() - left..];
    let mut headers = [pico::phr_header::default(); 120];
    let mut count = headers.len();
    // SAFETY: as for the head.
    let used = unsafe {
        let (at, length) = (section.as_ptr().cast(), section.len());
        pico::phr_parse_headers(at, length, headers.as_mut_ptr(), &mut count, 0)
    };
    opinion.trailers = pico_fields(&headers[..count]);
    opinion.used += rest.len() - left + usize::try_from(used).ok()?;
    Some(())
}

fn pico_fields(headers: &[pico::phr_header]) -> Fields {
    let field = |header: &pico::phr_header| {
        assert!(!header.name.is_null(), "a folded line");
        let name = text(header.name, header.name_len).to_vec();
        (name, text(header.value, header.value_len).to_vec())
    };
    headers.iter().map(field).collect()
}

/// The octets that picohttpparser points to: a part of those it was given.
fn text<'b>(at: *const c_char, length: usize) -> &'b [u8] {
    if length == 0 {
        return b"";
    }
    // SAFETY: it was parsed out of a slice that its callers still hold, and copied before they let go.
    unsafe { std::slice::from_raw_parts(at.cast(), length) }
}

/// What the parser of Node.js says. It knows no methods but those in its list.
pub fn http_parser(bytes: &[u8], kind: Kind) -> Option<Opinion> {
    let mut parser = if kind == Kind::Request { Parser::request() } else { Parser::response() };
    let mut heard = Heard { bodiless: kind == Kind::Bodiless, ..Heard::default() };
    let used = parser.parse(&mut heard, bytes);
    if !heard.complete && !parser.has_error() {
        // An answer that ends with its connection.
        parser.parse(&mut heard, b"");
    }
    if parser.has_error() || heard.messages != 1 || !heard.complete {
        return None;
    }
    assert_eq!(parser.http_version(), (1, 1), "all that leaves is HTTP/1.1");
    heard.opinion.start = match kind {
        Kind::Request => [parser.http_method().as_bytes(), b" ", &heard.url].concat(),
        _ => parser.status_code().to_string().into_bytes(),
    };
    heard.opinion.used = used;
    Some(heard.opinion)
}

/// What http-parser calls out.
#[derive(Default)]
struct Heard {
    opinion: Opinion,
    url: Vec<u8>,
    bodiless: bool,
    in_value: bool,
    in_body: bool,
    complete: bool,
    messages: usize,
}

impl Heard {
    fn fields(&mut self) -> &mut Fields {
        if self.in_body { &mut self.opinion.trailers } else { &mut self.opinion.fields }
    }
}

impl ParserHandler for Heard {
    fn on_message_begin(&mut self, _: &mut Parser) -> bool {
        self.messages += 1;
        true
    }

    fn on_url(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        self.url.extend_from_slice(part);
        true
    }

    fn on_header_field(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        let fresh = self.in_value || self.fields().is_empty();
        self.in_value = false;
        if fresh {
            self.fields().push((Vec::new(), Vec::new()));
        }
        self.fields().last_mut().expect("a field").0.extend_from_slice(part);
        true
    }

    fn on_header_value(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        self.in_value = true;
        self.fields().last_mut().expect("a name").1.extend_from_slice(part);
        true
    }

    fn on_headers_complete(&mut self, _: &mut Parser) -> bool {
        (self.in_body, self.in_value) = (true, false);
        // `false` says that there will be no body, whatever the head announces.
        !self.bodiless
    }

    fn on_body(&mut self, _: &mut Parser, part: &[u8]) -> bool {
        self.opinion.payload.extend_from_slice(part);
        true
    }

    fn on_message_complete(&mut self, _: &mut Parser) -> bool {
        self.complete = true;
        true
    }
}
