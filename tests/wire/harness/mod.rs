//! WHAT DO THE CASES STAND ON? The real binary, real sockets, and two plain-spoken partners for it.
//!
//! Laws: blocking sockets and threads only, nothing of tidegate's own code (a shared parser would share its
//! mistakes). Everything waits for an event and has a deadline; nothing sleeps in the hope that it is enough.
//! Every case has its own proxy on ports of its own, so that cases run side by side.
//!
//! - [`Wire`]: one end of a connection, with everything that came in kept.
//! - [`Client`]: asks the proxy, in raw octets.
//! - [`Origin`]: answers the proxy, as a script says.
//! - [`Backend`]: answers it as a process of its own, which can be killed.
//! - [`Proxy`]: `tidegate` itself, as a child process.
//! - `tls`: certificates, and a client and an origin that speak TLS.

mod asked;
mod backend;
mod chance;
mod client;
mod configured;
mod frames;
mod gate;
mod message;
mod origin;
mod proxy;
mod scratch;
#[cfg(feature = "tls")]
pub mod tls;
mod wire;

pub use asked::{ask, asked, logged, mirror, seen, verdict};
pub use backend::Backend;
pub use chance::{Chance, memory_allowed, requests_asked_for};
pub use client::Client;
pub use configured::{Configured, page};
pub use frames::{CLOSE, TEXT, frame, masked, unmasked};
pub use gate::{Gate, eventually};
pub use message::{Ending, Head, Request, Response};
pub use origin::{Origin, Peer, Refusing, Silent};
pub use proxy::{Finished, Proxy, run, run_with_descriptors};
pub use scratch::Scratch;
pub use wire::{DEADLINE, Wire};

/// `len` octets that differ from place to place, so that a shifted or repeated block shows.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 8);
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    while out.len() < len {
        out.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    out.truncate(len);
    out
}

/// Both hold the same octets; a failure tells the place instead of printing megabytes.
#[track_caller]
pub fn assert_same(got: &[u8], expected: &[u8]) {
    if got != expected {
        let at = got.iter().zip(expected).position(|(a, b)| a != b);
        let (got, expected) = (got.len(), expected.len());
        panic!("{got} octets, expected {expected}; first difference at {at:?}");
    }
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
