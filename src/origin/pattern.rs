//! The text of large bodies: it repeats, and so is sent from where it lies.

use std::sync::LazyLock;

use crate::http::body::Encoder;

/// Octet `at` of every body of a given size: printable ASCII with a period of 95, which no power
/// of two divides, so that a lost or doubled block shows.
pub fn octet(at: u64) -> u8 {
    b' ' + (at % PERIOD) as u8
}

const PERIOD: u64 = 95;

/// Octets in a chunk of `/chunked/N`.
const CHUNK: u64 = 4096;

/// Octets that lie in one piece from any place on.
const PIECE: usize = 256 * 1024;

/// A text of at least one period and a piece, that goes on as it began.
struct Cycle {
    text: Vec<u8>,
    period: u64,
}

static PLAIN: LazyLock<Cycle> = LazyLock::new(|| Cycle {
    text: (0..PIECE as u64 + PERIOD).map(octet).collect(),
    period: PERIOD,
});

/// The same in chunks: when as many have gone by as there are octets in a period, they come again.
static CHUNKS: LazyLock<Cycle> = LazyLock::new(|| {
    let mut text: Vec<u8> = (0..PERIOD).flat_map(|n| chunk(n * CHUNK, CHUNK)).collect();
    let period = text.len();
    text.extend_from_within(..PIECE);
    Cycle { text, period: period as u64 }
});

/// The pattern's octets from `at` on, so many of them, as a chunk; none for none.
fn chunk(at: u64, octets: u64) -> Vec<u8> {
    let (payload, mut line) = (PatternRange::plain(at, at + octets), [0; Encoder::BEFORE]);
    let [before, behind] = Encoder::Chunked.frame(payload.piece().len(), &mut line);
    [before, payload.piece(), behind].concat()
}

/// Octets of a body that are still to be sent.
pub(super) struct PatternRange {
    cycle: &'static Cycle,
    at: u64,
    end: u64,
}

impl PatternRange {
    /// Octets `at..end` of the pattern.
    pub fn plain(at: u64, end: u64) -> PatternRange {
        PatternRange { cycle: &PLAIN, at, end }
    }

    /// The pattern's first octets in chunks: the whole chunks, and behind them a shorter one, if any.
    pub fn chunked(octets: u64) -> (PatternRange, Vec<u8>) {
        let (whole, rest) = (octets / CHUNK, octets % CHUNK);
        let end = whole * (CHUNKS.period / PERIOD);
        (PatternRange { cycle: &CHUNKS, at: 0, end }, chunk(octets - rest, rest))
    }

    /// How many octets there are.
    pub fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next of them; all that there are, or at least 256 KiB.
    pub fn piece(&self) -> &'static [u8] {
        let rest = &self.cycle.text[(self.at % self.cycle.period) as usize..];
        &rest[..rest.len().min(usize::try_from(self.left()).unwrap_or(usize::MAX))]
    }

    /// Moves past `octets` that have been sent.
    pub fn advance(&mut self, octets: usize) {
        self.at += octets as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Framing;
    use crate::http::body::Decoder;

    /// All octets of `part`, taken in pieces of ever larger size.
    fn all(mut part: PatternRange) -> Vec<u8> {
        let (mut got, mut step) = (Vec::new(), 1);
        while part.left() > 0 {
            let piece = &part.piece()[..part.piece().len().min(step)];
            got.extend_from_slice(piece);
            part.advance(piece.len());
            step = step * 3 + 1;
        }
        got
    }

    #[test]
    fn the_pattern_is_the_same_wherever_it_is_cut() {
        let got = all(PatternRange::plain(0, 600_000));
        assert_eq!(got.len(), 600_000);
        assert!(got.iter().enumerate().all(|(at, got)| *got == octet(at as u64)));
        assert!(all(PatternRange::plain(7, 7)).is_empty());
    }

    #[test]
    fn chunks_carry_the_pattern() {
        for octets in [0, 1, 4095, 4096, 4097, 95 * 4096, 1_000_000] {
            let (whole, rest) = PatternRange::chunked(octets);
            let mut coded = [all(whole), rest, Encoder::Chunked.end(b"")].concat();
            assert!(octets < 4096 || coded.starts_with(b"1000\r\n !\"#"));
            let decoded = Decoder::new(Framing::Chunked).decode(&mut coded).unwrap();
            assert_eq!((decoded.payload as u64, decoded.consumed), (octets, coded.len()));
            assert!(decoded.done);
            let payload = coded[..decoded.payload].iter().enumerate();
            assert!(payload.into_iter().all(|(at, got)| *got == octet(at as u64)), "{octets}");
        }
    }
}
