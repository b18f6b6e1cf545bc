//! The compiler as judge: the room `stats` alone, as it may use no other.

#![expect(unused, reason = "nothing runs here; it only has to compile")]

#[path = "../../src/stats/mod.rs"]
pub mod stats;

fn main() {}
