//! The origin stands alone: it compiles without any other room of ours.
#![expect(unused, reason = "nothing runs here: that it compiles is the test")]

#[path = "../../src/origin/mod.rs"]
pub mod origin;

fn main() {}
