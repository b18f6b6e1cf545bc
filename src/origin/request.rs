//! What was asked: a request head, and the body behind it.

use super::task::Task;
use crate::base::digits;

/// Fields a head may have.
const FIELDS_MAX: usize = 100;

/// Octets of a head, a chunk-size line or a trailer line without an end in sight.
const HEAD_MAX: usize = 64 * 1024;

/// Why a request cannot be answered: the status it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad(pub u16);

/// What a head says, as far as an origin cares.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Octets it took.
    pub octets: usize,
    /// What its target asks for.
    pub task: Task,
    /// The method is HEAD.
    pub bodiless: bool,
    /// HTTP minor version.
    pub minor: u8,
    /// The client can keep the connection.
    pub keep: bool,
    /// It waits for `100 Continue`.
    pub expects: bool,
    /// The body behind it.
    pub body: Body,
    /// `Content-Type`, where the task sends it back.
    pub kind: Option<String>,
}

impl Head {
    /// Reads the head at the start of `input`; `None`: there must be more of it.
    pub fn read(input: &[u8]) -> Result<Option<Head>, Bad> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let octets = match request.parse(input) {
            Ok(httparse::Status::Complete(octets)) => octets,
            Ok(httparse::Status::Partial) if input.len() > HEAD_MAX => return Err(Bad(431)),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Bad(431)),
            Err(_) => return Err(Bad(400)),
        };
        let minor = request.version.unwrap_or(1);
        let mut head = Head {
            octets,
            task: Task::of(request.path.unwrap_or("/")),
            bodiless: request.method == Some("HEAD"),
            minor,
            keep: minor == 1,
            expects: false,
            body: Body::Done,
            kind: None,
        };
        let mut length = None;
        let mut chunked = false;
        for field in request.headers.iter() {
            head.take_field(field, &mut length, &mut chunked)?;
        }
        head.body = match (chunked, length) {
            (true, Some(_)) => return Err(Bad(400)),
            (true, None) => Body::Size,
            (false, Some(length)) if length > 0 => Body::Length(length),
            (false, _) => Body::Done,
        };
        Ok(Some(head))
    }

    fn take_field(
        &mut self,
        field: &httparse::Header<'_>,
        length: &mut Option<u64>,
        chunked: &mut bool,
    ) -> Result<(), Bad> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // Most fields are none of these; their lengths tell so without a comparison.
        match field.name.len() {
            6 if is("expect") => self.expects = field.value.eq_ignore_ascii_case(b"100-continue"),
            10 if is("connection") => {
                for option in field.value.split(|octet| *octet == b',') {
                    match option.trim_ascii() {
                        option if option.eq_ignore_ascii_case(b"close") => self.keep = false,
                        option if option.eq_ignore_ascii_case(b"keep-alive") => self.keep = true,
                        _ => {}
                    }
                }
            }
            12 if is("content-type") && self.task == Task::EchoBody => {
                self.kind = Some(String::from_utf8_lossy(field.value).into_owned());
            }
            14 if is("content-length") => {
                let value = digits(field.value).ok_or(Bad(400))?;
                if length.replace(value).is_some() {
                    return Err(Bad(400));
                }
            }
            17 if is("transfer-encoding") => {
                if *chunked || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Bad(501));
                }
                *chunked = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where in a request body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// There is no more of it.
    Done,
    /// So many octets to come.
    Length(u64),
    /// At the start of a chunk-size line.
    Size,
    /// In a chunk with so many octets to come.
    Chunk(u64),
    /// At the line end behind a chunk.
    ChunkEnd,
    /// At the start of a trailer line, or of the empty line behind them.
    Trailer,
}

impl Body {
    /// Takes what it can from `input`, gives the body's octets to `sink`; says how many it took.
    pub fn advance(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, Bad> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let (octets, next) = match *self {
                Body::Done => break,
                Body::Length(left) | Body::Chunk(left) => {
                    let octets = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if octets == 0 {
                        break;
                    }
                    sink(&rest[..octets]);
                    (octets, self.less(octets as u64))
                }
                Body::Size => match httparse::parse_chunk_size(rest) {
                    Ok(httparse::Status::Complete((octets, 0))) => (octets, Body::Trailer),
                    Ok(httparse::Status::Complete((octets, size))) => (octets, Body::Chunk(size)),
                    Ok(httparse::Status::Partial) if rest.len() <= HEAD_MAX => break,
                    _ => return Err(Bad(400)),
                },
                Body::ChunkEnd if rest.len() < 2 => break,
                Body::ChunkEnd if rest.starts_with(b"\r\n") => (2, Body::Size),
                Body::ChunkEnd => return Err(Bad(400)),
                Body::Trailer => match memchr::memchr(b'\n', rest) {
                    Some(end) if rest[..end].trim_ascii().is_empty() => (end + 1, Body::Done),
                    Some(end) => (end + 1, Body::Trailer),
                    None if rest.len() <= HEAD_MAX => break,
                    None => return Err(Bad(431)),
                },
            };
            taken += octets;
            *self = next;
        }
        Ok(taken)
    }

    /// What follows when `octets` of the current run have been taken.
    fn less(self, octets: u64) -> Body {
        match self {
            Body::Length(left) if left == octets => Body::Done,
            Body::Length(left) => Body::Length(left - octets),
            Body::Chunk(left) if left == octets => Body::ChunkEnd,
            Body::Chunk(left) => Body::Chunk(left - octets),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Option<Head>, Bad> {
        Head::read(head.as_bytes())
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(read(&text[..end]), Ok(None), "{end}");
        }
        let head = read(&format!("{text}hello")).unwrap().unwrap();
        assert_eq!((head.octets, head.body, head.keep), (text.len(), Body::Length(5), true));
        assert_eq!(head.task, Task::Upload);
    }

    #[test]
    fn framing_that_is_not_clear_is_refused() {
        for (fields, status) in [
            ("Content-Length: +5", 400),
            ("Content-Length: 5\r\nContent-Length: 5", 400),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
            ("Transfer-Encoding: gzip, chunked", 501),
        ] {
            let text = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
            assert_eq!(read(&text), Err(Bad(status)), "{fields}");
        }
    }

    #[test]
    fn connections_are_kept_as_the_version_and_the_client_say() {
        for (version, connection, keep) in [
            ("1.1", "foo", true),
            ("1.1", "foo, Close", false),
            ("1.0", "foo", false),
            ("1.0", "Keep-Alive", true),
        ] {
            let text = format!("GET / HTTP/{version}\r\nConnection: {connection}\r\n\r\n");
            assert_eq!(read(&text).unwrap().unwrap().keep, keep, "{version} {connection}");
        }
    }

    #[test]
    fn a_chunked_body_is_the_same_however_it_is_split() {
        let wire = b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\nGET";
        for step in 1..=wire.len() {
            let (mut body, mut got, mut taken, mut seen) = (Body::Size, Vec::new(), 0, 0);
            while seen < wire.len() {
                seen = (seen + step).min(wire.len());
                taken +=
                    body.advance(&wire[taken..seen], |run| got.extend_from_slice(run)).unwrap();
            }
            assert_eq!((got.as_slice(), body, taken), (&b"hello!"[..], Body::Done, wire.len() - 3));
        }
    }
}
