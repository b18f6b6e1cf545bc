//! Bodies out of their framing and into another: what of the octets belongs to a body, and what leaves for it.
//!
//! One pair for all who read or write bodies. Both only look at octets in the caller's buffers: payload is never
//! copied but within a buffer, to its front.

use super::chunked::{self, Decoded};
use super::close::Reason;
use super::framing::Framing;

/// How much of a body is still to come, and how that is found out.
#[derive(Debug)]
pub enum Decoder {
    /// Nothing is left.
    Empty,
    /// A number of octets is left.
    Length(u64),
    /// The chunked coding tells.
    Chunked(Box<chunked::ChunkedDecoder>),
    /// The end of the connection is that of the body.
    UntilClose,
}

impl Decoder {
    /// A body that begins, framed as its head says.
    pub fn new(framing: Framing) -> Decoder {
        match framing {
            Framing::None => Decoder::Empty,
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => Decoder::Chunked(Box::default()),
            Framing::UntilClose => Decoder::UntilClose,
        }
    }

    /// The body is whole: what follows belongs to the next message.
    pub fn is_done(&self) -> bool {
        match self {
            Decoder::Empty | Decoder::Length(0) => true,
            Decoder::Length(_) | Decoder::UntilClose => false,
            Decoder::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// Reads what belongs to the body from the front of `octets`, and moves its payload to the very front; as
    /// [`chunked::ChunkedDecoder::decode`] for all framings.
    ///
    /// # Errors
    /// Where a chunk is malformed; the body cannot go on.
    pub fn decode(&mut self, octets: &mut [u8]) -> Result<Decoded, Reason> {
        let plain = match self {
            Decoder::Empty => 0,
            Decoder::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(octets.len());
                *left -= n as u64;
                n
            }
            Decoder::UntilClose => octets.len(),
            Decoder::Chunked(decoder) => return decoder.decode(octets),
        };
        Ok(Decoded { consumed: plain, payload: plain, done: self.is_done() })
    }

    /// The sender will send no more. `true`: so the body is whole.
    pub fn close(&mut self) -> bool {
        if matches!(self, Decoder::UntilClose) {
            *self = Decoder::Empty;
        }
        self.is_done()
    }

    /// Octets that may pass unseen: all are payload, and belong to the body.
    pub fn plain(&self) -> u64 {
        match self {
            Decoder::Length(left) => *left,
            Decoder::UntilClose => u64::MAX,
            Decoder::Empty | Decoder::Chunked(_) => 0,
        }
    }

    /// Notes that octets have passed unseen, no more than [`Decoder::plain`] allowed.
    pub fn skip(&mut self, octets: u64) {
        if let Decoder::Length(left) = self {
            *left = left.saturating_sub(octets);
        }
    }

    /// The trailer lines of a chunked body that is done, but those called one of `names`, or like one.
    pub fn trailers_without(&self, names: &[&[String]]) -> Vec<u8> {
        match self {
            Decoder::Chunked(decoder) => decoder.trailers_without(names),
            Decoder::Empty | Decoder::Length(_) | Decoder::UntilClose => Vec::new(),
        }
    }
}

/// How a body leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// As it is: the head, or the close, tells its length.
    Plain,
    /// In chunks.
    Chunked,
}

/// The end of a chunk's data, and behind the trailer lines of the body.
const END: &[u8] = b"\r\n";

impl Encoder {
    /// The most octets that go before a payload.
    pub const BEFORE: usize = chunked::SIZE_LINE_MOST;
    /// The most octets that go behind it, and behind the last one but for trailers.
    pub const BEHIND: usize = END.len() + chunked::LAST.len() + END.len();

    /// A body to be framed as the head says.
    pub fn new(framing: Framing) -> Encoder {
        if framing == Framing::Chunked { Encoder::Chunked } else { Encoder::Plain }
    }

    /// The octets before and behind a payload of that size; empty for none, because an empty chunk would end the body.
    pub fn frame(self, payload: usize, line: &mut [u8; Self::BEFORE]) -> [&[u8]; 2] {
        match self {
            Encoder::Chunked if payload > 0 => [chunked::size_line(payload as u64, line), END],
            Encoder::Chunked | Encoder::Plain => [&[], &[]],
        }
    }

    /// The end of the body, with these trailer lines.
    pub fn end(self, trailers: &[u8]) -> Vec<u8> {
        match self {
            Encoder::Chunked => [chunked::LAST, trailers, END].concat(),
            Encoder::Plain => Vec::new(),
        }
    }

    /// A whole body, in one piece.
    pub fn whole(self, payload: &[u8], trailers: &[u8]) -> Vec<u8> {
        let mut line = [0; Self::BEFORE];
        let [before, behind] = self.frame(payload.len(), &mut line);
        [before, payload, behind, &self.end(trailers)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::every_way;
    use super::*;

    /// Octets used and payload, however `bytes` are split.
    fn decode(framing: Framing, bytes: &[u8]) -> Option<Result<(usize, Vec<u8>), Reason>> {
        every_way(bytes, || {
            let (mut decoder, mut fed, mut payload) = (Decoder::new(framing), 0, Vec::new());
            move |bytes: &[u8]| {
                let mut new = bytes[fed..].to_vec();
                let decoded = match decoder.decode(&mut new) {
                    Ok(decoded) => decoded,
                    Err(reason) => return Some(Err(reason)),
                };
                payload.extend_from_slice(&new[..decoded.payload]);
                fed += decoded.consumed;
                assert_eq!(decoder.is_done(), decoded.done);
                decoded.done.then(|| Ok((fed, payload.clone())))
            }
        })
    }

    #[test]
    fn each_framing_takes_what_is_its_own() {
        let good = |n: usize, payload: &[u8]| Some(Ok((n, payload.to_vec())));
        for (framing, bytes, expected) in [
            (Framing::None, &b"GET"[..], good(0, b"")),
            (Framing::Length(3), b"abcGET", good(3, b"abc")),
            (Framing::Length(3), b"ab", None),
            (Framing::Chunked, b"3\r\nabc\r\n0\r\n\r\nGET", good(13, b"abc")),
            (Framing::Chunked, b"3\r\nabc\r\n", None),
            (Framing::Chunked, b"3 \r\nabc\r\n", Some(Err(Reason::BadChunk))),
            (Framing::UntilClose, b"abc", None),
        ] {
            assert_eq!(decode(framing, bytes), expected, "{framing:?}");
        }
    }

    #[test]
    fn a_close_ends_one_framing_and_cuts_the_others() {
        for (framing, ends) in [
            (Framing::None, true),
            (Framing::Length(1), false),
            (Framing::Chunked, false),
            (Framing::UntilClose, true),
        ] {
            assert_eq!(Decoder::new(framing).close(), ends, "{framing:?}");
        }
    }

    #[test]
    fn octets_may_pass_unseen_where_all_are_payload() {
        let mut decoder = Decoder::new(Framing::Length(5));
        assert_eq!(decoder.plain(), 5);
        decoder.skip(5);
        assert!(decoder.is_done());
        assert_eq!(Decoder::new(Framing::UntilClose).plain(), u64::MAX);
        assert_eq!(Decoder::new(Framing::Chunked).plain(), 0);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        for payload in [&b""[..], b"a", &[b'x'; 1000]] {
            let coded = Encoder::Chunked.whole(payload, b"");
            let expected = Some(Ok((coded.len(), payload.to_vec())));
            assert_eq!(decode(Framing::Chunked, &coded), expected);
            assert_eq!(Encoder::Plain.whole(payload, b"X: y\r\n"), payload, "no trailers");
        }
        let whole = Encoder::new(Framing::Chunked).whole(b"abc", b"X: y\r\n");
        assert_eq!(whole, b"3\r\nabc\r\n0\r\nX: y\r\n\r\n");
    }
}
