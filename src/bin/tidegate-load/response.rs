//! One answer, read until it is whole: judged as strictly as the proxy judges it, counted, and hashed if
//! that is asked for.

use hmac_sha256::Hash;

use super::load_fault::LoadFault;
use super::round_trip::MessageReader;
use tidegate::http::body::Decoder;
use tidegate::http::{Asked, Limits, Progress, Response};

/// SHA-256, octets.
pub type Digest = [u8; 32];

/// Where in an answer we are.
#[derive(Debug, Default)]
enum ReadState {
    #[default]
    Head,
    Body(Decoder),
    Whole,
}

/// An answer that comes in; used again for the next one.
pub struct ResponseReader {
    asked: Asked<'static>,
    response: Response,
    /// What came of a head that is not whole; bounded by the limits on heads.
    carry: Vec<u8>,
    state: ReadState,
    /// Octets of the body were or will be hashed.
    hashes: bool,
    hash: Hash,
}

impl std::fmt::Debug for ResponseReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseReader").field("state", &self.state).finish()
    }
}

impl ResponseReader {
    /// Reads answers to what was `asked`; with `hashes`, their bodies are hashed.
    pub fn new(asked: Asked<'static>, hashes: bool) -> ResponseReader {
        let (response, carry) = (Response::default(), Vec::new());
        ResponseReader { asked, response, carry, state: ReadState::Head, hashes, hash: Hash::new() }
    }

    /// A new answer begins.
    pub fn begin(&mut self) {
        self.state = ReadState::Head;
        if !self.carry.is_empty() {
            self.carry.clear();
            self.response.clear();
        }
        if self.hashes {
            self.hash = Hash::new();
        }
    }

    /// The status, once the answer is whole.
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The server lets the connection go on.
    pub fn is_persistent(&self) -> bool {
        self.response.persistent
    }

    /// The hash of the whole body; of nothing where bodies are not hashed.
    pub fn digest(&self) -> Digest {
        self.hash.finalize()
    }

    /// Reads on in the head; gives how many of `bytes` belong to it once it is whole.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, LoadFault> {
        let (had, limits) = (self.carry.len(), Limits::default());
        let whole = if had == 0 {
            self.response.read(bytes, &limits, self.asked)
        } else {
            self.carry.extend_from_slice(bytes);
            self.response.read(&self.carry, &limits, self.asked)
        };
        match whole {
            Ok(Progress::Complete) => {
                self.carry.clear();
                Ok(Some(self.response.len - had))
            }
            Ok(Progress::Partial) => {
                if had == 0 {
                    self.carry.extend_from_slice(bytes);
                }
                Ok(None)
            }
            Err(_) => Err(LoadFault::Malformed),
        }
    }

    /// The answer is whole if its body is.
    fn look(&mut self) {
        if let ReadState::Body(decoder) = &self.state
            && decoder.is_done()
        {
            self.state = ReadState::Whole;
        }
    }

    fn digested(&mut self, octets: &[u8]) {
        if self.hashes {
            self.hash.update(octets);
        }
    }
}

impl MessageReader for ResponseReader {
    fn take(&mut self, mut bytes: &mut [u8]) -> Result<bool, LoadFault> {
        loop {
            let used = match &mut self.state {
                ReadState::Whole if bytes.is_empty() => return Ok(true),
                // The server spoke without being asked.
                ReadState::Whole => return Err(LoadFault::Malformed),
                _ if bytes.is_empty() => return Ok(false),
                ReadState::Head => {
                    let Some(used) = self.head(bytes)? else { return Ok(false) };
                    if !self.response.is_interim() {
                        self.state = ReadState::Body(Decoder::new(self.response.framing));
                    }
                    used
                }
                ReadState::Body(decoder) => {
                    let decoded = decoder.decode(bytes).map_err(|_| LoadFault::Malformed)?;
                    self.digested(&bytes[..decoded.payload]);
                    decoded.consumed
                }
            };
            self.look();
            bytes = &mut bytes[used..];
        }
    }

    fn end(&mut self) -> Result<(), LoadFault> {
        let ReadState::Body(decoder) = &mut self.state else { return Err(LoadFault::ClosedEarly) };
        if !decoder.close() {
            return Err(LoadFault::ClosedEarly);
        }
        self.state = ReadState::Whole;
        Ok(())
    }

    fn unread(&self) -> u64 {
        match self.state {
            ReadState::Body(Decoder::Length(left)) if !self.hashes => left,
            _ => 0,
        }
    }

    fn skipped(&mut self, octets: u64) -> bool {
        if let ReadState::Body(decoder) = &mut self.state {
            decoder.skip(octets);
        }
        self.look();
        matches!(self.state, ReadState::Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate::http::Method;

    /// Feeds `wire` in pieces of `size`; whether it is whole, and then status, persistence and hash.
    fn read(wire: &str, size: usize) -> Result<Option<(u16, bool, Digest)>, LoadFault> {
        let mut answer = ResponseReader::new(Method::Get.into(), true);
        let mut whole = false;
        for piece in wire.as_bytes().chunks(size) {
            whole = answer.take(&mut piece.to_vec())?;
        }
        Ok(whole.then(|| (answer.status(), answer.is_persistent(), answer.digest())))
    }

    fn every_way(wire: &str) -> Result<Option<(u16, bool, Digest)>, LoadFault> {
        let whole = read(wire, wire.len());
        for size in 1..wire.len() {
            assert_eq!(read(wire, size), whole, "{wire:?} in pieces of {size}");
        }
        whole
    }

    #[test]
    fn answers_are_read_in_every_framing_however_they_are_cut() {
        let hello = Hash::hash(b"hello");
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(every_way(length), Ok(Some((200, true, hello))));
        let chunked = "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                       2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(every_way(chunked), Ok(Some((404, false, hello))));
        let interim = "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
        assert_eq!(every_way(interim), Ok(Some((204, true, Hash::hash(b"")))));
        assert_eq!(every_way("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"), Ok(None));
    }

    #[test]
    fn an_end_is_an_answer_only_where_the_end_says_so() {
        let mut answer = ResponseReader::new(Method::Get.into(), true);
        assert_eq!(answer.end(), Err(LoadFault::ClosedEarly));
        assert_eq!(answer.take(&mut b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec()), Ok(false));
        assert_eq!(answer.end(), Ok(()));
        assert_eq!((answer.digest(), answer.is_persistent()), (Hash::hash(b"hello"), false));
        answer.begin();
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
        assert_eq!(answer.take(&mut cut.to_vec()), Ok(false));
        assert_eq!(answer.end(), Err(LoadFault::ClosedEarly));
    }

    #[test]
    fn a_body_that_nobody_looks_at_may_be_skipped() {
        let mut answer = ResponseReader::new(Method::Get.into(), false);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhe";
        assert_eq!(answer.take(&mut head.to_vec()), Ok(false));
        assert_eq!(answer.unread(), 998);
        assert!(!answer.skipped(900) && answer.skipped(98));
        assert_eq!(answer.take(&mut []), Ok(true));
    }

    #[test]
    fn what_is_no_answer_or_more_than_one_is_malformed() {
        for bad in [
            "this is not HTTP\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ] {
            assert_eq!(every_way(bad), Err(LoadFault::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_head_left_in_the_middle_is_forgotten() {
        let mut answer = ResponseReader::new(Method::Get.into(), false);
        assert_eq!(answer.take(&mut b"HTTP/1.1 200 OK\r\nContent-".to_vec()), Ok(false));
        answer.begin();
        assert_eq!(answer.take(&mut b"HTTP/1.1 204 No\r\n\r\n".to_vec()), Ok(true));
    }
}
