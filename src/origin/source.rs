//! The rest of an answer: octets that are made as they can be sent, or when their time comes.

use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Octet `at` of every body of a given size: printable ASCII with a period of 95, which no power
/// of two divides, so that a lost or doubled block shows.
pub fn octet(at: u64) -> u8 {
    b' ' + (at % PERIOD) as u8
}

const PERIOD: u64 = 95;

/// Octets in a chunk of `/chunked/N`.
const CHUNK: u64 = 4096;

/// Octets that are made at once when they must be copied.
const BATCH: usize = 64 * 1024;

/// A whole number of periods and one more, so that at any phase 256 KiB lie in one piece.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..256 * 1024 + PERIOD).map(octet).collect());

/// What is still to be made of an answer.
#[derive(Debug)]
pub(super) enum Source {
    /// Nothing.
    Empty,
    /// Pattern octets `at..end`, sent from where they lie.
    Pattern { at: u64, end: u64 },
    /// Pattern octets `at..end` in chunks, then perhaps a trailer field.
    Chunks { at: u64, end: u64, trailer: bool },
    /// Lines `next..end`, one each time it is `due`; in chunks or bare.
    Lines { next: u64, end: u64, due: Instant, every: Duration, chunked: bool },
    /// These octets when it is `due`.
    Later { due: Instant, octets: Vec<u8> },
}

/// What [`Source::fill`] did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// It made something.
    More,
    /// It has nothing before this moment.
    Wait(Instant),
    /// It has nothing any more.
    Empty,
}

impl Source {
    /// Octets that can be sent without a copy; tell [`Source::sent`] how many were.
    pub fn ready(&self) -> &'static [u8] {
        match self {
            Source::Pattern { at, end } => pattern(*at, end - at),
            _ => &[],
        }
    }

    /// So many of [`Source::ready`] are gone.
    pub fn sent(&mut self, octets: usize) {
        if let Source::Pattern { at, .. } = self {
            *at += octets as u64;
        }
    }

    /// Makes what can be made now, and becomes empty with the last of it.
    pub fn fill(&mut self, out: &mut Vec<u8>, now: Instant) -> Filled {
        match self {
            Source::Empty => return Filled::Empty,
            Source::Pattern { at, end } if *at < *end => return Filled::More,
            Source::Pattern { .. } => *self = Source::Empty,
            Source::Chunks { at, end, trailer } => {
                if chunks(out, at, *end) {
                    let last: &[u8] =
                        if *trailer { b"0\r\nX-Trailer: 1\r\n\r\n" } else { b"0\r\n\r\n" };
                    out.extend_from_slice(last);
                    *self = Source::Empty;
                }
            }
            Source::Lines { next, end, due, every, chunked } => {
                if next < end && now < *due {
                    return Filled::Wait(*due);
                }
                while next < end && now >= *due && out.len() < BATCH {
                    line(out, *next, *chunked);
                    *next += 1;
                    *due += *every;
                }
                if next == end {
                    out.extend_from_slice(if *chunked { b"0\r\n\r\n" } else { b"" });
                    *self = Source::Empty;
                }
            }
            Source::Later { due, .. } if now < *due => return Filled::Wait(*due),
            Source::Later { octets, .. } => {
                out.append(octets);
                *self = Source::Empty;
            }
        }
        Filled::More
    }
}

/// At most `octets` of the pattern from `at` on.
fn pattern(at: u64, octets: u64) -> &'static [u8] {
    let start = (at % PERIOD) as usize;
    let rest = &PATTERN[start..];
    &rest[..rest.len().min(usize::try_from(octets).unwrap_or(usize::MAX))]
}

/// Chunks of the pattern until `end` or a batch is full; `true`: that was all.
fn chunks(out: &mut Vec<u8>, at: &mut u64, end: u64) -> bool {
    while *at < end && out.len() < BATCH {
        let octets = (end - *at).min(CHUNK);
        frame(out, pattern(*at, octets));
        *at += octets;
    }
    *at == end
}

fn line(out: &mut Vec<u8>, number: u64, chunked: bool) {
    let text = format!("line {number}\n");
    if chunked {
        frame(out, text.as_bytes());
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// One chunk; writing to a `Vec` cannot fail.
pub(super) fn frame(out: &mut Vec<u8>, octets: &[u8]) {
    let _ = write!(out, "{:x}\r\n", octets.len());
    out.extend_from_slice(octets);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::worker::read_clock;

    #[test]
    fn the_pattern_is_the_same_wherever_it_is_cut() {
        let mut source = Source::Pattern { at: 0, end: 600_000 };
        let (mut got, mut step) = (Vec::new(), 1);
        while !source.ready().is_empty() {
            let piece = &source.ready()[..source.ready().len().min(step)];
            got.extend_from_slice(piece);
            source.sent(piece.len());
            step = step * 3 + 1;
        }
        assert_eq!(got.len(), 600_000);
        assert!(got.iter().enumerate().all(|(at, got)| *got == octet(at as u64)));
    }

    #[test]
    fn chunks_carry_the_pattern_and_a_trailer() {
        let mut source = Source::Chunks { at: 0, end: 4097, trailer: true };
        let mut out = Vec::new();
        assert_eq!(source.fill(&mut out, read_clock()), Filled::More);
        assert_eq!(source.fill(&mut out, read_clock()), Filled::Empty);
        assert!(out.starts_with(b"1000\r\n !\"#"));
        assert!(out.ends_with(b"\r\n1\r\n+\r\n0\r\nX-Trailer: 1\r\n\r\n"));
        assert_eq!(octet(4096), b'+');
    }

    #[test]
    fn lines_come_when_they_are_due() {
        let start = read_clock();
        let every = Duration::from_secs(1);
        let mut source = Source::Lines { next: 0, end: 2, due: start, every, chunked: false };
        let mut out = Vec::new();
        assert_eq!(source.fill(&mut out, start), Filled::More);
        assert_eq!(out, b"line 0\n");
        assert_eq!(source.fill(&mut out, start), Filled::Wait(start + every));
        assert_eq!(source.fill(&mut out, start + every), Filled::More);
        assert_eq!(out, b"line 0\nline 1\n");
        assert_eq!(source.fill(&mut out, start), Filled::Empty);
    }
}
