//! One WebSocket message that comes back, compared with what was sent (RFC 6455 section 5).

use std::rc::Rc;

use super::load_fault::LoadFault;
use super::round_trip::MessageReader;
use tidegate::http::websocket::Header;

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
/// Octets of the longest frame header, the masking key not counted.
const HEADER: usize = 10;
/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL: usize = 125;
/// What our own frames are masked with. Fixed, so that a frame is made once; the octets are no secret.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A whole frame with `payload`, masked as a client must.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEADER + MASK.len());
    out.push(0x80 | opcode);
    match payload.len() {
        short @ ..=125 => out.push(0x80 | short as u8),
        middle @ ..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(octet, mask)| octet ^ mask));
    out
}

/// A binary message.
pub fn message(payload: &[u8]) -> Vec<u8> {
    frame(BINARY, payload)
}

/// A message on its way back; used again for the next one.
#[derive(Debug)]
pub struct Echo {
    expected: Rc<[u8]>,
    /// Octets of the message that came back so far.
    at: usize,
    begun: bool,
    whole: bool,
    /// The header that is not all there yet, and how much of it is.
    header: [u8; HEADER],
    have: usize,
    /// The frame we are in, and how much of its payload is to come.
    frame: Option<Header>,
    left: u64,
    control: Vec<u8>,
    /// What a ping wants to hear.
    pong: Option<Vec<u8>>,
}

impl Echo {
    /// Expects `expected` to come back.
    pub fn new(expected: Rc<[u8]>) -> Echo {
        Echo {
            expected,
            at: 0,
            begun: false,
            whole: false,
            header: [0; HEADER],
            have: 0,
            frame: None,
            left: 0,
            control: Vec::new(),
            pong: None,
        }
    }

    /// The next message was sent.
    pub fn begin(&mut self) {
        (self.at, self.begun, self.whole) = (0, false, false);
    }

    /// The answer that is owed to a ping: a frame.
    pub fn pong(&mut self) -> Option<Vec<u8>> {
        self.pong.take()
    }

    /// Reads on in a header; gives how many of `bytes` belong to it.
    fn header(&mut self, bytes: &[u8]) -> Result<usize, LoadFault> {
        let more = bytes.len().min(HEADER - self.have);
        self.header[self.have..self.have + more].copy_from_slice(&bytes[..more]);
        let Some(header) = Header::read(&self.header[..self.have + more]) else {
            self.have += more;
            return Ok(more);
        };
        let used = header.len - std::mem::take(&mut self.have);
        let data = header.opcode == if self.begun { 0 } else { BINARY };
        let control = header.opcode >= CLOSE && header.fin && header.payload <= CONTROL as u64;
        if header.masked || !data && !control || data && self.whole {
            return Err(LoadFault::Malformed);
        }
        self.begun |= data;
        self.left = header.payload;
        self.frame = Some(header);
        self.frame_end()?;
        Ok(used)
    }

    fn payload(&mut self, opcode: u8, bytes: &[u8]) -> Result<(), LoadFault> {
        if opcode >= CLOSE {
            self.control.extend_from_slice(bytes);
        } else {
            let end = self.at + bytes.len();
            if self.expected.get(self.at..end) != Some(bytes) {
                return Err(LoadFault::BodyMismatch);
            }
            self.at = end;
        }
        Ok(())
    }

    /// Ends the frame if nothing of it is left.
    fn frame_end(&mut self) -> Result<(), LoadFault> {
        let Some(frame) = self.frame.take_if(|_| self.left == 0) else { return Ok(()) };
        match frame.opcode {
            CLOSE => return Err(LoadFault::ClosedEarly),
            PING => self.pong = Some(self::frame(PING + 1, &self.control)),
            opcode if opcode < CLOSE && frame.fin => {
                if self.at != self.expected.len() {
                    return Err(LoadFault::BodyMismatch);
                }
                self.whole = true;
            }
            _ => {}
        }
        self.control.clear();
        Ok(())
    }
}

impl MessageReader for Echo {
    fn take(&mut self, bytes: &mut [u8]) -> Result<bool, LoadFault> {
        let mut bytes = &*bytes;
        while !bytes.is_empty() {
            let used = match self.frame.as_ref().map(|frame| frame.opcode) {
                None => self.header(bytes)?,
                Some(opcode) => {
                    let used = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                    self.payload(opcode, &bytes[..used])?;
                    self.left -= used as u64;
                    self.frame_end()?;
                    used
                }
            };
            bytes = &bytes[used..];
        }
        Ok(self.whole && self.frame.is_none() && self.have == 0)
    }

    fn end(&mut self) -> Result<(), LoadFault> {
        Err(LoadFault::ClosedEarly)
    }

    fn unread(&self) -> u64 {
        0
    }

    fn skipped(&mut self, _octets: u64) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(expected: &[u8]) -> Echo {
        Echo::new(expected.into())
    }

    fn every_way(expected: &[u8], wire: &[u8]) -> Result<bool, LoadFault> {
        let whole = echo(expected).take(&mut wire.to_vec());
        for size in 1..wire.len() {
            let mut slowly = echo(expected);
            let mut result = Ok(false);
            for piece in wire.chunks(size) {
                result = slowly.take(&mut piece.to_vec());
                if result.is_err() {
                    break;
                }
            }
            assert_eq!(result, whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn an_echo_is_compared_whole_and_in_fragments() {
        assert_eq!(every_way(b"Hello", b"\x82\x05Hello"), Ok(true));
        assert_eq!(every_way(b"Hello", b"\x02\x03Hel\x89\x01p\x00\x00\x80\x02lo"), Ok(true));
        assert_eq!(every_way(b"", b"\x82\x00"), Ok(true));
        let long = [b"\x82\x7e\x01\x00", &[7; 256][..]].concat();
        assert_eq!(every_way(&[7; 256], &long), Ok(true));
        assert_eq!(every_way(b"Hello", b"\x82\x05Hell"), Ok(false));
        assert_eq!(every_way(b"Hello", b"\x02\x05Hello"), Ok(false), "more is to come");
    }

    #[test]
    fn what_is_no_echo_is_a_fault() {
        for (wire, fault) in [
            (&b"\x82\x05Hullo"[..], LoadFault::BodyMismatch),
            (b"\x82\x04Hell", LoadFault::BodyMismatch),
            (b"\x82\x06Hello!", LoadFault::BodyMismatch),
            (b"\x81\x05Hello", LoadFault::Malformed),
            (b"\x80\x05Hello", LoadFault::Malformed),
            (b"\x82\x85mask\0\0\0\0\0", LoadFault::Malformed),
            (b"\x82\x05Hello\x82\x05Hello", LoadFault::Malformed),
            (b"\x09\x00", LoadFault::Malformed),
            (b"\x88\x02\x03\xe9", LoadFault::ClosedEarly),
        ] {
            assert_eq!(every_way(b"Hello", wire), Err(fault), "{wire:?}");
        }
    }

    #[test]
    fn a_ping_is_owed_its_pong() {
        let mut echo = echo(b"Hi");
        assert_eq!(echo.take(&mut b"\x89\x02ab\x82\x02Hi".to_vec()), Ok(true));
        assert_eq!(echo.pong(), Some(frame(10, b"ab")));
        assert_eq!(echo.pong(), None);
    }

    #[test]
    fn frames_are_masked_and_as_short_as_can_be() {
        assert_eq!(frame(1, b"Hello"), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        for (octets, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frame = message(&vec![7; octets]);
            let read = Header::read(&frame).unwrap();
            assert_eq!((read.len, read.payload, read.masked), (header, octets as u64, true));
            assert_eq!(frame.len(), header + 4 + octets);
        }
    }
}
