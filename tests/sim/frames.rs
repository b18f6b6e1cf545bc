//! One end of a WebSocket (RFC 6455 section 5) that says much, and checks what it hears.

use crate::octets::{are, octets};

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// One end.
#[derive(Debug)]
pub struct Talk {
    /// Clients mask, origins do not.
    is_client: bool,
    said: u64,
    heard: u64,
    keys: [u64; 2],
    held: Vec<u8>,
    /// Octets left of the payload under way.
    left: u64,
    pub said_close: bool,
    pub heard_close: bool,
}

impl Talk {
    /// What it says is called `says`, what it hears `hears`.
    pub fn new(is_client: bool, says: u64, hears: u64) -> Talk {
        Talk {
            is_client,
            said: 0,
            heard: 0,
            keys: [says, hears],
            held: Vec::new(),
            left: 0,
            said_close: false,
            heard_close: false,
        }
    }

    /// A frame with `n` octets of payload.
    pub fn say(&mut self, n: usize) -> Vec<u8> {
        let mut frame = self.header(BINARY, n);
        frame.extend(octets(self.keys[0], self.said, n));
        self.said += n as u64;
        frame
    }

    /// The last frame.
    pub fn say_close(&mut self) -> Vec<u8> {
        self.said_close = true;
        let mut frame = self.header(CLOSE, 2);
        frame.extend(1000_u16.to_be_bytes());
        frame
    }

    fn header(&self, first: u8, n: usize) -> Vec<u8> {
        let mask = if self.is_client { 0x80 } else { 0 };
        let mut header = match n {
            0..126 => vec![first, mask | n as u8],
            126..0x1_0000 => [&[first, mask | 126][..], &(n as u16).to_be_bytes()].concat(),
            _ => [&[first, mask | 127][..], &(n as u64).to_be_bytes()].concat(),
        };
        if self.is_client {
            header.extend([0; 4]); // a mask that changes nothing
        }
        header
    }

    /// Hears octets. Nothing may come behind a Close.
    pub fn hear(&mut self, octets: &[u8]) -> Result<(), String> {
        self.held.extend_from_slice(octets);
        loop {
            if self.left > 0 {
                let n = (self.left as usize).min(self.held.len());
                if !are(&self.held[..n], self.keys[1], self.heard) {
                    return Err("a frame with somebody else's octets".into());
                }
                self.held.drain(..n);
                self.heard += n as u64;
                self.left -= n as u64;
            }
            if self.held.is_empty() || self.left > 0 {
                return Ok(());
            }
            if self.heard_close {
                return Err(format!("octets behind a Close: {:02x?}", self.held));
            }
            if !self.frame()? {
                return Ok(());
            }
        }
    }

    /// Reads a header; `false`: it is not all there.
    fn frame(&mut self) -> Result<bool, String> {
        let &[first, second, ..] = &self.held[..] else { return Ok(false) };
        if (second & 0x80 == 0) != self.is_client {
            return Err(format!("masked the wrong way: {second:02x}"));
        }
        let (extended, masked) = match second & 0x7f {
            126 => (2, !self.is_client),
            127 => (8, !self.is_client),
            _ => (0, !self.is_client),
        };
        let header = 2 + extended + if masked { 4 } else { 0 };
        if self.held.len() < header {
            return Ok(false);
        }
        let wide = self.held[2..2 + extended].iter().fold(0, |sum, o| sum << 8 | u64::from(*o));
        let length = if extended == 0 { u64::from(second & 0x7f) } else { wide };
        match first {
            BINARY => {
                self.held.drain(..header);
                self.left = length;
            }
            CLOSE if self.held.len() >= header + length as usize => {
                self.held.drain(..header + length as usize);
                self.heard_close = true;
            }
            CLOSE => return Ok(false),
            _ => return Err(format!("an unknown frame: {first:02x}")),
        }
        Ok(true)
    }
}
