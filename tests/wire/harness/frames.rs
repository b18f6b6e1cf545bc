//! Frames of a WebSocket in raw octets (RFC 6455 section 5.2).

use std::io;

use super::Wire;

/// A whole text message.
pub const TEXT: u8 = 0x81;
/// A Close.
pub const CLOSE: u8 = 0x88;

/// A frame as a server sends it: `first` holds FIN and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [header(first, payload.len(), 0), payload.to_vec()].concat()
}

/// A frame as a client sends it, masked with a key that is no part of the pattern.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let octets = payload.iter().zip(KEY.iter().cycle()).map(|(octet, key)| octet ^ key);
    header(first, payload.len(), 0x80).into_iter().chain(KEY).chain(octets).collect()
}

/// The next frame of a client: its first octet, and its payload without the mask.
pub fn unmasked(wire: &mut Wire) -> io::Result<(u8, Vec<u8>)> {
    let start = wire.exactly(2)?;
    let (first, len) = (start[0], start[1] & 0x7f);
    assert_eq!(start[1] & 0x80, 0x80, "frames of clients are masked");
    let wide = match len {
        126 => wire.exactly(2)?,
        127 => wire.exactly(8)?,
        _ => vec![len],
    };
    let len = wide.iter().fold(0, |len, octet| len << 8 | usize::from(*octet));
    let key = wire.exactly(4)?;
    let octets = wire.exactly(len)?;
    let payload = octets.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key).collect();
    Ok((first, payload))
}

fn header(first: u8, len: usize, mask: u8) -> Vec<u8> {
    match len {
        0..126 => vec![first, mask | len as u8],
        126..0x1_0000 => [&[first, mask | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask | 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}
