//! The chunked transfer coding (RFC 9112 section 7.1): out of it in place, and back into it.
//!
//! ```text
//!   Size -> Extension... -> SizeEnd -> Data -> DataEnd -> Size
//!                             | size 0
//!                             v
//!                          Trailers -> Done
//! ```
//! Strict: lines end with CRLF, no white space around sizes, all sizes together are no more than can
//! be counted with a sign, extensions must be well-formed and are dropped. What leaves is chunked
//! anew by [`size_line`] and [`LAST`].

use super::close::Reason;
use super::fields::{self, Field, Seen};
use super::framing::COUNTABLE;
use super::grammar;
use super::names::{self, Name};
use super::write::hexadecimal;

/// The last chunk; behind it come the trailer lines and an empty line.
pub const LAST: &[u8] = b"0\r\n";

/// Octets of a size line of ours, line end included.
pub const SIZE_LINE_MOST: usize = 18;

/// Octets a size line may have, with its extensions and its line end: it bounds what a chunk of one
/// octet may cost.
const SIZE_LINE: u16 = 256;
/// Hexadecimal digits in a size, leading zeros counted.
const SIZE_DIGITS: u16 = 16;
/// Octets of a trailer section.
const TRAILERS: usize = 8 * 1024;

/// The size line of a chunk of `len` octets, for instance `1f4` CRLF. A chunk of 0 would be the
/// last one.
pub fn size_line(len: u64, out: &mut [u8; SIZE_LINE_MOST]) -> &[u8] {
    let mut text = [0; 16];
    let digits = hexadecimal(len, &mut text);
    out[..digits.len()].copy_from_slice(digits);
    out[digits.len()..digits.len() + 2].copy_from_slice(b"\r\n");
    &out[..digits.len() + 2]
}

/// The result of [`ChunkedDecoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Octets used up at the front of the buffer; all of them unless `done`.
    pub consumed: usize,
    /// Octets of payload, now at the front of the buffer.
    pub payload: usize,
    /// The body is complete; what follows belongs to the next message.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In a size, after so many digits.
    #[default]
    Size,
    /// Behind a `;`: a name begins.
    ExtensionName,
    /// In a name.
    ExtensionNameRest,
    /// Behind a `=`.
    ExtensionValue,
    /// In a token value.
    ExtensionToken,
    /// In a quoted value.
    ExtensionQuoted,
    /// Behind a backslash in a quoted value.
    ExtensionEscape,
    /// Behind a quoted value.
    ExtensionQuotedEnd,
    /// Behind the CR of a size line.
    SizeEnd,
    /// In the data; `left` octets are to come.
    Data,
    /// Behind the data.
    DataEnd,
    /// Behind the CR after the data.
    DataEndLf,
    /// In the trailer section.
    Trailers,
    /// Behind the body.
    Done,
}

/// Takes a body out of the chunked coding. One for each body.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// The size so far, then what is left of the chunk.
    left: u64,
    /// The sizes of all chunks so far.
    announced: u64,
    /// Octets of this size line so far.
    line: u16,
    /// The trailer section as it comes, then as it leaves.
    trailers: Vec<u8>,
}

impl ChunkedDecoder {
    /// Reads raw octets at the front of `bytes` and moves the payload in them to
    /// `bytes[..payload]`.
    ///
    /// Not done: everything was consumed. Done: `bytes[consumed..]` is as it was. After an error
    /// the contents of
    /// `bytes` mean nothing, and the body cannot go on; what is said is about a client, see
    /// [`Reason::by_upstream`].
    pub fn decode(&mut self, bytes: &mut [u8]) -> Result<Decoded, Reason> {
        let (mut at, mut payload) = (0, 0);
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                if at != payload {
                    bytes.copy_within(at..at + len, payload);
                }
                (at, payload) = (at + len, payload + len);
                self.left -= len as u64;
                if self.left == 0 {
                    self.state = State::DataEnd;
                }
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(Decoded { consumed: at, payload, done: self.is_done() })
    }

    /// The body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer section, ready to be sent behind [`LAST`] and before an empty line: `Name:
    /// value` lines, without those that may not be in a trailer section. Empty until the body is
    /// done, and mostly then.
    pub fn trailers(&self) -> &[u8] {
        if self.is_done() { &self.trailers } else { b"" }
    }

    /// The [`ChunkedDecoder::trailers`] but those called one of `names`, or like one.
    pub fn trailers_without(&self, names: &[&[String]]) -> Vec<u8> {
        let name = |line: &[u8]| line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let lines = self.trailers().split_inclusive(|b| *b == b'\n');
        lines
            .filter(|line| !names.iter().any(|names| names::is_among(&line[..name(line)], names)))
            .flatten()
            .copied()
            .collect()
    }

    /// One octet of anything but data.
    fn step(&mut self, b: u8) -> Result<State, Reason> {
        match self.state {
            State::DataEnd if b == b'\r' => Ok(State::DataEndLf),
            State::DataEndLf if b == b'\n' => {
                self.line = 0;
                Ok(State::Size)
            }
            State::Trailers => self.trailer(b),
            _ => self.size_octet(b),
        }
    }

    /// One octet of a size line: `1*HEXDIG *( ";" token [ "=" ( token / quoted-string ) ] ) CRLF`.
    fn size_octet(&mut self, b: u8) -> Result<State, Reason> {
        self.line += 1;
        if self.line > SIZE_LINE {
            return Err(Reason::BadChunk);
        }
        match (self.state, b) {
            (State::Size, _) if grammar::hex(b).is_some() => self.digit(b),
            (State::Size, _) if self.line == 1 => Err(Reason::BadChunk),
            (State::SizeEnd, b'\n') if self.left == 0 => Ok(State::Trailers),
            (State::SizeEnd, b'\n') => self.announce(),
            (State::ExtensionName | State::ExtensionNameRest, _) if grammar::is_tchar(b) => {
                Ok(State::ExtensionNameRest)
            }
            (State::ExtensionNameRest, b'=') => Ok(State::ExtensionValue),
            (State::ExtensionValue, b'"') => Ok(State::ExtensionQuoted),
            (State::ExtensionValue | State::ExtensionToken, _) if grammar::is_tchar(b) => {
                Ok(State::ExtensionToken)
            }
            (State::ExtensionQuoted, b'\\') => Ok(State::ExtensionEscape),
            (State::ExtensionQuoted, b'"') => Ok(State::ExtensionQuotedEnd),
            (State::ExtensionQuoted | State::ExtensionEscape, _) if grammar::is_value(b) => {
                Ok(State::ExtensionQuoted)
            }
            (
                State::Size
                | State::ExtensionNameRest
                | State::ExtensionToken
                | State::ExtensionQuotedEnd,
                b';' | b'\r',
            ) => Ok(if b == b';' { State::ExtensionName } else { State::SizeEnd }),
            _ => Err(Reason::BadChunk),
        }
    }

    fn digit(&mut self, b: u8) -> Result<State, Reason> {
        let digit = grammar::hex(b).ok_or(Reason::BadChunk)?;
        if self.line > SIZE_DIGITS {
            return Err(Reason::BadChunk);
        }
        // `left` is 0 when a size begins, and 16 digits cannot overflow it.
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    /// The size of a chunk is complete.
    fn announce(&mut self) -> Result<State, Reason> {
        let announced = self.announced.checked_add(self.left).filter(|sum| *sum <= COUNTABLE);
        self.announced = announced.ok_or(Reason::BadChunk)?;
        Ok(State::Data)
    }

    /// One octet of the trailer section.
    fn trailer(&mut self, b: u8) -> Result<State, Reason> {
        if self.trailers.len() == TRAILERS {
            return Err(Reason::BadTrailer);
        }
        self.trailers.push(b);
        let ended = b == b'\n'
            && matches!(
                self.trailers.as_slice(),
                b"\n" | b"\r\n" | [.., b'\n', b'\n'] | [.., b'\n', b'\r', b'\n']
            );
        if !ended {
            return Ok(State::Trailers);
        }
        self.trailers = canonical(&self.trailers)?;
        Ok(State::Done)
    }
}

/// A trailer section as it leaves.
fn canonical(section: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut lines: Vec<Field> = Vec::new();
    let end = fields::read(section, &mut Seen::default(), &mut lines, fields::USUAL);
    if end != Ok(Some(section.len())) {
        return Err(Reason::BadTrailer);
    }
    let mut out = Vec::new();
    for field in lines.iter().filter(|field| field.id == Name::Other) {
        for part in [field.name.of(section), b": ", field.value.of(section), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::feed::every_way;
    use super::*;

    /// Octets used, payload, trailers.
    type Body = (usize, Vec<u8>, Vec<u8>);

    fn decode(bytes: &[u8]) -> Option<Result<Body, Reason>> {
        every_way(bytes, || {
            let (mut decoder, mut fed, mut payload) = (ChunkedDecoder::default(), 0, Vec::new());
            move |bytes: &[u8]| {
                let mut news = bytes[fed..].to_vec();
                let raw = news.clone();
                let decoded = match decoder.decode(&mut news) {
                    Ok(decoded) => decoded,
                    Err(reason) => return Some(Err(reason)),
                };
                assert!(decoded.payload <= decoded.consumed);
                assert!(decoded.done || decoded.consumed == news.len());
                assert_eq!(news[decoded.consumed..], raw[decoded.consumed..], "not ours");
                payload.extend_from_slice(&news[..decoded.payload]);
                fed += decoded.consumed;
                decoded.done.then(|| Ok((fed, payload.clone(), decoder.trailers().to_vec())))
            }
        })
    }

    fn good(bytes: &[u8], payload: &str, trailers: &str) {
        let expected = (bytes.len(), payload.as_bytes().to_vec(), trailers.as_bytes().to_vec());
        assert_eq!(decode(bytes), Some(Ok(expected)), "{:?}", bytes.escape_ascii().to_string());
    }

    #[test]
    fn chunks_become_their_payload() {
        good(b"0\r\n\r\n", "", "");
        good(b"5\r\nhello\r\n0\r\n\r\n", "hello", "");
        good(b"5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world", "");
        good(b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", "");
        good(b"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", "");
        good(b"0000000000000001\r\nx\r\n0\r\n\r\n", "x", "");
    }

    #[test]
    fn extensions_are_read_and_dropped() {
        good(b"1;a\r\nx\r\n0\r\n\r\n", "x", "");
        good(b"1;a=b;c=\"d\\\"; e\";f\r\nx\r\n0;last\r\n\r\n", "x", "");
        let long = [b"1;".as_slice(), &[b'a'; 252], b"\r\nx\r\n0\r\n\r\n"].concat();
        good(&long, "x", "");
        let longer = [b"1;".as_slice(), &[b'a'; 253], b"\r\nx\r\n0\r\n\r\n"].concat();
        assert_eq!(decode(&longer), Some(Err(Reason::BadChunk)));
    }

    #[test]
    fn trailers_are_filtered_and_canonical() {
        good(b"0\r\nX-Sum:  1 \r\n\r\n", "", "X-Sum: 1\r\n");
        good(
            b"0\r\nContent-Length: 5\r\nhost: a\r\nAuthorization: b\r\nx-a:b\r\nTransfer-Encoding: c\r\n\r\n",
            "",
            "x-a: b\r\n",
        );
        for bad in [
            "a : b\r\n\r\n",
            "a\r\n\r\n",
            " a: b\r\n\r\n",
            "a: b\n\r\n",
            "\n",
            "a: \0\r\n\r\n",
            "\rx\r\n\r\n",
        ] {
            assert_eq!(
                decode(&[b"0\r\n", bad.as_bytes()].concat()),
                Some(Err(Reason::BadTrailer)),
                "{bad:?}"
            );
        }
        let endless = [b"0\r\na: ".as_slice(), &[b'b'; TRAILERS]].concat();
        assert_eq!(decode(&endless), Some(Err(Reason::BadTrailer)));
    }

    #[test]
    fn trailers_that_are_withheld_are_whole_lines() {
        let names = ["X-One".to_owned()];
        let without = |section: &str| {
            let (mut body, mut decoder) =
                (format!("0\r\n{section}\r\n"), ChunkedDecoder::default());
            let decoded = decoder.decode(&mut std::mem::take(&mut body).into_bytes());
            assert!(decoded.unwrap().done);
            String::from_utf8(decoder.trailers_without(&[&names])).unwrap()
        };
        assert_eq!(without(""), "");
        assert_eq!(without("x_one:1\r\n"), "");
        let mixed = "X-Two: X-One: a\r\nX-One: 1\r\nX-Ones:\r\nx-ONE:\r\nX: 2\r\n";
        assert_eq!(without(mixed), "X-Two: X-One: a\r\nX-Ones: \r\nX: 2\r\n");
    }

    #[test]
    fn anything_odd_is_refused() {
        for bad in [
            "\r\n",
            " 1\r\nx",
            "1 \r\nx",
            "1\t;a\r\nx",
            "1\nx",
            "1\r\r\nx",
            "+1\r\nx",
            "-1\r\nx",
            "0x1\r\nx",
            "g\r\n",
            ";a\r\n",
            "1;\r\nx",
            "1; a\r\nx",
            "1;a= b\r\nx",
            "1;a=\r\nx",
            "1;=b\r\nx",
            "1;a=\"b\r\nx",
            "1;a=\"b\"c\r\nx",
            "1;a\nx",
            "1;a\0\r\nx",
            "1\r\nxy\r\n",
            "1\r\nx\n",
            "1\r\nx\r\r\n",
            "1\r\nx0\r\n\r\n",
            "10000000000000000\r\nx",
            "00000000000000001\r\nx",
            "1,2\r\nx",
            "1\0\r\nx",
        ] {
            assert_eq!(decode(bad.as_bytes()), Some(Err(Reason::BadChunk)), "{bad:?}");
        }
    }

    #[test]
    fn a_body_that_stops_is_not_done() {
        let body = b"5;a=\"b\"\r\nhello\r\n0\r\nX-A: b\r\n\r\n";
        for end in 0..body.len() {
            assert_eq!(decode(&body[..end]), None, "{end}");
        }
    }

    #[test]
    fn sizes_add_up_to_what_can_be_counted_and_no_further() {
        let mut bytes = *b"7fffffffffffffff\r\nabc";
        let decoded = ChunkedDecoder::default().decode(&mut bytes).unwrap();
        assert_eq!((decoded.consumed, decoded.payload, decoded.done), (21, 3, false));
        assert_eq!(&bytes[..3], b"abc");
        for (sizes, sound) in [
            ("8000000000000000\r\n", false),
            ("ffffffffffffffff\r\n", false),
            ("1\r\nx\r\n7ffffffffffffffe\r\n", true),
            ("1\r\nx\r\n7fffffffffffffff\r\n", false),
        ] {
            let expected = if sound { None } else { Some(Err(Reason::BadChunk)) };
            assert_eq!(decode(sizes.as_bytes()), expected, "{sizes:?}");
        }
    }

    #[test]
    fn size_lines_are_canonical() {
        let mut out = [0; 18];
        assert_eq!(size_line(500, &mut out), b"1f4\r\n");
        assert_eq!(size_line(1, &mut out), b"1\r\n");
        assert_eq!(size_line(0, &mut out), LAST);
        assert_eq!(size_line(u64::MAX, &mut out), b"ffffffffffffffff\r\n");
    }
}
