//! WHAT DO THE CASES STAND ON? The real binary, real sockets, and two plain-spoken partners for it.
//!
//! Laws: blocking sockets and threads only, nothing of tidegate's own code (a shared parser would share its
//! mistakes). Everything waits for an event and has a deadline; nothing sleeps in the hope that it is enough.
//! Every case has its own proxy on ports of its own, so that cases run side by side.
//!
//! - [`Wire`]: one end of a connection, with everything that came in kept.
//! - [`Client`]: asks the proxy, in raw octets.
//! - [`Origin`]: answers the proxy, as a script says.
//! - [`Proxy`]: `tidegate` itself, as a child process.

mod client;
mod gate;
mod message;
mod origin;
mod proxy;
mod scratch;
mod wire;

pub use client::Client;
pub use gate::{Gate, eventually};
pub use message::{Ending, Head, Request, Response};
pub use origin::{Origin, Peer, Refusing, Silent};
pub use proxy::{Proxy, run};
pub use scratch::Scratch;
pub use wire::{DEADLINE, Wire};

/// `len` octets that differ from place to place, so that a shifted or repeated block shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A short fingerprint (FNV-1a), so that a failed comparison of megabytes stays readable.
pub fn fingerprint(bytes: &[u8]) -> (usize, u64) {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    (bytes.len(), bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// `bytes` as a chunked body, in chunks of `size`, without trailers.
pub fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / size * 8 + 16);
    for chunk in bytes.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}
